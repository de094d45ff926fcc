//! Configurations as a user writes them: what resolves, what each mistake says, and what no text may do.

mod defaults;
mod files;
mod flags;
mod kv_groups;
mod load;
mod meaning;
mod messages;
mod parallel;
mod pools;
mod refusals;
mod robustness;

use std::path::{Path, PathBuf};

use llmperforacle::config::{Diagnostic, Overrides, Resolved, load_text};

/// A configuration without a fault, which tests break in one place.
const GOOD: &str = "\
simulation:
  max_simulation_time: 100
  random_seed: 7
hardware_profile:
  compute_devices:
    - {device_id: gpu0, device: A100-80GB}
    - {device_id: gpu1, device: A100-80GB}
    - device_id: gpu2
      device_type: GPU
      peak_tflops: {fp16: 312, int8: 624}
      memory_capacity_bytes: 80_000_000_000
      memory_gbps: 2039
  network_links:
    - {link_id: uplink, source_id: client_node_0, dest_id: gpu0, bandwidth_bps: 8e9, latency_s: 0.001}
    - {link_id: bridge, source_id: gpu0, dest_id: gpu1, bandwidth_bps: 8e11, latency_s: 0.000001}
workload:
  total_duration: 50
  client_profiles:
    - profile_name: chat
      inter_arrival_time_dist_config: {type: Exponential, rate: 2.0}
      prompt_tokens_dist_config: {type: Constant, value: 100}
      max_output_tokens_dist_config: {type: Uniform, low: 10, high: 20}
frameworks_to_test:
  - name: first
    type: VLLM
    config:
      model_profile_id: Llama2-7B
      gpu_id: gpu0
";

/// A framework over two GPUs, to be added to [`GOOD`] in place of its own.
fn with_framework(kind: &str, config: &str) -> String {
    let head = GOOD.split("frameworks_to_test:").next().expect("GOOD has frameworks");
    format!("{head}frameworks_to_test:\n  - name: first\n    type: {kind}\n    config: {config}\n")
}

fn replaced(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from:?} is not in the good configuration");
    GOOD.replacen(from, to, 1)
}

fn resolve(text: &str) -> Result<Resolved, Vec<Diagnostic>> {
    load_text(text.as_bytes(), "test.yaml", &Overrides::default())
}

fn good(text: &str) -> Resolved {
    resolve(text).unwrap_or_else(|found| panic!("{}", lines(&found)))
}

fn with_set(set: &[&str]) -> Result<Resolved, Vec<Diagnostic>> {
    let set = set.iter().map(|&text| text.to_owned()).collect();
    load_text(GOOD.as_bytes(), "test.yaml", &Overrides { set, ..Overrides::default() })
}

fn lines(found: &[Diagnostic]) -> String {
    found.iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
}

/// What a text gives: its errors, or its warnings.
fn messages(text: &str) -> String {
    match resolve(text) {
        Ok(resolved) => lines(&resolved.warnings),
        Err(found) => lines(&found),
    }
}

fn report<'a>(cases: impl IntoIterator<Item = (&'a str, String)>) -> String {
    cases.into_iter().map(|(name, text)| format!("# {name}\n{}\n", messages(&text))).collect()
}

fn predecessor_files() -> Vec<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shared = std::env::var_os("LLMPERFORACLE_SHARED").map_or(beside, PathBuf::from);
    let folder = shared.join("data/llmperforacle-configs");
    let names = ["walkthrough_example.yaml", "example_parallel_experiment.yaml", "example_prefix_caching.yaml"];
    names.iter().map(|name| folder.join(name)).filter(|path| path.exists()).collect()
}

fn scenarios() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/scenarios");
    ["walkthrough.yaml", "million.yaml", "disaggregated.yaml"].iter().map(|name| folder.join(name)).collect()
}
