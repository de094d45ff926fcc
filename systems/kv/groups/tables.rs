//! Which blocks a sequence has: those for the tokens of a step, those that are past, and all of them when it leaves.

use oracle_components::group_blocks::{BlockId, BlockName, BlockStore, Chain, Content, GroupBlocks, GroupTable, Table};
use oracle_components::kv::KvPool;
use oracle_components::kv_groups::{KvGroup, KvKind};
use oracle_components::request::RequestId;
use smallvec::SmallVec;

use super::{blocks, past};

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

/// The content that ends with a token.
pub(super) fn chain_at(content: &Content, end: u32) -> Chain {
    let at = content.segments.partition_point(|&(_, segment_end)| segment_end < end);
    content.segments.get(at).map_or(content.tail, |&(key, _)| Chain::Segment(key))
}

/// Runs `change` on the blocks and the books of a pool with groups.
pub(super) fn with<T>(pool: &mut KvPool, change: impl FnOnce(&mut GroupBlocks, &mut KvPool) -> T) -> T {
    let mut grouped = pool.grouped.take().expect("only pools with groups have tables");
    let result = change(&mut grouped, pool);
    pool.grouped = Some(grouped);
    result
}

/// Blocks that `end` tokens need beyond those of so many entries.
pub(super) fn further(group: &KvGroup, entries: u32, end: u32) -> u32 {
    let more = end.div_ceil(group.block_tokens).saturating_sub(entries);
    if group.kind == KvKind::State { more.min(1) } else { more }
}

/// Blocks that a running sequence needs to have `end` tokens in its KV cache, beside those that it has.
#[must_use]
#[inline(never)]
pub fn needed(grouped: &GroupBlocks, id: RequestId, end: u32) -> u64 {
    let tables = &grouped.tables[&id].groups;
    let groups = grouped.store.groups.groups.iter().zip(tables);
    groups.map(|(group, table)| u64::from(further(group, table.entries, end))).sum()
}

/// Blocks that are free once a running sequence lets go of what is past.
#[must_use]
#[inline(never)]
pub fn freed_by(grouped: &GroupBlocks, id: RequestId, settled: u32) -> u64 {
    let store = &grouped.store;
    let whole = &grouped.tables[&id];
    let of_group = |(group, table): (&KvGroup, &GroupTable)| {
        let first = past(group.kind, settled) / group.block_tokens;
        if is_counted(whole, group) {
            return u64::from(first.min(table.entries).saturating_sub(table.first));
        }
        let past = table.blocks.iter().take_while(|&&(entry, _)| entry < first);
        past.filter(|&&(_, id)| store.blocks[id as usize].holders == 1).count() as u64
    };
    store.groups.groups.iter().zip(&whole.groups).map(of_group).sum()
}

/// A running sequence lets go of what is past with so many tokens settled in its KV cache.
#[inline(never)]
pub fn let_go_past(pool: &mut KvPool, id: RequestId, settled: u32) {
    with(pool, |grouped, pool| {
        let table = grouped.tables.get_mut(&id).expect("a running sequence has a table");
        let_go_of_past(&mut grouped.store, pool, table, settled);
    });
}

fn let_go_of_past(store: &mut BlockStore, pool: &mut KvPool, table: &mut Table, settled: u32) {
    for at in 0..table.groups.len() {
        let group = store.groups.groups[at];
        let first = past(group.kind, settled) / group.block_tokens;
        if is_counted(table, &group) {
            let end = first.min(table.groups[at].entries);
            if table.groups[at].first < end {
                let_go_of_counted(store, pool, at, table, end);
                table.groups[at].first = end;
            }
            continue;
        }
        let of_group = &mut table.groups[at];
        if of_group.blocks.front().is_none_or(|&(entry, _)| entry >= first) {
            continue;
        }
        let gone = of_group.blocks.partition_point(|&(entry, _)| entry < first);
        for at in (0..gone).rev() {
            blocks::let_go(store, pool, of_group.blocks[at].1);
        }
        of_group.blocks.drain(..gone);
    }
}

/// Whether the blocks of a group are counted.
fn is_counted(table: &Table, group: &KvGroup) -> bool {
    table.is_counted && group.kind != KvKind::State
}

/// A sequence lets go of the counted blocks of a group before an entry, the last first: those with names, and what is around them.
fn let_go_of_counted(store: &mut BlockStore, pool: &mut KvPool, at: usize, table: &mut Table, end: u32) {
    let group = store.groups.groups[at];
    let first = table.groups[at].first;
    let (from, to) = named_entries(store, group, table, at);
    let to = to.clamp(first, end);
    let from = from.clamp(first, to);
    blocks::let_go_of_run(store, pool, end - to, None);
    let name = BlockName { group: at as u16, end: to * group.block_tokens, chain: table.content.tail };
    let run = blocks::let_go_of_run(store, pool, to - from, Some(name).filter(|_| store.caches));
    table.runs.extend(run);
    blocks::let_go_of_run(store, pool, from - first, None);
}

/// The entries of a group whose blocks have names, of those that are counted.
fn named_entries(store: &BlockStore, group: KvGroup, table: &Table, at: usize) -> (u32, u32) {
    let named = table.groups[at].named;
    let KvKind::Window { tokens } = group.kind else { return (0, named) };
    if store.groups.retention_interval.is_none() {
        return (0, named);
    }
    let end = (table.content.prompt_tokens - 1) / store.alignment * store.alignment / group.block_tokens;
    (end.saturating_sub(window_blocks(tokens, group.block_tokens)), named.min(end))
}

/// A running sequence gets the blocks for the tokens of a step, and lets go of what is past; blocks that are full by then get
/// their names.
#[inline(never)]
pub fn extend(pool: &mut KvPool, id: RequestId, taking: Taking) {
    with(pool, |grouped, pool| {
        let store = &mut grouped.store;
        let table = grouped.tables.get_mut(&id).expect("a running sequence has a table");
        let_go_of_past(store, pool, table, taking.settled);
        for at in 0..table.groups.len() {
            add_entries(store, pool, at, table, taking.end);
        }
        if store.caches {
            for at in 0..table.groups.len() {
                name_full(store, at, table, taking.end.min(taking.known));
            }
        }
    });
}

fn add_entries(store: &mut BlockStore, pool: &mut KvPool, at: usize, table: &mut Table, end: u32) {
    let group = store.groups.groups[at];
    let entries = end.div_ceil(group.block_tokens);
    let new = further(&group, table.groups[at].entries, end);
    if is_counted(table, &group) {
        if new > 0 {
            blocks::take(store, pool, new);
        }
        table.groups[at].entries += new;
        return;
    }
    let of_group = &mut table.groups[at];
    for entry in entries - new..entries {
        of_group.blocks.push_back((entry, blocks::allocate(store, pool)));
    }
    of_group.entries = of_group.entries.max(entries);
}

/// Names the blocks of a group that are full with `known` tokens.
fn name_full(store: &mut BlockStore, at: usize, table: &mut Table, known: u32) {
    let group = store.groups.groups[at];
    let full = known / group.block_tokens;
    let from = table.groups[at].named;
    if full <= from {
        return;
    }
    table.groups[at].named = full;
    if is_counted(table, &group) {
        return;
    }
    let blocks = &table.groups[at].blocks;
    let first = blocks.partition_point(|&(entry, _)| entry < from);
    let filled: SmallVec<[(u32, BlockId); 4]> =
        blocks.range(first..).take_while(|&&(entry, _)| entry < full).copied().collect();
    for (entry, id) in filled {
        if may_end_a_hit(store, group, table, entry) {
            let end = (entry + 1) * group.block_tokens;
            blocks::name(store, id, BlockName { group: at as u16, end, chain: chain_at(&table.content, end) });
        }
    }
}

/// Whether the block at an entry is one that a later prompt may find where its hit ends.
fn may_end_a_hit(store: &BlockStore, group: KvGroup, table: &Table, entry: u32) -> bool {
    let Some(interval) = store.groups.retention_interval else { return true };
    let run = match group.kind {
        KvKind::Full | KvKind::Chunk { .. } => return true,
        KvKind::Window { tokens } => window_blocks(tokens, group.block_tokens),
        KvKind::State => 1,
    };
    let ends_run_before = |end: u32| entry < end && entry + run >= end;
    let next_multiple = |tokens: u32| {
        let entries = tokens / group.block_tokens;
        (entry / entries + 1) * entries
    };
    let aligned = |tokens: u32| tokens / store.alignment * store.alignment / group.block_tokens;
    interval > 0 && ends_run_before(next_multiple(interval))
        || ends_run_before(aligned(table.content.prompt_tokens - 1))
        || ends_run_before(aligned(table.junction))
}

/// Blocks of a window that a hit needs.
pub(super) fn window_blocks(tokens: u32, block_tokens: u32) -> u32 {
    (tokens - 1).div_ceil(block_tokens)
}

/// A sequence leaves, and lets go of its blocks table by table, the last entry first. Who will be back finds its own.
#[inline(never)]
pub fn release(pool: &mut KvPool, id: RequestId, will_be_back: bool) {
    with(pool, |grouped, pool| {
        let store = &mut grouped.store;
        let mut table = grouped.tables.remove(&id).expect("a running sequence has a table");
        for at in 0..table.groups.len() {
            if is_counted(&table, &store.groups.groups[at]) {
                let end = table.groups[at].entries;
                let_go_of_counted(store, pool, at, &mut table, end);
                continue;
            }
            for &(_, block) in table.groups[at].blocks.iter().rev() {
                blocks::let_go(store, pool, block);
            }
        }
        if will_be_back {
            table.runs.iter().for_each(|&run| blocks::list_run(store, run, |name| name.chain == table.content.tail));
        }
    });
}

/// Notes what a running sequence takes of a step apart from the decodes.
#[inline(never)]
pub fn note_taken(pool: &mut KvPool, id: RequestId, step: u64, tokens: u32) {
    let table = pool.grouped.as_mut().and_then(|grouped| grouped.tables.get_mut(&id));
    table.expect("a running sequence has a table").taken = (step, tokens);
}

/// What it took of the step before the one with this number.
#[must_use]
pub fn taken_before(grouped: &GroupBlocks, id: RequestId, step: u64) -> u32 {
    let (taken_in, tokens) = grouped.tables[&id].taken;
    if taken_in + 1 == step { tokens } else { 0 }
}
