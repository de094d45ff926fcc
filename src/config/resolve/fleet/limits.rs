//! What GPUs hold an engine to: its part of them beside other tenants, the blocks of its KV pool, its longest context.

use std::collections::HashMap;

use oracle_components::kv_groups::KvGroups;
use oracle_components::layers::Part;
use oracle_components::model::{ModelArchitecture, RopeScaling};
use oracle_components::scenario::SchedulerSpec;
use oracle_systems::memory::{PoolRequest, kv_pool};

use crate::config::diagnostic::{Diagnostics, Severity};
use crate::config::keys::ContextLength;
use crate::config::resolve::devices::Device;
use crate::config::resolve::frameworks::defaults::Settings;
use crate::config::resolve::plan::{FrameworkPlan, Layout};
use crate::config::versions::since;

/// Target frameworks on each GPU.
pub(super) fn tenants(plans: &[FrameworkPlan<'_>]) -> HashMap<String, u32> {
    let mut tenants = HashMap::new();
    for plan in plans.iter().filter(|plan| plan.keys.is_target_for_workload.value) {
        for id in plan.layout.iter().flat_map(|layout| &layout.gpu_ids) {
            *tenants.entry(id.clone()).or_insert(0) += 1;
        }
    }
    tenants
}

/// The part of its GPUs' memory and speed that a framework has.
pub(super) fn gpu_share(
    plan: &FrameworkPlan<'_>,
    layout: &Layout,
    tenants: &HashMap<String, u32>,
    diagnostics: &mut Diagnostics,
) -> f64 {
    let most =
        layout.gpu_ids.iter().map(|id| (tenants.get(id).copied().unwrap_or(1), id)).max_by_key(|(count, _)| *count);
    let Some((count, id)) = most.filter(|(count, _)| *count > 1 && plan.keys.is_target_for_workload.value) else {
        return 1.0;
    };
    let message = format!("{count} frameworks run on {id}; each has 1/{count} of its memory and speed");
    diagnostics.warn(&layout.at, message);
    1.0 / f64::from(count)
}

/// What the KV pool of an engine depends on.
pub(super) struct Pool<'a> {
    pub(super) devices: &'a [&'a Device],
    pub(super) settings: Settings,
    pub(super) gpu_share: f64,
    /// How layers of several kinds share it, if they do.
    pub(super) groups: Option<&'a KvGroups>,
}

/// Blocks of the KV pool. `None` if the model does not fit, which has been reported.
pub(super) fn kv_blocks(
    plan: &FrameworkPlan<'_>,
    layout: &Layout,
    pool: &Pool<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<u64> {
    let &Pool { devices, settings, gpu_share, groups } = pool;
    let memory_bytes = devices.iter().filter_map(|device| device.spec.as_ref()).map(|spec| spec.memory_bytes).min()?;
    let request = PoolRequest {
        memory_bytes,
        tensor_parallel: layout.tensor_parallel,
        pipeline_parallel: layout.pipeline_parallel,
        gpu_memory_utilization: settings.gpu_memory_utilization,
        block_tokens: plan.config.block_size.value,
        max_num_batched_tokens: settings.max_num_batched_tokens,
        max_num_seqs: settings.max_num_seqs,
        gpu_share,
        expert_engines: layout.data_parallel,
        decode_context_parallel: layout.decode_context_parallel,
        group: groups.map(|groups| (groups.layers, groups.page_bytes)),
    };
    let model = plan.model.as_deref()?;
    // vLLM's pool has a block that no request gets: its null block.
    if let Some(blocks) = plan.config.num_gpu_blocks_override.value {
        check_override(plan, blocks, (model, &request), diagnostics);
        return Some(blocks - 1);
    }
    match kv_pool(model, &request) {
        Ok(pool) => Some(pool.blocks - 1),
        Err(error) => {
            let is_idle = plan.severity() == Severity::Warning;
            let note = is_idle.then(|| "it takes no requests, so it is not simulated".to_owned());
            diagnostics.report_impossible(plan.severity(), &plan.config.model_profile_id.at, error.to_string(), note);
            None
        }
    }
}

/// Blocks of a stated number must fit into the GPUs' memory, whatever share of it the engine is to take.
fn check_override(
    plan: &FrameworkPlan<'_>,
    blocks: u64,
    (model, request): (&ModelArchitecture, &PoolRequest),
    diagnostics: &mut Diagnostics,
) {
    let at = &plan.config.num_gpu_blocks_override.at;
    match kv_pool(model, &PoolRequest { gpu_memory_utilization: 1.0, ..*request }) {
        Ok(pool) if blocks <= pool.blocks => {}
        Ok(pool) => {
            let most = pool.blocks;
            let reason = format!("{blocks} KV blocks are out of memory: the GPUs have room for {most} at most");
            plan.refuse(at, reason, &format!("set num_gpu_blocks_override: {most}, or leave it out"), diagnostics);
        }
        Err(error) => {
            plan.refuse(at, format!("it runs out of memory: {error}"), "leave num_gpu_blocks_override out", diagnostics)
        }
    }
}

/// Longest context, prompt and output together.
pub(super) fn max_model_len(
    plan: &FrameworkPlan<'_>,
    kv_blocks: u64,
    (groups, scheduler): (Option<&KvGroups>, &SchedulerSpec),
    diagnostics: &mut Diagnostics,
) -> u32 {
    let key = &plan.config.max_model_len;
    let wanted = plan.context_tokens();
    let own = plan.longest_context_tokens();
    warn_of_stretch(plan, diagnostics);
    let pool_tokens = kv_blocks.saturating_mul(u64::from(plan.config.block_size.value));
    let pool_tokens = match groups {
        Some(groups) => oracle_systems::kv_groups::longest_context(groups, scheduler, kv_blocks),
        None => u32::try_from(pool_tokens).unwrap_or(u32::MAX),
    };
    let is_whole = groups.is_some() || plan.config.disable_hybrid_kv_cache_manager.value;
    let cache_tokens = if is_whole { wanted } else { cache_tokens(plan, wanted) };
    if key.value.is_some_and(|length| length.tokens().is_some_and(|tokens| tokens > own)) {
        let reason = format!("max_model_len ({wanted}) is above the {own} tokens that the model was made for");
        plan.refuse(&key.at, reason, &format!("set max_model_len: {own}"), diagnostics);
    }
    let is_fitted = key.value == Some(ContextLength::Auto) || (!key.given && plan.is_of_predecessor);
    if !is_fitted && cache_tokens > pool_tokens {
        let reason = format!(
            "to serve one request of max_model_len ({wanted} tokens) takes more KV cache than there is, {pool_tokens} tokens"
        );
        let given = plan.config.num_gpu_blocks_override.given;
        let pool = if given { "num_gpu_blocks_override" } else { "gpu_memory_utilization" };
        let way_out = format!("set max_model_len: {pool_tokens}, or auto, or raise {pool}");
        plan.refuse(&key.at, reason, &way_out, diagnostics);
    }
    wanted.min(pool_tokens)
}

/// Says where the context is what YaRN stretches it to, which vLLM of late takes only if the file states it.
fn warn_of_stretch(plan: &FrameworkPlan<'_>, diagnostics: &mut Diagnostics) {
    let Some(model) = plan.model.as_deref() else { return };
    let RopeScaling::Yarn { original_tokens, factor } = model.rope_scaling else { return };
    let (stated, stretched) = (model.max_position_embeddings, f64::from(original_tokens) * factor);
    if stretched > f64::from(stated) && plan.version().has(since::YARN_CONTEXT_IS_STATED) {
        let message = format!(
            "the context of {} is the {stretched} tokens that YaRN stretches it to, though it states max_position_embeddings of {stated}, \
             which is what vLLM {} takes (before {} it took the former): write {stretched} into its config.json",
            model.name,
            plan.version(),
            since::YARN_CONTEXT_IS_STATED
        );
        diagnostics.warn(&plan.config.model_profile_id.at, message);
    }
}

/// Tokens of KV cache in all layers that a context takes: of a sliding window no more than that and a step.
fn cache_tokens(plan: &FrameworkPlan<'_>, context_tokens: u32) -> u32 {
    let Some(model) = plan.model.as_deref() else { return context_tokens };
    let spared = model.layers.parts().map(|(part, layers)| match part {
        Part::Attention(attention) => {
            let seen = attention.reach.limit().map_or(context_tokens, |limit| context_tokens.min(limit));
            u64::from(context_tokens - seen) * u64::from(layers)
        }
        _ => 0,
    });
    context_tokens - (spared.sum::<u64>() / u64::from(model.layers.len().max(1))) as u32
}
