//! Which of the deployments that were searched is the best, and which no other outdoes.

use super::deployment::Replicas;
use super::evaluate::Evaluation;
use super::search::Case;
use super::target::Target;
use super::{Objective, Question};

/// A case with what its search found, as it is compared.
pub(super) struct Choice<'a> {
    pub(super) case: usize,
    pub(super) of: Case<'a>,
    pub(super) replicas: Replicas,
    pub(super) run: &'a Evaluation,
}

impl Choice<'_> {
    pub(super) fn gpus(&self) -> u32 {
        self.replicas.all * self.of.deployment.gpus_per_replica()
    }

    pub(super) fn usd_per_hour(&self) -> Option<f64> {
        self.of.price_usd.map(|usd| usd * f64::from(self.gpus()))
    }

    pub(super) fn output_tokens_per_s_per_gpu(&self) -> f64 {
        self.run.output_tokens_per_s / f64::from(self.gpus())
    }

    /// The less, the better: the objective, then what breaks ties.
    fn rank(&self, objective: Objective, targets: &[Target]) -> [f64; 4] {
        let gpus = f64::from(self.gpus());
        let usd = self.usd_per_hour().unwrap_or(f64::INFINITY);
        let energy = self.run.energy_kwh.unwrap_or(f64::INFINITY);
        let margin = self.run.binding(targets).map_or(0.0, |(_, margin)| -margin);
        match objective {
            Objective::Gpus => [gpus, usd, margin, energy],
            Objective::Cost => [usd, gpus, margin, energy],
            Objective::Energy => [energy, gpus, margin, usd],
        }
    }

    /// What a Pareto front is over, the less the better.
    pub(super) fn axes(&self, targets: &[Target]) -> Vec<f64> {
        let cost = self.usd_per_hour().unwrap_or(f64::from(self.gpus()));
        let values = targets.iter().zip(&self.run.values).map(|(target, value)| match target {
            Target::Latency { .. } => value.unwrap_or(0.0),
            Target::Attainment { .. } => -value.unwrap_or(1.0),
        });
        [cost, -self.output_tokens_per_s_per_gpu()].into_iter().chain(values).collect()
    }
}

pub(super) fn dominates(one: &[f64], other: &[f64]) -> bool {
    one.iter().zip(other).all(|(one, other)| one <= other) && one.iter().zip(other).any(|(one, other)| one < other)
}

/// The best of those that meet the targets or, if none does, the one that misses them by least.
pub(super) fn best<'a>(
    own: impl Iterator<Item = &'a Choice<'a>> + Clone,
    question: &Question,
) -> Option<&'a Choice<'a>> {
    let compare = |one: &[f64; 4], other: &[f64; 4]| {
        let pairs = one.iter().zip(other).map(|(one, other)| one.total_cmp(other));
        pairs.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
    };
    let rank = |choice: &&Choice<'_>| choice.rank(question.objective, &question.targets);
    let met = own.clone().filter(|choice| choice.run.is_met);
    let met = met.min_by(|one, other| compare(&rank(one), &rank(other)));
    let margin =
        |choice: &Choice<'_>| choice.run.binding(&question.targets).map_or(f64::NEG_INFINITY, |(_, margin)| margin);
    // Of equals the first.
    met.or_else(|| own.min_by(|one, other| margin(other).total_cmp(&margin(one))))
}
