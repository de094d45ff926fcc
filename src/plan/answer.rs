//! What a plan says: an answer a model, device and load, and every candidate with what became of it.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::deployment::{Deployment, Replicas};
use super::evaluate::Evaluation;
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

/// What an answer would miss with one replica less.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NextSmaller {
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
    /// One replica less; absent where there is none.
    pub next_smaller: Option<NextSmaller>,
    /// Over seeds; empty without `--repeat`.
    pub intervals: Vec<Interval>,
    /// Why there is no deployment to tell of.
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
    /// Why it was not tried.
    pub reason: Option<String>,
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

/// A case with what its search found, as it is compared.
struct Choice<'a> {
    case: usize,
    of: Case<'a>,
    replicas: Replicas,
    run: &'a Evaluation,
}

impl Choice<'_> {
    fn gpus(&self) -> u32 {
        self.replicas.all * self.of.deployment.gpus_per_replica()
    }

    fn usd_per_hour(&self) -> Option<f64> {
        self.of.price_usd.map(|usd| usd * f64::from(self.gpus()))
    }

    fn output_tokens_per_s_per_gpu(&self) -> f64 {
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
    fn axes(&self, targets: &[Target]) -> Vec<f64> {
        let cost = self.usd_per_hour().unwrap_or(f64::from(self.gpus()));
        let values = targets.iter().zip(&self.run.values).map(|(target, value)| match target {
            Target::Latency { .. } => value.unwrap_or(0.0),
            Target::Attainment { .. } => -value.unwrap_or(1.0),
        });
        [cost, -self.output_tokens_per_s_per_gpu()].into_iter().chain(values).collect()
    }
}

fn dominates(one: &[f64], other: &[f64]) -> bool {
    one.iter().zip(other).all(|(one, other)| one <= other) && one.iter().zip(other).any(|(one, other)| one < other)
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
                Found::TooLarge | Found::CannotBe { .. } => None,
            })
            .collect();
        let mut answers = Vec::new();
        for model in &question.space.models {
            for device in &question.space.devices {
                for &rate_scale in &question.rate_scales {
                    let is_of = |case: &Case<'_>| {
                        let deployment = case.deployment;
                        (&deployment.model, &deployment.device, case.rate_scale) == (model, device, rate_scale)
                    };
                    let own = choices.iter().filter(|choice| is_of(&choice.of));
                    let reasons = cases.iter().zip(searched).filter(|(case, _)| is_of(case));
                    let reasons = reasons.filter_map(|(_, searched)| reason(&searched.found)).next();
                    let best = best(own, question);
                    answers.push(answer((model, device, rate_scale), best, searched, question, reasons));
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
            notes: notes(question, cases),
            answers,
            candidates: candidates.collect(),
            runs: searched.iter().map(|searched| u64::from(searched.runs)).sum(),
        }
    }

    /// Whether any question has an answer.
    #[must_use]
    pub fn meets_any(&self) -> bool {
        self.answers.iter().any(|answer| answer.slo_met)
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

/// The best of those that meet the targets or, if none does, the one that misses them by least.
fn best<'a>(own: impl Iterator<Item = &'a Choice<'a>> + Clone, question: &Question) -> Option<&'a Choice<'a>> {
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

fn reason(found: &Found) -> Option<String> {
    match found {
        Found::CannotBe { reason } => Some(reason.clone()),
        Found::TooLarge => Some("a replica has more GPUs than --max-gpus".to_owned()),
        Found::Fewest { .. } | Found::None { .. } => None,
    }
}

fn answer(
    (model, device, rate_scale): (&str, &str, f64),
    best: Option<&Choice<'_>>,
    searched: &[Searched],
    question: &Question,
    reason: Option<String>,
) -> Answer {
    let targets = &question.targets;
    let next_smaller = best.and_then(|choice| match &searched[choice.case].found {
        Found::Fewest { one_less: Some((replicas, run)), .. } => Some(NextSmaller {
            replicas: replicas.all,
            prefill_replicas: replicas.prefill,
            gpus: replicas.all * choice.of.deployment.gpus_per_replica(),
            binding: binding(targets, run).0,
            targets: figures(targets, &run.values),
        }),
        _ => None,
    });
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
        output_tokens_per_s_per_gpu: best.map(Choice::output_tokens_per_s_per_gpu),
        usd_per_hour: best.and_then(Choice::usd_per_hour),
        usd_per_million_output_tokens: best.and_then(|choice| choice.run.usd_per_million_output_tokens),
        usd_per_million_tokens: best.and_then(|choice| choice.run.usd_per_million_tokens),
        energy_kwh: best.and_then(|choice| choice.run.energy_kwh),
        next_smaller,
        intervals: Vec::new(),
        reason: reason.filter(|_| best.is_none()),
    }
}

fn candidate(of: &Case<'_>, searched: &Searched, choice: Option<(&Choice<'_>, bool)>, targets: &[Target]) -> Candidate {
    let deployment = of.deployment;
    let status = match &searched.found {
        Found::Fewest { .. } => Status::Meets,
        Found::None { .. } => Status::Misses,
        Found::TooLarge => Status::TooLarge,
        Found::CannotBe { .. } => Status::CannotBe,
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
        reason: reason(&searched.found),
        runs: searched.runs,
        roofline_replicas: searched.least_replicas,
    }
}

/// What to know before any figure.
fn notes(question: &Question, cases: &[Case<'_>]) -> Vec<String> {
    let mut notes = Vec::new();
    if question.space.run.trace.is_some() && question.rate_scales.iter().any(|&scale| scale != 1.0) {
        notes.push(
            "at another rate the trace's own requests come faster or slower: a busier service would have others"
                .to_owned(),
        );
    }
    if question.space.disaggregate {
        let assumed =
            "between prefill and decode a NIC a GPU of 400 Gb/s and 2 µs is assumed, as NVIDIA's servers have";
        notes.push(assumed.to_owned());
    }
    if question.prices.iter().any(|list| list.of(&question.space.devices[0]).is_some()) {
        let used = |device: &String| question.prices.iter().find(|list| list.of(device).is_some());
        let mut sources: Vec<String> = question
            .space
            .devices
            .iter()
            .filter_map(used)
            .map(|list| format!("{} ({})", list.source, list.date))
            .collect();
        sources.sort();
        sources.dedup();
        notes.push(format!("prices: {}", sources.join("; ")));
    }
    let remarks = cases.iter().flat_map(|case| &case.load.remarks);
    for remark in remarks {
        if !notes.contains(remark) {
            notes.push(remark.clone());
        }
    }
    notes
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

fn interval(target: &Target, at: usize, runs: &[Evaluation]) -> Option<Interval> {
    let values: Vec<f64> = runs.iter().map(|run| run.values[at]).collect::<Option<_>>()?;
    let count = values.len();
    let mean = values.iter().sum::<f64>() / count as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let deviation = (squares / (count - 1) as f64).sqrt();
    let reach = StudentsT::new(0.0, 1.0, (count - 1) as f64).map_or(f64::NAN, |t| t.inverse_cdf(0.975))
        * deviation
        * (1.0 + 1.0 / count as f64).sqrt();
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
