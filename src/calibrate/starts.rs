//! Where the search for coefficients starts: about what GPUs of the data centre come to. The same for every device, so that a
//! fit depends on its measurements alone.

use oracle_components::efficiency::{
    DecodeAttentionCurve, ExpertsCurve, GemmCurve, PrefillAttentionCurve, StreamCurve, Tiling,
};

/// A product in 16 bits: nothing to quantise.
pub(super) const GEMM: GemmCurve = GemmCurve {
    tiling: Tiling::Searched,
    compute_share: 0.85,
    halved_tile_share: 0.9,
    whole_wave_share: 0.8,
    memory_share: 0.85,
    reread_passes: 0.1,
    overlap_exponent: 4.0,
    launch_us: 3.5,
    depth_ns: 0.2,
    tile_start_depth: 150.0,
    long_slowdown: 0.2,
    split_us: 0.6,
    split_passes: 0.5,
    quantise_passes: 0.0,
    quantise_row_ns: 0.0,
    host_us: 0.0,
};

pub(super) const GEMM_8BIT: GemmCurve = GemmCurve {
    tiling: Tiling::ByRows,
    halved_tile_share: 1.0,
    long_slowdown: 0.0,
    split_us: 0.0,
    split_passes: 0.0,
    quantise_passes: 3.0,
    quantise_row_ns: 5.0,
    ..GEMM
};

/// Kernels that take scales block by block were launched from Python when they were measured.
pub(super) const GEMM_8BIT_BLOCK: GemmCurve = GemmCurve { host_us: 100.0, ..GEMM_8BIT };

pub(super) const GEMM_4BIT: GemmCurve = GEMM_8BIT;

/// Of products: from `start`, and from where roofs overlap more, or no product slows down as well; of those whose kernels go
/// by the rows, from where they do not, too.
pub(super) fn gemms(start: &GemmCurve) -> Vec<GemmCurve> {
    let GemmCurve { split_us, split_passes, long_slowdown, .. } = GEMM;
    let searched = GemmCurve { tiling: Tiling::Searched, halved_tile_share: 0.9, split_us, split_passes, ..*start };
    let mut starts = Vec::new();
    for start in if *start == searched { vec![searched] } else { vec![*start, searched] } {
        let overlapping = GemmCurve { overlap_exponent: 2.0 * start.overlap_exponent, ..start };
        let steady = GemmCurve { long_slowdown: 0.0, ..overlapping };
        let slowing = GemmCurve { long_slowdown, ..overlapping };
        starts.extend([start, steady, slowing]);
    }
    starts
}

pub(super) const EXPERTS: ExpertsCurve = ExpertsCurve {
    compute_share: 0.7,
    memory_share: 0.85,
    overlap_exponent: 1.6,
    launch_us: 30.0,
    routing_share: 0.7,
    vector_ps: 3.0,
    expert_ns: 0.0,
    held_expert_ns: 0.0,
    width_multiple: 0.0,
    hidden_multiple: 0.0,
    untuned_factor: 0.0,
    cached_mb: 0.0,
    uncached_slowdown: 0.0,
};

/// Where some sizes are tuned and others are not.
pub(super) const PARTLY_TUNED_EXPERTS: ExpertsCurve =
    ExpertsCurve { untuned_factor: 1.5, cached_mb: 40.0, uncached_slowdown: 0.5, ..EXPERTS };

pub(super) const PREFILL_ATTENTION: PrefillAttentionCurve = PrefillAttentionCurve {
    compute_share: 0.65,
    head_width_exponent: 0.25,
    memory_share: 0.6,
    kv_passes: 2.0,
    launch_us: 12.0,
    longest_context_ns: 1.0,
    critical_path_ns: 15.0,
    kv_write_ns: 4.0,
};

/// Coefficients of prefill attention that heads of the usual width tell.
pub(super) const PREFILL_COEFFICIENTS: [&str; 7] = [
    "compute_share",
    "memory_share",
    "kv_passes",
    "launch_us",
    "longest_context_ns",
    "critical_path_ns",
    "kv_write_ns",
];

pub(super) const DECODE_ATTENTION: DecodeAttentionCurve = DecodeAttentionCurve {
    memory_share: 0.85,
    narrow_kv_share: 0.85,
    narrow_kv_spread: false,
    half_bandwidth_heads: 1.0,
    half_bandwidth_exponent: 0.9,
    launch_us: 13.0,
    kv_head_ns: 9.0,
    query_head_ns: 0.5,
    narrow_kv_launch_us: 2.0,
    narrow_kv_head_ns: 10.0,
    processor_bandwidth: 0.0,
    spread_heads: 0.0,
    mixed_rows: 64.0,
    mixed_block_ns: 4.0,
    mixed_head_ns: 30.0,
    mixed_walk_ns: 20.0,
    mixed_kept_mb: 50.0,
};

/// FlashAttention 2 splits contexts only where the heads of a group are one tile, and only as long as that does not fill two
/// tiles a multiprocessor by four fifths.
pub(super) const fn whole_contexts(start: DecodeAttentionCurve, is_multi_head: bool) -> DecodeAttentionCurve {
    let (spread_heads, half_bandwidth_heads) = if is_multi_head { (0.0, 0.0) } else { (1.6, 1.0) };
    DecodeAttentionCurve { processor_bandwidth: 1.2, spread_heads, half_bandwidth_heads, ..start }
}

/// Coefficients of decode attention that batches without prompts and with a 16-bit cache tell.
pub(super) const DECODE_COEFFICIENTS: [&str; 7] = [
    "memory_share",
    "half_bandwidth_heads",
    "half_bandwidth_exponent",
    "launch_us",
    "kv_head_ns",
    "query_head_ns",
    "processor_bandwidth",
];

/// Those that batches with an 8-bit cache tell.
pub(super) const NARROW_COEFFICIENTS: [&str; 3] = ["narrow_kv_share", "narrow_kv_launch_us", "narrow_kv_head_ns"];

/// Those that batches with prompts tell.
pub(super) const MIXED_COEFFICIENTS: [&str; 5] =
    ["mixed_rows", "mixed_block_ns", "mixed_head_ns", "mixed_walk_ns", "mixed_kept_mb"];

pub(super) const STREAM: StreamCurve = StreamCurve { launch_us: 5.0, memory_share: 0.9 };
