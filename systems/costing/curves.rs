//! What efficiency curves mean: seconds of a kernel from its shape, the device's peaks and the curve's coefficients.
//!
//! - **Matrix products** run in tiles of the output, a wave of one a multiprocessor after the other; the library picks the
//!   tile, and the number of parts that the depth is split into, that are done first, or goes by the rows. The result and
//!   the time that memory takes are joined by a p-norm, over a launch floor.
//! - **Experts**: a p-norm of the two roofs, a time for each element of the tokens' vectors, and one for each expert. In sizes that kernels are not tuned for,
//!   each expert's tokens are padded to whole tiles.
//! - **Prefill attention**: FLOPs (each query block of 128 rows computes its diagonal in full), bytes and the writing of the
//!   cache add up; no faster than one tile walks the longest context.
//! - **Decode attention** is linear in the summed context, at a bandwidth that grows with sequences × KV heads. Where
//!   contexts are not split (FlashAttention 2), each multiprocessor walks two at a time, and the last round may leave most
//!   of them idle.
//! - **Streams**: the launch and the bytes as a 2-norm.
//!
//! Each grows with the work. Coefficients are shares of the peaks, so a kernel lies above both roofs by itself as far as
//! it moves what is counted; whoever prices a step still takes the roofs as the least (`stage_curves`).
//!
//! Public for the program that fits the coefficients.

use oracle_components::efficiency::{
    DecodeAttentionCurve, ExpertsCurve, GemmCurve, PrefillAttentionCurve, StreamCurve, Tiling,
};

/// Tiles of the output, rows × columns.
const TILES: [(f64, f64); 10] = [
    (256.0, 128.0),
    (128.0, 256.0),
    (128.0, 128.0),
    (256.0, 64.0),
    (64.0, 256.0),
    (128.0, 64.0),
    (64.0, 128.0),
    (64.0, 64.0),
    (64.0, 32.0),
    (32.0, 64.0),
];
/// Tiles by rows: up to how many rows, the rows that are computed together, the rows and the columns of a tile.
const TILES_BY_ROWS: [(f64, f64, f64, f64); 3] =
    [(64.0, 64.0, 64.0, 64.0), (128.0, 64.0, 64.0, 128.0), (f64::INFINITY, 256.0, 128.0, 128.0)];
/// Elements of the largest.
const LARGEST_TILE: f64 = 256.0 * 128.0;
/// Most parts of a split depth, as a power of two.
const MOST_SPLITS: i32 = 4;
/// Bytes of a partial sum, written and read.
const PARTIAL_SUM_BYTES: f64 = 8.0;
/// Time after which a product has lost half of what it loses of a burst's clock: 474 µs by the fit of an H100, the only
/// device where it shows.
const HALF_SLOWED_US: f64 = 500.0;
/// Columns that one reading of the activations serves.
const READ_COLUMNS: f64 = 128.0;
/// Contexts that a multiprocessor walks at a time, where they are not split.
const CONTEXTS_AT_ONCE: f64 = 2.0;
/// Sequences a multiprocessor whose tiles run at the same time in a step with prompts: between the 0.55 and 0.83 that the
/// measurements of an RTX PRO 6000 and an RTX 4090 give.
const SEQUENCES_AT_ONCE: f64 = 0.7;
/// Most threads that write a token's keys and values.
const MOST_WRITING_THREADS: f64 = 512.0;
/// Rows of a tile of experts that nobody tuned: with at most a token an expert, and with more (vLLM 0.14, `fused_moe`).
const EXPERT_TILE_ROWS: [f64; 2] = [16.0, 64.0];
/// How often the vectors of experts go to memory and back at least: into each of the products, and out.
const VECTOR_PASSES: f64 = 2.0;
/// Of the work on a pair's vectors, what a rank does where the expert is on another: zeros in the place of products,
/// activation and sum run over all pairs.
const ELSEWHERE_SHARE: f64 = 2.0 / 3.0;
/// Rows of a query block.
const QUERY_BLOCK: f64 = 128.0;
/// Bytes of an activation; that of wider ones is a rare exception.
const ACTIVATION_BYTES: f64 = 2.0;
const BYTES_PER_MB: f64 = 1e6;
/// Products in 32 bits as cuBLAS has them, by what was published of a depth of 6,144 and 256 columns on a GB200 (152
/// multiprocessors; vLLM pull 47973): 20, 17 and 22 µs at 4, 8 and 16 rows, 63 at 32 to 64, 69, 78, 97 and 111 at 128 to 1,024.
/// Up to 16 rows split the depth, from 32 on a tile walks all of it.
const WIDE_LAUNCH_US: f64 = 2.5;
const WIDE_FEW_ROWS: f64 = 16.0;
const WIDE_DEPTH_NS: [f64; 2] = [2.8, 9.9];
/// FLOP/s of a multiprocessor's 128 lanes, by the same.
const WIDE_FLOPS_PER_PROCESSOR: f64 = 0.43e12;
const US: f64 = 1e-6;
const NS: f64 = 1e-9;
const PS: f64 = 1e-12;

/// What a device can do at best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peaks {
    /// FLOP/s in the type in which the kernel multiplies.
    pub flops_per_s: f64,
    /// Memory bytes a second.
    pub bytes_per_s: f64,
    /// Multiprocessors.
    pub processors: f64,
}

/// A matrix product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gemm {
    /// Rows of activations, m.
    pub rows: f64,
    /// Depth, k.
    pub depth: f64,
    /// Columns of weights, n.
    pub columns: f64,
    /// Bytes of weights and of activations in and out.
    pub bytes: f64,
}

/// The routed experts of a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Experts {
    /// FLOPs of the tokens' chosen experts.
    pub flops: f64,
    /// Bytes of the weights of the distinct experts.
    pub weight_bytes: f64,
    /// Experts that the rank holds.
    pub experts: f64,
    /// Those that tokens go to.
    pub distinct: f64,
    /// Tokens of the layer, wherever they go.
    pub tokens: f64,
    /// Pairs of token and chosen expert.
    pub pairs: f64,
    /// Pairs of these tokens whose experts are on other ranks.
    pub pairs_elsewhere: f64,
    /// Width of a token's vector.
    pub hidden: f64,
    /// Width inside an expert, on the rank.
    pub inner: f64,
    /// Whether kernels are tuned for so many experts of this width.
    pub is_tuned: bool,
}

/// Attention of the prefill chunks of a step, in a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrefillAttention {
    /// Pairs of query and key.
    pub pairs: f64,
    /// New tokens.
    pub tokens: f64,
    /// Longest context, the new tokens included.
    pub longest_context: f64,
    /// FLOPs of a pair: 4 × heads × width of a head.
    pub flops_per_pair: f64,
    /// Width of a head.
    pub head_width: f64,
    /// Elements of a token's keys.
    pub key_width: f64,
    /// Bytes of queries and outputs.
    pub query_bytes: f64,
    /// Bytes of keys and values.
    pub kv_bytes: f64,
}

/// The decodes of a step, in a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecodeAttention {
    /// Sequences.
    pub sequences: f64,
    /// KV heads of the rank.
    pub kv_heads: f64,
    /// Query heads of the rank.
    pub query_heads: f64,
    /// Whether the KV cache has 8 bits.
    pub is_kv_narrow: bool,
}

/// What decode attention comes to: `floor_s + bytes × s_per_byte`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecodeAttentionLine {
    /// Whatever the context.
    pub floor_s: f64,
    /// Seconds of each byte of keys, values, queries and outputs.
    pub s_per_byte: f64,
}

/// `(xᵖ + yᵖ)^(1/p)`.
fn norm(x: f64, y: f64, exponent: f64) -> f64 {
    let (most, least) = if x > y { (x, y) } else { (y, x) };
    if least <= 0.0 { most } else { most * (1.0 + (least / most).powf(exponent)).powf(exponent.recip()) }
}

/// Seconds of a matrix product.
#[must_use]
pub fn gemm_s(curve: &GemmCurve, peaks: &Peaks, gemm: &Gemm) -> f64 {
    if gemm.rows <= 0.0 {
        return 0.0;
    }
    let activation_bytes = ACTIVATION_BYTES * gemm.rows * gemm.depth;
    let reread_bytes = curve.reread_passes * activation_bytes * gemm.columns / READ_COLUMNS;
    let memory_s = (gemm.bytes + reread_bytes) / (peaks.bytes_per_s * curve.memory_share);
    let quantise_s =
        curve.quantise_passes * activation_bytes / peaks.bytes_per_s + curve.quantise_row_ns * NS * gemm.rows;
    let multiplied_s = match curve.tiling {
        Tiling::Searched => fastest_s(curve, peaks, gemm, memory_s),
        Tiling::ByRows => {
            let compute_s = at_lasting_clock_s(curve, tiles_by_rows_s(curve, peaks, gemm));
            norm(compute_s, memory_s, curve.overlap_exponent) + depth_s(curve, gemm.depth)
        }
    };
    multiplied_s + curve.launch_us * US + quantise_s
}

/// Seconds of a product in 32 bits with few columns, which runs without matrix units: by what was published of one on a GB200
/// (vLLM pull 47973).
#[must_use]
pub fn wide_gemm_s(peaks: &Peaks, gemm: &Gemm) -> f64 {
    if gemm.rows <= 0.0 {
        return 0.0;
    }
    let [few, many] = WIDE_DEPTH_NS;
    let depth_s = gemm.depth * NS * if gemm.rows <= WIDE_FEW_ROWS { few } else { many };
    let multiplied_s = 2.0 * gemm.rows * gemm.depth * gemm.columns / (WIDE_FLOPS_PER_PROCESSOR * peaks.processors);
    depth_s + multiplied_s + WIDE_LAUNCH_US * US
}

/// By the tile and split that are done first.
fn fastest_s(curve: &GemmCurve, peaks: &Peaks, gemm: &Gemm, memory_s: f64) -> f64 {
    let reduction_s = curve.split_passes * PARTIAL_SUM_BYTES * gemm.rows * gemm.columns / peaks.bytes_per_s;
    let tiles = TILES.map(|(height, width)| {
        let halvings = (LARGEST_TILE / (height * width)).log2() as i32;
        let s_per_depth = tile_s_per_depth(curve, peaks, height, width) / curve.halved_tile_share.powi(halvings);
        ((gemm.rows / height).ceil() * (gemm.columns / width).ceil(), s_per_depth)
    });
    let by_split_s = (0..=MOST_SPLITS).map(|doublings| {
        let parts = f64::from(1 << doublings);
        let depth = gemm.depth / parts;
        let whole_depth = depth + curve.tile_start_depth;
        let tiles_s = tiles.map(|(tiles, s_per_depth)| waves(curve, peaks, tiles * parts) * s_per_depth * whole_depth);
        let split_s =
            if doublings == 0 { 0.0 } else { reduction_s * parts + curve.split_us * US * f64::from(doublings) };
        let compute_s = tiles_s.into_iter().fold(f64::INFINITY, f64::min) + split_s;
        norm(at_lasting_clock_s(curve, compute_s), memory_s, curve.overlap_exponent) + depth_s(curve, depth)
    });
    by_split_s.fold(f64::INFINITY, f64::min)
}

/// What tiles take that would take so long at the clock of a burst.
fn at_lasting_clock_s(curve: &GemmCurve, burst_s: f64) -> f64 {
    if curve.long_slowdown == 0.0 {
        return burst_s;
    }
    burst_s * (1.0 + curve.long_slowdown * burst_s / (burst_s + HALF_SLOWED_US * US))
}

/// Latency of walking a depth.
fn depth_s(curve: &GemmCurve, depth: f64) -> f64 {
    curve.depth_ns * NS * depth
}

/// By the tile that so many rows take.
fn tiles_by_rows_s(curve: &GemmCurve, peaks: &Peaks, gemm: &Gemm) -> f64 {
    let has_room = |(most, ..): &&(f64, f64, f64, f64)| gemm.rows <= *most;
    let (_, block, height, width) = TILES_BY_ROWS.iter().find(has_room).expect("the last takes any number of rows");
    let tiles = (gemm.rows / block).ceil() * (block / height) * (gemm.columns / width).ceil();
    let s_per_depth = tile_s_per_depth(curve, peaks, *height, *width);
    waves(curve, peaks, tiles) * s_per_depth * (gemm.depth + curve.tile_start_depth)
}

/// Waves of so many tiles, the last counted as far as it makes others wait.
fn waves(curve: &GemmCurve, peaks: &Peaks, tiles: f64) -> f64 {
    let waves = tiles / peaks.processors;
    waves + curve.whole_wave_share * (waves.ceil() - waves)
}

/// What each element of the depth takes a multiprocessor, at the share of the largest tile.
fn tile_s_per_depth(curve: &GemmCurve, peaks: &Peaks, height: f64, width: f64) -> f64 {
    2.0 * height * width * peaks.processors / (peaks.flops_per_s * curve.compute_share)
}

/// Seconds of the routed experts of a layer.
#[must_use]
pub fn experts_s(curve: &ExpertsCurve, peaks: &Peaks, experts: &Experts) -> f64 {
    if experts.pairs <= 0.0 {
        return 0.0;
    }
    let is_tuned = experts.is_tuned || curve.untuned_factor == 0.0;
    let element_s = (curve.vector_ps * PS).max(VECTOR_PASSES * ACTIVATION_BYTES / peaks.bytes_per_s);
    // The factor of sizes that nobody tuned was fitted to all that they take beside weights and launch.
    let (slowdown, own_pairs) = if is_tuned { (1.0, experts.pairs) } else { (untuned_factor(curve, experts), 0.0) };
    let padded_inner = padded(experts.inner, curve.width_multiple);
    let padded = padded(experts.hidden, curve.hidden_multiple) * padded_inner;
    let compute_s = slowdown * padded * experts.flops / (peaks.flops_per_s * curve.compute_share);
    let weights_s = padded * experts.weight_bytes / (peaks.bytes_per_s * curve.memory_share);
    let vectors = own_pairs + ELSEWHERE_SHARE * experts.pairs_elsewhere;
    let elements = vectors * (experts.hidden + 2.0 * padded_inner * experts.inner);
    let experts_s = NS * (curve.expert_ns * experts.distinct + curve.held_expert_ns * experts.experts);
    norm(compute_s, weights_s, curve.overlap_exponent) + elements * element_s + experts_s + curve.launch_us * US
}

/// A width as kernels pad it, in widths; `multiple` is 0 where they do not.
fn padded(width: f64, multiple: f64) -> f64 {
    if multiple > 0.0 { (width / multiple).ceil() * multiple / width } else { 1.0 }
}

/// How many times longer the products of experts take in sizes that nobody tuned the kernels for. An expert's rows are
/// padded to whole tiles: of loads that are spread exponentially around their mean, `x` tiles, the mean number of tiles is
/// `1/(1 − e^(−1/x))`. What of the activations does not stay in L2 comes from memory, tile by tile.
fn untuned_factor(curve: &ExpertsCurve, experts: &Experts) -> f64 {
    let [few, many] = EXPERT_TILE_ROWS;
    let tile_rows = if experts.tokens <= experts.experts { few } else { many };
    let tiles_a_load = tile_rows * experts.distinct / experts.pairs;
    let padding = if tiles_a_load > 0.0 { tiles_a_load / -(-tiles_a_load).exp_m1() } else { 1.0 };
    let activation_mb = experts.tokens * experts.hidden * ACTIVATION_BYTES / BYTES_PER_MB;
    let uncached_share = if activation_mb > curve.cached_mb { 1.0 - curve.cached_mb / activation_mb } else { 0.0 };
    curve.untuned_factor * padding * (1.0 + curve.uncached_slowdown * uncached_share)
}

/// Distinct experts are counted as if so many tokens were routed uniformly.
#[must_use]
pub fn routed_tokens(routing_share: f64, tokens: f64) -> f64 {
    if tokens <= 1.0 || routing_share == 1.0 { tokens } else { 1.0 + (tokens - 1.0) * routing_share }
}

/// Seconds of the attention of prefill chunks.
#[must_use]
pub fn prefill_attention_s(curve: &PrefillAttentionCurve, peaks: &Peaks, work: &PrefillAttention) -> f64 {
    if work.tokens <= 0.0 {
        return 0.0;
    }
    let share = compute_share(curve, work.head_width);
    let flops = work.flops_per_pair * (work.pairs + 0.5 * QUERY_BLOCK * work.tokens);
    let bytes = work.query_bytes + curve.kv_passes * work.kv_bytes;
    let work_s = flops / (peaks.flops_per_s * share) + bytes / (peaks.bytes_per_s * curve.memory_share);
    let critical_path_s = curve.critical_path_ns * NS * work.longest_context;
    let writing_share = (work.key_width / MOST_WRITING_THREADS).min(1.0);
    work_s.max(critical_path_s)
        + curve.longest_context_ns * NS * work.longest_context
        + curve.kv_write_ns * NS * work.tokens * writing_share
        + curve.launch_us * US
}

impl PrefillAttention {
    /// Where it is on the grid of what its formula is off by: query blocks, the mean context of a token twice, width of a head.
    #[must_use]
    pub fn shape(&self) -> [f64; 3] {
        let heads = self.flops_per_pair / (4.0 * self.head_width);
        [heads * self.tokens / QUERY_BLOCK, 2.0 * self.pairs / self.tokens, self.head_width]
    }
}

/// The share of the peak that attention reaches with heads of this width.
#[must_use]
pub fn compute_share(curve: &PrefillAttentionCurve, head_width: f64) -> f64 {
    (curve.compute_share * (head_width / 128.0).powf(curve.head_width_exponent)).min(1.0)
}

/// Decode attention of a layer as a line over bytes.
#[must_use]
pub fn decode_attention(curve: &DecodeAttentionCurve, peaks: &Peaks, work: &DecodeAttention) -> DecodeAttentionLine {
    if work.sequences <= 0.0 {
        return DecodeAttentionLine { floor_s: 0.0, s_per_byte: 0.0 };
    }
    let heads = work.sequences * work.kv_heads;
    let narrow = |value: f64, otherwise: f64| if work.is_kv_narrow { value } else { otherwise };
    let bytes_per_s = peaks.bytes_per_s * curve.memory_share * narrow(curve.narrow_kv_share, 1.0);
    let heads_ns = curve.kv_head_ns * heads + curve.query_head_ns * work.sequences * work.query_heads;
    let scarcity = (curve.half_bandwidth_heads / heads).powf(curve.half_bandwidth_exponent);
    let spread_s_per_byte = (1.0 + scarcity) / bytes_per_s;
    let is_spread = work.is_kv_narrow && curve.narrow_kv_spread;
    let are_whole = curve.processor_bandwidth > 0.0 && !is_spread && heads >= curve.spread_heads * peaks.processors;
    DecodeAttentionLine {
        floor_s: curve.launch_us * US + heads_ns * NS + narrow_cache_s(curve, work),
        s_per_byte: if are_whole {
            spread_s_per_byte.max(whole_contexts_s_per_byte(curve, peaks, bytes_per_s, heads))
        } else {
            spread_s_per_byte
        },
    }
}

/// An 8-bit cache's own costs, beside prompts or not.
fn narrow_cache_s(curve: &DecodeAttentionCurve, work: &DecodeAttention) -> f64 {
    if !work.is_kv_narrow {
        return 0.0;
    }
    curve.narrow_kv_launch_us * US + curve.narrow_kv_head_ns * NS * work.sequences * work.kv_heads
}

/// Where each of `heads` contexts is walked by one multiprocessor: full rounds of them, and a last one.
fn whole_contexts_s_per_byte(curve: &DecodeAttentionCurve, peaks: &Peaks, bytes_per_s: f64, heads: f64) -> f64 {
    let walk_s = peaks.processors / (peaks.bytes_per_s * curve.processor_bandwidth);
    let in_round = CONTEXTS_AT_ONCE * peaks.processors;
    // Seconds of a round for each byte of a context.
    let round_s = |heads: f64| (heads / bytes_per_s).max((heads / peaks.processors).ceil() * walk_s);
    let full = (heads / in_round).floor();
    (full * round_s(in_round) + round_s(heads - full * in_round)) / heads
}

/// What decodes take in a step with prompts, beside the bytes: they may be tiles of the prompts' kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MixedDecodes {
    /// Whatever the context.
    pub floor_s: f64,
    /// Seconds of each context token that a tile walks, at least.
    pub walk_s_per_context_token: f64,
    /// How often the query heads of a group read their contexts.
    pub passes: f64,
    /// Bytes that all but the first of them find in the L2 cache.
    pub kept_bytes: f64,
}

impl MixedDecodes {
    /// Seconds that the passes take where one takes `pass_s`, at `s_per_byte`; less than that if the cache keeps all.
    #[must_use]
    pub fn passes_s(&self, pass_s: f64, s_per_byte: f64) -> f64 {
        self.passes * pass_s - (self.passes - 1.0) * self.kept_bytes * s_per_byte
    }
}

/// Query heads come one after the other, each over all sequences: those of a group that run at the same time share a pass.
fn passes(work: &DecodeAttention, processors: f64) -> f64 {
    let group = (work.query_heads / work.kv_heads).max(1.0);
    let heads_at_once = SEQUENCES_AT_ONCE * processors / work.sequences;
    (group / heads_at_once).clamp(1.0, group)
}

/// Decodes in a step whose longest chunk has `chunk_tokens`, which by themselves take `alone`.
#[must_use]
pub fn mixed_decodes(
    curve: &DecodeAttentionCurve,
    work: &DecodeAttention,
    alone: &DecodeAttentionLine,
    chunk_tokens: f64,
    processors: f64,
) -> MixedDecodes {
    let heads = work.sequences * work.query_heads;
    let idle_ns = curve.mixed_block_ns * heads * chunk_tokens / QUERY_BLOCK;
    let floor_s = if curve.mixed_head_ns > 0.0 {
        curve.mixed_head_ns * NS * heads + narrow_cache_s(curve, work)
    } else {
        alone.floor_s
    };
    MixedDecodes {
        floor_s: floor_s + idle_ns * NS,
        walk_s_per_context_token: curve.mixed_walk_ns * NS / work.sequences,
        passes: if curve.mixed_kept_mb > 0.0 { passes(work, processors) } else { 1.0 },
        kept_bytes: curve.mixed_kept_mb * BYTES_PER_MB * work.kv_heads,
    }
}

/// Seconds of `kernels` that stream `bytes` together.
#[must_use]
pub fn stream_s(curve: &StreamCurve, bytes_per_s: f64, kernels: f64, bytes: f64) -> f64 {
    if bytes <= 0.0 {
        return 0.0;
    }
    (kernels * curve.launch_us * US).hypot(bytes / (bytes_per_s * curve.memory_share))
}
