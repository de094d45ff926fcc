//! Cases made by hand, for what random ones reach too seldom.

use std::cell::RefCell;

use oracle_components::kv_groups::KvGroupRules;
use oracle_components::scenario::{KvSide, PrefixCaching, QueuePolicy, Routing, SchedulerRules};

use crate::compare;
use crate::naive;
use crate::naive::cases::{Case, EngineCase, KindCase, KindsCase, SessionCase, Sharing, Tail, TurnCase};
use crate::naive::coverage::Coverage;

/// One GPU without links; limits that limit nothing.
pub fn engine(pool_tokens: u32) -> EngineCase {
    EngineCase {
        slots: 64,
        budget: 512,
        block: 1,
        pool_tokens,
        chunked: true,
        reserve: false,
        adaptive: false,
        watermark: 0,
        interval: 1,
        rules: SchedulerRules::NEWEST,
        threshold: None,
        policy: QueuePolicy::Fcfs,
        caching: PrefixCaching::Full,
        min_cached: 0,
        asynchronous: false,
        stream_interval: 1,
        max_queued: None,
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
        transfer: None,
        encoder: 0,
        kinds: None,
    }
}

/// One turn, not streamed.
pub fn session(gap: u64, tail: Tail, new_tokens: u32, output: u32) -> SessionCase {
    let turns = vec![TurnCase { new_tokens, output, ..TurnCase::default() }];
    SessionCase { gap, path: vec![], tail, priority: 0, streaming: false, timeout: None, turns }
}

/// Steps of a millisecond, and a unit of time as long.
pub fn clockwork(engines: Vec<EngineCase>, sessions: Vec<SessionCase>) -> Case {
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
        engines,
        places: None,
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
    let engine = EngineCase { slots: 4, budget: 64, threshold: Some(8), min_cached: 26, ..engine(135) };
    let sessions =
        vec![session(0, Tail::Common, 60, 1), session(20, Tail::Anonymous, 70, 60), session(20, Tail::Common, 60, 1)];
    let case = clockwork(vec![engine], sessions);
    compared(&case);
    let naive = naive::run(&case.scenario(), &mut case.source());
    let of = |request| naive.records.iter().find(|record| record.request == request).expect("all requests end");
    let (decode, late) = (of(1), of(2));
    assert_eq!(late.cached_tokens, 0);
    assert!(late.scheduled > late.delivered && late.scheduled < Some(decode.completion), "{late:?}");
}

/// Requests that nobody else can ask for are preempted several at a time: each finds what it left itself, and nothing of others.
#[test]
fn preempted_requests_without_a_tail_key_find_their_own_blocks() {
    let sessions = (0..60).map(|at| session(0, Tail::Anonymous, 6 + at % 5, 8 + at * 11 % 30));
    let case = clockwork(vec![engine(300)], sessions.collect());
    let coverage = compared(&case);
    let hits = coverage.count("hit of its own blocks after a preemption");
    assert!(hits >= 3, "{coverage}");
}

/// The same where layers of several kinds share the pool; of what slid out of windows while they decoded, too.
#[test]
fn preempted_requests_find_their_own_blocks_in_all_groups() {
    use KindCase::{Chunk, Full, Window};
    const UNNAMED_LAST: SchedulerRules = SchedulerRules { unnamed_blocks_first: false, ..SchedulerRules::NEWEST };
    let sessions =
        (0..80).map(|at| session(at % 3, Tail::Anonymous, 10 + at as u32 * 7 % 23, 20 + at as u32 * 11 % 90));
    let sessions: Vec<_> = sessions.collect();
    let like_gemma = [vec![(Window(9), 1); 3], vec![(Full, 1)]].concat();
    let mut hits = 0;
    for groups in [like_gemma, vec![(Full, 1), (Window(30), 1)], vec![(Chunk(5), 1), (Full, 1)]] {
        for (retention, block) in [(None, 1), (Some(0), 1), (None, 3), (None, 8), (Some(0), 8)] {
            for (asynchronous, rules) in
                [(false, SchedulerRules::NEWEST), (true, SchedulerRules::NEWEST), (false, UNNAMED_LAST)]
            {
                let pool_tokens = (100 + 40 * block) * groups.len() as u32;
                let kinds = KindsCase { groups: groups.clone(), retention, rules: KvGroupRules::NEWEST };
                let engine = EngineCase { block, asynchronous, rules, kinds: Some(kinds), ..engine(pool_tokens) };
                let coverage = compared(&clockwork(vec![engine], sessions.clone()));
                hits += coverage.count("hit in all groups of blocks that nobody else asks for");
            }
        }
    }
    assert!(hits >= 500, "{hits}");
}

/// Hundreds of hits in a pool that has room: the queue of free blocks is full of entries of those who moved on, and is swept. What is
/// evicted and found after that is right.
#[test]
fn a_queue_that_is_swept_keeps_those_who_have_not_moved_on() {
    let mut sessions = Vec::new();
    // One that goes on for long finds its tail in every turn.
    let turn = TurnCase { think: 3, output: 1, ..TurnCase::default() };
    let talker = SessionCase { turns: vec![turn; 400], ..session(0, Tail::Own, 20, 1) };
    sessions.push(talker);
    for at in 0..700_u32 {
        // Three prompts take turns: all that two of them begin with, and one whose tail is found, too.
        let shared = SessionCase { path: vec![(at % 2) as u8], ..session(4, Tail::Anonymous, 0, 1) };
        sessions.push(if at.is_multiple_of(3) { session(4, Tail::Common, 40, 1) } else { shared });
        if at % 100 == 99 {
            sessions.push(session(1, Tail::Anonymous, 500, 2));
        }
    }
    let case = Case { segment_tokens: [[30, 50], [1, 1], [1, 1]], ..clockwork(vec![engine(900)], sessions) };
    let coverage = compared(&case);
    for corner in ["cached block evicted", "hit within the segments", "hit into a tail"] {
        assert!(coverage.count(corner) >= 50, "{corner} in {coverage}");
    }
}

/// More arrive at an instant than a tick takes in, at a boundary of the engine that they go to.
#[test]
fn a_crowd_arrives_at_a_boundary() {
    let crowd = (0..1100).map(|at| session(if at == 0 { 5 } else { 0 }, Tail::Anonymous, 2, 1));
    let sessions: Vec<_> = [session(0, Tail::Anonymous, 10, 20)].into_iter().chain(crowd).collect();
    for horizon in [None, Some(5), Some(20)] {
        compared(&Case { horizon, ..clockwork(vec![engine(600)], sessions.clone()) });
    }
}

/// Engines whose steps cost the same share prices, each with as many slots as it has.
#[test]
fn a_larger_engine_shares_the_prices_of_a_smaller_one() {
    let engines = [2, 3, 40].map(|slots| EngineCase { slots, ..engine(600) }).to_vec();
    let sessions = (0..120).map(|at| session(0, Tail::Anonymous, 5, 5 + at % 7));
    compared(&clockwork(engines, sessions.collect()));
}

/// More engines than there are shards, so that a shard has several of them and is not the first; what is in flight at the end is, too.
#[test]
fn engines_of_later_shards_are_told_apart() {
    let engines = vec![EngineCase { slots: 3, ..engine(100) }; 20];
    let streamed = |at: u64| SessionCase {
        streaming: true,
        timeout: at.is_multiple_of(5).then_some(40),
        ..session(at % 2, Tail::Anonymous, 5 + at as u32 % 30, 5 + at as u32 % 40)
    };
    for horizon in [None, Some(60), Some(90)] {
        let case = Case { horizon, ..clockwork(engines.clone(), (0..200).map(streamed).collect()) };
        assert!(case.is_windowed());
        compared(&case);
    }
}

/// A request is refused at the instant in which the first engine answers others: it comes first, though its engine is another.
#[test]
fn who_is_refused_comes_before_who_ends_at_the_same_instant() {
    let engines = vec![EngineCase { model_len: 50, ..engine(600) }; 2];
    let streamed = |gap, new_tokens| SessionCase { streaming: true, ..session(gap, Tail::Anonymous, new_tokens, 3) };
    let case = clockwork(engines, vec![streamed(0, 5), streamed(0, 5), streamed(3, 60), streamed(0, 60)]);
    assert!(case.is_windowed());
    compared(&case);
    let naive = naive::run(&case.scenario(), &mut case.source());
    let ended: Vec<_> = naive.records.iter().map(|record| (record.request, record.completion.0 / 1_000_000)).collect();
    assert_eq!(ended, [(2, 3), (3, 3), (0, 3), (1, 3)]);
}

/// Follow-ups of one instant arrive in the order in which the turns before them ended, however many they are.
#[test]
fn follow_ups_of_an_instant_keep_their_order() {
    let turn = |new_tokens| TurnCase { think: 2, new_tokens, output: 3, ..TurnCase::default() };
    let sessions = (0..9).map(|at| SessionCase { turns: vec![turn(5), turn(at)], ..session(0, Tail::Own, 5, 3) });
    let case = clockwork(vec![engine(600)], sessions.collect());
    compared(&case);
    let naive = naive::run(&case.scenario(), &mut case.source());
    let second_turns = naive.records.iter().filter(|record| record.turn == 1);
    assert!(second_turns.clone().all(|record| record.request == 9 + record.session), "in the order of their sessions");
    assert_eq!(second_turns.count(), 9);
}

/// A run whose engines have nothing to do at the horizon has not drained if somebody is still to come.
#[test]
fn who_comes_after_the_horizon_keeps_the_run_from_draining() {
    let later_turn = TurnCase { think: 500, new_tokens: 1, output: 1, ..TurnCase::default() };
    let short = || session(0, Tail::Own, 5, 3);
    let two_turns = SessionCase { turns: vec![short().turns[0].clone(), later_turn], ..short() };
    let late = session(500, Tail::Anonymous, 5, 3);
    for sessions in [vec![short(), late.clone()], vec![two_turns.clone()], vec![two_turns, late]] {
        compared(&Case { horizon: Some(50), ..clockwork(vec![engine(600)], sessions) });
    }
}

/// Rows whose link was busy for as long as roundings may come to, but for the order of the sum: 2 ns a byte, ten bytes in an interval.
#[test]
fn a_row_as_short_as_roundings_is_compared_where_either_engine_has_more() {
    let streams = |gap, output| SessionCase { streaming: true, ..session(gap, Tail::Anonymous, 1, output) };
    for sessions in [vec![streams(0, 7), streams(4, 3)], vec![streams(0, 3), streams(0, 7)]] {
        let engine = EngineCase { egress: vec![1], response_bytes: 1, ..engine(150) };
        let links = vec![(1, 0), (444_445, 0), (1, 0)];
        compared(&Case { links, short_intervals: true, ..clockwork(vec![engine], sessions) });
    }
}

/// Prompts of nested beginnings whose chunks are computed side by side, some of them by those that hold copies.
#[test]
fn beginnings_within_beginnings_are_let_go_of_whole() {
    let prompt = |path: &[u8], new_tokens, output| SessionCase {
        path: path.to_vec(),
        ..session(0, Tail::Anonymous, new_tokens, output)
    };
    let sessions = vec![
        prompt(&[0, 0, 1], 6, 1),
        prompt(&[1, 0], 0, 47),
        SessionCase { timeout: Some(19), ..prompt(&[1], 9, 1) },
        prompt(&[], 57, 1),
        prompt(&[1], 0, 1),
    ];
    let engine = EngineCase {
        slots: 3,
        budget: 88,
        block: 4,
        chunked: false,
        reserve: true,
        threshold: Some(7),
        interval: 4,
        rules: SchedulerRules {
            unnamed_blocks_first: false,
            lone_request_is_unlimited: false,
            self_preempted_is_passed_over: false,
            ..SchedulerRules::NEWEST
        },
        ..engine(97)
    };
    let segment_tokens = [[1, 28], [15, 17], [1, 7]];
    compared(&Case { segment_tokens, clockwork: false, links: vec![(1, 0); 3], ..clockwork(vec![engine], sessions) });
}

/// A prompt takes a chunk and gives it back in the same step, for a decode that was admitted after it: prompts wait for their interval from
/// that step on, as if it had been computed. How big the pool is decides in which step that is.
#[test]
fn a_chunk_that_is_given_back_counts_for_the_interval() {
    let talks = |gap, output| session(gap, Tail::Anonymous, 1, output);
    let mut coverage = Coverage::default();
    for pool_tokens in 40..80 {
        let interval = EngineCase {
            slots: 6,
            threshold: Some(2),
            interval: 3,
            policy: QueuePolicy::Priority,
            ..engine(pool_tokens)
        };
        let victim = SessionCase { priority: 1, ..session(1, Tail::Anonymous, 30, 1) };
        let prompts = (0..12).map(|at| SessionCase { priority: 2, ..talks(3, 1 + at % 2) });
        let sessions = [talks(0, 40), victim, talks(1, 40), talks(1, 40)].into_iter().chain(prompts);
        coverage.add(&compared(&clockwork(vec![interval], sessions.collect())));
    }
    let given_back = coverage.count("interval runs from a chunk that was given back");
    assert!(given_back >= 3, "{coverage}");
}

/// A decode is left out of a batch that comes to nothing, takes part in the one that is formed at once in its place, and so still has
/// its last token when it would have had it. That token leaves once, as a chunk that is shorter than the interval.
#[test]
fn a_decode_that_was_left_out_for_no_time_sends_its_last_chunk_once() {
    let consumer = EngineCase {
        slots: 3,
        budget: 68,
        chunked: false,
        policy: QueuePolicy::Priority,
        rules: SchedulerRules {
            self_preempted_is_passed_over: false,
            loads_leave_room_for_prompts: false,
            ..SchedulerRules::NEWEST
        },
        asynchronous: true,
        stream_interval: 2,
        model_len: 72,
        halved: true,
        transfer: Some((KvSide::Consumer, 5)),
        ..engine(76)
    };
    let plain = |gap, new_tokens, output| session(gap, Tail::Anonymous, new_tokens, output);
    let important = |gap, new_tokens, output| SessionCase { priority: -1, ..plain(gap, new_tokens, output) };
    let sessions = vec![
        plain(0, 1, 30),
        SessionCase { priority: 1, timeout: Some(8), ..plain(0, 1, 1) },
        important(0, 25, 39),
        SessionCase { streaming: true, ..plain(0, 36, 32) },
        important(82, 52, 1),
        SessionCase { priority: 1, ..plain(10, 17, 1) },
        plain(22, 4, 14),
        plain(31, 1, 1),
        plain(23, 1, 1),
    ];
    let case = Case { clockwork: false, ..clockwork(vec![consumer], sessions) };
    let coverage = compared(&case);
    assert_eq!(coverage.count("last chunk shorter than the interval"), 1, "{coverage}");
    assert!(coverage.count("decode left out of a step") > 0, "{coverage}");
}
