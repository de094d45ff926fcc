//! Runs and points that others measured. They are not in this repository; where they are not beside it either, these
//! tests say that they are skipped. Bounds are loose: FIDELITY.md has the figures.

use serde_json::Value;

use crate::Desk;
use crate::shared_files::shared;

fn validated(name: &str) -> Option<Value> {
    let folder = shared(&format!("data/realruns/{name}"))?;
    Some(Desk::new().json(&format!("validate-run {}", folder.display())))
}

fn error_pct(comparison: &Value, metric: &str) -> f64 {
    crate::metric(comparison, metric)["error_pct"].as_f64().expect("a prediction")
}

#[test]
fn kv_pools_are_within_a_twentieth_of_what_vllm_logged() {
    for name in
        ["rtx4090-llama3.1-8b-tp1-mns256", "ispass26-a6000-llama3.1-8b-pulse-pc", "h100-qwen3-14b-rate-agg-2rps"]
    {
        let Some(comparison) = validated(name) else { return };
        let blocks = |key: &str| comparison["kv_blocks"][key].as_f64().expect("a number");
        let error = blocks("predicted") / blocks("measured") - 1.0;
        assert!(error.abs() < 0.05, "{name}: {} of {} blocks", blocks("predicted"), blocks("measured"));
    }
}

#[test]
fn prefix_hits_are_those_of_the_run() {
    let Some(comparison) = validated("ispass26-a6000-llama3.1-8b-pulse-pc") else { return };
    assert!(error_pct(&comparison, "prefix_hit_pct.0").abs() < 2.0);
}

#[test]
fn makespans_are_those_of_the_runs() {
    for (name, bound_pct) in [("rtx4090-llama3.1-8b-tp1-mns256", 20.0), ("rtxpro6000-llama3.1-8b-tp1", 10.0)] {
        let Some(comparison) = validated(name) else { return };
        assert!(error_pct(&comparison, "makespan_s").abs() < bound_pct, "{name}");
        assert_eq!(comparison["statistics"].as_array().map(Vec::len), Some(15));
    }
}

/// Its client had 256 requests in flight throughout; sent when they were recorded to be sent, latencies were 27 % too short.
#[test]
fn a_saturated_run_is_that_of_a_capped_client() {
    let Some(comparison) = validated("h100-qwen3-14b-w5-agg24") else { return };
    for metric in ["e2e_ms.mean", "tpot_ms.mean", "makespan_s"] {
        assert!(error_pct(&comparison, metric).abs() < 3.0, "{metric}: {}", error_pct(&comparison, metric));
    }
}

#[test]
fn serving_points_are_read_and_simulated() {
    let Some(file) = shared("data/e2e_h100_h200_train.csv") else { return };
    let report = Desk::new().json(&format!("validate-points {}", file.display()));
    assert_eq!(report["points"].as_array().map(Vec::len), Some(150));
    let tpot = report["median_abs_error_pct"]["all"]["tpot_ms"].as_f64().expect("a number");
    assert!(tpot < 10.0, "{tpot}");
    let ttft = report["median_abs_error_pct"]["all"]["ttft_ms"].as_f64().expect("a number");
    assert!(ttft < 20.0, "{ttft}");
}
