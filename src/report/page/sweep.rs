//! The page of a sweep.

use maud::{Markup, html};
use serde_json::Value;

use super::accuracy;
use super::figures::{Unit, shown};
use super::shell::{Shell, heads, scrolling};
use crate::report::sweep::{Knee, Point, Sweep, charts, front, knees};

/// Rows of a table.
const MOST_ROWS: usize = 500;
/// Rows of the table of a front.
const MOST_OF_A_FRONT: usize = 50;
/// What is told of each point: metric, head, unit.
const TOLD: [(&str, &str, Unit); 9] = [
    ("requests_per_s", "requests/s", Unit::Plain("")),
    ("output_tokens_per_s", "output tokens/s", Unit::Plain("")),
    ("ttft_p50_ms", "TTFT p50, ms", Unit::Plain("")),
    ("ttft_p99_ms", "TTFT p99, ms", Unit::Plain("")),
    ("tpot_p99_ms", "TPOT p99, ms", Unit::Plain("")),
    ("e2e_p99_ms", "E2E p99, ms", Unit::Plain("")),
    ("slo_attainment", "within SLO", Unit::Share),
    ("gpus", "GPUs", Unit::Count),
    ("usd_per_million_output_tokens", "USD a million output tokens", Unit::Plain("")),
];

/// The page.
#[must_use]
pub fn sweep_page(sweep: &Sweep) -> String {
    let name = sweep.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut shell = Shell::new(name.clone());
    let (curves, fronts) = charts(sweep);
    shell.add("knees", "Knees", &[], knees_table(sweep));
    shell.add("front", "Throughput against latency", &fronts, front_table(sweep));
    shell.add("curves", "Curves", &curves, None);
    shell.add("points", "Points", &[], Some(points_table(sweep)));
    shell.add("lost", "What was not simulated", &[], lost_table(sweep));
    let header = html! {
        h1 { (name) }
        p { (sweep.points.len()) " points over " (keys(sweep)) "." }
        p.quiet { (common(sweep)) }
    };
    let first = html! {
        @for note in &sweep.notes { p.warning { (note) } }
        (accuracy(&sweep.accuracy, &sweep.unmeasured_kernels))
        section id="figures" { h2 { "Figures" } (headline(sweep)) }
    };
    let word = |key: &str| sweep.description[key].as_str().unwrap_or_default().to_owned();
    let footer = html! { p { "Simulated and reported by " (word("program")) " " (word("version")) ". Figures are those of results.parquet." } };
    shell.html(&header, &first, &footer)
}

fn keys(sweep: &Sweep) -> String {
    sweep.settings.iter().map(|setting| setting.key.as_str()).collect::<Vec<_>>().join(", ")
}

/// What all points have in common.
fn common(sweep: &Sweep) -> String {
    let settings = sweep.description["settings"].as_array().into_iter().flatten().filter_map(Value::as_str);
    settings.collect::<Vec<_>>().join(" ")
}

fn count(sweep: &Sweep, is: impl Fn(&Point) -> bool) -> f64 {
    sweep.points.iter().filter(|point| is(point)).count() as f64
}

fn headline(sweep: &Sweep) -> Markup {
    let simulated = count(sweep, |point| point.status == "ok");
    let keeps_up = count(sweep, |point| point.keeps_up == Some(true));
    let lost = sweep.points.len() as f64 - simulated;
    let best = |better: fn(f64, f64) -> bool, of: &dyn Fn(&Point) -> Option<f64>| {
        let good = sweep.points.iter().filter(|point| point.keeps_up != Some(false));
        good.filter_map(of).reduce(|best, value| if better(value, best) { value } else { best })
    };
    let most_tokens = best(|value, best| value > best, &|point| sweep.tokens_per_gpu(point));
    let cheapest = best(|value, best| value < best, &|point| sweep.metric(point, "usd_per_million_output_tokens"));
    let tiles = [
        ("simulated", Some(simulated), Unit::Count, "points"),
        ("keep up", Some(keeps_up), Unit::Count, "of them"),
        ("not simulated", Some(lost).filter(|&lost| lost > 0.0), Unit::Count, "refused or failed"),
        ("most tokens", most_tokens, Unit::Plain(""), "output tokens/s a GPU, of those that keep up"),
        ("cheapest", cheapest, Unit::Plain(""), "USD a million output tokens, of those that keep up"),
    ];
    html! {
        div.tiles {
            @for (name, value, unit, about) in tiles {
                @if let Some(value) = value {
                    div.tile { div.name { (name) } div.value { (shown(value, unit)) } div.quiet { (about) } }
                }
            }
        }
    }
}

fn knees_table(sweep: &Sweep) -> Option<Markup> {
    let knees = knees(sweep);
    (!knees.is_empty()).then_some(())?;
    let row = |knee: &Knee| {
        html! {
            tr {
                th scope="row" { (knee.setting) }
                td.text { @if knee.others.is_empty() { "–" } @else { (knee.others) } }
                td { @if let Some(good) = knee.good { (good) } @else { "none" } }
                td { (knee.bad) }
                td.text { (knee.why) @if let Some(again) = knee.good_again { "; does at " (again) " again" } }
            }
        }
    };
    Some(html! {
        p.quiet {
            "How far a key goes, all others as they are, until a point does not keep up, keeps less than 99 % within the SLO, or cannot \
             be simulated. Of several seeds all must do."
        }
        (scrolling(html! {
            (heads(["key", "with", "does up to", "does not at", "why"]))
            tbody { @for knee in knees.iter().take(MOST_ROWS) { (row(knee)) } }
        }))
        @if knees.len() > MOST_ROWS { p.quiet { "The first " (MOST_ROWS) " of " (knees.len()) "." } }
    })
}

fn front_table(sweep: &Sweep) -> Option<Markup> {
    let table = |latency: &'static str, title: &str| {
        let front = front(sweep, latency);
        html! {
            details {
                summary { "The front of " (title) ", point by point" }
                @if front.len() > MOST_OF_A_FRONT { p.quiet { "The first " (MOST_OF_A_FRONT) " of " (front.len()) "." } }
                (scrolling(html! {
                    (heads(settings(sweep).chain([title, "output tokens/s a GPU"])))
                    tbody {
                        @for (point, latency_ms, tokens) in front.into_iter().take(MOST_OF_A_FRONT) {
                            tr {
                                @for value in &point.values { td.text { (value) } }
                                td { (shown(latency_ms, Unit::Plain(""))) }
                                td { (shown(tokens, Unit::Plain(""))) }
                            }
                        }
                    }
                }))
            }
        }
    };
    sweep.has("gpus").then(|| html! { (table("ttft_p99_ms", "TTFT p99, ms")) (table("tpot_p99_ms", "TPOT p99, ms")) })
}

fn settings(sweep: &Sweep) -> impl Iterator<Item = &str> {
    sweep.settings.iter().map(|setting| setting.name.as_str())
}

fn points_table(sweep: &Sweep) -> Markup {
    let told: Vec<_> = TOLD.into_iter().filter(|(metric, ..)| sweep.has(metric)).collect();
    let simulated = || sweep.points.iter().filter(|point| point.status == "ok");
    let row = |point: &Point| {
        let keeps_up = match point.keeps_up {
            Some(true) => "yes",
            Some(false) => "no",
            None => "cannot be told",
        };
        html! {
            tr {
                th scope="row" { (point.number) }
                @for value in &point.values { td.text { (value) } }
                td { (keeps_up) }
                td.word { (point.limited_by.as_deref().unwrap_or("–").replace('_', " ")) }
                @for (metric, _, unit) in &told {
                    td { @if let Some(value) = sweep.metric(point, metric) { (shown(value, *unit)) } @else { "–" } }
                }
            }
        }
    };
    html! {
        @if simulated().count() > MOST_ROWS {
            p.quiet { "The first " (MOST_ROWS) " of " (simulated().count()) "; results.parquet has them all." }
        }
        (scrolling(html! {
            (heads(["point"].into_iter().chain(settings(sweep)).chain(["keeps up", "limited by"]).chain(told.iter().map(|(_, head, _)| *head))))
            tbody { @for point in simulated().take(MOST_ROWS) { (row(point)) } }
        }))
    }
}

fn lost_table(sweep: &Sweep) -> Option<Markup> {
    let lost = || sweep.points.iter().filter(|point| point.status != "ok");
    let count = lost().count();
    (count > 0).then(|| {
        html! {
            @if count > MOST_ROWS { p.quiet { "The first " (MOST_ROWS) " of " (count) "." } }
            (scrolling(html! {
                (heads(["point"].into_iter().chain(settings(sweep)).chain(["ended as", "why"])))
                tbody {
                    @for point in lost().take(MOST_ROWS) {
                        tr {
                            th scope="row" { (point.number) }
                            @for value in &point.values { td.text { (value) } }
                            td { (point.status) }
                            td.text { (point.error.as_deref().unwrap_or("–")) }
                        }
                    }
                }
            }))
        }
    })
}
