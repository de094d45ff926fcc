//! The files of a run as DuckDB, pandas and polars read them: `tests/python/check_run.py` recomputes the summary from the
//! records, `check_queries.py` runs what is in `queries/`. Skipped, and said so, where no Python has duckdb and pandas.

mod output_support;
mod python_support;

use std::path::Path;
use std::process::Command;

use llmperforacle::output::OutputPlan;
use llmperforacle::workload::Slo;
use oracle_components::SimTime;

/// Fails with what the script says unless all figures agree.
fn check(python: &str, folder: &Path, words: &[&str]) {
    ask(python, "check_run.py", folder, words);
}

/// Runs a script of `tests/python/`, which must agree: what it says.
fn ask(python: &str, script: &str, first: &Path, words: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(script);
    let checked = Command::new(python).arg(script).arg(first).args(words).output().expect("Python starts");
    let told = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{told}{}", String::from_utf8_lossy(&checked.stderr));
    told.into_owned()
}

/// Runs the program in a folder.
fn run(folder: &Path, arguments: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llmperforacle"));
    let ran = command.args(arguments.split_whitespace()).current_dir(folder).output().expect("it starts");
    assert!(ran.status.success(), "{arguments}: {}", String::from_utf8_lossy(&ran.stderr));
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

#[test]
fn every_query_says_what_the_program_says() {
    let Some(python) = python_support::python() else {
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scenario = |name: &str| root.join("configs/scenarios").join(name).display().to_string();
    let (walkthrough, pools) = (scenario("walkthrough.yaml"), scenario("disaggregated.yaml"));
    let model = "--model Llama3-8B --device H100";
    let folder = tempfile::tempdir().expect("a temporary folder");
    for arguments in [
        format!(
            "run {walkthrough} -q -o run --slo ttft=150ms,tpot=31ms \
             --set hardware_profile.compute_devices[*].price_per_gpu_hour_usd=2.5"
        ),
        format!("run {walkthrough} -q -o other --set frameworks_to_test[*].config.max_num_batched_tokens=512"),
        format!("run {pools} -q -o pools --set workload.total_requests_to_generate=300"),
        format!("run {walkthrough} -q -o empty --set workload.total_duration=0.001"),
        format!(
            "run --rate 2 --prompt-tokens 9000 --output-tokens 5 --requests 20 {model} -q -o lost \
             --set frameworks_to_test[*].config.max_model_len=2048"
        ),
        format!(
            "sweep {model} --tensor-parallel 1,2 --workload chat --rate 4..32:*2 --requests 300 --seeds 2 \
             --slo ttft=200ms,tpot=15ms --save-requests -q -o sweep"
        ),
        format!(
            "sweep {model} --concurrency 1,2,4 --prompt-tokens 500 --output-tokens 20 --requests 50 --save-requests -q \
             -o closed"
        ),
        format!(
            "sweep {model} --rate 2,4 --prompt-tokens 9000 --output-tokens 5 --requests 20 --save-requests -q \
             --set frameworks_to_test[*].config.max_model_len=2048 -o unanswered"
        ),
    ] {
        run(folder.path(), &arguments);
    }
    let queries = root.join("queries");
    let told = ask(&python, "check_queries.py", &queries, &[&folder.path().display().to_string()]);
    let files = std::fs::read_dir(&queries).expect("the folder is there").count();
    assert!(told.contains(&format!(" of {files} queries agree")), "{told}");

    // A query that nobody checks is not let through.
    let more = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(more.path().join("unknown.sql"), "SELECT 1").expect("it can be written");
    let script = root.join("tests/python/check_queries.py");
    let refused =
        Command::new(&python).arg(script).arg(more.path()).arg(folder.path()).output().expect("Python starts");
    let told = String::from_utf8_lossy(&refused.stdout);
    assert!(!refused.status.success() && told.contains("unknown.sql: no check"), "{told}");
    assert!(told.contains("percentiles.sql: no such file"), "{told}");
}
