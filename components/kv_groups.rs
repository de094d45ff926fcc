//! KV caches of several kinds of layers in one pool: which groups there are.

/// What layers keep of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvKind {
    /// All tokens.
    Full,
    /// The last of them.
    Window {
        /// So many, the next one included.
        tokens: u32,
    },
    /// Those of the chunk that the next token is in.
    Chunk {
        /// Tokens of a chunk.
        tokens: u32,
    },
    /// A state of one size, however many tokens there are.
    State,
}

/// Layers that share a table of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvGroup {
    /// What they keep.
    pub kind: KvKind,
    /// Tokens a block; of states those after which one is kept, or more than any context where none is.
    pub block_tokens: u32,
}

/// The groups of an engine with several, and the rules for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvGroups {
    /// In the order of their first layers.
    pub groups: Vec<KvGroup>,
    /// Layers of each, of all pipeline stages.
    pub layers: u32,
    /// Bytes that a block has for each layer of a group, on a rank.
    pub page_bytes: u64,
    /// Blocks of windows and states have names where a hit may end: at multiples of so many tokens, if that is not 0, at the end of a
    /// prompt, and where others have gone on otherwise. `None`: everywhere.
    pub retention_interval: Option<u32>,
    /// What differs between versions of the engine.
    pub rules: KvGroupRules,
}

/// Rules of vLLM's groups that came with a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvGroupRules {
    /// What a step in flight may read is not let go before it has ended.
    pub windows_wait_for_output: bool,
    /// A request that is admitted reserves no more than a window, with what may be in flight.
    pub windows_are_capped: bool,
    /// Where others have gone on otherwise than a prompt does is where a state is kept, and chunks that begin within a block end with it.
    pub states_are_kept_at_junctions: bool,
}

impl KvGroupRules {
    /// Those of the newest version that is known, vLLM 0.33.
    pub const NEWEST: Self =
        Self { windows_wait_for_output: true, windows_are_capped: true, states_are_kept_at_junctions: true };
}
