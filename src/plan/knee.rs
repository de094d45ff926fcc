//! The knee: the highest rate at which a deployment meets the targets.
//!
//! The rate is doubled, or halved, until one of two neighbours meets the targets and the other does not, and the step between them is
//! halved until it is a hundredth. What is told is a rate that was simulated and met them, beside the next that did not. Between
//! rates that were not tried a target may be met again: at these scales a load that comes faster does worse.

use serde::Serialize;

use super::answer::{Figure, binding, figures};
use super::deployment::{Deployment, Replicas};
use super::evaluate::{Ending, Evaluation};
use super::load::SharedLoad;
use super::refused::told_refused;
use super::search::{Case, Search, SearchError};

/// The rates on both sides of the knee differ by this much at most.
const RESOLUTION: f64 = 1.01;
/// How far the search goes from the load's own rate: a load comes a million times as fast at most, or as slowly.
const MOST_DOUBLINGS: i32 = 18;
/// Why there may be no knee.
const NO_RATE: &str = "no rate meets the SLO: the figures are those of the lowest that was tried";
/// What `workload.rate_scale` may be.
const RATE_SCALES: std::ops::RangeInclusive<f64> = 1e-6..=1e6;

/// The highest rate of a deployment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Knee {
    /// The model.
    pub model: String,
    /// The device.
    pub device: String,
    /// Ranks of a replica.
    pub tensor_parallel: u32,
    /// Pipeline stages of a replica.
    pub pipeline_parallel: u32,
    /// What else was chosen.
    pub settings: Vec<(String, String)>,
    /// Replicas.
    pub replicas: u32,
    /// GPUs.
    pub gpus: u32,
    /// Whether any rate meets the targets.
    pub slo_met: bool,
    /// Times the rate of the load: the highest that was found to meet them. Without one, the lowest that was tried.
    pub rate_scale: Option<f64>,
    /// Requests a second there, from the first arrival to the last.
    pub requests_per_s: Option<f64>,
    /// The target with the least margin there.
    pub binding: Option<String>,
    /// That margin, in per cent of the limit.
    pub margin_pct: Option<f64>,
    /// Each target there.
    pub targets: Vec<Figure>,
    /// The next rate, which misses; absent where none was found to.
    pub missed_at: Option<f64>,
    /// What it misses.
    pub missed: Vec<Figure>,
    /// The load comes and is over before it is served: what is told is of a burst, and of no rate that could last.
    pub is_burst: bool,
    /// Why there is no knee to tell of.
    pub reason: Option<String>,
}

impl Knee {
    /// Whether there is no more to say of it than how far the lowest rate misses.
    #[must_use]
    pub fn misses_at_every_rate(&self) -> bool {
        self.reason.as_deref() == Some(NO_RATE)
    }
}

/// How large a deployment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// What is set; `None`: nothing, the configuration says it.
    pub(super) set: Option<Replicas>,
    pub(super) replicas: u32,
    pub(super) gpus: u32,
}

impl Size {
    /// So many replicas.
    pub(super) fn of(deployment: &Deployment, replicas: u32) -> Self {
        Self { set: Some(replicas.into()), replicas, gpus: replicas * deployment.gpus_per_replica() }
    }
}

struct Probe {
    scale: f64,
    run: Evaluation,
}

impl Search<'_> {
    fn probe(&self, deployment: &Deployment, size: Size, scale: f64, ending: Ending) -> Result<Probe, SearchError> {
        let resolved =
            self.space.resolve(deployment, size.set, scale, None, None).map_err(SearchError::Configuration)?;
        let load = SharedLoad::open(&resolved.workload).map_err(SearchError::of_load)?;
        let case = Case { deployment, rate_scale: scale, load: &load, price_usd: None };
        Ok(Probe { scale, run: self.run_with_seed(case, size.set, ending, None)? })
    }

    /// The knee of a deployment of a size.
    pub(super) fn knee(&self, deployment: &Deployment, size: Size) -> Result<Knee, SearchError> {
        let first = match self.probe(deployment, size, 1.0, Ending::Early) {
            Ok(first) => first,
            Err(error) => return Ok(Knee::without(deployment, size, error.why_it_cannot_be()?.to_string())),
        };
        if first.run.is_lost_to_refusals {
            let whole = self.probe(deployment, size, 1.0, Ending::Whole)?;
            return Ok(Knee::of(deployment, size, None, Some(whole), self));
        }
        let factor: f64 = if first.run.is_met { 2.0 } else { 0.5 };
        let scales = (1..=MOST_DOUBLINGS).map(|doublings| factor.powi(doublings));
        let scales = scales.take_while(|scale| RATE_SCALES.contains(&(scale * self.space.rate_scale())));
        let (mut met, mut missed): (Option<Probe>, Option<Probe>) = (None, None);
        let mut next = Some(first);
        for scale in scales.map(Some).chain([None]) {
            let Some(probe) = next.take() else { break };
            // Of a burst nothing is to be learnt by making it shorter still.
            let is_burst = probe.run.is_met && probe.run.is_burst();
            if probe.run.is_met {
                met = Some(probe)
            } else {
                missed = Some(probe)
            }
            if is_burst || (met.is_some() && missed.is_some()) {
                break;
            }
            next = scale.map(|scale| self.probe(deployment, size, scale, Ending::Early)).transpose()?;
        }
        while let (Some(low), Some(high)) = (&met, &missed)
            && high.scale / low.scale > RESOLUTION
        {
            let probe = self.probe(deployment, size, (low.scale * high.scale).sqrt(), Ending::Early)?;
            if probe.run.is_met { met = Some(probe) } else { missed = Some(probe) }
        }
        // What was ended early has not all its figures.
        let missed = missed.map(|probe| self.probe(deployment, size, probe.scale, Ending::Whole)).transpose()?;
        Ok(Knee::of(deployment, size, met, missed, self))
    }
}

impl Knee {
    fn without(deployment: &Deployment, size: Size, reason: String) -> Self {
        Self {
            model: deployment.model.clone(),
            device: deployment.device.clone(),
            tensor_parallel: deployment.tensor_parallel,
            pipeline_parallel: deployment.pipeline_parallel,
            settings: deployment.settings.clone(),
            replicas: size.replicas,
            gpus: size.gpus,
            slo_met: false,
            rate_scale: None,
            requests_per_s: None,
            binding: None,
            margin_pct: None,
            targets: Vec::new(),
            missed_at: None,
            missed: Vec::new(),
            is_burst: false,
            reason: Some(reason),
        }
    }

    fn of(deployment: &Deployment, size: Size, met: Option<Probe>, missed: Option<Probe>, search: &Search<'_>) -> Self {
        let told = met.as_ref().or(missed.as_ref());
        let (binding, margin_pct) = told.map_or((None, None), |probe| binding(search.targets, &probe.run));
        let reason = match (&met, &missed) {
            (Some(met), _) if met.run.is_burst() => Some(format!(
                "the load is too short to say: its {} requests come within {:.3} s, and {:.3} s later the last is served; that is a burst and \
                 no rate: take a longer load (--requests, --duration)",
                met.run.requests, met.run.arrivals_s, met.run.drain_s
            )),
            (None, Some(missed)) if missed.run.is_lost_to_refusals => {
                Some(format!("no rate mends that engines refuse requests: {}", told_refused(&missed.run.refused)))
            }
            (None, _) => Some(NO_RATE.to_owned()),
            (Some(met), None) => Some(format!(
                "every rate up to {} times the load's, the highest that was tried, meets the SLO",
                met.scale
            )),
            _ => None,
        };
        Self {
            is_burst: met.as_ref().is_some_and(|met| met.run.is_burst()),
            slo_met: met.is_some(),
            rate_scale: told.map(|probe| probe.scale),
            requests_per_s: told.and_then(|probe| probe.run.requests_per_s),
            binding,
            margin_pct,
            targets: told.map_or_else(Vec::new, |probe| figures(search.targets, &probe.run.values)),
            missed_at: missed.as_ref().map(|probe| probe.scale),
            missed: missed.map_or_else(Vec::new, |probe| figures(search.targets, &probe.run.values)),
            reason,
            ..Self::without(deployment, size, String::new())
        }
    }
}
