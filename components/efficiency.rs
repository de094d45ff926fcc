//! Efficiency curves of a device's kernels: the coefficients. `oracle-systems::costing::curves` is what they mean.
//!
//! A coefficient that ends in `_share` is a share of a peak (or a weight) between 0 and 1, one in `_us`, `_ns` or `_ps` is a
//! time, which is the device's own and does not scale with its peaks. All are fitted to measured kernels but those that a
//! catalog file names as taken over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The kernels of one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EfficiencyCurves {
    /// Multiprocessors that tiles of a matrix product are spread over.
    pub processors: f64,
    /// Of the peaks, what the fastest large products reached when the curves were measured.
    #[serde(default)]
    pub fastest: ProductShares,
    /// Of the FLOP/s when the curves were measured, what a lasting load leaves: a device's own, and not in a curve file.
    #[serde(skip)]
    pub sustained: ProductShares,
    /// Products in the activations' type, whatever the weights' width.
    pub gemm: GemmCurve,
    /// Products with 8-bit weights where the device multiplies 8-bit numbers.
    pub gemm_8bit: GemmCurve,
    /// The same where square blocks of weights share a scale; as `gemm_8bit` where that was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gemm_8bit_block: Option<GemmCurve>,
    /// Products with 4-bit weights where the device multiplies 4-bit numbers; as `gemm_8bit` where that was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gemm_4bit: Option<GemmCurve>,
    /// What the formulas of products are off by, by the name of their curve.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub corrections: BTreeMap<String, Correction>,
    /// The routed experts of a layer in the activations' type.
    pub experts: ExpertsCurve,
    /// The same with 8-bit weights.
    pub experts_8bit: ExpertsCurve,
    /// Experts by what their weights are (`bfloat16`, `fp8`, `fp8_block`, `nvfp4`, `w4a16_mxfp4`, `w4a8_mxfp4_mxfp8`, `int4_wo`), then by the family
    /// of kernels that vLLM computes them with; where there are none, `experts` and `experts_8bit` hold.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub expert_kernels: BTreeMap<String, BTreeMap<ExpertFamily, ExpertsCurve>>,
    /// Experts and width of one, on a rank, that the kernels of `experts` are tuned for where others are not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tuned_experts: Vec<[u32; 2]>,
    /// Attention of prefill chunks.
    pub prefill_attention: PrefillAttentionCurve,
    /// Decode attention where query heads share KV heads.
    pub decode_attention: DecodeAttentionCurve,
    /// Decode attention where each query head has a KV head of its own.
    pub decode_attention_multi_head: DecodeAttentionCurve,
    /// Norms, rotary embedding, activation, KV write: each kernel.
    pub elementwise: StreamCurve,
    /// The sampler: all its kernels together.
    pub sampler: StreamCurve,
}

/// Shares of FLOP/s by the type in which products are computed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductShares {
    /// In the activations' type.
    pub gemm_share: f64,
    /// In 8 bits.
    pub gemm_8bit_share: f64,
}

impl Default for ProductShares {
    fn default() -> Self {
        Self { gemm_share: 1.0, gemm_8bit_share: 1.0 }
    }
}

/// What a formula is off by, on a grid of shapes with three sides: logarithms in hundredths of what kernels took over what it
/// says, in the order of the first side, then the second, then the third. The sides of products are rows, columns and depth,
/// those of experts tokens, the width of one, and how many there are; those of prefill attention query blocks, the mean
/// context of a token twice, and the width of a head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Correction(pub Vec<f64>);

impl Correction {
    /// Sizes of each side that it has a figure for, each four times the one before.
    pub const KNOTS: [usize; 3] = [8, 5, 4];
    /// The least of each, of products.
    pub const PRODUCTS: [f64; 3] = [1.0, 256.0, 256.0];
    /// The same of experts.
    pub const EXPERTS: [f64; 3] = [1.0, 64.0, 8.0];
    /// The same of prefill attention.
    pub const PREFILL: [f64; 3] = [2.0, 128.0, 32.0];

    /// Whether it has a figure for each.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.0.len() == Self::KNOTS.iter().product::<usize>() && self.0.iter().all(|figure| figure.is_finite())
    }
}

/// How a product's kernel takes its tile of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tiling {
    /// The one that is done first, the depth split or not: a library that knows its kernels, as cuBLAS.
    #[default]
    Searched,
    /// By the number of rows alone, the depth whole: vLLM's CUTLASS kernels of 8-bit products on Hopper.
    ByRows,
}

/// A matrix product of `m` rows, `n` columns and depth `k`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GemmCurve {
    /// What sets the tile. Those by rows reach one share of the peak and split nothing: the coefficients of halved tiles and
    /// of splits are ignored.
    #[serde(default)]
    pub tiling: Tiling,
    /// Of the peak FLOP/s, by the largest tile.
    pub compute_share: f64,
    /// What is left of that with each halving of the tile.
    pub halved_tile_share: f64,
    /// How far a last, partly filled wave of tiles counts as a full one.
    pub whole_wave_share: f64,
    /// Of the memory bandwidth.
    pub memory_share: f64,
    /// Bytes read from memory once more for each further 128 columns, as a part of those of the activations: the rest of such
    /// readings finds them in the L2 cache.
    #[serde(default)]
    pub reread_passes: f64,
    /// Exponent of the norm that joins both roofs: infinite where they overlap fully.
    pub overlap_exponent: f64,
    /// Launch and drain.
    pub launch_us: f64,
    /// Latency of each element of the depth, or of a part of it where it is split.
    pub depth_ns: f64,
    /// Depth that starting and ending a tile costs.
    pub tile_start_depth: f64,
    /// How much longer a product without end takes than it would at the clock that a burst begins with.
    #[serde(default)]
    pub long_slowdown: f64,
    /// Each doubling of the parts that the depth is split into.
    pub split_us: f64,
    /// Passes over the partial sums of a split depth.
    pub split_passes: f64,
    /// Passes over the activations to quantise them; 0 where they are not.
    pub quantise_passes: f64,
    /// Each row that is quantised, however short.
    #[serde(default)]
    pub quantise_row_ns: f64,
    /// What the host took to launch it when it was measured without a CUDA graph, and no price has: shorter ones tell nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub host_us: f64,
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

/// Families of kernels for experts, in the order in which vLLM 0.24 takes the first that serves a device and a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpertFamily {
    /// TensorRT-LLM's, through FlashInfer: Blackwell of the data centre.
    Trtllm,
    /// Triton's.
    Triton,
    /// CUTLASS's, through FlashInfer.
    Cutlass,
    /// Marlin: narrow weights, widened on the way.
    Marlin,
}

/// The routed experts of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpertsCurve {
    /// Of the peak FLOP/s.
    pub compute_share: f64,
    /// Of the memory bandwidth, for weights.
    pub memory_share: f64,
    /// Exponent of the norm that joins both.
    pub overlap_exponent: f64,
    /// All kernels of the layer.
    pub launch_us: f64,
    /// Tokens after the first count as this share of a token when distinct experts are counted: gates are not uniform.
    pub routing_share: f64,
    /// Each element of the vectors of a pair of token and chosen expert (the hidden one, and two inner ones), at least.
    pub vector_ps: f64,
    /// How many times longer products take in sizes that the kernels are not tuned for, without what the padding of rows to
    /// tiles costs; 0 where all sizes fare alike.
    #[serde(default)]
    pub untuned_factor: f64,
    /// Activations that these products find in L2.
    #[serde(default)]
    pub cached_mb: f64,
    /// How much longer they take where activations come from memory, as a share.
    #[serde(default)]
    pub uncached_slowdown: f64,
    /// Each distinct expert.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub expert_ns: f64,
    /// Each expert that the rank holds, reached or not: the choice of experts and the sorting of tokens walk them all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held_expert_ns: f64,
    /// The width inside an expert is padded to multiples of it; 0 where it is not.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub width_multiple: f64,
    /// The same of the width of tokens.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hidden_multiple: f64,
}

/// Attention of prefill chunks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefillAttentionCurve {
    /// Of the peak FLOP/s, at 128 elements a head.
    pub compute_share: f64,
    /// Exponent of the head's width over 128 in that share.
    pub head_width_exponent: f64,
    /// Of the memory bandwidth.
    pub memory_share: f64,
    /// Passes over keys and values.
    pub kv_passes: f64,
    /// Launch and drain.
    pub launch_us: f64,
    /// Each token of the longest context, on top.
    pub longest_context_ns: f64,
    /// Each token of the longest context, at least: one tile walks all of it.
    pub critical_path_ns: f64,
    /// Writing a new token's keys and values into the cache, by a block of as many threads as they have elements, 512 at
    /// most; 0 where attention was measured without, and it is one of the streams.
    #[serde(default)]
    pub kv_write_ns: f64,
}

/// Decode attention.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecodeAttentionCurve {
    /// Of the memory bandwidth, with sequences without end.
    pub memory_share: f64,
    /// What is left of that with an 8-bit KV cache.
    pub narrow_kv_share: f64,
    /// Whether contexts of an 8-bit cache are spread over all multiprocessors whatever is done with a 16-bit one: another kernel
    /// reads it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub narrow_kv_spread: bool,
    /// With an 8-bit KV cache, on top of the launch.
    #[serde(default)]
    pub narrow_kv_launch_us: f64,
    /// With an 8-bit KV cache, each sequence and KV head on top.
    #[serde(default)]
    pub narrow_kv_head_ns: f64,
    /// Bandwidth that a multiprocessor draws at most, over its even part of the memory's; 0 where every context is spread
    /// over all multiprocessors.
    #[serde(default)]
    pub processor_bandwidth: f64,
    /// Sequences × KV heads a multiprocessor up to which contexts are spread all the same; from there on, one multiprocessor
    /// walks the whole of a context.
    #[serde(default)]
    pub spread_heads: f64,
    /// Sequences × KV heads at which half of the bandwidth is reached.
    pub half_bandwidth_heads: f64,
    /// How steeply.
    pub half_bandwidth_exponent: f64,
    /// Launch, drain and the joining of parts.
    pub launch_us: f64,
    /// Each sequence and KV head.
    pub kv_head_ns: f64,
    /// Each sequence and query head.
    pub query_head_ns: f64,
    /// Query rows that a decode is computed as in a step with prompts, each query head alone; 0 where its heads share a tile.
    pub mixed_rows: f64,
    /// In a step with prompts, each sequence, query head and block of 128 tokens of the longest chunk: the grid is laid out
    /// for that chunk, and most of its blocks find nothing to do.
    #[serde(default)]
    pub mixed_block_ns: f64,
    /// In a step with prompts, each sequence and query head, in place of the launch and of what heads take by themselves; 0
    /// where decodes are launched apart from prompts.
    #[serde(default)]
    pub mixed_head_ns: f64,
    /// In a step with prompts, each token of the mean context, at least: one tile walks all of it.
    #[serde(default)]
    pub mixed_walk_ns: f64,
    /// In a step with prompts, what the L2 cache keeps of the contexts of a KV head, which the next query head of a group
    /// reads again; 0 where a group reads them once.
    #[serde(default)]
    pub mixed_kept_mb: f64,
}

/// Kernels that only stream bytes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamCurve {
    /// Launch and drain.
    pub launch_us: f64,
    /// Of the memory bandwidth.
    pub memory_share: f64,
}
