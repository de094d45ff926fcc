//! Places for sessions against what they stand for: a queue before so many servers, users, a loop that cannot go on.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use llmperforacle::workload::{Load, Places, Rate, Starts, SyntheticWorkload, Workload};
use oracle_components::SimTime;
use oracle_components::record::{RequestRecord, Status};
use oracle_components::request::RequestSpec;
use oracle_systems::ports::RequestSource;

use super::{constant, exponential, first_turns, profile, success, talker, workload};

/// How long a request takes here: by its answer alone, so that it does not hang on who else is there.
fn service(spec: &RequestSpec) -> SimTime {
    SimTime::from_secs_f64(f64::from(spec.output_tokens) * 0.01)
}

/// Plays a source to its end as an engine does: one request of the open loop is always known ahead. In order of arrival.
fn play(source: &mut dyn RequestSource, answer: impl Fn(&RequestSpec) -> RequestRecord) -> Vec<RequestRecord> {
    let (mut records, mut in_flight, mut waiting) = (Vec::new(), BinaryHeap::new(), BinaryHeap::new());
    let mut specs: Vec<RequestSpec> = Vec::new();
    let mut ahead = source.next_request();
    loop {
        let arrival = ahead.as_ref().map(|spec| spec.arrival);
        let follow_up = waiting.peek().map(|&Reverse((at, _))| at);
        let end = in_flight.peek().map(|&Reverse((at, _))| at);
        let Some(next) = [arrival, follow_up, end].into_iter().flatten().min() else { break };
        if end == Some(next) {
            let Some(Reverse((_, index))): Option<Reverse<(SimTime, usize)>> = in_flight.pop() else { break };
            let record: RequestRecord = answer(&specs[index]);
            let mut more = Vec::new();
            source.follow_ups(&specs[index], &record, &mut more);
            records.push(record);
            for spec in more {
                assert!(spec.arrival >= next);
                waiting.push(Reverse((spec.arrival, specs.len())));
                specs.push(spec);
            }
        } else if follow_up == Some(next) {
            let Some(Reverse((_, index))): Option<Reverse<(SimTime, usize)>> = waiting.pop() else { break };
            in_flight.push(Reverse((answer(&specs[index]).completion, index)));
        } else {
            let spec = ahead.take().expect("it is next");
            in_flight.push(Reverse((answer(&spec).completion, specs.len())));
            specs.push(spec);
            ahead = source.next_request();
            assert!(ahead.as_ref().is_none_or(|spec| spec.arrival >= next));
        }
    }
    records.sort_by_key(|record| (record.arrival, record.session, record.turn));
    records
}

fn answered(spec: &RequestSpec) -> RequestRecord {
    success(spec, service(spec).as_secs_f64())
}

fn with(load: Load) -> SyntheticWorkload {
    let mut one = workload(vec![profile("a", 20.0)]);
    one.load = load;
    one.duration = None;
    one.total_requests = Some(2000);
    one
}

fn most_in_flight(records: &[RequestRecord]) -> i32 {
    let mut events: Vec<(SimTime, i32)> =
        records.iter().flat_map(|record| [(record.arrival, 1), (record.completion, -1)]).collect();
    events.sort_unstable();
    let (_, most) = events.iter().fold((0, 0), |(now, most), (_, step)| (now + step, most.max(now + step)));
    most
}

/// A client that holds back is a queue before as many servers: each request begins at its own time or when the first of
/// the servers is free.
#[test]
fn a_client_that_holds_back_is_a_queue_before_servers() {
    let open_loop = with(Load::default());
    let mut free = BinaryHeap::from(vec![Reverse(SimTime::ZERO); 22]);
    let mut delayed = 0;
    let expected: Vec<(u64, SimTime)> = first_turns(&open_loop)
        .iter()
        .map(|spec| {
            let Some(Reverse(at)) = free.pop() else { panic!("there are some") };
            let arrival = spec.arrival.max(at);
            delayed += i32::from(arrival > spec.arrival);
            free.push(Reverse(arrival + service(spec)));
            (spec.session, arrival)
        })
        .collect();
    assert!((200..1800).contains(&delayed), "{delayed}");
    let held = with(Load { starts: None, places: Some(Places::of(22)) });
    let mut source = Workload::Synthetic(held).open().expect("valid").0;
    let mut found: Vec<(u64, SimTime)> =
        play(&mut *source, answered).iter().map(|record| (record.session, record.arrival)).collect();
    found.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn a_closed_loop_keeps_its_places_full_and_no_more() {
    let load = Load { starts: Some(Starts::AtOnce), places: Some(Places { ramp_up_s: 4.0, ..Places::of(16) }) };
    let mut source = Workload::Synthetic(with(load)).open().expect("valid").0;
    let records = play(&mut *source, answered);
    assert_eq!(records.len(), 2000);
    // One more every quarter of a second, and from then on one whenever one ends.
    let begins: Vec<SimTime> = records.iter().map(|record| record.arrival).collect();
    let ends: Vec<SimTime> = records.iter().map(|record| record.completion).collect();
    for place in 0..16 {
        assert!(begins.contains(&SimTime::from_secs_f64(0.25 * f64::from(place))));
    }
    let starts_of_places = (0..16).map(|place| SimTime::from_secs_f64(0.25 * f64::from(place)));
    assert!(begins.iter().all(|begin| ends.contains(begin) || starts_of_places.clone().any(|start| start == *begin)));
    let after_ramp: Vec<RequestRecord> =
        records.iter().filter(|record| record.arrival >= SimTime::from_secs_f64(4.0)).cloned().collect();
    assert!(most_in_flight(&after_ramp) <= 16);
}

/// A conversation keeps its place through its pauses.
#[test]
fn sessions_are_what_places_count() {
    let mut one = with(Load { starts: Some(Starts::AtOnce), places: Some(Places::of(4)) });
    one.profiles = vec![talker("a", 1.0)];
    one.max_turns_per_session = 3;
    let mut source = Workload::Synthetic(one).open().expect("valid").0;
    let records = play(&mut *source, answered);
    assert_eq!(records.len(), 2000);
    let whole: Vec<u64> = (0..600).collect();
    let span = |session: u64| {
        let turns = records.iter().filter(|record| record.session == session);
        turns
            .fold((SimTime::NEVER, SimTime::ZERO), |(from, to), turn| (from.min(turn.arrival), to.max(turn.completion)))
    };
    let mut events: Vec<(SimTime, i32)> = whole.iter().flat_map(|&s| [(span(s).0, 1), (span(s).1, -1)]).collect();
    events.sort_unstable();
    let (_, most) = events.iter().fold((0, 0), |(now, most), (_, step)| (now + step, most.max(now + step)));
    assert_eq!(most, 4);
}

/// N users, each in service for S and in thought for Z: N / (S + Z) a second.
#[test]
fn users_think_between_sessions() {
    let places = Places { pause_s: Some(exponential(0.25)), ..Places::of(40) };
    let mut one = with(Load { starts: Some(Starts::AtOnce), places: Some(places) });
    one.total_requests = Some(20_000);
    one.profiles[0].max_output_tokens = constant(100.0);
    one.profiles[0].output_tokens = None;
    let mut source = Workload::Synthetic(one).open().expect("valid").0;
    let records = play(&mut *source, answered);
    let last = records.last().expect("some").arrival.as_secs_f64();
    let rate = records.len() as f64 / last;
    assert!((rate / (40.0 / 5.0) - 1.0).abs() < 0.02, "{rate}");
}

#[test]
fn nothing_is_sent_at_the_end_or_after_it() {
    let mut one = with(Load { starts: Some(Starts::AtOnce), places: Some(Places::of(4)) });
    (one.duration, one.total_requests) = (Some(SimTime::from_secs_f64(60.0)), None);
    let mut source = Workload::Synthetic(one).open().expect("valid").0;
    let records = play(&mut *source, answered);
    let last = records.last().expect("some").arrival.as_secs_f64();
    assert!((50.0..60.0).contains(&last), "{last}");
}

/// A loop in which every request is refused at once would spin at one instant for ever.
#[test]
fn a_loop_of_refusals_ends_and_says_so() {
    let mut one = with(Load { starts: Some(Starts::AtOnce), places: Some(Places::of(4)) });
    (one.duration, one.total_requests) = (Some(SimTime::from_secs_f64(60.0)), None);
    let (mut source, facts) = Workload::Synthetic(one).open().expect("valid");
    assert!(facts.failure().is_none());
    let refused = |spec: &RequestSpec| RequestRecord { status: Status::Failed, ..success(spec, 0.0) };
    let records = play(&mut *source, refused);
    assert!((100_000..110_000).contains(&records.len()), "{}", records.len());
    let failure = facts.failure().expect("it is said");
    assert!(failure.contains("does nothing any more"), "{failure}");
}

#[test]
fn an_endless_load_at_one_instant_is_refused() {
    let mut one = with(Load { starts: Some(Starts::AtOnce), places: None });
    one.duration = Some(SimTime::from_secs_f64(60.0));
    one.total_requests = None;
    let error = Workload::Synthetic(one.clone()).open().err().expect("no end");
    assert!(error.to_string().contains("total_requests"), "{error}");
    one.load = Load {
        starts: Some(Starts::Rate { gaps: exponential(1.0), rate: Rate::constant(5.0) }),
        places: Some(Places::of(0)),
    };
    let error = Workload::Synthetic(one).open().err().expect("no place");
    assert!(error.to_string().contains("place"), "{error}");
}
