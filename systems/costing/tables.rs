//! Kernels priced by a user's own measurements, on top of the efficiency curves.
//!
//! - **By rows** (products, streams, sampler, experts): what was measured at measured rows. Between two of them the time goes
//!   the way of the curve: as far, in logarithms, from one to the other as the curve has come. So it grows with the rows
//!   wherever the measurements do. Beyond the first and the last it is the curve times what that one is off by.
//! - **Products of a shape that was not measured**: at each number of rows that the nearest shapes with weights as wide were
//!   measured at, the curve times what these are off by, the nearer the more; but no less than at the number before, unless they
//!   took less themselves. Elsewhere as if that had been measured. So it grows with the rows wherever these do.
//! - **Attention**: `attention_tables`.
//! - **What lasts**: where a table's large products reached more than its device sustains, all that multiplies takes as much longer as
//!   the curve does at what is sustained.
//!
//! No price is below the roofs of the peaks, whatever was measured: who asks takes the larger (`stage_curves`).

use std::collections::BTreeSet;
use std::sync::Arc;

use oracle_components::efficiency::GemmCurve;
use oracle_components::kernel_times::{KernelTimes, RowKernel, RowTimes};

use super::curves::{Gemm, Peaks, gemm_s};
use super::operator::{KernelKind, Operator, Precision};
use super::roofline;
use super::shape::Feature;

/// Shapes that a product of another shape is compared with, and how far each of their sides may be off, as a factor.
const NEIGHBOURS: usize = 4;
const FARTHEST: f64 = 4.0;
/// Two figures that are one, out of different formulas.
const SAME: f64 = 1e-9;
/// Matrices of the experts that are measured.
const EXPERT_MATRICES: f64 = 3.0;
/// Bytes of an activation; products are measured with such.
const ACTIVATION_BYTES: f64 = 2.0;

/// A device's measurements, for an engine that has this share of the device.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) times: Arc<KernelTimes>,
    pub(crate) gpu_share: f64,
}

/// The same measurements, mostly by being the same object.
impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        self.gpu_share == other.gpu_share && (Arc::ptr_eq(&self.times, &other.times) || self.times == other.times)
    }
}

/// What the curve says of a layer of an operator at so many rows.
pub(crate) struct ByCurve<'a> {
    /// Its seconds.
    pub(crate) seconds: &'a dyn Fn(&Operator, u32) -> f64,
    /// How much longer it takes at what lasts than it did when the table was measured.
    pub(crate) slowdown: &'a dyn Fn(&Operator, u32) -> f64,
}

/// What is known of an operator.
pub(crate) enum Known<'a> {
    Measured(&'a RowTimes),
    /// Of products like it: each with its weight; the weights sum to 1.
    Neighbours(Vec<(f64, &'a RowTimes)>),
    Nothing,
}

impl Table {
    /// What is known of an operator of a model with so many routed experts.
    pub(crate) fn known(&self, operator: &Operator, experts: f64) -> Known<'_> {
        if !matches!(operator.flops.feature, Feature::Pass | Feature::Tokens | Feature::SampledRows) {
            return Known::Nothing;
        }
        let measured = |times: &&RowTimes| is_kernel_of(&times.kernel, operator, experts);
        match self.times.by_rows.iter().find(measured) {
            Some(times) => Known::Measured(times),
            None => self.neighbours(operator),
        }
    }

    /// Seconds of one layer of an operator by ascending rows, measured or as measured products near it say; empty if neither
    /// is known.
    pub(crate) fn by_rows(&self, operator: &Operator, experts: f64, curve: &ByCurve<'_>) -> Vec<(u32, f64)> {
        match self.known(operator, experts) {
            Known::Measured(times) => self.lasting(operator, times, curve),
            Known::Neighbours(neighbours) => self.corrected(operator, &neighbours, curve),
            Known::Nothing => Vec::new(),
        }
    }

    fn lasting(&self, operator: &Operator, times: &RowTimes, curve: &ByCurve<'_>) -> Vec<(u32, f64)> {
        let took_s = |(rows, took_s): &(u32, f64)| (*rows, took_s * (curve.slowdown)(operator, *rows) / self.gpu_share);
        times.seconds.iter().map(took_s).collect()
    }

    /// Of the FLOP/s that its products reached, in 8 bits or not, what lasts, if the curve's fastest reached `fastest` and
    /// `sustained` of that lasts.
    pub(crate) fn lasting_share(&self, is_8bit: bool, peak: f64, fastest: f64, sustained: f64) -> f64 {
        if sustained >= 1.0 {
            return 1.0;
        }
        let reached = self.times.fastest_flops_per_s[usize::from(is_8bit)];
        reached.map_or(1.0, |reached| (sustained * fastest * peak / (reached * self.gpu_share)).min(1.0))
    }

    fn corrected(&self, operator: &Operator, neighbours: &[(f64, &RowTimes)], curve: &ByCurve<'_>) -> Vec<(u32, f64)> {
        let curve_s = curve.seconds;
        let measured: BTreeSet<u32> =
            neighbours.iter().flat_map(|(_, times)| times.seconds.iter().map(|(rows, _)| *rows)).collect();
        let neighbours: Vec<_> = neighbours
            .iter()
            .map(|(weight, times)| {
                let like = product_like(operator, &times.kernel);
                (*weight, like, self.lasting(&like, times, curve))
            })
            .collect();
        // Logarithms of what they took on average, measured and by curve.
        let took = |rows: u32| -> [f64; 2] {
            let took = neighbours.iter().map(|(weight, like, seconds)| {
                let by_curve_s = |rows| curve_s(like, rows);
                [along(seconds, rows, by_curve_s), by_curve_s(rows)].map(|took_s| weight * took_s.ln())
            });
            took.fold([0.0; 2], |sums, took| [sums[0] + took[0], sums[1] + took[1]])
        };
        let corrected = measured.into_iter().scan((f64::NEG_INFINITY, 0.0), |(before, before_s), rows| {
            let [measured, by_curve] = took(rows);
            let took_s = curve_s(operator, rows) * (measured - by_curve).exp();
            *before_s = if measured < *before - SAME { took_s } else { f64::max(*before_s, took_s) };
            *before = measured;
            Some((rows, *before_s))
        });
        corrected.collect()
    }

    fn neighbours(&self, operator: &Operator) -> Known<'_> {
        let KernelKind::Gemm { depth, columns } = operator.kind else { return Known::Nothing };
        let width = weight_bytes(operator, depth, columns);
        let mut near: Vec<(f64, &RowTimes)> = self
            .times
            .by_rows
            .iter()
            .filter_map(|times| {
                let RowKernel::Product { columns: n, depth: k, weight_bytes } = times.kernel else { return None };
                let (across, along) = ((n / columns).ln().abs(), (k / depth).ln().abs());
                let is_near = is_same(weight_bytes, width) && across.max(along) <= FARTHEST.ln();
                is_near.then(|| (across.hypot(along), times))
            })
            .collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0));
        near.truncate(NEIGHBOURS);
        let weight = |distance: f64| distance.powi(-2);
        let sum: f64 = near.iter().map(|(distance, _)| weight(*distance)).sum();
        if near.is_empty() {
            return Known::Nothing;
        }
        Known::Neighbours(near.into_iter().map(|(distance, times)| (weight(distance) / sum, times)).collect())
    }
}

/// Seconds of a single product of `rows` rows with weights of `columns` × `depth` by measurements, as in a step; for whoever
/// compares them with a curve.
#[must_use]
pub fn measured_product_s(
    times: &Arc<KernelTimes>,
    (curve, peaks): (&GemmCurve, &Peaks),
    (columns, depth, weight_bytes): (f64, f64, f64),
    rows: u32,
) -> f64 {
    let table = Table { times: Arc::clone(times), gpu_share: 1.0 };
    let bytes = |operator: &Operator, rows: f64| operator.bytes[0].amount + operator.bytes[1].amount * rows;
    let roof_s = |operator: &Operator, rows: f64| {
        roofline(operator.flops.amount * rows / peaks.flops_per_s, bytes(operator, rows) / peaks.bytes_per_s)
    };
    let by_curve_s = |operator: &Operator, rows: u32| {
        let KernelKind::Gemm { depth, columns } = operator.kind else { return 0.0 };
        let rows = f64::from(rows);
        gemm_s(curve, peaks, &Gemm { rows, depth, columns, bytes: bytes(operator, rows) }).max(roof_s(operator, rows))
    };
    let operator =
        Operator::gemm(Precision::Activations, Feature::Tokens, (depth, columns), weight_bytes, ACTIVATION_BYTES);
    let curve = ByCurve { seconds: &by_curve_s, slowdown: &|_, _| 1.0 };
    let seconds = table.by_rows(&operator, 0.0, &curve);
    along(&seconds, rows, |rows| by_curve_s(&operator, rows)).max(roof_s(&operator, f64::from(rows)))
}

fn is_same(a: f64, b: f64) -> bool {
    (a - b).abs() <= SAME * a.abs().max(b.abs())
}

fn weight_bytes(operator: &Operator, depth: f64, columns: f64) -> f64 {
    operator.bytes[0].amount / (depth * columns)
}

fn is_kernel_of(kernel: &RowKernel, operator: &Operator, model_experts: f64) -> bool {
    let bytes = |feature: Feature| -> f64 {
        operator.bytes.iter().filter(|term| term.feature == feature).map(|term| term.amount).sum()
    };
    match (*kernel, operator.kind) {
        (RowKernel::Product { columns, depth, weight_bytes: width }, KernelKind::Gemm { depth: k, columns: n }) => {
            is_same(columns, n) && is_same(depth, k) && is_same(width, weight_bytes(operator, k, n))
        }
        (RowKernel::Stream { kernels, bytes_per_row }, KernelKind::Stream { kernels: count, .. }) => {
            is_same(kernels, count) && is_same(bytes_per_row, bytes(Feature::Tokens))
        }
        (RowKernel::Sampler { bytes_per_row }, KernelKind::Sampler) => {
            is_same(bytes_per_row, bytes(Feature::SampledRows))
        }
        (
            RowKernel::Experts { hidden, inner, experts, per_token, weight_bytes },
            KernelKind::Experts { hidden: outer_width, inner: inner_width, matrices, .. },
        ) => {
            let elements = hidden * inner * EXPERT_MATRICES;
            is_same(hidden, outer_width)
                && is_same(inner, inner_width)
                && is_same(matrices, EXPERT_MATRICES)
                && is_same(experts, model_experts)
                && is_same(per_token, operator.flops.amount / (2.0 * elements))
                && is_same(weight_bytes, bytes(Feature::Experts) / elements)
        }
        _ => false,
    }
}

/// The product that was measured, as the operator is one.
fn product_like(operator: &Operator, kernel: &RowKernel) -> Operator {
    let RowKernel::Product { columns, depth, weight_bytes } = *kernel else { return *operator };
    let precision: Precision = operator.precision;
    Operator::gemm(precision, operator.flops.feature, (depth, columns), weight_bytes, ACTIVATION_BYTES)
}

/// What was measured at `rows`, or the way of the curve from there.
pub(crate) fn along(seconds: &[(u32, f64)], rows: u32, curve_s: impl Fn(u32) -> f64) -> f64 {
    let next = seconds.partition_point(|(measured, _)| *measured < rows);
    let below = next.checked_sub(1).map(|index| seconds[index]);
    match (below, seconds.get(next).copied()) {
        (_, Some((measured, took_s))) if measured == rows => took_s,
        (Some(low), Some(high)) => between(low, high, rows, curve_s),
        (Some((edge, took_s)), None) | (None, Some((edge, took_s))) => took_s * curve_s(rows) / curve_s(edge),
        (None, None) => curve_s(rows),
    }
}

fn between((low, low_s): (u32, f64), (high, high_s): (u32, f64), rows: u32, curve_s: impl Fn(u32) -> f64) -> f64 {
    let share = |from: f64, here: f64, to: f64| (here / from).ln() / (to / from).ln();
    let by_curve = share(curve_s(low), curve_s(rows), curve_s(high));
    let come = if by_curve.is_finite() { by_curve } else { share(low.into(), rows.into(), high.into()) };
    low_s * (high_s / low_s).powf(come.clamp(0.0, 1.0))
}
