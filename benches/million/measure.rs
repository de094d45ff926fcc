//! One run of a program: its time by the clock and on processors, and its largest memory.
//!
//! The kernel tells a process what its children took together, so each run has a parent of its own: this program, started
//! once more with [`ALONE`].

use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// The word that makes this program the parent of one run.
pub const ALONE: &str = "--alone";

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// By the clock, in seconds.
    pub wall_s: f64,
    /// On processors, in seconds, without the system's share.
    pub user_s: f64,
    /// Most resident memory, in megabytes.
    pub peak_mb: f64,
}

/// Runs `program` with `words` and measures it.
pub fn run(program: &str, words: &[String]) -> Figures {
    let this = std::env::current_exe().expect("a running program has a path");
    let told = Command::new(this).arg(ALONE).arg(program).args(words).stderr(Stdio::inherit()).output();
    let told = told.expect("this program can be started again");
    assert!(told.status.success(), "{program} {} failed", words.join(" "));
    let told = String::from_utf8(told.stdout).expect("figures are text");
    let figures: Vec<f64> = told.split_whitespace().filter_map(|figure| figure.parse().ok()).collect();
    let &[wall_s, user_s, peak_mb] = figures.as_slice() else { panic!("no figures: {told}") };
    Figures { wall_s, user_s, peak_mb }
}

/// Runs the program that `words` name and prints its figures.
pub fn alone(words: &[String]) {
    let started = Instant::now();
    let status = Command::new(&words[0]).args(&words[1..]).stdout(Stdio::null()).status().expect("it starts");
    let wall_s = started.elapsed().as_secs_f64();
    assert!(status.success(), "it ended with {status}");
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the kernel counts for every process");
    let user_s = usage.user_time().num_microseconds() as f64 / 1e6;
    // Kibibytes on Linux.
    let peak_mb = usage.max_rss() as f64 * 1024.0 / 1e6;
    println!("{wall_s} {user_s} {peak_mb}");
}

/// The middle one of some values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}
