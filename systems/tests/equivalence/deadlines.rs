//! What comes later than a client waits, in both engines: an answer, a token, a refusal.

use std::ops::ControlFlow;

use oracle_components::SimTime;
use oracle_components::record::{Reason, RequestRecord, Status};
use oracle_components::request::RequestSpec;
use oracle_components::scenario::Scenario;
use oracle_systems::Simulation;

use crate::alike::Ledger;
use crate::naive::hand_worked::{List, request, simulate};
use crate::naive::scenes::{ROOMY, Ranks, add_engine, empty_scenario, link};

const SECOND: u64 = 1_000_000_000;

/// An engine behind links of a prompt's token, and of an answer's, a second.
fn slow_links() -> Scenario {
    let mut scenario = empty_scenario();
    scenario.prompt_bytes_per_token = 1.0;
    scenario.links.extend([link("in", 1.0, 0.0), link("out", 1.0, 0.0)]);
    let engine = add_engine(&mut scenario, ROOMY, 10, Ranks::ONE);
    (engine.ingress, engine.egress, engine.response_bytes_per_token) = (vec![0], vec![1], 1.0);
    scenario
}

/// The record of a request on its own whose client waits for so many seconds.
#[track_caller]
fn alone(scenario: &Scenario, timeout_s: u64, spec: RequestSpec) -> RequestRecord {
    let spec = RequestSpec { timeout: SimTime(timeout_s * SECOND), ..spec };
    let naive = simulate(scenario, vec![spec.clone()]);
    let mut simulation = Simulation::new(scenario.clone(), Box::new(List::new(vec![spec])), Ledger::default());
    simulation.run(|_| ControlFlow::Continue(()));
    let fast = simulation.into_sink().records.remove(0);
    assert_eq!(naive.records[0], fast);
    fast
}

/// How it ended, and when, in seconds.
fn end(record: &RequestRecord) -> (Status, Reason, f64) {
    (record.status, record.reason, record.completion.as_secs_f64())
}

#[test]
fn an_answer_that_arrives_after_the_deadline_is_a_timeout_at_it() {
    let record = alone(&slow_links(), 50, request(SimTime::ZERO, 10, 100));
    assert_eq!(end(&record), (Status::Timeout, Reason::TimeoutRunning, 50.0));
    assert_eq!(record.output_tokens, 100);
    assert!(record.first_token.is_some() && record.last_token.is_some(), "generated long before: {record:?}");
    let record = alone(&slow_links(), 200, request(SimTime::ZERO, 10, 100));
    assert_eq!((record.status, record.output_tokens), (Status::Success, 100));
}

#[test]
fn a_streamed_token_that_arrives_after_the_deadline_has_not_arrived() {
    let streamed = || RequestSpec { streaming: true, ..request(SimTime::ZERO, 10, 100) };
    let record = alone(&slow_links(), 50, streamed());
    assert_eq!(end(&record), (Status::Timeout, Reason::TimeoutRunning, 50.0));
    assert_eq!((record.output_tokens, record.last_token), (100, None));
    let first = record.first_token.expect("it took a second");
    assert!((11 * SECOND..12 * SECOND).contains(&first.0), "{first}");
    let record = alone(&slow_links(), 11, streamed());
    assert_eq!(end(&record), (Status::Timeout, Reason::TimeoutRunning, 11.0));
    assert_eq!((record.first_token, record.last_token), (None, None));
    assert!(record.output_tokens > 0 && record.scheduled.is_some());
}

#[test]
fn a_refusal_after_the_deadline_is_a_timeout_of_who_waits() {
    let too_long = || request(SimTime::ZERO, ROOMY.max_model_len, 1);
    let record = alone(&slow_links(), 5, too_long());
    assert_eq!(end(&record), (Status::Timeout, Reason::TimeoutWaiting, 5.0));
    assert_eq!(record.delivered, None);
    let record = alone(&slow_links(), u64::from(ROOMY.max_model_len), too_long());
    assert_eq!((record.status, record.reason), (Status::Failed, Reason::PromptTooLong));
    let horizon = Scenario { horizon: Some(SimTime(4 * SECOND)), ..slow_links() };
    assert_eq!(end(&alone(&horizon, 5, too_long())), (Status::Incomplete, Reason::EndedWaiting, 4.0));
}
