//! How long do whole runs take, and how much memory? The shipped scenarios through the release binary, files written.
//!
//! ```text
//! cargo bench --bench million                      every case
//! cargo bench --bench million -- sessions -n 5     cases whose name contains the word; the median of five runs
//! cargo bench --bench million -- soak 100000000    one long run, its memory sampled every second
//! cargo bench --bench million -- traces 3          a trace by lines and by sessions; the median of three runs
//! ```
//!
//! Prints figures; asserts nothing but that the runs succeed. Linux only: user time and peak memory are the kernel's.

mod measure;
mod soak;
mod traces;

use std::path::Path;

use measure::{Figures, median, run};

/// The binary under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_llmperforacle");

/// A run to measure.
struct Case {
    name: &'static str,
    scenario: &'static str,
    requests: u64,
    /// Keys that differ from the scenario's.
    set: &'static [&'static str],
}

impl Case {
    /// A shipped scenario of a million requests.
    const fn million(name: &'static str, scenario: &'static str) -> Self {
        Self { name, scenario, requests: 1_000_000, set: &[] }
    }
}

/// The first is what the others are compared with.
const CASES: [Case; 9] = [
    Case::million("one replica", "million"),
    Case { set: &["metrics_config.write_csv=true"], ..Case::million("one replica, with CSV", "million") },
    Case {
        set: &["workload.load={concurrency: 256}", "workload.client_profiles[0].inter_arrival_time_dist_config=null"],
        ..Case::million("one replica, closed loop", "million")
    },
    Case::million("64 replicas", "million-64-replicas"),
    Case::million("64 replicas, least loaded, sessions", "million-least-loaded-sessions"),
    Case::million("overload, preemption, timeouts", "million-overload"),
    Case::million("long decode", "million-long-decode"),
    Case {
        name: "ten million, one replica",
        scenario: "million",
        requests: 10_000_000,
        set: &["workload.total_requests_to_generate=10_000_000", "metrics_config.timeseries_interval_s=250"],
    },
    Case { name: "ten million, 10,000 replicas", scenario: "ten-thousand-replicas", requests: 10_000_000, set: &[] },
];

/// The words of a run of the scenario `name` into `folder`.
fn words(name: &str, folder: &Path, set: &[&str]) -> Vec<String> {
    let scenario = format!("{}/configs/scenarios/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    let mut words = vec!["run".to_owned(), scenario, "--quiet".to_owned(), "-o".to_owned()];
    words.push(folder.display().to_string());
    words.extend(set.iter().flat_map(|&key| ["--set".to_owned(), key.to_owned()]));
    words
}

/// Medians of `repeats` runs of a case.
fn measure(case: &Case, repeats: usize) -> Figures {
    let runs: Vec<Figures> = (0..repeats)
        .map(|_| {
            let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build folder can be written");
            run(PROGRAM, &words(case.scenario, folder.path(), case.set))
        })
        .collect();
    let of = |figure: fn(&Figures) -> f64| median(runs.iter().map(figure).collect());
    Figures { wall_s: of(|run| run.wall_s), user_s: of(|run| run.user_s), peak_mb: of(|run| run.peak_mb) }
}

fn print_table(filter: &str, repeats: usize) {
    let head = ["wall s", "user s", "peak MB", "requests/s", "ratio"];
    print!("{:<36}", format!("median of {repeats}"));
    println!("{}", head.map(|head| format!("{head:>12}")).concat());
    let chosen = CASES.iter().filter(|case| case.name.contains(filter) || case.scenario.contains(filter));
    let mut first_per_s = None;
    for case in chosen {
        let Figures { wall_s, user_s, peak_mb } = measure(case, repeats);
        let per_s = case.requests as f64 / wall_s;
        let ratio = *first_per_s.get_or_insert(per_s) / per_s;
        println!("{:<36}{wall_s:>12.2}{user_s:>12.2}{peak_mb:>12.0}{per_s:>12.0}{ratio:>12.2}", case.name);
    }
}

fn main() {
    // cargo says --bench.
    let mut arguments = std::env::args().skip(1).filter(|word| word != "--bench");
    let (mut filter, mut repeats) = (String::new(), 1);
    while let Some(word) = arguments.next() {
        let number = |text: Option<String>| text.and_then(|text| text.parse::<u64>().ok());
        match word.as_str() {
            measure::ALONE => return measure::alone(&arguments.collect::<Vec<_>>()),
            "soak" => return soak::soak(number(arguments.next()).unwrap_or(100_000_000)),
            "traces" => return traces::traces(PROGRAM, number(arguments.next()).unwrap_or(1).max(1) as usize),
            "-n" => repeats = number(arguments.next()).filter(|&repeats| repeats > 0).unwrap_or(1) as usize,
            _ => filter = word,
        }
    }
    print_table(&filter, repeats);
}
