//! `report` and `plot`: that the page says what the run's files say, in a real browser too.

mod advice;
mod browser;
#[path = "../desk/mod.rs"]
mod desk;
mod figures;
#[path = "../folder_names/mod.rs"]
mod folder_names;
mod folders;
mod pictures;
mod plans;
mod sweeps;

use std::fs;
use std::path::Path;

use serde_json::Value;

use desk::Desk;

/// Two kinds of clients with SLOs on two engines that are short of KV blocks, so that there is something in every chart.
const BUSY: &str = "\
simulation: {max_simulation_time: 60, random_seed: 5}
hardware_profile:
  compute_devices:
    - {device_id: gpu, device: A100-80GB, count: 2}
  network_links:
    - {link_id: uplink, source_id: client_node_0, dest_id: framework_entry_0, bandwidth_bps: 1e10, latency_s: 0.0001}
workload:
  total_duration: 20
  slo: {ttft_ms: 9000, tpot_ms: 60}
  client_profiles:
    - profile_name: chat
      inter_arrival_time_dist_config: {type: Exponential, rate: 24.0}
      prompt_tokens_dist_config: {type: Uniform, low: 100, high: 900}
      max_output_tokens_dist_config: {type: Uniform, low: 10, high: 200}
      conversational_probability: 0.5
    - profile_name: batch
      inter_arrival_time_dist_config: {type: Exponential, rate: 12.0}
      prompt_tokens_dist_config: {type: Uniform, low: 1000, high: 3000}
      max_output_tokens_dist_config: {type: Uniform, low: 100, high: 300}
frameworks_to_test:
  - name: first
    type: VLLM
    config: {model_profile_id: Llama3-8B, gpu_id: gpu0, num_gpu_blocks_override: 600, max_model_len: 5000}
  - name: second
    type: VLLM
    config: {model_profile_id: Llama3-8B, gpu_id: gpu1, num_gpu_blocks_override: 600, max_model_len: 5000}
metrics_config: {warm_up_duration_s: 2}
";

/// A desk with a run in `output/busy`.
fn desk_with_a_run(flags: &str) -> Desk {
    let desk = Desk::new();
    desk.write("busy.yaml", BUSY);
    let told = desk.run(&format!("-l error run busy.yaml --quiet {flags}"));
    assert_eq!(told.code, 0, "{}", told.err);
    desk
}

/// The page of the run in `output/busy`.
fn page(desk: &Desk) -> String {
    let told = desk.run("report output/busy");
    assert_eq!((told.code, told.out.as_str()), (0, "output/busy/report.html\n"), "{}", told.err);
    fs::read_to_string(desk.path("output/busy/report.html")).expect("it is text")
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).expect("it is there")).expect("it is JSON")
}

/// The charts in a page, by name.
fn charts(page: &str) -> Value {
    let (_, rest) = page.split_once("<script type=\"application/json\" id=\"charts\">").expect("the charts");
    serde_json::from_str(rest.split_once("</script>").expect("their end").0).expect("they are JSON")
}
