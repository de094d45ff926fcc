//! What vLLM refuses to start, and what it does not.

use llmperforacle::config::{Diagnostic, Overrides, Resolved, load_text};

use crate::{GOOD, lines};

const CONFIG: &str = "frameworks_to_test[0].config";

/// A framework of Llama 3 8B (a context of 8,192) on GPUs of 80 GiB, with what is set of it and beside it.
fn deployment(sets: &[&str], is_forced: bool) -> Result<Resolved, Vec<Diagnostic>> {
    let of_config = |set: &&str| match set.strip_prefix("..") {
        Some(rest) => format!("frameworks_to_test[0].{rest}"),
        None => format!("{CONFIG}.{set}"),
    };
    let model = ["model_profile_id=Llama3-8B"];
    let set = model.iter().chain(sets).map(of_config).collect();
    load_text(GOOD.as_bytes(), "test.yaml", &Overrides { set, force: is_forced, ..Overrides::default() })
}

/// A parallel deployment on as many GPUs.
fn on_ranks(model: &str, version: &str, ranks: u32, more: &str, is_forced: bool) -> Result<Resolved, Vec<Diagnostic>> {
    let head = GOOD.split("  network_links:").next().expect("GOOD has links");
    let workload = GOOD.split_once("workload:").expect("GOOD has a workload").1;
    let workload = workload.split("frameworks_to_test:").next().expect("GOOD has frameworks");
    let gpus: Vec<String> = (0..ranks).map(|rank| format!("rank{rank}")).collect();
    let text = format!(
        "{head}    - {{device_id: rank, device: H200, count: {ranks}}}\nworkload:{workload}frameworks_to_test:\n  - name: first\n    \
         type: ParallelVLLM\n    version: '{version}'\n    config: {{model_profile_id: {model}, max_model_len: auto, parallelism: \
         {{strategy: TP, tp_degree: {ranks}, gpu_ids: [{}]{more}}}}}\n",
        gpus.join(", ")
    );
    load_text(text.as_bytes(), "test.yaml", &Overrides { force: is_forced, ..Overrides::default() })
}

#[test]
fn limits_that_vllm_refuses_are_errors_unless_forced() {
    let refused: [&[&str]; 21] = [
        &["max_num_batched_tokens=128", "max_num_seqs=256"],
        &["enable_chunked_prefill=false", "max_num_batched_tokens=4096"],
        &["max_model_len=8193"],
        &["num_gpu_blocks_override=101"],
        &["num_gpu_blocks_override=101", "max_model_len=1601"],
        &["long_prefill_token_threshold=8193"],
        &["..version=0.14", "max_model_len=4096", "num_gpu_blocks_override=255"],
        &["..version='0.23'", "watermark=0.01", "max_num_active_seqs=8"],
        &["..version='0.28'", "max_num_queued_reqs=100"],
        &["max_num_active_seqs=300", "max_num_seqs=256"],
        &["watermark=1"],
        &["block_size=12"],
        &["kv_cache_dtype=fp32"],
        &["kv_cache_dtype=mxfp4"],
        &["..version='0.19'", "kv_cache_dtype=nvfp4"],
        &["..version='0.24'", "kv_cache_dtype=int4"],
        &["..version='0.13'", "max_model_len=auto"],
        &["model_profile_id=DeepSeek-V2-Lite", "kv_cache_dtype=int8"],
        &["cudagraph_capture_sizes=[]"],
        // Llama 3 8B leaves 61 GiB of 80, and a block of it takes 2 MiB.
        &["num_gpu_blocks_override=40000"],
        &["model_profile_id=Llama3-70B", "max_model_len=1024", "num_gpu_blocks_override=100"],
    ];
    let mut told = String::new();
    for sets in refused {
        let found = deployment(sets, false).err().unwrap_or_else(|| panic!("vLLM refuses {sets:?}"));
        told += &lines(&found);
        let forced = deployment(sets, true).unwrap_or_else(|found| panic!("{}", lines(&found)));
        let reason = found[0].message.as_str();
        assert!(forced.warnings.iter().any(|warning| warning.message == reason), "{sets:?} is warned of");
    }
    insta::assert_snapshot!(told);
    let taken: [&[&str]; 13] = [
        &["max_num_batched_tokens=256", "max_num_seqs=256"],
        &["enable_chunked_prefill=false", "max_num_batched_tokens=8192"],
        &["enable_chunked_prefill=false", "max_model_len=2048", "max_num_batched_tokens=2048"],
        &["max_model_len=8192"],
        &["num_gpu_blocks_override=101", "max_model_len=1600"],
        &["num_gpu_blocks_override=101", "max_model_len=auto"],
        &["max_num_active_seqs=256", "max_num_seqs=256", "watermark=0.99"],
        &["block_size=48"],
        &["kv_cache_dtype=bfloat16"],
        &["kv_cache_dtype=int8_per_token_head"],
        &["model_profile_id=DeepSeek-V2-Lite", "kv_cache_dtype=fp8"],
        // More than 0.92 of the memory, and less than all of it.
        &["num_gpu_blocks_override=30500"],
        &["..version='0.31'", "watermark=0.01", "max_num_active_seqs=8", "max_num_queued_reqs=0", "stream_interval=10"],
    ];
    for sets in taken {
        deployment(sets, false).unwrap_or_else(|found| panic!("{sets:?}: {}", lines(&found)));
    }
    let fitted = deployment(&["num_gpu_blocks_override=101", "max_model_len=-1"], false).expect("it resolves");
    assert_eq!(fitted.scenario.engines[0].scheduler.max_model_len, 1600);
}

#[test]
fn what_does_not_divide_among_the_ranks_is_refused() {
    let qwen = "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8";
    let mut told = String::new();
    for (model, version, ranks, more) in [
        ("Llama3-8B", "0.33", 3, ""),
        // 32 heads, 4 of them for KV; an MLP of 18,944.
        ("Qwen2.5-7B", "0.33", 7, ""),
        // 1,536 wide experts: 192 a rank are no blocks of 128, which vLLM has made smaller ones of since 0.29.
        (qwen, "0.28", 8, ""),
        // An MLP of 25,600: 25 blocks on each of 8 ranks.
        ("Qwen/Qwen3-32B-FP8", "0.33", 16, ""),
    ] {
        let refused = on_ranks(model, version, ranks, more, false).err();
        let found = refused.unwrap_or_else(|| panic!("vLLM refuses {model} on {ranks}"));
        told += &lines(&found);
        let forced = on_ranks(model, version, ranks, more, true).unwrap_or_else(|found| panic!("{}", lines(&found)));
        assert!(forced.warnings.iter().any(|warning| warning.message == found[0].message), "{model} is warned of");
    }
    insta::assert_snapshot!(told);
    for (model, version, ranks, more) in [
        ("Llama3-8B", "0.33", 16, ""),
        (qwen, "0.28", 4, ""),
        (qwen, "0.28", 8, ", expert_parallel: true"),
        ("Qwen/Qwen3-32B-FP8", "0.33", 8, ""),
        ("DeepSeek-V3", "0.33", 8, ""),
    ] {
        let taken = on_ranks(model, version, ranks, more, false);
        let taken = taken.unwrap_or_else(|found| panic!("{model} on {ranks}: {}", lines(&found)));
        assert!(!lines(&taken.warnings).contains("refines"), "{model} on {ranks}");
    }
    let refined = on_ranks(qwen, "0.29", 8, "", false).expect("vLLM makes its blocks smaller");
    assert!(
        lines(&refined.warnings).contains("refines the blocks of 128 of the experts"),
        "{}",
        lines(&refined.warnings)
    );
}

/// No list of names may be left by falling back to one of them.
#[test]
fn names_that_no_list_has_are_errors_with_the_nearest() {
    let found = ["scheduling_policy=sjf", "scheduling_policy=prioritty", "scheduling_policy=FCFS"]
        .map(|set| lines(&deployment(&[set], false).expect_err("no such policy")));
    insta::assert_snapshot!(found.concat());
}
