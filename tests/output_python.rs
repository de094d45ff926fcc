//! The files of a run as DuckDB, pandas and polars read them: `tests/python/check_run.py` recomputes the summary from the
//! records. Skipped, and said so, where no Python has duckdb and pandas.

mod output_support;
mod python_support;

use std::path::Path;
use std::process::Command;

#[test]
fn python_tools_compute_the_same_summary_from_the_records() {
    let Some(python) = python_support::python() else {
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/check_run.py");
    // On both sides of the number of values up to which quantiles are exact, and with nothing to tell.
    for count in [0, 5000, 300_000] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let plan = output_support::plan(folder.path());
        output_support::write_run(&plan, &output_support::records(11, count)).expect("the run is written");
        let checked = Command::new(&python).arg(&script).arg(folder.path()).output().expect("Python starts");
        assert!(
            checked.status.success(),
            "{count} records: {}{}",
            String::from_utf8_lossy(&checked.stdout),
            String::from_utf8_lossy(&checked.stderr),
        );
    }
}
