//! The page: one file of HTML that fetches nothing. Its figures are `summary.json`'s, each in an element that names its place there
//! (`data-of`); its charts are data that `page.js` hands to plotly.js.

mod figures;
mod plan;
mod rates;
mod shell;
mod sweep;
mod tables;
mod verdict;

use maud::{Markup, html};

use super::advice::advice;
use super::kinds::KINDS;
use super::run::Run;
use crate::fidelity::told_by;
use crate::output::notes_of;
use figures::headline;
pub use plan::plan_page;
pub use rates::rates_page;
use shell::Shell;
pub use sweep::sweep_page;

/// A part of the page: where it is, its name, its charts, and what stands below them.
struct Section {
    id: &'static str,
    title: &'static str,
    charts: &'static [&'static str],
    text: fn(&Run) -> Option<Markup>,
}

const SECTIONS: [Section; 8] = [
    Section { id: "bottleneck", title: "What limits it", charts: &["engine-time"], text: verdict::evidence },
    Section {
        id: "latency",
        title: "Latency",
        charts: &[
            "ttft-cdf",
            "tpot-cdf",
            "itl-cdf",
            "e2e-cdf",
            "queue-cdf",
            "ttft-histogram",
            "tpot-histogram",
            "e2e-histogram",
        ],
        text: tables::latency,
    },
    Section { id: "time", title: "Latency over time", charts: &["latency-over-time", "tpot-over-time"], text: nothing },
    Section { id: "slo", title: "SLOs", charts: &["slo-over-time"], text: tables::slo },
    Section { id: "slowest", title: "Where the time went", charts: &["breakdown", "slowest"], text: tables::slowest },
    Section {
        id: "engines",
        title: "Engines",
        charts: &["queue-over-time", "batch-over-time", "kv-over-time", "output-over-time", "prefill-over-time"],
        text: tables::engines,
    },
    Section {
        id: "hardware",
        title: "GPUs and links",
        charts: &["mfu-over-time", "mbu-over-time", "links-over-time"],
        text: tables::hardware,
    },
    Section { id: "run", title: "The run", charts: &[], text: tables::run },
];

fn nothing(_: &Run) -> Option<Markup> {
    None
}

/// The page of a run.
#[must_use]
pub fn page(run: &Run) -> String {
    let name = run.folder.name();
    let mut shell = Shell::new(name.clone());
    for section in &SECTIONS {
        let figures = KINDS.iter().filter(|kind| section.charts.contains(&kind.name));
        let figures: Vec<_> = figures.filter_map(|kind| kind.draw(run)).collect();
        shell.add(section.id, section.title, &figures, (section.text)(run));
    }
    let first = html! {
        (told_first(run))
        section id="figures" { h2 { "Figures" } (headline(run)) }
        section id="next" { h2 { "What to try next" } (suggestions(run)) }
    };
    shell.html(&heading(run, &name), &first, &closing(run))
}

fn heading(run: &Run, name: &str) -> Markup {
    let (word, class) = verdict::word(run);
    html! {
        h1 { (name) }
        p { span.verdict.(class) { (word) } " " (verdict::rates(run)) }
        @for deployment in run.folder.summary["deployment"].as_array().into_iter().flatten().take(4) {
            p.quiet { (verdict::deployment(deployment)) }
        }
    }
}

/// What to know before any figure.
fn told_first(run: &Run) -> Markup {
    let summary = &run.folder.summary;
    html! {
        @if summary["partial"] == true {
            p.warning { "The run was stopped early; all of this is of what came before." }
        }
        @for note in notes_of(summary) { p.warning { (note) } }
        @for expected in told_by(summary) { (accuracy(&[expected.words()], expected.unmeasured.as_slice())) }
        @if !run.folder.missing.is_empty() {
            div.warning {
                p { "Left out:" }
                ul { @for missing in &run.folder.missing { li { (missing) } } }
            }
        }
    }
}

/// How far off such figures were, and which kernels nobody has measured.
fn accuracy(kinds: &[String], unmeasured_kernels: &[String]) -> Markup {
    html! {
        @for words in kinds { p.quiet { "Accuracy: " (words) "." } }
        @for sentence in unmeasured_kernels { p.warning { (sentence) } }
    }
}

fn suggestions(run: &Run) -> Markup {
    html! {
        ol.advice {
            @for advice in advice(run) { li { p { (advice.what) } p.quiet { "Why: " (advice.why) } } }
        }
    }
}

fn closing(run: &Run) -> Markup {
    let program = &run.folder.summary["program"];
    html! {
        p {
            "Simulated and reported by " (program["name"].as_str().unwrap_or_default()) " "
            (program["version"].as_str().unwrap_or_default()) ", seed " (program["seed"]) ". "
            @if let Some(hash) = run.folder.manifest.as_ref().and_then(|manifest| manifest["config_sha256"].as_str()) {
                "Configuration " code { (hash) } "."
            }
        }
        p.quiet { "Figures are those of summary.json; the mouse over one says which." }
    }
}
