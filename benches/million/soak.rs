//! One long run with its memory sampled: does it stay within bounds, and is every request in the file?

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::measure::median;
use crate::{PROGRAM, words};

/// Resident memory of a process in megabytes; `None` once it has ended.
fn resident_mb(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024.0 / 1e6)
}

/// Simulates `requests` requests on one replica, samples memory every second, and counts the records.
pub fn soak(requests: u64) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build folder can be written");
    let total = format!("workload.total_requests_to_generate={requests}");
    // 2,000 rows a subject at 20 requests a second.
    let interval = format!("metrics_config.timeseries_interval_s={}", (requests / 40_000).max(1));
    let words = words("million", folder.path(), &[&total, &interval]);
    let started = Instant::now();
    let mut run = Command::new(PROGRAM).args(words).stdout(Stdio::null()).spawn().expect("it starts");
    let mut samples_mb = Vec::new();
    let status = loop {
        std::thread::sleep(Duration::from_secs(1));
        if let Some(status) = run.try_wait().expect("it is a child of this process") {
            break status;
        }
        samples_mb.extend(resident_mb(run.id()));
    };
    assert!(status.success(), "it ended with {status}");
    let wall_s = started.elapsed().as_secs_f64();
    let parquet = File::open(folder.path().join("requests.parquet")).expect("the run has left its records");
    let parquet = SerializedFileReader::new(parquet).expect("it is whole");
    let rows = parquet.metadata().file_metadata().num_rows();
    assert_eq!(u64::try_from(rows), Ok(requests), "every request has a record");
    println!("{rows} records in {wall_s:.0} s ({:.0} requests/s)", requests as f64 / wall_s);
    let extreme = |of: fn(f64, f64) -> f64| samples_mb.iter().copied().reduce(of);
    match extreme(f64::min).zip(extreme(f64::max)) {
        None => println!("it was over before its memory was sampled"),
        Some((least, most)) => println!(
            "resident memory of {} samples: min {least:.0}, median {:.0}, max {most:.0} MB",
            samples_mb.len(),
            median(samples_mb),
        ),
    }
}
