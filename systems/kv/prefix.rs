//! What names blocks, and how a prompt finds those that are cached.

use super::pool::{allocate, further_blocks, note_peak, push, sweep};
use oracle_components::kv::{FreeEntry, KvPool, Owner, Segment, Tail};
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
}

/// A run of cached blocks that a prompt begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hit {
    /// Blocks of shared segments.
    pub segment_blocks: u32,
    /// Blocks of the tail behind them.
    pub tail_blocks: u32,
    /// Those among [`Self::blocks`] that no sequence holds: to take the hit takes so many from the free ones.
    pub free_blocks: u32,
}

impl Hit {
    /// All of its blocks.
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
    BlockKeys { segments, tail_key: request.spec.tail_key, block_tokens }
}

/// The longest run of cached blocks that a sequence of `known` tokens begins with; the block of its last token is never
/// part of it, so that at least one token is computed.
#[must_use]
pub fn look_up(pool: &KvPool, keys: &BlockKeys<'_>, known: u32) -> Hit {
    let cap = (known - 1) / keys.block_tokens;
    let mut hit = Hit::default();
    for (key, start, end) in keys.ranges() {
        if start == end {
            continue;
        }
        let Some(segment) = pool.segments.get(&key).filter(|_| start < cap) else {
            return hit;
        };
        let depth = segment.cached.min(end - start).min(cap - start);
        hit.segment_blocks += depth;
        hit.free_blocks += depth.saturating_sub(depth_held(segment));
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
            let segment = pool.segments.get_mut(&key).expect("a hit segment is cached");
            let (unfreed, entries) = hold(segment, 0, depth);
            pool.evictable -= u64::from(unfreed);
            pool.live_entries -= entries;
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

/// Allocates the blocks of a chunk that takes a sequence from `computed` to `computed + tokens` tokens in the cache, and
/// names those of shared segments that it fills. Where another sequence has computed a segment's block already, that one
/// is held instead.
pub fn extend(pool: &mut KvPool, keys: &BlockKeys<'_>, computed: u32, tokens: u32) {
    let block = keys.block_tokens;
    let (full_before, full_after) = (computed / block, (computed + tokens) / block);
    let mut fresh = further_blocks(computed, tokens, block);
    for (key, start, end) in keys.ranges() {
        let (from, to) = (full_before.clamp(start, end) - start, full_after.clamp(start, end) - start);
        if from == to {
            continue;
        }
        let segment = pool.segments.entry(key).or_default();
        let shared = segment.cached.min(to).saturating_sub(from);
        let (unfreed, entries) = hold(segment, from, to);
        segment.cached = segment.cached.max(to);
        pool.evictable -= u64::from(unfreed);
        pool.live_entries -= entries;
        // The block that an earlier chunk began to fill goes back if its name is cached by now.
        let returned = u32::from(shared > 0 && !computed.is_multiple_of(block) && start + from == full_before);
        pool.allocated += u64::from(shared);
        pool.freed += u64::from(returned);
        pool.empty += u64::from(returned);
        fresh -= shared - returned;
    }
    allocate(pool, u64::from(fresh));
}

/// How many of a segment's first blocks are held.
fn depth_held(segment: &Segment) -> u32 {
    segment.holders.last().map_or(0, |&(depth, _)| depth)
}

/// One sequence's hold on a segment grows from `from` to `to` blocks: how many cached blocks this takes out of the free
/// queue, and how many of the queue's entries.
fn hold(segment: &mut Segment, from: u32, to: u32) -> (u32, usize) {
    let held_before = depth_held(segment);
    release_depth(segment, from);
    match segment.holders.binary_search_by_key(&to, |&(depth, _)| depth) {
        Ok(at) => segment.holders[at].1 += 1,
        Err(at) => segment.holders.insert(at, (to, 1)),
    }
    let unfreed = segment.cached.min(to).saturating_sub(held_before);
    let mut entries = 0;
    while let Some(&(first, _)) = segment.free_runs.first() {
        let end = segment.free_runs.get(1).map_or(segment.cached, |&(next, _)| next);
        if first >= to {
            break;
        }
        if end > to {
            segment.free_runs[0].0 = to;
            break;
        }
        segment.free_runs.remove(0);
        entries += 1;
    }
    (unfreed, entries)
}

/// One sequence's hold on the first `depth` blocks ends.
fn release_depth(segment: &mut Segment, depth: u32) {
    if depth == 0 {
        return;
    }
    let at =
        segment.holders.binary_search_by_key(&depth, |&(depth, _)| depth).expect("a sequence lets go of what it holds");
    segment.holders[at].1 -= 1;
    if segment.holders[at].1 == 0 {
        segment.holders.remove(at);
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
    for (key, start, end) in keys.ranges().rev() {
        let depth = full.clamp(start, end) - start;
        if depth == 0 {
            continue;
        }
        let segment = pool.segments.get_mut(&key).expect("a held segment is cached");
        release_depth(segment, depth);
        let still_held = depth_held(segment);
        if still_held < depth {
            segment.free_runs.insert(0, (still_held, pool.next_stamp));
            pool.evictable += u64::from(depth - still_held);
            push(pool, Owner::Segment(key));
        }
    }
    sweep(pool);
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
