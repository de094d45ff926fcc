//! Blocks of a sequence that nobody else asks for: how many there are, and which of them have names, follows from how many tokens
//! there are.

use oracle_components::group_blocks::{Alike, BlockStore, Counted, DecodeEvents, Decoding, GroupBlocks, Table};
use oracle_components::kv::KvPool;
use oracle_components::kv_groups::{KvGroup, KvKind};
use oracle_components::request::RequestId;

use super::{Taking, blocks, past, with};
use crate::kv::held_blocks;

/// Whether all blocks of a running sequence are counted.
#[must_use]
pub fn is_all_counted(pool: &KvPool, id: RequestId) -> bool {
    let grouped = pool.grouped.as_ref().expect("only pools with groups have tables");
    let table = &grouped.tables[&id];
    table.counted.is_some() && table.groups.is_empty()
}

/// The table of a decode whose blocks are counted is that after the step of which it took this.
pub fn bring_up(pool: &mut KvPool, id: RequestId, taken: Taking) {
    let grouped = pool.grouped.as_mut().expect("only pools with groups have tables");
    bring_table_up(grouped.tables.get_mut(&id).expect("a running sequence has a table"), taken);
}

/// The same, of a table in hand.
pub fn bring_table_up(table: &mut Table, taken: Taking) {
    table.counted = table.counted.map(|counted| brought_up(counted, Some(taken)));
}

/// What a sequence has once it has taken that.
pub(super) fn brought_up(counted: Counted, taken: Option<Taking>) -> Counted {
    let Some(Taking { settled, end, known }) = taken else { return counted };
    Counted {
        settled: counted.settled.max(settled),
        end: counted.end.max(end),
        named: counted.named.max(end.min(known)),
    }
}

/// Blocks that it is counted to have, all groups together.
#[must_use]
pub fn counted_blocks(grouped: &GroupBlocks, counted: Counted) -> u64 {
    u64::from(counted_between(&grouped.store, 0, counted.end) - counted_past(&grouped.store, 0, counted.settled))
}

fn of_countable(store: &BlockStore, blocks: impl Fn(&KvGroup) -> u32) -> u32 {
    store.alike.iter().filter(|alike| alike.is_countable).map(|alike| alike.times * blocks(&alike.group)).sum()
}

/// Blocks for the tokens from `end` to `new_end`, all groups together.
pub(super) fn counted_between(store: &BlockStore, end: u32, new_end: u32) -> u32 {
    of_countable(store, |group| new_end.div_ceil(group.block_tokens).saturating_sub(end.div_ceil(group.block_tokens)))
}

/// Blocks that are past with `new_settled` tokens, and were not with `settled`.
pub(super) fn counted_past(store: &BlockStore, settled: u32, new_settled: u32) -> u32 {
    of_countable(store, |group| {
        let past = |settled: u32| past(group.kind, settled) / group.block_tokens;
        past(new_settled).saturating_sub(past(settled))
    })
}

/// Tokens of a prompt that a hit may have.
#[must_use]
pub fn kept_of(pool: &KvPool, prompt_tokens: u32) -> u32 {
    kept(&pool.grouped.as_ref().expect("only pools with groups have tables").store, prompt_tokens)
}

pub(super) fn kept(store: &BlockStore, prompt_tokens: u32) -> u32 {
    (prompt_tokens - 1) / store.alignment * store.alignment
}

/// Whose blocks: the sequence, and what a hit may have of its prompt.
pub(super) type Owner = (RequestId, u32);

/// A sequence lets go of what is past of groups that are alike with so many tokens settled.
pub(super) fn let_go_of_past(
    store: &mut BlockStore,
    pool: &mut KvPool,
    counted: Counted,
    owner: Owner,
    (alike, settled): (Alike, u32),
) {
    let KvGroup { kind, block_tokens } = alike.group;
    let (from, to) = (past(kind, counted.settled), past(kind, settled));
    if from < to {
        let_go_of(store, pool, counted.named, owner, (alike, true), from / block_tokens..to / block_tokens);
    }
}

/// A sequence lets go of all that it has of groups that are alike, and may ask for it again if it `will_be_back`.
pub(super) fn let_go_of_rest(
    store: &mut BlockStore,
    pool: &mut KvPool,
    counted: Counted,
    owner: Owner,
    (alike, will_be_back): (Alike, bool),
) {
    let KvGroup { kind, block_tokens } = alike.group;
    let entries = past(kind, counted.settled) / block_tokens..counted.end.div_ceil(block_tokens);
    let_go_of(store, pool, counted.named, owner, (alike, will_be_back), entries);
}

/// A sequence lets go of entries in a row of groups that are alike, group by group, the last first: those with names, and what is
/// around them.
fn let_go_of(
    store: &mut BlockStore,
    pool: &mut KvPool,
    named: u32,
    (id, kept): Owner,
    (alike, is_noted): (Alike, bool),
    entries: std::ops::Range<u32>,
) {
    if entries.is_empty() {
        return;
    }
    let named_entries = named_entries(store, &alike, named, kept);
    let to = named_entries.end.clamp(entries.start, entries.end);
    let from = named_entries.start.clamp(entries.start, to);
    let (behind, with_names, before) = (entries.end - to, to - from, from - entries.start);
    let is_mixed = with_names > 0 && behind + before > 0 && store.caches && !store.unnamed_first;
    if is_mixed && alike.times > 1 {
        for at in 0..alike.times {
            let one = Alike { first: alike.first + at as u16, times: 1, ..alike };
            let_go_of(store, pool, named, (id, kept), (one, is_noted), entries.clone());
        }
        return;
    }
    blocks::let_go_of_counted(store, pool, behind * alike.times, false);
    if with_names > 0 {
        blocks::let_go_of_counted(store, pool, with_names * alike.times, store.caches);
        if is_noted && store.caches {
            blocks::note_let_go(store, with_names, to * alike.group.block_tokens, (id, &alike));
        }
    }
    blocks::let_go_of_counted(store, pool, before * alike.times, false);
}

/// The entries of a group that have names, with so many tokens in blocks that might have.
fn named_entries(store: &BlockStore, alike: &Alike, named: u32, kept: u32) -> std::ops::Range<u32> {
    let block_tokens = alike.group.block_tokens;
    let is_window = matches!(alike.group.kind, KvKind::Window { .. });
    if !is_window || store.groups.retention_interval.is_none() {
        return 0..named / block_tokens;
    }
    kept.saturating_sub(alike.reach) / block_tokens..named.min(kept) / block_tokens
}

/// What a decode of which one more token is settled lets go of in a group, if anything.
enum PastNow {
    /// A block of a window.
    Block {
        /// Tokens up to its end.
        end: u32,
        /// It has a name.
        has_name: bool,
    },
    /// A chunk.
    Entries(std::ops::Range<u32>),
}

fn past_now(store: &BlockStore, alike: &Alike, kept: u32, (named, settled): (u32, u32)) -> Option<PastNow> {
    match alike.group.kind {
        KvKind::Window { tokens } if settled >= tokens => {
            let end = settled + 1 - tokens;
            let is_kept = || store.groups.retention_interval.is_none() || end <= kept && end + alike.reach > kept;
            Some(PastNow::Block { end, has_name: store.caches && end <= named && is_kept() })
        }
        KvKind::Chunk { tokens } if settled >= tokens && settled.is_multiple_of(tokens) => {
            let end = settled / alike.group.block_tokens;
            Some(PastNow::Entries(end - tokens / alike.group.block_tokens..end))
        }
        _ => None,
    }
}

/// Whether blocks without names may be past that are then where nothing is held.
fn may_free_unnamed(store: &BlockStore, one: &Decoding, events: &DecodeEvents, tokens: (u32, u32)) -> bool {
    events.letting_go.iter().any(|&at| match past_now(store, &store.alike[usize::from(at)], one.kept, tokens) {
        None => false,
        Some(PastNow::Block { has_name, .. }) => !has_name,
        Some(PastNow::Entries(_)) => true,
    })
}

/// Decodes that may let go of blocks in a step, in order of admission, with what happens to them.
pub type LettingGo<'a> = (&'a DecodeEvents, &'a [Decoding]);

/// Decodes take blocks, and let go of others, all at once, if it makes no difference who does first: whether it makes none. `tokens` are those of a decode that
/// have names, and that are settled.
pub fn step_at_once(
    pool: &mut KvPool,
    blocks: u32,
    letting_go: Option<LettingGo<'_>>,
    tokens: impl Fn(&Decoding) -> (u32, u32),
) -> bool {
    let taken = u64::from(blocks);
    if let Some((events, alike)) = letting_go {
        let store = &pool.grouped.as_ref().expect("only pools with groups have tables").store;
        let is_new_peak = held_blocks(pool) + taken > pool.peak;
        let may_free_unnamed = || alike.iter().any(|one| may_free_unnamed(store, one, events, tokens(one)));
        if is_new_peak || pool.empty < taken && may_free_unnamed() {
            return false;
        }
    }
    if blocks > 0 || letting_go.is_some() {
        with(pool, |grouped, pool| {
            blocks::take(&mut grouped.store, pool, blocks);
            if let Some((events, alike)) = letting_go {
                for one in alike {
                    let_go_of_decode(&mut grouped.store, pool, one, events, tokens(one));
                }
            }
        });
    }
    true
}

/// A decode lets go of what is past in a step, with so many tokens that have names and so many settled.
fn let_go_of_decode(
    store: &mut BlockStore,
    pool: &mut KvPool,
    one: &Decoding,
    events: &DecodeEvents,
    tokens: (u32, u32),
) {
    for &at in &events.letting_go {
        let alike = store.alike[usize::from(at)];
        match past_now(store, &alike, one.kept, tokens) {
            None => {}
            Some(PastNow::Block { end, has_name }) => {
                blocks::let_go_of_counted(store, pool, alike.times, has_name);
                if has_name {
                    blocks::note_let_go(store, 1, end, (one.id, &alike));
                }
            }
            Some(PastNow::Entries(entries)) => {
                let_go_of(store, pool, tokens.0, (one.id, one.kept), (alike, true), entries);
            }
        }
    }
}

/// A decode lets go of what is past in a step, and gets the blocks for it. Its table stays behind.
pub fn extend_counted(pool: &mut KvPool, one: &Decoding, events: &DecodeEvents, tokens: (u32, u32)) {
    with(pool, |grouped, pool| {
        let_go_of_decode(&mut grouped.store, pool, one, events, tokens);
        blocks::take(&mut grouped.store, pool, events.taken);
    });
}
