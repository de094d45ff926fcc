//! vLLM's V1 scheduler: its keys, its defaults, and what is said of keys that have no effect on it.

use oracle_components::SimTime;
use oracle_components::layers::Part;
use oracle_components::model::Dtype;
use oracle_components::scenario::{KvSide, KvTransfer, PrefixCaching, Role, SchedulerRules, SchedulerSpec};

use crate::config::diagnostic::Diagnostics;
use crate::config::keys::{CacheDtype, ContextLength, FrameworkConfig};
use crate::config::resolve::frameworks::defaults::Settings;
use crate::config::resolve::plan::FrameworkPlan;
use crate::config::versions::{Version, since};

/// What blocks of every attention backend consist of (`get_supported_kernel_block_sizes`: FlashAttention, FlashInfer, Triton).
const BLOCK_MULTIPLE: u32 = 16;

/// The scheduler, but for [`Settings`] and what depends on memory.
pub(in crate::config::resolve) fn scheduler(plan: &FrameworkPlan<'_>, diagnostics: &mut Diagnostics) -> SchedulerSpec {
    let config = plan.config;
    SchedulerSpec {
        max_num_seqs: u32::MAX,
        max_num_batched_tokens: u32::MAX,
        block_tokens: config.block_size.value,
        chunked_prefill: config.enable_chunked_prefill.value,
        reserve_full_prompt: true,
        long_prefill_token_threshold: prefill_limit(config, diagnostics),
        threshold_share_tokens: None,
        watermark_blocks: 0,
        prefill_schedule_interval: config.prefill_schedule_interval.value,
        rules: rules(plan.version()),
        policy: config.scheduling_policy.value,
        max_model_len: u32::MAX,
        prefix_caching: prefix_caching(plan, diagnostics),
        min_cached_prefix_tokens: config.min_prefix_cache_length.value.unwrap_or(0),
        async_scheduling: false,
        stream_interval: config.stream_interval.value,
        max_num_queued_reqs: config.max_num_queued_reqs.value,
        kv_transfer: kv_transfer(plan, diagnostics),
    }
}

/// The side of a KV transfer that is to be simulated alone.
fn kv_transfer(plan: &FrameworkPlan<'_>, diagnostics: &mut Diagnostics) -> Option<KvTransfer> {
    let key = &plan.config.kv_transfer_config;
    let config = key.value.as_ref()?;
    if plan.role().is_some_and(|role| role != Role::Both) {
        let message = "is one side of a transfer alone, and this framework has its other side by its role";
        diagnostics.error_with(&key.at, message, "leave out one of role and kv_transfer_config");
        return None;
    }
    Some(KvTransfer { side: config.kv_role.value?, time: SimTime::from_secs_f64(config.transfer_s.value?) })
}

/// What vLLM does not take of settings that are given. Sequences beyond a step's tokens would never run.
pub(in crate::config::resolve) fn check_settings(
    plan: &FrameworkPlan<'_>,
    settings: Settings,
    diagnostics: &mut Diagnostics,
) -> Settings {
    let (config, tokens, seqs) = (plan.config, settings.max_num_batched_tokens, settings.max_num_seqs);
    if seqs > tokens {
        let reason = format!("max_num_batched_tokens ({tokens}) must be no less than max_num_seqs ({seqs})");
        plan.refuse(&config.max_num_seqs.at, reason, &format!("set max_num_seqs: {tokens}"), diagnostics);
    }
    let (version, stages) = (plan.version(), plan.layout.as_ref().map_or(1, |layout| layout.pipeline_parallel));
    if settings.async_scheduling && stages > 1 && !version.has(since::ASYNC_SCHEDULING_OF_STAGES) {
        let reason = format!("{version} has no asynchronous scheduling with pipeline parallelism");
        plan.refuse(&config.async_scheduling.at, reason, "leave async_scheduling out", diagnostics);
    }
    let active = &config.max_num_active_seqs;
    if let Some(count) = active.value.filter(|count| *count > seqs) {
        let reason = format!("max_num_active_seqs ({count}) is above max_num_seqs ({seqs})");
        plan.refuse(&active.at, reason, &format!("set max_num_active_seqs: {seqs}, or leave it out"), diagnostics);
    }
    if config.watermark.value >= 1.0 {
        let reason = "watermark must be below 1: no request would be admitted beside others";
        plan.refuse(&config.watermark.at, reason, "set watermark: 0.1", diagnostics);
    }
    check_cache(plan, diagnostics);
    check_age(plan, diagnostics);
    check_queue_limit(plan, diagnostics);
    if config.step_overhead_s.given && config.scheduler_iteration_delay_s.given {
        let message = "step_overhead_s is given too and counts";
        diagnostics.warn(&config.scheduler_iteration_delay_s.at, message);
    }
    Settings { max_num_seqs: seqs.min(tokens), ..settings }
}

/// Block sizes and element types that vLLM has no KV cache for.
fn check_cache(plan: &FrameworkPlan<'_>, diagnostics: &mut Diagnostics) {
    let (config, version) = (plan.config, plan.version());
    let tokens = config.block_size.value;
    if !tokens.is_multiple_of(BLOCK_MULTIPLE) {
        let reason = format!(
            "no attention backend of an NVIDIA or AMD GPU takes blocks of {tokens} tokens, all take multiples of {BLOCK_MULTIPLE}"
        );
        let nearest = tokens.next_multiple_of(BLOCK_MULTIPLE);
        plan.refuse(&config.block_size.at, reason, &format!("set block_size: {nearest}"), diagnostics);
    }
    let key = &config.kv_cache_dtype;
    let Some(CacheDtype::Of(dtype)) = key.value else { return };
    let way_out = "set kv_cache_dtype: fp8, or auto";
    let latent = plan
        .model
        .as_deref()
        .filter(|model| model.layers.parts().any(|(part, _)| matches!(part, Part::Latent(_) | Part::Compressed(_))));
    if let Some(model) = latent.filter(|_| !matches!(dtype, Dtype::Bf16 | Dtype::Fp16 | Dtype::Fp8)) {
        let reason =
            format!("no backend for the latent attention of {} has a KV cache of {}", model.name, dtype.name());
        plan.refuse(&key.at, reason, way_out, diagnostics);
        return;
    }
    let first = match dtype {
        Dtype::Fp32 | Dtype::Mxfp4 => None,
        Dtype::Nvfp4 | Dtype::Int8 => Some(since::NARROW_KV_CACHES),
        Dtype::Int4 => Some(since::INT4_KV_CACHE),
        _ => return,
    };
    if !first.is_some_and(|first| version.has(first)) {
        let since = first.map_or_else(String::new, |first| format!(", which came with {first}"));
        let reason = format!("{version} has no KV cache of {}{since}", dtype.name());
        plan.refuse(&key.at, reason, way_out, diagnostics);
    }
}

/// Settings that the release does not have.
fn check_age(plan: &FrameworkPlan<'_>, diagnostics: &mut Diagnostics) {
    let (config, version) = (plan.config, plan.version());
    let adaptive = &config.long_prefill_token_threshold_adaptive;
    let (active, interval) = (&config.max_num_active_seqs, &config.prefill_schedule_interval);
    let retention = &config.prefix_cache_retention_interval;
    let (scheduled, queued) = (&config.max_num_scheduled_tokens, &config.max_num_queued_reqs);
    let settings = [
        (scheduled.given, &scheduled.at, since::SCHEDULED_TOKENS),
        (config.watermark.value > 0.0, &config.watermark.at, since::WATERMARK),
        (interval.value > 1, &interval.at, since::PREFILL_SCHEDULE_INTERVAL),
        (queued.given, &queued.at, since::QUEUE_LIMITS),
        (adaptive.value, &adaptive.at, since::ADAPTIVE_THRESHOLD),
        (active.given, &active.at, since::ACTIVE_SEQS),
        (retention.given, &retention.at, since::SPARSE_RETENTION),
    ];
    for (_, at, since) in settings.iter().filter(|(is_set, _, since)| *is_set && !version.has(*since)) {
        let reason = format!("{version} has no {}, which came with {since}", at.name());
        plan.refuse(at, reason, &format!("leave it out, or set version: '{since}' or later"), diagnostics);
    }
    let context = &config.max_model_len;
    if context.value == Some(ContextLength::Auto) && !version.has(since::MAX_MODEL_LEN_AUTO) {
        let since = since::MAX_MODEL_LEN_AUTO;
        let reason = format!("{version} has no max_model_len: auto, which came with {since}");
        plan.refuse(&context.at, reason, &format!("set a number, or version: '{since}' or later"), diagnostics);
    }
}

/// Where `max_num_queued_reqs` means what is not simulated.
fn check_queue_limit(plan: &FrameworkPlan<'_>, diagnostics: &mut Diagnostics) {
    let limit = &plan.config.max_num_queued_reqs;
    if limit.value.is_none() {
        return;
    }
    if plan.role() == Some(Role::Decode) {
        let message = "is not simulated of a framework that decodes what others have prefilled";
        diagnostics.error_with(
            &limit.at,
            message,
            "set it for those with role: prefill, whose servers are asked first",
        );
    }
    if plan.layout.as_ref().is_some_and(|layout| layout.data_parallel > 1) {
        let message =
            "is not simulated of engines that share experts (dp_degree), whose requests one server counts together";
        diagnostics.error_with(&limit.at, message, "leave it out");
    }
}

/// The rules of that release.
fn rules(version: Version) -> SchedulerRules {
    SchedulerRules {
        lone_request_is_unlimited: version.has(since::LONE_REQUEST_WITHOUT_THRESHOLD),
        unnamed_blocks_first: version.has(since::UNHASHED_BLOCKS_FIRST),
        self_preempted_is_passed_over: version.has(since::SELF_PREEMPTION_PASSED_OVER),
        loads_leave_room_for_prompts: version.has(since::LOADS_LEAVE_ROOM),
    }
}

/// The scheduler within these settings, and so many KV blocks.
pub(in crate::config::resolve) fn within(
    scheduler: SchedulerSpec,
    plan: &FrameworkPlan<'_>,
    settings: &Settings,
    kv_blocks: u64,
) -> SchedulerSpec {
    let config = plan.config;
    let tokens = settings.max_num_batched_tokens;
    // Of all blocks, the null block included.
    let watermark_blocks = (config.watermark.value * (kv_blocks + 1) as f64) as u32;
    SchedulerSpec {
        max_num_seqs: settings.max_num_seqs.min(config.max_num_active_seqs.value.unwrap_or(u32::MAX)),
        max_num_batched_tokens: tokens.min(config.max_num_scheduled_tokens.value.unwrap_or(u32::MAX)),
        threshold_share_tokens: config.long_prefill_token_threshold_adaptive.value.then_some(tokens),
        watermark_blocks,
        reserve_full_prompt: settings.reserve_full_prompt,
        async_scheduling: settings.async_scheduling,
        ..scheduler
    }
}

/// What vLLM does not take beside a context of `max_model_len`.
pub(in crate::config::resolve) fn check_context(
    plan: &FrameworkPlan<'_>,
    max_model_len: u32,
    tokens: u32,
    diagnostics: &mut Diagnostics,
) {
    let config = plan.config;
    if !config.enable_chunked_prefill.value && tokens < max_model_len {
        let reason = format!(
            "without chunked prefill max_num_batched_tokens ({tokens}) must be no less than max_model_len ({max_model_len})"
        );
        let way_out = format!("set max_model_len: {tokens}, or max_num_batched_tokens: {max_model_len}");
        plan.refuse(&config.enable_chunked_prefill.at, reason, &way_out, diagnostics);
    }
    let threshold = &config.long_prefill_token_threshold;
    if let Some(tokens) = threshold.value.filter(|tokens| *tokens > max_model_len) {
        let reason = format!("long_prefill_token_threshold ({tokens}) is above max_model_len ({max_model_len})");
        plan.refuse(&threshold.at, reason, "leave it out", diagnostics);
    }
}

/// Which prefixes are shared.
fn prefix_caching(plan: &FrameworkPlan<'_>, diagnostics: &mut Diagnostics) -> PrefixCaching {
    let config = plan.config;
    let without_effect = [
        (config.max_prefix_cache_size.given, &config.max_prefix_cache_size.at),
        (config.store_prefix_tokens.given, &config.store_prefix_tokens.at),
    ];
    for (_, at) in without_effect.iter().filter(|(given, _)| *given) {
        diagnostics.warn_once(at.name(), at, "has no effect: the KV pool bounds the prefix cache");
    }
    let transfer = config.kv_transfer_config.value.as_ref();
    if transfer.is_some_and(|transfer| transfer.kv_role.value == Some(KvSide::Consumer)) {
        return PrefixCaching::Off;
    }
    match (plan.caches_prefixes().0, config.enable_cross_request_caching.value) {
        (false, _) => PrefixCaching::Off,
        (true, false) => PrefixCaching::Conversational,
        (true, true) => PrefixCaching::Full,
    }
}

/// Most prompt tokens of one sequence a step.
fn prefill_limit(config: &FrameworkConfig, diagnostics: &mut Diagnostics) -> Option<u32> {
    if config.long_prefill_token_threshold.given && config.prefill_chunk_size.given {
        let message = "long_prefill_token_threshold is given too and counts";
        diagnostics.warn(&config.prefill_chunk_size.at, message);
    }
    let threshold = config.long_prefill_token_threshold.value.or(config.prefill_chunk_size.value);
    threshold.filter(|&tokens| tokens > 0)
}
