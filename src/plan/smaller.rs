//! What the next smaller deployment misses: of all that were tried for an answer's model, device and load, the largest with
//! fewer GPUs.

use rayon::prelude::*;

use super::answer::{NextSmaller, Plan, binding, figures};
use super::deployment::Replicas;
use super::evaluate::{Ending, Evaluation};
use super::search::{BestSplit, Case, Found, Search, SearchError, Searched};

/// Replicas of a case that miss the targets.
#[derive(Clone, Copy)]
struct Smaller {
    case: usize,
    replicas: u32,
    gpus: u32,
}

/// The largest that have fewer GPUs than an answer: several where as many GPUs can be deployed in several ways.
fn largest_below(gpus: u32, of: &Case<'_>, cases: &[Case<'_>], searched: &[Searched]) -> Vec<Smaller> {
    let alike = |other: &Case<'_>| other.is_of(&of.deployment.model, &of.deployment.device, of.rate_scale);
    let smaller = cases.iter().zip(searched).enumerate().filter(|(_, (other, _))| alike(other));
    let smaller = smaller.filter_map(|(case, (other, searched))| {
        let most = match &searched.found {
            Found::Fewest { replicas, .. } => replicas.all - 1,
            Found::None { replicas, .. } => replicas.all,
            Found::TooLarge | Found::CannotBe(_) => return None,
        };
        let of_each = other.deployment.gpus_per_replica();
        let replicas = most.min((gpus - 1) / of_each);
        (replicas >= other.deployment.smallest().all).then_some(Smaller { case, replicas, gpus: replicas * of_each })
    });
    let smaller: Vec<Smaller> = smaller.collect();
    let most = smaller.iter().map(|smaller| smaller.gpus).max();
    smaller.into_iter().filter(|smaller| Some(smaller.gpus) == most).collect()
}

impl Search<'_> {
    /// Adds to each answer what the next smaller deployment misses, of several of a size the one that misses by least.
    pub(super) fn add_next_smaller(
        &self,
        cases: &[Case<'_>],
        searched: &[Searched],
        plan: &mut Plan,
    ) -> Result<(), SearchError> {
        let chosen = plan.chosen().enumerate();
        let jobs = chosen.flat_map(|(answer, (case, replicas))| {
            let gpus = replicas.all * cases[case].deployment.gpus_per_replica();
            largest_below(gpus, &cases[case], cases, searched).into_iter().map(move |smaller| (answer, smaller))
        });
        let jobs: Vec<(usize, Smaller)> = jobs.collect();
        let run = |&(_, Smaller { case, replicas, .. }): &(usize, Smaller)| match &searched[case].found {
            Found::None { replicas: known, run } if known.all == replicas => Ok((Some((*known, run.clone())), 0)),
            _ => self.best_split(cases[case], replicas, 1, Ending::Whole),
        };
        let runs: Vec<Result<BestSplit, SearchError>> = jobs.par_iter().map(run).collect();
        let mut found: Vec<Option<(Smaller, Replicas, Evaluation)>> = vec![None; plan.chosen().count()];
        for ((answer, smaller), ran) in jobs.into_iter().zip(runs) {
            let (best, tried) = ran?;
            plan.count_runs(smaller.case, tried);
            let (replicas, run) = best.expect("some split was tried");
            if found[answer].as_ref().is_none_or(|(.., known)| self.rank(&run) > self.rank(known)) {
                found[answer] = Some((smaller, replicas, run));
            }
        }
        for (answer, found) in plan.met_answers().zip(found) {
            answer.next_smaller = found.map(|(smaller, replicas, run)| {
                let deployment = cases[smaller.case].deployment;
                NextSmaller {
                    tensor_parallel: deployment.tensor_parallel,
                    pipeline_parallel: deployment.pipeline_parallel,
                    settings: deployment.settings.clone(),
                    replicas: replicas.all,
                    prefill_replicas: replicas.prefill,
                    gpus: smaller.gpus,
                    binding: binding(self.targets, &run).0,
                    targets: figures(self.targets, &run.values),
                }
            });
        }
        Ok(())
    }
}
