//! The page of `plan --max-rate`: the knee of each deployment.

use maud::{Markup, html};
use serde_json::Value;

use super::figures::Unit;
use super::plan::{deployment, number, replicas, targets, word};
use super::shell::{Shell, heads, scrolling};
use crate::report::plan::Plan;

/// The page.
#[must_use]
pub fn rates_page(plan: &Plan) -> String {
    let name = plan.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut shell = Shell::new(name.clone());
    shell.add("rates", "Highest rates", &plan.rates(), Some(table(plan)));
    let met = plan.max_rates().filter(|knee| knee["slo_met"] == true).count();
    let header = html! {
        h1 { (name) }
        p { "The highest rate that meets the targets, of " (plan.max_rates().count()) " deployments; " (met) " meet them at some rate." }
    };
    shell.html(&header, &html! {}, &html! { p { "Figures are those of the plan." } })
}

fn table(plan: &Plan) -> Markup {
    let missed = |knee: &Value| match knee["missed_at"].as_f64() {
        Some(_) => format!("from {}: {}", number(knee, "missed_at", Unit::Plain("×")), targets(&knee["missed"])),
        None => "–".to_owned(),
    };
    let row = |knee: &Value| {
        html! {
            tr {
                th scope="row" { (word(knee, "model")) }
                td.text { (word(knee, "device")) }
                td.text { (deployment(knee)) }
                td { (replicas(knee)) }
                td { (number(knee, "gpus", Unit::Count)) }
                td { @if knee["slo_met"] == true { "yes" } @else { "no" } }
                td { (number(knee, "requests_per_s", Unit::Plain(""))) }
                td { (number(knee, "rate_scale", Unit::Plain("×"))) }
                td { (word(knee, "binding")) }
                td { @if let Some(margin) = knee["margin_pct"].as_f64() { (format!("{margin:.1}\u{a0}%")) } @else { "–" } }
                td.text { (targets(&knee["targets"])) }
                td.text { (missed(knee)) }
                td.text { (knee["reason"].as_str().unwrap_or("")) }
            }
        }
    };
    html! {
        (scrolling(html! {
            (heads([
                "model", "device", "deployment", "replicas", "GPUs", "met", "requests/s", "load", "binds", "margin", "targets",
                "what is missed beyond", "why",
            ]))
            tbody { @for knee in plan.max_rates() { (row(knee)) } }
        }))
    }
}
