//! The KV cache of an engine. Blocks are counted, not listed: a cached prefix is a segment with a length.

use std::collections::VecDeque;

use bevy_ecs::prelude::*;
use smallvec::SmallVec;

use crate::group_blocks::GroupBlocks;
use crate::key_map::KeyMap;

/// A shared segment of prompts. A sequence that computes blocks of it which the cache has already makes a copy of these.
#[derive(Clone, Debug, Default)]
pub struct Segment {
    /// What is in the cache, by (copy, first block). Of several blocks with an index, that of the first copy is found.
    pub runs: SmallVec<[Run; 1]>,
    /// Copies that were made so far, the original included.
    pub copies: u32,
}

/// Consecutive blocks of a copy. Those that some sequence holds are the first of them; the rest is free, in stretches that were
/// let go at different times, the deepest first. Blocks are counted from the segment's first.
#[derive(Clone, Debug)]
pub struct Run {
    /// Number of the copy, 0 for the original.
    pub copy: u32,
    /// Its first block.
    pub first: u32,
    /// The block behind its last.
    pub end: u32,
    /// How many sequences hold it up to which block: (the block behind, sequences), ascending.
    pub holders: Vec<(u32, u32)>,
    /// Free blocks: (first block, stamp), ascending by block; each stretch reaches to the next or to `end`.
    pub free: Vec<(u32, u64)>,
}

/// Blocks of a segment that a sequence holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The segment's key.
    pub key: u64,
    /// The copy.
    pub copy: u32,
    /// The first block.
    pub first: u32,
    /// The block behind the last.
    pub end: u32,
}

/// The blocks of a released sequence beyond its shared segments, findable by its tail key.
#[derive(Clone, Copy, Debug)]
pub struct Tail {
    /// Its entry in the queue of free blocks.
    pub stamp: u64,
    /// Blocks still in the cache.
    pub blocks: u32,
    /// The full ones among them, from the first.
    pub full: u32,
}

/// Who owns an entry of the queue of free blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Nobody will ask for these blocks again.
    Anonymous {
        /// How many.
        blocks: u32,
    },
    /// The tail with this key, if its stamp agrees.
    Tail(u64),
    /// The free stretch of this segment with this stamp, if there is one. A run that was divided may have two parts of it.
    Segment(u64),
}

/// An entry of the queue of free blocks.
#[derive(Clone, Copy, Debug)]
pub struct FreeEntry {
    /// When it was let go; unique and ascending.
    pub stamp: u64,
    /// Whose it is.
    pub owner: Owner,
}

/// An engine's pool of KV blocks.
#[derive(Component, Clone, Debug)]
pub struct KvPool {
    /// Blocks in the pool.
    pub total: u64,
    /// Free blocks that hold nothing: the front of the queue.
    pub empty: u64,
    /// Free blocks that hold what was computed, behind the empty ones.
    pub evictable: u64,
    /// Those blocks, least recently let go first. Entries whose owner has moved on are skipped.
    pub queue: VecDeque<FreeEntry>,
    /// Entries of the queue that are not stale.
    pub live_entries: usize,
    /// Shared segments with blocks in the cache.
    pub segments: KeyMap<Segment>,
    /// Tails with blocks in the cache.
    pub tails: KeyMap<Tail>,
    /// By request, what is held of segments other than the original from its first block on; by segment, ascending.
    pub holdings: KeyMap<Vec<Holding>>,
    /// The next stamp.
    pub next_stamp: u64,
    /// Blocks handed to sequences so far.
    pub allocated: u64,
    /// Blocks taken back so far.
    pub freed: u64,
    /// Cached blocks overwritten so far.
    pub evicted: u64,
    /// Most blocks held at once.
    pub peak: u64,
    /// Block by block, where layers of several kinds share the pool; segments, tails, holdings and queue are empty then.
    pub grouped: Option<Box<GroupBlocks>>,
}
