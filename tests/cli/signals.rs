//! Interruptions: a signal ends a run with whole files that say so; a reader that goes away ends nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::{Desk, assert_conserved, names_in, number};

/// Longest wait for something that takes well below a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a run that would take minutes, with some more flags.
pub fn start_long_run(desk: &Desk, flags: &[&str]) -> Child {
    let long = crate::SMALL
        .replace("max_simulation_time: 30", "max_simulation_time: 1e7")
        .replace("total_duration: 20", "total_duration: 1e7");
    desk.write("long.yaml", &long);
    let mut command = Command::new(env!("CARGO_BIN_EXE_llmperforacle"));
    command.args(["run", "long.yaml"]).args(flags).current_dir(desk.folder.path());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

/// Waits until the run has written records of requests.
pub fn wait_until_it_runs(desk: &Desk) {
    let folder = desk.path("output/long");
    let start = Instant::now();
    let bytes = || partial(&folder, "requests.csv").map_or(0, |csv| fs::metadata(csv).map_or(0, |csv| csv.len()));
    while bytes() < 100_000 {
        assert!(start.elapsed() < PATIENCE, "the run does not get going");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A file in the making.
pub fn partial(folder: &Path, name: &str) -> Option<PathBuf> {
    let is_partial = |file: &str| file.starts_with(&format!("{name}.")) && file.ends_with(".partial");
    let mut entries = fs::read_dir(folder).ok()?.flatten();
    entries.find(|entry| entry.file_name().to_str().is_some_and(is_partial)).map(|entry| entry.path())
}

/// Sends a signal to a run that we have started, and waits for its end.
fn end_by(signal: &str, run: Child) -> Output {
    let sent = Command::new("kill").args([signal, &run.id().to_string()]).status().expect("there is kill");
    assert!(sent.success());
    run.wait_with_output().expect("it ends")
}

#[test]
fn a_signal_leaves_whole_files_that_are_marked_partial() {
    for signal in ["-INT", "-TERM"] {
        let desk = Desk::small();
        let run = start_long_run(&desk, &[]);
        wait_until_it_runs(&desk);
        let output = end_by(signal, run);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{signal}: {complaint}");
        assert!(complaint.contains("interrupted"), "{complaint}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("stopped early"));
        let folder = desk.path("output/long");
        let names = names_in(&folder);
        assert!(names.len() == 5 && names.iter().all(|name| !name.ends_with(".partial")), "{names:?}");
        let (manifest, summary) = (desk.json("output/long/manifest.json"), desk.json("output/long/summary.json"));
        assert_eq!((&manifest["partial"], &summary["partial"]), (&true.into(), &true.into()));
        assert_eq!(manifest["stop_reason"], "interrupted");
        assert_conserved(&summary);
        let csv = desk.read("output/long/requests.csv");
        assert!(csv.ends_with('\n'));
        assert_eq!(csv.lines().count() - 1, number(&manifest, "/requests_arrived") as usize);
        for name in ["requests.parquet", "timeseries.parquet"] {
            assert!(fs::read(folder.join(name)).expect("it is there").ends_with(b"PAR1"), "{name} has no footer");
        }
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let desk = Desk::small();
    for line in [
        "models | true",
        "run small.yaml 2>/dev/null | true",
        "run small.yaml 2>&1 | true",
        "schema | head -n 1",
        "--help | true",
        "fly 2>&1 | true",
    ] {
        // The program's own exit code, behind the pipe.
        let line = line.replace(" | ", "; echo $? >code; } | ");
        let script = format!("{{ '{}' {line}", env!("CARGO_BIN_EXE_llmperforacle"));
        let output = Command::new("sh").args(["-c", &script]).current_dir(desk.folder.path()).output();
        let output = output.expect("there is a shell");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(!complaint.contains("panicked"), "{line}\n{complaint}");
        let expected = if line.starts_with("fly") { "2\n" } else { "0\n" };
        assert_eq!(desk.read("code"), expected, "{line}\n{complaint}");
    }
    assert!(desk.path("output/small/manifest.json").is_file(), "the run went on to its end");
}
