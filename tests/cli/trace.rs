//! `trace`: a window of a run as trace events.

use std::collections::HashMap;
use std::fs;

use serde_json::Value;

use crate::{Desk, number};

/// Blocks run short, so some requests are preempted.
const PRESSED: &str = "--set frameworks_to_test[*].config.num_gpu_blocks_override=90 --set frameworks_to_test[*].config.max_model_len=1400";

fn traced(desk: &Desk, arguments: &str) -> Vec<Value> {
    let told = desk.run(&format!("trace {arguments}"));
    assert_eq!(told.code, 0, "{arguments}: {}", told.err);
    let trace: Value = serde_json::from_str(&told.out).expect("it prints JSON");
    trace["traceEvents"].as_array().expect("events").clone()
}

fn of<'a>(events: &'a [Value], phase: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| event["ph"] == phase)
}

/// A time of an event in nanoseconds.
fn ns(event: &Value, key: &str) -> u64 {
    (number(event, &format!("/{key}")) * 1000.0).round() as u64
}

#[test]
fn the_whole_run_has_every_step_request_and_preemption() {
    let desk = Desk::new();
    assert_eq!(desk.run(&format!("run small.yaml -q -o a {PRESSED}")).code, 0);
    let summary = desk.json("a/summary.json");
    let before: Vec<_> = ["requests.parquet", "requests.csv", "summary.json", "timeseries.parquet", "manifest.json"]
        .map(|file| fs::read(desk.path("a").join(file)).expect("it is there"))
        .into();
    let events = traced(&desk, "a --window 0:1000");
    let engines = summary["engines"].as_object().expect("engines");
    let sum = |key: &str| engines.values().map(|engine| engine[key].as_u64().expect("a count")).sum::<u64>();
    let preempted: u64 = of(&events, "i").map(|event| event["args"]["requests"].as_u64().expect("a count")).sum();
    assert!(preempted > 0);
    assert_eq!((of(&events, "X").count() as u64, preempted), (sum("steps"), sum("preemptions")));
    let tokens: u64 = of(&events, "X").map(|event| event["args"]["prompt_tokens"].as_u64().expect("a count")).sum();
    assert_eq!(tokens, sum("prefill_tokens"));
    // Steps of an engine lie one after the other.
    let mut ends: HashMap<u64, u64> = HashMap::new();
    for step in of(&events, "X") {
        let (from, length) = (ns(step, "ts"), ns(step, "dur"));
        let last = ends.insert(step["pid"].as_u64().expect("a process"), from + length).unwrap_or(0);
        assert!(from >= last && length > 0, "{step}");
    }
    let rows = desk.read("a/requests.csv");
    let mut reader = csv::Reader::from_reader(rows.as_bytes());
    let heads = reader.headers().expect("heads").clone();
    let place = |name: &str| heads.iter().position(|head| head == name).expect(name);
    let mut spans: HashMap<&str, Vec<&Value>> = HashMap::new();
    for event in events.iter().filter(|event| event["ph"] == "b" || event["ph"] == "e") {
        spans.entry(event["id"].as_str().expect("an id")).or_default().push(event);
    }
    let mut requests = 0;
    for row in reader.records().map(|row| row.expect("a row")) {
        requests += 1;
        let span = &spans[&row[place("request_id")][4..]];
        let (first, last) = (span[0], span[span.len() - 1]);
        assert_eq!(
            (&first["name"], &last["name"]),
            (&row[place("request_id")].into(), &row[place("request_id")].into())
        );
        let e2e: f64 = row[place("e2e_latency_ms")].parse().expect("a number");
        assert_eq!(ns(last, "ts") - ns(first, "ts"), (e2e * 1e6).round() as u64);
        // Its parts fill it: each begins where the last one ended.
        let mut at = ns(first, "ts");
        for pair in span[1..span.len() - 1].chunks(2) {
            assert_eq!((&pair[0]["name"], ns(pair[0], "ts")), (&pair[1]["name"], at), "{pair:?}");
            at = ns(pair[1], "ts");
            if pair[1]["name"] == "prefill" && row[place("status")] == *"SUCCESS" {
                let ttft: f64 = row[place("ttft_ms")].parse().expect("a number");
                assert_eq!(at - ns(first, "ts"), (ttft * 1e6).round() as u64);
            }
        }
        assert_eq!(at, ns(last, "ts"));
    }
    assert_eq!(requests, spans.len());
    // Looking at a run leaves it as it is.
    for (file, bytes) in
        ["requests.parquet", "requests.csv", "summary.json", "timeseries.parquet", "manifest.json"].iter().zip(before)
    {
        assert_eq!(fs::read(desk.path("a").join(file)).expect("it is there"), bytes, "{file}");
    }
}

#[test]
fn a_window_has_what_touches_it_whatever_the_threads() {
    let desk = Desk::new();
    let all = traced(&desk, "small.yaml --window 0:1000");
    let window = traced(&desk, "small.yaml --window 5s:6000ms --threads 1");
    let (from, to) = (5_000_000_000, 6_000_000_000);
    let touching: Vec<&Value> =
        of(&all, "X").filter(|step| ns(step, "ts") < to && ns(step, "ts") + ns(step, "dur") > from).collect();
    assert_eq!(of(&window, "X").collect::<Vec<_>>(), touching);
    assert!(!touching.is_empty() && touching.len() < of(&all, "X").count());
    assert_eq!(window, traced(&desk, "small.yaml --window 5:6 --threads 2"));
}

#[test]
fn what_cannot_be_traced_is_said() {
    let desk = Desk::new();
    assert_eq!(desk.run("run small.yaml -q -o a").code, 0);
    fs::create_dir(desk.path("empty")).expect("it can be made");
    let text = desk.read("a/manifest.json");
    fs::create_dir(desk.path("changed")).expect("it can be made");
    desk.write("changed/manifest.json", &text.replacen("\"requests_arrived\": ", "\"requests_arrived\": 9", 1));
    for (arguments, said) in [
        ("a", "--window <FROM:TO>"),
        ("a --window 10", "write FROM:TO in seconds"),
        ("a --window 20:10", "ends before it begins"),
        ("a --window 100:200", "nothing happens from 100.000 s to 200.000 s; the run is over at 30.000 s"),
        ("empty --window 0:1", "empty holds no run"),
        ("changed --window 0:1", "simulated again, changed comes out otherwise"),
        ("nowhere --window 0:1", "nowhere"),
        ("small.yaml --window 0:1 -o trace.csv", "trace.csv exists"),
    ] {
        let told = desk.run(&format!("trace {arguments}"));
        assert_eq!((told.code, told.out.as_str()), (2, ""), "{arguments}: {}", told.err);
        assert!(told.err.contains(said), "{arguments}: {}", told.err);
    }
    assert_eq!(desk.run("trace a --window 0:1 -o trace.json").out, "");
    assert_eq!(desk.read("trace.json"), desk.run("trace a --window 0:1").out);
}
