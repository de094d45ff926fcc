//! Devices priced by measured kernels: files that cannot be used are told, and how far tables are off on what was held out.

mod held_out;
mod mistakes;
mod runs;
#[path = "../shared_files/mod.rs"]
mod shared_files;

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use tempfile::TempDir;

/// A small deployment on a device with this table, and the files of the table.
struct Desk(TempDir);

/// What a command came to.
struct Told {
    code: Option<i32>,
    out: String,
    err: String,
}

const CONFIG: &str = "
simulation: {max_simulation_time: 20, random_seed: 1}
hardware_profile:
  compute_devices:
    - device_id: gpu
      device: RTX-4090
      efficiency_table: TABLE
  network_links:
    - {link_id: client, source_id: client_node_0, dest_id: framework_entry_0, bandwidth_bps: 10_000_000_000, latency_s: 0.0002}
workload:
  total_duration: 10
  client_profiles:
    - profile_name: chat
      inter_arrival_time_dist_config: {type: Exponential, rate: 2.0}
      prompt_tokens_dist_config: {type: Constant, value: 300}
      max_output_tokens_dist_config: {type: Constant, value: 50}
frameworks_to_test:
  - {name: vllm, type: VLLM, config: {model_profile_id: Llama3.1-8B, gpu_id: gpu}}
";

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("it is in the folder")).expect("a folder can be made");
        fs::write(path, text).expect("it can be written");
    }

    /// Runs the program with the words of `arguments`.
    fn run(&self, arguments: &str) -> Told {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llmperforacle"));
        let words = arguments.split_whitespace();
        let output = command.args(words).current_dir(self.path()).output().expect("it starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Told { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Checks a configuration with this table.
    fn check(&self, table: &str) -> Told {
        self.write("config.yaml", &CONFIG.replace("TABLE", table));
        self.run("validate config.yaml")
    }
}
