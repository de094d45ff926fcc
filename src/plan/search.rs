//! The fewest replicas of a deployment that meet the targets.
//!
//! Replicas are tried from the fewest on, so the first that meet the targets are the fewest there are, whether or not more of them always
//! do better: the same that a search of all numbers finds. That is cheap since too few are told apart early: a run ends as soon as it is
//! lost (`tally`), which takes the fewer requests the more overloaded it is. Below the roofline (`bound`) nothing is run at all.

use std::sync::atomic::AtomicBool;

use super::bound::least_replicas;
use super::deployment::{Deployment, Replicas, Space};
use super::evaluate::{Ending, Evaluation, EvaluationError, evaluate};
use super::load::SharedLoad;
use super::target::Target;
use crate::config::{Diagnostic, Severity};

/// Replicas of a deployment whose prefill and decode are apart: each number of them is tried with every split.
const MOST_APART: u32 = 32;

/// What is asked of a search.
pub(super) struct Search<'a> {
    pub(super) space: &'a Space,
    pub(super) targets: &'a [Target],
    pub(super) most_gpus: u32,
    pub(super) interrupted: &'a AtomicBool,
}

/// A deployment under a load.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) deployment: &'a Deployment,
    pub(super) rate_scale: f64,
    pub(super) load: &'a SharedLoad,
    pub(super) price_usd: Option<f64>,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// These many are the fewest.
    Fewest {
        /// Replicas.
        replicas: Replicas,
        /// Their run.
        run: Evaluation,
    },
    /// None that the limit allows.
    None {
        /// Replicas at the limit; fewer, where refused requests miss the targets with any number of them.
        replicas: Replicas,
        /// Their run, to its end.
        run: Evaluation,
    },
    /// More GPUs a replica than the limit allows.
    TooLarge,
    /// The deployment cannot be: it does not fit, or its engine refuses to start.
    CannotBe(Impossible),
}

/// A split of some number of replicas with its run, and how many were tried.
pub(super) type BestSplit = (Option<(Replicas, Evaluation)>, u32);

/// Why a deployment cannot be.
#[derive(Clone, Debug, PartialEq)]
pub struct Impossible {
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub way_out: Option<String>,
}

impl std::fmt::Display for Impossible {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)?;
        self.way_out.as_ref().map_or(Ok(()), |way_out| write!(f, "; {way_out}"))
    }
}

/// Why a search ended without an outcome.
#[derive(Debug)]
pub(super) enum SearchError {
    Configuration(Vec<Diagnostic>),
    Evaluation(EvaluationError),
}

impl Case<'_> {
    /// Whether it is of this model, device and load.
    pub(super) fn is_of(&self, model: &str, device: &str, rate_scale: f64) -> bool {
        let deployment = self.deployment;
        (deployment.model.as_str(), deployment.device.as_str(), self.rate_scale) == (model, device, rate_scale)
    }
}

/// A search's outcome, with how many runs it took and below how many replicas the roofline says no.
#[derive(Clone, Debug, PartialEq)]
pub struct Searched {
    /// What it found.
    pub found: Found,
    /// Simulations.
    pub runs: u32,
    /// The roofline says no to fewer than these.
    pub least_replicas: u32,
}

impl Search<'_> {
    pub(super) fn fewest(&self, case: Case<'_>) -> Result<Searched, SearchError> {
        let most = self.most_gpus / case.deployment.gpus_per_replica();
        let without_runs = |found| Ok(Searched { found, runs: 0, least_replicas: 1 });
        let smallest = case.deployment.smallest();
        let one = match self.space.resolve(case.deployment, smallest, case.rate_scale, None, case.price_usd) {
            Ok(resolved) => resolved,
            Err(found) => {
                return without_runs(Found::CannotBe(SearchError::Configuration(found).why_it_cannot_be()?));
            }
        };
        if most < smallest.all {
            return without_runs(Found::TooLarge);
        }
        let most = if case.deployment.is_disaggregated { most.min(MOST_APART) } else { most };
        let bound = least_replicas(&one, case.load, self.targets);
        let least = if case.deployment.is_disaggregated { bound + 1 } else { bound }.min(most);
        let (mut runs, mut last) = (0, most);
        for all in least..=most {
            let (best, tried) = self.best_split(case, all, bound, Ending::Early)?;
            runs += tried;
            match best {
                Some((replicas, run)) if run.is_met => {
                    return Ok(Searched { found: Found::Fewest { replicas, run }, runs, least_replicas: least });
                }
                Some((_, run)) if run.is_lost_to_refusals => {
                    last = all;
                    break;
                }
                _ => {}
            }
        }
        let (best, tried) = self.best_split(case, last, 1, Ending::Whole)?;
        let (replicas, run) = best.expect("some split was tried");
        Ok(Searched { found: Found::None { replicas, run }, runs: runs + tried, least_replicas: least })
    }

    /// The split of so many replicas that meets the targets with the most margin, or misses them by least, and how many were tried.
    pub(super) fn best_split(
        &self,
        case: Case<'_>,
        all: u32,
        least_prefill: u32,
        ending: Ending,
    ) -> Result<BestSplit, SearchError> {
        let mut best: Option<(Replicas, Evaluation)> = None;
        let mut tried = 0;
        for replicas in case.deployment.splits(all, least_prefill) {
            let run = self.run(case, replicas, ending)?;
            tried += 1;
            if best.as_ref().is_none_or(|(_, other)| self.rank(&run) > self.rank(other)) {
                best = Some((replicas, run));
            }
        }
        Ok((best, tried))
    }

    /// The more, the nearer to the targets.
    pub(super) fn rank(&self, run: &Evaluation) -> (bool, f64) {
        (run.is_met, run.binding(self.targets).map_or(f64::NEG_INFINITY, |(_, margin)| margin))
    }

    pub(super) fn run(&self, case: Case<'_>, replicas: Replicas, ending: Ending) -> Result<Evaluation, SearchError> {
        self.run_with_seed(case, replicas, ending, None)
    }

    /// A run with another seed, whose load is its own; of `None` replicas, as many as the configuration says.
    pub(super) fn run_with_seed(
        &self,
        case: Case<'_>,
        replicas: impl Into<Option<Replicas>>,
        ending: Ending,
        seed: Option<u64>,
    ) -> Result<Evaluation, SearchError> {
        let resolved = self.space.resolve(case.deployment, replicas, case.rate_scale, seed, case.price_usd);
        let resolved = resolved.map_err(SearchError::Configuration)?;
        let own;
        let load = match seed {
            None => case.load,
            Some(_) => {
                own = SharedLoad::open(&resolved.workload).map_err(SearchError::of_load)?;
                &own
            }
        };
        evaluate(&resolved, load, self.targets, ending, self.interrupted).map_err(SearchError::Evaluation)
    }
}

impl SearchError {
    pub(super) fn of_load(message: String) -> Self {
        Self::Evaluation(EvaluationError::Load(message))
    }

    /// Why a deployment cannot be.
    ///
    /// # Errors
    /// It could, were it not for mistakes: then the error itself.
    pub(super) fn why_it_cannot_be(self) -> Result<Impossible, Self> {
        let Self::Configuration(found) = &self else { return Err(self) };
        let errors = || found.iter().filter(|found| found.severity == Severity::Error);
        match errors().next() {
            Some(first) if errors().all(|found| found.cannot_be) => {
                Ok(Impossible { reason: first.message.clone(), way_out: first.suggestion.clone() })
            }
            _ => Err(self),
        }
    }
}
