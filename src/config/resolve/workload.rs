//! The workload: profiles or a trace.

use std::collections::HashSet;
use std::path::PathBuf;

use oracle_components::SimTime;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::run_context::RunContext;
use super::{behaviour, load, prefixes, slo, trace};
use crate::config::declare::Field;
use crate::config::diagnostic::{At, Diagnostics, number};
use crate::config::keys::{self, ClientProfile, Trace, Workload as Keys};
use crate::inputs;
use crate::workload::{
    Arrivals, Distribution, Profile, Sampler, Shaping, SyntheticWorkload, TraceWorkload, Window, Workload,
};

/// The predecessor's pause before a follow-up turn without a distribution, in seconds.
const DEFAULT_THINK_TIME_S: f64 = 5.0;
/// What `max_turns_per_session` is if nobody says so.
const DEFAULT_TURNS: u32 = 10;
/// Gaps shorter than this round to nothing, in seconds.
const CLOCK_TICK_S: f64 = 1e-9;
/// Shortest mean gap between requests of which there may be any number, in seconds.
const SHORTEST_GAP_S: f64 = 1e-6;
/// Requests that may come at once.
const MOST_AT_ONCE: u64 = 10_000_000;
/// Gaps that are drawn to see how long they are.
const GAPS_DRAWN: u32 = 1_000;

/// The workload, or `None` after an error.
pub(in crate::config) fn resolve(
    workload: &Keys,
    default_seed: Option<u64>,
    context: &RunContext,
    diagnostics: &mut Diagnostics,
) -> Option<Workload> {
    let duration = workload.total_duration.value.map(SimTime::from_secs_f64);
    let seed = workload.random_seed.value.or(default_seed).unwrap_or(0);
    if workload.trace.given {
        if workload.client_profiles.given {
            let message = "a workload has either a trace or client_profiles";
            diagnostics.error(&workload.client_profiles.at, message);
        }
        let trace = workload.trace.value.as_ref()?;
        return resolve_trace(trace, workload, seed, duration, context, diagnostics);
    }
    if !workload.total_duration.given && !workload.total_requests_to_generate.given && !load::ends(workload) {
        let message = "missing required key total_duration";
        diagnostics.error_with(
            &workload.at,
            message,
            "such as total_duration: 60, or total_requests_to_generate: 1000",
        );
    }
    let load = load::resolve(workload, diagnostics);
    Some(Workload::Synthetic(SyntheticWorkload {
        rate_scale: workload.rate_scale.value.unwrap_or(1.0),
        seed,
        duration,
        total_requests: workload.total_requests_to_generate.value,
        arrivals: workload.arrivals.value,
        prefix_patterns: prefixes::resolve(workload, diagnostics),
        profiles: resolve_profiles(workload, diagnostics)?,
        max_turns_per_session: workload.max_turns_per_session.value,
        accumulate_conversation: workload.accumulate_conversational_tokens.value,
        load: load?,
    }))
}

/// Names of profiles, by index.
pub(super) fn profile_names(workload: &Workload) -> Vec<String> {
    match workload {
        Workload::Synthetic(synthetic) => synthetic.profiles.iter().map(|profile| profile.name.clone()).collect(),
        Workload::Trace(_) => vec!["trace".to_owned()],
    }
}

fn resolve_trace(
    trace: &Trace,
    workload: &Keys,
    seed: u64,
    duration: Option<SimTime>,
    context: &RunContext,
    diagnostics: &mut Diagnostics,
) -> Option<Workload> {
    let name = trace.path.value.as_deref()?;
    let standard_input = Some(PathBuf::from(name)).filter(|path| inputs::is_standard_input(path));
    let Some(path) = standard_input.or_else(|| context.find(name)) else {
        diagnostics.error(&trace.path.at, format!("no file {name}"));
        return None;
    };
    refuse_keys_of_profiles(workload, diagnostics);
    let limits = [trace.max_requests.value, workload.total_requests_to_generate.value];
    let load = load::resolve(workload, diagnostics)?;
    let scale = if trace.time_scale.given { &trace.time_scale.at } else { &trace.rate_scale.at };
    if load.starts.is_some() && (trace.rate_scale.value != 1.0 || trace.time_scale.given) {
        let message =
            "workload.load says when sessions begin; this changes only the recorded times of turns within one";
        diagnostics.warn(scale, message);
    }
    // What is retimed has its rate from the load.
    let of_recorded_times = workload.rate_scale.value.filter(|_| load.starts.is_none()).unwrap_or(1.0);
    Some(Workload::Trace(TraceWorkload {
        path,
        format: trace.format.value,
        rate_scale: rate_scale(trace, diagnostics) * of_recorded_times,
        duration,
        total_requests: limits.into_iter().flatten().min(),
        streaming: trace.streaming.value,
        timeout_s: workload.request_timeout_s.value,
        options: trace::options(trace, &load, seed, diagnostics)?,
        shaping: shaping(trace, seed, diagnostics)?,
        slo: slo::resolve(None, workload, diagnostics),
        seed,
        load,
    }))
}

/// What says how profiles are drawn from says nothing of a trace.
fn refuse_keys_of_profiles(workload: &Keys, diagnostics: &mut Diagnostics) {
    let keys = [
        (workload.prefix_patterns.given, &workload.prefix_patterns.at),
        (workload.max_turns_per_session.value != DEFAULT_TURNS, &workload.max_turns_per_session.at),
        (!workload.accumulate_conversational_tokens.value, &workload.accumulate_conversational_tokens.at),
        (workload.generate_prompt_tokens.value, &workload.generate_prompt_tokens.at),
        (workload.arrivals.value == Arrivals::Independent, &workload.arrivals.at),
    ];
    for (_, at) in keys.into_iter().filter(|(says_more, _)| *says_more) {
        diagnostics.error_with(at, "has no effect on a trace", "it goes with client_profiles; leave it out");
    }
}

fn rate_scale(trace: &Trace, diagnostics: &mut Diagnostics) -> f64 {
    let Some(time_scale) = trace.time_scale.value else { return trace.rate_scale.value };
    if trace.rate_scale.value != 1.0 {
        let message = "time_scale is the inverse of rate_scale; give one of them";
        diagnostics.error(&trace.time_scale.at, message);
    }
    time_scale.recip()
}

fn shaping(trace: &Trace, seed: u64, diagnostics: &mut Diagnostics) -> Option<Shaping> {
    let window = match trace.window.value.as_deref() {
        None => None,
        Some(text) => match Window::parse(text) {
            Some(window) => Some(window),
            None => {
                let message = format!("{text:?} is no window");
                let help = "write peak:10m for the fullest ten minutes, 60s:10m for a part from 60 s to 10 min, or 1h: to the end";
                diagnostics.error_with(&trace.window.at, message, help);
                return None;
            }
        },
    };
    Some(Shaping {
        window,
        sample: trace.sample.value,
        prompt_scale: trace.prompt_scale.value,
        output_scale: trace.output_scale.value,
        shuffle: trace.shuffle.value,
        repeat: trace.repeat.value,
        repeated_prefixes: trace.repeat_prefixes.value,
        seed,
    })
}

fn resolve_profiles(workload: &Keys, diagnostics: &mut Diagnostics) -> Option<Vec<Profile>> {
    // Of a preset that nobody knows that has been reported.
    if !workload.client_profiles.given && !workload.preset.given {
        let message = "missing required key client_profiles";
        diagnostics.error_with(&workload.at, message, "or trace: {path: FILE}");
    }
    let profiles = workload.client_profiles.value.as_ref()?;
    let mut names = HashSet::new();
    for name in profiles.iter().map(|profile| &profile.profile_name) {
        if name.value.as_ref().is_some_and(|text| !names.insert(text)) {
            diagnostics.error(&name.at, "another profile has this name");
        }
        if names.len() > usize::from(u16::MAX) {
            diagnostics.error(&name.at, "more profiles than 65535");
            return None;
        }
    }
    let has_weight = profiles.iter().any(|profile| profile.weight.value > 0.0);
    if !has_weight && workload.arrivals.value == Arrivals::Mixed {
        diagnostics.error(&workload.client_profiles.at, "one profile at least must have a weight above 0");
    }
    Some(profiles.iter().filter_map(|profile| resolve_profile(profile, workload, diagnostics)).collect())
}

fn resolve_profile(keys: &ClientProfile, workload: &Keys, diagnostics: &mut Diagnostics) -> Option<Profile> {
    let inter_arrival_s = behaviour::read(&keys.inter_arrival_time_dist_config, diagnostics);
    let lengths =
        [&keys.prompt_tokens_dist_config, &keys.max_output_tokens_dist_config, &keys.output_tokens_dist_config];
    let [prompt_tokens, max_output_tokens, output_tokens] = lengths.map(|key| behaviour::tokens(key, diagnostics));
    let mut read = |key: &Field<keys::Distribution>| behaviour::read(key, diagnostics);
    let priority = read(&keys.user_priority_dist_config);
    let think_time_s = read(&keys.follow_up_inter_arrival_time_dist_config);
    if let Some(gaps) = &inter_arrival_s {
        check_gaps(gaps, &keys.inter_arrival_time_dist_config.at, workload, diagnostics);
    }
    let inter_arrival_s = load::gaps(inter_arrival_s, keys, workload, diagnostics);
    check_pattern_name(keys, workload, diagnostics);
    Some(Profile {
        name: keys.profile_name.value.clone()?,
        weight: keys.weight.value,
        inter_arrival_s: inter_arrival_s?,
        prompt_tokens: prompt_tokens?,
        max_output_tokens: max_output_tokens?,
        output_tokens,
        conversational_probability: keys.conversational_probability.value,
        continuation_probability: keys.continuation_probability.value,
        streaming_probability: keys.streaming_response_probability.value,
        priority,
        think_time_s: think_time_s.unwrap_or(Distribution::Constant { value: DEFAULT_THINK_TIME_S }),
        timeout_s: keys.timeout_s.value.or(workload.request_timeout_s.value),
        behaviour: behaviour::resolve(keys, diagnostics),
        prefix_pattern: keys.prefix_pattern.value.clone().filter(|_| workload.generate_prompt_tokens.value),
        slo: slo::resolve(keys.slo.value.as_ref(), workload, diagnostics),
    })
}

fn check_pattern_name(keys: &ClientProfile, workload: &Keys, diagnostics: &mut Diagnostics) {
    let Some(name) = keys.prefix_pattern.value.as_deref() else {
        return;
    };
    let section = workload.prefix_patterns.value.as_ref();
    let patterns = section.map_or(&[][..], |section| section.patterns.value.as_slice());
    let names: Vec<&str> = patterns
        .iter()
        .filter_map(|pattern| match &pattern.name.value {
            Some(name) => Some(name.as_str()),
            None => pattern.kind.value.map(crate::config::declare::name_of),
        })
        .collect();
    if !names.contains(&name) {
        diagnostics.unknown(&keys.prefix_pattern.at, format!("no prefix pattern is called {name:?}"), name, names);
    }
}

/// Requests that come faster than any engine can take them wait in memory, so only so many may.
fn check_gaps(gaps: &Distribution, at: &At, workload: &Keys, diagnostics: &mut Diagnostics) {
    let requests = workload.total_requests_to_generate.value;
    if requests.is_some_and(|requests| requests <= MOST_AT_ONCE) {
        return;
    }
    let most = number(MOST_AT_ONCE as f64);
    let way_out = match requests {
        Some(_) => format!("lower total_requests_to_generate to {most} or less"),
        None => format!("set total_requests_to_generate, to {most} at most"),
    };
    if never_advances(gaps) {
        diagnostics.error_with(at, "no time passes between arrivals, so they never end", way_out);
    } else if typical_gap_s(gaps).is_some_and(|gap_s| gap_s / workload.rate_scale.value.unwrap_or(1.0) < SHORTEST_GAP_S)
    {
        let rate = number(SHORTEST_GAP_S.recip().round());
        diagnostics.error_with(at, format!("more than {rate} requests a second"), way_out);
    }
}

/// The mean of some gaps, none counted as more than a second: a mean of all may come from a few that are never drawn.
fn typical_gap_s(gaps: &Distribution) -> Option<f64> {
    let sampler = Sampler::new(gaps).ok()?;
    let mut random = Xoshiro256PlusPlus::seed_from_u64(0);
    let sum_s: f64 = (0..GAPS_DRAWN).map(|_| sampler.sample(&mut random).min(1.0)).sum();
    Some(sum_s / f64::from(GAPS_DRAWN))
}

fn never_advances(distribution: &Distribution) -> bool {
    match distribution {
        Distribution::Constant { value } => *value < CLOCK_TICK_S,
        Distribution::Exponential { rate } => rate.recip() < CLOCK_TICK_S,
        Distribution::Uniform { high, .. } => *high < CLOCK_TICK_S,
        Distribution::Normal { mean, std } => *mean <= 0.0 && *std == 0.0,
        Distribution::Histogram { bins } => bins.iter().all(|(_, _, high)| *high < CLOCK_TICK_S),
        Distribution::Triangular { high, .. } => *high < CLOCK_TICK_S,
        Distribution::Clipped { of, low, high } => *high < CLOCK_TICK_S || *low < CLOCK_TICK_S && never_advances(of),
        Distribution::Mixture { components } => components.iter().all(|(_, inner)| never_advances(inner)),
        _ => false,
    }
}
