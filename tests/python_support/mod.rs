//! A Python that has the tools people read the files with.

use std::path::Path;
use std::process::Command;

/// The first Python that can import them: `$LLMPERFORACLE_PYTHON`, the build folder's own (`.ci/run` makes it), the
/// system's. Says so where there is none.
pub fn python() -> Option<String> {
    let named = std::env::var("LLMPERFORACLE_PYTHON").ok();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python-venv/bin/python");
    let candidates = [named, Some(own.display().to_string()), Some("python3".to_owned())];
    let found = candidates.into_iter().flatten().find(|python| {
        let imported = Command::new(python).args(["-c", "import duckdb, matplotlib, pandas, pyarrow"]).output();
        imported.is_ok_and(|output| output.status.success())
    });
    if found.is_none() {
        eprintln!(
            "skipped: no Python with duckdb, matplotlib, pandas and pyarrow (.ci/run makes one; or set LLMPERFORACLE_PYTHON)"
        );
    }
    found
}
