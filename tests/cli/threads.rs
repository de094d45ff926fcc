//! The same bytes on any number of threads.

use std::fs;

use assert_cmd::Command;

use crate::{Desk, names_in};

/// Engines that go their own way between arrivals, more than are taken through a window at once, with preemption and
/// clients that give up.
const LOOSE: &str = "\
simulation: {drain: true, random_seed: 3}
hardware_profile: {compute_devices: [{device_id: gpu, device: L4}]}
workload:
  total_requests_to_generate: 20_000
  request_timeout_s: 40
  client_profiles:
    - profile_name: chat
      inter_arrival_time_dist_config: {type: Exponential, rate: 200}
      prompt_tokens_dist_config: {type: LogNormal, mean_tokens: 300, std_tokens: 300}
      max_output_tokens_dist_config: {type: LogNormal, mean_tokens: 150, std_tokens: 150}
frameworks_to_test:
  - name: vllm
    type: VLLM
    replicas: 70
    config: {model_profile_id: Llama3.2-3B, gpu_id: gpu, num_gpu_blocks_override: 200, max_model_len: auto}
";

/// Engines that depend on each other at every boundary.
fn tight() -> String {
    LOOSE.replace("  request_timeout_s: 40\n", "  load_balancing_strategy: least_loaded\n").replace(
        "  client_profiles:\n    - profile_name: chat\n",
        "  client_profiles:\n    - profile_name: chat\n      conversational_probability: 0.7\n",
    )
}

/// The bytes of every file of a run on so many threads.
fn files(desk: &Desk, config: &str, threads: &str) -> Vec<(String, Vec<u8>)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llmperforacle"));
    command.current_dir(desk.folder.path()).env("RAYON_NUM_THREADS", threads);
    command.args(["run", config, "-q", "--overwrite", "-o", threads]);
    let has_flag = desk.run("run --help").out.contains("--threads");
    if has_flag {
        command.args(["--threads", threads]);
    }
    let told = command.output().expect("it starts");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let folder = desk.path(threads);
    let read = |name: String| (name.clone(), fs::read(folder.join(name)).expect("it is there"));
    names_in(&folder).into_iter().map(read).collect()
}

#[test]
fn one_two_and_eight_threads_leave_the_same_bytes() {
    let desk = Desk::small();
    desk.write("loose.yaml", LOOSE);
    desk.write("tight.yaml", &tight());
    for config in ["loose.yaml", "tight.yaml", "small.yaml"] {
        let one = files(&desk, config, "1");
        assert_eq!(one.len(), 5, "{config}");
        for threads in ["2", "8"] {
            for ((name, expected), (_, found)) in one.iter().zip(files(&desk, config, threads)) {
                assert!(*expected == found, "{config}: {name} differs on {threads} threads");
            }
        }
    }
    // What the loose one is meant to reach, it reaches.
    let summary = desk.run("run loose.yaml -q --format json").out;
    let summary: serde_json::Value = serde_json::from_str(&summary).expect("it prints JSON");
    let engines = summary["engines"].as_object().expect("engines are told");
    let preemptions: u64 = engines.values().filter_map(|engine| engine["preemptions"].as_u64()).sum();
    assert!(preemptions > 0 && summary["requests"]["timeout"].as_u64() > Some(0), "{}", summary["requests"]);
}
