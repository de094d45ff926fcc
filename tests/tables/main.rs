//! Devices priced by measured kernels: files that cannot be used are told, and how far tables are off on what was held out.

#[path = "../desk/mod.rs"]
mod desk;
mod held_out;
mod mistakes;
mod runs;
#[path = "../shared_files/mod.rs"]
mod shared_files;

use desk::{Desk, Told};

/// A small deployment on a device with a table.
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
  - {name: vllm, type: VLLM, config: {model_profile_id: Llama3.1-8B, gpu_id: gpu, max_model_len: 32768}}
";

impl Desk {
    /// Checks a configuration with this table.
    fn check(&self, table: &str) -> Told {
        self.write("config.yaml", &CONFIG.replace("TABLE", table));
        self.run("validate config.yaml")
    }
}
