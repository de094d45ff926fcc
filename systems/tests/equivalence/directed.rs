//! Cases made by hand, for what random ones reach too seldom.

use std::cell::RefCell;

use oracle_components::scenario::{PrefixCaching, QueuePolicy, Routing};

use crate::compare;
use crate::naive;
use crate::naive::cases::{Case, EngineCase, SessionCase, Sharing, Tail, TurnCase};
use crate::naive::coverage::Coverage;

/// One GPU without links; limits that limit nothing.
fn engine(pool_tokens: u32) -> EngineCase {
    EngineCase {
        seats: 64,
        budget: 512,
        block: 1,
        pool_tokens,
        chunked: true,
        reserve: false,
        threshold: None,
        policy: QueuePolicy::Fcfs,
        caching: PrefixCaching::Full,
        min_cached: 0,
        asynchronous: false,
        model_len: 1000,
        tensor: 1,
        pipeline: 1,
        sharing: Sharing::Plain,
        ingress: vec![],
        egress: vec![],
        response_bytes: 0,
        weight: 1,
        by_curve: false,
        halved: false,
    }
}

/// One turn, not streamed.
fn session(gap: u64, tail: Tail, new_tokens: u32, output: u32) -> SessionCase {
    let turns = vec![TurnCase { think: 0, new_tokens, output }];
    SessionCase { gap, path: vec![], tail, priority: 0, streaming: false, timeout: None, turns }
}

/// Steps of a millisecond.
fn clockwork(engine: EngineCase, sessions: Vec<SessionCase>) -> Case {
    Case {
        seed: 0,
        routing: Routing::RoundRobin,
        high_detail: false,
        clockwork: true,
        horizon: None,
        short_intervals: false,
        links: vec![(1, 0); 3],
        segment_tokens: [[1, 1]; 3],
        pools: None,
        engines: vec![engine],
        sessions,
    }
}

/// What the naive engine reached, once both agree.
fn compared(case: &Case) -> Coverage {
    let coverage = RefCell::default();
    compare(case, &coverage).unwrap_or_else(|reason| panic!("{reason}"));
    coverage.into_inner()
}

/// A decode evicts, a block a step, what a waiting request would hit, until too little is left to count: then that little
/// is room for the request's first chunk, though no sequence has left.
#[test]
fn a_hit_that_lapses_makes_room_for_a_chunk() {
    let engine = EngineCase { seats: 4, budget: 64, threshold: Some(8), min_cached: 26, ..engine(135) };
    let sessions =
        vec![session(0, Tail::Common, 60, 1), session(20, Tail::Nameless, 70, 60), session(20, Tail::Common, 60, 1)];
    let case = clockwork(engine, sessions);
    compared(&case);
    let naive = naive::run(&case.scenario(), &mut case.source());
    let of = |request| naive.records.iter().find(|record| record.request == request).expect("all requests end");
    let (decode, late) = (of(1), of(2));
    assert_eq!(late.cached_tokens, 0);
    assert!(late.scheduled > Some(late.delivered) && late.scheduled < Some(decode.completion), "{late:?}");
}

/// Requests that nobody else can ask for are preempted several at a time: each finds what it left itself, and nothing of others.
#[test]
fn preempted_requests_without_a_tail_key_find_their_own_blocks() {
    let sessions = (0..60).map(|at| session(0, Tail::Nameless, 6 + at % 5, 8 + at * 11 % 30));
    let case = clockwork(engine(300), sessions.collect());
    let coverage = compared(&case);
    let hits = coverage.count("hit of its own blocks after a preemption");
    assert!(hits >= 3, "{coverage}");
}
