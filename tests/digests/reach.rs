//! What the random cases reach: a set that no longer came to preemptions would hold nothing of them.

use serde_json::Value;

use crate::cases::{Case, RANDOM_CASES};
use crate::run::Ran;

/// Cases that must run; the others' refusals are held too.
const FEWEST_RUN: usize = 180;

/// Something that a run may come to, how many must, and how it shows.
type Event = (&'static str, usize, fn(&Value) -> bool);

const EVENTS: [Event; 16] = [
    ("preemptions", 25, |summary| of_engines(summary, "preemptions") > 0),
    ("many preemptions", 10, |summary| of_engines(summary, "preemptions") > 100),
    ("evicted cache blocks", 25, |summary| of_engines(summary, "kv_blocks_evicted") > 0),
    ("a pool in use to the last block", 10, |summary| of_engines(summary, "kv_blocks_peak") > 0 && is_full(summary)),
    ("requests that waited", 60, |summary| of_engines(summary, "waiting_peak") > 10),
    ("timeouts while waiting", 15, |summary| ended(summary, "timeout_while_waiting")),
    ("timeouts while running", 15, |summary| ended(summary, "timeout_while_running")),
    ("simulations that ended while requests waited", 10, |summary| ended(summary, "simulation_ended_while_waiting")),
    ("simulations that ended while requests ran", 10, |summary| ended(summary, "simulation_ended_while_running")),
    ("answers cut at the longest context", 5, |summary| ended(summary, "length_limit")),
    ("prompts beyond the longest context", 5, |summary| ended(summary, "prompt_exceeds_max_model_len")),
    ("prompts beyond the token budget", 3, |summary| ended(summary, "prompt_exceeds_token_budget")),
    ("hits of conversations", 25, |summary| number(summary, "/prefix_caching/conversational_hits") > 0),
    ("hits across requests", 25, |summary| number(summary, "/prefix_caching/cross_request_hits") > 0),
    ("energy", 100, |summary| summary.get("energy").is_some()),
    ("costs", 2, |summary| summary.get("cost").is_some()),
];

/// Words of a configuration or a command line, and how many cases that run must have them.
const WORDS: [(&str, usize); 60] = [
    ("scheduling_policy: priority", 30),
    ("enable_chunked_prefill: false", 15),
    ("long_prefill_token_threshold: ", 10),
    ("prefill_chunk_size: ", 10),
    ("scheduler_reserve_full_isl: false", 25),
    ("async_scheduling: true", 40),
    ("enable_prefix_caching: false", 15),
    ("enable_cross_request_caching: false", 15),
    ("min_prefix_cache_length: ", 10),
    ("num_gpu_blocks_override: ", 40),
    ("max_model_len: ", 15),
    ("kv_cache_dtype: fp8", 3),
    ("weight_dtype: ", 10),
    ("step_overhead_s: ", 10),
    ("sequence_overhead_s: ", 20),
    ("front_end: in_process", 10),
    ("front_end: http", 10),
    ("front_end_delay: ", 8),
    ("enforce_eager: true", 12),
    ("cudagraph_capture_sizes: ", 10),
    ("mfu: ", 12),
    ("efficiency_curve: ", 1),
    ("efficiency_table: ", 2),
    ("peak_tflops: ", 12),
    ("lod: high", 30),
    ("lod: medium", 30),
    ("drain: true", 60),
    ("max_simulation_time: ", 40),
    ("round_robin", 20),
    ("load_balancing_strategy: random", 15),
    ("load_balancing_strategy: weighted_random", 15),
    ("load_balancing_strategy: least_loaded", 15),
    ("load_balancing_strategy: session_affinity", 15),
    ("decode_balancing_strategy: ", 5),
    ("framework_weights: ", 40),
    ("role: prefill", 12),
    ("strategy: TP,", 50),
    ("strategy: PP", 5),
    ("strategy: TP_PP", 3),
    ("num_microbatches_per_request: ", 5),
    ("sequence_parallel: true", 10),
    ("expert_parallel: true", 25),
    ("expert_imbalance: ", 6),
    ("dp_degree: ", 12),
    ("all2all_backend: all_to_all", 3),
    ("dcp_degree: ", 12),
    ("topology: ", 15),
    ("fabric: ", 10),
    ("disable_custom_all_reduce: true", 8),
    ("bandwidth_bps: 300_000", 12),
    ("arrivals: independent", 30),
    ("accumulate_conversational_tokens: false", 15),
    ("prefix_patterns: ", 40),
    ("profile_2", 25),
    ("streaming_response_probability: 0", 40),
    ("timeout_s: ", 60),
    ("--trace ", 14),
    ("generic.csv", 12),
    ("azure.csv", 12),
    ("mooncake.jsonl", 12),
];

/// Words of distributions, each of which must be drawn from.
const DISTRIBUTIONS: [&str; 9] =
    ["Constant", "Exponential", "Uniform", "Normal", "LogNormal", "Pareto", "Weibull", "Gamma", "Mixture"];

/// Fails unless the random cases reach all of it. Prints how far they do.
pub fn check(cases: &[Case], ran: &[Ran]) {
    let random: Vec<(&Case, &Ran)> =
        cases.iter().zip(ran).filter(|(case, _)| case.name.starts_with("random-")).collect();
    assert_eq!(random.len() as u64, RANDOM_CASES);
    for (case, ran) in cases.iter().zip(ran) {
        let is_right = ran.code == 0 || ran.code == 2 && case.name.starts_with("random-");
        assert!(is_right, "{} ended with exit code {}", case.name, ran.code);
    }
    let run: Vec<(String, &Value)> = random
        .iter()
        .filter_map(|(case, ran)| Some((case.text(), ran.summary.as_ref().filter(|_| ran.code == 0)?)))
        .collect();
    let mut found = vec![("random configurations run", FEWEST_RUN, run.len())];
    for (name, fewest, shows) in EVENTS {
        found.push((name, fewest, run.iter().filter(|(_, summary)| shows(summary)).count()));
    }
    let with = |word: &str| run.iter().filter(|(text, _)| text.contains(word)).count();
    found.extend(WORDS.map(|(word, fewest)| (word, fewest, with(word))));
    found.extend(DISTRIBUTIONS.map(|name| (name, 15, with(&format!("type: {name}")))));
    let mut missed = Vec::new();
    for (name, fewest, count) in found {
        println!("{count:>4} ({fewest:>3} at least)  {name}");
        if count < fewest {
            missed.push(format!("{name}: {count} of at least {fewest}"));
        }
    }
    assert!(missed.is_empty(), "the random configurations reach too little:\n  {}", missed.join("\n  "));
}

fn number(summary: &Value, pointer: &str) -> u64 {
    summary.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

fn engines(summary: &Value) -> impl Iterator<Item = &Value> {
    summary["engines"].as_object().into_iter().flat_map(|engines| engines.values())
}

fn of_engines(summary: &Value, figure: &str) -> u64 {
    engines(summary).filter_map(|engine| engine[figure].as_u64()).sum()
}

fn is_full(summary: &Value) -> bool {
    engines(summary).any(|engine| engine["kv_blocks_peak"] == engine["kv_blocks_total"])
}

fn ended(summary: &Value, reason: &str) -> bool {
    number(summary, &format!("/requests/by_reason/{reason}")) > 0
}
