//! What is known of the collectives over a kind of link: measured figures, by operation, number of ranks and protocol.
//! How long a collective takes follows from them in `oracle-systems::costing`.

use std::sync::Arc;

/// Most protocols of one collective among one number of ranks.
pub const MOST_PROTOCOLS: usize = 3;

/// One way of carrying out a collective: `latency_s + bytes × s_per_byte`. A library takes the fastest of several.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Protocol {
    /// Seconds beside those of the bytes.
    pub latency_s: f64,
    /// Seconds for each byte of the tensor.
    pub s_per_byte: f64,
}

/// The protocols of a collective among a number of ranks.
#[derive(Clone, Debug, PartialEq)]
pub struct RankProtocols {
    /// How many ranks.
    pub ranks: u32,
    /// At least one, at most [`MOST_PROTOCOLS`].
    pub protocols: Vec<Protocol>,
    /// Largest tensor for which they are used, in bytes.
    pub up_to_bytes: f64,
}

/// Collectives over one kind of link. Each list rises by ranks, and is not empty but for `custom_all_reduce`.
///
/// Bytes are those of the whole tensor: what is reduced, what has been gathered, what is scattered, and the buffer that
/// each rank gives to an all-to-all.
#[derive(Clone, Debug, PartialEq)]
pub struct Fabric {
    /// Name in the catalog.
    pub name: String,
    /// NCCL's all-reduce.
    pub all_reduce: Vec<RankProtocols>,
    /// NCCL's all-gather.
    pub all_gather: Vec<RankProtocols>,
    /// NCCL's reduce-scatter.
    pub reduce_scatter: Vec<RankProtocols>,
    /// NCCL's all-to-all.
    pub all_to_all: Vec<RankProtocols>,
    /// The serving engine's own all-reduce of small tensors, replayed in a CUDA graph; empty without.
    pub custom_all_reduce: Vec<RankProtocols>,
    /// The way through the host's memory, where GPUs that may read each other's have it too: NCCL takes it where it is faster.
    pub by_host: Option<Arc<Fabric>>,
}

/// The links among ranks that work together, where they are of kinds that were measured.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupFabric {
    /// Within a node.
    pub local: Arc<Fabric>,
    /// Whether the engine's own all-reduce is used where there is one.
    pub custom_all_reduce: bool,
    /// How many nodes the ranks are on, and the links between those, if more than one.
    pub across: Option<(u32, Arc<Fabric>)>,
}
