//! Which blocks a sequence has: those for the tokens of a step, those that are past, and all of them when it leaves.

use oracle_components::group_blocks::{
    Alike, BlockId, BlockName, BlockStore, Chain, Content, GroupBlocks, GroupTable, Table,
};
use oracle_components::kv::KvPool;
use oracle_components::kv_groups::{KvGroup, KvKind};
use oracle_components::request::RequestId;
use smallvec::SmallVec;

use super::counted::{self, brought_up, counted_between, counted_past, kept};
use super::{Taking, blocks, past, with};

/// The content that ends with a token.
pub(super) fn chain_at(content: &Content, end: u32) -> Chain {
    let at = content.segments.partition_point(|&(_, segment_end)| segment_end < end);
    content.segments.get(at).map_or(content.tail, |&(key, _)| Chain::Segment(key))
}

/// Blocks that `end` tokens need beyond those of so many entries.
pub(super) fn further(group: &KvGroup, entries: u32, end: u32) -> u32 {
    let more = end.div_ceil(group.block_tokens).saturating_sub(entries);
    if group.kind == KvKind::State { more.min(1) } else { more }
}

/// The groups whose blocks a table lists, with what it has of them.
fn listed<'a>(store: &'a BlockStore, table: &'a Table) -> impl Iterator<Item = (&'a KvGroup, &'a GroupTable)> {
    listed_groups(store, table.counted.is_some())
        .filter_map(|at| Some((&store.groups.groups[at], table.groups.get(at)?)))
}

fn listed_groups(store: &BlockStore, is_counted: bool) -> impl Iterator<Item = usize> {
    store.alike.iter().filter(move |alike| !(is_counted && alike.is_countable)).flat_map(groups_of)
}

fn groups_of(alike: &Alike) -> std::ops::Range<usize> {
    let first = usize::from(alike.first);
    first..first + alike.times as usize
}

/// Blocks that a running sequence needs to have `end` tokens in its KV cache, beside those that it has, by its table or by what it
/// has `taken`.
#[must_use]
#[inline(never)]
pub fn needed(grouped: &GroupBlocks, id: RequestId, taken: Option<Taking>, end: u32) -> u64 {
    let (store, table) = (&grouped.store, &grouped.tables[&id]);
    let counted = table.counted.map_or(0, |counted| counted_between(store, brought_up(counted, taken).end, end));
    let more = listed(store, table).map(|(group, of_group)| u64::from(further(group, of_group.entries, end)));
    u64::from(counted) + more.sum::<u64>()
}

/// Blocks that are free once a running sequence lets go of what is past.
#[must_use]
#[inline(never)]
pub fn freed_by(grouped: &GroupBlocks, id: RequestId, taken: Option<Taking>, settled: u32) -> u64 {
    let (store, table) = (&grouped.store, &grouped.tables[&id]);
    let counted = table.counted.map_or(0, |counted| counted_past(store, brought_up(counted, taken).settled, settled));
    let of_group = |(group, table): (&KvGroup, &GroupTable)| {
        let first = past(group.kind, settled) / group.block_tokens;
        let past = table.blocks.iter().take_while(|&&(entry, _)| entry < first);
        past.filter(|&&(_, id)| store.blocks[id as usize].holders == 1).count() as u64
    };
    u64::from(counted) + listed(store, table).map(of_group).sum::<u64>()
}

/// A running sequence lets go of what is past with so many tokens settled in its KV cache.
#[inline(never)]
pub fn let_go_past(pool: &mut KvPool, id: RequestId, settled: u32) {
    with(pool, |grouped, pool| {
        let table = grouped.tables.get_mut(&id).expect("a running sequence has a table");
        let_go_of_past(&mut grouped.store, pool, (table, id), settled);
    });
}

fn let_go_of_past(store: &mut BlockStore, pool: &mut KvPool, (table, id): (&mut Table, RequestId), settled: u32) {
    let owner = (id, kept(store, table.content.prompt_tokens));
    for at in 0..store.alike.len() {
        let alike = store.alike[at];
        match table.counted {
            Some(counted) if alike.is_countable => {
                counted::let_go_of_past(store, pool, counted, owner, (alike, settled));
            }
            _ => {
                let first = past(alike.group.kind, settled) / alike.group.block_tokens;
                groups_of(&alike).for_each(|at| let_go_of_listed(store, pool, &mut table.groups[at], first));
            }
        }
    }
    if let Some(counted) = &mut table.counted {
        counted.settled = counted.settled.max(settled);
    }
}

fn let_go_of_listed(store: &mut BlockStore, pool: &mut KvPool, of_group: &mut GroupTable, first: u32) {
    if of_group.blocks.front().is_none_or(|&(entry, _)| entry >= first) {
        return;
    }
    let gone = of_group.blocks.partition_point(|&(entry, _)| entry < first);
    for at in (0..gone).rev() {
        blocks::let_go(store, pool, of_group.blocks[at].1);
    }
    of_group.blocks.drain(..gone);
}

/// A running sequence gets the blocks for the tokens of a step, and lets go of what is past; blocks that are full by then get
/// their names.
#[inline(never)]
pub fn extend(pool: &mut KvPool, id: RequestId, taking: Taking) {
    with(pool, |grouped, pool| {
        let store = &mut grouped.store;
        let table = grouped.tables.get_mut(&id).expect("a running sequence has a table");
        let_go_of_past(store, pool, (table, id), taking.settled);
        if let Some(counted) = &mut table.counted {
            blocks::take(store, pool, counted_between(store, counted.end, taking.end));
            *counted = brought_up(*counted, Some(taking));
        }
        if table.groups.is_empty() {
            return;
        }
        let listed: SmallVec<[usize; 8]> = listed_groups(store, table.counted.is_some()).collect();
        for &at in &listed {
            add_entries(store, pool, at, table, taking.end);
        }
        if store.caches {
            listed.iter().for_each(|&at| name_full(store, at, table, taking.end.min(taking.known)));
        }
    });
}

fn add_entries(store: &mut BlockStore, pool: &mut KvPool, at: usize, table: &mut Table, end: u32) {
    let group = store.groups.groups[at];
    let entries = end.div_ceil(group.block_tokens);
    let of_group = &mut table.groups[at];
    let new = further(&group, of_group.entries, end);
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
        let table = grouped.tables.remove(&id).expect("a running sequence has a table");
        let owner = (id, kept(store, table.content.prompt_tokens));
        for at in 0..store.alike.len() {
            let alike = store.alike[at];
            match table.counted {
                Some(counted) if alike.is_countable => {
                    counted::let_go_of_rest(store, pool, counted, owner, (alike, will_be_back));
                }
                _ => {
                    let listed =
                        table.groups[groups_of(&alike)].iter().flat_map(|of_group| of_group.blocks.iter().rev());
                    listed.for_each(|&(_, block)| blocks::let_go(store, pool, block));
                }
            }
        }
        if will_be_back && table.counted.is_some() {
            blocks::list_let_go(store, table.since, table.content.tail, id);
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
