//! The page of a plan.

use maud::{Markup, html};
use serde_json::Value;

use super::figures::{Unit, shown};
use super::shell::{Shell, heads, scrolling};
use crate::output::notes_of;
use crate::report::plan::Plan;

/// Rows of a table.
const MOST_ROWS: usize = 500;

/// The page.
#[must_use]
pub fn plan_page(plan: &Plan) -> String {
    let name = plan.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut shell = Shell::new(name.clone());
    shell.add("answers", "Answers", &[], Some(answers(plan)));
    shell.add("load", "Over the load", &plan.curves(), None);
    shell.add("fronts", "Throughput against latency", &plan.fronts(), None);
    shell.add("candidates", "All that was looked at", &[], Some(candidates(plan)));
    let objective = plan.told["objective"].as_str().unwrap_or_default();
    let header = html! {
        h1 { (name) }
        p { "The least of " strong { (objective) } " that meets the targets, of at most " (plan.told["max_gpus"]) " GPUs; " (plan.told["runs"]) " simulations." }
    };
    let first = html! { @for note in notes_of(&plan.told) { p.warning { (note) } } };
    shell.html(&header, &first, &html! { p { "Figures are those of the plan." } })
}

pub(super) fn number(told: &Value, key: &str, unit: Unit) -> String {
    told[key].as_f64().map_or_else(|| "–".to_owned(), |value| shown(value, unit))
}

pub(super) fn word<'a>(told: &'a Value, key: &str) -> &'a str {
    told[key].as_str().unwrap_or("–")
}

/// Replicas, and how many of them compute prompts alone, where that is apart.
pub(super) fn replicas(told: &Value) -> String {
    let replicas = number(told, "replicas", Unit::Count);
    match told["prefill_replicas"].as_u64() {
        Some(prefill) => format!("{replicas}, of which {prefill} prefill"),
        None => replicas,
    }
}

/// What a deployment is.
pub(super) fn deployment(told: &Value) -> String {
    let pairs = told["settings"].as_array().into_iter().flatten().filter_map(|pair| {
        let (key, value) = (pair[0].as_str()?, pair[1].as_str()?);
        Some(format!("{}={value}", key.rsplit('.').next().unwrap_or(key)))
    });
    let parallel = match (told["tensor_parallel"].as_u64(), told["pipeline_parallel"].as_u64()) {
        (Some(tensor), Some(pipeline)) => format!("TP {tensor}, PP {pipeline}"),
        _ => "–".to_owned(),
    };
    std::iter::once(parallel).chain(pairs).collect::<Vec<_>>().join(", ")
}

/// Figures of the targets, and which of them are missed.
pub(super) fn targets(targets: &Value) -> String {
    let targets = targets.as_array().into_iter().flatten().map(|target| {
        let value =
            target["value"].as_f64().map_or_else(|| "endless".to_owned(), |value| shown(value, Unit::Plain("")));
        let sign = if target["met"] == true { "" } else { " (missed)" };
        format!("{} {value} of {}{sign}", word(target, "name"), number(target, "limit", Unit::Plain("")))
    });
    targets.collect::<Vec<_>>().join("; ")
}

/// Why there is no answer of it, and what to do.
fn reason(candidate: &Value) -> String {
    let told = ["reason", "way_out"].into_iter().filter_map(|key| candidate[key].as_str());
    told.collect::<Vec<_>>().join("; ")
}

fn answers(plan: &Plan) -> Markup {
    let row = |answer: &Value| {
        let smaller = &answer["next_smaller"];
        html! {
            tr {
                th scope="row" { (word(answer, "model")) }
                td.text { (word(answer, "device")) }
                td { (number(answer, "rate_scale", Unit::Plain("×"))) }
                td { @if answer["slo_met"] == true { "yes" } @else { "no" } }
                td { (number(answer, "gpus", Unit::Count)) }
                td { (replicas(answer)) }
                td.text { (deployment(answer)) }
                td { (word(answer, "binding")) }
                td { @if let Some(margin) = answer["margin_pct"].as_f64() { (format!("{margin:.1}\u{a0}%")) } @else { "–" } }
                td.text { (targets(&answer["targets"])) }
                td { (number(answer, "usd_per_million_output_tokens", Unit::Plain(""))) }
                td { (number(answer, "output_tokens_per_s_per_gpu", Unit::Plain(""))) }
                td.text {
                    @if smaller.is_object() {
                        (number(smaller, "gpus", Unit::Count)) " GPU, " (deployment(smaller)) " × " (replicas(smaller)) ": "
                        (targets(&smaller["targets"]))
                    } @else { "–" }
                }
                td.text { (answer["reason"].as_str().unwrap_or("")) }
            }
        }
    };
    html! {
        (scrolling(html! {
            (heads([
                "model", "device", "load", "met", "GPUs", "replicas", "deployment", "binds", "margin", "targets", "USD a million output tokens",
                "tokens/s a GPU", "next smaller", "why not",
            ]))
            tbody { @for answer in plan.answers().take(MOST_ROWS) { (row(answer)) } }
        }))
    }
}

fn candidates(plan: &Plan) -> Markup {
    let count = plan.candidates().count();
    let row = |candidate: &Value| {
        html! {
            tr {
                th scope="row" { (word(candidate, "model")) }
                td.text { (word(candidate, "device")) }
                td { (number(candidate, "rate_scale", Unit::Plain("×"))) }
                td.text { (deployment(candidate)) }
                td { (word(candidate, "status").replace('_', " ")) }
                td { (number(candidate, "gpus", Unit::Count)) }
                td.text { (targets(&candidate["targets"])) }
                td { (number(candidate, "usd_per_million_output_tokens", Unit::Plain(""))) }
                td { @if candidate["pareto"] == true { "yes" } @else { "no" } }
                td { (number(candidate, "runs", Unit::Count)) }
                td.text { (reason(candidate)) }
            }
        }
    };
    html! {
        @if count > MOST_ROWS { p.quiet { "The first " (MOST_ROWS) " of " (count) "." } }
        details {
            summary { (count) " candidates" }
            (scrolling(html! {
                (heads([
                    "model", "device", "load", "deployment", "came to", "GPUs", "targets", "USD a million output tokens", "on the front", "runs",
                    "why not tried",
                ]))
                tbody { @for candidate in plan.candidates().take(MOST_ROWS) { (row(candidate)) } }
            }))
        }
    }
}
