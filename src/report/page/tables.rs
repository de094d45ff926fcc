//! The tables of the page. Each scrolls by itself, so that the page does not.

use maud::{Markup, html};
use serde_json::{Map, Value};

use super::figures::{Unit, figure, shown};
use super::shell::{heads, scrolling};
use crate::report::parts::PARTS;
use crate::report::requests::SlowRequest;
use crate::report::run::Run;

/// Rows of a kind; of more, the busiest.
const MOST_ROWS: usize = 64;
/// Defaults that are listed.
const MOST_DEFAULTS: usize = 200;

/// A key of a map as a JSON pointer takes it.
fn pointer_of(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

pub(super) fn latency(run: &Run) -> Option<Markup> {
    let kinds = [
        ("TTFT", "time_to_first_token_ms"),
        ("TPOT", "time_per_output_token_ms"),
        ("ITL", "inter_token_latency_ms"),
        ("E2E", "end_to_end_latency_ms"),
        ("queue", "queue_time_ms"),
    ];
    let columns = latency_columns(run);
    let table = |path: &str| {
        let here = kinds.iter().filter(|(_, key)| run.folder.summary.pointer(&format!("{path}/{key}")).is_some());
        scrolling(html! {
            thead { tr { th scope="col" { "ms" } @for column in &columns { th scope="col" { (column) } } } }
            tbody {
                @for (name, key) in here {
                    tr {
                        th scope="row" { (name) }
                        @for column in &columns {
                            @let unit = if column == "count" { Unit::Count } else { Unit::Plain("") };
                            td { (figure(run, &format!("{path}/{key}/{column}"), unit)) }
                        }
                    }
                }
            }
        })
    };
    let profiles = run.folder.summary["per_profile"].as_object().filter(|profiles| profiles.len() > 1);
    Some(html! {
        p.quiet {
            "Of requests that succeeded and arrived after the warm-up. ITL is every gap between two tokens at the engine, all pooled."
        }
        (table("/latency"))
        @if let Some(profiles) = profiles {
            details {
                summary { "By profile" }
                @for profile in profiles.keys().take(MOST_ROWS) {
                    h4 { (profile) }
                    (table(&format!("/per_profile/{}/latency", pointer_of(profile))))
                }
            }
        }
    })
}

/// Statistics that the summary has, in a useful order.
fn latency_columns(run: &Run) -> Vec<String> {
    let told = run.folder.summary.pointer("/latency/end_to_end_latency_ms").and_then(Value::as_object);
    let mut quantiles: Vec<(f64, String)> = told
        .into_iter()
        .flat_map(Map::keys)
        .filter_map(|key| Some((key.strip_prefix('p')?.parse::<f64>().ok()?, key.clone())))
        .collect();
    quantiles.sort_by(|a, b| a.0.total_cmp(&b.0));
    let quantiles = quantiles.into_iter().map(|(_, key)| key);
    ["count", "mean", "std", "min"].map(str::to_owned).into_iter().chain(quantiles).chain(["max".to_owned()]).collect()
}

pub(super) fn slo(run: &Run) -> Option<Markup> {
    run.folder.summary["slo"].is_object().then_some(())?;
    let profiles = run.folder.summary["per_profile"].as_object().into_iter().flatten();
    let profiles = profiles.filter(|(_, told)| told["slo"].is_object()).take(MOST_ROWS);
    let paths = profiles.map(|(name, _)| (name.as_str(), format!("/per_profile/{}/slo", pointer_of(name))));
    let paths: Vec<(&str, String)> = std::iter::once(("all", "/slo".to_owned())).chain(paths).collect();
    let metrics = |path: &str| -> Vec<String> {
        let of = run.folder.summary.pointer(&format!("{path}/by_metric")).and_then(Value::as_object);
        of.into_iter().flat_map(Map::keys).cloned().collect()
    };
    let row = |name: &str, metric: &str, path: &str| {
        html! {
            tr {
                th scope="row" { (name) }
                td { (metric) }
                td { (figure(run, &format!("{path}/objective_ms"), Unit::Plain("ms"))) }
                td { (figure(run, &format!("{path}/attainment"), Unit::Share)) }
                td { (figure(run, &format!("{path}/met"), Unit::Count)) }
                td { (figure(run, &format!("{path}/missed"), Unit::Count)) }
            }
        }
    };
    Some(scrolling(html! {
        (heads(["profile", "metric", "at most", "attainment", "within", "missed"]))
        tbody {
            @for (name, path) in &paths {
                (row(name, "all of them", path))
                @for metric in metrics(path) {
                    (row(name, &metric.trim_end_matches("_ms").to_uppercase(), &format!("{path}/by_metric/{}", pointer_of(&metric))))
                }
            }
        }
    }))
}

pub(super) fn slowest(run: &Run) -> Option<Markup> {
    let requests = run.requests.as_ref()?;
    (!requests.slowest.is_empty()).then_some(())?;
    let plain = |value: f64| shown(value, Unit::Plain(""));
    let used: Vec<usize> = (0..PARTS.len())
        .filter(|&part| requests.slowest.iter().any(|slow| slow.parts.is_some_and(|parts| parts[part] > 0.0)))
        .collect();
    let row = |slow: &SlowRequest| {
        html! {
            tr {
                th scope="row" { (slow.id) }
                td.text { (slow.profile) }
                td.text { (slow.engine) }
                td { (plain(slow.arrival_s)) }
                td { (slow.prompt_tokens) }
                td { (slow.cached_tokens) }
                td { (slow.output_tokens) }
                td { (plain(slow.ttft_ms)) }
                td { @if let Some(tpot_ms) = slow.tpot_ms { (plain(tpot_ms)) } @else { "–" } }
                td { (plain(slow.e2e_ms)) }
                @for &part in &used { td { @if let Some(parts) = slow.parts { (plain(parts[part])) } @else { "–" } } }
                td { (slow.preemptions) }
                td { (slow.recomputed_tokens) }
            }
        }
    };
    Some(html! {
        details {
            summary { "The " (requests.slowest.len()) " slowest requests, number by number" }
            p.quiet { "Latencies and parts in milliseconds; the parts add up to E2E." }
            (scrolling(html! {
                thead {
                    tr {
                        @for head in ["request", "profile", "engine", "arrival, s", "prompt", "cached", "output", "TTFT", "TPOT", "E2E"] {
                            th scope="col" { (head) }
                        }
                        @for &part in &used { th scope="col" { (PARTS[part]) } }
                        @for head in ["preempted", "recomputed"] { th scope="col" { (head) } }
                    }
                }
                tbody { @for slow in &requests.slowest { (row(slow)) } }
            }))
        }
    })
}

/// Names of a kind, the busiest first, as many as a table has, and how many there are.
fn busiest<'a>(run: &'a Run, kind: &str) -> (Vec<&'a str>, usize) {
    let all = run.folder.summary[kind].as_object();
    let mut ranked: Vec<(&str, f64)> =
        all.into_iter().flatten().map(|(name, told)| (name.as_str(), told["busy"].as_f64().unwrap_or(0.0))).collect();
    let count = ranked.len();
    if count > MOST_ROWS {
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        ranked.truncate(MOST_ROWS);
    }
    (ranked.into_iter().map(|(name, _)| name).collect(), count)
}

/// A table of engines, GPUs or links.
fn of_kind(run: &Run, kind: &str, one: &str, columns: &[(&str, &str, Unit)]) -> Markup {
    let (names, count) = busiest(run, kind);
    let names_of_columns: Vec<&str> = std::iter::once(one).chain(columns.iter().map(|(name, ..)| *name)).collect();
    html! {
        @if count > names.len() { p.quiet { "The " (names.len()) " busiest of " (count) "." } }
        (scrolling(html! {
            (heads(names_of_columns))
            tbody {
                @for name in names {
                    tr {
                        th scope="row" { (name) }
                        @for (_, key, unit) in columns {
                            td { (figure(run, &format!("/{kind}/{}/{key}", pointer_of(name)), *unit)) }
                        }
                    }
                }
            }
        }))
    }
}

pub(super) fn engines(run: &Run) -> Option<Markup> {
    let columns = [
        ("busy", "busy", Unit::Share),
        ("prefill MFU", "prefill/mfu", Unit::Share),
        ("decode MBU", "decode/mbu", Unit::Share),
        ("KV peak", "kv_use_peak", Unit::Share),
        ("most running", "running_peak", Unit::Count),
        ("most waiting", "waiting_peak", Unit::Count),
        ("preemptions", "preemptions", Unit::Count),
        ("blocks evicted", "kv_blocks_evicted", Unit::Count),
        ("held by seats", "held_by_seats", Unit::Share),
        ("by token budget", "held_by_token_budget", Unit::Share),
        ("by KV cache", "held_by_kv_cache", Unit::Share),
        ("output tokens", "output_tokens", Unit::Count),
    ];
    Some(of_kind(run, "engines", "engine", &columns))
}

pub(super) fn hardware(run: &Run) -> Option<Markup> {
    let gpus = [
        ("busy", "busy", Unit::Share),
        ("MFU", "mfu", Unit::Share),
        ("MBU", "mbu", Unit::Share),
        ("mean power", "mean_power_w", Unit::Plain("W")),
    ];
    let links =
        [("busy", "busy", Unit::Share), ("bytes", "bytes", Unit::Count), ("transfers", "transfers", Unit::Count)];
    Some(html! {
        (of_kind(run, "gpus", "GPU", &gpus))
        @if run.folder.count("links") > 0 {
            details { summary { "Links" } (of_kind(run, "links", "link", &links)) }
        }
    })
}

pub(super) fn run(run: &Run) -> Option<Markup> {
    let summary = &run.folder.summary;
    let rows = [
        ("simulated", "/simulation/total_duration_s", Unit::Plain("s")),
        ("of which warm-up", "/simulation/warm_up_duration_s", Unit::Plain("s")),
        ("load offered until", "/load/offered_until_s", Unit::Plain("s")),
        ("requests", "/requests/total", Unit::Count),
        ("answered", "/requests/successful", Unit::Count),
        ("refused", "/requests/failed", Unit::Count),
        ("given up by their clients", "/requests/timeout", Unit::Count),
        ("in flight at the end", "/requests/incomplete", Unit::Count),
        ("tokens in all", "/throughput/total_tokens_per_second", Unit::Plain("tokens/s")),
        ("drain after the load", "/drain/duration_s", Unit::Plain("s")),
        ("energy", "/energy/energy_kwh", Unit::Plain("kWh")),
        ("mean power", "/energy/mean_power_w", Unit::Plain("W")),
        ("GPU hours", "/cost/gpu_hours", Unit::Plain("")),
        ("cost", "/cost/usd", Unit::Plain("USD")),
    ];
    let rows = rows.into_iter().filter(|(_, pointer, _)| run.folder.number(pointer).is_some());
    let reasons = summary["requests"]["by_reason"].as_object().into_iter().flat_map(Map::keys);
    let word = |pointer: &str| summary.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let defaults: Vec<&Value> = summary["defaults"].as_array().into_iter().flatten().collect();
    Some(html! {
        p { "Load: " (word("/load/description")) ". Router " (word("/router")) "; the run ended as " (word("/simulation/stop_reason")) "." }
        (scrolling(html! {
            tbody {
                @for (name, pointer, unit) in rows { tr { th scope="row" { (name) } td { (figure(run, pointer, unit)) } } }
                @for reason in reasons {
                    tr {
                        th scope="row" { "ended as " (reason) }
                        td { (figure(run, &format!("/requests/by_reason/{}", pointer_of(reason)), Unit::Count)) }
                    }
                }
            }
        }))
        @if !defaults.is_empty() {
            details {
                summary { "What the configuration left to defaults" }
                @if defaults.len() > MOST_DEFAULTS { p.quiet { "The first " (MOST_DEFAULTS) " of " (defaults.len()) "." } }
                (scrolling(html! {
                    (heads(["framework", "key", "value", "why"]))
                    tbody {
                        @for taken in defaults.iter().take(MOST_DEFAULTS) {
                            tr { @for key in ["framework", "key", "value", "reason"] { td.text { (taken[key].as_str().unwrap_or_default()) } } }
                        }
                    }
                }))
            }
        }
        @if let Some(config) = run.folder.manifest.as_ref().map(|manifest| &manifest["config"]).filter(|config| config.is_object()) {
            details {
                summary { "The configuration" }
                pre.scroll tabindex="0" { (format!("{config:#}")) }
            }
        }
    })
}
