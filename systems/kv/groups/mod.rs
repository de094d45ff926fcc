//! The KV pool of layers of several kinds, block by block: `blocks` has the queue and the names, `tables` who has which block,
//! `counted` the blocks of those that nobody else asks for, `hits` what a prompt finds, `chunks` where chunks end so that states can be kept.
//!
//! SEMANTICS.md, "KV blocks in groups", is what it does. Law: a block is free or held, never both; tables, names and the queue lead to
//! the same blocks; and what the pool counts as free is what holds nothing and what is in the queue.

mod blocks;
mod chunks;
mod counted;
mod hits;
mod tables;

use std::collections::VecDeque;
use std::sync::Arc;

use oracle_components::group_blocks::{Alike, BlockStore, GroupBlocks, NO_BLOCK, Names};
use oracle_components::key_map::KeyMap;
use oracle_components::kv::KvPool;
use oracle_components::kv_groups::{KvGroup, KvGroups, KvKind};
use oracle_components::scenario::{PrefixCaching, SchedulerSpec};
use smallvec::SmallVec;

pub use chunks::{Span, chunk_within_blocks};
pub use counted::{
    LettingGo, bring_table_up, bring_up, counted_blocks, extend_counted, is_all_counted, kept_of, step_at_once,
};
pub use hits::{blocks_to_admit, look_up, take_hit};
pub use tables::{extend, freed_by, let_go_past, needed, note_taken, release, taken_before};

/// What a step takes of a sequence.
#[derive(Clone, Copy, Debug)]
pub struct Taking {
    /// Tokens in its KV cache, less what a step in flight may still read.
    pub settled: u32,
    /// Tokens in it after the step.
    pub end: u32,
    /// Tokens whose content is known.
    pub known: u32,
}

/// Runs `change` on the blocks and the books of a pool with groups.
fn with<T>(pool: &mut KvPool, change: impl FnOnce(&mut GroupBlocks, &mut KvPool) -> T) -> T {
    let mut grouped = pool.grouped.take().expect("only pools with groups have tables");
    let result = change(&mut grouped, pool);
    pool.grouped = Some(grouped);
    result
}

/// Blocks that a sequence may have of a state that is kept: those before, in and after the step that is in flight.
const BLOCKS_OF_A_KEPT_STATE: u64 = 3;

/// A pool of `total` blocks that hold nothing, shared by groups.
#[must_use]
pub fn new_pool(total: u64, groups: &Arc<KvGroups>, scheduler: &SchedulerSpec) -> KvPool {
    let caps = groups.groups.iter().map(|group| cap(group, scheduler).filter(|_| groups.rules.windows_are_capped));
    let store = BlockStore {
        groups: Arc::clone(groups),
        alignment: scheduler.block_tokens,
        alike: in_a_row(groups, scheduler.prefix_caching),
        asked: asked_together(groups),
        caps: caps.collect(),
        caches: scheduler.prefix_caching != PrefixCaching::Off,
        unnamed_first: scheduler.rules.unnamed_blocks_first,
        blocks: Vec::new(),
        vacant: Vec::new(),
        front: NO_BLOCK,
        back: NO_BLOCK,
        names: Names::default(),
        runs: VecDeque::new(),
        next_of_runs: 0,
        let_go: VecDeque::new(),
        new_states: Vec::new(),
    };
    let grouped = GroupBlocks { store, tables: KeyMap::default(), held: Vec::new() };
    KvPool { grouped: Some(Box::new(grouped)), ..super::new_pool(total) }
}

/// Groups in a row that are alike.
#[must_use]
pub fn in_a_row(groups: &KvGroups, caching: PrefixCaching) -> Vec<Alike> {
    let mut all: Vec<Alike> = Vec::new();
    for (first, &group) in (0_u16..).zip(&groups.groups) {
        if let Some(last) = all.last_mut().filter(|last| last.group == group) {
            last.times += 1;
            continue;
        }
        let reach = match group.kind {
            KvKind::Window { tokens } => tables::window_blocks(tokens, group.block_tokens) * group.block_tokens,
            _ => 0,
        };
        // A state that is not kept is one block.
        let is_countable = group.kind != KvKind::State || caching == PrefixCaching::Off;
        all.push(Alike { group, first, times: 1, reach, is_countable });
    }
    all
}

/// Groups alike are asked together, full attention first.
fn asked_together(groups: &KvGroups) -> Vec<SmallVec<[u16; 4]>> {
    let mut asked: Vec<SmallVec<[u16; 4]>> = Vec::new();
    for (index, group) in (0_u16..).zip(&groups.groups) {
        let alike = asked.iter_mut().find(|others| groups.groups[usize::from(others[0])] == *group);
        match alike {
            Some(others) => others.push(index),
            None => asked.push(SmallVec::from_slice(&[index])),
        }
    }
    asked.sort_by_key(|alike| groups.groups[usize::from(alike[0])].kind != KvKind::Full);
    asked
}

/// Tokens that nobody looks at any more, with so many in the cache.
fn past(kind: KvKind, tokens: u32) -> u32 {
    match kind {
        KvKind::Full => 0,
        KvKind::Window { tokens: window } => (tokens + 1).saturating_sub(window),
        KvKind::Chunk { tokens: chunk } => tokens / chunk * chunk,
        KvKind::State => tokens.saturating_sub(1),
    }
}

/// Most entries that a sequence has for a group at once, if that is not a matter of its length.
fn cap(group: &KvGroup, scheduler: &SchedulerSpec) -> Option<u32> {
    let in_flight = scheduler.max_num_batched_tokens.saturating_mul(1 + u32::from(scheduler.async_scheduling));
    let entries =
        |tokens: u32| tokens.saturating_add(in_flight).min(scheduler.max_model_len).div_ceil(group.block_tokens);
    match group.kind {
        KvKind::Window { tokens } => Some(entries(tokens - 1) + 1),
        KvKind::Chunk { tokens } => Some(entries(tokens)),
        KvKind::Full | KvKind::State => None,
    }
}

/// Blocks that a request of so many tokens may need at once, all groups together.
#[must_use]
#[inline(never)]
pub fn most_blocks(groups: &KvGroups, scheduler: &SchedulerSpec, tokens: u64) -> u64 {
    let is_capped = groups.rules.windows_are_capped || !scheduler.reserve_full_prompt;
    let blocks = |group: &KvGroup| {
        let whole = tokens.div_ceil(u64::from(group.block_tokens));
        match group.kind {
            KvKind::State => whole.min(BLOCKS_OF_A_KEPT_STATE),
            _ => cap(group, scheduler).filter(|_| is_capped).map_or(whole, |cap| whole.min(cap.into())),
        }
    };
    groups.groups.iter().map(blocks).sum()
}

/// Blocks that a request of so many tokens needs, all groups together, as the engine reckons when it starts.
#[must_use]
pub fn blocks_of_context(groups: &KvGroups, scheduler: &SchedulerSpec, tokens: u32) -> u64 {
    let scheduler = SchedulerSpec { max_model_len: tokens, ..*scheduler };
    let of_state = if scheduler.prefix_caching == PrefixCaching::Off { 1 } else { 2 };
    let blocks = |group: &KvGroup| match group.kind {
        KvKind::State => of_state,
        _ => cap(group, &scheduler).unwrap_or(tokens.div_ceil(group.block_tokens)).into(),
    };
    groups.groups.iter().map(blocks).sum()
}

/// Tokens that the pool holds of requests with the longest context.
#[must_use]
pub fn pool_tokens(groups: &KvGroups, scheduler: &SchedulerSpec, kv_blocks: u64) -> u64 {
    let longest = scheduler.max_model_len;
    (kv_blocks as f64 / blocks_of_context(groups, scheduler, longest) as f64 * f64::from(longest)) as u64
}

/// The longest context that so many blocks hold.
#[must_use]
pub fn longest_context(groups: &KvGroups, scheduler: &SchedulerSpec, kv_blocks: u64) -> u32 {
    let (mut fits, mut beyond) = (0, 1 << 30);
    while beyond - fits > 1 {
        let tokens = fits + (beyond - fits) / 2;
        if blocks_of_context(groups, scheduler, tokens) <= kv_blocks { fits = tokens } else { beyond = tokens }
    }
    fits
}

/// Tokens that every group has whole blocks of: where a hit may end.
#[must_use]
pub fn alignment(groups: &KvGroups, caching: PrefixCaching) -> u32 {
    let has_blocks = |group: &&KvGroup| group.kind != KvKind::State || caching != PrefixCaching::Off;
    groups.groups.iter().filter(has_blocks).map(|group| group.block_tokens).fold(1, least_common_multiple)
}

fn least_common_multiple(one: u32, other: u32) -> u32 {
    one / greatest_common_divisor(one, other) * other
}

/// The greatest number that divides both.
#[must_use]
pub fn greatest_common_divisor(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}

/// A step is formed anew, or has run: the states that are named are there.
pub fn forget_new_states(pool: &mut KvPool) {
    if let Some(grouped) = &mut pool.grouped {
        grouped.store.new_states.clear();
    }
}
