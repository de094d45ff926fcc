//! The files of a run as DuckDB, pandas and polars read them: `tests/python/check_run.py` recomputes the summary from the
//! records. Skipped, and said so, where no Python has duckdb and pandas.

mod output_support;
mod python_support;

use std::path::Path;
use std::process::Command;

use llmperforacle::output::OutputPlan;
use llmperforacle::workload::Slo;
use oracle_components::SimTime;

/// Fails with what the script says unless all figures agree.
fn check(python: &str, folder: &Path, words: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/check_run.py");
    let checked = Command::new(python).arg(script).arg(folder).args(words).output().expect("Python starts");
    let told = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{told}{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn python_tools_compute_the_same_summary_from_the_records() {
    let Some(python) = python_support::python() else {
        return;
    };
    // On both sides of the number of values up to which quantiles are exact, and with nothing to tell.
    for count in [0, 5000, 300_000] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let expected = Slo { ttft: Some(SimTime(50_000_000)), itl: Some(SimTime(80_000_000)), ..Slo::default() };
        let plan = OutputPlan { slos: vec![expected], ..output_support::plan(folder.path()) };
        output_support::write_run(&plan, &output_support::records(11, count)).expect("the run is written");
        check(&python, folder.path(), &["made-up"]);
    }
}

#[test]
fn python_tools_compute_the_same_summary_from_a_run() {
    let Some(python) = python_support::python() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let price = "hardware_profile.compute_devices[*].price_per_gpu_hour_usd=2.5";
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_llmperforacle"));
    command.arg("run").arg(root.join("configs/scenarios/walkthrough.yaml")).args(["-q", "--set", price]);
    command.args(["--slo", "ttft=150ms,tpot=31ms,itl=150ms,e2e=9s", "-o"]);
    assert!(command.arg(folder.path()).status().expect("it starts").success());
    check(&python, folder.path(), &[]);
}
