//! Whose folder it is: runs side by side, runs of other configurations, runs without files.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::signals::{partial, start_long_run, wait_until_it_runs};
use crate::{Desk, assert_conserved, names_in, number};

const TRACE_RUN: &str = "run --trace trace.csv --model Llama3-8B --device A100";

#[test]
fn a_folder_in_use_is_refused_until_its_run_is_over_or_dead() {
    let desk = Desk::small();
    let mut run = start_long_run(&desk, &[]);
    wait_until_it_runs(&desk);
    let told = desk.run("run small.yaml -o output/long --overwrite -q");
    assert_eq!((told.code, told.out.as_str()), (2, ""), "{}", told.err);
    assert!(told.err.contains("output/long/manifest.json is being written by another run"), "{}", told.err);
    let csv = partial(&desk.path("output/long"), "requests.csv").expect("the run is at work");
    assert!(csv.metadata().expect("it is there").len() >= 100_000, "nobody has cut it");
    run.kill().expect("it runs");
    run.wait().expect("it was started");
    assert_eq!(desk.run("run small.yaml -o output/long -q").code, 0, "a lock dies with its process");
    assert_eq!(names_in(&desk.path("output/long")).len(), 5);
}

#[test]
fn runs_that_start_at_once_leave_one_whole_run() {
    let desk = Desk::small();
    for round in 0..4 {
        let start = |seed: u32| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_llmperforacle"));
            command.args(["run", "small.yaml", "-q", "-o", "shared", "--overwrite", "--seed", &seed.to_string()]);
            command.current_dir(desk.folder.path()).stdout(Stdio::null()).stderr(Stdio::piped());
            command.spawn().expect("it starts")
        };
        let runs: Vec<_> = (0..6).map(|run| start(10 * round + run)).collect();
        let ends: Vec<_> = runs.into_iter().map(|run| run.wait_with_output().expect("it ends")).collect();
        let codes: Vec<_> = ends.iter().map(|end| end.status.code()).collect();
        assert!(codes.iter().all(|code| [Some(0), Some(2)].contains(code)), "{codes:?}");
        assert!(codes.contains(&Some(0)), "{codes:?}");
        let manifest = desk.json("shared/manifest.json");
        for file in manifest["files"].as_array().expect("it lists files") {
            let path = desk.path("shared").join(file["path"].as_str().expect("a path"));
            assert_eq!(path.metadata().expect("it is there").len(), number(file, "/bytes") as u64, "{file}");
        }
        // One run alone gives the same bytes: what is there is all of one run.
        let seed = number(&manifest, "/seed");
        assert_eq!(desk.run(&format!("run small.yaml -q -o alone --overwrite --seed {seed}")).code, 0);
        for name in names_in(&desk.path("alone")) {
            let bytes = |folder: &str| std::fs::read(desk.path(folder).join(&name)).expect("it is there");
            assert!(bytes("alone") == bytes("shared"), "{name} is of another run than the manifest");
        }
        assert_eq!(names_in(&desk.path("shared")), names_in(&desk.path("alone")));
    }
}

#[test]
fn a_run_of_another_configuration_needs_overwrite() {
    let desk = Desk::small();
    assert_eq!(desk.run("run small.yaml -q").code, 0);
    let first = desk.read("output/small/requests.csv");
    assert_eq!(desk.run("run small.yaml -q").code, 0, "the same one is run again");
    let told = desk.run("run small.yaml -q --seed 6");
    assert_eq!(told.code, 2);
    let seed = "output/small holds a run of another configuration (simulation.random_seed is 5 there and 6 here)";
    assert!(told.err.contains(seed) && told.err.contains("--overwrite"), "{}", told.err);
    assert_eq!(desk.read("output/small/requests.csv"), first);
    assert_eq!(desk.run("run small.yaml -q --seed 6 --overwrite").code, 0);
    assert!(first != desk.read("output/small/requests.csv"));
    assert_eq!(names_in(&desk.path("output/small")).len(), 5);
}

#[test]
fn a_file_that_no_run_wrote_is_not_replaced() {
    let desk = Desk::small();
    desk.write("requests.csv", crate::TRACE);
    let told = desk.run("run --trace requests.csv --model Llama3-8B --device A100 -o . -q");
    assert!(told.code == 2 && told.err.contains("requests.csv is read by this run"), "{}", told.err);
    assert_eq!(desk.read("requests.csv"), crate::TRACE);
    let told = desk.run("run small.yaml -o . -q");
    assert!(told.code == 2 && told.err.contains("requests.csv is there, and no manifest says"), "{}", told.err);
}

#[test]
fn a_run_replaces_nothing_that_it_reads() {
    let desk = Desk::small();
    let (config, trace) = (desk.read("small.yaml"), desk.read("trace.csv"));
    std::fs::hard_link(desk.path("small.yaml"), desk.path("twin.yaml")).expect("a link can be made");
    for file in ["small.yaml", "./small.yaml", "twin.yaml"] {
        let set = format!("metrics_config.output_requests_csv_path={file}");
        let told = desk.run(&format!("run small.yaml -q --overwrite --set {set}"));
        assert!(told.code == 2 && told.err.contains("is read by this run (small.yaml)"), "{}", told.err);
    }
    let told = desk.run(&format!("{TRACE_RUN} -q --overwrite --set metrics_config.output_summary_json_path=trace.csv"));
    assert!(told.code == 2 && told.err.contains("trace.csv is read by this run"), "{}", told.err);
    assert_eq!((desk.read("small.yaml"), desk.read("trace.csv")), (config, trace));
}

#[test]
fn a_run_takes_away_nothing_that_it_reads() {
    let desk = Desk::small();
    for name in [".requests.csv.lock", "summary.json.7.partial"] {
        desk.write(&format!("own/{name}"), crate::SMALL);
        let told = desk.run(&format!("run own/{name} -q -o own --overwrite"));
        assert!(told.code == 2 && told.err.contains(&format!("own/{name} is read by this run")), "{}", told.err);
        assert_eq!(desk.read(&format!("own/{name}")), crate::SMALL);
    }
    // What an earlier run has left and this one does not write goes, but not from under it.
    assert_eq!(desk.run("run small.yaml -q -o before").code, 0);
    let rows = desk.read("before/requests.csv");
    let replay = "run --trace before/requests.csv --model Llama3-8B --device A100 -q -o before --overwrite --no-csv";
    let told = desk.run(replay);
    assert!(told.code == 2 && told.err.contains("before/requests.csv is read by this run"), "{}", told.err);
    assert_eq!(desk.read("before/requests.csv"), rows);
    assert_eq!(names_in(&desk.path("before")).len(), 5);
}

#[test]
fn a_trace_with_other_rows_is_another_run() {
    let desk = Desk::small();
    let again = crate::TRACE.replace('0', "1");
    assert!(again != crate::TRACE);
    assert_eq!(desk.run(&format!("{TRACE_RUN} -q -o one")).code, 0);
    assert_eq!(desk.run(&format!("{TRACE_RUN} -q -o one")).code, 0, "the same one is run again");
    let bytes = desk.json("one/manifest.json")["trace"]["bytes"].as_u64();
    assert_eq!(bytes, Some(crate::TRACE.len() as u64));
    desk.write("trace.csv", &again);
    let told = desk.run(&format!("{TRACE_RUN} -q -o one"));
    assert!(told.code == 2 && told.err.contains("(its trace is of"), "{}", told.err);
    assert_eq!(desk.run(&format!("{TRACE_RUN} -q -o one --overwrite")).code, 0);
    // Through a pipe it is the same trace, or another.
    let piped = |text: &str| {
        let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_llmperforacle"));
        command.args("run --trace - --model Llama3-8B --device A100 -q -o two".split(' '));
        let output = command.current_dir(desk.folder.path()).write_stdin(text).output().expect("it starts");
        output.status.code()
    };
    assert_eq!([piped(&again), piped(&again), piped(crate::TRACE)], [Some(0), Some(0), Some(2)]);
    assert_eq!(desk.json("one/manifest.json")["trace"], desk.json("two/manifest.json")["trace"]);
}

#[test]
fn a_folder_that_is_a_link_to_nothing_is_refused_with_the_way_out() {
    let desk = Desk::small();
    std::os::unix::fs::symlink("nowhere", desk.path("away")).expect("a link can be made");
    let told = desk.run("run small.yaml -q -o away");
    assert!(told.code == 2 && told.err.contains("away is a link to nothing; make the folder"), "{}", told.err);
}

#[test]
fn a_file_that_is_too_long_is_a_failed_write() {
    let desk = Desk::small();
    let line = format!("ulimit -f 8; exec '{}' run small.yaml -q -o long", env!("CARGO_BIN_EXE_llmperforacle"));
    let output = Command::new("bash").args(["-c", &line]).current_dir(desk.folder.path()).output();
    let output = output.expect("there is bash");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("cannot write long/requests.csv"), "{told}");
}

#[test]
fn without_a_csv_none_stays_behind() {
    let desk = Desk::small();
    assert_eq!(desk.run("run small.yaml -q").code, 0);
    assert!(desk.path("output/small/requests.csv").exists());
    assert_eq!(desk.run("run small.yaml -q --no-csv").code, 0);
    assert!(!desk.path("output/small/requests.csv").exists());
    let elsewhere = "run small.yaml -q -o other --set metrics_config.output_requests_csv_path=side/r.csv";
    assert_eq!(desk.run(elsewhere).code, 0);
    assert!(desk.path("side/r.csv").exists());
    assert_eq!(desk.run(&format!("{elsewhere} --no-csv")).code, 0);
    assert!(!desk.path("side/r.csv").exists());
}

#[test]
fn a_trace_run_is_named_after_trace_model_device_ranks_and_replicas() {
    let desk = Desk::small();
    let flags = ["", "--tp 2", "--pp 2", "--replicas 3", "--tp 2 --replicas 2"];
    for flags in flags {
        assert_eq!(desk.run(&format!("{TRACE_RUN} -q {flags}")).code, 0, "{flags}");
    }
    assert_eq!(desk.run("run --trace trace.csv --model meta-llama/Llama-3.1-8B --device H100 -q").code, 0);
    assert_eq!(
        names_in(&desk.path("output")),
        [
            "trace-Llama-3.1-8B-H100-tp1-pp1-x1",
            "trace-Llama3-8B-A100-tp1-pp1-x1",
            "trace-Llama3-8B-A100-tp1-pp1-x3",
            "trace-Llama3-8B-A100-tp1-pp2-x1",
            "trace-Llama3-8B-A100-tp2-pp1-x1",
            "trace-Llama3-8B-A100-tp2-pp1-x2",
        ]
    );
    let told = desk.run(&format!("{TRACE_RUN} -q --rate-scale 2"));
    assert!(told.code == 2 && told.err.contains("workload.trace.rate_scale"), "{}", told.err);
    assert_eq!(desk.run(&format!("{TRACE_RUN} -q --rate-scale 2 --name fast")).code, 0);
}

#[test]
fn output_none_simulates_without_files() {
    let desk = Desk::small();
    let before = names_in(desk.folder.path());
    let without = desk.summary("run small.yaml --output none");
    assert_conserved(&without);
    assert!(!desk.run("run small.yaml -o none").out.contains("Files"));
    assert_eq!(names_in(desk.folder.path()), before);
    assert_eq!(without, desk.summary("run small.yaml"), "files change no figure");
    assert_eq!(desk.run("run small.yaml -q -o ./none").code, 0);
    assert_eq!(names_in(&desk.path("none")).len(), 5, "a folder may be called so");
}

#[test]
fn nothing_is_written_through_a_link_or_a_pipe() {
    let desk = Desk::small();
    desk.write("mine", "mine");
    std::os::unix::fs::symlink(desk.path("mine"), desk.path("link")).expect("a link can be made");
    assert!(Command::new("mkfifo").arg(desk.path("pipe")).status().expect("there is mkfifo").success());
    for name in ["link", "pipe", "/dev/null"] {
        let told = desk.run(&format!("run small.yaml -q --set metrics_config.output_requests_csv_path={name}"));
        assert!(told.code == 2 && told.err.contains("no output is written through one"), "{name}: {}", told.err);
    }
    assert_eq!(desk.read("mine"), "mine");
    let manifest: Option<Value> = desk.path("output/small/manifest.json").exists().then(|| desk.json("manifest.json"));
    assert_eq!(manifest, None);
}
