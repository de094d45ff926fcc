//! The blocks of a KV cache in groups: whose is what.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::key_map::{KeyHasher, KeyMap};
use crate::kv_groups::KvGroups;
use crate::request::RequestId;

/// Position of a block among those that hold something.
pub type BlockId = u32;

/// The content that a token belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// A shared segment of prompts, by its key.
    Segment(u64),
    /// What follows the segments in the prompts of one session, by its key.
    Tail(u64),
    /// What follows them in a request that nobody continues.
    Own(RequestId),
}

/// What a cached block holds: of a group, the block that ends after so many tokens, the last of them of this chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockName {
    /// The group.
    pub group: u16,
    /// Tokens up to its end.
    pub end: u32,
    /// The content.
    pub chain: Chain,
}

impl Hash for BlockName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (kind, key) = match self.chain {
            Chain::Segment(key) => (0_u64, key),
            Chain::Tail(key) => (1, key),
            Chain::Own(id) => (2, id),
        };
        let place = (u64::from(self.end) << 18) ^ (u64::from(self.group) << 2) ^ kind;
        state.write_u64(key.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ place);
    }
}

/// A block that is held or in the cache; or a run of free ones that nobody finds, let go of in one go.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// How many; a run is allocated from its last block on.
    pub blocks: u32,
    /// It is found by its name.
    pub is_found: bool,
    /// Sequences that hold it.
    pub holders: u32,
    /// The free block before it in the queue, if it is free; [`NO_BLOCK`] at the front.
    pub before: BlockId,
    /// The one behind it.
    pub behind: BlockId,
    /// What it holds, if that is worth keeping; of a run its last block.
    pub name: Option<BlockName>,
}

/// No block.
pub const NO_BLOCK: BlockId = BlockId::MAX;

/// The blocks that a sequence has for a group.
#[derive(Clone, Debug, Default)]
pub struct GroupTable {
    /// Entries, those included that are no block (any more).
    pub entries: u32,
    /// Entries that had their names given, if they were to have any.
    pub named: u32,
    /// The blocks, with their entries, ascending.
    pub blocks: VecDeque<(u32, BlockId)>,
    /// The first entry that is a block still, where blocks are counted, not listed.
    pub first: u32,
}

/// What the blocks of a request are named by.
#[derive(Clone, Debug)]
pub struct Content {
    /// Shared segments of the prompt: (key, tokens up to the end).
    pub segments: SmallVec<[(u64, u32); 4]>,
    /// What follows.
    pub tail: Chain,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
}

/// The blocks of a running sequence.
#[derive(Clone, Debug)]
pub struct Table {
    /// Group by group.
    pub groups: SmallVec<[GroupTable; 4]>,
    /// What they are named by.
    pub content: Content,
    /// Where others have gone on otherwise, if that is beyond what was cached for it; else 0.
    pub junction: u32,
    /// What it took of a step apart from the decodes: (the engine's step count, tokens).
    pub taken: (u64, u32),
    /// Nobody else asks for its blocks, so they are counted: those of a group are entries in a row. Only states are listed.
    pub is_counted: bool,
    /// Runs that it has let go of, and that it may ask for once it is preempted.
    pub runs: SmallVec<[BlockId; 4]>,
}

/// Names lead to their blocks, the one first that had it first.
pub type Names = HashMap<BlockName, SmallVec<[BlockId; 1]>, BuildHasherDefault<KeyHasher>>;

/// The blocks of a pool with groups.
#[derive(Clone, Debug)]
pub struct GroupBlocks {
    /// All that hold something.
    pub store: BlockStore,
    /// Whose they are, by request.
    pub tables: KeyMap<Table>,
    /// Blocks held in each step of the epoch that has ended.
    pub held: Vec<u64>,
}

/// Blocks that hold something; how many are free, and how many hold nothing, are the pool's counts.
#[derive(Clone, Debug)]
pub struct BlockStore {
    /// The groups.
    pub groups: Arc<KvGroups>,
    /// Hits end at multiples of so many tokens.
    pub alignment: u32,
    /// Groups that are asked for a hit together, in the order in which they are.
    pub asked: Vec<SmallVec<[u16; 4]>>,
    /// Most entries of a group that a request reserves, if that is limited.
    pub caps: Vec<Option<u32>>,
    /// Blocks stay in the cache. Else nothing is kept here: they are counted alone.
    pub caches: bool,
    /// Blocks without a name are the next to be allocated.
    pub unnamed_first: bool,
    /// The blocks.
    pub blocks: Vec<Block>,
    /// Places among them that are not taken.
    pub vacant: Vec<BlockId>,
    /// The first of the free ones, the next to be allocated once all are used that hold nothing.
    pub front: BlockId,
    /// The last.
    pub back: BlockId,
    /// What is cached.
    pub names: Names,
    /// States that were named as this step was formed: they are not there before it has ended.
    pub new_states: Vec<BlockName>,
}

/// A decode, as its blocks go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decoding {
    /// Its place in the order of admission.
    pub admission: u64,
    /// Which.
    pub id: RequestId,
    /// Tokens in the KV cache, less the engine's step count (modulo 2⁶⁴).
    pub base: u64,
    /// The engine's step count when it began to decode.
    pub since: u64,
}

/// Decodes by when they take blocks, and let go of some.
#[derive(Clone, Debug)]
pub struct DecodeClasses {
    /// By (tokens in the KV cache − steps) mod as many as there are; each in order of admission.
    pub classes: Vec<Vec<Decoding>>,
    /// How many blocks a decode takes with tokens ≡ so many in the KV cache: (tokens, blocks).
    pub taking: Vec<(u32, u32)>,
    /// With how many tokens in the KV cache, modulo the classes, anything may happen to its blocks.
    pub busy: Vec<u32>,
    /// Those that have just begun: much of their prompt may be past.
    pub fresh: Vec<Decoding>,
    /// Batches are formed while the step before is in flight.
    pub is_ahead: bool,
    /// What that step may read is not let go.
    pub waits_for_output: bool,
}
