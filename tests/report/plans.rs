//! The page of a plan, of JSON as `plan --format json` prints it.

use serde_json::json;

use crate::browser::{chromium, look};
use crate::{Desk, charts};

/// Markup, in a name.
const EVIL: &str = "A100<img src=x onerror=\"document.title='taken'\"></script>";

fn plan() -> serde_json::Value {
    let target =
        |value: f64| json!([{ "name": "ttft_p99", "limit": 1000.0, "value": value, "margin_pct": 10.0, "met": true }]);
    let answer = |device: &str, rate: f64, gpus: Option<u32>| {
        json!({
            "model": "Llama3-8B", "device": device, "rate_scale": rate, "slo_met": gpus.is_some(), "tensor_parallel": 1,
            "pipeline_parallel": 1, "settings": [["frameworks_to_test[*].config.max_num_seqs", "64"]], "replicas": gpus, "gpus": gpus,
            "binding": "ttft_p99", "margin_pct": 10.0, "targets": target(900.0), "output_tokens_per_s_per_gpu": 500.0,
            "usd_per_hour": 4.0, "usd_per_million_output_tokens": 2.2, "usd_per_million_tokens": 0.4, "energy_kwh": 1.0,
            "next_smaller": { "tensor_parallel": 2, "pipeline_parallel": 1, "settings": [], "replicas": 1, "gpus": 2, "binding": "ttft_p99", "targets": target(9000.0) }, "intervals": [],
            "reason": gpus.is_none().then_some(EVIL)
        })
    };
    let candidate = |device: &str, tokens: f64, ttft_ms: f64, pareto: bool| {
        json!({
            "model": "Llama3-8B", "device": device, "rate_scale": 1.0, "tensor_parallel": 1, "pipeline_parallel": 1, "settings": [],
            "status": "meets", "replicas": 2, "gpus": 2, "targets": target(ttft_ms), "output_tokens_per_s_per_gpu": tokens,
            "usd_per_hour": 4.0, "usd_per_million_output_tokens": 2.2, "energy_kwh": 1.0, "pareto": pareto, "reason": null, "runs": 3,
            "roofline_replicas": 0
        })
    };
    json!({
        "objective": "gpus", "max_gpus": 256, "notes": [format!("note {EVIL}")], "runs": 12,
        "answers": [answer("H100", 1.0, Some(1)), answer("H100", 4.0, Some(2)), answer(EVIL, 1.0, Some(2)), answer(EVIL, 4.0, None)],
        "candidates": [candidate("H100", 500.0, 900.0, true), candidate(EVIL, 300.0, 950.0, false)]
    })
}

#[test]
fn the_page_has_answers_curves_and_candidates_and_no_markup_of_names() {
    let desk = Desk::new();
    desk.write("plan.json", &plan().to_string());
    let told = desk.run("report plan.json");
    assert_eq!((told.code, told.out.as_str()), (0, "plan.html\n"), "{}", told.err);
    let html = std::fs::read_to_string(desk.path("plan.html")).expect("it is text");
    assert!(!html.contains("<img"));
    let charts = charts(&html);
    let gpus = &charts["gpus-0"]["traces"];
    let names: Vec<&str> = gpus.as_array().expect("lines").iter().filter_map(|line| line["name"].as_str()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let of_h100 = gpus.as_array().and_then(|lines| lines.iter().find(|line| line["name"] == "H100")).expect("a line");
    assert_eq!((&of_h100["x"], &of_h100["y"]), (&json!([1.0, 4.0]), &json!([1.0, 2.0])));
    let of_other = gpus.as_array().and_then(|lines| lines.iter().find(|line| line["name"] != "H100")).expect("a line");
    assert_eq!(of_other["y"], json!([2.0, null]), "what is not met is a gap");
    assert!(html.contains("TP 1, PP 1, max_num_seqs=64") && html.contains("ttft_p99 900.0 of 1000"), "{html:.0}");
    assert!(html.contains("2 GPU, TP 2, PP 1 × 1: ttft_p99 9000"), "what the next smaller deployment misses");
    let Some(chromium) = chromium() else { return };
    let seen = look(&chromium, &desk.path("plan.html"), &[]);
    assert_eq!(seen.complaints, Vec::<String>::new());
    let drawn = charts.as_object().expect("charts").len();
    assert!(drawn == 4 && seen.dom.contains(&format!("data-drawn=\"{drawn}\"")), "{drawn} charts");
    assert!(!seen.dom.contains("<title>taken") && !seen.dom.contains("<img"));
}

#[test]
fn the_page_of_highest_rates_has_a_bar_and_a_row_each() {
    let desk = Desk::new();
    let load = "--rate 2 --prompt-tokens 500 --output-tokens 50 --requests 2000";
    let told = desk.run(&format!(
        "plan {load} --model Llama3-8B --device H100,L40S --tp 1 --replicas 1 --slo ttft_p99=300ms --max-rate --format json -q"
    ));
    assert_eq!(told.code, 0, "{}", told.err);
    let mut rates: serde_json::Value = serde_json::from_str(&told.out).expect("it is JSON");
    let asked = rates["max_rates"].as_array().expect("knees").clone();
    let mut lost = asked[0].clone();
    lost["device"] = json!(EVIL);
    lost["slo_met"] = json!(false);
    lost["reason"] = json!(EVIL);
    rates["max_rates"].as_array_mut().expect("knees").push(lost);
    desk.write("rates.json", &rates.to_string());
    let told = desk.run("report rates.json");
    assert_eq!((told.code, told.out.as_str()), (0, "rates.html\n"), "{}", told.err);
    let html = std::fs::read_to_string(desk.path("rates.html")).expect("it is text");
    assert!(!html.contains("<img"));
    let charts = charts(&html);
    let bars = charts["rate"]["traces"][0]["x"].as_array().expect("bars").clone();
    let told: Vec<f64> = asked.iter().filter_map(|knee| knee["requests_per_s"].as_f64()).collect();
    assert_eq!(bars.len(), told.len(), "what meets the targets at no rate has no bar");
    for (bar, rate) in bars.iter().zip(&told) {
        assert!((bar.as_f64().expect("a number") / rate - 1.0).abs() < 1e-3, "{bar} for {rate}");
    }
    assert!(html.contains("of 3 deployments; 2 meet them"), "{:.0}", html);
    let Some(chromium) = chromium() else { return };
    let seen = look(&chromium, &desk.path("rates.html"), &[]);
    assert_eq!(seen.complaints, Vec::<String>::new());
    assert!(seen.dom.contains("data-drawn=\"2\""), "both charts");
}
