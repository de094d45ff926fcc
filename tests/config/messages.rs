//! What each kind of mistake says, and that all of a file are said.

use std::path::Path;

use llmperforacle::config::{Overrides, Severity, load, load_text};

use crate::{GOOD, lines, replaced, report, resolve, with_framework};

#[test]
fn what_is_not_a_configuration_is_one_error_with_a_place() {
    let cases = [
        ("empty", String::new()),
        ("null", "null".to_owned()),
        ("a scalar", "just text".to_owned()),
        ("a list", "- 1".to_owned()),
        ("an open bracket", "simulation: {lod: high".to_owned()),
        ("a bad indentation", "simulation:\n  lod: high\n random_seed: 1\n".to_owned()),
        ("an unknown anchor", "simulation: *nowhere".to_owned()),
        ("two documents", "simulation: {}\n---\nsimulation: {}\n".to_owned()),
        ("a key twice", replaced("  random_seed: 7", "  random_seed: 7\n  random_seed: 8")),
    ];
    insta::assert_snapshot!(report(cases));
    let found = load_text(b"simulation:\n  lod: h\xffgh", "test.yaml", &Overrides::default()).expect_err("not UTF-8");
    assert_eq!(lines(&found), "test.yaml:2:9: error: not UTF-8 text; save the file as UTF-8\n");
    let found = load(Path::new("no/such/file.yaml"), &Overrides::default()).expect_err("no file");
    assert!(found[0].to_string().starts_with("no/such/file.yaml: error: cannot read the file"), "{}", found[0]);
}

#[test]
fn each_mistake_in_a_value_says_what_was_found() {
    let cases = [
        ("unknown key", replaced("random_seed", "random_sed")),
        ("key of another level", replaced("  random_seed: 7", "  total_duration: 7")),
        ("text for a number", replaced("max_simulation_time: 100", "max_simulation_time: long")),
        ("number for text", replaced("profile_name: chat", "profile_name: 12")),
        ("list for a mapping", replaced("peak_tflops: {fp16: 312, int8: 624}", "peak_tflops: [312]")),
        ("mapping for a list", replaced("  client_profiles:\n    - p", "  client_profiles:\n      p")),
        ("fraction for a whole number", replaced("random_seed: 7", "random_seed: 7.5")),
        ("negative", replaced("max_simulation_time: 100", "max_simulation_time: -1")),
        ("too large", replaced("random_seed: 7", "random_seed: 99999999999999999999")),
        ("not a number", replaced("rate: 2.0", "rate: .nan")),
        ("infinite", replaced("rate: 2.0", "rate: .inf")),
        ("number for true or false", replaced("latency_s: 0.001}", "latency_s: 0.001, bidirectional: 2}")),
        ("not one of the names", replaced("random_seed: 7", "lod: low")),
        ("missing section", replaced("simulation:\n  max_simulation_time: 100\n  random_seed: 7\n", "")),
        ("missing key", replaced("    - profile_name: chat\n      inter", "    - inter")),
        ("drain and an end", replaced("random_seed: 7", "drain: true")),
        ("a warm-up without end", format!("{GOOD}metrics_config: {{warm_up_duration_s: 1000}}\n")),
        ("nothing after the colon", replaced("max_simulation_time: 100", "max_simulation_time:")),
        ("a percentile of 99", format!("{GOOD}metrics_config: {{percentiles_to_calculate: [0.5, 99]}}\n")),
    ];
    insta::assert_snapshot!(report(cases));
}

#[test]
fn each_mistake_in_the_hardware_is_found() {
    let cases = [
        ("no devices", replaced("    - {device_id: gpu0", "    []\n  ignored:\n    - {device_id: gpu0")),
        ("duplicate device", replaced("{device_id: gpu1,", "{device_id: gpu0,")),
        ("unknown catalog device", replaced("gpu1, device: A100-80GB", "gpu1, device: H10-80GB")),
        (
            "no data sheet",
            replaced("device_type: GPU\n      peak_tflops: {fp16: 312, int8: 624}\n", "device_type: GPU\n"),
        ),
        ("no fp16 peak", replaced("fp16: 312, ", "")),
        ("little memory", replaced("80_000_000_000", "80_000")),
        ("unknown link end", replaced("dest_id: gpu1", "dest_id: gpu9")),
        ("duplicate link", replaced("link_id: bridge", "link_id: uplink")),
        ("link to itself", replaced("source_id: gpu0, dest_id: gpu1", "source_id: gpu1, dest_id: gpu1")),
        ("one way only", replaced("latency_s: 0.000001}", "latency_s: 0.000001, bidirectional: false}")),
        ("no client link", replaced("source_id: client_node_0, dest_id: gpu0", "source_id: gpu1, dest_id: gpu2")),
        ("keys without effect", replaced("  network_links:", "  memory_devices: [1]\n  network_links:")),
    ];
    insta::assert_snapshot!(report(cases));
}

#[test]
fn each_mistake_in_a_framework_is_found() {
    let model = "model_profile_id: Llama2-7B";
    let parallel =
        |parallelism: &str| with_framework("ParallelVLLM", &format!("{{{model}, parallelism: {{{parallelism}}}}}"));
    let single = |keys: &str| with_framework("VLLM", &format!("{{{model}, gpu_id: gpu0, {keys}}}"));
    let cases = [
        ("unknown type", replaced("type: VLLM", "type: SGLang")),
        ("unknown model", replaced("Llama2-7B", "Llama2-7")),
        ("unknown GPU", replaced("gpu_id: gpu0", "gpu_id: gpu5")),
        ("no GPU", replaced("      gpu_id: gpu0\n", "")),
        ("model too large", replaced("Llama2-7B", "Llama3-70B")),
        ("no target", replaced("type: VLLM", "type: VLLM\n    is_target_for_workload: false")),
        ("no parallelism", with_framework("ParallelVLLM", &format!("{{{model}}}"))),
        ("no strategy", parallel("gpu_ids: [gpu0, gpu1]")),
        ("unknown strategy", parallel("strategy: DP, gpu_ids: [gpu0, gpu1]")),
        ("no GPUs", parallel("strategy: TP, tp_degree: 2")),
        ("unknown GPU in a list", parallel("strategy: TP, tp_degree: 2, gpu_ids: [gpu0, gpu7]")),
        ("GPU twice", parallel("strategy: TP, tp_degree: 2, gpu_ids: [gpu0, gpu0]")),
        ("TP degree", parallel("strategy: TP, tp_degree: 3, gpu_ids: [gpu0, gpu1]")),
        ("more stages than GPUs", parallel("strategy: PP, pp_stages: 3, gpu_ids: [gpu0, gpu1]")),
        ("idle GPUs", parallel("strategy: PP, pp_stages: 1, gpu_ids: [gpu0, gpu1]")),
        ("TP × PP", parallel("strategy: TP_PP, tp_degree: 2, pp_stages: 2, gpu_ids: [gpu0, gpu1]")),
        (
            "no microbatch",
            parallel("strategy: PP, pp_stages: 2, num_microbatches_per_request: 0, gpu_ids: [gpu0, gpu1]"),
        ),
        ("missing link", parallel("strategy: TP, tp_degree: 2, gpu_ids: [gpu1, gpu2]")),
        ("another tool's key", single("tensor_parallel_size: 2")),
        ("context beyond the pool", single("max_model_len: 4000, num_gpu_blocks_override: 10")),
        ("more sequences than tokens", single("max_num_seqs: 300, max_num_batched_tokens: 200")),
        ("policy without effect", single("scheduling_policy: shortest_first")),
        ("cache size", single("max_prefix_cache_size: 10, store_prefix_tokens: true")),
        ("ignored keys", single("data_parallel_rank: 0, microbatch_size: 4")),
    ];
    insta::assert_snapshot!(report(cases));
}

#[test]
fn each_mistake_in_the_workload_is_found() {
    let prompt = "prompt_tokens_dist_config: {type: Constant, value: 100}";
    let with_prompt = |distribution: &str| replaced(prompt, &format!("prompt_tokens_dist_config: {distribution}"));
    let cases = [
        ("no duration", replaced("  total_duration: 50\n", "")),
        (
            "no profiles",
            GOOD.split("  client_profiles").next().expect("a head").to_owned() + "frameworks_to_test: []\n",
        ),
        ("no weight", replaced("profile_name: chat", "profile_name: chat\n      weight: 0")),
        ("no time between arrivals", replaced("{type: Exponential, rate: 2.0}", "{type: Constant, value: 0}")),
        ("prompts of no tokens", with_prompt("{type: Constant, value: 0}")),
        (
            "some prompts of no tokens",
            with_prompt(
                "{type: Mixture, components: [{type: Constant, value: 9}, {type: Uniform, low: 0, high: 0.5}]}",
            ),
        ),
        ("a logarithm of less than a token", with_prompt("{type: LogNormal, mu: -2, sigma: 0}")),
        ("gaps in place of lengths", with_prompt("{type: Exponential, rate: 1000}")),
        (
            "answers of no tokens",
            replaced(
                "max_output_tokens_dist_config: {type: Uniform, low: 10, high: 20}",
                "max_output_tokens_dist_config: {type: Constant, value: 0}",
            ),
        ),
        ("longer than any prompt", with_prompt("{type: Uniform, low: 5, high: 1e10}")),
        ("unknown distribution", with_prompt("{type: Linear}")),
        ("distribution without a type", with_prompt("{value: 3}")),
        ("number for a distribution", with_prompt("100")),
        ("parameter of another distribution", with_prompt("{type: Constant, mean: 3}")),
        ("ends swapped", with_prompt("{type: Uniform, low: 9, high: 3}")),
        ("weights and components", with_prompt("{type: Mixture, components: [{type: Constant}], weights: [1, 2]}")),
        ("mistake within a mixture", with_prompt("{type: Mixture, components: [{type: Gamma, shape: 0}]}")),
        ("log-normal by arithmetic", with_prompt("{type: LogNormal, mean: 150, sigma: 50}")),
        ("log-normal said twice", with_prompt("{type: LogNormal, mu: 1, mean_tokens: 50, std_tokens: 3}")),
        (
            "unknown framework weight",
            replaced("  total_duration: 50", "  total_duration: 50\n  framework_weights: {frist: 2}"),
        ),
        (
            "missing trace",
            replaced("  total_duration: 50", "  trace: {path: no/such.csv}").replace("client_profiles", "turns"),
        ),
        ("trace and profiles", replaced("  total_duration: 50", "  trace: {path: Cargo.toml}")),
        (
            "patterns without effect",
            replaced("  total_duration: 50", "  total_duration: 50\n  prefix_patterns: {patterns: [{type: random}]}"),
        ),
        (
            "unknown prefix",
            replaced(
                "  total_duration: 50",
                "  total_duration: 50\n  generate_prompt_tokens: true\n  prefix_patterns: {patterns: [{type: system, name: helpful_asistant}]}",
            ),
        ),
        (
            "ignored key",
            replaced("profile_name: chat", "profile_name: chat\n      turn_type_dist_config: {type: Constant}"),
        ),
    ];
    insta::assert_snapshot!(report(cases));
}

#[test]
fn ten_mistakes_are_ten_errors() {
    let text = replaced("max_simulation_time: 100", "max_simulation_time: -1")
        .replace("random_seed: 7", "random_sed: 7")
        .replace("gpu1, device: A100-80GB", "gpu1, device: A1000-80GB")
        .replace("fp16: 312", "fp16: .nan")
        .replace("memory_gbps: 2039", "memory_gbps: fast")
        .replace("dest_id: gpu1", "dest_id: gpu9")
        .replace("rate: 2.0", "rate: 0")
        .replace("low: 10, high: 20", "low: 30, high: 20")
        .replace("Llama2-7B", "Llama9-7B")
        .replace("gpu_id: gpu0", "gpu_id: gpu8");
    let found = resolve(&text).expect_err("ten mistakes");
    assert_eq!(found.iter().filter(|one| one.severity == Severity::Error).count(), 10, "{}", lines(&found));
    assert!(found.iter().all(|one| one.line > 0 && one.column > 0 && !one.key_path.is_empty()));
    assert!(found.is_sorted_by_key(|one| (one.line, one.column)));
}
