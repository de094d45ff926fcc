//! Coefficients that bring predictions closest to measurements.
//!
//! The loss of a point is that of its logarithmic error, quadratic below [`LARGE_ERROR`] and linear above, so that a few
//! strange kernels count little. Positive coefficients are sought as logarithms and shares as logits, so that every step
//! stays in bounds; a coefficient of 0 is off and stays so, and so does a share of 1 unless it is asked for. The simplex method
//! of Nelder and Mead takes no derivatives, which tiles have none of; it starts anew from where it ended until that brings
//! no more.

use std::collections::BTreeSet;

use argmin::core::{CostFunction, Error, Executor, State};
use argmin::solver::neldermead::NelderMead;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::catalog::FitError;

/// Where the loss turns from quadratic to linear, in logarithms.
const LARGE_ERROR: f64 = 0.05;
/// First steps from the start, in logarithms, in turn.
const FIRST_STEPS: [f64; 4] = [0.4, -0.4, 1.5, -1.5];
/// Coefficients below are none, and shares no less: all units are such that 1 can be told.
const NEGLIGIBLE: f64 = 1e-3;
const MOST_RESTARTS: u32 = 30;
/// What a restart must bring to be worth another, in loss.
const WORTH_IT: f64 = 2e-4;
/// Iterations of a start for each coefficient.
const ITERATIONS: u64 = 200;

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
    curve: std::marker::PhantomData<C>,
}

impl<W, C: DeserializeOwned, P: Fn(&C, &W) -> f64> Problem<'_, W, C, P> {
    fn curve_of(&self, unknowns: &[f64]) -> C {
        let mut values = self.fixed.clone();
        for (name, unknown) in self.sought.iter().zip(unknowns) {
            values.insert(name.clone(), coefficient(name, *unknown).into());
        }
        serde_json::from_value(Value::Object(values)).expect("the coefficients of a curve are numbers")
    }

    fn loss(&self, unknowns: &[f64]) -> f64 {
        loss(&self.curve_of(unknowns), self.points.iter().copied(), &self.predict)
    }
}

/// Mean loss of points.
fn loss<'a, W: 'a, C>(
    curve: &C,
    points: impl ExactSizeIterator<Item = &'a Point<W>>,
    predict: impl Fn(&C, &W) -> f64,
) -> f64 {
    let count = points.len() as f64;
    let losses = points.map(|point| {
        let error = (predict(curve, &point.work) / point.measured_s).ln() / LARGE_ERROR;
        error.hypot(1.0) - 1.0
    });
    losses.sum::<f64>() / count
}

impl<W, C: DeserializeOwned, P: Fn(&C, &W) -> f64> CostFunction for Problem<'_, W, C, P> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, unknowns: &Vec<f64>) -> Result<f64, Error> {
        Ok(self.loss(unknowns))
    }
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
    let exact = if is_bounded(name) { (1.0 + (-unknown).exp()).recip() } else { unknown.clamp(-30.0, 30.0).exp() };
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
    let Ok(Value::Object(values)) = serde_json::to_value(start) else { unreachable!("a curve is a struct of numbers") };
    let is_off = |name: &str, value: f64| value == 0.0 || seeks.is_empty() && name.ends_with("_share") && value == 1.0;
    let is_sought = |name: &str, value: &Value| {
        value.as_f64().is_some_and(|value| !is_off(name, value)) && (seeks.is_empty() || seeks.contains(&name))
    };
    let sought: Vec<String> =
        values.iter().filter(|(name, value)| is_sought(name, value)).map(|(name, _)| name.clone()).collect();
    let mut best: Vec<f64> =
        sought.iter().map(|name| unknown(name, values[name].as_f64().expect("a coefficient"))).collect();
    let stride = points.len().div_ceil(most_points.max(1)).max(1);
    let problem = || Problem {
        fixed: values.clone(),
        sought: sought.clone(),
        points: points.iter().step_by(stride).collect(),
        predict,
        curve: std::marker::PhantomData,
    };
    let mut loss = problem().loss(&best);
    for restart in 0..MOST_RESTARTS {
        let step = FIRST_STEPS[restart as usize % FIRST_STEPS.len()];
        let mut simplex = vec![best.clone()];
        simplex.extend((0..best.len()).map(|at| {
            let mut corner = best.clone();
            corner[at] += step;
            corner
        }));
        let solver = NelderMead::new(simplex).with_sd_tolerance(1e-7).expect("a positive tolerance");
        let iterations = ITERATIONS * best.len() as u64;
        let run = Executor::new(problem(), solver).configure(|state| state.max_iters(iterations)).run();
        let run = run.expect("a simplex of finite corners");
        let (Some(param), cost) = (run.state.get_best_param(), run.state.get_best_cost()) else { break };
        let gain = loss - cost;
        if cost < loss {
            best.clone_from(param);
            loss = cost;
        }
        if gain < WORTH_IT && restart as usize >= FIRST_STEPS.len() {
            break;
        }
    }
    problem().curve_of(&best)
}

/// The closest of the fits of all coefficients from several starts: a simplex may end in a hollow that is not the deepest.
pub(super) fn fit_from_each<W, C: Serialize + DeserializeOwned>(
    starts: impl IntoIterator<Item = C>,
    points: &[Point<W>],
    most_points: usize,
    predict: impl Fn(&C, &W) -> f64 + Copy,
) -> C {
    let fits = starts.into_iter().map(|start| fit(&start, &[], points, most_points, predict));
    let by_loss = fits.map(|curve| (loss(&curve, points.iter(), predict), curve));
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

/// Errors of predictions of points.
pub(super) fn errors<W>(operator: &str, points: &[Point<W>], predict: impl Fn(&W) -> f64) -> FitError {
    let mut errors: Vec<f64> =
        points.iter().map(|point| 100.0 * (predict(&point.work) / point.measured_s - 1.0).abs()).collect();
    errors.sort_by(f64::total_cmp);
    let at = |share: f64| errors.get(((errors.len() as f64 - 1.0) * share).round() as usize).copied().unwrap_or(0.0);
    FitError { operator: operator.to_owned(), median_pct: at(0.5), p90_pct: at(0.9), points: errors.len() }
}
