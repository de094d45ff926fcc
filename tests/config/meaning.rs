//! What keys mean once they are resolved.

use std::path::Path;

use llmperforacle::catalog::Catalog;
use llmperforacle::config::Resolved;
use llmperforacle::workload::{Distribution, Workload};
use oracle_components::SimTime;
use oracle_components::device::Efficiency;
use oracle_components::efficiency::EfficiencyCurves;
use oracle_components::model::Dtype;
use oracle_components::scenario::{KernelLaunch, LinkSpec, PrefixCaching, QueuePolicy, Routing};

use crate::{GOOD, good, lines, replaced, with_framework, with_set};

fn link<'a>(resolved: &'a Resolved, id: &str) -> &'a LinkSpec {
    resolved.scenario.links.iter().find(|link| link.id == id).unwrap_or_else(|| panic!("no link {id}"))
}

#[test]
fn bandwidth_is_in_bits_and_links_have_a_way_back() {
    let resolved = good(GOOD);
    let (there, back) = (link(&resolved, "uplink"), link(&resolved, "uplink:reverse"));
    assert_eq!((there.bytes_per_s, there.latency_s), (1e9, 0.001));
    assert_eq!((back.source.as_str(), back.destination.as_str()), ("gpu0", "client_node_0"));
    let declared = "latency_s: 0.001}\n    - {link_id: down, source_id: gpu0, dest_id: client_node_0, bandwidth_bps: 16, latency_s: 0}";
    let resolved = good(&replaced("latency_s: 0.001}", declared));
    assert!(!resolved.scenario.links.iter().any(|link| link.id == "uplink:reverse"), "the declared one counts");
    let way_out = resolved.scenario.engines[0].egress.last().expect("it leads to the client");
    assert_eq!(resolved.scenario.links[*way_out as usize].id, "down");
}

#[test]
fn defaults_are_those_of_the_reference() {
    let resolved = good(GOOD);
    let engine = &resolved.scenario.engines[0];
    let scheduler = engine.scheduler;
    assert_eq!((scheduler.max_num_seqs, scheduler.max_num_batched_tokens, scheduler.block_tokens), (256, 2048, 16));
    assert_eq!(scheduler.max_model_len, 4096, "Llama 2's own context");
    assert!(scheduler.chunked_prefill);
    assert_eq!(scheduler.policy, QueuePolicy::Fcfs);
    assert_eq!(scheduler.prefix_caching, PrefixCaching::Full);
    assert_eq!((engine.step_overhead_s, engine.gpu_share, engine.efficiency.is_none()), (1.1e-3, 1.0, true));
    let Efficiency::Curve(curves) = &resolved.scenario.gpus[0].efficiency else { panic!("a catalog GPU has a curve") };
    assert_eq!(curves, &Catalog::builtin().device("A100-80GB").expect("a catalog name").curves.curves);
    assert_eq!(resolved.scenario.routing, Routing::RoundRobin);
    assert_eq!(resolved.scenario.horizon, Some(SimTime::from_secs_f64(100.0)));
    assert_eq!(resolved.output.directory, Path::new("output/test"));
    let Workload::Synthetic(workload) = &resolved.workload else { panic!("profiles make a synthetic workload") };
    assert_eq!((workload.seed, workload.max_turns_per_session), (7, 10));
    assert_eq!(workload.profiles[0].think_time_s, Distribution::Constant { value: 5.0 });
    assert_eq!(resolved.profile_names, ["chat"]);
    let large = with_set(&["hardware_profile.compute_devices[0].device=H100-SXM-80GB"]).expect("resolves");
    assert_eq!(large.scenario.engines[0].scheduler.max_num_batched_tokens, 8192);
}

/// YAML reads 0.30 as 0.3: no release may be taken for another.
#[test]
fn a_version_brings_its_rules_and_is_never_taken_for_another() {
    let version = |text: &str| {
        let set = format!("frameworks_to_test[0].version={text}");
        with_set(&[&set]).map(|resolved| resolved.scenario.engines[0].scheduler.reserve_full_prompt)
    };
    for (text, reserves) in [("0.33", true), ("'0.19.1'", true), ("'0.20'", true), ("0.18", false), ("v0.11.2", false)]
    {
        assert_eq!(version(text).ok(), Some(reserves), "{text}");
    }
    let told = ["0.30", "0.10.2", "0.34", "nightly", "33"].map(|text| lines(&version(text).expect_err(text)));
    insta::assert_snapshot!(told.concat());
}

#[test]
fn efficiency_is_a_curve_only_where_nothing_else_is_said() {
    let gpu = "hardware_profile.compute_devices[0]";
    let of_gpu = |set: &[&str]| with_set(set).expect("resolves").scenario.gpus[0].efficiency.clone();
    // One constant brings the other.
    assert_eq!(of_gpu(&[&format!("{gpu}.mfu=0.4")]), Efficiency::Constant { mfu: 0.4, mbu: 0.8 });
    let other = of_gpu(&[&format!("{gpu}.efficiency_curve=H100-SXM")]);
    let Efficiency::Curve(other) = other else { panic!("a curve is named") };
    // Another's curve, with the device's own multiprocessors.
    let h100 = &Catalog::builtin().curve("H100-SXM").expect("a catalog curve").curves;
    assert_eq!((other.gemm, other.processors), (h100.gemm, 108.0));
    let written_out = "{device_id: gpu0, device_type: GPU, peak_tflops: {fp16: 312}, memory_capacity_bytes: 80000000000, \
                       memory_gbps: 2039}";
    assert_eq!(of_gpu(&[&format!("{gpu}={written_out}")]), Efficiency::PREDECESSOR);
    let engine = |set: &[&str]| with_set(set).expect("resolves").scenario.engines[0].clone();
    let framework = "frameworks_to_test[0].config";
    assert_eq!(
        engine(&[&format!("{framework}.mbu=0.6")]).efficiency,
        Some(Efficiency::Constant { mfu: 0.5, mbu: 0.6 })
    );
    // Constants pad nothing and launch for nothing, unless asked to.
    assert_eq!(engine(&[&format!("{gpu}.mfu=0.4")]).kernel_launch, KernelLaunch::Free);
    assert!(matches!(engine(&[]).kernel_launch, KernelLaunch::Graphs(sizes) if sizes.last() == Some(&512)));
    assert!(matches!(engine(&[&format!("{framework}.enforce_eager=true")]).kernel_launch, KernelLaunch::Eager { .. }));
    let sizes = engine(&[&format!("{framework}.cudagraph_capture_sizes=[64, 8]")]).kernel_launch;
    assert_eq!(sizes, KernelLaunch::Graphs([8, 64].into()));
}

/// What a lasting load leaves of the FLOP/s is the device's, not the curve file's.
#[test]
fn the_devices_own_curve_means_the_same_by_name_by_path_and_by_default() {
    let of_gpu = |set: &[&str]| with_set(set).expect("resolves").scenario.gpus[0].efficiency.clone();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("own.yaml");
    let own = Catalog::builtin().curve("A100-SXM").expect("a catalog curve").yaml();
    std::fs::write(&path, own).expect("it can be written");
    let key = "hardware_profile.compute_devices[0].efficiency_curve";
    let Efficiency::Curve(by_default) = of_gpu(&[]) else { panic!("the catalog device has a curve") };
    assert!(by_default.sustained.gemm_share < 1.0);
    for named in ["A100-SXM", &path.display().to_string()] {
        assert_eq!(of_gpu(&[&format!("{key}={named}")]), Efficiency::Curve(by_default.clone()), "{named}");
    }
    // Another's fastest products reached another share of its peak.
    let Efficiency::Curve(other) = of_gpu(&[&format!("{key}=H100-SXM")]) else { panic!("a curve is named") };
    let lasting = |curves: &EfficiencyCurves| curves.sustained.gemm_share * curves.fastest.gemm_share;
    assert!((lasting(&other) / lasting(&by_default) - 1.0).abs() < 1e-9, "{:?}", other.sustained);
}

#[test]
fn a_curve_that_is_neither_known_nor_a_file_is_an_error() {
    let errors = with_set(&["hardware_profile.compute_devices[0].efficiency_curve=H100-SXN"]).expect_err("unknown");
    let message = errors[0].to_string();
    assert!(message.contains("\"H100-SXN\" is neither a curve of the catalog nor a file"), "{message}");
    assert!(message.contains("did you mean H100-SXM"), "{message}");
}

#[test]
fn a_curve_file_of_another_version_is_told_with_line_key_and_a_way_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("own.yaml");
    let set = format!("hardware_profile.compute_devices[0].efficiency_curve={}", path.display());
    let current = Catalog::builtin().curve("H100-SXM").expect("a catalog curve").yaml();
    std::fs::write(&path, &current).expect("it can be written");
    with_set(&[&set]).expect("as it was written");
    let line = current.lines().position(|line| line.starts_with("    vector_ps")).expect("experts have vectors") + 1;
    let complaint = |text: String| {
        std::fs::write(&path, text).expect("it can be written");
        with_set(&[&set]).expect_err("not as this version writes it")[0].to_string()
    };
    // A coefficient that experts had before, one that they lacked, and one that is none.
    let renamed = complaint(current.replacen("\n    vector_ps", "\n    hidden_passes", 1));
    assert!(
        renamed.contains("unknown field `hidden_passes`") && renamed.contains(&format!("at line {line}, column 5")),
        "{renamed}"
    );
    let lacking = current.lines().enumerate().filter(|(at, _)| at + 1 != line).map(|(_, line)| format!("{line}\n"));
    let lacking = complaint(lacking.collect());
    assert!(lacking.contains("missing field `vector_ps`"), "{lacking}");
    let negative = complaint(current.replacen("launch_us: ", "launch_us: -", 1));
    assert!(negative.contains("curves.decode_attention.launch_us must be a number of 0 or more"), "{negative}");
    for message in [renamed, lacking, negative] {
        assert!(message.contains("own.yaml: ") && message.contains("efficiency_curve"), "{message}");
        assert!(message.contains("`llmperforacle calibrate kernels`"), "{message}");
        assert!(message.lines().count() == 1 && !message.contains('|'), "{message}");
    }
}

#[test]
fn caching_keys_map_onto_three_modes() {
    let mode = |set: &[&str]| with_set(set).expect("resolves").scenario.engines[0].scheduler.prefix_caching;
    let config = |key: &str| format!("frameworks_to_test[0].config.{key}=false");
    assert_eq!(mode(&[&config("enable_cross_request_caching")]), PrefixCaching::Conversational);
    assert_eq!(mode(&[&config("enable_prefix_caching")]), PrefixCaching::Off);
}

#[test]
fn a_narrower_cache_holds_more_and_narrower_weights_leave_more() {
    let engine = |set: &str| {
        let set = format!("frameworks_to_test[0].config.{set}");
        with_set(&[&set]).expect("resolves").scenario.engines[0].clone()
    };
    let plain = good(GOOD).scenario.engines[0].kv_blocks;
    assert_eq!(engine("kv_cache_dtype=auto").kv_blocks, plain);
    let fp8 = engine("kv_cache_dtype=fp8_e4m3");
    // All blocks, the null block included.
    assert!((fp8.kv_blocks + 1).abs_diff(2 * (plain + 1)) <= 1, "{} and {plain}", fp8.kv_blocks);
    assert_eq!(fp8.model.kv_dtype, Dtype::Fp8);
    let quantised = engine("model_profile_id=TheBloke/Llama-2-7B-AWQ");
    assert_eq!(quantised.model.weight_format.dtype, Dtype::Int4);
    assert_eq!(quantised.kv_blocks, engine("weight_dtype=int4").kv_blocks);
    assert!(quantised.kv_blocks > plain);
}

/// They have a format of their own in the checkpoint, which what is set does not reach.
#[test]
fn experts_that_keep_their_format_are_told() {
    let warned = |weights: &str| {
        let sets = [
            "model_profile_id=gpt-oss-20B".to_owned(),
            "max_model_len=auto".to_owned(),
            format!("weight_dtype={weights}"),
        ];
        let sets = sets.map(|set| format!("frameworks_to_test[0].config.{set}"));
        let warnings = with_set(&sets.each_ref().map(String::as_str)).expect("it resolves").warnings;
        warnings.iter().any(|warning| warning.message.contains("its routed experts, which stay in mxfp4"))
    };
    assert!(warned("fp8") && warned("mxfp4_afp8") && !warned("mxfp4"));
    let weights = |more: &[&str]| {
        let sets = [
            "frameworks_to_test[0].config.model_profile_id=gpt-oss-20B",
            "frameworks_to_test[0].config.max_model_len=auto",
        ];
        let model = with_set(&[&sets[..], more].concat()).expect("it resolves").scenario.engines[0].model.clone();
        (model.weight_format, model.expert_format())
    };
    let own = weights(&["frameworks_to_test[0].config.weight_dtype=mxfp4"]);
    assert_eq!(own, weights(&[]), "the checkpoint as it is");
}

#[test]
fn weights_may_be_said_to_be_what_their_file_does_not_say() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let file = folder.path().join("config.json");
    let config = r#"{"model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "num_attention_heads": 32,
        "num_hidden_layers": 16, "num_key_value_heads": 8, "vocab_size": 32000, "max_position_embeddings": 4096,
        "torch_dtype": "bfloat16", "quantization_config": {"quant_method": "aqlm", "nbits_per_codebook": 16}}"#;
    std::fs::write(&file, config).expect("a file for the test");
    let model = format!("frameworks_to_test[0].config.model_profile_id={}", file.display());
    let refused = with_set(&[&model]).expect_err("aqlm is not known");
    assert!(lines(&refused).contains("aqlm is not known"), "{}", lines(&refused));
    let known = |name: &str| {
        let weights = format!("frameworks_to_test[0].config.weight_dtype={name}");
        with_set(&[&model, &weights]).expect("said").scenario.engines[0].model.weight_format
    };
    assert_eq!(known("nvfp4").bytes_per_parameter(), 0.5625);
    assert_eq!(known("int4_g32").bytes_per_parameter(), 0.5625);
    assert_eq!((known("int4_g32").activations, known("nvfp4").activations), (None, Some(Dtype::Nvfp4)));
    assert_eq!(known("fp8_block128").block(), Some(128));
}

#[test]
fn a_context_is_held_to_the_pool_where_that_is_asked_for() {
    let set =
        ["num_gpu_blocks_override=100", "max_model_len=auto"].map(|key| format!("frameworks_to_test[*].config.{key}"));
    let resolved = with_set(&set.each_ref().map(String::as_str)).expect("resolves");
    let engine = &resolved.scenario.engines[0];
    assert_eq!((engine.kv_blocks, engine.scheduler.max_model_len), (99, 1584), "one is the null block");
}

#[test]
fn a_log_normal_has_the_mean_that_is_asked_for() {
    let prompt = |parameters: &str| {
        let set = format!("workload.client_profiles[0].prompt_tokens_dist_config={{type: LogNormal, {parameters}}}");
        let resolved = with_set(&[&set]).expect("resolves");
        let Workload::Synthetic(workload) = resolved.workload else { panic!("profiles make a synthetic workload") };
        let Distribution::LogNormal { mu, sigma } = workload.profiles[0].prompt_tokens else { panic!("a log-normal") };
        (mu, sigma, resolved.warnings.len())
    };
    assert_eq!(prompt("mean: 5, sigma: 1.5"), (5.0, 1.5, 0));
    assert_eq!(prompt("mu: 5, sigma: 1.5"), (5.0, 1.5, 0));
    for (parameters, warnings) in
        [("mean: 150, sigma: 50", 1), ("mean_tokens: 150, std_tokens: 50", 0), ("mean: 150, std: 50", 0)]
    {
        let (mu, sigma, warned) = prompt(parameters);
        let mean = (mu + sigma * sigma / 2.0).exp();
        let std = mean * (sigma * sigma).exp_m1().sqrt();
        assert!((mean - 150.0).abs() < 1e-9 && (std - 50.0).abs() < 1e-9, "{parameters}: {mean} ± {std}");
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
    let names: Vec<&str> = scenario.engines.iter().map(|engine| engine.name.as_str()).collect();
    assert_eq!(names, ["first", "first#r1", "first#r2"]);
    let first = &scenario.engines[0];
    for (copy, engine) in scenario.engines.iter().enumerate() {
        assert_eq!(engine.kv_blocks, first.kv_blocks);
        assert!((engine.weight * 3.0 - 1.0).abs() < 1e-12);
        let suffix = if copy == 0 { String::new() } else { format!("#r{copy}") };
        let ids: Vec<&str> = engine.gpus.iter().map(|gpu| scenario.gpus[*gpu as usize].id.as_str()).collect();
        assert_eq!(ids, [format!("gpu0{suffix}"), format!("gpu1{suffix}")]);
        let link = |path: &[u32]| scenario.links[path[0] as usize].id.clone();
        assert_eq!(link(&engine.rings[0][0]), format!("bridge{suffix}"));
        assert_eq!(link(&engine.ingress), format!("uplink{suffix}"));
        assert_eq!(link(&engine.egress[1..]), format!("uplink:reverse{suffix}"), "behind the front end");
    }
}

#[test]
fn ten_thousand_replicas_need_one_entry() {
    let scenario = good(&replaced("type: VLLM", "type: VLLM\n    replicas: 10_000")).scenario;
    assert_eq!(scenario.engines.len(), 10_000);
    let mut gpus: Vec<u32> = scenario.engines.iter().flat_map(|engine| engine.gpus.clone()).collect();
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
    let resolved = good(&replaced("dest_id: gpu0, bandwidth", "dest_id: framework_entry_0, bandwidth"));
    let engine = &resolved.scenario.engines[0];
    assert_eq!((engine.ingress.len(), engine.egress.len()), (2, 2), "the entry, and the front end");
    assert_eq!(resolved.scenario.links[engine.ingress[0] as usize].destination, "framework_entry_0");
}
