//! Where a target's value lies with other seeds.

use serde::Serialize;

use super::evaluate::Evaluation;
use super::target::Target;
use crate::statistics::Moments;

/// Of a target, over seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The target.
    pub name: String,
    /// Runs.
    pub runs: usize,
    /// Mean.
    pub mean: f64,
    /// Ends of the 95 % confidence interval of a run's value: by Student's t, of a further seed (a prediction interval).
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// Seeds that meet the target.
    pub met: usize,
    /// The limit lies within the interval: another seed may miss it.
    pub is_uncertain: bool,
}

pub(super) fn interval(target: &Target, at: usize, runs: &[Evaluation]) -> Option<Interval> {
    let values: Vec<f64> = runs.iter().map(|run| run.values[at]).collect::<Option<_>>()?;
    let moments = Moments::of(&values)?;
    let (count, mean, reach) = (moments.count, moments.mean, moments.reach_of_another().unwrap_or(f64::NAN));
    let (low, high) = (mean - reach, mean + reach);
    let limit = target.limit();
    Some(Interval {
        name: target.to_string(),
        runs: count,
        mean,
        low,
        high,
        met: values.iter().filter(|&&value| target.is_met(value)).count(),
        is_uncertain: !mean.is_finite() || (low <= limit && limit <= high),
    })
}
