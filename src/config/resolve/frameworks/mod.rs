//! Frameworks one by one: model, GPUs, parallelism and the limits that depend on no other framework.

pub(super) mod experts;
mod models;

use std::collections::HashSet;
use std::sync::Arc;

use oracle_components::model::{Attention, ModelArchitecture};
use oracle_components::scenario::{PrefixCaching, QueuePolicy, SchedulerSpec};

use crate::config::declare::Placed;
use crate::config::diagnostic::{At, Diagnostics};
use crate::config::keys::{CacheDtype, Config, Framework, FrameworkConfig, FrameworkKind, Parallelism, Strategy};
use crate::config::resolve::devices::Hardware;
use crate::config::resolve::plan::{FrameworkPlan, Layout};
use crate::config::resolve::run_context::RunContext;
use crate::config::resolve::topology::CLIENT;
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
        let layout = hardware.and_then(|hardware| layout(keys, config, hardware, diagnostics));
        if let (Some(model), Some(layout)) = (&model, &layout) {
            check_division(model, layout, diagnostics);
            experts::check(config, model, layout, diagnostics);
            check_context_parallel(config, model, layout, diagnostics);
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

fn layout(
    keys: &Framework,
    config: &FrameworkConfig,
    hardware: &Hardware,
    diagnostics: &mut Diagnostics,
) -> Option<Layout> {
    let kind = keys.kind.value?;
    let parallelism = config.parallelism.value.as_ref();
    if kind == FrameworkKind::ParallelVllm && !config.parallelism.given {
        let message = "missing required key parallelism, which a ParallelVLLM needs";
        diagnostics.error_with(
            &config.at,
            message,
            "such as parallelism: {strategy: TP, tp_degree: 2, gpu_ids: [gpu0, gpu1]}",
        );
        return None;
    }
    if config.parallelism.given && parallelism.is_none() {
        return None;
    }
    let strategy = parallelism.map(|parallelism| &parallelism.strategy);
    if strategy.is_some_and(|strategy| strategy.given && strategy.value.is_none()) {
        return None;
    }
    match parallelism.zip(strategy.and_then(|strategy| strategy.value)) {
        Some((parallelism, strategy))
            if !matches!(strategy, Strategy::None | Strategy::Data) || parallelism.dp_degree.value.unwrap_or(1) > 1 =>
        {
            parallel_layout(parallelism, strategy, hardware, diagnostics)
        }
        _ if kind == FrameworkKind::ParallelVllm
            && strategy.and_then(|strategy| strategy.value) != Some(Strategy::Data) =>
        {
            let at = strategy.map_or(&config.parallelism.at, |strategy| &strategy.at);
            diagnostics.error(at, "a ParallelVLLM needs a strategy: TP, PP or TP_PP");
            None
        }
        _ => single_layout(config, parallelism, hardware, diagnostics),
    }
}

fn single_layout(
    config: &FrameworkConfig,
    parallelism: Option<&Parallelism>,
    hardware: &Hardware,
    diagnostics: &mut Diagnostics,
) -> Option<Layout> {
    if let Some(parallelism) = parallelism
        && (parallelism.tp_degree.value > 1 || parallelism.pp_stages.value > 1 || parallelism.gpu_ids.value.len() > 1)
    {
        let message = "without TP or PP the model runs on one GPU, gpu_id";
        let suggestion =
            "set strategy: TP, PP or TP_PP; for replicas write replicas: 2 beside name, or further entries";
        diagnostics.warn_with(&parallelism.at, message, suggestion);
    }
    let only_gpu = parallelism.and_then(|parallelism| match parallelism.gpu_ids.value.as_slice() {
        [only] => Some(only.value.clone()),
        [first, ..] if parallelism.strategy.value == Some(Strategy::Data) => Some(first.value.clone()),
        _ => None,
    });
    if !config.gpu_id.given && only_gpu.is_none() {
        diagnostics.error_with(&config.at, "missing required key gpu_id, which a VLLM needs", "such as gpu_id: gpu0");
    }
    let id = config.gpu_id.value.clone().or(only_gpu)?;
    if !check_gpu(&id, &config.gpu_id.at, hardware, diagnostics) {
        return None;
    }
    let at = config.gpu_id.at.clone();
    Some(Layout {
        gpu_ids: vec![id],
        tensor_parallel: 1,
        pipeline_parallel: 1,
        prompt_microbatches: None,
        data_parallel: 1,
        decode_context_parallel: 1,
        at,
    })
}

fn parallel_layout(
    keys: &Parallelism,
    strategy: Strategy,
    hardware: &Hardware,
    diagnostics: &mut Diagnostics,
) -> Option<Layout> {
    if !check_gpus(keys, hardware, diagnostics) {
        return None;
    }
    let data_parallel = experts::data_parallel(keys, strategy, diagnostics)?;
    let (tensor_parallel, pipeline_parallel) = degrees(keys, strategy, data_parallel, diagnostics)?;
    let used = tensor_parallel as usize * pipeline_parallel as usize * data_parallel as usize;
    let gpu_ids = keys.gpu_ids.value.iter().take(used).map(|id| id.value.clone()).collect();
    let prompt_microbatches = keys.num_microbatches_per_request.value.filter(|_| pipeline_parallel > 1);
    let at = keys.gpu_ids.at.clone();
    let decode_context_parallel = keys.dcp_degree.value.unwrap_or(1);
    Some(Layout {
        gpu_ids,
        tensor_parallel,
        pipeline_parallel,
        prompt_microbatches,
        data_parallel,
        decode_context_parallel,
        at,
    })
}

/// Ranks a stage and stages of an engine, which must make use of its GPUs.
fn degrees(
    keys: &Parallelism,
    strategy: Strategy,
    data_parallel: u32,
    diagnostics: &mut Diagnostics,
) -> Option<(u32, u32)> {
    let gpus = u32::try_from(keys.gpu_ids.value.len()).unwrap_or(u32::MAX) / data_parallel;
    let (degree, stages) = (keys.tp_degree.value, keys.pp_stages.value);
    match strategy {
        Strategy::None | Strategy::Data | Strategy::Tensor => {
            if degree != gpus {
                let message = format!("tp_degree is {degree}, but gpu_ids has {gpus}");
                diagnostics.error_with(&keys.tp_degree.at, message, format!("set tp_degree: {gpus}"));
                return None;
            }
            Some((degree, 1))
        }
        Strategy::Pipeline => {
            if stages > gpus {
                diagnostics.error(&keys.pp_stages.at, format!("pp_stages is {stages}, but gpu_ids has {gpus}"));
                return None;
            }
            if stages < gpus {
                let message = format!("{} of {gpus} GPUs idle: each of the {stages} stages runs on one", gpus - stages);
                diagnostics.warn_with(&keys.gpu_ids.at, message, "use strategy: TP_PP with tp_degree");
            }
            Some((1, stages))
        }
        Strategy::TensorPipeline => {
            if u64::from(degree) * u64::from(stages) != u64::from(gpus) {
                let message = format!("tp_degree × pp_stages is {degree} × {stages}, but gpu_ids has {gpus}");
                diagnostics.error(&keys.gpu_ids.at, message);
                return None;
            }
            Some((degree, stages))
        }
    }
}

fn check_gpus(keys: &Parallelism, hardware: &Hardware, diagnostics: &mut Diagnostics) -> bool {
    let ids = &keys.gpu_ids.value;
    if ids.is_empty() {
        diagnostics.error_with(&keys.gpu_ids.at, "there must be at least one GPU", "such as gpu_ids: [gpu0, gpu1]");
        return false;
    }
    let mut seen = HashSet::new();
    let mut is_right = true;
    for Placed { value: id, at } in ids {
        if !seen.insert(id) {
            diagnostics.error(at, format!("{id} is listed twice"));
            is_right = false;
        } else {
            is_right &= check_gpu(id, at, hardware, diagnostics);
        }
    }
    is_right
}

fn check_gpu(id: &str, at: &At, hardware: &Hardware, diagnostics: &mut Diagnostics) -> bool {
    if id == CLIENT {
        diagnostics.error(at, format!("{CLIENT} is where requests come from; it serves no model"));
    } else if hardware.device(id).is_none() {
        hardware.report_unknown(at, id, diagnostics);
    } else {
        return true;
    }
    false
}

fn check_division(model: &ModelArchitecture, layout: &Layout, diagnostics: &mut Diagnostics) {
    if layout.pipeline_parallel > model.layers {
        let message = format!("{} stages for the {} layers of {}", layout.pipeline_parallel, model.layers, model.name);
        diagnostics.error(&layout.at, message);
    }
    if !model.heads.is_multiple_of(layout.tensor_parallel) {
        let message = format!(
            "the {} heads of {} do not divide among {} ranks; vLLM refuses this",
            model.heads, model.name, layout.tensor_parallel
        );
        diagnostics.warn(&layout.at, message);
    }
}

/// Ranks share a cache that they would hold alike: as many as there are ranks to a KV head.
fn check_context_parallel(
    config: &FrameworkConfig,
    model: &ModelArchitecture,
    layout: &Layout,
    diagnostics: &mut Diagnostics,
) {
    let Some(key) = config.parallelism.value.as_ref().map(|keys| &keys.dcp_degree) else { return };
    let (degree, tensor) = (layout.decode_context_parallel, layout.tensor_parallel);
    let copies = match model.attention {
        Attention::Grouped => tensor / model.kv_heads.clamp(1, tensor),
        Attention::Latent { .. } => tensor,
    };
    if degree > copies || !tensor.is_multiple_of(degree) {
        let times = if copies == 1 { "once".to_owned() } else { format!("{copies} times") };
        let message =
            format!("{degree} ranks cannot share the KV cache of {}: {tensor} ranks hold it {times}", model.name);
        let suggestion = match copies {
            1 => "leave dcp_degree out".to_owned(),
            _ => format!("set a divisor of tp_degree up to {copies}"),
        };
        diagnostics.error_with(&key.at, message, suggestion);
    }
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
