//! Configurations as a user writes them: what resolves, what each mistake says, and what no text may do.

use std::path::{Path, PathBuf};

use llmperforacle::config::{
    Diagnostic, Overrides, Resolved, Severity, TraceRun, from_trace, generate_config,
    generate_config_json, load, load_text, reference, schema,
};
use llmperforacle::workload::{Distribution, Workload};
use oracle_components::SimTime;
use oracle_components::device::Efficiency;
use oracle_components::scenario::{LinkSpec, PrefixCaching, QueuePolicy, Routing};
use proptest::prelude::*;
use serde_json::Value as Json;

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
    let head = GOOD
        .split("frameworks_to_test:")
        .next()
        .expect("GOOD has frameworks");
    format!("{head}frameworks_to_test:\n  - name: first\n    type: {kind}\n    config: {config}\n")
}

fn replaced(from: &str, to: &str) -> String {
    assert!(
        GOOD.contains(from),
        "{from:?} is not in the good configuration"
    );
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
    load_text(
        GOOD.as_bytes(),
        "test.yaml",
        &Overrides {
            set,
            ..Overrides::default()
        },
    )
}

fn lines(found: &[Diagnostic]) -> String {
    found
        .iter()
        .map(|diagnostic| format!("{diagnostic}\n"))
        .collect()
}

/// What a text gives: its errors, or its warnings.
fn messages(text: &str) -> String {
    match resolve(text) {
        Ok(resolved) => lines(&resolved.warnings),
        Err(found) => lines(&found),
    }
}

fn report<'a>(cases: impl IntoIterator<Item = (&'a str, String)>) -> String {
    cases
        .into_iter()
        .map(|(name, text)| format!("# {name}\n{}\n", messages(&text)))
        .collect()
}

fn predecessor_files() -> Vec<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shared = std::env::var_os("LLMPERFORACLE_SHARED").map_or(beside, PathBuf::from);
    let folder = shared.join("data/llmperforacle-configs");
    let names = [
        "walkthrough_example.yaml",
        "example_parallel_experiment.yaml",
        "example_prefix_caching.yaml",
    ];
    names
        .iter()
        .map(|name| folder.join(name))
        .filter(|path| path.exists())
        .collect()
}

fn scenarios() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/scenarios");
    ["walkthrough.yaml", "million.yaml"]
        .iter()
        .map(|name| folder.join(name))
        .collect()
}

#[test]
fn the_predecessors_files_resolve_unmodified() {
    for path in predecessor_files() {
        let resolved =
            load(&path, &Overrides::default()).unwrap_or_else(|found| panic!("{}", lines(&found)));
        for engine in &resolved.scenario.engines {
            assert!(engine.kv_blocks > 0, "{}", engine.name);
            assert!(
                !engine.ingress.is_empty() && !engine.egress.is_empty(),
                "{} has a client link",
                engine.name
            );
        }
        assert!(
            resolved
                .output
                .summary_json
                .starts_with("experiments/results")
        );
    }
}

#[test]
fn the_predecessors_parallel_file_keeps_its_layout() {
    let Some(path) = predecessor_files()
        .into_iter()
        .find(|path| path.ends_with("example_parallel_experiment.yaml"))
    else {
        return;
    };
    let resolved = load(&path, &Overrides::default()).expect("the file resolves");
    let engines = &resolved.scenario.engines;
    let names: Vec<&str> = engines.iter().map(|engine| engine.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "vllm_tp4_llama2_13b",
            "vllm_dp_replica1_llama2_7b",
            "vllm_dp_replica2_llama2_7b"
        ]
    );
    assert_eq!(
        (engines[0].tensor_parallel, engines[0].pipeline_parallel),
        (4, 1)
    );
    assert_eq!(
        engines[0].rings[0].iter().map(Vec::len).collect::<Vec<_>>(),
        [1, 1, 1, 1]
    );
    assert_eq!(engines[1].ingress.len(), 2, "client to gpu0 to gpu4");
}

#[test]
fn our_scenarios_and_the_generated_example_have_no_warning() {
    for path in scenarios() {
        let resolved =
            load(&path, &Overrides::default()).unwrap_or_else(|found| panic!("{}", lines(&found)));
        assert_eq!(lines(&resolved.warnings), "", "{}", path.display());
    }
    assert_eq!(messages(&generate_config()), "");
    let json = serde_json::to_string_pretty(&generate_config_json()).expect("a JSON value prints");
    assert_eq!(messages(&json), "");
    assert_eq!(messages(GOOD), "");
}

#[test]
fn what_is_not_a_configuration_is_one_error_with_a_place() {
    let cases = [
        ("empty", String::new()),
        ("null", "null".to_owned()),
        ("a scalar", "just text".to_owned()),
        ("a list", "- 1".to_owned()),
        ("an open bracket", "simulation: {lod: high".to_owned()),
        (
            "a bad indentation",
            "simulation:\n  lod: high\n random_seed: 1\n".to_owned(),
        ),
        ("an unknown anchor", "simulation: *nowhere".to_owned()),
        (
            "two documents",
            "simulation: {}\n---\nsimulation: {}\n".to_owned(),
        ),
        (
            "a key twice",
            replaced("  random_seed: 7", "  random_seed: 7\n  random_seed: 8"),
        ),
    ];
    insta::assert_snapshot!(report(cases));
    let found = load_text(
        b"simulation:\n  lod: h\xffgh",
        "test.yaml",
        &Overrides::default(),
    )
    .expect_err("not UTF-8");
    assert_eq!(
        lines(&found),
        "test.yaml:2:9: error: not UTF-8 text; save the file as UTF-8\n"
    );
    let found = load(Path::new("no/such/file.yaml"), &Overrides::default()).expect_err("no file");
    assert!(
        found[0]
            .to_string()
            .starts_with("no/such/file.yaml: error: cannot read the file"),
        "{}",
        found[0]
    );
}

#[test]
fn each_mistake_in_a_value_says_what_was_found() {
    let cases = [
        ("unknown key", replaced("random_seed", "random_sed")),
        (
            "key of another level",
            replaced("  random_seed: 7", "  total_duration: 7"),
        ),
        (
            "text for a number",
            replaced("max_simulation_time: 100", "max_simulation_time: long"),
        ),
        (
            "number for text",
            replaced("profile_name: chat", "profile_name: 12"),
        ),
        (
            "list for a mapping",
            replaced("peak_tflops: {fp16: 312, int8: 624}", "peak_tflops: [312]"),
        ),
        (
            "mapping for a list",
            replaced("  client_profiles:\n    - p", "  client_profiles:\n      p"),
        ),
        (
            "fraction for a whole number",
            replaced("random_seed: 7", "random_seed: 7.5"),
        ),
        (
            "negative",
            replaced("max_simulation_time: 100", "max_simulation_time: -1"),
        ),
        (
            "too large",
            replaced("random_seed: 7", "random_seed: 99999999999999999999"),
        ),
        ("not a number", replaced("rate: 2.0", "rate: .nan")),
        ("infinite", replaced("rate: 2.0", "rate: .inf")),
        (
            "number for true or false",
            replaced("latency_s: 0.001}", "latency_s: 0.001, bidirectional: 2}"),
        ),
        (
            "not one of the names",
            replaced("random_seed: 7", "lod: low"),
        ),
        (
            "missing section",
            replaced(
                "simulation:\n  max_simulation_time: 100\n  random_seed: 7\n",
                "",
            ),
        ),
        (
            "missing key",
            replaced("    - profile_name: chat\n      inter", "    - inter"),
        ),
        (
            "nothing after the colon",
            replaced("max_simulation_time: 100", "max_simulation_time:"),
        ),
        (
            "a percentile of 99",
            format!("{GOOD}metrics_config: {{percentiles_to_calculate: [0.5, 99]}}\n"),
        ),
    ];
    insta::assert_snapshot!(report(cases));
}

#[test]
fn each_mistake_in_the_hardware_is_found() {
    let cases = [
        (
            "no devices",
            replaced(
                "    - {device_id: gpu0",
                "    []\n  ignored:\n    - {device_id: gpu0",
            ),
        ),
        (
            "duplicate device",
            replaced("{device_id: gpu1,", "{device_id: gpu0,"),
        ),
        (
            "unknown catalog device",
            replaced("gpu1, device: A100-80GB", "gpu1, device: H10-80GB"),
        ),
        (
            "no data sheet",
            replaced(
                "device_type: GPU\n      peak_tflops: {fp16: 312, int8: 624}\n",
                "device_type: GPU\n",
            ),
        ),
        ("no fp16 peak", replaced("fp16: 312, ", "")),
        ("little memory", replaced("80_000_000_000", "80_000")),
        (
            "unknown link end",
            replaced("dest_id: gpu1", "dest_id: gpu9"),
        ),
        (
            "duplicate link",
            replaced("link_id: bridge", "link_id: uplink"),
        ),
        (
            "link to itself",
            replaced(
                "source_id: gpu0, dest_id: gpu1",
                "source_id: gpu1, dest_id: gpu1",
            ),
        ),
        (
            "one way only",
            replaced(
                "latency_s: 0.000001}",
                "latency_s: 0.000001, bidirectional: false}",
            ),
        ),
        (
            "no client link",
            replaced(
                "source_id: client_node_0, dest_id: gpu0",
                "source_id: gpu1, dest_id: gpu2",
            ),
        ),
        (
            "keys without effect",
            replaced(
                "  network_links:",
                "  memory_devices: [1]\n  network_links:",
            ),
        ),
    ];
    insta::assert_snapshot!(report(cases));
}

#[test]
fn each_mistake_in_a_framework_is_found() {
    let model = "model_profile_id: Llama2-7B";
    let parallel = |parallelism: &str| {
        with_framework(
            "ParallelVLLM",
            &format!("{{{model}, parallelism: {{{parallelism}}}}}"),
        )
    };
    let single = |keys: &str| with_framework("VLLM", &format!("{{{model}, gpu_id: gpu0, {keys}}}"));
    let cases = [
        ("unknown type", replaced("type: VLLM", "type: SGLang")),
        ("unknown model", replaced("Llama2-7B", "Llama2-7")),
        ("unknown GPU", replaced("gpu_id: gpu0", "gpu_id: gpu5")),
        ("no GPU", replaced("      gpu_id: gpu0\n", "")),
        ("model too large", replaced("Llama2-7B", "Llama3-70B")),
        (
            "no target",
            replaced(
                "type: VLLM",
                "type: VLLM\n    is_target_for_workload: false",
            ),
        ),
        (
            "no parallelism",
            with_framework("ParallelVLLM", &format!("{{{model}}}")),
        ),
        ("no strategy", parallel("gpu_ids: [gpu0, gpu1]")),
        (
            "unknown strategy",
            parallel("strategy: DP, gpu_ids: [gpu0, gpu1]"),
        ),
        ("no GPUs", parallel("strategy: TP, tp_degree: 2")),
        (
            "unknown GPU in a list",
            parallel("strategy: TP, tp_degree: 2, gpu_ids: [gpu0, gpu7]"),
        ),
        (
            "GPU twice",
            parallel("strategy: TP, tp_degree: 2, gpu_ids: [gpu0, gpu0]"),
        ),
        (
            "TP degree",
            parallel("strategy: TP, tp_degree: 3, gpu_ids: [gpu0, gpu1]"),
        ),
        (
            "more stages than GPUs",
            parallel("strategy: PP, pp_stages: 3, gpu_ids: [gpu0, gpu1]"),
        ),
        (
            "idle GPUs",
            parallel("strategy: PP, pp_stages: 1, gpu_ids: [gpu0, gpu1]"),
        ),
        (
            "TP × PP",
            parallel("strategy: TP_PP, tp_degree: 2, pp_stages: 2, gpu_ids: [gpu0, gpu1]"),
        ),
        (
            "no microbatch",
            parallel(
                "strategy: PP, pp_stages: 2, num_microbatches_per_request: 0, gpu_ids: [gpu0, gpu1]",
            ),
        ),
        (
            "missing link",
            parallel("strategy: TP, tp_degree: 2, gpu_ids: [gpu1, gpu2]"),
        ),
        ("another tool's key", single("tensor_parallel_size: 2")),
        (
            "context beyond the pool",
            single("max_model_len: 4000, num_gpu_blocks_override: 10"),
        ),
        (
            "more sequences than tokens",
            single("max_num_seqs: 300, max_num_batched_tokens: 200"),
        ),
        (
            "policy without effect",
            single("scheduling_policy: shortest_first"),
        ),
        (
            "cache size",
            single("max_prefix_cache_size: 10, store_prefix_tokens: true"),
        ),
        (
            "ignored keys",
            single("data_parallel_rank: 0, microbatch_size: 4"),
        ),
    ];
    insta::assert_snapshot!(report(cases));
}

#[test]
fn each_mistake_in_the_workload_is_found() {
    let prompt = "prompt_tokens_dist_config: {type: Constant, value: 100}";
    let with_prompt = |distribution: &str| {
        replaced(
            prompt,
            &format!("prompt_tokens_dist_config: {distribution}"),
        )
    };
    let cases = [
        ("no duration", replaced("  total_duration: 50\n", "")),
        (
            "no profiles",
            GOOD.split("  client_profiles")
                .next()
                .expect("a head")
                .to_owned()
                + "frameworks_to_test: []\n",
        ),
        (
            "no weight",
            replaced("profile_name: chat", "profile_name: chat\n      weight: 0"),
        ),
        (
            "no time between arrivals",
            replaced(
                "{type: Exponential, rate: 2.0}",
                "{type: Constant, value: 0}",
            ),
        ),
        ("unknown distribution", with_prompt("{type: Linear}")),
        ("distribution without a type", with_prompt("{value: 3}")),
        ("number for a distribution", with_prompt("100")),
        (
            "parameter of another distribution",
            with_prompt("{type: Constant, mean: 3}"),
        ),
        (
            "ends swapped",
            with_prompt("{type: Uniform, low: 9, high: 3}"),
        ),
        (
            "weights and components",
            with_prompt("{type: Mixture, components: [{type: Constant}], weights: [1, 2]}"),
        ),
        (
            "mistake within a mixture",
            with_prompt("{type: Mixture, components: [{type: Gamma, shape: 0}]}"),
        ),
        (
            "log-normal by arithmetic",
            with_prompt("{type: LogNormal, mean: 150, sigma: 50}"),
        ),
        (
            "log-normal said twice",
            with_prompt("{type: LogNormal, mu: 1, mean_tokens: 50, std_tokens: 3}"),
        ),
        (
            "unknown framework weight",
            replaced(
                "  total_duration: 50",
                "  total_duration: 50\n  framework_weights: {frist: 2}",
            ),
        ),
        (
            "missing trace",
            replaced("  total_duration: 50", "  trace: {path: no/such.csv}")
                .replace("client_profiles", "turns"),
        ),
        (
            "trace and profiles",
            replaced("  total_duration: 50", "  trace: {path: Cargo.toml}"),
        ),
        (
            "patterns without effect",
            replaced(
                "  total_duration: 50",
                "  total_duration: 50\n  prefix_patterns: {patterns: [{type: random}]}",
            ),
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
            replaced(
                "profile_name: chat",
                "profile_name: chat\n      turn_type_dist_config: {type: Constant}",
            ),
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
    assert_eq!(
        found
            .iter()
            .filter(|one| one.severity == Severity::Error)
            .count(),
        10,
        "{}",
        lines(&found)
    );
    assert!(
        found
            .iter()
            .all(|one| one.line > 0 && one.column > 0 && !one.key_path.is_empty())
    );
    assert!(found.is_sorted_by_key(|one| (one.line, one.column)));
}

#[test]
fn json_reads_like_yaml_and_keeps_its_places() {
    let json = serde_json::to_string_pretty(&generate_config_json())
        .expect("a JSON value prints")
        .replace("\n", "\n\t");
    assert_eq!(messages(&json), "");
    let broken = json.replace("\"max_num_seqs\": 256", "\"max_num_seqs\": \"256\"");
    let found = resolve(&broken).expect_err("text for a number");
    let line = broken
        .lines()
        .position(|line| line.contains("max_num_seqs"))
        .expect("the key is there");
    assert_eq!((found.len(), found[0].line as usize), (1, line + 1));
    assert_eq!(
        found[0].key_path,
        "frameworks_to_test[0].config.max_num_seqs"
    );
}

fn link<'a>(resolved: &'a Resolved, id: &str) -> &'a LinkSpec {
    resolved
        .scenario
        .links
        .iter()
        .find(|link| link.id == id)
        .unwrap_or_else(|| panic!("no link {id}"))
}

#[test]
fn bandwidth_is_in_bits_and_links_have_a_way_back() {
    let resolved = good(GOOD);
    let (there, back) = (link(&resolved, "uplink"), link(&resolved, "uplink:reverse"));
    assert_eq!((there.bytes_per_s, there.latency_s), (1e9, 0.001));
    assert_eq!(
        (back.source.as_str(), back.destination.as_str()),
        ("gpu0", "client_node_0")
    );
    let declared = "latency_s: 0.001}\n    - {link_id: down, source_id: gpu0, dest_id: client_node_0, bandwidth_bps: 16, latency_s: 0}";
    let resolved = good(&replaced("latency_s: 0.001}", declared));
    assert!(
        !resolved
            .scenario
            .links
            .iter()
            .any(|link| link.id == "uplink:reverse"),
        "the declared one counts"
    );
    let egress = &resolved.scenario.engines[0].egress;
    assert_eq!(resolved.scenario.links[egress[0] as usize].id, "down");
}

#[test]
fn defaults_are_those_of_the_reference() {
    let resolved = good(GOOD);
    let engine = &resolved.scenario.engines[0];
    let scheduler = engine.scheduler;
    assert_eq!(
        (
            scheduler.max_num_seqs,
            scheduler.max_num_batched_tokens,
            scheduler.block_tokens
        ),
        (256, 2048, 16)
    );
    assert_eq!(scheduler.max_model_len, 4096, "Llama 2's own context");
    assert!(scheduler.chunked_prefill);
    assert_eq!(scheduler.policy, QueuePolicy::Fcfs);
    assert_eq!(scheduler.prefix_caching, PrefixCaching::Full);
    assert_eq!(
        (engine.step_overhead_s, engine.gpu_share, engine.efficiency),
        (0.0, 1.0, None)
    );
    assert_eq!(
        resolved.scenario.gpus[0].efficiency,
        Efficiency::PREDECESSOR
    );
    assert_eq!(resolved.scenario.routing, Routing::RoundRobin);
    assert_eq!(
        resolved.scenario.horizon,
        Some(SimTime::from_secs_f64(100.0))
    );
    assert_eq!(resolved.output.directory, Path::new("output/test"));
    let Workload::Synthetic(workload) = &resolved.workload else {
        panic!("profiles make a synthetic workload")
    };
    assert_eq!((workload.seed, workload.max_turns_per_session), (7, 10));
    assert_eq!(
        workload.profiles[0].think_time_s,
        Distribution::Constant { value: 5.0 }
    );
    assert_eq!(resolved.profile_names, ["chat"]);
    let large =
        with_set(&["hardware_profile.compute_devices[0].device=H100-SXM-80GB"]).expect("resolves");
    assert_eq!(
        large.scenario.engines[0].scheduler.max_num_batched_tokens,
        8192
    );
}

#[test]
fn caching_keys_map_onto_three_modes() {
    let mode = |set: &[&str]| {
        with_set(set).expect("resolves").scenario.engines[0]
            .scheduler
            .prefix_caching
    };
    let config = |key: &str| format!("frameworks_to_test[0].config.{key}=false");
    assert_eq!(
        mode(&[&config("enable_cross_request_caching")]),
        PrefixCaching::Conversational
    );
    assert_eq!(
        mode(&[&config("enable_prefix_caching")]),
        PrefixCaching::Off
    );
}

#[test]
fn a_context_is_held_to_the_pool() {
    let resolved =
        with_set(&["frameworks_to_test[*].config.num_gpu_blocks_override=100"]).expect("resolves");
    let engine = &resolved.scenario.engines[0];
    assert_eq!(
        (engine.kv_blocks, engine.scheduler.max_model_len),
        (100, 1600)
    );
}

#[test]
fn a_log_normal_has_the_mean_that_is_asked_for() {
    let prompt = |parameters: &str| {
        let set = format!(
            "workload.client_profiles[0].prompt_tokens_dist_config={{type: LogNormal, {parameters}}}"
        );
        let resolved = with_set(&[&set]).expect("resolves");
        let Workload::Synthetic(workload) = resolved.workload else {
            panic!("profiles make a synthetic workload")
        };
        let Distribution::LogNormal { mu, sigma } = workload.profiles[0].prompt_tokens else {
            panic!("a log-normal")
        };
        (mu, sigma, resolved.warnings.len())
    };
    assert_eq!(prompt("mean: 5, sigma: 1.5"), (5.0, 1.5, 0));
    assert_eq!(prompt("mu: 5, sigma: 1.5"), (5.0, 1.5, 0));
    for (parameters, warnings) in [
        ("mean: 150, sigma: 50", 1),
        ("mean_tokens: 150, std_tokens: 50", 0),
        ("mean: 150, std: 50", 0),
    ] {
        let (mu, sigma, warned) = prompt(parameters);
        let mean = (mu + sigma * sigma / 2.0).exp();
        let std = mean * (sigma * sigma).exp_m1().sqrt();
        assert!(
            (mean - 150.0).abs() < 1e-9 && (std - 50.0).abs() < 1e-9,
            "{parameters}: {mean} ± {std}"
        );
        assert_eq!(warned, warnings, "{parameters}");
    }
}

#[test]
fn a_replica_is_a_clone_on_clones() {
    let text = with_framework(
        "ParallelVLLM",
        "{model_profile_id: Llama2-7B, parallelism: {strategy: TP, tp_degree: 2, gpu_ids: [gpu0, gpu1]}}\n    replicas: 3",
    );
    let scenario = good(&text).scenario;
    let names: Vec<&str> = scenario
        .engines
        .iter()
        .map(|engine| engine.name.as_str())
        .collect();
    assert_eq!(names, ["first", "first#r1", "first#r2"]);
    let first = &scenario.engines[0];
    for (copy, engine) in scenario.engines.iter().enumerate() {
        assert_eq!(engine.kv_blocks, first.kv_blocks);
        assert!((engine.weight * 3.0 - 1.0).abs() < 1e-12);
        let suffix = if copy == 0 {
            String::new()
        } else {
            format!("#r{copy}")
        };
        let ids: Vec<&str> = engine
            .gpus
            .iter()
            .map(|gpu| scenario.gpus[*gpu as usize].id.as_str())
            .collect();
        assert_eq!(ids, [format!("gpu0{suffix}"), format!("gpu1{suffix}")]);
        let link = |path: &[u32]| scenario.links[path[0] as usize].id.clone();
        assert_eq!(link(&engine.rings[0][0]), format!("bridge{suffix}"));
        assert_eq!(link(&engine.ingress), format!("uplink{suffix}"));
        assert_eq!(link(&engine.egress), format!("uplink:reverse{suffix}"));
    }
}

#[test]
fn ten_thousand_replicas_need_one_entry() {
    let scenario = good(&replaced("type: VLLM", "type: VLLM\n    replicas: 10_000")).scenario;
    assert_eq!(scenario.engines.len(), 10_000);
    let mut gpus: Vec<u32> = scenario
        .engines
        .iter()
        .flat_map(|engine| engine.gpus.clone())
        .collect();
    gpus.sort_unstable();
    gpus.dedup();
    assert_eq!(gpus.len(), 10_000, "each has a GPU of its own");
}

#[test]
fn two_engines_on_a_gpu_share_it() {
    let second = "  - name: second\n    type: VLLM\n    config: {model_profile_id: Llama2-7B, gpu_id: gpu0}\n";
    let resolved = good(&format!("{GOOD}{second}"));
    let alone = good(GOOD).scenario.engines[0].kv_blocks;
    for engine in &resolved.scenario.engines {
        assert!((engine.gpu_share - 0.5).abs() < 1e-12);
        assert!(engine.kv_blocks < alone / 2, "both hold the weights");
    }
    assert_eq!(resolved.warnings.len(), 2, "{}", lines(&resolved.warnings));
}

#[test]
fn the_entry_serves_engines_without_a_link_of_their_own() {
    let resolved = good(&replaced(
        "dest_id: gpu0, bandwidth",
        "dest_id: framework_entry_0, bandwidth",
    ));
    let engine = &resolved.scenario.engines[0];
    assert_eq!((engine.ingress.len(), engine.egress.len()), (1, 1));
    assert_eq!(
        resolved.scenario.links[engine.ingress[0] as usize].destination,
        "framework_entry_0"
    );
}

#[test]
fn flags_go_through_the_same_checks() {
    let overrides = Overrides {
        set: vec![
            "simulation.random_seed=1".to_owned(),
            "metrics_config.output_summary_json_path=here/s.json".to_owned(),
        ],
        seed: Some(99),
        mfu: Some(0.6),
        name: Some("night".to_owned()),
        output_directory: Some(PathBuf::from("elsewhere")),
        ..Overrides::default()
    };
    let resolved = load_text(GOOD.as_bytes(), "test.yaml", &overrides).expect("resolves");
    assert_eq!(
        resolved.scenario.seed, 99,
        "a flag of its own name beats --set"
    );
    assert_eq!(
        resolved.scenario.engines[0].efficiency,
        Some(Efficiency { mfu: 0.6, mbu: 0.8 })
    );
    assert_eq!(resolved.output.run_name, "night");
    assert_eq!(resolved.output.directory, Path::new("elsewhere"));
    assert_eq!(
        resolved.output.summary_json,
        Path::new("here/s.json"),
        "as the command line says"
    );
    assert_eq!(resolved.canonical["simulation"]["random_seed"], 99);

    let bad = Overrides {
        mfu: Some(1.5),
        ..Overrides::default()
    };
    let found = load_text(GOOD.as_bytes(), "test.yaml", &bad).expect_err("out of range");
    insta::assert_snapshot!(lines(&found), @"--mfu: error: frameworks_to_test[0].config.mfu: 1.5 is out of range: must be above 0 and at most 1");
}

#[test]
fn set_reaches_any_key_and_says_where_it_went_wrong() {
    let resolved = with_set(&[
        "frameworks_to_test[*].config.max_num_seqs=64",
        "workload.client_profiles[0].prompt_tokens_dist_config={type: Constant, value: 1e3}",
        "metrics_config.percentiles_to_calculate=[0.999, 0.5]",
        "simulation.max_simulation_time=",
        "simulation.drain=true",
    ]);
    let resolved = resolved.unwrap_or_else(|found| panic!("{}", lines(&found)));
    assert_eq!(resolved.scenario.engines[0].scheduler.max_num_seqs, 64);
    assert_eq!(resolved.output.quantiles, [0.5, 0.999]);
    assert_eq!(resolved.scenario.horizon, None);
    let cases = [
        "simulation.lodd=high",
        "simulaton.lod=high",
        "frameworks_to_test[3].config.mfu=0.4",
        "frameworks_to_test.config.mfu=0.4",
        "framework_to_test[0].config.mfu=0.4",
        "workload[0]=1",
        "simulation.random_seed.x=1",
        "simulation.random_seed",
        "simulation..lod=high",
        "frameworks_to_test[0.config=1",
        "simulation.lod={",
        "simulation.lod=[high]",
    ];
    let report = cases
        .map(|set| format!("# {set}\n{}\n", lines(&with_set(&[set]).expect_err(set))))
        .concat();
    insta::assert_snapshot!(report);
}

fn trace_run(model: &str, device: &str) -> TraceRun {
    TraceRun {
        trace: Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"),
        format: Some("azure".to_owned()),
        rate_scale: Some(2.0),
        max_requests: Some(10),
        model: model.to_owned(),
        device: device.to_owned(),
        replicas: 2,
        tensor_parallel: 4,
        pipeline_parallel: 1,
    }
}

#[test]
fn a_trace_runs_without_a_file() {
    let overrides = Overrides {
        set: vec!["frameworks_to_test[0].config.max_num_seqs=8".to_owned()],
        ..Overrides::default()
    };
    let resolved = from_trace(&trace_run("Llama3-70B", "H100"), &overrides);
    let resolved = resolved.unwrap_or_else(|found| panic!("{}", lines(&found)));
    assert_eq!(lines(&resolved.warnings), "");
    let scenario = &resolved.scenario;
    assert_eq!(
        (
            scenario.horizon,
            scenario.engines.len(),
            scenario.gpus.len()
        ),
        (None, 2, 8)
    );
    for engine in &scenario.engines {
        assert_eq!(engine.scheduler.max_num_seqs, 8);
        assert_eq!(engine.rings[0].len(), 4);
        let ring = &scenario.links[engine.rings[0][0][0] as usize];
        assert!(ring.bytes_per_s > 100e9, "NVLink: {}", ring.bytes_per_s);
        assert!((scenario.links[engine.ingress[0] as usize].bytes_per_s - 1.25e9).abs() < 1.0);
    }
    let found = from_trace(&trace_run("Llama3-71B", "H1000"), &Overrides::default())
        .expect_err("unknown names");
    insta::assert_snapshot!(lines(&found));
}

#[test]
fn the_schema_knows_every_key_of_the_files() {
    let schema = schema();
    let files = predecessor_files().into_iter().chain(scenarios());
    let mut texts: Vec<String> = files
        .map(|path| std::fs::read_to_string(path).expect("a readable file"))
        .collect();
    texts.extend([generate_config(), GOOD.to_owned()]);
    for text in texts {
        let config: Json = serde_saphyr::from_str(&text).expect("YAML");
        assert_known(&config, &schema, &schema, "");
    }
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    let block_size = &schema["$defs"]["FrameworkConfig"]["properties"]["block_size"];
    assert_eq!(
        (
            &block_size["default"],
            &block_size["maximum"],
            &block_size["x-unit"]
        ),
        (&16.into(), &256.into(), &"tokens".into())
    );
}

/// Walks a config and its schema side by side.
fn assert_known(config: &Json, schema: &Json, root: &Json, path: &str) {
    if let Some(name) = schema["$ref"]
        .as_str()
        .and_then(|name| name.strip_prefix("#/$defs/"))
    {
        return assert_known(config, &root["$defs"][name], root, path);
    }
    if let Some(variants) = schema["oneOf"].as_array() {
        let variant = variants
            .iter()
            .find(|variant| variant["properties"]["type"]["const"] == config["type"]);
        return assert_known(
            config,
            variant.unwrap_or_else(|| panic!("{path}: no variant")),
            root,
            path,
        );
    }
    match config {
        Json::Object(entries) => {
            for (key, value) in entries {
                let inner = &schema["properties"][key];
                assert!(inner.is_object(), "{path}.{key} is not in the schema");
                assert!(
                    inner["description"].is_string(),
                    "{path}.{key} has no description"
                );
                assert_known(value, inner, root, &format!("{path}.{key}"));
            }
        }
        Json::Array(items) => items
            .iter()
            .for_each(|item| assert_known(item, &schema["items"], root, path)),
        Json::String(text) => {
            let names = schema["enum"].as_array();
            assert!(
                names.is_none_or(|names| names.iter().any(|name| name == text)),
                "{path}: {text}"
            );
        }
        _ => {}
    }
}

#[test]
fn the_reference_has_a_row_for_every_key_of_the_schema() {
    let (reference, schema) = (reference(), schema());
    let sections = schema["$defs"]
        .as_object()
        .expect("definitions")
        .values()
        .chain([&schema]);
    for key in sections
        .filter_map(|section| section["properties"].as_object())
        .flat_map(|keys| keys.keys())
    {
        assert!(reference.contains(&format!("| `{key}` |")), "{key}");
    }
}

#[test]
fn the_canonical_form_is_a_configuration_of_the_same_meaning() {
    let first = good(GOOD);
    let again = good(&first.canonical.to_string());
    assert_eq!(again.canonical, first.canonical);
    assert_eq!(again.workload, first.workload);
    assert_eq!(
        format!("{:?}", again.scenario),
        format!("{:?}", first.scenario)
    );
}

#[test]
fn bombs_are_refused() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let wide = format!("simulation: {}", "{a: ".repeat(10_000));
    let mut aliases = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let uses = vec![format!("*a{}", level - 1); 10].join(", ");
        aliases.push_str(&format!("a{level}: &a{level} [{uses}]\n"));
    }
    for text in [deep, wide, aliases] {
        let found = resolve(&text).expect_err("a bomb");
        assert!(found.len() <= 20, "{} findings", found.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = load_text(&bytes, "test.yaml", &Overrides::default());
    }

    #[test]
    fn no_truncation_or_mutation_makes_it_panic(
        cut in 0..GOOD.len(),
        edits in proptest::collection::vec((0..GOOD.len(), "[\\[\\]{}:,&*!|>'\"#%@`\n\t 0-9a-z.-]{0,4}"), 0..4),
        is_cut in any::<bool>(),
    ) {
        let mut text = if is_cut { GOOD[..cut].to_owned() } else { GOOD.to_owned() };
        for (place, inserted) in edits {
            let place = place.min(text.len());
            if text.is_char_boundary(place) {
                text.insert_str(place, &inserted);
            }
        }
        let _ = resolve(&text);
    }

    #[test]
    fn no_value_makes_it_panic(
        line in 0..40_usize,
        value in prop_oneof![
            Just(".nan"), Just("-.inf"), Just("1e308"), Just("-1"), Just("0"), Just("18446744073709551615"),
            Just("4294967295"), Just("[]"), Just("{}"), Just("''"), Just("~"), Just("true"), Just("x"), Just("1e-320"),
        ],
    ) {
        let mut lines: Vec<String> = GOOD.lines().map(str::to_owned).collect();
        let line = line % lines.len();
        if let Some((key, _)) = lines[line].clone().split_once(": ") {
            lines[line] = format!("{key}: {value}");
        }
        let _ = resolve(&lines.join("\n"));
    }

    #[test]
    fn no_override_makes_it_panic(set in "[a-z_.\\[\\]*0-9]{0,30}=?[ -~]{0,20}") {
        let _ = with_set(&[&set]);
    }
}
