//! The worst ends: a kill that nobody hears, and a disk without room. No file then has a name that says it is whole, and what
//! can be read is readable.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output};

use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::signals::{partial, start_long_run, wait_until_it_runs};
use crate::{Desk, names_in, python_support};

/// Rows of a row group of `requests.parquet`.
const ROW_GROUP_ROWS: u64 = 1 << 16;

/// A deployment that answers millions of tiny requests, faster than anything else here.
const TINY_REQUESTS: &str = "\
simulation: {drain: true}
hardware_profile: {compute_devices: [{device_id: gpu, device: H100}]}
workload:
  total_requests_to_generate: 5_000_000
  client_profiles:
    - profile_name: tiny
      inter_arrival_time_dist_config: {type: Exponential, rate: 2000}
      prompt_tokens_dist_config: {type: Constant, value: 16}
      max_output_tokens_dist_config: {type: Constant, value: 1}
frameworks_to_test: [{name: vllm, type: VLLM, config: {model_profile_id: Llama3.2-1B, gpu_id: gpu}}]
metrics_config: {write_csv: false, timeseries_interval_s: 10}
";

#[test]
fn a_killed_run_leaves_nothing_that_looks_whole_and_is_replaced_by_the_next() {
    let desk = Desk::small();
    let kill = |flags: &[&str]| {
        let mut run = start_long_run(&desk, flags);
        wait_until_it_runs(&desk);
        run.kill().expect("it runs");
        let status = run.wait().expect("it was started");
        assert_eq!(status.code(), None, "SIGKILL leaves no exit code: {status}");
    };
    kill(&[]);
    let is_lock = |name: &String| name.starts_with('.') && name.ends_with(".lock");
    let (locks, left): (Vec<_>, Vec<_>) = names_in(&desk.path("output/long")).into_iter().partition(is_lock);
    assert!(left.len() == 5 && left.iter().all(|name| name.ends_with(".partial")), "{left:?}");
    assert_eq!(locks.len(), 5, "locks stay, and lock nothing: {locks:?}");
    assert_eq!(desk.run("run small.yaml -o output/long -q").code, 0);
    let whole = names_in(&desk.path("output/long"));
    assert!(whole.len() == 5 && !whole.iter().any(|name| name.ends_with(".partial")), "{whole:?}");
    // And one that is killed does not touch what was whole.
    let read = |name: &String| fs::read(desk.path("output/long").join(name)).expect("it is there");
    let before: Vec<Vec<u8>> = whole.iter().map(read).collect();
    kill(&["--overwrite"]);
    assert!(before == whole.iter().map(read).collect::<Vec<_>>());
}

/// What a failed run of [`TINY_REQUESTS`] says and leaves in `folder`, whatever kept it from writing.
fn assert_told_and_readable(output: &Output, file: &str, complaint: &str, folder: &Path) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    let named = told.contains("cannot write") && told.contains(file);
    assert!(named && told.contains(complaint) && !told.contains("panicked"), "{told}");
    let left = names_in(folder);
    assert!(!left.is_empty() && left.iter().all(|name| name.ends_with(".partial")), "{left:?}");
    let path = partial(folder, "requests.parquet").expect("it is there");
    let reader = SerializedFileReader::new(File::open(&path).expect("it is there")).expect("it has a footer");
    let metadata = reader.metadata();
    let rows = metadata.file_metadata().num_rows().unsigned_abs();
    // Where another file was the one that failed, this one ends as it was.
    assert!(rows > 0 && (file == "requests.csv" || rows.is_multiple_of(ROW_GROUP_ROWS)), "{rows} rows");
    let read = reader.get_row_iter(None).expect("it can be read").filter(Result::is_ok).count();
    assert_eq!(read as u64, rows);
    let marks = metadata.file_metadata().key_value_metadata().expect("it says something of itself");
    assert!(marks.iter().any(|mark| mark.key == "partial" && mark.value.as_deref() == Some("true")));
    let Some(python) = python_support::python() else { return };
    let count = "import sys, duckdb; print(duckdb.sql(f\"SELECT count(*) FROM read_parquet('{sys.argv[1]}')\").fetchall()[0][0])";
    let counted = Command::new(python).args(["-c", count]).arg(&path).output().expect("Python starts");
    assert_eq!(String::from_utf8_lossy(&counted.stdout).trim(), rows.to_string());
}

/// Runs a line of shell in the desk's folder, with the program as `$PROGRAM`.
fn shell(desk: &Desk, line: &str) -> Output {
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(desk.folder.path()).env("PROGRAM", env!("CARGO_BIN_EXE_llmperforacle"));
    command.output().expect("there is a shell")
}

#[test]
fn a_file_that_may_grow_no_more_is_told_and_its_row_groups_are_readable() {
    let desk = Desk::small();
    desk.write("tiny.yaml", TINY_REQUESTS);
    // 4 MiB, in blocks of 512 bytes; without the trap the kernel would end the program.
    let run = |flags: &str| {
        shell(&desk, &format!("ulimit -f 8192; trap '' XFSZ; exec \"$PROGRAM\" run tiny.yaml -q {flags}"))
    };
    assert_told_and_readable(&run(""), "requests.parquet", "File too large", &desk.path("output/tiny"));
    let output = run("-o csv --set metrics_config.write_csv=true");
    assert_told_and_readable(&output, "requests.csv", "File too large", &desk.path("csv"));
    let csv = fs::read_to_string(partial(&desk.path("csv"), "requests.csv").expect("it is there"));
    let csv = csv.expect("it is text");
    let commas = |line: &str| line.matches(',').count();
    let header = commas(csv.lines().next().expect("a header"));
    assert!(csv.ends_with('\n') && csv.lines().all(|line| commas(line) == header), "its lines are whole");
}

#[test]
fn a_full_disk_is_told_and_the_row_groups_on_it_are_readable() {
    let desk = Desk::small();
    desk.write("tiny.yaml", TINY_REQUESTS);
    for folder in ["disk", "kept"] {
        fs::create_dir(desk.path(folder)).expect("a folder can be made");
    }
    // A mount that is gone with the shell; where that is not allowed, the exit code is 99.
    let output = shell(
        &desk,
        "exec unshare --user --map-root-user --mount sh -c 'mount -t tmpfs -o size=8m none disk || exit 99
         \"$PROGRAM\" run tiny.yaml -q -o disk/run; code=$?; cp disk/run/* kept/; exit $code' || exit 99",
    );
    if matches!(output.status.code(), Some(99 | 127) | None)
        || !desk.path("kept").read_dir().is_ok_and(|mut kept| kept.next().is_some())
    {
        eprintln!("skipped: no small disk can be mounted here: {}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    assert_told_and_readable(&output, "requests.parquet", "No space left", &desk.path("kept"));
}
