//! The page's figures against the summary and the records.

use llmperforacle::report::{PARTS_OF_TTFT, Run, Source};
use serde_json::Value;

use crate::{charts, desk_with_a_run, json, page};

/// What stands between two words, each time.
fn between<'a>(text: &'a str, from: &'a str, to: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(from).skip(1).filter_map(move |rest| rest.split(to).next())
}

#[test]
fn every_figure_is_the_summarys_to_the_last_digit() {
    let desk = desk_with_a_run("");
    let page = page(&desk);
    let summary = json(&desk.path("output/busy/summary.json"));
    let mut figures = 0;
    for told in between(&page, "<data data-of=\"", ">") {
        let (pointer, rest) = told.split_once("\" value=\"").expect("a figure has a value");
        let value: f64 = rest.split('"').next().and_then(|value| value.parse().ok()).expect("which is a number");
        let of_summary = summary.pointer(pointer).and_then(Value::as_f64);
        assert_eq!(Some(value), of_summary, "{pointer}");
        figures += 1;
    }
    assert!(figures > 200, "{figures} figures");
    for must in
        ["/latency/time_to_first_token_ms/p99", "/slo/attainment", "/engines/second/kv_use_peak", "/gpus/gpu1/mbu"]
    {
        assert!(page.contains(&format!("data-of=\"{must}\"")), "{must} is not on the page");
    }
}

#[test]
fn curves_go_through_the_summarys_quantiles() {
    let desk = desk_with_a_run("");
    let charts = charts(&page(&desk));
    let summary = json(&desk.path("output/busy/summary.json"));
    let latencies = [
        ("ttft-cdf", "time_to_first_token_ms"),
        ("tpot-cdf", "time_per_output_token_ms"),
        ("e2e-cdf", "end_to_end_latency_ms"),
        ("queue-cdf", "queue_time_ms"),
        ("itl-cdf", "inter_token_latency_ms"),
    ];
    for (chart, latency) in latencies {
        let trace = &charts[chart]["traces"][0];
        let points = || trace["y"].as_array().expect("shares").iter().zip(trace["x"].as_array().expect("times"));
        for (key, share) in [("min", 0.0), ("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)] {
            let told = summary["latency"][latency][key].as_f64().expect("a quantile");
            let drawn = points().find(|(y, _)| y.as_f64() == Some(share)).and_then(|(_, x)| x.as_f64());
            let drawn = drawn.unwrap_or_else(|| panic!("{chart} has no point at {share}"));
            assert!((drawn - told).abs() <= 1e-5 * told, "{chart} {key}: {drawn} for {told}");
        }
    }
}

#[test]
fn parts_add_up_and_the_slowest_are_the_slowest() {
    for flags in ["", "--seed 9"] {
        let desk = desk_with_a_run(flags);
        let run = Run::read(&desk.path("output/busy"), &[Source::Requests, Source::Series]).expect("it is a run");
        let requests = run.requests.as_ref().expect("they are there");
        let summary = &run.folder.summary;
        let number = |pointer: &str| summary.pointer(pointer).and_then(Value::as_f64).expect("a figure");
        assert_eq!(requests.counted as f64, number("/requests/successful"));
        let means = requests.parts.means().expect("there are requests");
        let close = |told: f64, exact: f64, what: &str| {
            assert!((told / exact - 1.0).abs() < 1e-6, "{what}: {told} for {exact}")
        };
        close(means.iter().sum(), number("/latency/end_to_end_latency_ms/mean"), "E2E");
        close(means[..PARTS_OF_TTFT].iter().sum(), number("/latency/time_to_first_token_ms/mean"), "TTFT");
        close(means[1], number("/latency/queue_time_ms/mean"), "queue");
        assert_eq!(requests.slowest.len(), 20);
        assert_eq!(requests.slowest[0].e2e_ms, number("/latency/end_to_end_latency_ms/max"));
        assert!(requests.slowest.windows(2).all(|pair| pair[0].e2e_ms >= pair[1].e2e_ms));
        for slow in &requests.slowest {
            let parts = slow.parts.expect("it has tokens");
            close(parts.iter().sum(), slow.e2e_ms, &slow.id);
            assert!(parts.iter().all(|&part| part >= 0.0), "{} {parts:?}", slow.id);
        }
        assert!(
            requests.tail_of_e2e.requests >= 2 && requests.preempted > 0,
            "the tail and preemptions were not reached"
        );
    }
}

#[test]
fn what_is_drawn_over_time_is_what_happened() {
    let desk = desk_with_a_run("");
    let charts = charts(&page(&desk));
    let summary = json(&desk.path("output/busy/summary.json"));
    let sum = |chart: &str| -> f64 {
        let traces = charts[chart]["traces"].as_array().expect("lines");
        traces.iter().flat_map(|trace| trace["y"].as_array().expect("values")).filter_map(Value::as_f64).sum()
    };
    let of_engines = |key: &str| -> f64 {
        let engines = summary["engines"].as_object().expect("engines").values();
        engines.filter_map(|engine| engine[key].as_f64()).sum()
    };
    // Parts of a second each, and the last shorter: tokens a second add up to tokens.
    assert!((sum("output-over-time") / of_engines("output_tokens") - 1.0).abs() < 0.02);
    assert!((sum("prefill-over-time") / of_engines("prefill_tokens") - 1.0).abs() < 0.02);
    let peak = |chart: &str| -> f64 {
        let traces = charts[chart]["traces"].as_array().expect("lines");
        let values = traces.iter().flat_map(|trace| trace["y"].as_array().expect("values"));
        values.filter_map(Value::as_f64).fold(0.0, f64::max)
    };
    assert!(peak("kv-over-time") <= 1.0 && peak("kv-over-time") > 0.5);
    assert!(peak("slo-over-time") <= 1.0 && peak("mbu-over-time") <= 1.0);
}

#[test]
fn the_same_run_gives_the_same_page_and_it_is_small() {
    let desk = desk_with_a_run("");
    let (first, second) = (page(&desk), page(&desk));
    assert!(first == second);
    assert!(first.len() < 3_000_000, "{} bytes", first.len());
    let path = desk.path("").display().to_string();
    assert!(!first.contains(path.trim_end_matches('/')), "the page names a folder of this machine");
}

#[test]
fn many_engines_are_drawn_together() {
    let desk = desk_with_a_run(
        "--set frameworks_to_test[0].replicas=12 --set hardware_profile.compute_devices[0].count=13 --set frameworks_to_test[1].config.gpu_id=gpu12",
    );
    let charts = charts(&page(&desk));
    let names = |chart: &str| -> Vec<String> {
        let traces = charts[chart]["traces"].as_array().expect("lines").iter();
        traces.filter_map(|trace| Some(trace["name"].as_str()?.to_owned())).collect()
    };
    assert_eq!(names("queue-over-time"), ["most", "mean", "least"]);
    assert_eq!(names("mfu-over-time"), ["most", "mean", "least"]);
    assert_eq!(names("links-over-time").len(), 8);
}
