//! Kernels of a device as its user measured them: shapes and seconds, of one layer each. `oracle-systems::costing::tables` is
//! how they price a step.

/// Measured kernels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KernelTimes {
    /// Kernels whose time depends on their rows alone.
    pub by_rows: Vec<RowTimes>,
    /// Attention of prefill chunks, by heads.
    pub prefill_attention: Vec<PrefillTimes>,
    /// Decode attention, by heads.
    pub decode_attention: Vec<DecodeLines>,
    /// FLOP/s that the fastest of its large products reached, if it has such: with 16-bit weights, and with 8-bit ones.
    pub fastest_flops_per_s: [Option<f64>; 2],
}

/// What a kernel took by its rows: tokens, or sampled rows.
#[derive(Clone, Debug, PartialEq)]
pub struct RowTimes {
    /// Which kernel.
    pub kernel: RowKernel,
    /// Rows and seconds, by ascending rows, none twice.
    pub seconds: Vec<(u32, f64)>,
}

/// A kernel whose time depends on its rows alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RowKernel {
    /// A matrix product with weights of `columns` × `depth` elements of `weight_bytes` each.
    Product {
        /// n.
        columns: f64,
        /// k.
        depth: f64,
        /// Bytes of a weight.
        weight_bytes: f64,
    },
    /// So many kernels that move `bytes_per_row` together.
    Stream {
        /// How many.
        kernels: f64,
        /// Bytes that all of them move for a row.
        bytes_per_row: f64,
    },
    /// The sampler and the norm before the head.
    Sampler {
        /// Bytes that it moves for a row.
        bytes_per_row: f64,
    },
    /// The routed experts of a layer, gated.
    Experts {
        /// Width of a token's vector.
        hidden: f64,
        /// Width inside an expert, on the rank.
        inner: f64,
        /// Routed experts.
        experts: f64,
        /// Experts that a token goes to.
        per_token: f64,
        /// Bytes of a weight.
        weight_bytes: f64,
    },
}

/// Heads of a rank.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Heads {
    /// Query heads.
    pub query: f64,
    /// KV heads.
    pub kv: f64,
    /// Elements of a head.
    pub width: f64,
    /// Whether the KV cache has 8 bits.
    pub is_kv_narrow: bool,
}

/// What prefill attention took.
#[derive(Clone, Debug, PartialEq)]
pub struct PrefillTimes {
    /// With which heads.
    pub heads: Heads,
    /// By shape.
    pub seconds: Vec<(Prompts, f64)>,
}

/// Equal prefill chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prompts {
    /// How many.
    pub sequences: u32,
    /// New tokens of each.
    pub chunk_tokens: u32,
    /// Tokens before them, of each.
    pub context_tokens: u32,
}

/// Decode attention as lines over the bytes that it moves: keys, values, queries and outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodeLines {
    /// With which heads.
    pub heads: Heads,
    /// In steps without prompts, by ascending sequences.
    pub alone: Vec<(u32, Line)>,
    /// What it adds to the attention of prompts in a step with them, by ascending sequences.
    pub with_prompts: Vec<(u32, Vec<(Prompts, Line)>)>,
}

/// `floor_s + bytes × s_per_byte`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Whatever the bytes.
    pub floor_s: f64,
    /// Seconds of a byte.
    pub s_per_byte: f64,
}
