//! The blocks of a KV cache in groups: whose is what.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::key_map::{KeyHasher, KeyMap};
use crate::kv_groups::{KvGroup, KvGroups};
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

/// A block that is held or in the cache; or a run of free ones that nobody finds.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// The run, if it is one.
    pub run: Option<Run>,
    /// Sequences that hold it.
    pub holders: u32,
    /// The free block before it in the queue, if it is free; [`NO_BLOCK`] at the front.
    pub before: BlockId,
    /// The one behind it.
    pub behind: BlockId,
    /// What it holds, if that is worth keeping; it is found by that.
    pub name: Option<BlockName>,
}

/// Free blocks, one behind the other in the queue, that nobody asks for but who let go of them, once it is preempted.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The number of the first, of all that were let go of so.
    pub first: u64,
    /// How many.
    pub blocks: u32,
    /// They have names.
    pub have_names: bool,
}

/// Blocks with names that a sequence has let go of in one go, group by group, the last first.
#[derive(Clone, Copy, Debug)]
pub struct LetGo {
    /// The number of the first of them.
    pub first: u64,
    /// How many of each group.
    pub blocks: u32,
    /// Tokens up to the end of the last.
    pub end: u32,
    /// Whose they were.
    pub id: RequestId,
    /// The first group.
    pub group: u16,
    /// How many groups.
    pub groups: u16,
}

impl LetGo {
    /// The number behind the last.
    #[must_use]
    pub fn end_of_all(&self) -> u64 {
        self.first + u64::from(self.blocks) * u64::from(self.groups)
    }

    /// Of which group a block is, and how many of that group are behind it.
    #[must_use]
    pub fn place_of(&self, number: u64) -> (u16, u32) {
        let at = (number - self.first) as u32;
        (self.group + (at / self.blocks) as u16, at % self.blocks)
    }
}

/// Groups in a row that are alike.
#[derive(Clone, Copy, Debug)]
pub struct Alike {
    /// What each is.
    pub group: KvGroup,
    /// The first of them.
    pub first: u16,
    /// How many.
    pub times: u32,
    /// Tokens in the blocks of a window that a hit needs.
    pub reach: u32,
    /// Their blocks are entries in a row, of a sequence that nobody else asks for the blocks of.
    pub is_countable: bool,
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
}

/// Tokens that say which blocks a sequence has, where these are entries in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Those with so many in the KV cache look at the entries that are not past.
    pub settled: u32,
    /// Tokens that there are entries for.
    pub end: u32,
    /// Tokens whose blocks had their names given, if they were to have any.
    pub named: u32,
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
    /// Group by group, where blocks are listed.
    pub groups: Vec<GroupTable>,
    /// Nobody else asks for its blocks, so they are counted. Only states that are kept are listed.
    pub counted: Option<Counted>,
    /// What they are named by.
    pub content: Content,
    /// Where others have gone on otherwise, if that is beyond what was cached for it; else 0.
    pub junction: u32,
    /// What it took of a step apart from the decodes: (the engine's step count, tokens).
    pub taken: (u64, u32),
    /// Runs have had so many blocks when it was admitted.
    pub since: u64,
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
    /// All of them, those in a row that are alike together.
    pub alike: Vec<Alike>,
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
    /// The runs in the queue, with the numbers that their first blocks had, ascending.
    pub runs: VecDeque<(u64, BlockId)>,
    /// Blocks that runs have had so far.
    pub next_of_runs: u64,
    /// What sequences that run may ask for once they are preempted, and what others have let go of before, by number.
    pub let_go: VecDeque<LetGo>,
    /// States that were named as this step was formed: they are not there before it has ended.
    pub new_states: Vec<BlockName>,
}

impl DecodeClasses {
    /// Most blocks that so many decodes take in a step.
    #[must_use]
    pub fn most_taken(&self, decodes: u64) -> u64 {
        decodes * u64::from(self.most_taken)
    }
}

impl BlockStore {
    /// Whether states are kept, each with its block.
    #[must_use]
    pub fn keeps_states(&self) -> bool {
        self.alike.iter().any(|alike| !alike.is_countable)
    }
}

/// A decode, as its blocks go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoding {
    /// Its place in the order of admission.
    pub admission: u64,
    /// Which.
    pub id: RequestId,
    /// Tokens in the KV cache, less the engine's step count (modulo 2⁶⁴).
    pub base: u64,
    /// The engine's step count when it began to decode.
    pub since: u64,
    /// Tokens of its prompt that a hit may have, were there others to ask for it.
    pub kept: u32,
    /// All of its blocks are counted: what it has of them follows from the step count, and its table is that of an earlier step.
    pub is_counted: bool,
}

/// What happens to the blocks of a counted decode with so many tokens in the KV cache, modulo the classes.
#[derive(Clone, Debug, Default)]
pub struct DecodeEvents {
    /// Blocks that it takes.
    pub taken: u32,
    /// In which groups it may let go of some: of [`BlockStore::alike`].
    pub letting_go: SmallVec<[u16; 2]>,
    /// Anything may happen to the blocks of one that is not counted.
    pub is_busy: bool,
}

/// Decodes by when they take blocks, and let go of some.
#[derive(Clone, Debug)]
pub struct DecodeClasses {
    /// By (tokens in the KV cache − steps) mod as many as there are; each in order of admission. Without the fresh ones.
    pub classes: Vec<Vec<Decoding>>,
    /// What happens by tokens in the KV cache, modulo the classes.
    pub events: Vec<DecodeEvents>,
    /// With how many tokens anything may happen.
    pub busy: Vec<u32>,
    /// Most blocks that one takes in a step.
    pub most_taken: u32,
    /// Those that have just begun: much of their prompt may be past.
    pub fresh: Vec<Decoding>,
    /// How many in the classes are not counted.
    pub listed: u32,
    /// All have what they need of the steps before the one with this number.
    pub seen_to: u64,
    /// Batches are formed while the step before is in flight.
    pub is_ahead: bool,
    /// What that step may read is not let go.
    pub waits_for_output: bool,
    /// Those whose blocks are still to be seen to in a step, the last admitted first.
    pub due: Vec<Decoding>,
}
