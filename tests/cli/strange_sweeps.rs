//! Grids that make no sense, and folders that hold what they should not.

use std::fs;

use crate::{Desk, Told, names_in};

const SEATS: &str = "--set frameworks_to_test[*].config.max_num_seqs=2,8,16 --set workload.total_duration=5";

fn sweep(desk: &Desk, flags: &str) -> Told {
    desk.run(&format!("sweep small.yaml -q {flags}"))
}

fn well(desk: &Desk, flags: &str) {
    let told = sweep(desk, flags);
    assert_eq!(told.code, 0, "{flags}\n{}", told.err);
}

#[test]
fn what_would_have_no_effect_is_refused() {
    let desk = Desk::small();
    for (flags, said) in [
        ("--set workload.total_duration=10,12,10.0", "workload.total_duration: 10 is in the list twice, also as 10.0"),
        ("--zip workload.total_duration=5,5.0 --zip simulation.name=a,a", "is in the list twice"),
        (
            "--set workload.total_duration=5 --set workload.total_duration=6,7",
            "workload.total_duration is swept, and 5 for all",
        ),
        ("--seeds 2 --seed 3", "--seed is swept, and 3 for all points: leave one of the two out"),
        ("--seeds 2 --set simulation.random_seed=1,2", "simulation.random_seed and seeds are one thing"),
        ("--zip=--output=a,b", "--output is about what one run leaves behind: no sweep goes through it"),
        ("--zip=--trace-window=1:2,2:3", "--trace-window is about what one run leaves behind"),
        ("--seeds 2 --shard 0/0", "a sweep has one shard at least"),
        ("--seeds 2 --shard 5/4", "there is no shard 5 of 4"),
        ("--set workload.total_duration=10..1:1", "the range is empty"),
        ("--set workload.total_duration=1..10:0", "a range that does not get from its beginning to its end"),
    ] {
        let told = sweep(&desk, flags);
        assert_eq!((told.code, told.out.as_str()), (2, ""), "{flags}: {}", told.err);
        assert!(told.err.contains(said), "{flags}: {}", told.err);
    }
    desk.write("grid.yaml", "product: {--name: [a, b]}\n");
    let told = sweep(&desk, "--grid grid.yaml");
    assert_eq!(told.code, 2);
    assert!(told.err.contains("--name is about what one run leaves behind"), "{}", told.err);
    assert!(!desk.path("output").exists());
}

#[test]
fn a_journal_of_another_sweep_is_not_taken_for_this_one() {
    let desk = Desk::small();
    well(&desk, &format!("{SEATS} -o one"));
    well(&desk, "--set frameworks_to_test[*].config.max_num_seqs=1,3,5,7 --set workload.total_duration=5 -o other");
    let table = desk.read_bytes("one/results.parquet");
    let journal = desk.read_bytes("one/points/1-of-1.jsonl");
    fs::copy(desk.path("other/points/1-of-1.jsonl"), desk.path("one/points/1-of-1.jsonl")).expect("it can be copied");
    let told = desk.run("merge one -q");
    assert_eq!(told.code, 2, "{}", told.err);
    assert!(told.err.contains("3 of 3 points are missing") && told.err.contains("of another sweep"), "{}", told.err);
    let told = sweep(&desk, &format!("{SEATS} -o one"));
    assert_eq!(told.code, 0, "{}", told.err);
    assert!(told.err.contains("1-of-1.jsonl:1: the line is of another sweep; its point is run again"), "{}", told.err);
    assert_eq!((desk.read_bytes("one/results.parquet"), desk.read_bytes("one/points/1-of-1.jsonl")), (table, journal));
}

#[test]
fn a_folder_holds_a_run_or_a_sweep() {
    let desk = Desk::small();
    assert_eq!(desk.run("run small.yaml -q -o run").code, 0);
    for shard in ["1/2", "2/2"] {
        well(&desk, &format!("{SEATS} -o part --shard {shard}"));
    }
    let in_run = names_in(&desk.path("run"));
    for command in [
        format!("sweep small.yaml -q {SEATS} -o run"),
        format!("sweep small.yaml -q {SEATS} -o run --overwrite"),
        "merge part -o run -q".to_owned(),
    ] {
        let told = desk.run(&command);
        assert_eq!(told.code, 2, "{command}");
        assert!(told.err.contains("run holds a run (manifest.json)"), "{command}: {}", told.err);
    }
    assert_eq!(names_in(&desk.path("run")), in_run);
    for (command, said) in [
        ("compare run part", "part holds a sweep; runs are compared"),
        ("trace part --window 1:2", "part holds a sweep; one run is traced"),
    ] {
        let told = desk.run(command);
        assert_eq!((told.code, told.out.as_str()), (2, ""), "{command}");
        assert!(told.err.contains(said), "{command}: {}", told.err);
    }
    let in_sweep = names_in(&desk.path("part"));
    for flags in ["", "--overwrite"] {
        let told = desk.run(&format!("run small.yaml -q -o part {flags}"));
        assert_eq!(told.code, 2, "{flags}");
        assert!(told.err.contains("part holds a sweep (sweep.json)"), "{}", told.err);
    }
    assert_eq!(names_in(&desk.path("part")), in_sweep);
}

#[test]
fn a_sweep_takes_away_nothing_that_it_reads() {
    let desk = Desk::small();
    let trace = |file: &str, more: &str| {
        desk.run(&format!("sweep --trace {file} --model Llama3-8B --device A100,H100 -q -o q {more}"))
    };
    let told = trace("trace.csv", "--save-requests");
    assert_eq!(told.code, 0, "{}", told.err);
    let own = "q/requests/device=A100/requests.parquet";
    fs::copy(desk.path(own), desk.path("q/intervals.parquet")).expect("it can be copied");
    fs::write(desk.path("q/points/3-of-9.jsonl"), desk.read("trace.csv")).expect("it can be written");
    fs::write(desk.path("grid.json"), r#"{"product": {"--trace": ["trace.csv", "q/results.parquet"]}}"#)
        .expect("it can be");
    std::os::unix::fs::symlink("../../trace.csv", desk.path("q/requests/link.csv")).expect("a link can be made");
    desk.write("q/points/gemm.csv", "m,n,k,latency_ms\n1,6144,4096,0.0241\n8192,6144,4096,0.611\n");
    let before = names_in(&desk.path("q"));
    for (file, more) in [
        (own, ""),
        ("./q/../q/requests/device=A100/requests.parquet", "--save-requests"),
        ("q/intervals.parquet", "--seeds 2"),
        ("q/points/3-of-9.jsonl", "--trace-format generic"),
        ("q/requests/link.csv", ""),
        ("trace.csv,q/intervals.parquet", ""),
        ("trace.csv", "--efficiency-table gemm=q/points/gemm.csv"),
    ] {
        let told = trace(file, &format!("--overwrite {more}"));
        assert!(told.code == 2 && told.err.contains("is read by this sweep, whose own files"), "{file}: {}", told.err);
        assert!(told.err.contains("with --output"), "{file}: {}", told.err);
        assert_eq!(names_in(&desk.path("q")), before, "{file}");
        assert!(desk.path(own).exists() && desk.path("q/points/1-of-1.jsonl").exists(), "{file}");
    }
    let told = desk.run("sweep --model Llama3-8B --device A100 --grid grid.json -q -o q --overwrite");
    assert!(told.code == 2 && told.err.contains("q/results.parquet is read by this sweep"), "{}", told.err);
    // A grid in the folder, by a name of the sweep's own or another.
    desk.write("own/sweep.json", r#"{"product": {"workload.total_duration": [5, 10]}}"#);
    let told = sweep(&desk, "--grid own/sweep.json -o own --overwrite");
    assert!(told.code == 2 && told.err.contains("own/sweep.json is read by this sweep"), "{}", told.err);
    assert!(desk.read("own/sweep.json").starts_with(r#"{"product""#));
    fs::rename(desk.path("own/sweep.json"), desk.path("own/grid.json")).expect("it can be renamed");
    well(&desk, "--grid own/grid.json -o own");
    well(&desk, "--grid own/grid.json -o own");
    well(&desk, "--grid own/grid.json -o own --overwrite");
    // Files of nobody's sweep are nobody's to replace.
    fs::create_dir_all(desk.path("mine/requests")).expect("it can be made");
    let told = sweep(&desk, "--grid own/grid.json -o mine --save-requests");
    assert!(told.code == 2 && told.err.contains("mine/requests is there, and no sweep.json"), "{}", told.err);
}

#[test]
fn where_no_point_can_run_nothing_is_touched() {
    let desk = Desk::small();
    well(&desk, &format!("{SEATS} -o q"));
    let (before, table) = (names_in(&desk.path("q")), desk.read_bytes("q/results.parquet"));
    // More points than anybody would look at by hand.
    let flags = "--set frameworks_to_test[*].config.max_num_sequs=1..40 --set workload.total_duration=1..40";
    let told = sweep(&desk, &format!("{flags} -o q --overwrite"));
    assert!(told.code == 2 && told.err.contains("none of the 1600 points can be simulated"), "{}", told.err);
    assert_eq!((names_in(&desk.path("q")), desk.read_bytes("q/results.parquet")), (before, table));
}
