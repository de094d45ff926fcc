//! Curves of routed experts by what their weights are and by family of kernels, out of layers whose lines name the kernel
//! that vLLM took. As in `experts`, without expert parallelism and held out by sizes and ranks; all ways to route count. A family
//! that vLLM takes for whole experts on ranks alone is fitted to those, where tokens are spread evenly: else it is not known how
//! many a rank has.

use std::collections::BTreeMap;

use oracle_components::device::PeakFlops;
use oracle_components::efficiency::{Correction, ExpertFamily, ExpertsCurve};
use oracle_systems::costing::corrections::Corrected;
use oracle_systems::costing::curves::{Experts, Peaks, experts_s};
use oracle_systems::costing::experts_correction;

use super::corrections::{Residue, fit_correction};
use super::expert_layers::{COEFFICIENTS, Layer, distinct};
use super::fit::{Point, error_of, fit, fit_from_each, hold_out};
use super::{Calibration, Fitted, gate, starts};
use crate::measured::{ExpertsLine, Timed};

/// How the benchmark calls tokens that go to all experts alike.
const EVENLY: &str = "balanced";
/// Sizes with fewer measurements, to fit to or to try on, tell nothing.
const FEWEST_POINTS: usize = 20;
/// Where the search for what each held expert costs starts.
const HELD_EXPERT_NS: f64 = 20.0;
/// What the width inside an expert may be padded to.
const WIDTH_MULTIPLES: [f64; 4] = [0.0, 64.0, 128.0, 256.0];

/// Kinds of weights that are fitted: bytes of one, scales included, and the peak at which it is multiplied.
type Kind = (&'static str, f64, fn(&PeakFlops) -> Option<f64>);
const KINDS: [Kind; 7] = [
    ("bfloat16", 2.0, |peaks| peaks.bf16),
    ("fp8", 1.0, |peaks| peaks.fp8),
    ("fp8_block", 1.0, |peaks| peaks.fp8),
    ("nvfp4", 0.5 + 1.0 / 16.0, |peaks| peaks.fp4),
    ("w4a16_mxfp4", 0.5 + 1.0 / 32.0, |peaks| peaks.bf16),
    ("w4a8_mxfp4_mxfp8", 0.5 + 1.0 / 32.0, |peaks| peaks.fp8),
    ("int4_wo", 0.5 + 2.0 / 32.0, |peaks| peaks.bf16),
];

/// What the width of a token is padded to (vLLM's `layers/quantization/mxfp4.py` and `fused_moe/layer.py`).
fn hidden_multiple(kind: &str, family: ExpertFamily) -> f64 {
    let is_mxfp4 = kind.contains("mxfp4");
    if is_mxfp4 && matches!(family, ExpertFamily::Trtllm | ExpertFamily::Marlin) { 256.0 } else { 0.0 }
}

/// The family of a kernel, by the name that the benchmark gives it.
fn family(kernel: &str) -> Option<ExpertFamily> {
    let of_name = [
        ("trtllm", ExpertFamily::Trtllm),
        ("marlin", ExpertFamily::Marlin),
        ("cutlass", ExpertFamily::Cutlass),
        ("triton", ExpertFamily::Triton),
    ];
    of_name.into_iter().find(|(word, _)| kernel.contains(word)).map(|(_, family)| family)
}

/// Fits every kind and family that lines name; whether there was any.
pub(super) fn fit_families(
    lines: &[ExpertsLine],
    layer: &Layer<'_>,
    calibration: &Calibration<'_>,
    fitted: &mut Fitted,
) -> bool {
    let mut is_any = false;
    for (kind, weight_bytes, peak) in KINDS {
        let Some(flops_per_s) = peak(&calibration.device.peak_flops) else { continue };
        let divided = by_family(lines.iter().filter(|line| line.dtype == kind && line.ep == 1));
        let routed: Vec<&ExpertsLine> = divided.values().flatten().copied().collect();
        let is_spread = |line: &&ExpertsLine| line.dtype == kind && line.ep > 1 && line.distribution == EVENLY;
        let mut families = by_family(lines.iter().filter(is_spread));
        families.extend(divided);
        for (family, of_family) in families {
            let peaks = calibration.peaks(Some(flops_per_s));
            let kin = kin_of(family, kind, lines);
            let hidden_multiple = hidden_multiple(kind, family);
            let measured =
                Measured { layer, weight_bytes, peaks, hidden_multiple, lines: of_family, routed: &routed, kin };
            let name = experts_correction(kind, family);
            if let Some((curve, correction)) = measured.fit(&name, calibration, fitted) {
                fitted.curves.expert_kernels.entry(kind.to_owned()).or_default().insert(family, curve);
                fitted.curves.corrections.insert(name, correction);
                is_any = true;
            }
        }
    }
    is_any
}

fn by_family<'a>(lines: impl Iterator<Item = &'a ExpertsLine>) -> BTreeMap<ExpertFamily, Vec<&'a ExpertsLine>> {
    let mut by_family: BTreeMap<ExpertFamily, Vec<&ExpertsLine>> = BTreeMap::new();
    for line in lines {
        if let Some(family) = line.kernel_source.as_deref().and_then(family) {
            by_family.entry(family).or_default().push(line);
        }
    }
    by_family
}

/// Lines of other kinds that the same kernels compute, and bytes of a weight: Marlin widens whatever is narrow, so that all of it
/// tells of what it takes beside weights.
fn kin_of<'a>(of: ExpertFamily, kind: &str, lines: &'a [ExpertsLine]) -> Vec<(&'a ExpertsLine, f64)> {
    let others = KINDS.iter().filter(|(other, ..)| of == ExpertFamily::Marlin && *other != kind);
    let lines_of = |(other, weight_bytes, _): &'static Kind| {
        let is_kin = move |line: &&ExpertsLine| {
            line.dtype == *other && line.ep == 1 && line.kernel_source.as_deref().and_then(family) == Some(of)
        };
        lines.iter().filter(is_kin).map(move |line| (line, *weight_bytes))
    };
    others.flat_map(lines_of).collect()
}

/// Layers of one kind and family.
struct Measured<'a> {
    layer: &'a Layer<'a>,
    weight_bytes: f64,
    peaks: Peaks,
    hidden_multiple: f64,
    lines: Vec<&'a ExpertsLine>,
    /// Those of the kind, of whichever family, that are routed without expert parallelism.
    routed: &'a [&'a ExpertsLine],
    /// What else tells what held experts cost.
    kin: Vec<(&'a ExpertsLine, f64)>,
}

impl Measured<'_> {
    fn fit(
        &self,
        name: &str,
        calibration: &Calibration<'_>,
        fitted: &mut Fitted,
    ) -> Option<(ExpertsCurve, Correction)> {
        let points: Vec<Point<(Experts, &ExpertsLine)>> = self.lines.iter().map(|line| self.point(line)).collect();
        let (known, held_out) = hold_out(&points);
        if known.len().min(held_out.len()) < FEWEST_POINTS {
            return None;
        }
        let is_gated = |point: &&Point<(Experts, &ExpertsLine)>| gate::exponent(&point.work.1.distribution).is_some();
        let of_kind: Vec<_> = self.routed.iter().map(|line| self.point(line)).collect();
        let gated = if known.iter().any(|point| is_gated(&point)) { &known } else { &of_kind };
        let routed: Vec<_> = gated
            .iter()
            .filter(is_gated)
            .map(|point| Point { work: point.work.0, key: point.key, measured_s: point.work.0.distinct })
            .collect();
        let start = fit(&starts::EXPERTS, &["routing_share"], &routed, calibration.most_points, distinct);
        let start = ExpertsCurve { expert_ns: 50.0, hidden_multiple: self.hidden_multiple, ..start };
        let predict = |curve: &ExpertsCurve, work: &(Experts, &ExpertsLine)| experts_s(curve, &self.peaks, &work.0);
        let from = |held_expert_ns: f64, points: &[Point<(Experts, &ExpertsLine)>], kept: &[&str]| {
            let starts = WIDTH_MULTIPLES.map(|width_multiple| ExpertsCurve { width_multiple, held_expert_ns, ..start });
            let keeps: Vec<&str> = ["routing_share", "width_multiple", "hidden_multiple"]
                .into_iter()
                .chain(COEFFICIENTS.into_iter().filter(|name| name.contains("cached") || name.contains("tuned")))
                .chain(kept.iter().copied())
                .collect();
            fit_from_each(starts, &keeps, points, calibration.most_points, predict)
        };
        // Sizes of one kind may all have as many experts: with those of kin it is known what each costs.
        let kin: Vec<_> = self.kin.iter().map(|(line, weight_bytes)| self.point_of(line, *weight_bytes)).collect();
        let held_expert_ns = match kin.is_empty() {
            true => 0.0,
            false => from(HELD_EXPERT_NS, &[known.clone(), hold_out(&kin).0].concat(), &[]).held_expert_ns,
        };
        let curve = from(held_expert_ns, &known, &["held_expert_ns"]);
        let residue = |point: &Point<(Experts, &ExpertsLine)>| {
            let work = &point.work.0;
            let logarithm = (point.measured_s / predict(&curve, &point.work)).ln();
            Residue::new(Correction::EXPERTS, [work.tokens, work.inner, work.experts], logarithm)
        };
        let correction = fit_correction(known.iter().map(residue).collect());
        let ratios = held_out.iter().map(|point| self.corrected_s(&curve, &correction, point) / point.measured_s);
        fitted.errors.push(error_of(name, known.len(), ratios.collect()));
        Some((curve, correction))
    }

    fn point<'b>(&self, line: &'b ExpertsLine) -> Point<(Experts, &'b ExpertsLine)> {
        self.point_of(line, self.weight_bytes)
    }

    fn point_of<'b>(&self, line: &'b ExpertsLine, weight_bytes: f64) -> Point<(Experts, &'b ExpertsLine)> {
        Point {
            work: (self.layer.work(line, line.tokens, weight_bytes), line),
            key: [line.hidden, line.inter, line.experts, line.tp * line.ep],
            measured_s: line.seconds(),
        }
    }

    fn corrected_s(
        &self,
        curve: &ExpertsCurve,
        correction: &Correction,
        point: &Point<(Experts, &ExpertsLine)>,
    ) -> f64 {
        let (work, line) = &point.work;
        let formula_s =
            |tokens: f64| experts_s(curve, &self.peaks, &self.layer.work(line, tokens as u32, self.weight_bytes));
        Corrected::new(correction, Correction::EXPERTS, [work.inner, work.experts], formula_s)
            .seconds(work.tokens, formula_s(work.tokens))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_belongs_to_the_family_that_its_name_says() {
        let of = |name| family(name).map(|family| format!("{family:?}"));
        for (name, expected) in [
            ("unquantizedfusedmoe_triton_tritonexperts", "Triton"),
            ("modeloptfp8moe_flashinfer_cutlass_flashinferexperts", "Cutlass"),
            ("fp8moe_flashinfer_trtllm_trtllmfp8expertsmonolithic", "Trtllm"),
            ("gptossmxfp4moe_marlin_marlinexperts", "Marlin"),
        ] {
            assert_eq!(of(name).as_deref(), Some(expected));
        }
        assert_eq!(of("aiter"), None);
    }
}
