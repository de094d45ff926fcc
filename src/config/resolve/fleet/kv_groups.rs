//! Whether layers of several kinds share an engine's KV pool, and how.

use std::sync::Arc;

use oracle_components::kv_groups::{KvGroupRules, KvGroups, KvKind};
use oracle_components::scenario::{PrefixCaching, Role};
use oracle_systems::kv_groups::alignment;
use oracle_systems::kv_layers::{kv_layers, share_pool};

use crate::config::diagnostic::Diagnostics;
use crate::config::keys::Retention;
use crate::config::resolve::plan::{FrameworkPlan, Layout};
use crate::config::versions::{Version, since};

/// The groups of layers that share the pool, as vLLM's hybrid KV cache manager has them; `None` where all layers are alike, and where
/// all are taken for full attention.
pub(super) fn kv_groups(
    plan: &FrameworkPlan<'_>,
    layout: &Layout,
    caching: PrefixCaching,
    diagnostics: &mut Diagnostics,
) -> Option<Arc<KvGroups>> {
    let groups = groups(plan, layout, caching);
    check_retention(plan, groups.as_ref(), caching, diagnostics);
    groups.map(Arc::new)
}

/// vLLM keeps blocks where hits may end.
fn check_retention(
    plan: &FrameworkPlan<'_>,
    groups: Option<&KvGroups>,
    caching: PrefixCaching,
    diagnostics: &mut Diagnostics,
) {
    let key = &plan.config.prefix_cache_retention_interval;
    let Some(tokens) = key.value.and_then(Retention::tokens).filter(|&tokens| tokens > 0) else { return };
    let Some(groups) = groups else {
        let message = "the KV cache has no sliding windows of their own, so it has no effect";
        plan.refuse(&key.at, message, "leave it out", diagnostics);
        return;
    };
    let block = alignment(groups, caching);
    if !tokens.is_multiple_of(block) {
        let reason =
            format!("prefix_cache_retention_interval ({tokens}) must be a multiple of a block, {block} tokens");
        let way_out = format!("set prefix_cache_retention_interval: {}", tokens.next_multiple_of(block));
        plan.refuse(&key.at, reason, &way_out, diagnostics);
    }
}

fn groups(plan: &FrameworkPlan<'_>, layout: &Layout, caching: PrefixCaching) -> Option<KvGroups> {
    let config = plan.config;
    let is_whole = plan.role().unwrap_or_default() == Role::Both && !config.kv_transfer_config.given;
    if config.disable_hybrid_kv_cache_manager.value || !is_whole || layout.decode_context_parallel > 1 {
        return None;
    }
    let layers = kv_layers(plan.model.as_deref()?, layout.tensor_parallel);
    if layers.iter().all(|layers| layers.kind == KvKind::Full) {
        return None;
    }
    let shared = share_pool(&layers, config.block_size.value, caching != PrefixCaching::Off);
    let version = plan.version();
    Some(KvGroups {
        groups: shared.groups,
        layers: shared.layers,
        page_bytes: shared.page_bytes.ceil() as u64,
        retention_interval: match config.prefix_cache_retention_interval.value {
            Some(retention) => Retention::tokens(retention),
            None => version.has(since::SPARSE_RETENTION).then_some(0),
        },
        rules: rules(version),
    })
}

/// The rules of that release.
fn rules(version: Version) -> KvGroupRules {
    KvGroupRules {
        windows_wait_for_output: version.has(since::WINDOWS_WAIT_FOR_OUTPUT),
        windows_are_capped: version.has(since::WINDOWS_ARE_CAPPED),
        states_are_kept_at_junctions: version.has(since::SPARSE_RETENTION),
    }
}
