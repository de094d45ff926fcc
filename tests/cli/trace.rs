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

/// Slices of steps; those of links have bytes.
fn steps(events: &[Value]) -> impl Iterator<Item = &Value> {
    of(events, "X").filter(|slice| slice["args"]["bytes"].is_null())
}

/// Slices of a link, by its name.
fn transfers<'a>(events: &'a [Value], link: &str) -> Vec<&'a Value> {
    let named = of(events, "M").find(|event| event["name"] == "thread_name" && event["args"]["name"] == link);
    let named = named.unwrap_or_else(|| panic!("no track of {link}"));
    of(events, "X").filter(|slice| slice["pid"] == named["pid"] && slice["tid"] == named["tid"]).collect()
}

/// Rows of a CSV by column.
fn rows(text: &str) -> Vec<HashMap<String, String>> {
    csv::Reader::from_reader(text.as_bytes()).deserialize().map(|row| row.expect("a row")).collect()
}

/// A time of an event in nanoseconds.
fn ns(event: &Value, key: &str) -> u64 {
    (number(event, &format!("/{key}")) * 1000.0).round() as u64
}

#[test]
fn the_whole_run_has_every_step_request_and_preemption() {
    let desk = Desk::small();
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
    assert_eq!((steps(&events).count() as u64, preempted), (sum("steps"), sum("preemptions")));
    let tokens: u64 = steps(&events).map(|event| event["args"]["prompt_tokens"].as_u64().expect("a count")).sum();
    assert_eq!(tokens, sum("prefill_tokens"));
    // Steps of an engine lie one after the other.
    let mut ends: HashMap<u64, u64> = HashMap::new();
    for step in steps(&events) {
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
    let desk = Desk::small();
    let all = traced(&desk, "small.yaml --window 0:1000");
    let window = traced(&desk, "small.yaml --window 5s:6000ms --threads 1");
    let (from, to) = (5_000_000_000, 6_000_000_000);
    let touching: Vec<&Value> =
        of(&all, "X").filter(|slice| ns(slice, "ts") < to && ns(slice, "ts") + ns(slice, "dur") > from).collect();
    assert_eq!(of(&window, "X").collect::<Vec<_>>(), touching);
    assert!(!touching.is_empty() && touching.len() < of(&all, "X").count());
    assert_eq!(window, traced(&desk, "small.yaml --window 5:6 --threads 2"));
}

#[test]
fn what_cannot_be_traced_is_said() {
    let desk = Desk::small();
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
        ("small.yaml --window 0:1 -o trace.csv", "trace.csv is there already"),
    ] {
        let told = desk.run(&format!("trace {arguments}"));
        assert_eq!((told.code, told.out.as_str()), (2, ""), "{arguments}: {}", told.err);
        assert!(told.err.contains(said), "{arguments}: {}", told.err);
    }
    fs::copy(desk.path("small.yaml"), desk.path(".w.json.lock")).expect("it can be copied");
    for (arguments, said) in [
        ("a --window 0:1 -o a/manifest.json", "a/manifest.json is read by this run (a/manifest.json)"),
        ("small.yaml --window 0:1 -o ./small.yaml", "./small.yaml is read by this run (small.yaml)"),
        (".w.json.lock --window 0:1 -o w.json", ".w.json.lock is read by this run"),
    ] {
        let told = desk.run(&format!("trace {arguments} --overwrite"));
        assert!(told.code == 2 && told.err.contains(said), "{arguments}: {}", told.err);
    }
    assert_eq!((desk.read("a/manifest.json"), desk.read(".w.json.lock")), (text, crate::SMALL.to_owned()));
    assert_eq!(desk.run("trace a --window 0:1 -o trace.json").out, "");
    assert_eq!(desk.read("trace.json"), desk.run("trace a --window 0:1").out);
    std::os::unix::fs::symlink(desk.path("target.json"), desk.path("link.json")).expect("it can be made");
    let told = desk.run("trace a --window 0:1 -o link.json --overwrite");
    assert_eq!(told.code, 2);
    assert!(told.err.contains("no output is written through one"), "{}", told.err);
    assert!(!desk.path("target.json").exists());
}

#[test]
fn a_run_traces_its_window_while_it_runs() {
    let desk = Desk::small();
    let told = desk.run(&format!("run small.yaml -q -o plain {PRESSED}"));
    assert_eq!(told.code, 0, "{}", told.err);
    let told = desk.run(&format!("run small.yaml -q -o traced --trace-window 5s:6000ms {PRESSED}"));
    assert_eq!((told.code, told.err.as_str()), (0, ""));
    let json = desk.read("traced/trace.json");
    assert_eq!(json, desk.run("trace traced --window 5:6").out, "as `trace` tells it afterwards");
    assert!(json.contains("req_"));
    for file in ["requests.parquet", "requests.csv", "summary.json"] {
        assert_eq!(desk.read_bytes(&format!("traced/{file}")), desk.read_bytes(&format!("plain/{file}")), "{file}");
    }
    let (plain, traced) = (desk.json("plain/manifest.json"), desk.json("traced/manifest.json"));
    assert_eq!(traced["config_sha256"], plain["config_sha256"]);
    let files = |manifest: &Value| manifest["files"].as_array().expect("files").clone();
    let listed = serde_json::json!({"path": "trace.json", "bytes": json.len()});
    assert!(files(&traced).contains(&listed) && !plain.to_string().contains("trace.json"));
    assert_eq!(files(&traced).len(), files(&plain).len() + 1);
    let told = desk.run("report traced -o -");
    assert_eq!(told.code, 0, "{}", told.err);

    // A run in its place takes the trace away, also one in whose window nothing happens.
    let told = desk.run(&format!("run small.yaml -q -o traced --trace-window 100:200 {PRESSED}"));
    assert_eq!(told.code, 2);
    let nothing = "nothing happens from 100.000 s to 200.000 s; the run is over at 30.000 s; there is no trace.json";
    assert!(told.err.contains(nothing), "{}", told.err);
    assert_eq!(desk.read_bytes("traced/manifest.json"), desk.read_bytes("plain/manifest.json"));
    assert_eq!(crate::names_in(&desk.path("traced")), crate::names_in(&desk.path("plain")));
}

#[test]
fn a_window_of_a_run_that_cannot_be_traced_is_refused() {
    let desk = Desk::small();
    for (arguments, said) in [
        ("run small.yaml --trace-window 20:10", "ends before it begins"),
        ("run small.yaml --trace-window 10", "write FROM:TO in seconds"),
        (
            "run small.yaml --trace-window 1:2 --output none",
            "--trace-window writes a file, and --output none writes none",
        ),
        ("sweep small.yaml --seeds 2 --trace-window 1:2", "--trace-window"),
    ] {
        let told = desk.run(arguments);
        assert_eq!((told.code, told.out.as_str()), (2, ""), "{arguments}: {}", told.err);
        assert!(told.err.contains(said), "{arguments}: {}", told.err);
        assert!(!desk.path("output").exists(), "{arguments}");
    }
}

#[test]
fn transfers_of_kv_caches_are_those_of_the_requests() {
    let desk = Desk::small();
    let pools = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/scenarios/disaggregated.yaml");
    let set = "--set workload.total_requests_to_generate=200 --set metrics_config.write_csv=true";
    let told = desk.run(&format!("run {pools} {set} -q -o a --trace-window 0:1000"));
    assert_eq!(told.code, 0, "{}", told.err);
    let trace = desk.json("a/trace.json");
    let events = trace["traceEvents"].as_array().expect("events");
    let (rows, summary) = (rows(&desk.read("a/requests.csv")), desk.json("a/summary.json"));
    let (mut last, mut loaded) = (HashMap::<String, u64>::new(), 0);
    for link in summary["links"].as_object().expect("links").keys() {
        let slices = transfers(events, link);
        let bytes: f64 = slices.iter().map(|slice| number(slice, "/args/bytes")).sum();
        let told = number(&summary, &format!("/links/{}/bytes", link.replace('/', "~1")));
        // Streamed tokens are no transfers.
        assert!((bytes - told).abs() <= 1e-9 * told || link.ends_with(":reverse"), "{link}: {bytes} of {told}");
        let mut at = 0;
        for slice in slices {
            assert!(ns(slice, "ts") >= at, "{link} carries one after the other");
            at = ns(slice, "ts") + ns(slice, "dur");
            if slice["name"] == "KV cache" {
                let end = last.entry(slice["args"]["request"].as_str().expect("an id").to_owned()).or_default();
                *end = at.max(*end);
            }
        }
    }
    // Each of the two links on the way adds its latency.
    let latencies_ns = 2 * 2_000;
    for row in rows.iter().filter(|row| !row["kv_transfer_time_ms"].is_empty()) {
        let value = |column: &str| row[column].parse::<f64>().expect("a number");
        let started = value("prefill_end_time") * 1e9 + value("kv_wait_time_ms") * 1e6;
        let there = (started + value("kv_transfer_time_ms") * 1e6).round() as u64;
        assert_eq!(last[&row["request_id"]] + latencies_ns, there, "{row:?}");
        loaded += 1;
    }
    assert_eq!((loaded, last.len()), (200, 200));
    assert!(
        of(events, "C").any(|event| event["args"]["bytes_per_s"].as_u64() > Some(0)),
        "streamed tokens are counted"
    );
    let ends = of(events, "C").filter(|event| event["args"]["bytes_per_s"] == 0).count();
    assert!(ends > 0, "and come to an end");
}
