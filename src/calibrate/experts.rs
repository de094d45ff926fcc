//! Curves of routed experts out of layers measured alone: tokens routed as by a real gate, no expert parallelism (measured
//! on one GPU, it computes other tokens too). Held out by sizes and ranks.
//!
//! How many experts the tokens of a measurement reach is the benchmark's doing (`gate`), so times are fitted with those; the
//! curve's own count, which prices steps of a real gate, is fitted to them first.

use oracle_components::efficiency::ExpertsCurve;
use oracle_systems::costing::curves::{Experts, experts_s, routed_tokens};

use super::fit::{Point, errors, fit, hold_out};
use super::{Calibration, Fitted, KernelFiles, MeasuredError, gate, starts};
use crate::measured::{ExpertsLine, REAL_GATE, Timed, read};

/// Matrices of a gated MLP.
const MATRICES: f64 = 3.0;

pub(super) fn fit_experts(
    files: &KernelFiles,
    calibration: &Calibration<'_>,
    fitted: &mut Fitted,
) -> Result<(), MeasuredError> {
    let Some(path) = &files.experts else { return Ok(()) };
    let lines: Vec<ExpertsLine> = read(path)?;
    let gpu = |line: &ExpertsLine| files.experts_gpu.as_ref().is_none_or(|gpu| *gpu == line.gpu);
    let lines: Vec<_> = lines
        .into_iter()
        .filter(|line| gpu(line) && line.ep == 1 && line.distribution.starts_with(REAL_GATE))
        .filter_map(|line| gate::exponent(&line.distribution).map(|exponent| (line, exponent)))
        .collect();
    if lines.is_empty() {
        let gpu = &files.experts_gpu;
        let what = format!("experts of {gpu:?} without expert parallelism, routed by a {REAL_GATE}_ and its exponent");
        return Err(MeasuredError::Nothing { path: path.clone(), what });
    }
    let curves = &mut fitted.curves;
    let start = if curves.tuned_experts.is_empty() { starts::EXPERTS } else { starts::PARTLY_TUNED_EXPERTS };
    let eight_bit = calibration.device.peak_flops.fp8;
    // Blockwise: what checkpoints with 8-bit experts have.
    let sets = [
        ("experts", "bfloat16", calibration.peaks(None), 2.0, start, &mut curves.experts),
        ("experts_8bit", "fp8_block", calibration.peaks(eight_bit), 1.0, starts::EXPERTS, &mut curves.experts_8bit),
    ];
    for (name, dtype, peaks, element_bytes, start, curve) in sets {
        let lines = lines.iter().filter(|(line, _)| line.dtype == dtype);
        let points: Vec<_> = lines
            .map(|(line, exponent)| Point {
                work: work(line, *exponent, element_bytes, &curves.tuned_experts),
                key: [line.hidden, line.inter, line.experts, line.tp],
                measured_s: line.seconds(),
            })
            .collect();
        if points.is_empty() {
            continue;
        }
        let (known, held_out) = hold_out(&points);
        let reached = |point: &Point<Experts>| Point { measured_s: point.work.distinct, ..point.clone() };
        let counts: Vec<_> = known.iter().map(reached).collect();
        let start = fit(&start, &["routing_share"], &counts, calibration.most_points, distinct);
        let predict = |curve: &ExpertsCurve, work: &Experts| experts_s(curve, &peaks, work);
        *curve = fit(&start, &COEFFICIENTS, &known, calibration.most_points, predict);
        fitted.errors.push(errors(name, &held_out, |work| predict(curve, work)));
    }
    Ok(())
}

/// Coefficients that times tell.
const COEFFICIENTS: [&str; 8] = [
    "compute_share",
    "memory_share",
    "overlap_exponent",
    "launch_us",
    "vector_passes",
    "untuned_slowdown",
    "cached_mb",
    "uncached_delay",
];

/// Distinct experts by the curve's own count.
fn distinct(curve: &ExpertsCurve, work: &Experts) -> f64 {
    let miss = 1.0 - work.pairs / (work.tokens * work.experts);
    work.experts * (1.0 - miss.powf(routed_tokens(curve.routing_share, work.tokens)))
}

fn work(line: &ExpertsLine, exponent: f64, element_bytes: f64, tuned: &[[u32; 2]]) -> Experts {
    let (tokens, hidden) = (f64::from(line.tokens), f64::from(line.hidden));
    let inner = f64::from(line.inter) / f64::from(line.tp);
    let pairs = tokens * f64::from(line.topk);
    let distinct = gate::distinct_experts(exponent, line.tokens, line.experts, line.topk);
    let elements = MATRICES * hidden * inner;
    Experts {
        flops: 2.0 * pairs * elements,
        weight_bytes: distinct * elements * element_bytes,
        experts: f64::from(line.experts),
        distinct,
        tokens,
        pairs,
        hidden,
        inner,
        is_tuned: tuned.contains(&[line.experts, inner as u32]),
    }
}
