//! What to try next: every rule speaks where its figures ask for it, with these figures, and is silent where they do not.

use std::fs;

use llmperforacle::report::{Run, advice};
use serde_json::{Value, json};

use crate::Desk;

/// A run of which nothing is to be said.
fn calm() -> Value {
    let engine = json!({ "busy": 0.9, "kv_use_peak": 0.4, "preemptions": 0, "kv_blocks_evicted": 0 });
    json!({
        "program": { "name": "llmperforacle", "version": "0.1.0", "seed": 1 },
        "deployment": [{}],
        "router": "round_robin",
        "verdict": {
            "keeps_up": true, "ground": "backlog_returns", "offered_requests_per_s": 10.0, "completed_requests_per_s": 9.9,
            "gave_up": 0.0, "limited_by": "arrival_rate", "steps_bound_by": "none",
            "engine_time": {
                "idle": 0.1, "free": 0.9, "seats": 0.0, "token_budget": 0.0, "kv_cache": 0.0, "compute": 0.4,
                "memory_bandwidth": 0.3, "host": 0.1, "latency": 0.1, "most_held_back": 0.0
            },
            "busiest_link": { "name": "uplink", "busy": 0.01 }
        },
        "simulation": { "total_duration_s": 60.0, "warm_up_duration_s": 0.0, "stop_reason": "drained" },
        "requests": { "total": 600, "successful": 600, "failed": 0, "incomplete": 0, "by_reason": { "finished": 600 } },
        "latency": { "inter_token_latency_ms": { "p50": 20.0, "p99": 30.0 } },
        "prefix_caching": { "conversational_hit_rate": 1.0, "event_counts": { "CONVERSATIONAL_MISS_UNEXPECTED_PROMPT": 0 } },
        "partial": false,
        "engines": { "first": engine, "second": engine },
        "gpus": { "gpu0": { "mfu": 0.3, "mbu": 0.5 } }
    })
}

/// What is told of the calm run with some figures changed.
fn told(changes: &[(&str, Value)]) -> Vec<String> {
    let mut summary = calm();
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        let parent = summary.pointer_mut(parent).unwrap_or_else(|| panic!("no {pointer}"));
        parent[key] = value.clone();
    }
    let desk = Desk::new();
    desk.write("run/summary.json", &summary.to_string());
    let run = Run::read(&desk.path("run"), &[]).expect("it is a run");
    advice(&run).into_iter().map(|advice| format!("{} | {}", advice.what, advice.why)).collect()
}

#[track_caller]
fn assert_one(changes: &[(&str, Value)], what: &str, why: &str) {
    let told = told(changes);
    let found: Vec<&String> =
        told.iter().filter(|text| text.split(" | ").next().is_some_and(|told| told.contains(what))).collect();
    assert_eq!(found.len(), 1, "{what}: {told:#?}");
    assert!(found[0].contains(why), "{why}: {}", found[0]);
}

#[test]
fn of_a_calm_run_it_is_said_to_load_it_more() {
    let told = told(&[]);
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("Offer more load"), "{told:?}");
}

#[test]
fn each_rule_speaks_with_its_figures() {
    assert_one(&[("/partial", json!(true))], "Run it to its end", "(drained)");
    assert_one(&[("/verdict/ground", json!("too_short"))], "Offer the load for longer", "neither grows nor returns");
    assert_one(
        &[("/requests/failed", json!(30)), ("/requests/by_reason/exceeds_kv_cache", json!(30))],
        "give the KV cache more memory",
        "30 of 600 requests were refused: exceeds_kv_cache 30",
    );
    assert_one(
        &[
            ("/verdict/keeps_up", json!(false)),
            ("/verdict/ground", json!("backlog_grows")),
            ("/verdict/completed_requests_per_s", json!(4.0)),
        ],
        "5 or more where there are 2 now",
        "10.00 requests/s were offered and 4.00 completed",
    );
    assert_one(
        &[
            ("/verdict/keeps_up", json!(false)),
            ("/verdict/ground", json!("clients_gave_up")),
            ("/verdict/gave_up", json!(0.25)),
        ],
        "Add replicas",
        "Clients gave up on 25.0 % of the requests",
    );
    assert_one(
        &[("/verdict/engine_time/seats", json!(0.2))],
        "Raise max_num_seqs.",
        "20.0 % of the engines' time, while 40.0 %",
    );
    assert_one(
        &[("/verdict/engine_time/seats", json!(0.2)), ("/engines/first/kv_use_peak", json!(0.99))],
        "then raise max_num_seqs",
        "99.0 % of the KV blocks were held",
    );
    assert_one(&[("/verdict/engine_time/token_budget", json!(0.3))], "Raise max_num_batched_tokens", "30.0 %");
    assert_one(
        &[("/verdict/engine_time/kv_cache", json!(0.3))],
        "Give the KV cache more room",
        "30.0 % of the engines' time; 40.0 %",
    );
    assert_one(&[("/engines/second/preemptions", json!(12))], "set a watermark", "12 preemptions");
    assert_one(&[("/verdict/busiest_link/busy", json!(0.95))], "Take a faster link", "uplink carried bytes in 95.0 %");
    assert_one(&[("/verdict/steps_bound_by", json!("compute"))], "Save FLOPs", "90.0 % of the time, and in 40.0 %");
    assert_one(
        &[("/verdict/steps_bound_by", json!("memory_bandwidth"))],
        "let more sequences share a step",
        "MFU 30.0 %, MBU 50.0 %",
    );
    assert_one(&[("/verdict/steps_bound_by", json!("host"))], "Relieve the host", "bound by host");
    assert_one(&[("/verdict/steps_bound_by", json!("latency"))], "Fill the steps", "launches and latencies");
    assert_one(
        &[("/slo", json!({ "by_metric": { "ttft_ms": { "attainment": 0.7 }, "tpot_ms": { "attainment": 0.9 } } }))],
        "TTFT is what misses the SLO most",
        "70.0 % of the requests kept to it",
    );
    assert_one(
        &[("/latency/inter_token_latency_ms/p99", json!(90.0))],
        "For smoother streams",
        "20.0 ms at p50 and 90.0 ms at p99",
    );
    assert_one(
        &[("/engines/second/busy", json!(0.5))],
        "Spread the load more evenly",
        "between 50.0 % and 90.0 % of the time under round_robin",
    );
    let lost = [
        ("/prefix_caching/conversational_hit_rate", json!(0.5)),
        ("/prefix_caching/event_counts/CONVERSATIONAL_MISS_UNEXPECTED_PROMPT", json!(48)),
    ];
    assert_one(&lost, "session_affinity", "48 follow-up turns found nothing of their session; 50.0 % found it");
    let with_affinity =
        [lost.to_vec(), vec![("/router", json!("session_affinity")), ("/engines/first/kv_blocks_evicted", json!(9))]];
    assert_one(&with_affinity.concat(), "keeps sessions until their next turn", "9 blocks were evicted");
    assert_one(&[("/requests/incomplete", json!(5))], "Let the simulation end later", "5 of 600 requests");
    assert_one(&[("/verdict/engine_time/idle", json!(0.7))], "Try fewer replicas", "idle for 70.0 %");
}

#[test]
fn late_first_tokens_are_laid_to_the_part_that_they_waited_in() {
    let desk = crate::desk_with_a_run("");
    let run = Run::read(&desk.path("output/busy"), &[llmperforacle::report::Source::Requests]).expect("it is a run");
    let told = advice(&run);
    let tail =
        told.iter().find(|advice| advice.what.starts_with("For a shorter TTFT tail")).expect("the queue is long");
    assert!(tail.why.starts_with("queue is "), "{tail:?}");
    fs::remove_file(desk.path("output/busy/requests.parquet")).expect("it is there");
    let run = Run::read(&desk.path("output/busy"), &[llmperforacle::report::Source::Requests]).expect("it is a run");
    assert!(!advice(&run).iter().any(|advice| advice.what.starts_with("For a shorter TTFT tail")), "nothing says so");
}
