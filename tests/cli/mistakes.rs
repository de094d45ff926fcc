//! What is said when something is wrong, to the letter, and that nothing is written then.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::{Desk, SMALL, names_in};

/// Runs each command, which must fail as bad input, and lists what it said.
fn said(desk: &Desk, cases: &[&str]) -> String {
    let mut report = String::new();
    for arguments in cases {
        let told = desk.run(arguments);
        assert_eq!((told.code, told.out.as_str()), (2, ""), "{arguments}\n{}", told.err);
        let _ = writeln!(report, "$ {arguments}\n{}", told.err);
    }
    assert!(!desk.path("output").exists(), "a run that cannot start leaves nothing");
    report
}

#[test]
fn a_bad_configuration() {
    let desk = Desk::small();
    desk.write("key.yaml", &SMALL.replace("total_duration", "total_durations"));
    desk.write("type.yaml", &SMALL.replace("total_duration: 20", "total_duration: soon"));
    desk.write("yaml.yaml", "simulation: {lod: high\n");
    let parallel =
        "config: {model_profile_id: Llama3-8B, parallelism: {strategy: TP, tp_degree: 2, gpu_ids: [gpu0, gpu1]}}";
    let sheet = "{device_id: gpu, device_type: GPU, peak_tflops: {fp16: 300}, memory_capacity_bytes: 80e9, memory_gbps: 2000, count: 2}";
    let missing_link = SMALL.replace("{device_id: gpu, device: A100-80GB, count: 2}", sheet).replace(
        "type: VLLM\n    config: {model_profile_id: Llama3-8B, gpu_id: gpu0}",
        &format!("type: ParallelVLLM\n    {parallel}"),
    );
    desk.write("link.yaml", &missing_link);
    insta::assert_snapshot!(said(
        &desk,
        &[
            "run key.yaml",
            "run type.yaml",
            "run yaml.yaml",
            "run link.yaml",
            "run nowhere.yaml",
            "run small.yaml --set workload.total_durations=3",
            "run small.yaml --set workload.total_duration",
            "run small.yaml --mfu 1.5",
            "run small.yaml --name a/b",
        ]
    ));
}

#[test]
fn a_name_that_the_catalog_does_not_have_or_a_model_that_does_not_fit() {
    let desk = Desk::small();
    insta::assert_snapshot!(said(
        &desk,
        &[
            "run --trace trace.csv --model Llama3-8 --device A100",
            "run --trace trace.csv --model Llama3-8B --device A1000",
            "run --trace trace.csv --model Llama3-70B --device A100",
            "run --trace trace.csv --model Llama3-8B --device A100 --trace-block-size 0 --set workload.x=1",
            "run --trace trace.csv --model Llama3-8B --device A100 --efficiency-table gemm.csv",
            "run small.yaml --efficiency-table gem=gemm.csv",
        ]
    ));
}

#[test]
fn a_trace_that_cannot_be_read() {
    let desk = Desk::small();
    desk.write("header.csv", "when,how_long\n0,1\n");
    desk.write("line.csv", "arrival_s,prompt_tokens,output_tokens\n0,100,10\n1,x,10\n");
    desk.write("order.csv", "arrival_s,prompt_tokens,output_tokens\n1,100,10\n0,100,10\n");
    desk.write("none.csv", "arrival_s,prompt_tokens,output_tokens\n");
    desk.write("empty.csv", "");
    desk.write(
        "line.jsonl",
        "{\"timestamp\": 0, \"input_length\": 10, \"output_length\": 5, \"hash_ids\": []}\n{\"timestamp\": \n",
    );
    let traces = ["nowhere.csv", ".", "header.csv", "line.csv", "order.csv", "none.csv", "empty.csv", "line.jsonl"];
    let cases = traces.map(|trace| format!("run --trace {trace} --model Llama3-8B --device A100"));
    let mut cases: Vec<&str> = cases.iter().map(String::as_str).collect();
    cases.push("run --trace trace.csv --model Llama3-8B --device A100 --trace-format mooncake");
    cases.push("run --trace trace.csv --model Llama3-8B --device A100 --trace-format parquet");
    insta::assert_snapshot!(said(&desk, &cases));
}

#[test]
fn a_folder_that_cannot_be_written() {
    let desk = Desk::small();
    desk.write("file", "");
    fs::create_dir_all(desk.path("taken/summary.json")).expect("a folder can be made");
    insta::assert_snapshot!(said(
        &desk,
        &["run small.yaml -o file", "run small.yaml -o /dev/null/here", "run small.yaml -o taken"]
    ));
    assert_eq!(names_in(&desk.path("taken")), ["summary.json"], "no file is begun");
    fs::create_dir(desk.path("locked")).expect("a folder can be made");
    fs::set_permissions(desk.path("locked"), fs::Permissions::from_mode(0o555)).expect("it is ours");
    if fs::write(desk.path("locked/probe"), "").is_ok() {
        eprintln!("skipped: this user may write to read-only folders");
        return;
    }
    let told = desk.run("run small.yaml -o locked");
    assert!(told.code == 2 && told.err.contains("Permission denied"), "{}", told.err);
}

#[test]
fn what_the_predecessor_ignored_is_a_warning() {
    let desk = Desk::small();
    let ignored = SMALL
        .replace("warm_up_duration_s: 2", "warm_up_duration_s: 2, compute_percentiles: true")
        .replace("gpu_id: gpu0}", "gpu_id: gpu0, data_parallel_size: 2}");
    desk.write("old.yaml", &ignored);
    let told = desk.run("validate old.yaml");
    assert_eq!((told.code, told.out.as_str()), (0, "old.yaml is valid: 0 errors, 2 warnings\n"));
    insta::assert_snapshot!(told.err);
}
