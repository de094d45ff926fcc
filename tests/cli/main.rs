//! The program as a user meets it: commands and flags, what is printed where, exit codes, files.

mod commands;
mod compare;
mod crashes;
mod energy;
mod folders;
mod host;
mod inputs;
mod load;
mod mistakes;
mod notes;
mod overrides;
mod plan;
mod plan_answers;
mod pools;
mod replays;
mod runs;
mod shared;
#[path = "../shared_files/mod.rs"]
mod shared_files;
mod shell;
mod signals;
mod strange_sweeps;
mod sweeps;
mod threads;
mod trace;
mod workload;

#[path = "../desk/mod.rs"]
mod desk;
#[path = "../folder_names/mod.rs"]
mod folder_names;
#[path = "../python_support/mod.rs"]
mod python_support;

use std::fs;

use serde_json::Value;

use desk::{Desk, Told};
use folder_names::names_in;

/// A deployment that is simulated in no time: conversations and single requests on two GPUs.
const SMALL: &str = "\
simulation: {max_simulation_time: 30, random_seed: 5}
hardware_profile:
  compute_devices:
    - {device_id: gpu, device: A100-80GB, count: 2}
  network_links:
    - {link_id: uplink, source_id: client_node_0, dest_id: framework_entry_0, bandwidth_bps: 1e10, latency_s: 0.0001}
workload:
  total_duration: 20
  client_profiles:
    - profile_name: chat
      inter_arrival_time_dist_config: {type: Exponential, rate: 4.0}
      prompt_tokens_dist_config: {type: Uniform, low: 100, high: 900}
      max_output_tokens_dist_config: {type: Uniform, low: 10, high: 200}
      conversational_probability: 0.5
frameworks_to_test:
  - name: first
    type: VLLM
    config: {model_profile_id: Llama3-8B, gpu_id: gpu0}
  - name: second
    type: VLLM
    config: {model_profile_id: Llama3-8B, gpu_id: gpu1}
metrics_config: {warm_up_duration_s: 2}
";

/// Four requests.
const TRACE: &str = "arrival_s,prompt_tokens,output_tokens\n0,900,20\n0.1,500,30\n0.2,100,1\n0.5,2000,10\n";

impl Desk {
    /// A desk with `small.yaml` and `trace.csv` on it.
    fn small() -> Self {
        let desk = Self::new();
        desk.write("small.yaml", SMALL);
        desk.write("trace.csv", TRACE);
        desk
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("it is there and text")
    }

    fn read_bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("it is there")
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).expect("it is JSON")
    }

    /// Runs the program, which must succeed, and gives what it printed as JSON. Runs of several configurations take the same
    /// folder here.
    fn summary(&self, arguments: &str) -> Value {
        let told = self.run(&format!("{arguments} --format json --overwrite"));
        assert_eq!(told.code, 0, "{arguments}\n{}", told.err);
        serde_json::from_str(&told.out).expect("it prints JSON")
    }
}

/// A number in a summary.
fn number(summary: &Value, pointer: &str) -> f64 {
    summary.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number at {pointer}"))
}

/// Every request ended in one status.
fn assert_conserved(summary: &Value) {
    let requests = |key: &str| number(summary, &format!("/requests/{key}"));
    let ended = requests("successful") + requests("failed") + requests("timeout") + requests("incomplete");
    assert!(requests("total") > 0.0, "nothing arrived");
    assert_eq!(ended, requests("total"));
    let by_reason = summary.pointer("/requests/by_reason").and_then(Value::as_object).expect("reasons are told");
    assert_eq!(by_reason.values().filter_map(Value::as_f64).sum::<f64>(), requests("total"));
}
