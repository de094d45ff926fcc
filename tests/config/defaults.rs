//! What holds where a configuration says nothing: vLLM's defaults by release and GPU, and who is told of them.

use llmperforacle::config::{Overrides, Resolved, load_text};
use oracle_components::model::Dtype;
use oracle_components::scenario::{EngineSpec, KernelLaunch, PrefixCaching};

use crate::{GOOD, lines};

fn deployment(device: &str, sets: &[&str]) -> Resolved {
    of(device, sets, false)
}

fn of(device: &str, sets: &[&str], force: bool) -> Resolved {
    let of_config = |set: &&str| match set.strip_prefix("..") {
        Some(rest) => format!("frameworks_to_test[0].{rest}"),
        None => format!("frameworks_to_test[0].config.{set}"),
    };
    let device = format!("hardware_profile.compute_devices[0].device={device}");
    let model = "frameworks_to_test[0].config.model_profile_id=Llama3-8B".to_owned();
    let set = [device, model].into_iter().chain(sets.iter().map(of_config)).collect();
    let resolved = load_text(GOOD.as_bytes(), "test.yaml", &Overrides { set, force, ..Overrides::default() });
    resolved.unwrap_or_else(|found| panic!("{sets:?}: {}", lines(&found)))
}

fn engine(device: &str, sets: &[&str]) -> EngineSpec {
    deployment(device, sets).scenario.engines.remove(0)
}

fn limits(device: &str, sets: &[&str]) -> (u32, u32) {
    let scheduler = engine(device, sets).scheduler;
    (scheduler.max_num_batched_tokens, scheduler.max_num_seqs)
}

/// vLLM's `get_batch_defaults` for an API server.
#[test]
fn a_step_is_as_large_as_vllm_has_it_by_memory_and_name() {
    for (device, limits_now) in [
        ("H100-SXM-80GB", (8192, 1024)),
        ("H200-SXM-141GB", (8192, 1024)),
        ("B200-SXM-180GB", (16384, 1024)),
        ("A100-SXM-80GB", (2048, 256)),
        ("RTX-4090", (2048, 256)),
    ] {
        let fits = &["max_model_len=auto"];
        assert_eq!(limits(device, fits), limits_now, "{device}");
    }
    assert_eq!(limits("B200-SXM-180GB", &["..version='0.27'"]), (8192, 1024), "before 0.28");
    assert_eq!(limits("H100", &["front_end=in_process"]), (2048, 128));
    assert_eq!(limits("H100", &["max_num_batched_tokens=512"]), (512, 512), "sequences are held to tokens");
    assert_eq!(limits("A100-80GB", &["enable_chunked_prefill=false"]), (8192, 256), "as long as a context");
    assert_eq!(limits("H100", &["max_num_seqs=2", "max_model_len=1000"]), (2000, 2), "no more than fits two contexts");
}

#[test]
fn memory_and_asynchronous_scheduling_go_by_the_release() {
    let of = |version: &str| engine("H100", &[&format!("..version='{version}'")]);
    let (old, new) = (of("0.19"), of("0.20"));
    assert!(old.kv_blocks < new.kv_blocks, "0.9 against 0.92 of the memory");
    assert_eq!(engine("H100", &["gpu_memory_utilization=0.9"]).kv_blocks, old.kv_blocks);
    let is_async = ["0.13", "0.14", "0.33"].map(|version| of(version).scheduler.async_scheduling);
    assert_eq!(is_async, [false, true, true]);
    assert!(!engine("H100", &["async_scheduling=false"]).scheduler.async_scheduling);
}

#[test]
fn every_default_that_is_taken_is_told_with_its_reason() {
    let taken = |sets: &[&str]| -> String {
        let told = deployment("H100", sets).output.defaults;
        told.iter()
            .map(|taken| format!("{} {} {}: {}\n", taken.framework, taken.key, taken.value, taken.reason))
            .collect()
    };
    insta::assert_snapshot!(taken(&[]));
    let given = [
        "..version='0.30'",
        "front_end=none",
        "max_num_batched_tokens=4096",
        "max_num_seqs=64",
        "gpu_memory_utilization=0.8",
        "async_scheduling=true",
        "scheduler_reserve_full_isl=true",
        "scheduler_iteration_delay_s=0.001",
        "sequence_overhead_s=0",
        "encoder_token_s=0.000002",
        "block_size=16",
        "enable_chunked_prefill=true",
        "enable_prefix_caching=true",
        "scheduling_policy=fcfs",
        "kv_cache_dtype=bf16",
        "weight_dtype=bf16",
        "max_model_len=8192",
        "enforce_eager=false",
        "cudagraph_capture_sizes=[8]",
    ];
    assert_eq!(taken(&given), "");
    let plan = deployment("H100", &[]).output;
    let told = |encodes_images| plan.defaults_that_act(encodes_images).count();
    assert_eq!(told(true) - told(false), 1, "without images the encoder's price is of no use");
}

/// `VllmConfig._set_cudagraph_sizes` of each release, and `GptOssForCausalLMConfig`.
#[test]
fn captured_batches_are_those_of_the_release_and_the_gpu() {
    let sizes = |device: &str, sets: &[&str]| match engine(device, sets).kernel_launch {
        KernelLaunch::Graphs(sizes) => sizes.to_vec(),
        other => panic!("{other:?}"),
    };
    let largest = |device: &str, sets: &[&str]| *sizes(device, sets).last().expect("there is one");
    assert_eq!(sizes("H100", &["max_num_seqs=256"])[..6], [1, 2, 4, 8, 16, 24]);
    assert_eq!(largest("H100", &[]), 512);
    // Twice the sequences: the largest batch of decodes, and as much again for speculation.
    assert_eq!(sizes("H100", &["max_num_seqs=8"]), [1, 2, 4, 8, 16]);
    assert_eq!(sizes("H100", &["max_num_seqs=7"]), [1, 2, 4, 7, 8], "what decodes all");
    assert_eq!(sizes("H100", &["max_num_seqs=7", "..version='0.28'"]), [1, 2, 4, 8]);
    let few = ["max_num_seqs=20", "max_num_batched_tokens=20"];
    assert_eq!(sizes("H100", &few), [1, 2, 4, 8, 16, 20], "what computes as much as may be");
    assert_eq!(sizes("H100", &[&few[..], &["..version='0.20'"]].concat()), [1, 2, 4, 8, 16]);
    assert_eq!(largest("B200", &[]), 1024);
    assert_eq!(largest("B200", &["..version='0.27'"]), 512);
    let gpt_oss = ["model_profile_id=gpt-oss-20b", "max_num_seqs=64"];
    assert_eq!(largest("H100", &gpt_oss), 1024);
    assert_eq!(largest("H100", &[&gpt_oss[..], &["..version='0.11'"]].concat()), 992);
}

/// `ModelConfig.is_prefix_caching_supported`.
#[test]
fn prefixes_of_models_with_states_are_cached_of_late() {
    let caching = |model: &str, version: &str, more: &[&str]| {
        let own = [format!("model_profile_id={model}"), format!("..version='{version}'")];
        let sets: Vec<&str> = own.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let resolved = deployment("H200", &sets);
        let told = resolved.output.defaults.iter().find(|taken| taken.key == "enable_prefix_caching");
        let told = told.map(|taken| format!("{}: {}", taken.value, taken.reason));
        (resolved.scenario.engines[0].scheduler.prefix_caching != PrefixCaching::Off, told.unwrap_or_default())
    };
    let hybrid = "Nemotron-3-Nano-30B-A3B";
    let off = "false: vLLM has it off for models with states before 0.26".to_owned();
    assert_eq!(caching(hybrid, "0.25", &["max_model_len=4096"]), (false, off));
    assert_eq!(caching(hybrid, "0.25", &["enable_prefix_caching=true"]), (true, String::new()));
    assert_eq!(caching(hybrid, "0.26", &[]), (true, "true: vLLM's".to_owned()));
    assert_eq!(caching("Llama3-8B", "0.25", &[]), (true, "true: vLLM's".to_owned()));
}

/// `GlmMoeDsaForCausalLM`, `DeepseekV32ForCausalLM`.
#[test]
fn caches_are_narrow_where_a_release_has_them_so() {
    let narrow = |model: &str, device: &str, version: &str| {
        let own = [
            format!("model_profile_id={model}"),
            format!("..version='{version}'"),
            "num_gpu_blocks_override=500".to_owned(),
        ];
        let more = ["max_model_len=4096", "weight_dtype=fp8"];
        let sets: Vec<&str> = own.iter().map(String::as_str).chain(more).collect();
        let resolved = of(device, &sets, true);
        resolved.scenario.engines[0].model.kv_dtype == Dtype::Fp8
    };
    let cases = [
        ("GLM-5", "B200", "0.33"),
        ("GLM-5", "B200", "0.31"),
        ("GLM-5", "H200", "0.33"),
        ("DeepSeek-V3.2", "H200", "0.11"),
    ];
    let told = cases.map(|(model, device, version)| narrow(model, device, version));
    assert_eq!(told, [true, false, false, true]);
    assert!(!narrow("DeepSeek-V3.2", "H200", "0.12") && !narrow("DeepSeek-V3.2", "B200", "0.33"));
}

#[test]
fn what_has_no_effect_on_launches_is_told() {
    let warned = |sets: &[&str]| -> Vec<String> {
        deployment("H100", sets).warnings.iter().map(|warning| warning.message.clone()).collect()
    };
    assert_eq!(warned(&["kernel_launch_s=0.001"]), ["has no effect without enforce_eager: true"]);
    assert_eq!(
        warned(&["enforce_eager=true", "cudagraph_capture_sizes=[8]"]),
        ["has no effect with enforce_eager: true"]
    );
    let beyond = "16384, 20000 is left out, as vLLM does: beyond max_num_batched_tokens (8192)";
    assert_eq!(warned(&["cudagraph_capture_sizes=[8, 16384, 20000]"]), [beyond]);
}

/// 2 · 675 M FLOPs a token at 40 % of 989 TFLOP/s: 1.35e9 / (0.4 · 989e12), over the ranks and the engine's share of them.
#[test]
fn an_encoder_that_no_file_describes_is_a_stated_guess() {
    let price = |sets: &[&str]| engine("H100", sets).encoder_s_per_token;
    let alone = price(&[]);
    assert!((alone / (1.35e9 / (0.4 * 989.4e12)) - 1.0).abs() < 1e-3, "{alone}");
    assert_eq!(price(&["encoder_token_s=0.000002"]), 2e-6);
    assert_eq!(price(&["encoder_token_s=0"]), 0.0);
}

/// There a law can be held to the nanosecond: nothing is modelled but what is asked for.
#[test]
fn a_device_that_is_written_out_has_no_host() {
    let bare = engine("H100", &["gpu_id=gpu2", "max_model_len=auto"]);
    assert_eq!((bare.step_overhead_s, bare.sequence_overhead_s), (0.0, 0.0));
    let catalog = engine("H100", &[]);
    assert_eq!((catalog.step_overhead_s, catalog.sequence_overhead_s), (1.1e-3, 45e-6));
    let served = engine("H100", &["gpu_id=gpu2", "max_model_len=auto", "front_end=http"]);
    assert_eq!(bare.ingress.len() + 1, served.ingress.len(), "no front end either");
    let host = engine("H100", &["gpu_id=gpu2", "max_model_len=auto", "step_overhead_s=0.002"]);
    assert_eq!((host.step_overhead_s, host.sequence_overhead_s), (0.002, 0.0));
}

/// A file of the predecessor is known by its database of models; one that names a release is not of its time.
#[test]
fn a_file_of_the_predecessor_keeps_its_defaults() {
    let of = |more: &str| {
        let text =
            format!("model_characteristics_db_path: no/such/file.json\n{GOOD}").replace("    type: VLLM\n", more);
        load_text(text.as_bytes(), "test.yaml", &Overrides::default())
            .unwrap_or_else(|found| panic!("{}", lines(&found)))
            .scenario
            .engines
            .remove(0)
    };
    let old = of("    type: VLLM\n");
    assert_eq!((old.step_overhead_s, old.sequence_overhead_s), (0.0, 0.0));
    assert_eq!((old.scheduler.max_num_seqs, old.scheduler.async_scheduling, old.ingress.len()), (256, false, 1));
    let new = of("    type: VLLM\n    version: '0.33'\n");
    assert_eq!((new.step_overhead_s, new.sequence_overhead_s), (1.1e-3, 45e-6));
    assert!(new.scheduler.async_scheduling);
    assert_eq!(new.ingress.len(), 2, "the server stands between");
}
