//! The naive engine against small examples worked out by hand. Durations come from the cost of the shape that the step
//! must have, so the times are exact.

use oracle_components::SimTime;
use oracle_components::record::{PrefixEvent, Reason, RequestRecord, Status};
use oracle_components::request::{PrefixSegment, RequestSpec};
use oracle_components::scenario::{EngineSpec, PrefixCaching, QueuePolicy, Scenario, SchedulerRules, SchedulerSpec};
use oracle_systems::costing::{StepCost, StepShape};
use oracle_systems::ports::RequestSource;

use super::scenes::{ROOMY, Ranks, add_engine, empty_scenario, link};
use super::{NaiveOutcome, run};

/// Requests in order of arrival, and the follow-up of each that has one.
pub struct List {
    requests: std::vec::IntoIter<RequestSpec>,
    follow_up: Option<RequestSpec>,
}

impl List {
    /// Without follow-ups.
    pub fn new(requests: Vec<RequestSpec>) -> Self {
        Self { requests: requests.into_iter(), follow_up: None }
    }
}

impl RequestSource for List {
    fn next_request(&mut self) -> Option<RequestSpec> {
        self.requests.next()
    }

    fn follow_ups(&mut self, _: &RequestSpec, _: &RequestRecord, next: &mut Vec<RequestSpec>) {
        next.extend(self.follow_up.take());
    }
}

/// The naive engine on a list of requests.
pub fn simulate(scenario: &Scenario, requests: Vec<RequestSpec>) -> NaiveOutcome {
    run(scenario, &mut List::new(requests))
}

/// A request that is not streamed, without a time limit.
pub fn request(arrival: SimTime, prompt_tokens: u32, output_tokens: u32) -> RequestSpec {
    RequestSpec {
        arrival,
        profile: 0,
        client: 0,
        session: 0,
        turn: 0,
        prompt_tokens,
        encoder_tokens: 0,
        max_output_tokens: output_tokens,
        output_tokens,
        priority: 0,
        streaming: false,
        timeout: SimTime::NEVER,
        prefix: Vec::new(),
        tail_key: 0,
    }
}

fn one_engine(scheduler: SchedulerSpec, kv_blocks: u64) -> Scenario {
    let mut scenario = empty_scenario();
    add_engine(&mut scenario, scheduler, kv_blocks, Ranks::ONE);
    scenario
}

fn engine(scenario: &mut Scenario) -> &mut EngineSpec {
    &mut scenario.engines[0]
}

/// How long a step takes that decodes at these contexts (the new token included) and computes chunks of
/// (tokens computed before, tokens), of which `complete` reach the end of what is known.
pub fn step(scenario: &Scenario, contexts: &[u64], chunks: &[(u64, u64)], complete: u32) -> SimTime {
    let pairs = chunks.iter().map(|(before, new)| new * before + new * (new + 1) / 2);
    let shape = StepShape {
        decode_sequences: contexts.len() as u32,
        prefill_tokens: chunks.iter().map(|(_, new)| *new as u32).sum(),
        prefill_sequences: chunks.len() as u32,
        prefill_pairs: pairs.sum(),
        prefill_longest_context: chunks.iter().map(|(before, new)| (before + new) as u32).max().unwrap_or(0),
        prefill_context_tokens: chunks.iter().map(|(before, new)| before + new).sum(),
        encoder_tokens: 0,
        sampled_rows: contexts.len() as u32 + complete,
    };
    StepCost::new(&scenario.engines[0], scenario).prepare(&shape).duration(contexts.iter().sum())
}

#[test]
fn a_request_alone_takes_its_prefill_and_a_step_a_token() {
    let scenario = one_engine(ROOMY, 10);
    let arrival = SimTime(777);
    let outcome = simulate(&scenario, vec![request(arrival, 10, 3)]);
    let first = arrival + step(&scenario, &[], &[(0, 10)], 1);
    let second = first + step(&scenario, &[11], &[], 0);
    let third = second + step(&scenario, &[12], &[], 0);

    let record = &outcome.records[0];
    assert_eq!(record.scheduled, Some(arrival));
    assert_eq!(record.first_token, Some(first));
    assert_eq!(record.last_token, Some(third));
    assert_eq!(record.completion, third);
    assert_eq!((record.status, record.reason), (Status::Success, Reason::Finished));
    assert_eq!((record.output_tokens, record.prefilled_tokens), (3, 10));
    let gaps = [(second - first).0, (third - second).0].map(|gap| (gap, 1));
    assert_eq!(outcome.gaps.into_iter().collect::<Vec<_>>(), gaps);
    assert_eq!(outcome.engines[0].steps, 3);
    assert_eq!(outcome.engines[0].busy, third - arrival);
    assert_eq!(outcome.end, third);
}

#[test]
fn images_delay_the_first_token_by_their_tokens_times_the_price() {
    let mut scenario = one_engine(SchedulerSpec { max_num_batched_tokens: 8, ..ROOMY }, 10);
    engine(&mut scenario).encoder_s_per_token = 7e-6;
    let plain = request(SimTime::ZERO, 10, 3);
    let with_images = RequestSpec { encoder_tokens: 500, ..plain.clone() };
    let [without, with] = [plain, with_images].map(|request| simulate(&scenario, vec![request]));
    // Only the first of the prompt's two chunks encodes them.
    let later = |get: fn(&RequestRecord) -> Option<SimTime>| {
        let [without, with] = [&without, &with].map(|outcome| get(&outcome.records[0]).expect("served"));
        (with - without).0.abs_diff(500 * 7_000)
    };
    assert!(later(|record| record.first_token) <= 1 && later(|record| record.last_token) <= 1);
    assert_eq!([&without, &with].map(|outcome| outcome.engines[0].encoder_tokens), [0, 500]);
    assert_eq!([&without, &with].map(|outcome| outcome.engines[0].steps), [4, 4]);
}

#[test]
fn under_a_stream_interval_the_first_token_comes_at_once_then_every_nth_and_the_last() {
    let mut scenario = one_engine(SchedulerSpec { stream_interval: 3, ..ROOMY }, 10);
    scenario.links.push(link("out", 1e6, 0.0));
    engine(&mut scenario).egress = vec![0];
    engine(&mut scenario).response_bytes_per_token = 2.0;
    // Two microseconds a token.
    let requests = |output| vec![RequestSpec { streaming: true, ..request(SimTime::ZERO, 10, output) }];
    let outcome = simulate(&scenario, requests(6));
    let mut ends = vec![step(&scenario, &[], &[(0, 10)], 1)];
    for context in 11..=15 {
        ends.push(ends[ends.len() - 1] + step(&scenario, &[context], &[], 0));
    }
    let record = &outcome.records[0];
    assert_eq!(record.first_token, Some(ends[0] + SimTime(2_000)), "one token");
    assert_eq!(record.last_token, Some(ends[5] + SimTime(4_000)), "the fifth and the sixth");
    let gaps = [(ends[3] - ends[0]).0, (ends[5] - ends[3]).0];
    let counted: Vec<u64> = outcome.gaps.keys().copied().collect();
    assert_eq!(counted, if gaps[0] < gaps[1] { gaps.to_vec() } else { vec![gaps[1], gaps[0]] });
    assert_eq!(outcome.links[0].bytes, 12.0, "all tokens cross the link");

    // Who gives up has what was sent by then: the fourth of five tokens.
    let late = RequestSpec { timeout: ends[4] + SimTime(1), ..requests(6).remove(0) };
    let outcome = simulate(&scenario, vec![late]);
    assert_eq!((outcome.records[0].status, outcome.records[0].output_tokens), (Status::Timeout, 5));
    assert_eq!(outcome.records[0].last_token, Some(ends[3] + SimTime(6_000)));
}

#[test]
fn a_full_server_refuses_until_one_is_answered_or_given_up() {
    let mut scenario = one_engine(SchedulerSpec { max_num_queued_reqs: Some(2), max_num_seqs: 1, ..ROOMY }, 10);
    let alone = simulate(&scenario, vec![request(SimTime::ZERO, 10, 2)]).end;
    let at = |arrival| request(arrival, 10, 2);
    let impatient = RequestSpec { timeout: SimTime(5), ..at(SimTime(1)) };
    let requests = vec![at(SimTime::ZERO), impatient, at(SimTime(2)), at(SimTime(6)), at(SimTime(7)), at(alone)];
    let reasons = |scenario: &Scenario| {
        let mut records = simulate(scenario, requests.clone()).records;
        records.sort_by_key(|record| record.request);
        records.into_iter().map(|record| (record.reason, record.completion)).collect::<Vec<_>>()
    };
    let found = reasons(&scenario);
    assert_eq!(found[2], (Reason::QueueFull, SimTime(2)), "two are in");
    assert_eq!(found[1], (Reason::TimeoutWaiting, SimTime(6)));
    assert_eq!(found[3].0, Reason::Finished, "the client of the second has given up");
    assert_eq!(found[4], (Reason::QueueFull, SimTime(7)));
    assert_eq!(found[5].0, Reason::QueueFull, "arrivals come before the boundary of their instant");
    engine(&mut scenario).scheduler.max_num_queued_reqs = None;
    assert!(reasons(&scenario).iter().all(|(reason, _)| *reason != Reason::QueueFull));
}

#[test]
fn a_long_prompt_is_prefilled_over_three_steps() {
    let scheduler = SchedulerSpec { max_num_batched_tokens: 10, max_num_seqs: 10, ..ROOMY };
    let scenario = one_engine(scheduler, 10);
    let outcome = simulate(&scenario, vec![request(SimTime::ZERO, 25, 1)]);
    let chunks = [((0, 10), 0), ((10, 10), 0), ((20, 5), 1)];
    let expected = chunks
        .map(|(chunk, complete)| step(&scenario, &[], &[chunk], complete))
        .into_iter()
        .fold(SimTime::ZERO, |sum, duration| sum + duration);
    assert_eq!(outcome.records[0].completion, expected);
    assert_eq!(outcome.engines[0].steps, 3);
}

#[test]
fn with_asynchronous_scheduling_it_joins_the_one_after_the_next() {
    let scenario = one_engine(SchedulerSpec { async_scheduling: true, ..ROOMY }, 10);
    let outcome = simulate(&scenario, vec![request(SimTime::ZERO, 8, 3), request(SimTime(1), 6, 2)]);
    let first = step(&scenario, &[], &[(0, 8)], 1);
    let second = first + step(&scenario, &[9], &[], 0);
    let third = second + step(&scenario, &[10], &[(0, 6)], 1);
    let by_id = |id: u64| outcome.records.iter().find(|record| record.request == id).expect("it has ended");
    assert_eq!(by_id(0).completion, third);
    assert_eq!((by_id(1).scheduled, by_id(1).first_token), (Some(second), Some(third)));

    // Nothing runs on when the first has its only token, so the second is seen at once.
    let outcome = simulate(&scenario, vec![request(SimTime::ZERO, 8, 1), request(SimTime(1), 6, 2)]);
    assert_eq!(outcome.records[1].scheduled, Some(first));
}

#[test]
fn the_hosts_time_adds_to_a_step_or_hides_behind_it() {
    let at = |overhead_s: f64, async_scheduling| {
        let mut scenario = one_engine(SchedulerSpec { async_scheduling, ..ROOMY }, 10);
        engine(&mut scenario).step_overhead_s = overhead_s / 2.0;
        engine(&mut scenario).sequence_overhead_s = overhead_s / 4.0;
        step(&scenario, &[9, 9], &[], 0)
    };
    let gpu = at(0.0, false);
    let half = gpu.as_secs_f64() / 2.0;
    assert!(at(half, false).0.abs_diff(gpu.0 + gpu.0 / 2) <= 2);
    assert_eq!(at(half, true), gpu);
    assert!(at(4.0 * half, true).0.abs_diff(2 * gpu.0) <= 2);
}

#[test]
fn a_request_that_comes_during_a_step_joins_the_next() {
    let scenario = one_engine(ROOMY, 10);
    let requests = vec![request(SimTime::ZERO, 8, 3), request(SimTime(1), 6, 2)];
    let outcome = simulate(&scenario, requests);
    let first = step(&scenario, &[], &[(0, 8)], 1);
    let second = first + step(&scenario, &[9], &[(0, 6)], 1);
    let third = second + step(&scenario, &[10, 7], &[], 0);
    let [a, b] = &outcome.records[..] else { panic!("two records") };
    assert_eq!((a.request, b.request), (0, 1));
    assert_eq!((a.first_token, a.completion), (Some(first), third));
    assert_eq!((b.scheduled, b.first_token), (Some(first), Some(second)));
    assert_eq!(b.completion, third);
    assert_eq!(outcome.gaps.values().sum::<u64>(), 3);
    assert_eq!(outcome.engines[0].running_peak, 2);
}

#[test]
fn a_pool_for_one_and_a_half_preempts_the_later_and_recomputes_it() {
    let scheduler = SchedulerSpec { block_tokens: 1, ..ROOMY };
    let scenario = one_engine(scheduler, 15);
    let requests = vec![request(SimTime::ZERO, 5, 6), request(SimTime::ZERO, 5, 6)];
    let outcome = simulate(&scenario, requests);
    // Three steps together, to 7 blocks each; then the first goes on alone for three, then the second: its 8 known tokens
    // as a prefill that generates the fourth, and two decodes.
    let together = step(&scenario, &[], &[(0, 5), (0, 5)], 2)
        + step(&scenario, &[6, 6], &[], 0)
        + step(&scenario, &[7, 7], &[], 0);
    let first_alone = [8, 9, 10].map(|context| step(&scenario, &[context], &[], 0));
    let first_done = first_alone.into_iter().fold(together, |sum, one| sum + one);
    let second_done = first_done
        + step(&scenario, &[], &[(0, 8)], 1)
        + step(&scenario, &[9], &[], 0)
        + step(&scenario, &[10], &[], 0);
    let [a, b] = &outcome.records[..] else { panic!("two records") };
    assert_eq!((a.request, a.completion, a.preemptions), (0, first_done, 0));
    assert_eq!((b.request, b.completion, b.preemptions), (1, second_done, 1));
    assert_eq!((b.recomputed_tokens, b.prefilled_tokens), (7, 13));
    assert_eq!(outcome.engines[0].preemptions, 1);
    // The first takes the last block before the second yields.
    assert_eq!(outcome.engines[0].blocks_peak, 15);
    let waited = first_done - together + step(&scenario, &[], &[(0, 8)], 1);
    assert_eq!(outcome.gaps.get(&waited.0), Some(&1));
}

/// 40 tokens behind 8, in 45 blocks of a token: all of them do not fit, the first chunk of 4 does. Without a reservation
/// it is admitted at once, finds no room for the rest and gives its blocks back; with one it waits.
#[test]
fn without_a_reservation_the_first_chunk_is_admitted_where_the_prompt_does_not_fit() {
    let outcome = |reserve_full_prompt| {
        let scheduler = SchedulerSpec { block_tokens: 1, max_num_batched_tokens: 12, reserve_full_prompt, ..ROOMY };
        let scenario = one_engine(scheduler, 45);
        simulate(&scenario, vec![request(SimTime::ZERO, 8, 6), request(SimTime::ZERO, 40, 2)])
    };
    let [reserved, chunked] = [true, false].map(outcome);
    let second = |outcome: &NaiveOutcome| {
        let record = outcome.records.iter().find(|record| record.request == 1).expect("both requests end");
        (record.status, record.scheduled, record.preemptions)
    };
    let first_done = reserved.records[0].completion;
    assert_eq!(second(&reserved), (Status::Success, Some(first_done), 0));
    assert_eq!(second(&chunked), (Status::Success, Some(SimTime::ZERO), 1));
}

/// With threshold and priorities, the one prefill that is first in order may be the one that yields. The step is then
/// empty though another could run: the engine must schedule again instead of falling asleep.
#[test]
fn a_prefill_that_preempts_itself_leaves_the_engine_awake() {
    let scheduler = SchedulerSpec {
        block_tokens: 1,
        policy: QueuePolicy::Priority,
        long_prefill_token_threshold: Some(10),
        reserve_full_prompt: false,
        rules: SchedulerRules {
            self_preempted_is_passed_over: false,
            lone_request_is_unlimited: false,
            ..SchedulerRules::NEWEST
        },
        ..ROOMY
    };
    let scenario = one_engine(scheduler, 55);
    let important = RequestSpec { priority: -1, ..request(SimTime(1), 50, 2) };
    let outcome = simulate(&scenario, vec![request(SimTime::ZERO, 50, 2), important]);
    assert_eq!(outcome.coverage.count("empty step, scheduled again"), 1);
    let ended: Vec<_> = outcome.records.iter().map(|record| (record.request, record.status)).collect();
    assert_eq!(ended, [(1, Status::Success), (0, Status::Success)]);
}

fn full_caching(block_tokens: u32) -> SchedulerSpec {
    SchedulerSpec { block_tokens, prefix_caching: PrefixCaching::Full, ..ROOMY }
}

fn with_prefix(mut request: RequestSpec, key: u64, tokens: u32) -> RequestSpec {
    request.prefix = vec![PrefixSegment { key, tokens }];
    request
}

#[test]
fn a_duplicate_prompt_computes_what_is_not_in_full_blocks_and_at_least_one_token() {
    let scenario = one_engine(full_caching(16), 100);
    let later = |n: u64| SimTime(n * 1_000_000_000);
    let requests = vec![
        with_prefix(request(later(0), 33, 2), 5, 33),
        with_prefix(request(later(1), 33, 2), 5, 33),
        with_prefix(request(later(2), 32, 2), 5, 32),
    ];
    let outcome = simulate(&scenario, requests);
    let seen = |at: usize| {
        let record = &outcome.records[at];
        (record.prefix_event, record.cached_tokens, record.prefilled_tokens)
    };
    assert_eq!(seen(0), (PrefixEvent::Miss, 0, 33));
    assert_eq!(seen(1), (PrefixEvent::FullHit, 32, 1));
    assert_eq!(seen(2), (PrefixEvent::CrossRequestHit, 16, 16));
}

#[test]
fn two_of_one_prefix_in_one_step_hold_the_same_blocks() {
    let scenario = one_engine(full_caching(4), 100);
    let twin = || with_prefix(request(SimTime::ZERO, 9, 1), 5, 8);
    let outcome = simulate(&scenario, vec![twin(), twin()]);
    // Two shared blocks and one each; the second is a hit although the first computes them in the same step.
    assert_eq!(outcome.engines[0].blocks_peak, 4);
    assert_eq!(outcome.records[1].cached_tokens, 8);
    assert_eq!(outcome.engines[0].steps, 1);
}

#[test]
fn eviction_eats_a_cached_chain_from_its_tail() {
    let scenario = one_engine(full_caching(4), 6);
    let later = |n: u64| SimTime(n * 1_000_000_000);
    let requests = vec![
        with_prefix(request(later(0), 12, 1), 5, 12),
        // Three empty blocks and one of the chain's.
        request(later(1), 16, 1),
        with_prefix(request(later(2), 13, 1), 5, 12),
    ];
    let outcome = simulate(&scenario, requests);
    assert_eq!(outcome.records[2].cached_tokens, 8);
    // The third request takes its two new blocks where nothing is cached any more.
    assert_eq!(outcome.engines[0].blocks_evicted, 1);
}

#[test]
fn a_follow_up_turn_finds_its_tail_once_it_is_released() {
    let scenario = one_engine(full_caching(4), 100);
    let first = RequestSpec { tail_key: 9, ..request(SimTime::ZERO, 8, 5) };
    let next = RequestSpec { turn: 1, prompt_tokens: 20, arrival: SimTime(1_000_000_000), ..first.clone() };
    let mut list = List { requests: vec![first].into_iter(), follow_up: Some(next) };
    let outcome = run(&scenario, &mut list);
    // 12 of the first turn's 13 tokens were computed.
    assert_eq!(outcome.records[1].cached_tokens, 12);
    assert_eq!(outcome.records[1].prefix_event, PrefixEvent::ConversationalHit);
}

#[test]
fn a_client_that_gives_up_in_the_queue_is_noticed_at_the_next_boundary() {
    let scheduler = SchedulerSpec { max_num_seqs: 1, ..ROOMY };
    let scenario = one_engine(scheduler, 10);
    let impatient = RequestSpec { timeout: SimTime(10), ..request(SimTime(5), 4, 1) };
    let outcome = simulate(&scenario, vec![request(SimTime::ZERO, 10, 2), impatient]);
    let [timed_out, served] = &outcome.records[..] else { panic!("two records") };
    assert_eq!(timed_out.status, Status::Timeout);
    assert_eq!(timed_out.reason, Reason::TimeoutWaiting);
    assert_eq!((timed_out.request, timed_out.completion), (1, SimTime(15)));
    assert_eq!(timed_out.scheduled, None);
    assert_eq!(served.status, Status::Success);
}

#[test]
fn streamed_tokens_queue_on_their_engines_lane() {
    let mut scenario = one_engine(ROOMY, 10);
    // A token of 1 kB takes a second on the slow link, which is longer than a step.
    scenario.links.push(link("fast", 1e6, 0.25));
    scenario.links.push(link("slow", 1e3, 0.5));
    engine(&mut scenario).egress = vec![0, 1];
    engine(&mut scenario).response_bytes_per_token = 1e3;
    let streamed = RequestSpec { streaming: true, ..request(SimTime::ZERO, 10, 3) };
    let outcome = simulate(&scenario, vec![streamed]);
    let first_step = step(&scenario, &[], &[(0, 10)], 1);
    let crossing = SimTime(1_000_000 + 250_000_000 + 1_000_000_000 + 500_000_000);
    let record = &outcome.records[0];
    assert_eq!(record.first_token, Some(first_step + crossing));
    let third_start = first_step + SimTime(2_000_000_000);
    assert_eq!(record.last_token, Some(third_start + crossing));
    assert_eq!(record.completion, third_start + crossing);
    assert_eq!(outcome.links[1].transfers, 0);
    assert_eq!(outcome.links[1].bytes, 3e3);
}

#[test]
fn prompts_and_whole_responses_are_first_in_first_out_on_a_link() {
    let mut scenario = one_engine(ROOMY, 10);
    scenario.prompt_bytes_per_token = 100.0;
    scenario.links.push(link("in", 1e3, 0.5));
    scenario.links.push(link("out", 1e3, 0.0));
    engine(&mut scenario).ingress = vec![0];
    engine(&mut scenario).egress = vec![1];
    engine(&mut scenario).response_bytes_per_token = 1e3;
    let requests = vec![request(SimTime::ZERO, 10, 1), request(SimTime(3), 20, 1)];
    let outcome = simulate(&scenario, requests);
    let [a, b] = &outcome.records[..] else { panic!("two records") };
    let second = 1_000_000_000;
    assert_eq!(a.delivered, Some(SimTime(second + second / 2)));
    assert_eq!(b.delivered, Some(SimTime(3 * second + second / 2)));
    let generated = a.delivered.expect("it was not given up") + step(&scenario, &[], &[(0, 10)], 1);
    assert_eq!((a.first_token, a.last_token), (Some(generated), Some(generated)));
    assert_eq!(a.completion, generated + SimTime(second));
    assert_eq!(outcome.links[0].busy, SimTime(3 * second));
    assert_eq!(outcome.links[1].transfers, 2);
}

#[test]
fn at_the_horizon_what_is_in_flight_ends() {
    let mut scenario = one_engine(ROOMY, 10);
    scenario.horizon = Some(step(&scenario, &[], &[(0, 10)], 1));
    let late = request(SimTime(u64::MAX / 2), 1, 1);
    let outcome = simulate(&scenario, vec![request(SimTime::ZERO, 10, 2), late]);
    let record = &outcome.records[0];
    assert_eq!(outcome.records.len(), 1);
    assert_eq!((record.status, record.reason), (Status::Incomplete, Reason::EndedRunning));
    assert_eq!((record.output_tokens, record.completion), (1, outcome.end));
}
