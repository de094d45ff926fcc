//! GPUs and parallelism of a framework: which it names, into how many ranks, stages and engines they are divided, and what
//! of it the model allows.

use std::collections::HashSet;

use oracle_components::model::ModelArchitecture;

use super::experts;
use crate::config::declare::Placed;
use crate::config::diagnostic::{At, Diagnostics};
use crate::config::keys::{Framework, FrameworkConfig, FrameworkKind, Parallelism, Strategy};
use crate::config::resolve::devices::Hardware;
use crate::config::resolve::plan::Layout;
use crate::config::resolve::topology::CLIENT;

/// Which GPUs a framework uses, and how. `None` if that cannot be told, which has been reported.
pub(super) fn resolve(
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

/// Whether there is a layer for each stage.
pub(super) fn check_stages(model: &ModelArchitecture, layout: &Layout, diagnostics: &mut Diagnostics) {
    if layout.pipeline_parallel > model.layers.len() {
        let message =
            format!("{} stages for the {} layers of {}", layout.pipeline_parallel, model.layers.len(), model.name);
        diagnostics.error(&layout.at, message);
    }
}

/// Ranks share a cache that they would hold alike: as many as there are ranks to a KV head.
pub(super) fn check_context_parallel(
    config: &FrameworkConfig,
    model: &ModelArchitecture,
    layout: &Layout,
    diagnostics: &mut Diagnostics,
) {
    let Some(key) = config.parallelism.value.as_ref().map(|keys| &keys.dcp_degree) else { return };
    let (degree, tensor) = (layout.decode_context_parallel, layout.tensor_parallel);
    let most_kv_heads = model.attentions().map(|attention| attention.kv_heads).max();
    let copies = tensor / most_kv_heads.unwrap_or(1).clamp(1, tensor);
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
