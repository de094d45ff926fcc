//! Curves of routed experts out of layers measured alone: tokens routed as by a real gate, no expert parallelism (measured
//! on one GPU, it computes other tokens too). Held out by sizes and ranks.
//!
//! How many experts the tokens of a measurement reach is the benchmark's doing (`gate`), so times are fitted with those; the
//! curve's own count, which prices steps of a real gate, is fitted to them first.

use std::path::Path;

use oracle_components::efficiency::ExpertsCurve;
use oracle_systems::costing::curves::{Experts, experts_s};

use super::expert_kernels::fit_families;
use super::expert_layers::{COEFFICIENTS, Layer, MATRICES, distinct};
use super::fit::{Point, errors, fit, hold_out};
use super::{Calibration, Fitted, KernelFiles, MeasuredError, gate, starts};
use crate::measured::{ExpertsLine, REAL_GATE, Timed, read};

pub(super) fn fit_experts(
    files: &KernelFiles,
    calibration: &Calibration<'_>,
    fitted: &mut Fitted,
) -> Result<(), MeasuredError> {
    if let Some(path) = &files.expert_kernels {
        let lines: Vec<ExpertsLine> = read(path)?;
        let layer = Layer { two_matrices: &files.two_matrix_experts };
        if !fit_families(&lines, &layer, calibration, fitted) {
            let what = "experts without expert parallelism whose kernel_source names a known family".to_owned();
            return Err(MeasuredError::Nothing { path: path.clone(), what });
        }
    }
    let Some(path) = &files.experts else { return Ok(()) };
    let lines = routed_lines(path, files.experts_gpu.as_deref())?;
    let curves = &mut fitted.curves;
    let start = if curves.tuned_experts.is_empty() { starts::EXPERTS } else { starts::PARTLY_TUNED_EXPERTS };
    let eight_bit = calibration.device.peak_flops.fp8;
    // Blockwise: what checkpoints with 8-bit experts have.
    let sets = [
        ("experts", "bfloat16", calibration.peaks(None), 2.0, start, &mut curves.experts),
        ("experts_8bit", "fp8_block", calibration.peaks(eight_bit), 1.0, starts::EXPERTS, &mut curves.experts_8bit),
    ];
    for (name, dtype, peaks, element_bytes, start, curve) in sets {
        let points = points(&lines, dtype, element_bytes, &curves.tuned_experts);
        if points.is_empty() {
            continue;
        }
        let (known, held_out) = hold_out(&points);
        let reached = |point: &Point<Experts>| Point { measured_s: point.work.distinct, ..point.clone() };
        let counts: Vec<_> = known.iter().map(reached).collect();
        let start = fit(&start, &["routing_share"], &counts, calibration.most_points, distinct);
        let predict = |curve: &ExpertsCurve, work: &Experts| experts_s(curve, &peaks, work);
        *curve = fit(&start, &COEFFICIENTS, &known, calibration.most_points, predict);
        fitted.errors.push(errors(name, known.len(), &held_out, |work| predict(curve, work)));
    }
    Ok(())
}

/// Layers on this GPU without expert parallelism, routed by a gate of a known exponent.
fn routed_lines(path: &Path, gpu: Option<&str>) -> Result<Vec<(ExpertsLine, f64)>, MeasuredError> {
    let lines: Vec<ExpertsLine> = read(path)?;
    let is_wanted = |line: &ExpertsLine| {
        gpu.is_none_or(|gpu| gpu == line.gpu) && line.ep == 1 && line.distribution.starts_with(REAL_GATE)
    };
    let lines = lines.into_iter().filter(is_wanted);
    let lines: Vec<_> =
        lines.filter_map(|line| gate::exponent(&line.distribution).map(|exponent| (line, exponent))).collect();
    if lines.is_empty() {
        let what = format!("experts of {gpu:?} without expert parallelism, routed by a {REAL_GATE}_ and its exponent");
        return Err(MeasuredError::Nothing { path: path.to_owned(), what });
    }
    Ok(lines)
}

fn points(lines: &[(ExpertsLine, f64)], dtype: &str, element_bytes: f64, tuned: &[[u32; 2]]) -> Vec<Point<Experts>> {
    let lines = lines.iter().filter(|(line, _)| line.dtype == dtype);
    let points = lines.map(|(line, exponent)| Point {
        work: work(line, *exponent, element_bytes, tuned),
        key: [line.hidden, line.inter, line.experts, line.tp],
        measured_s: line.seconds(),
    });
    points.collect()
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
        pairs_elsewhere: 0.0,
        hidden,
        inner,
        is_tuned: tuned.contains(&[line.experts, inner as u32]),
    }
}

#[cfg(test)]
#[path = "../../tests/shared_files/mod.rs"]
mod shared_files;

#[cfg(test)]
mod tests {
    use oracle_systems::costing::curves::Peaks;

    use super::*;
    use crate::catalog::Catalog;

    /// The same chip with another memory: what a curve is worth on a device that it was not fitted to.
    #[test]
    fn an_h200_is_predicted_by_the_curve_of_an_h100() {
        let Some(path) = shared_files::shared("data/kernels/moe_vllm.csv") else { return };
        let catalog = Catalog::builtin();
        let device = catalog.device("H200").expect("a catalog device");
        let curves = &device.curves.curves;
        let calibration = Calibration {
            device: &device.spec,
            processors: curves.processors,
            layers_model: &catalog.model("Llama3.1-8B").expect("a catalog model").architecture,
            most_points: usize::MAX,
            l2_bytes: 50e6,
            cached_weight_bytes: 0.0,
        };
        let lines = routed_lines(&path, Some("h200_sxm")).expect("it was measured");
        let sets = [
            ("bfloat16", calibration.peaks(None), 2.0, curves.experts),
            ("fp8_block", calibration.peaks(device.spec.peak_flops.fp8), 1.0, curves.experts_8bit),
        ];
        for (dtype, peaks, element_bytes, curve) in sets {
            let points = points(&lines, dtype, element_bytes, &curves.tuned_experts);
            let error = errors(dtype, 0, &points, |work| experts_s(&curve, &peaks, work));
            println!("H200 by the H100's curve: {error:?}");
            assert!(error.median_pct < 6.0 && error.p90_pct < 15.0, "{error:?}");
        }
    }

    /// Whole experts on ranks, each with all tokens: what a rank takes, of tokens that are spread evenly.
    #[test]
    fn a_rank_with_whole_experts_takes_what_was_measured() {
        let Some(path) = shared_files::shared("data/kernels/moe_vllm.csv") else { return };
        let catalog = Catalog::builtin();
        let lines: Vec<ExpertsLine> = read(&path).expect("it is there");
        for (name, gpu) in [("H100", "h100_sxm"), ("H200", "h200_sxm")] {
            let device = catalog.device(name).expect("a catalog device");
            let peaks = Peaks {
                flops_per_s: device.spec.peak_flops.bf16.expect("it has a peak"),
                bytes_per_s: device.spec.memory_bytes_per_s,
                processors: device.curves.curves.processors,
            };
            let is_of_rank = |line: &&ExpertsLine| {
                line.gpu == gpu && line.dtype == "bfloat16" && line.ep > 1 && line.distribution == "balanced"
            };
            let points: Vec<_> = lines
                .iter()
                .filter(is_of_rank)
                .map(|line| {
                    let key = [line.hidden, line.inter, line.experts, line.ep];
                    Point { work: of_rank(line), key, measured_s: line.seconds() }
                })
                .collect();
            let error = errors(name, 0, &points, |work| experts_s(&device.curves.curves.experts, &peaks, work));
            println!("a rank with whole experts: {error:?}");
            assert!(error.median_pct < 10.0 && error.p90_pct < 25.0, "{error:?}");
        }
    }

    fn of_rank(line: &ExpertsLine) -> Experts {
        let all = work(line, 2.0, 2.0, &[]);
        let share = f64::from(line.ep).recip();
        let (experts, pairs) = (share * all.experts, share * all.pairs);
        let distinct = experts.min(pairs);
        Experts {
            flops: share * all.flops,
            weight_bytes: 2.0 * MATRICES * all.hidden * all.inner * distinct,
            experts,
            distinct,
            pairs,
            pairs_elsewhere: all.pairs - pairs,
            ..all
        }
    }
}
