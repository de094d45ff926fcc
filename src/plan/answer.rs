//! What a plan says: an answer a model, device and load, and every candidate with what became of it.

use serde::Serialize;

use super::choice::{Choice, best, dominates};
use super::deployment::{Deployment, Replicas};
use super::evaluate::Evaluation;
use super::interval::{Interval, interval};
use super::notes::notes;
use super::refused::{Refused, told_refused};
use super::search::{Case, Found, Searched};
use super::target::Target;
use super::{Objective, Question};
use crate::config::{Diagnostic, Resolved};

/// The plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// What there is least of.
    pub objective: Objective,
    /// No deployment has more.
    pub max_gpus: u32,
    /// What to know before any figure.
    pub notes: Vec<String>,
    /// The best deployment of each model and device at each rate.
    pub answers: Vec<Answer>,
    /// All that was looked at.
    pub candidates: Vec<Candidate>,
    /// Simulations, those of `--repeat` left out.
    pub runs: u64,
}

/// A target and how a run fared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// The target, such as `ttft_p99`.
    pub name: String,
    /// What it is held to: milliseconds, or a share.
    pub limit: f64,
    /// What came out; `None` where no request had a value, or it is endless.
    pub value: Option<f64>,
    /// How far within the limit, in per cent of it; negative beyond. `None` where the value is endless.
    pub margin_pct: Option<f64>,
    /// Whether it is met.
    pub met: bool,
}

/// What an answer would miss with fewer GPUs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NextSmaller {
    /// Ranks of a replica.
    pub tensor_parallel: u32,
    /// Pipeline stages of a replica.
    pub pipeline_parallel: u32,
    /// What else was chosen.
    pub settings: Vec<(String, String)>,
    /// Replicas.
    pub replicas: u32,
    /// Of which compute prompts alone, where that is apart.
    pub prefill_replicas: Option<u32>,
    /// GPUs.
    pub gpus: u32,
    /// The target that it misses by most.
    pub binding: Option<String>,
    /// All of them.
    pub targets: Vec<Figure>,
}

/// The best deployment of a model on a device at a rate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The model.
    pub model: String,
    /// The device.
    pub device: String,
    /// Times the rate of the load.
    pub rate_scale: f64,
    /// Whether there is one that meets the targets within the limit of GPUs. If not, what follows is the nearest miss.
    pub slo_met: bool,
    /// Ranks of a replica.
    pub tensor_parallel: Option<u32>,
    /// Pipeline stages of a replica.
    pub pipeline_parallel: Option<u32>,
    /// What else was chosen.
    pub settings: Vec<(String, String)>,
    /// Replicas.
    pub replicas: Option<u32>,
    /// Of which compute prompts alone, where that is apart.
    pub prefill_replicas: Option<u32>,
    /// GPUs.
    pub gpus: Option<u32>,
    /// The target with the least margin.
    pub binding: Option<String>,
    /// That margin, in per cent of the limit.
    pub margin_pct: Option<f64>,
    /// Each target.
    pub targets: Vec<Figure>,
    /// Requests that got no whole answer.
    pub failed: Option<u64>,
    /// Of these, the ones that engines refuse for their length, however many replicas there are.
    pub refused: Vec<Refused>,
    /// Output tokens a second of a GPU.
    pub output_tokens_per_s_per_gpu: Option<f64>,
    /// GPU hours at the price, for an hour of service.
    pub usd_per_hour: Option<f64>,
    /// The same for a million output tokens.
    pub usd_per_million_output_tokens: Option<f64>,
    /// The same for a million tokens of prompts and answers.
    pub usd_per_million_tokens: Option<f64>,
    /// GPUs and servers, over the load.
    pub energy_kwh: Option<f64>,
    /// The largest of fewer GPUs, of all that were tried; absent where none was.
    pub next_smaller: Option<NextSmaller>,
    /// Over seeds; empty without `--repeat`.
    pub intervals: Vec<Interval>,
    /// Why there is no deployment to tell of, or none with more replicas.
    pub reason: Option<String>,
}

/// What became of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It meets the targets with so many replicas, and with none fewer.
    Meets,
    /// It does not with any number that the limit of GPUs allows.
    Misses,
    /// A replica has more GPUs than the limit.
    TooLarge,
    /// It does not fit, or its engine refuses to start.
    CannotBe,
}

/// A deployment under a load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// The model.
    pub model: String,
    /// The device.
    pub device: String,
    /// Times the rate of the load.
    pub rate_scale: f64,
    /// Ranks of a replica.
    pub tensor_parallel: u32,
    /// Pipeline stages of a replica.
    pub pipeline_parallel: u32,
    /// Prefill and decode are on replicas of their own.
    pub disaggregated: bool,
    /// What else was chosen.
    pub settings: Vec<(String, String)>,
    /// What became of it.
    pub status: Status,
    /// Replicas: the fewest that meet the targets, or the most that were tried.
    pub replicas: Option<u32>,
    /// Of which compute prompts alone, where that is apart.
    pub prefill_replicas: Option<u32>,
    /// GPUs of these.
    pub gpus: Option<u32>,
    /// Each target.
    pub targets: Vec<Figure>,
    /// Output tokens a second of a GPU.
    pub output_tokens_per_s_per_gpu: Option<f64>,
    /// Dollars an hour.
    pub usd_per_hour: Option<f64>,
    /// For a million output tokens.
    pub usd_per_million_output_tokens: Option<f64>,
    /// GPUs and servers, over the load.
    pub energy_kwh: Option<f64>,
    /// Nothing of the same model and load is better in one of dollars (or GPUs), tokens a second of a GPU and the targets' values, and as
    /// good in the others.
    pub pareto: bool,
    /// Why it was not tried, or not with more replicas.
    pub reason: Option<String>,
    /// What to do about that, where it cannot be.
    pub way_out: Option<String>,
    /// Simulations.
    pub runs: u32,
    /// The roofline says no to fewer replicas; none of those was simulated.
    pub roofline_replicas: u32,
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

pub(super) fn figures(targets: &[Target], values: &[Option<f64>]) -> Vec<Figure> {
    let figure = |(target, value): (&Target, &Option<f64>)| Figure {
        name: target.to_string(),
        limit: target.limit(),
        value: value.and_then(finite),
        margin_pct: value.and_then(|value| finite(target.margin_pct(value))),
        met: value.is_none_or(|value| target.is_met(value)),
    };
    targets.iter().zip(values).map(figure).collect()
}

/// Of figures, the one that binds.
pub(super) fn binding(targets: &[Target], run: &Evaluation) -> (Option<String>, Option<f64>) {
    let binding = run.binding(targets);
    (binding.map(|(at, _)| targets[at].to_string()), binding.and_then(|(_, margin)| finite(margin)))
}

/// Of each load that is over before a rate could show what it does: for how long it comes, and how long its last answers take.
fn short_loads(choices: &[Choice<'_>], question: &Question) -> Vec<String> {
    let of_scale = |&scale: &f64| {
        let runs = choices.iter().filter(|choice| choice.of.rate_scale == scale && choice.run.is_met);
        let run = runs
            .map(|choice| choice.run)
            .filter(|run| run.is_short())
            .max_by(|one, other| one.drain_s.total_cmp(&other.drain_s))?;
        Some(format!(
            "at {scale} × the load comes within {:.1} s, and the last of it is served up to {:.1} s later: what serves these {} requests \
             may be too small for a rate that lasts; take a longer load (--requests, --duration)",
            run.arrivals_s, run.drain_s, run.requests
        ))
    };
    question.rate_scales.iter().filter_map(of_scale).collect()
}

impl Plan {
    pub(super) fn new(question: &Question, cases: &[Case<'_>], searched: &[Searched]) -> Self {
        let choices: Vec<Choice<'_>> = cases
            .iter()
            .zip(searched)
            .enumerate()
            .filter_map(|(case, (&of, searched))| match &searched.found {
                Found::Fewest { replicas, run, .. } | Found::None { replicas, run } => {
                    Some(Choice { case, of, replicas: *replicas, run })
                }
                Found::TooLarge | Found::CannotBe(_) => None,
            })
            .collect();
        let mut answers = Vec::new();
        for model in &question.space.models {
            for device in &question.space.devices {
                for &rate_scale in &question.rate_scales {
                    let is_of = |case: &Case<'_>| case.is_of(model, device, rate_scale);
                    let own = choices.iter().filter(|choice| is_of(&choice.of));
                    let reasons = cases.iter().zip(searched).filter(|(case, _)| is_of(case));
                    let reasons = reasons.filter_map(|(_, searched)| reason(&searched.found)).next();
                    let best = best(own, question);
                    answers.push(answer((model, device, rate_scale), best, question, reasons));
                }
            }
        }
        let axes: Vec<Option<Vec<f64>>> =
            choices.iter().map(|choice| choice.run.is_met.then(|| choice.axes(&question.targets))).collect();
        let is_alike = |one: &Choice<'_>, other: &Choice<'_>| {
            one.of.deployment.model == other.of.deployment.model && one.of.rate_scale == other.of.rate_scale
        };
        let on_front = |at: usize| {
            axes[at].as_ref().is_some_and(|own| {
                choices.iter().zip(&axes).all(|(other, axes)| {
                    !is_alike(&choices[at], other) || axes.as_ref().is_none_or(|axes| !dominates(axes, own))
                })
            })
        };
        let candidates = cases.iter().zip(searched).enumerate().map(|(case, (of, searched))| {
            let choice = choices.iter().position(|choice| choice.case == case);
            candidate(of, searched, choice.map(|at| (&choices[at], on_front(at))), &question.targets)
        });
        Self {
            objective: question.objective,
            max_gpus: question.most_gpus,
            notes: notes(question, cases).into_iter().chain(short_loads(&choices, question)).collect(),
            answers,
            candidates: candidates.collect(),
            runs: searched.iter().map(|searched| u64::from(searched.runs)).sum(),
        }
    }

    /// The models, devices and loads that have no answer.
    pub fn unanswered(&self) -> impl Iterator<Item = &Answer> {
        self.answers.iter().filter(|answer| !answer.slo_met)
    }

    /// Adds simulations of a case.
    pub(super) fn count_runs(&mut self, case: usize, runs: u32) {
        self.candidates[case].runs += runs;
        self.runs += u64::from(runs);
    }

    /// The answers that meet the targets.
    pub(super) fn met_answers(&mut self) -> impl Iterator<Item = &mut Answer> {
        self.answers.iter_mut().filter(|answer| answer.slo_met)
    }

    /// The positions of their cases among the candidates, and their replicas.
    pub(super) fn chosen(&self) -> impl Iterator<Item = (usize, Replicas)> + '_ {
        self.answers.iter().filter(|answer| answer.slo_met).filter_map(|answer| {
            let replicas = Replicas { all: answer.replicas?, prefill: answer.prefill_replicas };
            Some((self.candidates.iter().position(|candidate| answer.is_of(candidate))?, replicas))
        })
    }
}

fn reason(found: &Found) -> Option<String> {
    match found {
        Found::CannotBe(impossible) => Some(impossible.to_string()),
        Found::TooLarge => Some("a replica has more GPUs than --max-gpus".to_owned()),
        Found::None { run, .. } => lost_to_refusals(run),
        Found::Fewest { .. } => None,
    }
}

/// Why more replicas would not help.
pub(super) fn lost_to_refusals(run: &Evaluation) -> Option<String> {
    run.is_lost_to_refusals.then(|| format!("no number of replicas mends that: {}", told_refused(&run.refused)))
}

fn answer(
    (model, device, rate_scale): (&str, &str, f64),
    best: Option<&Choice<'_>>,
    question: &Question,
    reason: Option<String>,
) -> Answer {
    let targets = &question.targets;
    let (binding, margin_pct) = best.map_or((None, None), |choice| binding(targets, choice.run));
    Answer {
        model: model.to_owned(),
        device: device.to_owned(),
        rate_scale,
        slo_met: best.is_some_and(|choice| choice.run.is_met),
        tensor_parallel: best.map(|choice| choice.of.deployment.tensor_parallel),
        pipeline_parallel: best.map(|choice| choice.of.deployment.pipeline_parallel),
        settings: best.map_or_else(Vec::new, |choice| choice.of.deployment.settings.clone()),
        replicas: best.map(|choice| choice.replicas.all),
        prefill_replicas: best.and_then(|choice| choice.replicas.prefill),
        gpus: best.map(Choice::gpus),
        binding,
        margin_pct,
        targets: best.map_or_else(Vec::new, |choice| figures(targets, &choice.run.values)),
        failed: best.map(|choice| choice.run.failed),
        refused: best.map_or_else(Vec::new, |choice| choice.run.refused.clone()),
        output_tokens_per_s_per_gpu: best.map(Choice::output_tokens_per_s_per_gpu),
        usd_per_hour: best.and_then(Choice::usd_per_hour),
        usd_per_million_output_tokens: best.and_then(|choice| choice.run.usd_per_million_output_tokens),
        usd_per_million_tokens: best.and_then(|choice| choice.run.usd_per_million_tokens),
        energy_kwh: best.and_then(|choice| choice.run.energy_kwh),
        next_smaller: None,
        intervals: Vec::new(),
        reason: match best {
            Some(choice) => lost_to_refusals(choice.run),
            None => reason,
        },
    }
}

fn candidate(of: &Case<'_>, searched: &Searched, choice: Option<(&Choice<'_>, bool)>, targets: &[Target]) -> Candidate {
    let deployment = of.deployment;
    let status = match &searched.found {
        Found::Fewest { .. } => Status::Meets,
        Found::None { .. } => Status::Misses,
        Found::TooLarge => Status::TooLarge,
        Found::CannotBe(_) => Status::CannotBe,
    };
    let choice_of = choice.as_ref().map(|(choice, _)| *choice);
    Candidate {
        model: deployment.model.clone(),
        device: deployment.device.clone(),
        rate_scale: of.rate_scale,
        tensor_parallel: deployment.tensor_parallel,
        pipeline_parallel: deployment.pipeline_parallel,
        disaggregated: deployment.is_disaggregated,
        settings: deployment.settings.clone(),
        status,
        replicas: choice_of.map(|choice| choice.replicas.all),
        prefill_replicas: choice_of.and_then(|choice| choice.replicas.prefill),
        gpus: choice_of.map(Choice::gpus),
        targets: choice_of.map_or_else(Vec::new, |choice| figures(targets, &choice.run.values)),
        output_tokens_per_s_per_gpu: choice_of.map(Choice::output_tokens_per_s_per_gpu),
        usd_per_hour: choice_of.and_then(Choice::usd_per_hour),
        usd_per_million_output_tokens: choice_of.and_then(|choice| choice.run.usd_per_million_output_tokens),
        energy_kwh: choice_of.and_then(|choice| choice.run.energy_kwh),
        pareto: choice.is_some_and(|(_, is_on_front)| is_on_front),
        reason: match &searched.found {
            Found::CannotBe(impossible) => Some(impossible.reason.clone()),
            found => reason(found),
        },
        way_out: match &searched.found {
            Found::CannotBe(impossible) => impossible.way_out.clone(),
            _ => None,
        },
        runs: searched.runs,
        roofline_replicas: searched.least_replicas,
    }
}

impl Plan {
    /// The configuration of each answer that meets the targets.
    pub fn configurations<'a>(
        &'a self,
        question: &'a Question,
    ) -> impl Iterator<Item = (&'a Answer, Result<Resolved, Vec<Diagnostic>>)> + 'a {
        self.answers.iter().filter(|answer| answer.slo_met).filter_map(|answer| {
            let deployment = Deployment {
                model: answer.model.clone(),
                device: answer.device.clone(),
                tensor_parallel: answer.tensor_parallel?,
                pipeline_parallel: answer.pipeline_parallel?,
                data_parallel: question.space.data_parallel(),
                is_disaggregated: answer.prefill_replicas.is_some(),
                settings: answer.settings.clone(),
            };
            let replicas = Replicas { all: answer.replicas?, prefill: answer.prefill_replicas };
            let price = question.price_usd(&answer.device);
            Some((answer, question.space.resolve(&deployment, replicas, answer.rate_scale, None, price)))
        })
    }
}

impl Answer {
    /// Whether it chose this candidate.
    #[must_use]
    pub fn is_of(&self, candidate: &Candidate) -> bool {
        candidate.model == self.model
            && candidate.device == self.device
            && candidate.rate_scale == self.rate_scale
            && Some(candidate.tensor_parallel) == self.tensor_parallel
            && Some(candidate.pipeline_parallel) == self.pipeline_parallel
            && candidate.disaggregated == self.prefill_replicas.is_some()
            && candidate.settings == self.settings
    }

    /// A name for its files: model, device, load, ranks and replicas.
    #[must_use]
    pub fn file_name(&self) -> String {
        let model = self.model.trim_end_matches("/config.json").rsplit('/').next().unwrap_or(&self.model);
        let count = |value: Option<u32>| value.unwrap_or(0);
        let (ranks, stages) = (count(self.tensor_parallel), count(self.pipeline_parallel));
        let prefill = self.prefill_replicas.map_or_else(String::new, |prefill| format!("-prefill{prefill}"));
        format!(
            "{model}-{}-load{}-tp{ranks}-pp{stages}-x{}{prefill}",
            self.device,
            self.rate_scale,
            count(self.replicas)
        )
    }

    /// Adds what runs with other seeds say.
    pub(super) fn add_intervals(&mut self, targets: &[Target], runs: &[Evaluation]) {
        self.intervals = targets.iter().enumerate().filter_map(|(at, target)| interval(target, at, runs)).collect();
    }
}
