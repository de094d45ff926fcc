//! Files of others: the predecessor's examples and public traces. They are not in this repository; where they are not
//! beside it either, these tests say that they are skipped.

use serde_json::Value;

use crate::shared_files::shared;
use crate::{Desk, assert_conserved, number};

/// Laws that hold of any run with tokens to stream.
fn assert_sane(summary: &Value) {
    assert_conserved(summary);
    let ttft = |key: &str| number(summary, &format!("/latency/time_to_first_token_ms/{key}"));
    assert!(0.0 < ttft("min") && ttft("p50") < ttft("p99") && ttft("p99") <= ttft("max"));
    assert!(number(summary, "/latency/end_to_end_latency_ms/p50") > ttft("p50"));
    let gpus = summary["gpus"].as_object().expect("GPUs are told of");
    for (name, gpu) in gpus {
        for share in ["busy", "mfu", "mbu"] {
            let share = gpu[share].as_f64().expect("a number");
            assert!((0.0..=1.0).contains(&share), "{name}: {gpu}");
        }
    }
}

/// No token is faster than reading the weights at the memory's peak.
fn assert_tpot_above(summary: &Value, weight_bytes: f64, bytes_per_s: f64) {
    let bound_ms = weight_bytes / bytes_per_s * 1e3;
    let fastest_ms = number(summary, "/latency/time_per_output_token_ms/min");
    assert!(fastest_ms > bound_ms, "{fastest_ms} ms a token, but the weights take {bound_ms} ms");
}

#[test]
fn the_predecessors_files_run_as_they_are() {
    let names = ["walkthrough_example", "example_prefix_caching", "example_parallel_experiment"];
    for name in names {
        let Some(file) = shared(&format!("data/llmperforacle-configs/{name}.yaml")) else {
            return;
        };
        let desk = Desk::small();
        let told = desk.run_words(&["run", &file.display().to_string(), "--format", "json"]);
        assert_eq!(told.code, 0, "{name}\n{}", told.err);
        assert_sane(&serde_json::from_str(&told.out).expect("it prints JSON"));
        assert!(
            told.err.lines().all(|line| line.contains("warning: ") || line.starts_with("simulated ")),
            "{}",
            told.err
        );
        // Where the file says, not in our folder.
        assert!(desk.path("experiments/results").is_dir());
    }
}

#[test]
fn a_recorded_hour_of_conversations_is_replayed() {
    let Some(trace) = shared("data/traces/AzureLLMInferenceTrace_conv.csv") else {
        return;
    };
    let desk = Desk::small();
    let arguments =
        format!("run --trace {} --model Llama3-8B --device A100-SXM-80GB --replicas 4 --no-csv", trace.display());
    let summary = desk.summary(&arguments);
    assert_sane(&summary);
    assert_eq!(number(&summary, "/requests/total"), 19_366.0);
    assert_tpot_above(&summary, 16.06e9, 2.039e12);
    // Twice the requests a second wait longer.
    let busier = desk.summary(&format!("{arguments} --rate-scale 2"));
    let queue = |summary| number(summary, "/latency/queue_time_ms/mean");
    assert!(queue(&busier) > queue(&summary));
}

#[test]
fn a_recorded_hour_of_shared_prefixes_is_replayed() {
    let Some(trace) = shared("data/traces/mooncake_conversation_trace.jsonl") else {
        return;
    };
    let desk = Desk::small();
    let arguments =
        format!("run --trace {} --model Llama3.1-70B --device H100 --tp 8 --replicas 4 --no-csv", trace.display());
    let summary = desk.summary(&arguments);
    assert_sane(&summary);
    assert_eq!(number(&summary, "/requests/total"), 12_031.0);
    assert!(number(&summary, "/prefix_caching/overall_hit_rate") > 0.5);
    let off = desk.summary(&format!("{arguments} --set frameworks_to_test[0].config.enable_prefix_caching=false"));
    let prefill = |summary| number(summary, "/prefix_caching/average_tokens_prefilled");
    assert!(prefill(&summary) < prefill(&off));
}
