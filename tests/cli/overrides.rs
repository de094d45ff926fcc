//! `--set`: any key of a configuration, from the command line.

use crate::{Desk, number};

#[test]
fn set_changes_any_key_and_the_last_one_counts() {
    let desk = Desk::small();
    let of = |flags: &str| desk.summary(&format!("run small.yaml {flags}"));
    let short = of("--set workload.total_duration=5 --set simulation.max_simulation_time=9");
    assert_eq!(number(&short, "/simulation/total_duration_s"), 9.0);
    let last = of("--set simulation.max_simulation_time=9 --set simulation.max_simulation_time=10");
    assert_eq!(number(&last, "/simulation/total_duration_s"), 10.0);
    let one_seat = of("--set frameworks_to_test[*].config.max_num_seqs=1");
    assert_eq!(number(&one_seat, "/engines/second/running_peak"), 1.0);
    let one_of_two = of("--set frameworks_to_test[0].config.max_num_seqs=1");
    assert_eq!(number(&one_of_two, "/engines/first/running_peak"), 1.0);
    assert!(number(&one_of_two, "/engines/second/running_peak") > 1.0);
}

#[test]
fn set_works_for_a_trace_and_for_validate() {
    let desk = Desk::small();
    let trace = "run --trace trace.csv --model Llama3-8B --device A100";
    let summary = desk.summary(&format!("{trace} --set frameworks_to_test[0].config.max_num_seqs=1"));
    assert_eq!(number(&summary, "/engines/vllm/running_peak"), 1.0);
    assert_eq!(desk.run("validate small.yaml --set workload.total_duration=-1").code, 2);
    assert_eq!(desk.run("validate small.yaml --set workload.total_duration=1").code, 0);
}

#[test]
fn the_manifest_holds_the_configuration_as_it_was_run() {
    let desk = Desk::small();
    assert_eq!(desk.run("run small.yaml -q --seed 77 --set workload.load_balancing_strategy=least_loaded").code, 0);
    let manifest = desk.json("output/small/manifest.json");
    assert_eq!(manifest["seed"], 77);
    assert_eq!(manifest["config"]["workload"]["load_balancing_strategy"], "least_loaded");
    assert_eq!(manifest["config_sha256"].as_str().map(str::len), Some(64));
}
