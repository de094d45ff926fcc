//! The knee: the highest rate at which a deployment meets the targets.
//!
//! The rate is doubled, or halved, until one of two neighbours meets the targets and the other does not, and the step between them is
//! halved until it is a hundredth. What is told is a rate that was simulated and met them, beside the next that did not. Between
//! rates that were not tried a target may be met again: at these scales a load that comes faster does worse.

use serde::Serialize;

use super::answer::{Figure, binding, figures};
use super::deployment::Deployment;
use super::evaluate::{Ending, Evaluation};
use super::load::SharedLoad;
use super::search::{Case, Search, SearchError};

/// The rates on both sides of the knee differ by this much at most.
const RESOLUTION: f64 = 1.01;
/// Doublings from the load's own rate before the search gives up: a trace comes a million times as fast at most.
const MOST_DOUBLINGS: i32 = 19;

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
    /// Why there is no knee to tell of.
    pub reason: Option<String>,
}

struct Probe {
    scale: f64,
    requests_per_s: Option<f64>,
    run: Evaluation,
}

impl Search<'_> {
    fn probe(&self, deployment: &Deployment, replicas: u32, scale: f64, ending: Ending) -> Result<Probe, SearchError> {
        let resolved =
            self.space.resolve(deployment, replicas.into(), scale, None, None).map_err(SearchError::Configuration)?;
        let load = SharedLoad::open(&resolved.workload).map_err(SearchError::of_load)?;
        let case = Case { deployment, rate_scale: scale, load: &load, price_usd: None };
        let requests_per_s = load.span().zip(load.requests()).and_then(|((first, last), requests)| {
            let seconds = (last - first).as_secs_f64();
            (seconds > 0.0).then(|| requests as f64 / seconds)
        });
        Ok(Probe { scale, requests_per_s, run: self.run(case, replicas.into(), ending)? })
    }

    /// The knee of so many replicas of a deployment.
    pub(super) fn knee(&self, deployment: &Deployment, replicas: u32) -> Result<Knee, SearchError> {
        let first = match self.probe(deployment, replicas, 1.0, Ending::Early) {
            Ok(first) => first,
            Err(error) => return Ok(Knee::without(deployment, replicas, error.why_it_cannot_be()?)),
        };
        let (mut met, mut missed) = (None, None);
        let factor = if first.run.is_met { 2.0 } else { 0.5 };
        let mut next = first;
        for _ in 0..MOST_DOUBLINGS {
            let scale = next.scale * factor;
            if next.run.is_met {
                met = Some(next)
            } else {
                missed = Some(next)
            }
            if met.is_some() && missed.is_some() {
                break;
            }
            next = self.probe(deployment, replicas, scale, Ending::Early)?;
        }
        while let (Some(low), Some(high)) = (&met, &missed)
            && high.scale / low.scale > RESOLUTION
        {
            let probe = self.probe(deployment, replicas, (low.scale * high.scale).sqrt(), Ending::Early)?;
            if probe.run.is_met { met = Some(probe) } else { missed = Some(probe) }
        }
        // What was ended early has not all its figures.
        let missed = missed.map(|probe| self.probe(deployment, replicas, probe.scale, Ending::Whole)).transpose()?;
        Ok(Knee::of(deployment, replicas, met, missed, self))
    }
}

impl Knee {
    fn without(deployment: &Deployment, replicas: u32, reason: String) -> Self {
        Self {
            model: deployment.model.clone(),
            device: deployment.device.clone(),
            tensor_parallel: deployment.tensor_parallel,
            pipeline_parallel: deployment.pipeline_parallel,
            settings: deployment.settings.clone(),
            replicas,
            gpus: replicas * deployment.gpus_per_replica(),
            slo_met: false,
            rate_scale: None,
            requests_per_s: None,
            binding: None,
            margin_pct: None,
            targets: Vec::new(),
            missed_at: None,
            missed: Vec::new(),
            reason: Some(reason),
        }
    }

    fn of(
        deployment: &Deployment,
        replicas: u32,
        met: Option<Probe>,
        missed: Option<Probe>,
        search: &Search<'_>,
    ) -> Self {
        let told = met.as_ref().or(missed.as_ref());
        let (binding, margin_pct) = told.map_or((None, None), |probe| binding(search.targets, &probe.run));
        let reason = match (&met, &missed) {
            (None, _) => Some("no rate meets the SLO: the figures are those of the lowest that was tried".to_owned()),
            (_, None) => Some(format!("every rate up to 2^{} times the load's meets the SLO", MOST_DOUBLINGS - 1)),
            _ => None,
        };
        Self {
            slo_met: met.is_some(),
            rate_scale: told.map(|probe| probe.scale),
            requests_per_s: told.and_then(|probe| probe.requests_per_s),
            binding,
            margin_pct,
            targets: told.map_or_else(Vec::new, |probe| figures(search.targets, &probe.run.values)),
            missed_at: missed.as_ref().map(|probe| probe.scale),
            missed: missed.map_or_else(Vec::new, |probe| figures(search.targets, &probe.run.values)),
            reason,
            ..Self::without(deployment, replicas, String::new())
        }
    }
}
