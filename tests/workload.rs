//! Workload sources by what they hand out: laws of distributions, arrivals, sessions and replay.

#[path = "workload/behaviour.rs"]
mod behaviour;
#[path = "workload/described.rs"]
mod described;
#[path = "workload/distributions.rs"]
mod distributions;
#[path = "workload/formats.rs"]
mod formats;
#[path = "workload/in_flight.rs"]
mod in_flight;
#[path = "workload/load.rs"]
mod load;
#[path = "workload/servegen.rs"]
mod servegen;
#[path = "workload/sessions.rs"]
mod sessions;
#[path = "workload/shaping.rs"]
mod shaping;
#[path = "workload/synthetic.rs"]
mod synthetic;
#[path = "workload/trace_sessions.rs"]
mod trace_sessions;
#[path = "workload/traces.rs"]
mod traces;
#[path = "workload/written.rs"]
mod written;

use llmperforacle::workload::{Arrivals, Behaviour, Distribution, Load, Profile, Slo, SyntheticWorkload, Workload};
use oracle_components::SimTime;
use oracle_components::record::{PrefixEvent, Reason, RequestRecord, Status};
use oracle_components::request::RequestSpec;
use oracle_systems::ports::RequestSource;

/// What follows from an end, where it is one request at most.
fn follow_up(source: &mut dyn RequestSource, spec: &RequestSpec, record: &RequestRecord) -> Option<RequestSpec> {
    let mut next = Vec::new();
    source.follow_ups(spec, record, &mut next);
    assert!(next.len() <= 1);
    next.pop()
}

const fn constant(value: f64) -> Distribution {
    Distribution::Constant { value }
}

const fn exponential(rate: f64) -> Distribution {
    Distribution::Exponential { rate }
}

/// Poisson arrivals at `rate`, prompts of some 100 to 900 tokens, no conversations.
fn profile(name: &str, rate: f64) -> Profile {
    Profile {
        name: name.to_owned(),
        weight: 1.0,
        inter_arrival_s: exponential(rate),
        prompt_tokens: Distribution::Uniform { low: 100.0, high: 900.0 },
        max_output_tokens: constant(400.0),
        output_tokens: Some(exponential(0.01)),
        conversational_probability: 0.0,
        continuation_probability: 0.7,
        streaming_probability: 0.5,
        priority: None,
        think_time_s: exponential(0.5),
        timeout_s: None,
        prefix_pattern: None,
        slo: Slo::default(),
        behaviour: Behaviour::default(),
    }
}

/// One in which every session goes on to its last turn.
fn talker(name: &str, rate: f64) -> Profile {
    Profile { conversational_probability: 1.0, continuation_probability: 1.0, ..profile(name, rate) }
}

fn workload(profiles: Vec<Profile>) -> SyntheticWorkload {
    SyntheticWorkload {
        rate_scale: 1.0,
        seed: 7,
        duration: Some(SimTime::from_secs_f64(1000.0)),
        total_requests: None,
        arrivals: Arrivals::Independent,
        profiles,
        max_turns_per_session: 5,
        accumulate_conversation: true,
        prefix_patterns: Vec::new(),
        load: Load::default(),
    }
}

fn open(workload: &SyntheticWorkload) -> Box<dyn RequestSource> {
    let opened = Workload::Synthetic(workload.clone()).open();
    opened.expect("a valid workload").0
}

fn first_turns(workload: &SyntheticWorkload) -> Vec<RequestSpec> {
    drain(open(workload).as_mut())
}

fn drain(source: &mut dyn RequestSource) -> Vec<RequestSpec> {
    std::iter::from_fn(|| source.next_request()).collect()
}

/// The record of a request that succeeded `latency_s` after its arrival.
fn success(spec: &RequestSpec, latency_s: f64) -> RequestRecord {
    let completion = spec.arrival + SimTime::from_secs_f64(latency_s);
    RequestRecord {
        request: 0,
        profile: spec.profile,
        client: spec.client,
        session: spec.session,
        turn: spec.turn,
        engine: 0,
        prefill: None,
        prompt_tokens: spec.prompt_tokens,
        encoder_tokens: spec.encoder_tokens,
        max_output_tokens: spec.max_output_tokens,
        output_tokens: spec.output_tokens,
        target_output_tokens: spec.output_tokens,
        priority: spec.priority,
        streaming: spec.streaming,
        timeout: spec.timeout,
        prefix: spec.prefix.clone(),
        tail_key: spec.tail_key,
        arrival: spec.arrival,
        delivered: Some(spec.arrival),
        scheduled: Some(spec.arrival),
        first_token: Some(completion),
        last_token: Some(completion),
        longest_gap: None,
        completion,
        status: Status::Success,
        reason: Reason::Finished,
        prefix_event: PrefixEvent::None,
        cached_tokens: 0,
        prefilled_tokens: spec.prompt_tokens,
        recomputed_tokens: 0,
        preemptions: 0,
    }
}
