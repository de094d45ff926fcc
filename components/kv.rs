//! The KV cache of an engine. Blocks are counted, not listed: a cached prefix is a segment with a length.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use bevy_ecs::prelude::*;

/// Hashes keys that are hashes already (prefix keys): one multiplication spreads them over the table.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte) ^ self.0.rotate_left(8));
        }
    }
    fn write_u64(&mut self, key: u64) {
        self.0 = (key ^ (key >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// A map from prefix keys. Never iterated where order could show.
pub type KeyMap<V> = HashMap<u64, V, BuildHasherDefault<KeyHasher>>;

/// A shared segment of prompts, of which the first `cached` blocks are in the cache. Those that some sequence holds are
/// the first `max(depth)`; the rest is free, in runs that were let go at different times, the deepest first.
#[derive(Clone, Debug, Default)]
pub struct Segment {
    /// Blocks in the cache, from the segment's first.
    pub cached: u32,
    /// How many sequences hold the first `depth` blocks: (depth, sequences), ascending, depth > 0.
    pub holders: Vec<(u32, u32)>,
    /// Free blocks: (first block, stamp), ascending by block; each run reaches to the next or to `cached`.
    pub free_runs: Vec<(u32, u64)>,
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
    /// The free run of this segment with this stamp, if there is one.
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
}
