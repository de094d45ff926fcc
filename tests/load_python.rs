//! Mooncake files that `workload` writes, read by the code of AIPerf and of `vllm bench serve` themselves, where a Python has
//! them: `$LLMPERFORACLE_LOAD_PYTHON`, `target/load-venv` or the system's (`pip install aiperf==0.13.0`). What is not there
//! is said to be skipped.

use std::path::Path;
use std::process::Command;

use assert_cmd::Command as Program;

const SHARED_BEGINNINGS: &str = "\
simulation: {max_simulation_time: 30, random_seed: 5}
hardware_profile: {compute_devices: [{device_id: gpu, device: A100-80GB}]}
workload:
  total_requests_to_generate: 200
  generate_prompt_tokens: true
  prefix_patterns:
    patterns:
      - {type: system, name: long, tokens: 1500}
      - {type: mixed, name: longer, components: [{type: system, name: long, tokens: 1500}, {type: few_shot, name: shots, tokens: 700}]}
      - {type: random}
  client_profiles:
    - profile_name: chat
      inter_arrival_time_dist_config: {type: Exponential, rate: 4.0}
      prompt_tokens_dist_config: {type: Uniform, low: 100, high: 4000}
      max_output_tokens_dist_config: {type: Uniform, low: 10, high: 200}
frameworks_to_test: [{name: first, type: VLLM, config: {model_profile_id: Llama3-8B, gpu_id: gpu}}]
";

#[test]
fn the_tools_that_replay_mooncake_files_read_ours() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("load.yaml"), SHARED_BEGINNINGS).expect("it can be written");
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/load-venv/bin/python");
    let named = std::env::var("LLMPERFORACLE_LOAD_PYTHON").ok();
    let own = Some(own.display().to_string()).filter(|python| Path::new(python).exists());
    let python = named.or(own).unwrap_or_else(|| "python3".to_owned());
    for block_tokens in ["512", "16"] {
        let mut program = Program::new(env!("CARGO_BIN_EXE_llmperforacle"));
        let words =
            ["workload", "generate", "load.yaml", "-o", "load.jsonl", "--overwrite", "--block-size", block_tokens];
        program.args(words).current_dir(folder.path()).assert().success();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/check_load.py");
        let read = Command::new(&python).arg(script).arg(path("load.jsonl")).arg(block_tokens).output();
        let Ok(read) = read else {
            eprintln!("skipped: no {python}");
            return;
        };
        let told = String::from_utf8_lossy(&read.stdout);
        assert!(read.status.success(), "{told}\n{}", String::from_utf8_lossy(&read.stderr));
        eprint!("blocks of {block_tokens}: {told}");
    }
}
