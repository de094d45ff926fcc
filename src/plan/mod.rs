//! From runs to a decision: the fewest GPUs (or the cheapest, or the most frugal) for a load within its targets.
//!
//! Owns the search over deployments. Every candidate is a full simulation of the load, tails included; nothing is estimated. The answer is
//! that of an exhaustive search (`search`), and the same for any number of threads. Reads configurations and runs simulations; knows no
//! command line and writes no file.

mod answer;
mod bound;
mod deploy;
mod deployment;
mod evaluate;
mod knee;
mod load;
mod search;
mod tally;
mod target;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rayon::prelude::*;

pub use answer::{Answer, Candidate, Figure, Interval, NextSmaller, Plan, Status};
pub use deploy::{kubernetes_manifest, serve_command};
pub use deployment::{Deployment, Dimension, Replicas, Space};
pub use evaluate::Evaluation;
pub use knee::Knee;
pub use search::{Found, Searched};
pub use target::{DEFAULT_ATTAINMENT, Statistic, Target};

use crate::catalog::PriceList;
use crate::config::Diagnostic;
use evaluate::{Ending, EvaluationError};
use load::SharedLoad;
use search::{Case, Search, SearchError};

/// What there is least of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// GPUs.
    #[default]
    Gpus,
    /// Dollars.
    Cost,
    /// Energy.
    Energy,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// What may be deployed, and the load.
    pub space: Space,
    /// Times the rate of the load.
    pub rate_scales: Vec<f64>,
    /// What the answer keeps to.
    pub targets: Vec<Target>,
    /// What there is to be least of.
    pub objective: Objective,
    /// No deployment has more GPUs.
    pub most_gpus: u32,
    /// Runs of each answer with seeds of their own, for intervals; 1: none.
    pub repeat: u32,
    /// Prices, the first that names a device rules.
    pub prices: Vec<PriceList>,
}

/// Why there is no plan.
#[derive(Debug)]
pub enum PlanError {
    /// The question is wrong.
    Question(String),
    /// A configuration is wrong.
    Configuration(Vec<Diagnostic>),
    /// The load cannot be replayed.
    Load(String),
    /// The user wanted it to end.
    Interrupted,
}

impl From<SearchError> for PlanError {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Configuration(found) => Self::Configuration(found),
            SearchError::Evaluation(EvaluationError::Interrupted) => Self::Interrupted,
            SearchError::Evaluation(EvaluationError::Load(message)) => Self::Load(message),
        }
    }
}

impl Question {
    fn price_usd(&self, device: &str) -> Option<f64> {
        self.prices.iter().find_map(|list| list.of(device))
    }

    fn check(&self) -> Result<(), PlanError> {
        let Space { models, devices, tensor_parallel, pipeline_parallel, dimensions, .. } = &self.space;
        let empty = [
            ("--model", models.is_empty()),
            ("--device", devices.is_empty()),
            ("--tensor-parallel", tensor_parallel.is_empty()),
            ("--pipeline-parallel", pipeline_parallel.is_empty()),
            ("--rate-scale", self.rate_scales.is_empty()),
            ("--slo", self.targets.is_empty()),
        ];
        if let Some((flag, _)) = empty.iter().find(|(_, is_empty)| *is_empty) {
            return Err(PlanError::Question(format!("{flag} has no value: there is nothing to try")));
        }
        if let Some(dimension) = dimensions.iter().find(|dimension| dimension.values.is_empty()) {
            return Err(PlanError::Question(format!("{} has no value: there is nothing to try", dimension.key)));
        }
        if let Some(scale) = self.rate_scales.iter().find(|scale| !(scale.is_finite() && **scale > 0.0)) {
            return Err(PlanError::Question(format!("--rate-scale is {scale}, but must be above 0")));
        }
        let priceless = devices.iter().find(|device| self.price_usd(device).is_none());
        if let (Objective::Cost, Some(device)) = (self.objective, priceless) {
            let message = format!("nobody says what an hour of {device} costs; give --price {device}=USD");
            return Err(PlanError::Question(message));
        }
        Ok(())
    }

    /// Opens the load at each rate, by the first deployment that can be.
    fn loads(&self, deployments: &[Deployment]) -> Result<Vec<SharedLoad>, PlanError> {
        let mut reasons = BTreeMap::new();
        for deployment in deployments {
            let resolve = |&scale: &f64| self.space.resolve(deployment, deployment.smallest(), scale, None, None);
            match self.rate_scales.iter().map(resolve).collect::<Result<Vec<_>, _>>() {
                Ok(resolved) => {
                    let loads = resolved.iter().map(|resolved| SharedLoad::open(&resolved.workload));
                    return loads.collect::<Result<_, _>>().map_err(|error| PlanError::Load(error.to_string()));
                }
                Err(found)
                    if found
                        .iter()
                        .all(|found| found.cannot_be || found.severity == crate::config::Severity::Warning) =>
                {
                    reasons.extend(
                        found.into_iter().filter(|found| found.cannot_be).map(|found| (found.message.clone(), found)),
                    );
                }
                Err(found) => return Err(PlanError::Configuration(found)),
            }
        }
        Err(PlanError::Configuration(reasons.into_values().collect()))
    }

    /// Answers it. `progress` is told of each case that is done, of how many.
    ///
    /// # Errors
    /// The question, a configuration or the load is wrong; or `interrupted` was set.
    ///
    /// # Panics
    /// Never: each case has a load.
    pub fn answer(&self, interrupted: &AtomicBool, progress: impl Fn(usize, usize) + Sync) -> Result<Plan, PlanError> {
        self.check()?;
        let deployments = self.space.deployments();
        let loads = self.loads(&deployments)?;
        let search = Search { space: &self.space, targets: &self.targets, most_gpus: self.most_gpus, interrupted };
        let rates = || self.rate_scales.iter().zip(&loads);
        let cases: Vec<Case<'_>> = deployments
            .iter()
            .flat_map(|deployment| {
                let price_usd = self.price_usd(&deployment.device);
                rates().map(move |(&rate_scale, load)| Case { deployment, rate_scale, load, price_usd })
            })
            .collect();
        let done = AtomicUsize::new(0);
        let search_one = |case: &Case<'_>| {
            let searched = search.fewest(*case);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, cases.len());
            searched
        };
        let searched: Vec<_> = cases.par_iter().map(search_one).collect();
        let searched: Vec<Searched> = searched.into_iter().collect::<Result<_, _>>()?;
        let mut plan = Plan::new(self, &cases, &searched);
        if self.repeat > 1 {
            self.repeat_answers(&search, &cases, &mut plan)?;
        }
        Ok(plan)
    }

    /// The highest rate of so many replicas of each deployment that meets the targets.
    ///
    /// # Errors
    /// As of [`Self::answer`].
    pub fn knees(
        &self,
        replicas: &[u32],
        interrupted: &AtomicBool,
        progress: impl Fn(usize, usize) + Sync,
    ) -> Result<Vec<Knee>, PlanError> {
        self.check()?;
        let deployments = self.space.deployments();
        let search = Search { space: &self.space, targets: &self.targets, most_gpus: u32::MAX, interrupted };
        let cases: Vec<(&Deployment, u32)> = deployments
            .iter()
            .flat_map(|deployment| replicas.iter().map(move |&replicas| (deployment, replicas)))
            .collect();
        let done = AtomicUsize::new(0);
        let knee_of = |&(deployment, replicas): &(&Deployment, u32)| {
            let knee = search.knee(deployment, replicas);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, cases.len());
            knee
        };
        let knees: Vec<Result<Knee, SearchError>> = cases.par_iter().map(knee_of).collect();
        Ok(knees.into_iter().collect::<Result<_, _>>()?)
    }

    /// Runs each answer with further seeds.
    fn repeat_answers(&self, search: &Search<'_>, cases: &[Case<'_>], plan: &mut Plan) -> Result<(), PlanError> {
        let first_seed = self.space.overrides.seed.unwrap_or(0);
        let chosen: Vec<(usize, Replicas)> = plan.chosen().collect();
        let runs = chosen.into_par_iter().map(|(case, replicas)| {
            let seeds = (0..u64::from(self.repeat)).map(|more| first_seed + more);
            seeds.map(|seed| search.run_with_seed(cases[case], replicas, Ending::Whole, Some(seed))).collect()
        });
        let runs: Vec<Result<Vec<Evaluation>, SearchError>> = runs.collect();
        for (answer, runs) in plan.met_answers().zip(runs) {
            answer.add_intervals(&self.targets, &runs?);
        }
        Ok(())
    }
}
