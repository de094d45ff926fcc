//! How fast are requests made, without an engine? One core, each case some seconds.
//!
//! ```text
//! cargo bench --bench generation                20 million requests a case, and the process's peak memory
//! cargo bench --bench generation -- 100000000   as many as that
//! ```

use std::hint::black_box;
use std::time::Instant;

use llmperforacle::config::{Overrides, load_text};
use nix::sys::resource::{UsageWho, getrusage};

/// What is generated, as keys of the million-request scenario.
const CASES: [(&str, &[&str]); 6] = [
    ("gaps of the profile", &[]),
    ("poisson, constant lengths", &["load={rate: 1000}", LENGTHS]),
    ("poisson, log-normal lengths", &["load={rate: 1000}"]),
    ("gamma, burstiness 0.25", &["load={rate: 1000, burstiness: 0.25}", LENGTHS]),
    ("ramp", &["load={rate: {type: Ramp, from: 1, to: 1000, over_s: 10000}}", LENGTHS]),
    ("day", &["load={rate: {type: Diurnal, mean: 1000}}", LENGTHS]),
];
const LENGTHS: &str = "client_profiles[0].prompt_tokens_dist_config=512";
const GAPS: &str = "client_profiles[0].inter_arrival_time_dist_config=null";

fn main() {
    let words = std::env::args().skip(1);
    let requests: u64 = words.filter_map(|word| word.parse().ok()).next().unwrap_or(20_000_000);
    println!("{:<32}{:>14}{:>12}", "case", "requests/s", "peak MB");
    for (name, keys) in CASES {
        let answer = keys.contains(&LENGTHS).then_some("client_profiles[0].max_output_tokens_dist_config=128");
        let gaps = (!keys.is_empty()).then_some(GAPS);
        let set = keys.iter().copied().chain(answer).chain(gaps).map(|key| format!("workload.{key}"));
        let set = set.chain([format!("workload.total_requests_to_generate={requests}")]).collect();
        let text = include_bytes!("../configs/scenarios/million.yaml");
        let resolved = load_text(text, "million.yaml", &Overrides { set, ..Overrides::default() });
        let (mut source, _) = resolved.expect("it resolves").workload.open().expect("it opens");
        let started = Instant::now();
        let mut made = 0_u64;
        while let Some(spec) = source.next_request() {
            black_box(&spec);
            made += 1;
        }
        let per_s = made as f64 / started.elapsed().as_secs_f64();
        let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the kernel counts for every process");
        println!("{name:<32}{per_s:>14.0}{:>12.0}", usage.max_rss() as f64 * 1024.0 / 1e6);
        assert_eq!(made, requests);
    }
}
