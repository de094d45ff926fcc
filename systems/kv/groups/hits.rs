//! What of a prompt is cached in every group, and how a sequence begins with it.

use oracle_components::group_blocks::{
    Alike, BlockName, BlockStore, Chain, Content, Counted, GroupBlocks, GroupTable, Table,
};
use oracle_components::kv::KvPool;
use oracle_components::kv_groups::{KvGroup, KvKind};
use oracle_components::request::Request;
use oracle_components::scenario::PrefixCaching;
use smallvec::SmallVec;

use super::tables::{chain_at, further, window_blocks};
use super::with;
use super::{blocks, past};
use crate::kv::Hit;

/// What the blocks of a request are named by.
fn content(request: &Request, caching: PrefixCaching) -> Content {
    let mut end = 0;
    let shared = if caching == PrefixCaching::Full { &request.spec.prefix[..] } else { &[] };
    let segments = shared.iter().map(|segment| {
        end += segment.tokens;
        (segment.key, end)
    });
    Content {
        segments: segments.collect(),
        tail: if request.spec.tail_key == 0 { Chain::Own(request.id) } else { Chain::Tail(request.spec.tail_key) },
        prompt_tokens: request.spec.prompt_tokens,
    }
}

/// A prompt that looks for what is cached of it, in groups that are alike.
struct Search<'a> {
    store: &'a BlockStore,
    content: &'a Content,
    alike: &'a [u16],
    group: KvGroup,
}

impl Search<'_> {
    /// Whether all of the groups have the block with this number.
    fn has(&self, number: u32) -> bool {
        let end = (number + 1) * self.group.block_tokens;
        let chain = chain_at(self.content, end);
        self.alike.iter().all(|&group| blocks::find(self.store, BlockName { group, end, chain }).is_some())
    }

    /// Tokens in the longest run of cached blocks from the one with number `first` to before `most`.
    fn run_from(&self, first: u32, most: u32) -> u32 {
        let end = (first..most).find(|&number| !self.has(number)).unwrap_or(most.max(first));
        end * self.group.block_tokens
    }

    /// The longest hit within so many tokens.
    fn longest(&self, within: u32) -> u32 {
        let KvGroup { kind, block_tokens } = self.group;
        let alignment = self.store.alignment;
        let blocks = within / block_tokens;
        let is_aligned = |number: u32| ((number + 1) * block_tokens).is_multiple_of(alignment);
        match kind {
            KvKind::Full => self.run_from(0, blocks) / alignment * alignment,
            KvKind::Chunk { tokens } => self.run_from(within / tokens * tokens / block_tokens, blocks),
            KvKind::State => {
                let kept = (0..blocks).rev().find(|&number| is_aligned(number) && self.has(number));
                kept.map_or(0, |number| (number + 1) * block_tokens)
            }
            KvKind::Window { tokens } => {
                let needed = window_blocks(tokens, block_tokens);
                let mut run = 0;
                for number in (0..blocks).rev() {
                    if run == 0 && !is_aligned(number) {
                        continue;
                    }
                    run = if self.has(number) { run + 1 } else { 0 };
                    if run > 0 && run >= needed {
                        return (number + run) * block_tokens;
                    }
                }
                run * block_tokens / alignment * alignment
            }
        }
    }
}

/// The longest prefix of a prompt of `known` tokens that every group has what it needs of; at least one token is computed.
#[must_use]
#[inline(never)]
pub fn look_up(
    grouped: &GroupBlocks,
    request: &Request,
    caching: PrefixCaching,
    known: u32,
    was_preempted: bool,
) -> Hit {
    if is_unsought(request, caching) && !was_preempted {
        return Hit::default();
    }
    let content = &content(request, caching);
    let store = &grouped.store;
    let search = |alike: &'_ SmallVec<[u16; 4]>, within: u32| {
        let group = store.groups.groups[usize::from(alike[0])];
        (group.kind, Search { store, content, alike, group }.longest(within))
    };
    let (mut hit, mut longest, mut full) = (known - 1, 0, None);
    let one_round = store.asked.len() <= 2;
    loop {
        let mut within = hit;
        for alike in &store.asked {
            let is_full = store.groups.groups[usize::from(alike[0])].kind == KvKind::Full;
            if let Some(found) = full.filter(|_| is_full) {
                within = within.min(found);
                continue;
            }
            let (kind, found) = search(alike, within);
            if kind == KvKind::Full {
                full = Some(found);
            }
            within = found;
            longest = longest.max(within);
        }
        let is_settled = within >= hit || (one_round && full.is_some());
        hit = within.min(hit);
        if is_settled {
            break;
        }
    }
    let is_junction_kept = store.groups.retention_interval.is_some() || store.groups.rules.states_are_kept_at_junctions;
    let junction = if is_junction_kept && longest > hit { longest } else { 0 };
    let found = taken_blocks(store, content, hit);
    let free_blocks = found.iter().flatten().filter(|&&(_, id)| store.blocks[id as usize].holders == 0).count() as u32;
    let is_being_computed = hit > 0 && found.iter().flatten().any(|&(_, id)| is_new_state(store, id));
    Hit { tokens: hit, junction, free_blocks, is_being_computed, ..Hit::default() }
}

fn is_new_state(store: &BlockStore, id: u32) -> bool {
    store.blocks[id as usize].name.is_some_and(|name| store.new_states.contains(&name))
}

/// The blocks of a hit that a sequence takes, group by group, with their entries.
fn taken_blocks(store: &BlockStore, content: &Content, hit: u32) -> SmallVec<[Vec<(u32, u32)>; 4]> {
    let of_group = |(at, group): (u16, &KvGroup)| {
        let entries = past(group.kind, hit) / group.block_tokens..hit / group.block_tokens;
        let block = |entry: u32| {
            let end = (entry + 1) * group.block_tokens;
            let name = BlockName { group: at, end, chain: chain_at(content, end) };
            (entry, blocks::find(store, name).expect("a hit is cached"))
        };
        entries.map(block).collect()
    };
    (0..).zip(&store.groups.groups).map(of_group).collect()
}

/// Blocks that are to be free for a sequence to be admitted with a hit and a chunk up to `end` tokens, all of its `reserved` tokens
/// in sight if these are given.
#[must_use]
#[inline(never)]
pub fn blocks_to_admit(grouped: &GroupBlocks, hit: Hit, reserved: Option<u32>, end: u32) -> u64 {
    if hit.is_being_computed {
        return u64::MAX;
    }
    let store = &grouped.store;
    let needed = |alike: &Alike, end: u32| {
        u64::from(alike.times * further(&alike.group, hit.tokens / alike.group.block_tokens, end))
    };
    let chunk: u64 = store.alike.iter().map(|alike| needed(alike, end)).sum();
    let whole = |known: u32| {
        let in_sight = |alike: &Alike| {
            let cap = store.caps[usize::from(alike.first)];
            cap.map_or(known, |cap| known.min(cap.saturating_mul(alike.group.block_tokens)))
        };
        store.alike.iter().map(|alike| needed(alike, in_sight(alike))).sum()
    };
    chunk.max(reserved.map_or(0, whole)) + u64::from(hit.free_blocks)
}

/// Whether nobody but the request itself can ask for its blocks.
fn is_unsought(request: &Request, caching: PrefixCaching) -> bool {
    let has_segments = caching == PrefixCaching::Full && !request.spec.prefix.is_empty();
    !has_segments && request.spec.tail_key == 0
}

/// A sequence begins with the blocks of a hit.
#[inline(never)]
pub fn take_hit(pool: &mut KvPool, request: &Request, caching: PrefixCaching, hit: Hit, was_preempted: bool) {
    let content = content(request, caching);
    with(pool, |grouped, pool| {
        let store = &mut grouped.store;
        // Names at multiples of an interval are not entries in a row.
        let in_a_row = store.groups.retention_interval.is_none_or(|interval| interval == 0);
        let is_counted = !store.caches || (in_a_row && !was_preempted && is_unsought(request, caching));
        let is_listed = !is_counted || store.keeps_states();
        let groups = if is_listed { begun_tables(store, pool, &content, hit.tokens) } else { Vec::new() };
        let counted = is_counted.then(Counted::default);
        let (taken, since) = ((u64::MAX - 1, 0), store.next_of_runs);
        let table = Table { groups, counted, content, junction: hit.junction, taken, since };
        grouped.tables.insert(request.id, table);
    });
}

/// The tables of a sequence that begins with the blocks of a hit.
fn begun_tables(store: &mut BlockStore, pool: &mut KvPool, content: &Content, hit: u32) -> Vec<GroupTable> {
    let mut found = if hit > 0 { taken_blocks(store, content, hit) } else { SmallVec::new() };
    let groups = store.groups.groups.len();
    let begun = |at: usize| {
        let entries = hit / store.groups.groups[at].block_tokens;
        let taken = if hit > 0 { std::mem::take(&mut found[at]) } else { Vec::new() };
        for &(_, block) in &taken {
            blocks::hold(store, pool, block);
        }
        GroupTable { entries, named: entries, blocks: taken.into() }
    };
    (0..groups).map(begun).collect()
}
