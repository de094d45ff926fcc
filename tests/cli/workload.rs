//! `workload` and the shaping flags of `run`: what they print and write, and what they refuse.

use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use crate::{Desk, names_in};

/// Requests in sessions, some with the same beginning.
const SHARED: &str = "\
{\"timestamp\": 0, \"input_length\": 1024, \"output_length\": 10, \"hash_ids\": [1, 2]}
{\"timestamp\": 1000, \"input_length\": 1024, \"output_length\": 20, \"hash_ids\": [1, 2]}
{\"timestamp\": 3000, \"input_length\": 1100, \"output_length\": 30, \"hash_ids\": [1, 3, 4]}
{\"timestamp\": 13000, \"input_length\": 600, \"output_length\": 40}
";

fn refused(desk: &Desk, cases: &[&str]) -> String {
    let mut report = String::new();
    for arguments in cases {
        let told = desk.run(arguments);
        assert_eq!((told.code, told.out.as_str()), (2, ""), "{arguments}\n{}", told.err);
        let _ = writeln!(report, "$ {arguments}\n{}", told.err);
    }
    report
}

#[test]
fn what_a_load_holds_is_described() {
    let desk = Desk::small();
    desk.write("shared.jsonl", SHARED);
    let told = desk.run("workload describe shared.jsonl");
    assert_eq!((told.code, told.err.as_str()), (0, ""));
    insta::assert_snapshot!(told.out);
    let told = desk.run("workload describe shared.jsonl --format json --window 1s:1h --rate-scale 2");
    let figures: Value = serde_json::from_str(&told.out).expect("it prints JSON");
    assert_eq!((figures["requests"].as_u64(), figures["span_s"].as_f64()), (Some(3), Some(6.0)));
    let piped = std::process::Command::new("sh")
        .args([
            "-c",
            "cat shared.jsonl | \"$0\" workload describe - --format json",
            env!("CARGO_BIN_EXE_llmperforacle"),
        ])
        .current_dir(desk.path("."))
        .output()
        .expect("there is a shell");
    let figures: Value = serde_json::from_slice(&piped.stdout).expect("it prints JSON");
    assert_eq!(figures["requests"].as_u64(), Some(4));
    // Of a configuration, in which turns wait for answers.
    let told = desk.run("workload describe --config small.yaml --format json --seed 3");
    assert_eq!(told.code, 0, "{}", told.err);
    let figures: Value = serde_json::from_str(&told.out).expect("it prints JSON");
    assert!(figures["requests_after_answers"].as_u64() > Some(0) && figures["requests"].as_u64() > Some(60));
}

#[test]
fn what_is_written_is_read_again() {
    let desk = Desk::small();
    desk.write("shared.jsonl", SHARED);
    for (command, file) in [
        ("workload convert shared.jsonl -o again.jsonl", "again.jsonl"),
        ("workload convert shared.jsonl -o table.csv --drop prefixes", "table.csv"),
        ("workload convert table.csv -o vidur.csv --to vidur --drop sessions", "vidur.csv"),
        ("workload generate small.yaml -o load.csv --drop pauses,prefixes --requests 50", "load.csv"),
        (
            "workload generate small.yaml -o load.jsonl --drop pauses,sessions --duration 5 --block-size 16",
            "load.jsonl",
        ),
    ] {
        let told = desk.run(command);
        assert_eq!((told.code, told.out.as_str()), (0, ""), "{command}\n{}", told.err);
        assert!(told.err.contains(&format!("requests to {file}")), "{}", told.err);
    }
    assert_eq!(desk.read("load.csv").lines().count(), 51);
    assert_eq!(
        desk.read("table.csv"),
        "\
        arrival_s,prompt_tokens,output_tokens,max_output_tokens,session_id,priority,abort_s\n\
        0.0,1024,10,10,sess_0,0,\n1.0,1024,20,20,sess_1,0,\n3.0,1100,30,30,sess_2,0,\n13.0,600,40,40,sess_3,0,\n"
    );
    let figures = |file: &str| {
        let told = desk.run(&format!("workload describe {file} --format json"));
        serde_json::from_str::<Value>(&told.out).unwrap_or_else(|_| panic!("{file}: {}", told.err))
    };
    let (one, other) = (figures("shared.jsonl"), figures("again.jsonl"));
    for key in ["arrivals", "prompt", "output", "prompt_output_correlation", "span_s"] {
        assert_eq!(one[key], other[key], "{key}");
    }
    assert_eq!(one["reuse"]["block_sizes"], other["reuse"]["block_sizes"]);
    // A run of the same requests comes to the same.
    let run = |trace: &str, name: &str| {
        let flags = format!("run --trace {trace} --model Llama3-8B --device A100-80GB --name {name}");
        desk.summary(&flags)["latency"].clone()
    };
    assert_eq!(run("shared.jsonl", "one"), run("again.jsonl", "other"));
    assert_eq!(names_in(&desk.path(".")).iter().filter(|name| name.contains("partial")).count(), 0);
}

#[test]
fn a_run_shapes_its_trace() {
    let desk = Desk::small();
    let run =
        |flags: &str| desk.summary(&format!("run --trace trace.csv --model Llama3-8B --device A100-80GB {flags}"));
    let requests = |flags: &str| run(flags)["requests"]["total"].as_u64();
    assert_eq!(requests(""), Some(4));
    assert_eq!(requests("--window 0.1s:0.5s"), Some(2));
    assert_eq!(requests("--window peak:200ms"), Some(2));
    assert_eq!(requests("--repeat 3"), Some(12));
    assert_eq!(requests("--repeat 3 --max-requests 7"), Some(7));
    assert_eq!(requests("--shuffle --seed 4"), Some(4));
    let span = |flags: &str| {
        let told = desk.run(&format!("workload describe trace.csv --format json {flags}"));
        serde_json::from_str::<Value>(&told.out).expect("JSON")["span_s"].as_f64()
    };
    assert_eq!((span(""), span("--time-scale 2"), span("--rate-scale 2")), (Some(0.5), Some(1.0), Some(0.25)));
    // The keys say the same.
    desk.write("traced.yaml", &crate::SMALL.replace("  total_duration: 20\n", "  trace: {path: trace.csv, repeat: 2, window: \"0:0.3s\"}\n").split("  client_profiles:").next().map(|head| {
        format!("{head}frameworks_to_test:\n  - {{name: first, type: VLLM, config: {{model_profile_id: Llama3-8B, gpu_id: gpu0}}}}\n")
    }).expect("a head"));
    assert_eq!(desk.summary("run traced.yaml")["requests"]["total"].as_u64(), Some(6));
}

#[test]
fn what_cannot_be_done_is_said_with_the_way_out() {
    let desk = Desk::small();
    desk.write("shared.jsonl", SHARED);
    desk.write("there.csv", "somebody's\n");
    desk.write("empty.csv", "arrival_s,prompt_tokens,output_tokens\n");
    let before = names_in(&desk.path("."));
    insta::assert_snapshot!(refused(
        &desk,
        &[
            "workload describe",
            "workload describe nowhere.csv",
            "workload describe empty.csv",
            "workload describe trace.csv --window 10m",
            "workload describe trace.csv --sample 2",
            "workload describe trace.csv --window 5s:6s",
            "workload describe trace.csv --rate-scale 2 --time-scale 2",
            "workload describe --config small.yaml --repeat 2",
            "workload convert shared.jsonl -o out.csv",
            "workload convert shared.jsonl -o out.txt",
            "workload convert trace.csv -o there.csv",
            "workload generate small.yaml -o out.csv",
            "workload generate small.yaml -o out.csv --drop pauses",
            "run small.yaml --window peak:1m --shuffle",
            "run --trace trace.csv --model Llama3-8B --device A100 --repeat 0",
            "run --trace trace.csv --model Llama3-8B --device A100 --repeat-prefixes new",
        ]
    ));
    assert_eq!(names_in(&desk.path(".")), before, "what is refused leaves nothing");
    assert_eq!(fs::read_to_string(desk.path("there.csv")).expect("it is there"), "somebody's\n");
}
