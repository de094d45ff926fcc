//! One run of a plan: a full simulation of the load on a deployment, ended as soon as it can no longer meet a target.

use std::sync::atomic::AtomicBool;

use oracle_components::record::Stop;
use oracle_systems::Simulation;

use super::load::SharedLoad;
use super::refused::Refused;
use super::tally::Tally;
use super::target::Target;
use crate::config::Resolved;
use crate::output::{cost, energy};
use crate::runs::unless;

/// Whether a run goes on that can no longer meet its targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// To its end: every figure is wanted.
    Whole,
    /// As soon as it is lost: only whether it meets them is wanted.
    Early,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// It meets all targets.
    pub is_met: bool,
    /// It was ended as soon as that could not be: the figures are of a part of it.
    pub ended_early: bool,
    /// The value of each target, in milliseconds or as a share; `None` where no request had one.
    pub values: Vec<Option<f64>>,
    /// Simulated time.
    pub duration_s: f64,
    /// Requests that count.
    pub requests: u64,
    /// Those of them that got no whole answer.
    pub failed: u64,
    /// Of these, the ones that engines refused for their length.
    pub refused: Vec<Refused>,
    /// Those alone miss a target: so they do with any number of replicas.
    pub is_lost_to_refusals: bool,
    /// Requests a second, from the first arrival to the last.
    pub requests_per_s: Option<f64>,
    /// From the first arrival to the last.
    pub arrivals_s: f64,
    /// From the last arrival to the end.
    pub drain_s: f64,
    /// Output tokens a second of the load: from its first arrival to its last where they are known and differ, else of the whole run.
    pub output_tokens_per_s: f64,
    /// What the GPUs cost for each million output tokens; `None` without a price.
    pub usd_per_million_output_tokens: Option<f64>,
    /// The same for tokens of prompts and answers together.
    pub usd_per_million_tokens: Option<f64>,
    /// What GPUs and servers drew; `None` where the device's draw is not known.
    pub energy_kwh: Option<f64>,
}

/// Why there is no evaluation.
#[derive(Debug)]
pub enum EvaluationError {
    /// The user wants the plan to end.
    Interrupted,
    /// The load cannot be replayed to its end.
    Load(String),
}

impl Evaluation {
    /// Whether the load is over before it is well under way: most of the time the last of it is served, and nothing more comes. What a
    /// deployment holds of that is no rate.
    #[must_use]
    pub fn is_burst(&self) -> bool {
        self.drain_s > self.arrivals_s / 2.0
    }

    /// Whether serving the last of the load takes long beside the time in which it comes: queues may not have grown to what they would
    /// be at a rate that lasts.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.drain_s > self.arrivals_s / 5.0
    }

    /// The target with the least margin, as its position and the margin in per cent. One without a value has none.
    #[must_use]
    pub fn binding(&self, targets: &[Target]) -> Option<(usize, f64)> {
        let margins = targets.iter().zip(&self.values).enumerate();
        let margins = margins.filter_map(|(at, (target, value))| Some((at, target.margin_pct((*value)?))));
        margins.min_by(|(_, one), (_, other)| one.total_cmp(other))
    }
}

pub(super) fn evaluate(
    resolved: &Resolved,
    load: &SharedLoad,
    targets: &[Target],
    ending: Ending,
    interrupted: &AtomicBool,
) -> Result<Evaluation, EvaluationError> {
    let most = if ending == Ending::Early { load.requests() } else { None };
    let (source, failure) = load.replay().map_err(|error| EvaluationError::Load(error.to_string()))?;
    let tally = Tally::new(targets, resolved.output.warm_up, most);
    let mut simulation = Simulation::new(resolved.scenario.clone(), source, tally);
    let outcome = simulation.run(|_| unless(interrupted));
    if outcome.stop == Stop::Interrupted {
        return Err(EvaluationError::Interrupted);
    }
    if let Some(failure) = failure() {
        return Err(EvaluationError::Load(failure));
    }
    let mut tally = simulation.into_sink();
    if !tally.is_lost && 2 * tally.requests < tally.arrived {
        return Err(EvaluationError::Load(format!(
            "{} of {} requests arrive within the warm-up, and count for no target; take a longer load, or --set \
             metrics_config.warm_up_duration_s=0",
            tally.arrived - tally.requests,
            tally.arrived,
        )));
    }
    let values = tally.values();
    let all_met = targets.iter().zip(&values).all(|(target, value)| value.is_none_or(|value| target.is_met(value)));
    let money = cost(&resolved.scenario, &outcome);
    let million_tokens = (tally.prompt_tokens + tally.output_tokens) as f64 / 1e6;
    let duration_s = outcome.end.as_secs_f64();
    let offered_s = load.span().map(|(first, last)| (last - first).as_secs_f64()).filter(|&seconds| seconds > 0.0);
    let load_s = offered_s.unwrap_or(duration_s);
    Ok(Evaluation {
        is_met: all_met && !tally.is_lost && tally.requests > 0,
        ended_early: tally.is_lost && outcome.stop == Stop::SinkClosed,
        values,
        duration_s,
        requests: tally.requests,
        failed: tally.failed,
        refused: tally.refusals.told(&resolved.scenario.engines),
        is_lost_to_refusals: tally.is_lost_to_refusals(),
        requests_per_s: tally.requests_per_s(),
        arrivals_s: tally.span.map_or(0.0, |(first, last)| (last - first).as_secs_f64()),
        drain_s: tally.span.map_or(0.0, |(_, last)| duration_s - last.as_secs_f64()),
        output_tokens_per_s: if load_s > 0.0 { tally.output_tokens as f64 / load_s } else { 0.0 },
        usd_per_million_output_tokens: money.as_ref().and_then(|money| money.usd_per_million_output_tokens),
        usd_per_million_tokens: money.filter(|_| million_tokens > 0.0).map(|money| money.usd / million_tokens),
        energy_kwh: energy(&resolved.scenario, &outcome, resolved.output.host).map(|energy| energy.energy_kwh),
    })
}
