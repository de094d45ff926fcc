//! vLLM's V1 scheduler: its keys, its defaults, and what is said of keys that have no effect on it.

use oracle_components::scenario::{PrefixCaching, QueuePolicy, SchedulerSpec};

use crate::config::diagnostic::Diagnostics;
use crate::config::keys::FrameworkConfig;
use crate::config::resolve::devices::Device;
use crate::config::resolve::plan::FrameworkPlan;
use crate::config::versions::since;

/// vLLM's default token budget on GPUs of the H100's size and on smaller ones.
const BATCHED_TOKENS_LARGE_GPU: u32 = 8192;
const BATCHED_TOKENS_SMALL_GPU: u32 = 2048;
/// vLLM's bound between the two.
const LARGE_GPU_BYTES: u64 = 70 << 30;
const LARGE_GPU_FP16_FLOPS: f64 = 500e12;

/// The scheduler, but for what depends on devices and memory.
pub(in crate::config::resolve) fn scheduler(plan: &FrameworkPlan<'_>, diagnostics: &mut Diagnostics) -> SchedulerSpec {
    let (config, version) = (plan.config, plan.version());
    SchedulerSpec {
        max_num_seqs: config.max_num_seqs.value,
        max_num_batched_tokens: config.max_num_batched_tokens.value.unwrap_or(u32::MAX),
        block_tokens: config.block_size.value,
        chunked_prefill: config.enable_chunked_prefill.value,
        reserve_full_prompt: config
            .scheduler_reserve_full_isl
            .value
            .unwrap_or_else(|| version.has(since::FULL_PROMPT_RESERVED)),
        long_prefill_token_threshold: prefill_limit(config, diagnostics),
        policy: queue_policy(config, diagnostics),
        max_model_len: u32::MAX,
        prefix_caching: prefix_caching(config, diagnostics),
        min_cached_prefix_tokens: config.min_prefix_cache_length.value.unwrap_or(0),
        async_scheduling: config.async_scheduling.value,
    }
}

/// Tokens and sequences a step.
pub(in crate::config::resolve) fn step_limits(
    plan: &FrameworkPlan<'_>,
    devices: &[&Device],
    diagnostics: &mut Diagnostics,
) -> (u32, u32) {
    let specs = || devices.iter().filter_map(|device| device.spec.as_ref());
    let is_large = specs().all(|spec| {
        let flops = spec.peak_flops.fp16.or(spec.peak_flops.bf16).unwrap_or(0.0);
        spec.memory_bytes >= LARGE_GPU_BYTES && flops >= LARGE_GPU_FP16_FLOPS
    });
    let default = if is_large { BATCHED_TOKENS_LARGE_GPU } else { BATCHED_TOKENS_SMALL_GPU };
    let tokens = plan.config.max_num_batched_tokens.value.unwrap_or(default);
    let seqs = &plan.config.max_num_seqs;
    if seqs.value > tokens {
        let message = format!("{} is more than max_num_batched_tokens ({tokens}), which counts", seqs.value);
        diagnostics.warn(&seqs.at, message);
    }
    (tokens, seqs.value.min(tokens))
}

/// The waiting queue's order.
fn queue_policy(config: &FrameworkConfig, diagnostics: &mut Diagnostics) -> QueuePolicy {
    let Some(name) = config.scheduling_policy.value.as_deref() else {
        return QueuePolicy::Fcfs;
    };
    match name.to_lowercase().as_str() {
        "fcfs" => QueuePolicy::Fcfs,
        "priority" => QueuePolicy::Priority,
        _ => {
            let message = format!("{name:?} has no effect: fcfs and priority are the policies, and fcfs is used");
            diagnostics.warn(&config.scheduling_policy.at, message);
            QueuePolicy::Fcfs
        }
    }
}

/// Which prefixes are shared.
fn prefix_caching(config: &FrameworkConfig, diagnostics: &mut Diagnostics) -> PrefixCaching {
    let without_effect = [
        (config.max_prefix_cache_size.given, &config.max_prefix_cache_size.at),
        (config.store_prefix_tokens.given, &config.store_prefix_tokens.at),
    ];
    for (_, at) in without_effect.iter().filter(|(given, _)| *given) {
        diagnostics.warn_once(
            at.path.rsplit('.').next().unwrap_or_default(),
            at,
            "has no effect: the KV pool bounds the prefix cache",
        );
    }
    match (config.enable_prefix_caching.value, config.enable_cross_request_caching.value) {
        (false, _) => PrefixCaching::Off,
        (true, false) => PrefixCaching::Conversational,
        (true, true) => PrefixCaching::Full,
    }
}

/// Host time a step, in seconds.
pub(in crate::config::resolve) fn step_overhead_s(config: &FrameworkConfig, diagnostics: &mut Diagnostics) -> f64 {
    if config.step_overhead_s.given && config.scheduler_iteration_delay_s.given {
        let message = "step_overhead_s is given too and counts";
        diagnostics.warn(&config.scheduler_iteration_delay_s.at, message);
    }
    config.step_overhead_s.value.or(config.scheduler_iteration_delay_s.value).unwrap_or(0.0)
}

/// Most prompt tokens of one sequence a step.
fn prefill_limit(config: &FrameworkConfig, diagnostics: &mut Diagnostics) -> Option<u32> {
    if config.long_prefill_token_threshold.given && config.prefill_chunk_size.given {
        let message = "long_prefill_token_threshold is given too and counts";
        diagnostics.warn(&config.prefill_chunk_size.at, message);
    }
    config.long_prefill_token_threshold.value.or(config.prefill_chunk_size.value)
}
