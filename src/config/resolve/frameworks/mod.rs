//! Frameworks one by one: model, GPUs, parallelism and the limits that depend on no other framework.

pub(super) mod defaults;
pub(super) mod experts;
mod layout;
mod models;
mod refusals;
pub(super) mod scheduler;

use std::collections::HashSet;
use std::sync::Arc;

use oracle_components::model::{Dtype, ModelArchitecture};
use oracle_components::weight_format::WeightFormat;

use crate::config::declare::name_of;
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
    let has_database = config.model_characteristics_db_path.given;
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
        let model = models.model(config, diagnostics);
        let model = model.map(|model| with_dtypes(model, config, diagnostics));
        let layout = hardware.and_then(|hardware| layout::resolve(keys, config, hardware, diagnostics));
        if let (Some(model), Some(layout)) = (&model, &layout) {
            layout::check_stages(model, layout, diagnostics);
            experts::check(config, model, layout, diagnostics);
            layout::check_context_parallel(config, model, layout, diagnostics);
        }
        let name = keys.name.value.clone().unwrap_or_default();
        let is_of_predecessor = has_database && !keys.version.given && !config.version.given;
        let mut plan = FrameworkPlan { keys, config, name, is_of_predecessor, model, layout };
        let first = plan.layout.as_ref().and_then(|layout| hardware?.device(layout.gpu_ids.first()?)?.spec.as_deref());
        if let Some(narrow) = first.and_then(|device| defaults::narrow_cache(&plan, device)) {
            plan.model =
                plan.model.map(|model| Arc::new(ModelArchitecture { kv_dtype: narrow, ..Arc::unwrap_or_clone(model) }));
        }
        refusals::check(&plan, diagnostics);
        plans.push(plan);
    }
    plans
}

fn with_dtypes(
    model: Arc<ModelArchitecture>,
    config: &FrameworkConfig,
    diagnostics: &mut Diagnostics,
) -> Arc<ModelArchitecture> {
    let kv_cache = match config.kv_cache_dtype.value {
        Some(CacheDtype::Of(dtype)) => Some(dtype),
        Some(CacheDtype::Model) | None => None,
    };
    // The format that a checkpoint has for its experts alone says that checkpoint.
    let is_own = |format| model.experts().is_some_and(|experts| experts.format == Some(format));
    let weights = config.weight_dtype.value.filter(|&format| !is_own(format));
    // Of others than mxfp4 the backend changes no type; whether it has kernels for them is looked at with the devices.
    let activations = config.moe_backend.value.and_then(|backend| backend.activations);
    let activations = activations.filter(|_| model.experts().is_some() && model.expert_format().dtype == Dtype::Mxfp4);
    if weights.is_none() && kv_cache.is_none() && activations.is_none() {
        return model;
    }
    let mut model = Arc::unwrap_or_clone(model);
    if let Some(format) = weights {
        model = model.with_weights(format);
        warn_of_own_experts(&model, format, config, diagnostics);
    }
    if let Some(activations) = activations {
        model = model.with_expert_activations(activations);
    }
    model.kv_dtype = kv_cache.unwrap_or(model.kv_dtype);
    Arc::new(model)
}

/// Says where experts keep the format that their checkpoint has for them alone.
fn warn_of_own_experts(
    model: &ModelArchitecture,
    format: WeightFormat,
    config: &FrameworkConfig,
    diagnostics: &mut Diagnostics,
) {
    let own = model.expert_format();
    if own != format {
        let name = match name_of(own) {
            "" => own.dtype.name(),
            name => name.to_owned(),
        };
        let message = format!(
            "is for the weights of {} beside its routed experts, which stay in {name} as its checkpoint has them",
            model.name
        );
        diagnostics.warn(&config.weight_dtype.at, message);
    }
}
