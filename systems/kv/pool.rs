//! Blocks: who has them, the queue of free ones, and eviction from its front.

use oracle_components::key_map::KeyMap;
use oracle_components::kv::{FreeEntry, KvPool, Owner, Tail};

use super::segment;

/// Stale entries that the queue may hold before it is swept.
const STALE_ENTRIES_KEPT: usize = 256;

/// A pool of `total` empty blocks.
#[must_use]
pub fn new_pool(total: u64) -> KvPool {
    KvPool {
        total,
        empty: total,
        evictable: 0,
        queue: std::collections::VecDeque::new(),
        live_entries: 0,
        segments: KeyMap::default(),
        tails: KeyMap::default(),
        holdings: KeyMap::default(),
        next_stamp: 0,
        allocated: 0,
        freed: 0,
        evicted: 0,
        peak: 0,
        grouped: None,
    }
}

/// Blocks that can be allocated.
#[must_use]
pub fn free_blocks(pool: &KvPool) -> u64 {
    pool.empty + pool.evictable
}

/// Blocks that sequences hold.
#[must_use]
pub fn held_blocks(pool: &KvPool) -> u64 {
    pool.total - free_blocks(pool)
}

/// Hands `blocks` blocks to a sequence: empty ones first, then the least recently released.
///
/// The caller has checked that there are as many free.
pub fn allocate(pool: &mut KvPool, blocks: u64) {
    pool.allocated += blocks;
    let empty = blocks.min(pool.empty);
    pool.empty -= empty;
    if blocks > empty {
        evict(pool, blocks - empty);
    }
    note_peak(pool);
}

/// Keeps the high-water mark of held blocks.
pub(super) fn note_peak(pool: &mut KvPool) {
    pool.peak = pool.peak.max(held_blocks(pool));
}

/// Takes `blocks` blocks from the front of the queue.
fn evict(pool: &mut KvPool, blocks: u64) {
    pool.evictable -= blocks;
    let mut wanted = u32::try_from(blocks).expect("a pool has fewer than 2^32 blocks");
    while wanted > 0 {
        let entry = *pool.queue.front().expect("evictable blocks are in the queue");
        let (taken, named, used_up) = match entry.owner {
            Owner::Anonymous { blocks } => {
                let taken = blocks.min(wanted);
                pool.queue[0].owner = Owner::Anonymous { blocks: blocks - taken };
                (taken, 0, blocks == taken)
            }
            Owner::Tail(key) => evict_tail(&mut pool.tails, key, entry.stamp, wanted),
            Owner::Segment(key) => segment::evict(&mut pool.segments, key, entry.stamp, wanted),
        };
        pool.evicted += u64::from(named);
        if taken > 0 && used_up {
            pool.live_entries -= 1;
        }
        if used_up {
            pool.queue.pop_front();
        }
        wanted -= taken;
    }
}

/// Takes up to `wanted` blocks from the end of a tail: how many, how many of these could have been found, and whether its
/// entry is used up (or stale: none taken).
fn evict_tail(tails: &mut KeyMap<Tail>, key: u64, stamp: u64, wanted: u32) -> (u32, u32, bool) {
    let Some(tail) = tails.get_mut(&key).filter(|tail| tail.stamp == stamp) else {
        return (0, 0, true);
    };
    let taken = tail.blocks.min(wanted);
    tail.blocks -= taken;
    let named = tail.full.saturating_sub(tail.blocks);
    tail.full -= named;
    let used_up = tail.blocks == 0;
    if used_up {
        tails.remove(&key);
    }
    (taken, named, used_up)
}

/// Blocks that a sequence with `computed` tokens in the cache has to be given for `tokens` more.
#[must_use]
pub fn further_blocks(computed: u32, tokens: u32, block_tokens: u32) -> u32 {
    (computed + tokens).div_ceil(block_tokens) - computed.div_ceil(block_tokens)
}

/// Takes back the blocks of a sequence without a cache to keep them in.
pub fn release_empty(pool: &mut KvPool, blocks: u64) {
    pool.freed += blocks;
    pool.empty += blocks;
}

/// Takes back all blocks, when the simulation has stopped in the middle of a step.
pub fn release_all(pool: &mut KvPool) {
    pool.freed = pool.allocated;
    pool.empty = pool.total - pool.evictable;
}

/// Appends an entry to the queue.
pub(super) fn push(pool: &mut KvPool, owner: Owner) {
    pool.queue.push_back(FreeEntry { stamp: pool.next_stamp, owner });
    pool.next_stamp += 1;
    pool.live_entries += 1;
}

/// Drops stale entries once they outnumber the live ones, so that the queue is bounded by the pool.
pub(super) fn sweep(pool: &mut KvPool) {
    if pool.queue.len() <= 2 * pool.live_entries + STALE_ENTRIES_KEPT {
        return;
    }
    let (tails, segments) = (&pool.tails, &pool.segments);
    pool.queue.retain(|entry| match entry.owner {
        Owner::Anonymous { .. } => true,
        Owner::Tail(key) => tails.get(&key).is_some_and(|tail| tail.stamp == entry.stamp),
        Owner::Segment(key) => segments.get(&key).is_some_and(|segment| segment::has_stamp(segment, entry.stamp)),
    });
    debug_assert_eq!(pool.queue.len(), pool.live_entries, "live entries of the free queue are counted");
}
