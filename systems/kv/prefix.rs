//! What names blocks, and how a prompt finds those that are cached.

use super::pool::{allocate, further_blocks, note_peak, push, sweep};
use super::segment::{self, Unfreed};
use oracle_components::kv::{FreeEntry, Holding, KvPool, Owner, Tail};
use oracle_components::request::{PrefixSegment, Request, RequestId};
use oracle_components::scenario::PrefixCaching;

/// What the blocks of a sequence are found by.
#[derive(Clone, Copy, Debug)]
pub struct BlockKeys<'a> {
    /// Shared segments at the beginning of the prompt.
    pub segments: &'a [PrefixSegment],
    /// Key of what follows; 0 if nobody can ask for it.
    pub tail_key: u64,
    /// Tokens a block.
    pub block_tokens: u32,
    /// The request whose blocks they are.
    pub holder: RequestId,
}

/// A run of cached blocks that a prompt begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hit {
    /// Tokens of it.
    pub tokens: u32,
    /// Blocks of shared segments.
    pub segment_blocks: u32,
    /// Blocks of the tail behind them.
    pub tail_blocks: u32,
    /// Those among its blocks that no sequence holds: to take the hit takes so many from the free ones.
    pub free_blocks: u32,
    /// Where others have gone on otherwise, if that is beyond the hit; else 0. Only where layers of several kinds share the pool.
    pub junction: u32,
    /// It ends with a state that the step that is being formed computes.
    pub is_being_computed: bool,
}

impl Hit {
    /// All of its blocks, where there is one kind of them.
    #[must_use]
    pub fn blocks(self) -> u32 {
        self.segment_blocks + self.tail_blocks
    }
}

/// The key under which a preempted request finds its own blocks when it has no tail key.
fn own_key(id: RequestId) -> u64 {
    // SplitMix64's finaliser: a bijection, so no two requests share a key; never 0 for any reachable id.
    let mut z = id.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl<'a> BlockKeys<'a> {
    /// The same for a request that has been preempted: it finds its own blocks again though nobody else can ask for them.
    #[must_use]
    pub fn findable_by(self, id: RequestId) -> Self {
        let tail_key = if self.tail_key == 0 { own_key(id) } else { self.tail_key };
        Self { tail_key, ..self }
    }

    /// Each segment's key with the range of blocks whose last token lies in it.
    fn ranges(&self) -> impl DoubleEndedIterator<Item = (u64, u32, u32)> + use<'a> {
        let block_tokens = self.block_tokens;
        let mut start_token = 0_u32;
        let ranges: smallvec::SmallVec<[(u64, u32, u32); 4]> = self
            .segments
            .iter()
            .map(|segment| {
                let start = start_token / block_tokens;
                start_token += segment.tokens;
                (segment.key, start, start_token / block_tokens)
            })
            .collect();
        ranges.into_iter()
    }

    /// The first block of the tail.
    fn tail_start(&self) -> u32 {
        self.segments.iter().map(|segment| segment.tokens).sum::<u32>() / self.block_tokens
    }
}

/// What a sequence's KV blocks are found by on an engine.
#[must_use]
pub fn block_keys<'a>(request: &'a Request, caching: PrefixCaching, block_tokens: u32) -> BlockKeys<'a> {
    let segments: &[_] = if caching == PrefixCaching::Full { &request.spec.prefix } else { &[] };
    BlockKeys { segments, tail_key: request.spec.tail_key, block_tokens, holder: request.id }
}

/// The longest run of cached blocks that a sequence of `known` tokens begins with; the block of its last token is never
/// part of it, so that at least one token is computed.
#[must_use]
pub fn look_up(pool: &KvPool, keys: &BlockKeys<'_>, known: u32) -> Hit {
    let hit = longest_run(pool, keys, known);
    Hit { tokens: hit.blocks() * keys.block_tokens, ..hit }
}

fn longest_run(pool: &KvPool, keys: &BlockKeys<'_>, known: u32) -> Hit {
    let cap = (known - 1) / keys.block_tokens;
    let mut hit = Hit::default();
    for (key, start, end) in keys.ranges() {
        if start == end {
            continue;
        }
        let Some(segment) = pool.segments.get(&key).filter(|_| start < cap) else {
            return hit;
        };
        let mut depth = 0;
        for (at, from, to) in segment::find(segment, (end - start).min(cap - start)) {
            depth = to;
            hit.free_blocks += to.saturating_sub(from.max(segment::held_to(&segment.runs[at])));
        }
        hit.segment_blocks += depth;
        if depth < end - start {
            return hit;
        }
    }
    if let Some(tail) = pool.tails.get(&keys.tail_key) {
        hit.tail_blocks = tail.full.min(cap.saturating_sub(keys.tail_start()));
        hit.free_blocks += hit.tail_blocks;
    }
    hit
}

/// Gives the blocks of a hit to a sequence.
pub fn take_hit(pool: &mut KvPool, keys: &BlockKeys<'_>, hit: Hit) {
    pool.allocated += u64::from(hit.blocks());
    let mut left = hit.segment_blocks;
    for (key, start, end) in keys.ranges() {
        let depth = left.min(end - start);
        if depth > 0 {
            let unfreed = take_segment(pool, keys.holder, key, depth);
            pool.evictable -= u64::from(unfreed.blocks);
            pool.live_entries -= unfreed.entries;
        }
        left -= depth;
    }
    if hit.tail_blocks > 0 {
        take_tail(pool, keys.tail_key, hit.tail_blocks);
    }
    note_peak(pool);
}

/// Takes the first `blocks` of a tail out of the cache; what is left of it stays in the queue without a name.
fn take_tail(pool: &mut KvPool, key: u64, blocks: u32) {
    let tail = pool.tails.remove(&key).expect("a hit tail is cached");
    pool.evictable -= u64::from(blocks);
    let left = tail.blocks - blocks;
    if left == 0 {
        pool.live_entries -= 1;
    } else {
        let position =
            pool.queue.binary_search_by_key(&tail.stamp, |entry| entry.stamp).expect("a cached tail is in the queue");
        pool.queue[position].owner = Owner::Anonymous { blocks: left };
    }
}

/// A sequence takes the first `depth` blocks of a segment that are found.
fn take_segment(pool: &mut KvPool, holder: RequestId, key: u64, depth: u32) -> Unfreed {
    let segment = pool.segments.get_mut(&key).expect("a hit segment is cached");
    let original = &segment.runs[0];
    if original.copy == 0 && original.first == 0 && original.end >= depth {
        return segment::hold(segment, 0, depth);
    }
    let mut all = Unfreed::default();
    let mut taken = 0;
    while taken < depth {
        let found = segment::find(segment, depth).find(|&(_, _, to)| to > taken);
        let (mut at, from, to) = found.expect("a hit is cached");
        if segment.runs[at].first < from {
            segment::divide(segment, at, from);
            at += 1;
        }
        let copy = segment.runs[at].copy;
        pool.holdings.entry(holder).or_default().push(Holding { key, copy, first: from, end: to });
        let unfreed = segment::hold(segment, at, to);
        all.blocks += unfreed.blocks;
        all.entries += unfreed.entries;
        taken = to;
    }
    all
}

/// Allocates the blocks of a chunk that takes a sequence from `computed` to `computed + tokens` tokens in the cache, and
/// names those of shared segments that it fills.
pub fn extend(pool: &mut KvPool, keys: &BlockKeys<'_>, computed: u32, tokens: u32) {
    let block = keys.block_tokens;
    allocate(pool, u64::from(further_blocks(computed, tokens, block)));
    if keys.segments.is_empty() {
        return;
    }
    let (full_before, full_after) = (computed / block, (computed + tokens) / block);
    for (key, start, end) in keys.ranges() {
        let (from, to) = (full_before.clamp(start, end) - start, full_after.clamp(start, end) - start);
        if from == to {
            continue;
        }
        let segment = pool.segments.entry(key).or_default();
        let apart = pool.holdings.get(&keys.holder);
        let is_plain = apart.is_none_or(|apart| apart.iter().all(|holding| holding.key != key));
        if is_plain && segment::extend_original(segment, from, to) {
            continue;
        }
        segment::name(segment, key, (from, to), pool.holdings.entry(keys.holder).or_default());
    }
}

/// Tokens that a sequence which lets go of its blocks has blocks for.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// All of them.
    pub tokens: u32,
    /// Those in blocks that have names once they are full.
    pub named: u32,
    /// Blocks without a name are the next to be allocated, not the last.
    pub unnamed_first: bool,
}

/// Takes back the blocks of a sequence, last block first. Those with names stay findable.
pub fn release(pool: &mut KvPool, keys: &BlockKeys<'_>, held: Held) {
    let block = keys.block_tokens;
    let (blocks, full) = (held.tokens.div_ceil(block), held.named / block);
    pool.freed += u64::from(blocks);
    let tail_start = keys.tail_start();
    let mut tail_blocks = blocks - full.min(tail_start);
    if held.unnamed_first {
        pool.empty += u64::from(blocks - full);
        tail_blocks -= blocks - full;
    }
    if tail_blocks > 0 {
        release_tail(pool, keys.tail_key, tail_blocks, full.saturating_sub(tail_start));
    }
    if keys.segments.is_empty() {
        sweep(pool);
        return;
    }
    let holdings = pool.holdings.remove(&keys.holder).unwrap_or_default();
    for (key, start, end) in keys.ranges().rev() {
        let depth = full.clamp(start, end) - start;
        let mut apart = holdings.iter().filter(|holding| holding.key == key).rev().peekable();
        if apart.peek().is_some() {
            apart.for_each(|&holding| release_holding(pool, holding));
        } else if depth > 0 {
            release_holding(pool, Holding { key, copy: 0, first: 0, end: depth });
        }
    }
    sweep(pool);
}

fn release_holding(pool: &mut KvPool, holding: Holding) {
    let segment = pool.segments.get_mut(&holding.key).expect("a held segment is cached");
    let mut stamp = pool.next_stamp;
    let mut freed = 0;
    segment::release(segment, holding.copy, (holding.first, holding.end), |blocks| {
        freed += blocks;
        stamp += 1;
        stamp - 1
    });
    pool.evictable += u64::from(freed);
    while pool.next_stamp < stamp {
        push(pool, Owner::Segment(holding.key));
    }
}

/// Puts a tail into the queue: under its key, if that is free.
fn release_tail(pool: &mut KvPool, key: u64, blocks: u32, full: u32) {
    pool.evictable += u64::from(blocks);
    if key == 0 || full == 0 || pool.tails.contains_key(&key) {
        // Nobody asks for anonymous blocks one by one, so neighbours are one entry.
        match pool.queue.back_mut() {
            Some(FreeEntry { owner: Owner::Anonymous { blocks: others }, .. }) => *others += blocks,
            _ => push(pool, Owner::Anonymous { blocks }),
        }
    } else {
        pool.tails.insert(key, Tail { stamp: pool.next_stamp, blocks, full });
        push(pool, Owner::Tail(key));
    }
}
