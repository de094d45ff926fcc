//! From runs to a decision: the fewest GPUs (or the cheapest, or the most frugal) for a load within its targets.
//!
//! Owns the search over deployments. Every candidate is a full simulation of the load, tails included; nothing is estimated. The answer is
//! that of an exhaustive search (`search`), and the same for any number of threads. Reads configurations and runs simulations; knows no
//! command line and writes no file.

mod answer;
mod bound;
mod choice;
mod deploy;
mod deployment;
mod evaluate;
mod interval;
mod knee;
mod load;
mod notes;
mod refused;
mod search;
mod smaller;
mod tally;
mod target;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rayon::prelude::*;

pub use answer::{Answer, Candidate, Figure, NextSmaller, Plan, Status};
pub use deploy::{kubernetes_manifest, serve_command};
pub use deployment::{Base, Deployment, Dimension, FileBase, Replicas, Space};
pub use evaluate::Evaluation;
pub use interval::Interval;
pub use knee::Knee;
pub use refused::{Refused, told_refused};
pub use search::{Found, Impossible, Searched};
pub use target::{DEFAULT_ATTAINMENT, Statistic, Target};

use crate::catalog::{Catalog, PriceList};
use crate::config::Diagnostic;
use evaluate::{Ending, EvaluationError};
use knee::Size;
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
    /// Prices: those that the user types, then lists. The first that names a device rules, and a configuration's own stand between.
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
        let (own, lists) = self.prices.split_at_checked(1).unwrap_or_default();
        let of = |lists: &[PriceList]| lists.iter().find_map(|list| list.of(device));
        // What the user types comes before his file, and that before any list.
        of(own).or_else(|| self.file_price_usd()).or_else(|| of(lists))
    }

    /// Where the price of a device comes from.
    fn price_source(&self, device: &str) -> Option<String> {
        let told = |list: &PriceList| format!("{} ({})", list.source, list.date);
        let (own, lists) = self.prices.split_at_checked(1).unwrap_or_default();
        let of = |lists: &[PriceList]| lists.iter().find(|list| list.of(device).is_some()).map(told);
        let of_file = || self.file_price_usd().and_then(|_| Some(self.space.file()?.file.file.clone()));
        of(own).or_else(of_file).or_else(|| of(lists))
    }

    /// What to know before the figures of [`Self::knees`].
    #[must_use]
    pub fn notes_of_knees(&self, replicas: &[u32]) -> Vec<String> {
        notes::notes_of_knees(self, !replicas.is_empty())
    }

    /// What is to be warned of, of all deployments that can be, each once.
    #[must_use]
    pub fn warnings(&self) -> Vec<Diagnostic> {
        let deployments = self.space.deployments();
        let resolved =
            deployments.iter().filter_map(|deployment| self.space.resolve(deployment, None, 1.0, None, None).ok());
        let mut warnings: Vec<Diagnostic> = Vec::new();
        for warning in resolved.flat_map(|resolved| resolved.warnings) {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        warnings
    }

    /// What the configuration says of its own device.
    fn file_price_usd(&self) -> Option<f64> {
        self.space.file().filter(|base| !base.varies_device)?.facts.price_usd
    }

    fn check(&self) -> Result<(), PlanError> {
        let Space { models, devices, tensor_parallel, pipeline_parallel, dimensions, .. } = &self.space;
        let empty = [
            ("--model", models.is_empty(), "NAME,… (`llmperforacle models` lists them), or a configuration"),
            ("--device", devices.is_empty(), "NAME,… (`llmperforacle devices` lists them), or a configuration"),
            ("--tensor-parallel", tensor_parallel.is_empty(), "N,…"),
            ("--pipeline-parallel", pipeline_parallel.is_empty(), "N,…"),
            ("--rate-scale", self.rate_scales.is_empty(), "FACTOR,…"),
            ("--slo", self.targets.is_empty(), "METRIC=TIME,…"),
        ];
        if let Some((flag, _, values)) = empty.iter().find(|(_, is_empty, _)| *is_empty) {
            return Err(PlanError::Question(format!("there is nothing to try; give {flag} {values}")));
        }
        if let Some(dimension) = dimensions.iter().find(|dimension| dimension.values.is_empty()) {
            return Err(PlanError::Question(format!("{} has no value: there is nothing to try", dimension.key)));
        }
        if let Some(scale) = self.rate_scales.iter().find(|scale| !(scale.is_finite() && **scale > 0.0)) {
            return Err(PlanError::Question(format!("--rate-scale is {scale}, but must be above 0")));
        }
        self.check_own_prices()?;
        let priceless = devices.iter().find(|device| self.price_usd(device).is_none());
        if let (Objective::Cost, Some(device)) = (self.objective, priceless) {
            let message = format!("nobody says what an hour of {device} costs; give --price {device}=USD");
            return Err(PlanError::Question(message));
        }
        Ok(())
    }

    /// A price that the user types is of a device that is planned.
    fn check_own_prices(&self) -> Result<(), PlanError> {
        let devices = &self.space.devices;
        let spec = |name: &str| Catalog::builtin().device(name).map(|device| &device.spec.name);
        let typed = self.prices.first().into_iter().flat_map(|own| &own.usd_per_gpu_hour);
        for (name, usd) in typed {
            let is_it = |device: &String| device == name || spec(name).is_some_and(|own| spec(device) == Some(own));
            if devices.iter().any(is_it) {
                continue;
            }
            let way_out = match self.space.file().filter(|base| !base.varies_device && base.facts.devices.len() > 1) {
                Some(base) => format!("write price_per_gpu_hour_usd at each device of {}", base.file.file),
                None => "name it with --device, or give the price of one of these".to_owned(),
            };
            let planned = devices.join(", ");
            return Err(PlanError::Question(format!("--price {name}={usd}: what is planned is {planned}; {way_out}")));
        }
        Ok(())
    }

    /// What of a configuration a plan cannot vary.
    fn check_base(&self, varies_replicas: bool) -> Result<(), PlanError> {
        let Some(FileBase { file, facts, varies_ranks, .. }) = self.space.file() else { return Ok(()) };
        let file = &file.file;
        if self.space.disaggregate {
            let message = format!(
                "--disaggregate is for a plan without a configuration: between prefill and decode it assumes links of its own, and {file} \
                 has others; plan by flags, or ask --max-rate of a file with both pools"
            );
            return Err(PlanError::Question(message));
        }
        if !(varies_replicas || *varies_ranks) || (facts.frameworks == 1 && !facts.has_pools) {
            return Ok(());
        }
        let what = if facts.has_pools { "prefill and decode pools" } else { "several frameworks that take requests" };
        Err(PlanError::Question(format!(
            "{file} has {what}, and a plan varies replicas and ranks of one framework that serves whole requests; leave one in it \
             (`replicas` are its copies), or ask for the highest rate of all together: plan --max-rate {file}"
        )))
    }

    /// A load that has no rate cannot come faster.
    fn check_rate(&self, flag: &str) -> Result<(), PlanError> {
        let (has_rate, whose) = match &self.space.base {
            Base::File(base) => (
                base.facts.has_rate,
                format!("that of {} comes all at once, as others end, or is held back (max_in_flight)", base.file.file),
            ),
            Base::Flags(run) => {
                (run.has_rate(), "--concurrency, --users, --max-in-flight and --rate inf leave it none".to_owned())
            }
        };
        if has_rate {
            return Ok(());
        }
        Err(PlanError::Question(format!(
            "{flag} needs a load with a rate, and {whose}; give a trace or --rate, or look at several sizes of a closed loop with `sweep`"
        )))
    }

    /// Opens the load at each rate, by the first deployment that can be.
    fn loads(&self, deployments: &[Deployment]) -> Result<Vec<SharedLoad>, PlanError> {
        let mut reasons = BTreeMap::new();
        for deployment in deployments {
            let resolve = |&scale: &f64| self.space.resolve(deployment, deployment.smallest(), scale, None, None);
            match self.rate_scales.iter().map(resolve).collect::<Result<Vec<_>, _>>() {
                Ok(resolved) => {
                    let loads = resolved.iter().map(|resolved| SharedLoad::open(&resolved.workload));
                    return loads.collect::<Result<_, _>>().map_err(PlanError::Load);
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
        self.check_base(true)?;
        if self.rate_scales != [1.0] {
            self.check_rate("--rate-scale")?;
        }
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
        search.add_next_smaller(&cases, &searched, &mut plan)?;
        if self.repeat > 1 {
            self.repeat_answers(&search, &cases, &mut plan)?;
        }
        Ok(plan)
    }

    /// The highest rate of so many replicas of each deployment that meets the targets; without `replicas`, of as many as the
    /// configuration has.
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
        self.check_base(!replicas.is_empty())?;
        self.check_rate("--max-rate")?;
        let deployments = self.space.deployments();
        let search = Search { space: &self.space, targets: &self.targets, most_gpus: u32::MAX, interrupted };
        let mut cases: Vec<(&Deployment, Size)> = Vec::new();
        for deployment in &deployments {
            cases.extend(replicas.iter().map(|&replicas| (deployment, Size::of(deployment, replicas))));
            if let ([], Some(FileBase { facts, varies_ranks, .. })) = (replicas, self.space.file()) {
                let gpus = if *varies_ranks { facts.replicas * deployment.gpus_per_replica() } else { facts.gpus };
                cases.push((deployment, Size { set: None, replicas: facts.replicas, gpus }));
            }
        }
        if cases.is_empty() {
            return Err(PlanError::Question(
                "nothing says of how many replicas; give --replicas, such as --replicas 1,2".to_owned(),
            ));
        }
        let is_too_large = |(_, size): &&(&Deployment, Size)| size.set.is_some() && size.gpus > self.most_gpus;
        if let Some((deployment, size)) = cases.iter().find(is_too_large) {
            let Size { replicas, gpus, .. } = size;
            let most = self.most_gpus;
            let message = format!(
                "--replicas {replicas} of {} has {gpus} GPUs, above --max-gpus {most}; raise it",
                deployment.model
            );
            return Err(PlanError::Question(message));
        }
        let done = AtomicUsize::new(0);
        let knee_of = |&(deployment, size): &(&Deployment, Size)| {
            let knee = search.knee(deployment, size);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, cases.len());
            knee
        };
        let knees: Vec<Result<Knee, SearchError>> = cases.par_iter().map(knee_of).collect();
        Ok(knees.into_iter().collect::<Result<_, _>>()?)
    }

    /// Runs each answer with further seeds.
    fn repeat_answers(&self, search: &Search<'_>, cases: &[Case<'_>], plan: &mut Plan) -> Result<(), PlanError> {
        let first_seed = self.space.seed();
        let chosen: Vec<(usize, Replicas)> = plan.chosen().collect();
        let runs = chosen.into_par_iter().map(|(case, replicas)| {
            // The first is the run that was chosen.
            let seeds = (0..u64::from(self.repeat)).map(|more| (more > 0).then(|| first_seed.wrapping_add(more)));
            seeds.map(|seed| search.run_with_seed(cases[case], replicas, Ending::Whole, seed)).collect()
        });
        let runs: Vec<Result<Vec<Evaluation>, SearchError>> = runs.collect();
        for (answer, runs) in plan.met_answers().zip(runs) {
            answer.add_intervals(&self.targets, &runs?);
        }
        Ok(())
    }
}
