//! The settings of a framework: scheduler, KV cache, host and kernels.

use crate::draw::Draw;
use crate::mapping::{Mapping, list};

/// Tokens of a pool in which sequences are preempted, and of one in which they hardly are.
const POOL_TOKENS: [u64; 6] = [2_000, 4_500, 6_000, 9_000, 16_000, 60_000];

/// Settings of any framework, without its model and GPUs.
pub fn settings(draw: &mut Draw) -> Mapping {
    let mut keys = Mapping::default();
    scheduler(draw, &mut keys);
    cache(draw, &mut keys);
    host(draw, &mut keys);
    kernels(draw, &mut keys);
    keys
}

fn scheduler(draw: &mut Draw, keys: &mut Mapping) {
    keys.maybe(draw, 50, "max_num_seqs", &["2", "8", "24", "64", "128", "512"]);
    keys.maybe(draw, 50, "max_num_batched_tokens", &["96", "256", "512", "1024", "2048", "16384"]);
    keys.maybe(draw, 20, "enable_chunked_prefill", &["false"]);
    let limit = draw.one_of(&["long_prefill_token_threshold", "prefill_chunk_size"]);
    keys.maybe(draw, 25, limit, &["48", "128", "300", "1024"]);
    keys.maybe(draw, 25, "scheduler_reserve_full_isl", &["false"]);
    keys.maybe(draw, 60, "async_scheduling", &["true", "false"]);
    keys.maybe(draw, 35, "scheduling_policy", &["priority"]);
    keys.maybe(draw, 15, "max_model_len", &["700", "1500", "2000"]);
}

fn cache(draw: &mut Draw, keys: &mut Mapping) {
    let block_tokens = draw.one_of(&[16, 16, 16, 16, 48, 80, 32, 64]);
    keys.set("block_size", block_tokens);
    if draw.chance(55) {
        keys.set("num_gpu_blocks_override", draw.one_of(&POOL_TOKENS) / block_tokens);
    }
    let off = draw.one_of(&["enable_prefix_caching", "enable_cross_request_caching"]);
    keys.maybe(draw, 35, off, &["false"]);
    keys.maybe(draw, 12, "min_prefix_cache_length", &["48", "192", "512", "700"]);
    keys.maybe(draw, 12, "gpu_memory_utilization", &["0.85", "0.95"]);
    keys.maybe(draw, 12, "kv_cache_dtype", &["fp8", "auto", "fp16"]);
}

fn host(draw: &mut Draw, keys: &mut Mapping) {
    let delay = draw.one_of(&["step_overhead_s", "scheduler_iteration_delay_s"]);
    keys.maybe(draw, 50, delay, &["0", "0.0005", "0.002", "0.015"]);
    keys.maybe(draw, 20, "sequence_overhead_s", &["0.00001", "0.0002"]);
    keys.maybe(draw, 60, "front_end", &["in_process", "http", "none"]);
    let delay = Mapping::default().with("request_s", 0.002).with("response_token_s", 0.00005);
    keys.maybe(draw, 10, "front_end_delay", &[&delay.to_string()]);
    keys.maybe(draw, 15, "bytes_per_token_estimate_for_network", &["0", "4", "300"]);
}

fn kernels(draw: &mut Draw, keys: &mut Mapping) {
    keys.maybe(draw, 15, "enforce_eager", &["true"]);
    keys.maybe(draw, 8, "kernel_launch_s", &["0.000008"]);
    keys.maybe(draw, 12, "cudagraph_capture_sizes", &[&list(&[1, 4, 16, 64]), &list(&[64, 8])]);
    keys.maybe(draw, 8, "mfu", &["0.35", "0.7"]);
    keys.maybe(draw, 8, "mbu", &["0.5", "0.9"]);
    keys.maybe(draw, 12, "weight_dtype", &["fp8", "int8", "int4", "mxfp4", "fp16"]);
}
