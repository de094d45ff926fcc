//! Expert parallelism: engines that share the routed experts, and what of it a model and its GPUs allow.

use oracle_components::model::ModelArchitecture;
use oracle_components::scenario::{ExpertExchange, ExpertParallel, Path};

use crate::config::diagnostic::Diagnostics;
use crate::config::keys::{FrameworkConfig, Parallelism, Strategy};
use crate::config::resolve::plan::Layout;
use crate::config::resolve::topology::Ring;

/// Engines that the GPUs are divided among. `None` if they cannot be, which has been reported.
pub(super) fn data_parallel(keys: &Parallelism, strategy: Strategy, diagnostics: &mut Diagnostics) -> Option<u32> {
    let engines = keys.dp_degree.value.unwrap_or(1);
    if engines == 1 {
        return Some(1);
    }
    let at = &keys.dp_degree.at;
    if keys.expert_parallel.value != Some(true) {
        let message = "engines of a group share the routed experts, so expert_parallel must be true";
        diagnostics.error_with(
            at,
            message,
            format!("for copies that share nothing write replicas: {engines} beside name"),
        );
        return None;
    }
    let has_stages = match strategy {
        Strategy::Pipeline => true,
        Strategy::TensorPipeline => keys.pp_stages.value > 1,
        _ => false,
    };
    if has_stages {
        diagnostics.error_with(at, "engines that share experts have no pipeline stages", "use strategy: TP");
        return None;
    }
    let gpus = keys.gpu_ids.value.len();
    if !gpus.is_multiple_of(engines as usize) {
        let message = format!("{gpus} gpu_ids do not divide among {engines} engines");
        diagnostics.error_with(at, message, format!("list {engines} × tp_degree of them"));
        return None;
    }
    Some(engines)
}

/// Whether the model has experts to spread.
pub(super) fn check(
    config: &FrameworkConfig,
    model: &ModelArchitecture,
    layout: &Layout,
    diagnostics: &mut Diagnostics,
) {
    let Some(keys) = config.parallelism.value.as_ref() else { return };
    let at = &keys.expert_parallel.at;
    if keys.expert_parallel.value != Some(true) {
        for (name, given, at) in [
            ("all2all_backend", keys.all2all_backend.given, &keys.all2all_backend.at),
            ("expert_imbalance", keys.expert_imbalance.given, &keys.expert_imbalance.at),
        ] {
            if given {
                diagnostics.warn(at, format!("{name} has no effect without expert_parallel: true"));
            }
        }
        return;
    }
    let ranks = layout.tensor_parallel * layout.data_parallel;
    match model.experts() {
        None if layout.data_parallel > 1 => {
            let message = format!("{} has no experts to share among {} engines", model.name, layout.data_parallel);
            diagnostics.error_with(&keys.dp_degree.at, message, "use replicas");
        }
        None => diagnostics.warn(at, format!("has no effect: {} has no experts", model.name)),
        Some(_) if ranks == 1 => diagnostics.warn(at, "has no effect on one rank: there is none to share experts with"),
        Some(moe) if moe.count < ranks => {
            let message = format!("{ranks} ranks are more than the {} experts of a layer of {}", moe.count, model.name);
            diagnostics.error_with(at, message, "use fewer GPUs, or leave expert_parallel out");
        }
        Some(moe) if !moe.count.is_multiple_of(ranks) => {
            let message = format!("the {} experts of {} do not divide among {ranks} ranks", moe.count, model.name);
            diagnostics.warn(at, format!("{message}; each is taken to have its share"));
        }
        Some(_) => {}
    }
}

/// How the experts of an engine are spread, if there is another rank (vLLM's `use_ep`). `ring` leads over all GPUs of the group; those of the engine `number` are its own.
pub(in crate::config::resolve) fn spread(
    config: &FrameworkConfig,
    layout: &Layout,
    number: u32,
    ring: &Ring,
) -> Option<ExpertParallel> {
    let is_shared = layout.tensor_parallel * layout.data_parallel > 1;
    let keys =
        config.parallelism.value.as_ref().filter(|keys| keys.expert_parallel.value == Some(true) && is_shared)?;
    let own = ring.hops.iter().skip((number * layout.tensor_parallel) as usize).take(layout.tensor_parallel as usize);
    Some(ExpertParallel {
        data_parallel: layout.data_parallel,
        exchange: keys.all2all_backend.value.unwrap_or(ExpertExchange::AllGather),
        imbalance: keys.expert_imbalance.value,
        hops: own.cloned().collect::<Vec<Path>>(),
        fabric: ring.fabric.clone(),
    })
}
