//! A plan as a table for a terminal.

use serde_json::json;

use super::plan_names::Names;
use crate::plan::{Answer, Candidate, Figure, Interval, Knee, Plan, Status, told_refused};
use crate::tables::{Block, Document, Findings, Table, figure, flat_rows};

/// Columns before the text of a list.
const INDENT: usize = 12;

/// A plan: the answers, what would be missed with less, what else was looked at.
pub struct Planned<'a>(pub &'a Plan);

/// The highest rates, one a row.
pub struct Knees<'a> {
    /// Them.
    pub knees: &'a [Knee],
    /// What to know before.
    pub notes: &'a [String],
}

impl Findings for Planned<'_> {
    fn document(&self) -> Document {
        let Self(plan) = self;
        let names = names_of(plan);
        let mut blocks: Vec<Block> = plan.notes.iter().map(|note| Block::line("Note", INDENT, note)).collect();
        let met: Vec<&Answer> = plan.answers.iter().filter(|answer| answer.slo_met).collect();
        if !met.is_empty() {
            blocks.push(Block::Table(answers(&met, &names)));
        }
        blocks.extend(plan.answers.iter().map(|answer| beyond(answer, plan, &names)));
        blocks.extend(others(plan, &names));
        Document(blocks)
    }

    /// A row an answer.
    fn records(&self) -> Table {
        let answers = serde_json::to_value(&self.0.answers).expect("answers are trees with names for keys");
        flat_rows(answers.as_array().map_or(&[][..], Vec::as_slice))
    }

    fn json(&self) -> String {
        serde_json::to_string_pretty(self.0).expect("a plan is a tree with names for keys") + "\n"
    }
}

/// What deployments whose highest rate was asked for are called.
pub fn names_of_knees(knees: &[Knee]) -> Names {
    Names::of(knees.iter().map(|knee| knee.settings.as_slice()))
}

/// What all that was looked at is called.
fn names_of(plan: &Plan) -> Names {
    Names::of(plan.candidates.iter().map(|candidate| candidate.settings.as_slice()))
}

/// The deployments, one a row.
fn answers(met: &[&Answer], names: &Names) -> Table {
    let targets = &met[0].targets;
    let mut heads: Vec<String> = ["", "TP", "PP", "replicas", "GPUs"].map(str::to_owned).to_vec();
    heads.extend(targets.iter().map(head));
    heads.extend(["binds", "margin", "$/M out", "$/M tokens", "kWh"].map(str::to_owned));
    let number = |value: Option<f64>, decimals| value.map_or_else(|| "-".to_owned(), |value| figure(value, decimals));
    let count = |value: Option<u32>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    let row = |answer: &&Answer| {
        let mut row = vec![
            names.who(&answer.model, &answer.device, &answer.settings, Some(answer.rate_scale)),
            count(answer.tensor_parallel),
            count(answer.pipeline_parallel),
            replicas_of(answer.replicas, answer.prefill_replicas),
            count(answer.gpus),
        ];
        row.extend(answer.targets.iter().map(value_of));
        row.push(answer.binding.clone().unwrap_or_default());
        row.push(answer.margin_pct.map_or_else(|| "-".to_owned(), |margin| format!("{margin:.1} %")));
        row.push(number(answer.usd_per_million_output_tokens, 2));
        row.push(number(answer.usd_per_million_tokens, 2));
        row.push(number(answer.energy_kwh, 2));
        row
    };
    shown(heads, met.iter().map(row).collect())
}

/// Without the stages of a pipeline, if each has one.
fn shown(mut heads: Vec<String>, mut rows: Vec<Vec<String>>) -> Table {
    if let Some(place) = heads.iter().position(|head| head == "PP")
        && rows.iter().all(|row| row[place] == "1")
    {
        heads.remove(place);
        rows.iter_mut().for_each(|row| drop(row.remove(place)));
    }
    let mut table = Table::shown(&heads, rows);
    table.columns[0].is_whole = true;
    table
}

/// `3`, or `1 + 2` where one computes prompts for two.
fn replicas_of(all: Option<u32>, prefill: Option<u32>) -> String {
    match (all, prefill) {
        (Some(all), Some(prefill)) => format!("{prefill} + {}", all - prefill),
        (Some(all), None) => all.to_string(),
        (None, _) => "-".to_owned(),
    }
}

fn head(target: &Figure) -> String {
    if target.name == "attainment" { target.name.clone() } else { format!("{}, ms", target.name) }
}

fn value_of(target: &Figure) -> String {
    match target.value {
        Some(value) if target.name == "attainment" => format!("{:.2} %", value * 100.0),
        Some(value) => figure(value, 1),
        None if target.met => "-".to_owned(),
        None => "endless".to_owned(),
    }
}

fn limit_of(target: &Figure) -> String {
    if target.name == "attainment" { format!("{} %", target.limit * 100.0) } else { format!("{} ms", target.limit) }
}

/// `1 GPU`, `2 GPUs`.
fn gpus(count: u32) -> String {
    format!("{count} {}", if count == 1 { "GPU" } else { "GPUs" })
}

/// What lies beyond an answer: the next smaller, other seeds; or why there is none.
fn beyond(answer: &Answer, plan: &Plan, names: &Names) -> Block {
    let who = names.who(&answer.model, &answer.device, &answer.settings, Some(answer.rate_scale));
    let mut lines = Vec::new();
    lines.extend(answer.failed.filter(|&failed| failed > 0).map(|failed| {
        let refused = told_refused(&answer.refused);
        let why = if refused.is_empty() || answer.reason.is_some() { String::new() } else { format!(": {refused}") };
        format!("{failed} {} got no whole answer{why}", if failed == 1 { "request" } else { "requests" })
    }));
    if answer.slo_met {
        lines.push(smaller(answer, plan, names));
        lines.extend(answer.intervals.iter().map(told_interval));
    } else if let (Some(count), Some(ranks), Some(stages), None) =
        (answer.gpus, answer.tensor_parallel, answer.pipeline_parallel, &answer.reason)
    {
        lines.push(format!(
            "nothing up to {} meets the SLO; the nearest, TP {ranks}, PP {stages} on {}, {}",
            gpus(plan.max_gpus),
            gpus(count),
            misses(&answer.targets)
        ));
    }
    let vacuous = answer.targets.iter().filter(|target| target.met && target.value.is_none());
    lines.extend(vacuous.map(|target| format!("no request has a value for {}", target.name)));
    lines.extend(answer.reason.clone());
    Block::line("", 2, format!("{who}: {}", lines.join("; ")))
}

/// What the largest deployment of fewer GPUs misses.
fn smaller(answer: &Answer, plan: &Plan, names: &Names) -> String {
    let Some(less) = &answer.next_smaller else {
        let is_smaller = |other: &Candidate| {
            (&other.model, &other.device, other.rate_scale) == (&answer.model, &answer.device, answer.rate_scale)
                && other.status == Status::Meets
                && other.gpus < answer.gpus
        };
        let is_least = !plan.candidates.iter().any(is_smaller);
        let told = if is_least {
            "one replica is the least there is"
        } else {
            "fewer GPUs meet the SLO too, and take more energy"
        };
        return told.to_owned();
    };
    let stages = if less.pipeline_parallel > 1 { format!(", PP {}", less.pipeline_parallel) } else { String::new() };
    let replicas = replicas_of(Some(less.replicas), less.prefill_replicas);
    let settings = if less.settings == answer.settings { String::new() } else { names.settings(&less.settings) };
    let settings = if settings.is_empty() { settings } else { format!(", {settings}") };
    let what = format!("TP {}{stages} × {replicas}{settings}", less.tensor_parallel);
    format!("with {} ({what}) {}", gpus(less.gpus), misses(&less.targets))
}

fn told_interval(interval: &Interval) -> String {
    let Interval { name, runs, mean, low, high, met, is_uncertain } = interval;
    let unsure = if *is_uncertain { ": too near to the limit to be sure of another seed" } else { "" };
    format!("{name} over {runs} seeds {mean:.1}, another between {low:.1} and {high:.1} (95 %), {met} met{unsure}")
}

/// The targets that are missed, and by how much.
fn misses(targets: &[Figure]) -> String {
    let missed = targets.iter().filter(|target| !target.met).map(|target| {
        let by = target.margin_pct.map_or_else(String::new, |margin| format!(" ({:.1} % beyond)", -margin));
        format!("{} is {} for {}{by}", target.name, value_of(target), limit_of(target))
    });
    let missed: Vec<String> = missed.collect();
    if missed.is_empty() { "misses nothing".to_owned() } else { missed.join(", ") }
}

/// What else there is: the front, and what was not tried.
fn others(plan: &Plan, names: &Names) -> Vec<Block> {
    let mut blocks = Vec::new();
    let is_answer = |candidate: &Candidate| plan.answers.iter().any(|answer| answer.slo_met && answer.is_of(candidate));
    let front: Vec<&Candidate> =
        plan.candidates.iter().filter(|candidate| candidate.pareto && !is_answer(candidate)).collect();
    if !front.is_empty() {
        blocks.push(Block::Gap);
        blocks
            .push(Block::Title("Also on the Pareto front of cost, tokens a second of a GPU and latencies:".to_owned()));
        let mut heads: Vec<String> = ["", "TP", "PP", "replicas", "GPUs", "tokens/s/GPU"].map(str::to_owned).to_vec();
        heads.extend(front[0].targets.iter().map(head));
        let row = |candidate: &&Candidate| {
            let mut row = vec![
                names.who(&candidate.model, &candidate.device, &candidate.settings, Some(candidate.rate_scale)),
                candidate.tensor_parallel.to_string(),
                candidate.pipeline_parallel.to_string(),
                replicas_of(candidate.replicas, candidate.prefill_replicas),
                candidate.gpus.map_or_else(String::new, |gpus| gpus.to_string()),
                candidate.output_tokens_per_s_per_gpu.map_or_else(String::new, |rate| figure(rate, 1)),
            ];
            row.extend(candidate.targets.iter().map(value_of));
            row
        };
        blocks.push(Block::Table(shown(heads, front.iter().map(row).collect())));
    }
    blocks.extend(untried(plan, names));
    blocks
}

/// What was not tried, by reason.
fn untried(plan: &Plan, names: &Names) -> Vec<Block> {
    let mut reasons: Vec<(String, Vec<String>)> = Vec::new();
    for candidate in &plan.candidates {
        let (Status::CannotBe | Status::TooLarge, Some(reason)) = (candidate.status, &candidate.reason) else {
            continue;
        };
        let short = reason.split("; ").next().unwrap_or(reason);
        // The rest are bytes.
        let short = if short.contains(" does not fit: ") { "does not fit in memory" } else { short };
        let short = candidate.way_out.as_ref().map_or(short.to_owned(), |way_out| format!("{short}; {way_out}"));
        let who = names.who(&candidate.model, &candidate.device, &candidate.settings, None);
        let who = format!("{who}, TP {}, PP {}", candidate.tensor_parallel, candidate.pipeline_parallel);
        match reasons.iter_mut().find(|(known, _)| *known == short) {
            Some((_, told)) if !told.contains(&who) => told.push(who),
            Some(_) => {}
            None => reasons.push((short, vec![who])),
        }
    }
    let lines =
        reasons.iter().map(|(reason, told)| Block::line("Not tried", INDENT, format!("{reason}: {}", told.join("; "))));
    let lines: Vec<Block> = lines.chain(below_the_roofline(plan, names)).collect();
    (!lines.is_empty()).then_some(Block::Gap).into_iter().chain(lines).collect()
}

/// The numbers of replicas that nobody had to simulate.
fn below_the_roofline(plan: &Plan, names: &Names) -> Option<Block> {
    let bounded = plan.candidates.iter().filter(|candidate| candidate.roofline_replicas > 1 && candidate.runs > 0);
    let told = bounded.map(|candidate| {
        let who = names.who(&candidate.model, &candidate.device, &candidate.settings, Some(candidate.rate_scale));
        format!(
            "{who}, TP {}, PP {}: {}",
            candidate.tensor_parallel, candidate.pipeline_parallel, candidate.roofline_replicas
        )
    });
    let told: Vec<String> = told.collect();
    let head = "the roofline on the load says no to fewer replicas than";
    (!told.is_empty()).then(|| Block::line("Not tried", INDENT, format!("{head} {}", told.join("; "))))
}

impl Findings for Knees<'_> {
    fn document(&self) -> Document {
        let notes = self.notes.iter().map(|note| Block::line("Note", INDENT, note));
        Document(notes.chain(knees_blocks(self.knees)).collect())
    }

    /// A row a deployment.
    fn records(&self) -> Table {
        let knees = serde_json::to_value(self.knees).expect("knees are trees with names for keys");
        flat_rows(knees.as_array().map_or(&[][..], Vec::as_slice))
    }

    fn json(&self) -> String {
        serde_json::to_string_pretty(&json!({ "notes": self.notes, "max_rates": self.knees }))
            .expect("knees are trees with names for keys")
            + "\n"
    }
}

fn knees_blocks(knees: &[Knee]) -> Vec<Block> {
    let names = names_of_knees(knees);
    let mut blocks = Vec::new();
    let met: Vec<&Knee> = knees.iter().filter(|knee| knee.slo_met && !knee.is_burst).collect();
    if let Some(first) = met.first() {
        let mut heads: Vec<String> =
            ["", "TP", "PP", "replicas", "GPUs", "× rate", "requests/s"].map(str::to_owned).to_vec();
        heads.extend(first.targets.iter().map(head));
        heads.extend(["binds", "missed from ×"].map(str::to_owned));
        let row = |knee: &&Knee| {
            let number =
                |value: Option<f64>, decimals| value.map_or_else(|| "-".to_owned(), |value| figure(value, decimals));
            let mut row = vec![
                names.who(&knee.model, &knee.device, &knee.settings, None),
                knee.tensor_parallel.to_string(),
                knee.pipeline_parallel.to_string(),
                knee.replicas.to_string(),
                knee.gpus.to_string(),
                number(knee.rate_scale, 3),
                number(knee.requests_per_s, 2),
            ];
            row.extend(knee.targets.iter().map(value_of));
            row.push(knee.binding.clone().unwrap_or_default());
            row.push(number(knee.missed_at, 3));
            row
        };
        blocks.push(Block::Table(shown(heads, met.iter().map(row).collect())));
    }
    blocks.extend(knees.iter().map(|knee| Block::line("", 2, beyond_the_knee(knee, &names))));
    blocks
}

/// What a deployment holds, and what it misses beyond; or why there is no such rate.
fn beyond_the_knee(knee: &Knee, names: &Names) -> String {
    let who = names.who(&knee.model, &knee.device, &knee.settings, None);
    let mut told = vec![];
    if let (true, false, Some(scale)) = (knee.slo_met, knee.is_burst, knee.rate_scale) {
        let rate = knee.requests_per_s.map_or_else(String::new, |rate| format!("{} requests/s, ", figure(rate, 2)));
        told.push(format!("holds {rate}{} times the load's rate", figure(scale, 3)));
    }
    told.extend(knee.reason.clone());
    if let (true, Some(scale)) = (knee.slo_met, knee.missed_at) {
        told.push(format!("at {} times {}", figure(scale, 3), misses(&knee.missed)));
    } else if !knee.slo_met && !knee.targets.is_empty() {
        told.push(misses(&knee.targets));
    }
    format!("{who}, TP {} × {}: {}", knee.tensor_parallel, knee.replicas, told.join("; "))
}
