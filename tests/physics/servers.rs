//! What crosses the links of servers, by hand.

use crate::{Run, assert_near, run_in};

// Mixtral 8x7B: 32 layers with experts, hidden width 4096, vocabulary 32,000; 16 bits.
const LAYERS: f64 = 32.0;
const HIDDEN_BYTES: f64 = 2.0 * 4096.0;
const LOGITS_BYTES: f64 = 2.0 * 32_000.0;

/// A request after another, of 200 tokens in and 50 out, to Mixtral on eight GPUs of DGX A100 that have `gpus_per_node`.
fn run(requests: u32, gpus_per_node: u32, parallelism: &str) -> Run {
    let ids: Vec<String> = (0..8).map(|gpu| format!("gpu{gpu}")).collect();
    let yaml = format!(
        "simulation: {{drain: true}}
hardware_profile: {{topology: {{preset: DGX-A100, nodes: 2, gpus_per_node: {gpus_per_node}}}}}
workload:
  total_requests_to_generate: {requests}
  client_profiles:
    - profile_name: chat
      inter_arrival_time_dist_config: {{type: Constant, value: 10}}
      prompt_tokens_dist_config: {{type: Constant, value: 200}}
      max_output_tokens_dist_config: {{type: Constant, value: 50}}
frameworks_to_test:
  - name: vllm
    type: ParallelVLLM
    config:
      model_profile_id: Mixtral-8x7B
      enable_prefix_caching: false
      parallelism: {{strategy: TP, gpu_ids: [{}], {parallelism}}}
",
        ids.join(", ")
    );
    run_in(tempfile::tempdir().expect("a folder for the run"), &yaml)
}

fn bytes_over(run: &Run, link: &str) -> f64 {
    run.summary.links.get(link).unwrap_or_else(|| panic!("no link {link}")).bytes
}

#[test]
fn a_ring_crosses_every_link_of_its_ranks() {
    let run = run(1, 8, "tp_degree: 8");
    // 249 tokens through two all-reduces a layer and one of the embedding, of which each rank sends 2·7/8; 50 rows of
    // logits, of which it sends 7/8.
    let expected = 249.0 * (2.0 * LAYERS + 1.0) * HIDDEN_BYTES * 1.75 + 50.0 * LOGITS_BYTES * 0.875;
    assert_near(bytes_over(&run, "gpu3_to_nvswitch0"), expected, 1e-9);
    assert_near(bytes_over(&run, "nvswitch0_to_gpu3"), expected, 1e-9);
    assert_eq!(bytes_over(&run, "nvswitch0_to_infiniband"), 0.0);
}

#[test]
fn experts_elsewhere_are_reached_over_the_network() {
    // Two engines, one a node; each takes a request.
    let run = run(2, 4, "tp_degree: 4, dp_degree: 2, expert_parallel: true");
    let ring = 249.0 * (2.0 * LAYERS + 1.0) * HIDDEN_BYTES * 1.5 + 50.0 * LOGITS_BYTES * 0.75;
    // There and back, half of the tokens of two engines a layer.
    let exchange = 2.0 * 0.5 * 2.0 * 249.0 * HIDDEN_BYTES * LAYERS;
    assert_near(bytes_over(&run, "gpu3_to_nvswitch0"), ring + exchange, 1e-9);
    assert_near(bytes_over(&run, "nvswitch0_to_infiniband"), exchange, 1e-9);
    for (name, link) in &run.summary.links.0 {
        assert!(link.busy <= 1.0, "{name}");
    }
    // GPUs, nodes, the client, and a front end of each engine, there and back.
    assert_eq!(run.summary.links.0.len(), 2 * 8 + 2 * 2 + 2 + 2 * 2);
}
