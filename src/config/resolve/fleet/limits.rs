//! What GPUs hold an engine to: its part of them beside other tenants, the blocks of its KV pool, its longest context.

use std::collections::HashMap;

use oracle_systems::memory::{PoolRequest, kv_pool};

use crate::config::diagnostic::{Diagnostics, Severity};
use crate::config::resolve::devices::Device;
use crate::config::resolve::plan::{FrameworkPlan, Layout};

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

/// Blocks of the KV pool. `None` if the model does not fit, which has been reported.
pub(super) fn kv_blocks(
    plan: &FrameworkPlan<'_>,
    layout: &Layout,
    devices: &[&Device],
    (max_num_batched_tokens, max_num_seqs): (u32, u32),
    gpu_share: f64,
    diagnostics: &mut Diagnostics,
) -> Option<u64> {
    let memory_bytes = devices.iter().filter_map(|device| device.spec.as_ref()).map(|spec| spec.memory_bytes).min()?;
    let request = PoolRequest {
        memory_bytes,
        tensor_parallel: layout.tensor_parallel,
        pipeline_parallel: layout.pipeline_parallel,
        gpu_memory_utilization: plan.config.gpu_memory_utilization.value,
        block_tokens: plan.config.block_size.value,
        max_num_batched_tokens,
        max_num_seqs,
        gpu_share,
        expert_engines: layout.data_parallel,
        decode_context_parallel: layout.decode_context_parallel,
    };
    let pool = kv_pool(plan.model.as_deref()?, &request);
    let given = plan.config.num_gpu_blocks_override.value;
    match (given, pool) {
        // vLLM's pool has a block that no request gets: its null block.
        (Some(blocks), _) => Some(blocks - 1),
        (None, Ok(pool)) => Some(pool.blocks - 1),
        (None, Err(error)) => {
            let is_idle = plan.severity() == Severity::Warning;
            let note = is_idle.then(|| "it takes no requests, so it is not simulated".to_owned());
            diagnostics.report(plan.severity(), &plan.config.model_profile_id.at, error.to_string(), note);
            None
        }
    }
}

/// The model's longest context, held to what the pool can store for one sequence.
pub(super) fn max_model_len(plan: &FrameworkPlan<'_>, kv_blocks: u64, diagnostics: &mut Diagnostics) -> u32 {
    let model_tokens = plan.model.as_ref().map_or(u32::MAX, |model| model.max_position_embeddings).max(1);
    let pool_tokens = kv_blocks.saturating_mul(u64::from(plan.config.block_size.value));
    let pool_tokens = u32::try_from(pool_tokens).unwrap_or(u32::MAX);
    let key = &plan.config.max_model_len;
    let Some(tokens) = key.value else {
        return model_tokens.min(pool_tokens);
    };
    if tokens > pool_tokens {
        let message = format!("{tokens} tokens do not fit in the KV pool, which holds {pool_tokens}");
        diagnostics.report(
            plan.severity(),
            &key.at,
            message,
            Some("lower it, or raise gpu_memory_utilization".to_owned()),
        );
    }
    if tokens > model_tokens {
        diagnostics.warn(&key.at, format!("the model was made for {model_tokens} tokens"));
    }
    tokens
}
