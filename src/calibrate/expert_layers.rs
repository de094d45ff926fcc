//! What lines say of layers of experts, and what a curve of them is fitted by.

use oracle_components::efficiency::ExpertsCurve;
use oracle_systems::costing::curves::{Experts, routed_tokens};

use super::gate;
use crate::measured::ExpertsLine;

/// Matrices of a gated MLP.
pub(super) const MATRICES: f64 = 3.0;

/// Coefficients that times tell.
pub(super) const COEFFICIENTS: [&str; 8] = [
    "compute_share",
    "memory_share",
    "overlap_exponent",
    "launch_us",
    "vector_ps",
    "untuned_factor",
    "cached_mb",
    "uncached_slowdown",
];

/// Distinct experts by the curve's own count.
pub(super) fn distinct(curve: &ExpertsCurve, work: &Experts) -> f64 {
    let miss = 1.0 - work.pairs / (work.tokens * work.experts);
    work.experts * (1.0 - miss.powf(routed_tokens(curve.routing_share, work.tokens)))
}

/// What a line says of a layer.
pub(super) struct Layer<'a> {
    /// Widths of a vector and inside an expert of those that are not gated.
    pub(super) two_matrices: &'a [[u32; 2]],
}

impl Layer<'_> {
    /// Of so many tokens, routed as the line says; of whole experts on ranks a rank's, which has its part of both.
    pub(super) fn work(&self, line: &ExpertsLine, tokens: u32, element_bytes: f64) -> Experts {
        let exponent = gate::exponent(&line.distribution);
        let is_gated = !self.two_matrices.contains(&[line.hidden, line.inter]);
        let matrices = if is_gated { MATRICES } else { 2.0 };
        let (hidden, inner) = (f64::from(line.hidden), f64::from(line.inter) / f64::from(line.tp));
        let ranks = f64::from(line.ep);
        let all_pairs = f64::from(tokens) * f64::from(line.topk);
        let (experts, pairs) = (f64::from(line.experts) / ranks, all_pairs / ranks);
        let evenly = || pairs.min(experts);
        let distinct =
            exponent.map_or_else(evenly, |exponent| gate::distinct_experts(exponent, tokens, line.experts, line.topk));
        let elements = matrices * hidden * inner;
        Experts {
            flops: 2.0 * pairs * elements,
            weight_bytes: distinct * elements * element_bytes,
            experts,
            distinct,
            tokens: f64::from(tokens),
            pairs,
            pairs_elsewhere: all_pairs - pairs,
            hidden,
            inner,
            is_tuned: true,
        }
    }
}
