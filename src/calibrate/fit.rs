//! Coefficients that bring predictions closest to measurements.
//!
//! The loss of a point is that of its logarithmic error, quadratic below [`LARGE_ERROR`] and linear above, so that a few
//! strange kernels count little. Positive coefficients are sought as logarithms and shares as logits, so that every step
//! stays in bounds; a coefficient of 0 is off and stays so, and so does a share of 1 unless it is asked for. The method is that of
//! Levenberg and Marquardt, each point weighed by its error anew; derivatives are differences, wide ones first, which see past
//! the steps that tiles make.

use std::collections::BTreeSet;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::least_squares::{NormalEquations, dampings};
use crate::catalog::FitError;

/// Where the loss turns from quadratic to linear, in logarithms.
const LARGE_ERROR: f64 = 0.05;
/// Differences of the sought numbers, one after the other.
const DIFFERENCES: [f64; 4] = [0.1, 0.03, 0.01, 0.003];
/// Coefficients below are none, and shares no less: all units are such that 1 can be told.
const NEGLIGIBLE: f64 = 1e-3;
/// Steps with each difference.
const MOST_STEPS: usize = 60;
/// What a step must bring to be worth another, in loss.
const WORTH_IT: f64 = 2e-6;
/// Logarithms and logits sought stay within.
const FARTHEST: f64 = 15.0;
/// They change by no more in a step: a coefficient that has become none tells no slope any more.
const LONGEST: f64 = 0.7;

/// A measured kernel.
#[derive(Clone, Debug)]
pub(super) struct Point<W> {
    /// What it did.
    pub(super) work: W,
    /// Points of one key are held out together.
    pub(super) key: [u32; 4],
    /// How long it took, in seconds.
    pub(super) measured_s: f64,
}

struct Problem<'a, W, C, P> {
    fixed: Map<String, Value>,
    sought: Vec<String>,
    points: Vec<&'a Point<W>>,
    predict: P,
    curve: PhantomData<C>,
}

impl<W, C: DeserializeOwned, P: Fn(&C, &W) -> f64> Problem<'_, W, C, P> {
    fn curve_of(&self, unknowns: &[f64]) -> C {
        let mut values = self.fixed.clone();
        for (name, unknown) in self.sought.iter().zip(unknowns) {
            values.insert(name.clone(), coefficient(name, *unknown).into());
        }
        serde_json::from_value(Value::Object(values)).expect("the coefficients of a curve are numbers")
    }

    /// Logarithmic errors of all points, in [`LARGE_ERROR`]s.
    fn errors(&self, unknowns: &[f64]) -> Vec<f64> {
        let curve = self.curve_of(unknowns);
        self.points.iter().map(|point| error(&curve, point, &self.predict)).collect()
    }
}

fn error<W, C>(curve: &C, point: &Point<W>, predict: impl Fn(&C, &W) -> f64) -> f64 {
    (predict(curve, &point.work) / point.measured_s).ln() / LARGE_ERROR
}

/// Mean loss of errors.
fn loss(errors: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = errors.len() as f64;
    errors.map(|error| error.hypot(1.0) - 1.0).sum::<f64>() / count
}

/// Whether a coefficient lies between 0 and 1.
fn is_bounded(name: &str) -> bool {
    // Above 1 a further sequence would make a batch faster.
    name.ends_with("_share") || name == "half_bandwidth_exponent"
}

fn unknown(name: &str, coefficient: f64) -> f64 {
    if is_bounded(name) {
        let share = coefficient.clamp(1e-3, 1.0 - 1e-3);
        (share / (1.0 - share)).ln()
    } else {
        coefficient.ln()
    }
}

/// To four digits, which is how it is written.
fn coefficient(name: &str, unknown: f64) -> f64 {
    let exact = if is_bounded(name) { (1.0 + (-unknown).exp()).recip() } else { unknown.exp() };
    let rounded: f64 = format!("{exact:.3e}").parse().expect("a number that was just written");
    let least = if name.ends_with("_share") { NEGLIGIBLE } else { 0.0 };
    if rounded < NEGLIGIBLE { least } else { rounded }
}

/// Fits the coefficients of `start` that `seeks` names (all that are not off, if it names none) to at most `most_points`.
pub(super) fn fit<W, C: Serialize + DeserializeOwned>(
    start: &C,
    seeks: &[&str],
    points: &[Point<W>],
    most_points: usize,
    predict: impl Fn(&C, &W) -> f64 + Copy,
) -> C {
    fit_but(start, seeks, &[], points, most_points, predict)
}

/// The same without those that `keeps` names.
fn fit_but<W, C: Serialize + DeserializeOwned>(
    start: &C,
    seeks: &[&str],
    keeps: &[&str],
    points: &[Point<W>],
    most_points: usize,
    predict: impl Fn(&C, &W) -> f64 + Copy,
) -> C {
    let Ok(Value::Object(values)) = serde_json::to_value(start) else { unreachable!("a curve is a struct of numbers") };
    let is_off = |name: &str, value: f64| value == 0.0 || seeks.is_empty() && name.ends_with("_share") && value == 1.0;
    let is_sought = |name: &str, value: &Value| {
        !keeps.contains(&name)
            && value.as_f64().is_some_and(|value| !is_off(name, value))
            && (seeks.is_empty() || seeks.contains(&name))
    };
    let sought: Vec<String> =
        values.iter().filter(|(name, value)| is_sought(name, value)).map(|(name, _)| name.clone()).collect();
    let mut best: Vec<f64> =
        sought.iter().map(|name| unknown(name, values[name].as_f64().expect("a coefficient"))).collect();
    let problem = Problem { fixed: values, sought, points: some(points, most_points), predict, curve: PhantomData };
    let mut errors = problem.errors(&best);
    for difference in DIFFERENCES {
        for _ in 0..MOST_STEPS {
            let before = loss(errors.iter().copied());
            let Some((closer, their_errors)) = step(&problem, &best, &errors, difference) else { break };
            (best, errors) = (closer, their_errors);
            if before - loss(errors.iter().copied()) < WORTH_IT {
                break;
            }
        }
    }
    problem.curve_of(&best)
}

/// At most so many of the points, without a pattern.
fn some<W>(points: &[Point<W>], most: usize) -> Vec<&Point<W>> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by_key(|at| mixed([*at as u32, 0, 0, 0]));
    order.truncate(most.max(1));
    order.sort_unstable();
    order.into_iter().map(|at| &points[at]).collect()
}

/// Numbers that come closer, and their errors.
fn step<W, C: DeserializeOwned, P: Fn(&C, &W) -> f64>(
    problem: &Problem<'_, W, C, P>,
    from: &[f64],
    errors: &[f64],
    difference: f64,
) -> Option<(Vec<f64>, Vec<f64>)> {
    let slopes: Vec<Vec<f64>> = (0..from.len())
        .map(|at| {
            let mut beside = from.to_vec();
            beside[at] += difference;
            problem.errors(&beside).iter().zip(errors).map(|(there, here)| (there - here) / difference).collect()
        })
        .collect();
    let weights: Vec<f64> = errors.iter().map(|error| error.hypot(1.0).recip()).collect();
    let equations = NormalEquations::new(&slopes, errors, &weights);
    let least = loss(errors.iter().copied());
    dampings().find_map(|damping| {
        let change = equations.solution(damping)?;
        let there: Vec<f64> = from
            .iter()
            .zip(change)
            .map(|(here, change)| (here - change.clamp(-LONGEST, LONGEST)).clamp(-FARTHEST, FARTHEST))
            .collect();
        let their_errors = problem.errors(&there);
        (loss(their_errors.iter().copied()) < least).then_some((there, their_errors))
    })
}

/// The closest of the fits of all coefficients but some from several starts: a search may end in a hollow that is not the
/// deepest.
pub(super) fn fit_from_each<W, C: Serialize + DeserializeOwned>(
    starts: impl IntoIterator<Item = C>,
    keeps: &[&str],
    points: &[Point<W>],
    most_points: usize,
    predict: impl Fn(&C, &W) -> f64 + Copy,
) -> C {
    let fits = starts.into_iter().map(|start| fit_but(&start, &[], keeps, points, most_points, predict));
    closest(fits, points, predict)
}

/// The same of some coefficients.
pub(super) fn fit_some_from_each<W, C: Serialize + DeserializeOwned>(
    starts: impl IntoIterator<Item = C>,
    seeks: &[&str],
    points: &[Point<W>],
    most_points: usize,
    predict: impl Fn(&C, &W) -> f64 + Copy,
) -> C {
    let fits = starts.into_iter().map(|start| fit(&start, seeks, points, most_points, predict));
    closest(fits, points, predict)
}

fn closest<W, C>(fits: impl Iterator<Item = C>, points: &[Point<W>], predict: impl Fn(&C, &W) -> f64 + Copy) -> C {
    let by_loss = fits.map(|curve| (loss(points.iter().map(|point| error(&curve, point, predict))), curve));
    by_loss.min_by(|(one, _), (other, _)| one.total_cmp(other)).expect("a start").1
}

/// Splits points in those to fit to and those held out, half of the keys each, at random but always the same.
pub(super) fn hold_out<W: Clone>(points: &[Point<W>]) -> (Vec<Point<W>>, Vec<Point<W>>) {
    let keys: BTreeSet<_> = points.iter().map(|point| (mixed(point.key), point.key)).collect();
    let known: BTreeSet<_> = keys.iter().step_by(2).map(|(_, key)| *key).collect();
    points.iter().cloned().partition(|point| known.contains(&point.key))
}

/// A number without rhyme or reason for each key (the mixing of SplitMix64).
fn mixed(key: [u32; 4]) -> u64 {
    key.iter().fold(0x9e37_79b9_7f4a_7c15, |sum: u64, part| {
        let sum = (sum ^ u64::from(*part)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        sum ^ (sum >> 29)
    })
}

/// Errors of predictions of points that were held out of a fit to so many others.
pub(super) fn errors<W>(operator: &str, fitted: usize, points: &[Point<W>], predict: impl Fn(&W) -> f64) -> FitError {
    error_of(operator, fitted, points.iter().map(|point| predict(&point.work) / point.measured_s).collect())
}

/// The same by ratios of predictions to measurements.
pub(super) fn error_of(operator: &str, fitted: usize, ratios: Vec<f64>) -> FitError {
    let mut signed: Vec<f64> = ratios.into_iter().map(|ratio| 100.0 * (ratio - 1.0)).collect();
    signed.sort_by(f64::total_cmp);
    let at = |errors: &[f64], share: f64| {
        errors.get(((errors.len() as f64 - 1.0) * share).round() as usize).copied().unwrap_or(0.0)
    };
    let bias_pct = at(&signed, 0.5);
    let mut errors: Vec<f64> = signed.into_iter().map(f64::abs).collect();
    errors.sort_by(f64::total_cmp);
    FitError {
        operator: operator.to_owned(),
        median_pct: at(&errors, 0.5),
        p90_pct: at(&errors, 0.9),
        bias_pct,
        fitted,
        points: errors.len(),
    }
}
