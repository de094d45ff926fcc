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
