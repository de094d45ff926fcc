//! The longest gap between two tokens that a client sees, worked out by hand, in both engines.

use std::ops::ControlFlow;

use oracle_components::SimTime;
use oracle_components::record::{RequestRecord, Status};
use oracle_components::request::RequestSpec;
use oracle_components::scenario::{Scenario, SchedulerSpec};
use oracle_systems::Simulation;

use crate::alike::Ledger;
use crate::naive::hand_worked::{List, request, simulate, step};
use crate::naive::scenes::{ROOMY, Ranks, add_engine, empty_scenario, link};

/// The records of requests whose answers are streamed, which both engines agree in.
#[track_caller]
fn streamed(scenario: &Scenario, requests: &[RequestSpec]) -> Vec<RequestRecord> {
    let requests: Vec<_> = requests.iter().map(|spec| RequestSpec { streaming: true, ..spec.clone() }).collect();
    records(scenario, requests)
}

#[track_caller]
fn records(scenario: &Scenario, requests: Vec<RequestSpec>) -> Vec<RequestRecord> {
    let naive = simulate(scenario, requests.clone());
    let mut simulation = Simulation::new(scenario.clone(), Box::new(List::new(requests)), Ledger::default());
    simulation.run(|_| ControlFlow::Continue(()));
    let fast = simulation.into_sink().records;
    assert_eq!(naive.records, fast);
    fast
}

fn one_engine(scheduler: SchedulerSpec, kv_blocks: u64) -> Scenario {
    let mut scenario = empty_scenario();
    add_engine(&mut scenario, scheduler, kv_blocks, Ranks::ONE);
    scenario
}

#[test]
fn a_prompt_that_comes_in_between_makes_the_longest_gap_of_who_decodes_and_of_nobody_after_it() {
    let scenario = one_engine(ROOMY, 100);
    let first = step(&scenario, &[], &[(0, 8)], 1);
    let late = request(first + SimTime(1), 200, 4);
    let found = streamed(&scenario, &[request(SimTime::ZERO, 8, 6), late]);
    // The second token of the first comes with a step of its own, the third with the other's prompt.
    let with_prompt = step(&scenario, &[10], &[(0, 200)], 1);
    let after = step(&scenario, &[13, 203], &[], 0);
    let gap_of = |request| found.iter().find(|record| record.request == request).and_then(|record| record.longest_gap);
    assert_eq!(gap_of(0), Some(with_prompt));
    assert!(after < with_prompt, "a prompt takes longer than a token");
    let of_second = gap_of(1).expect("it has four tokens");
    assert!(of_second >= step(&scenario, &[11, 201], &[], 0) && of_second < with_prompt, "{of_second}");
}

#[test]
fn a_preemption_is_in_the_gap() {
    let scenario = one_engine(SchedulerSpec { block_tokens: 1, ..ROOMY }, 15);
    let found = streamed(&scenario, &[request(SimTime::ZERO, 5, 6), request(SimTime::ZERO, 5, 6)]);
    let alone = [8, 9, 10].map(|context| step(&scenario, &[context], &[], 0));
    let waited = alone.into_iter().fold(step(&scenario, &[], &[(0, 8)], 1), |sum, one| sum + one);
    assert_eq!((found[1].preemptions, found[1].longest_gap), (1, Some(waited)));
    let together = [6, 7].map(|context| step(&scenario, &[context, context], &[], 0));
    assert_eq!(found[0].longest_gap, alone.into_iter().chain(together).max());
}

#[test]
fn it_is_the_clients_gap_not_the_engines() {
    let mut scenario = empty_scenario();
    scenario.links.push(link("out", 1.0, 0.0));
    let engine = add_engine(&mut scenario, ROOMY, 10, Ranks::ONE);
    (engine.egress, engine.response_bytes_per_token) = (vec![0], 1.0);
    let second = SimTime(1_000_000_000);
    let found = streamed(&scenario, &[request(SimTime::ZERO, 10, 5)]);
    assert_eq!(found[0].longest_gap, Some(second), "a token takes a second over the link");
    // Its last token is on its way at the deadline.
    let hasty = RequestSpec { timeout: SimTime(3 * second.0), ..request(SimTime::ZERO, 10, 5) };
    let found = streamed(&scenario, &[hasty]);
    assert_eq!((found[0].status, found[0].last_token, found[0].longest_gap), (Status::Timeout, None, None));
}

#[test]
fn there_is_none_below_two_tokens_or_in_a_response_that_is_not_streamed() {
    let scenario = one_engine(ROOMY, 100);
    assert_eq!(streamed(&scenario, &[request(SimTime::ZERO, 8, 1)])[0].longest_gap, None);
    assert_eq!(records(&scenario, vec![request(SimTime::ZERO, 8, 9)])[0].longest_gap, None);
    assert!(streamed(&scenario, &[request(SimTime::ZERO, 8, 2)])[0].longest_gap.is_some());
}

/// More gaps than an engine keeps without looking who still asks for them: batches that shrink, while one request goes on.
#[test]
fn gaps_that_grow_shorter_are_kept_for_who_was_there() {
    let scenario = one_engine(ROOMY, 1000);
    let short = (1..40).map(|number| request(SimTime::ZERO, 60, 2 * number));
    let requests: Vec<_> = std::iter::once(request(SimTime::ZERO, 8, 120)).chain(short).collect();
    let found = streamed(&scenario, &requests);
    let longest = found.iter().filter_map(|record| record.longest_gap).max();
    let last = found.last().expect("there are records");
    assert_eq!((last.request, last.longest_gap), (0, longest), "who was there all along has seen all");
}
