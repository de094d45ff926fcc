//! The verdict in words, with its evidence.

use maud::{Markup, html};
use serde_json::Value;

use super::figures::{Unit, figure};
use super::shell::scrolling;
use crate::report::run::Run;

fn text<'a>(run: &'a Run, pointer: &str) -> &'a str {
    run.folder.summary.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// The verdict in a few words, and its colour.
pub(super) fn word(run: &Run) -> (&'static str, &'static str) {
    match (run.folder.summary["verdict"]["keeps_up"].as_bool(), text(run, "/verdict/ground")) {
        (Some(true), _) => ("keeps up", "good"),
        (Some(false), _) => ("does not keep up", "bad"),
        (None, "closed_loop") => ("closed loop", "untold"),
        (None, "client_held_back") => ("held back by the client", "untold"),
        (None, _) => ("cannot be told", "untold"),
    }
}

/// What was offered and completed.
pub(super) fn rates(run: &Run) -> Markup {
    let rate = |key: &str| figure(run, &format!("/verdict/{key}_requests_per_s"), Unit::Plain("requests/s"));
    html! {
        @if run.folder.summary["verdict"]["all_at_once"] == true {
            "All requests were offered at once; " (rate("completed")) " completed."
        } @else {
            (rate("offered")) " offered, " (rate("completed")) " completed."
        }
    }
}

/// What was simulated.
pub(super) fn deployment(deployment: &Value) -> String {
    let word = |key: &str| deployment[key].as_str().unwrap_or("");
    let number = |key: &str| deployment[key].as_u64().unwrap_or(0);
    let contexts = deployment["kv_pool_context_tokens"].as_u64();
    let contexts =
        contexts.map_or_else(String::new, |tokens| format!(" (in contexts of {tokens}, fewer in shorter ones)"));
    let role = if word("role") == "both" { String::new() } else { format!(" ({})", word("role")) };
    format!(
        "{} × {} on {} × {}{role}: TP {}, PP {}; max_num_seqs {}, max_num_batched_tokens {}, KV pool of {} tokens{contexts} an engine",
        number("replicas"),
        word("model"),
        number("gpus"),
        word("device"),
        number("tensor_parallel"),
        number("pipeline_parallel"),
        number("max_num_seqs"),
        number("max_num_batched_tokens"),
        number("kv_pool_tokens"),
    )
}

/// Why the verdict is what it is, and what limits the deployment.
pub(super) fn evidence(run: &Run) -> Option<Markup> {
    let ground = match text(run, "/verdict/ground") {
        "closed_loop" => "The next request comes when one is answered, so that none comes too early.",
        "client_held_back" => "The client held requests back that the deployment might not have kept up with.",
        "clients_gave_up" => "Clients gave up on more than 1 % of the requests.",
        "refused" => "More than 1 % of the requests were refused.",
        "backlog_grows" => "The number of requests in the system grows.",
        "nothing_offered" => "No request arrived, or none after the warm-up.",
        "still_filling" => "The system was still filling when the load ended: an answer takes a good part of it.",
        "backlog_returns" => "The number of requests in the system returns to its mean.",
        "seldom_held_back" => {
            "Whether the number of requests in the system grows does not show, but no queue was held back for long."
        }
        "too_short" => {
            "The number of requests in the system neither grows nor returns to its mean: the run is too short."
        }
        _ => "",
    };
    let limit = |pointer: &str| limit(text(run, pointer));
    let rows = [
        ("engines idle", "idle", Unit::Share),
        ("queue not held back", "free", Unit::Share),
        ("held back by seats (max_num_seqs)", "seats", Unit::Share),
        ("held back by the token budget (max_num_batched_tokens)", "token_budget", Unit::Share),
        ("held back by the KV cache", "kv_cache", Unit::Share),
        ("steps bound by compute", "compute", Unit::Share),
        ("steps bound by memory bandwidth", "memory_bandwidth", Unit::Share),
        ("steps bound by the host", "host", Unit::Share),
        ("steps bound by launches and latencies", "latency", Unit::Share),
        ("longest that a queue was held back, of the load", "most_held_back", Unit::Share),
    ];
    let trend = [
        ("requests in the system at the beginning of the second half", "requests_at_start", Unit::Count),
        ("at its end", "requests_at_end", Unit::Count),
        ("growth a second", "growth_per_s", Unit::Plain("")),
        ("its standard error", "growth_error_per_s", Unit::Plain("")),
        ("Student's t of the growth", "growth_t", Unit::Plain("")),
        ("it grows from", "growth_t_critical", Unit::Plain("")),
        ("Dickey and Fuller's t of the return", "return_t", Unit::Plain("")),
        ("it returns below", "return_t_critical", Unit::Plain("")),
    ];
    Some(html! {
        p {
            (ground) " It is limited by " strong { (limit("/verdict/limited_by")) }
            "; most steps are bound by " strong { (limit("/verdict/steps_bound_by")) } ". The engine whose queue was held back for \
             longest had it so for " (figure(run, "/verdict/engine_time/most_held_back", Unit::Share)) " of the load."
            @if run.folder.summary["verdict"]["busiest_link"].is_object() {
                " The busiest link, " (text(run, "/verdict/busiest_link/name")) ", carried bytes in "
                (figure(run, "/verdict/busiest_link/busy", Unit::Share)) " of the time."
            }
        }
        details {
            summary { "Evidence" }
            (scrolling(html! {
                tbody {
                    @for (name, key, unit) in rows {
                        tr { th scope="row" { (name) } td { (figure(run, &format!("/verdict/engine_time/{key}"), unit)) } }
                    }
                    @if run.folder.summary["verdict"]["backlog"].is_object() {
                        @for (name, key, unit) in trend {
                            tr { th scope="row" { (name) } td { (figure(run, &format!("/verdict/backlog/{key}"), unit)) } }
                        }
                    }
                }
            }))
        }
    })
}

fn limit(key: &str) -> &str {
    match key {
        "arrival_rate" => "the arrival rate",
        "clients" => "what clients have in flight",
        "seats" => "seats (max_num_seqs)",
        "token_budget" => "the token budget (max_num_batched_tokens)",
        "kv_cache" => "the KV cache",
        "links" => "a link",
        "refusals" => "what the engines refuse",
        "nothing" => "nothing that ran",
        "compute" => "compute",
        "memory_bandwidth" => "memory bandwidth",
        "host" => "the host",
        "latency" => "launches and latencies",
        other => other,
    }
}
