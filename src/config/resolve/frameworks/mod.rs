//! Frameworks one by one: model, GPUs, parallelism and the limits that depend on no other framework.

pub(super) mod experts;
mod layout;
mod models;

use std::collections::HashSet;
use std::sync::Arc;

use oracle_components::model::ModelArchitecture;
use oracle_components::scenario::{PrefixCaching, QueuePolicy, SchedulerSpec};

use crate::config::diagnostic::Diagnostics;
use crate::config::keys::{CacheDtype, Config, FrameworkConfig};
use crate::config::resolve::devices::Hardware;
use crate::config::resolve::plan::FrameworkPlan;
use crate::config::resolve::run_context::RunContext;
use models::Models;
pub(in crate::config) use models::check_models;

/// Every framework that has a name and a config, in the order of the file.
pub(super) fn resolve<'a>(
    config: &'a Config,
    hardware: Option<&Hardware>,
    context: &RunContext,
    diagnostics: &mut Diagnostics,
) -> Vec<FrameworkPlan<'a>> {
    let models = Models::open(&config.model_characteristics_db_path, context, diagnostics);
    let Some(frameworks) = &config.frameworks_to_test.value else {
        return Vec::new();
    };
    if !frameworks.iter().any(|framework| framework.is_target_for_workload.value) {
        let message = "no framework takes requests";
        diagnostics.error_with(&config.frameworks_to_test.at, message, "set is_target_for_workload: true for one");
    }
    let mut names = HashSet::new();
    let mut plans = Vec::new();
    for keys in frameworks {
        if keys.name.value.as_ref().is_some_and(|name| !names.insert(name)) {
            diagnostics.error(&keys.name.at, "another framework has this name");
        }
        let Some(config) = &keys.config.value else {
            continue;
        };
        let model = models.model(&config.model_profile_id, diagnostics).map(|model| with_dtypes(model, config));
        let layout = hardware.and_then(|hardware| layout::resolve(keys, config, hardware, diagnostics));
        if let (Some(model), Some(layout)) = (&model, &layout) {
            layout::check_division(model, layout, diagnostics);
            experts::check(config, model, layout, diagnostics);
            layout::check_context_parallel(config, model, layout, diagnostics);
        }
        let name = keys.name.value.clone().unwrap_or_default();
        plans.push(FrameworkPlan { keys, config, name, model, layout });
    }
    plans
}

fn with_dtypes(model: Arc<ModelArchitecture>, config: &FrameworkConfig) -> Arc<ModelArchitecture> {
    let kv_cache = match config.kv_cache_dtype.value {
        Some(CacheDtype::Of(dtype)) => Some(dtype),
        Some(CacheDtype::Model) | None => None,
    };
    let weights = config.weight_dtype.value;
    if weights.is_none() && kv_cache.is_none() {
        return model;
    }
    let mut model = Arc::unwrap_or_clone(model);
    model.weight_dtype = weights.unwrap_or(model.weight_dtype);
    model.kv_dtype = kv_cache.unwrap_or(model.kv_dtype);
    Arc::new(model)
}

/// The scheduler, but for what depends on devices and memory.
pub(super) fn scheduler(config: &FrameworkConfig, diagnostics: &mut Diagnostics) -> SchedulerSpec {
    SchedulerSpec {
        max_num_seqs: config.max_num_seqs.value,
        max_num_batched_tokens: config.max_num_batched_tokens.value.unwrap_or(u32::MAX),
        block_tokens: config.block_size.value,
        chunked_prefill: config.enable_chunked_prefill.value,
        reserve_full_prompt: config.scheduler_reserve_full_isl.value,
        long_prefill_token_threshold: prefill_limit(config, diagnostics),
        policy: queue_policy(config, diagnostics),
        max_model_len: u32::MAX,
        prefix_caching: prefix_caching(config, diagnostics),
        min_cached_prefix_tokens: config.min_prefix_cache_length.value.unwrap_or(0),
        async_scheduling: config.async_scheduling.value,
    }
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
pub(super) fn step_overhead_s(config: &FrameworkConfig, diagnostics: &mut Diagnostics) -> f64 {
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
