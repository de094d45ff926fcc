//! Synthetic workloads: profiles, distributions, conversations, shared beginnings of prompts.

use crate::draw::{Draw, thousandths};
use crate::mapping::{Mapping, list};

/// Patterns, each with the name by which profiles may ask for it.
const PATTERNS: [(&str, &str); 6] = [
    ("helpful_assistant", "{type: system, name: helpful_assistant, weight: 2}"),
    ("qa_5shot", "{type: few_shot, name: qa_5shot}"),
    ("own", "{type: instruction, name: own, tokens: 333, weight: 3}"),
    (
        "long",
        "{type: mixed, name: long, components: [{type: system, name: base, tokens: 200}, {type: few_shot, name: a, tokens: 450}]}",
    ),
    (
        "longer",
        "{type: mixed, name: longer, components: [{type: system, name: base, tokens: 200}, {type: instruction, name: write_code}]}",
    ),
    ("random", "{type: random, weight: 1}"),
];

/// Adds profiles whose requests arrive at some `per_s` in all.
pub fn synthetic(draw: &mut Draw, workload: &mut Mapping, per_s: u64) {
    workload.maybe(draw, 40, "arrivals", &["independent"]);
    workload.maybe(draw, 40, "max_turns_per_session", &["2", "4", "15"]);
    workload.maybe(draw, 25, "accumulate_conversational_tokens", &["false"]);
    let mut named = None;
    if draw.chance(45) {
        workload.set("generate_prompt_tokens", true);
        let patterns: Vec<(&str, &str)> = PATTERNS.into_iter().filter(|_| draw.chance(60)).collect();
        if !patterns.is_empty() {
            named = Some(draw.one_of(&patterns));
            let texts: Vec<&str> = patterns.iter().map(|&(_, text)| text).collect();
            workload.set("prefix_patterns", Mapping::default().with("patterns", list(&texts)));
        }
    }
    let count = draw.between(1, 3);
    let mut profiles: Vec<Mapping> = (0..count).map(|number| profile(draw, number, (per_s / count).max(1))).collect();
    if let Some((name, _)) = named.filter(|_| draw.chance(30)) {
        profiles[0].set("prefix_pattern", name);
    }
    workload.set("client_profiles", list(&profiles));
}

fn profile(draw: &mut Draw, number: u64, per_s: u64) -> Mapping {
    let mut keys = Mapping::default().with("profile_name", format!("profile_{number}"));
    keys.maybe(draw, 50, "weight", &["0.5", "3"]);
    keys.set("inter_arrival_time_dist_config", gaps(draw, 1_000_000 / per_s));
    let prompt_tokens = draw.one_of(&[40, 200, 500, 500, 1200]);
    keys.set("prompt_tokens_dist_config", tokens(draw, prompt_tokens));
    let output_tokens = draw.one_of(&[2, 20, 60, 150, 150, 300]);
    keys.set("max_output_tokens_dist_config", tokens(draw, output_tokens));
    if draw.chance(20) {
        keys.set("output_tokens_dist_config", tokens(draw, output_tokens / 2 + 1));
    }
    keys.maybe(draw, 45, "conversational_probability", &["0.3", "0.8", "1.0"]);
    keys.maybe(draw, 30, "continuation_probability", &["0.3", "0.95", "1.0"]);
    if draw.chance(75) {
        let pause_us = draw.one_of(&[0, 100_000, 1_000_000, 4_000_000]);
        keys.set("follow_up_inter_arrival_time_dist_config", gaps(draw, pause_us));
    }
    keys.maybe(draw, 40, "streaming_response_probability", &["0", "0.5"]);
    keys.maybe(
        draw,
        40,
        "user_priority_dist_config",
        &["{type: Uniform, low: 0, high: 5}", "{type: Normal, mean: 3, std: 2}"],
    );
    keys.maybe(draw, 15, "timeout_s", &["0.5", "2", "6"]);
    keys
}

/// Times with a mean of some so many microseconds.
fn gaps(draw: &mut Draw, mean_us: u64) -> String {
    let seconds = |us: u64| format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    let mean = seconds(mean_us);
    if mean_us == 0 {
        return format!("{{type: Constant, value: {mean}}}");
    }
    let rate = thousandths((1_000_000_000 / mean_us).max(1));
    match draw.between(0, 11) {
        0..4 => format!("{{type: Exponential, rate: {rate}}}"),
        4 => format!("{{type: Constant, value: {mean}}}"),
        5 => format!("{{type: Uniform, low: 0, high: {}}}", seconds(2 * mean_us)),
        6 => format!("{{type: Gamma, shape: 0.5, scale: {}}}", seconds(2 * mean_us)),
        7 => format!("{{type: Weibull, shape: 1.5, scale: {mean}}}"),
        8 => format!("{{type: Pareto, shape: 2.5, scale: {}}}", seconds(mean_us * 3 / 5 + 1)),
        9 => format!("{{type: Normal, mean: {mean}, std: {}}}", seconds(mean_us / 2)),
        10 => format!("{{type: LogNormal, mean_tokens: {mean}, std_tokens: {mean}}}"),
        _ => format!(
            "{{type: Mixture, components: [{{type: Constant, value: 0}}, {{type: Exponential, rate: {rate}}}], weights: [2, 3]}}"
        ),
    }
}

/// Lengths with a mean of some so many tokens.
fn tokens(draw: &mut Draw, mean: u64) -> String {
    match draw.between(0, 10) {
        0..3 => format!("{{type: LogNormal, mean_tokens: {mean}, std_tokens: {mean}}}"),
        3 => format!("{{type: Constant, value: {mean}}}"),
        4 => format!("{{type: Uniform, low: 1, high: {}, is_int: true}}", 2 * mean),
        5 => format!("{{type: Normal, mean: {mean}, sigma: {}}}", mean / 3),
        6 => format!("{{type: Gamma, shape: 2, scale: {}}}", mean / 2 + 1),
        7 => format!("{{type: Exponential, rate: {}}}", thousandths(1000 / mean + 1)),
        8 => format!("{{type: Pareto, shape: 1.8, scale: {}}}", mean / 2 + 1),
        9 => format!("{{type: LogNormal, mu: {}, sigma: 0.7}}", mean.ilog2() * 2 / 3 + 1),
        _ => format!(
            "{{type: Mixture, components: [{{type: Constant, value: {mean}}}, {{type: Weibull, shape: 0.9, scale: {mean}}}]}}"
        ),
    }
}
