//! What a decode-attention curve takes over from another, where its own measurements do not tell.

use oracle_components::efficiency::DecodeAttentionCurve;

/// A curve with what an 8-bit KV cache costs by another.
pub(super) const fn with_narrow_of(
    mut curve: DecodeAttentionCurve,
    other: &DecodeAttentionCurve,
) -> DecodeAttentionCurve {
    curve.narrow_kv_share = other.narrow_kv_share;
    curve.narrow_kv_spread = other.narrow_kv_spread;
    curve.narrow_kv_launch_us = other.narrow_kv_launch_us;
    curve.narrow_kv_head_ns = other.narrow_kv_head_ns;
    curve
}

/// Takes what decodes take beside prompts from another curve, at `processor_ratio` times as many multiprocessors: they
/// divide tiles among them, and each walks a context as fast.
pub fn take_over_mixed(curve: &mut DecodeAttentionCurve, other: &DecodeAttentionCurve, processor_ratio: f64) {
    let divided_ns = |ns: f64| (ns / processor_ratio * 1e3).round() / 1e3;
    curve.mixed_rows = other.mixed_rows;
    curve.mixed_block_ns = divided_ns(other.mixed_block_ns);
    curve.mixed_head_ns = divided_ns(other.mixed_head_ns);
    curve.mixed_walk_ns = other.mixed_walk_ns;
    curve.mixed_kept_mb = other.mixed_kept_mb;
}
