//! What a routing policy is told of requests in flight, held against the records: all that was sent to an engine, less what had
//! left it by then, or by as long before as the policy learns late.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use oracle_components::SimTime;
use oracle_components::record::{RequestRecord, Status};
use oracle_components::request::RequestSpec;
use oracle_components::scenario::{Routing, Scenario};
use oracle_systems::Simulation;
use oracle_systems::routing::{FleetView, RoutingPolicy, Wants};
use proptest::test_runner::{TestCaseError, TestRunner};

use crate::alike::{Ledger, same};
use crate::naive::cases::Case;
use crate::naive::search::search;
use crate::naive::strategy::{Size, case};

/// How many cases each law is held against.
const CASES: u32 = 150;

/// The fewest in flight, the first of equals; keeps what it is told of each candidate at every choice.
#[derive(Clone, Default)]
struct FewestInFlight {
    late: SimTime,
    told: Arc<Mutex<Vec<Vec<u32>>>>,
}

impl RoutingPolicy for FewestInFlight {
    fn wants(&self) -> Wants {
        Wants { in_flight: Some(self.late), ..Wants::default() }
    }

    fn choose(&mut self, _: &RequestSpec, fleet: &FleetView<'_>) -> usize {
        let in_flight: Vec<u32> = (0..fleet.len()).map(|position| fleet.in_flight(position)).collect();
        let fewest = in_flight.iter().min().expect("there is a candidate");
        let chosen = in_flight.iter().position(|count| count == fewest).expect("the fewest are somewhere");
        self.told.lock().expect("nobody panicked").push(in_flight);
        chosen
    }
}

fn run(scenario: Scenario, case: &Case, policy: Option<FewestInFlight>) -> Ledger {
    let mut simulation = Simulation::new(scenario, Box::new(case.source()), Ledger::default());
    if let Some(policy) = policy {
        simulation = simulation.with_routing_policy(policy);
    }
    simulation.run(|_| ControlFlow::Continue(()));
    simulation.into_sink()
}

/// The policy, learning so late, does as a shipped one.
fn does_as(shipped: Routing, late: SimTime) {
    let outcome = TestRunner::new(search(CASES, 1000)).run(&case(Size::SMALL), |case| {
        let policy = FewestInFlight { late, ..FewestInFlight::default() };
        let own = run(case.scenario(), &case, Some(policy));
        let shipped = run(Scenario { routing: shipped, ..case.scenario() }, &case, None);
        same("records", &shipped.records, &own.records)?;
        same("gaps", &shipped.gaps, &own.gaps)
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn who_knows_at_once_does_as_least_loaded() {
    does_as(Routing::LeastLoaded, SimTime::ZERO);
}

/// What is never heard of to have left is all that was sent, and the fewest of that is whose turn it is.
#[test]
fn who_never_learns_goes_round() {
    does_as(Routing::RoundRobin, SimTime::NEVER);
}

/// When a request left its engine, by its record: where nothing is sent back, nobody gives up and nothing is cut
/// short, an answer is there when its engine has ended it.
fn left(record: &RequestRecord) -> SimTime {
    match record.status {
        Status::Success => record.completion,
        Status::Failed => record.arrival,
        Status::Timeout | Status::Incomplete => unreachable!("nobody gives up, and nothing is cut short"),
    }
}

/// Whether who learns `late` may know at `now` that a request has left: at an instant, arrivals come before what engines end.
fn is_known_to_have_left(record: &RequestRecord, late: SimTime, now: SimTime) -> bool {
    let known = left(record) + late;
    known < now || known == now && (late > SimTime::ZERO || record.status == Status::Failed)
}

fn told_what_the_records_say(mut case: Case, late: SimTime) -> Result<(), TestCaseError> {
    case.pools = None;
    case.horizon = None;
    case.engines.iter_mut().for_each(|engine| engine.egress.clear());
    case.sessions.iter_mut().for_each(|session| session.timeout = None);
    let policy = FewestInFlight { late, ..FewestInFlight::default() };
    let told = Arc::clone(&policy.told);
    let mut records = run(case.scenario(), &case, Some(policy)).records;
    records.sort_by_key(|record| record.request);
    let told = told.lock().expect("nobody panicked");
    same("choices", &records.len(), &told.len())?;
    for (at, (record, told)) in records.iter().zip(&*told).enumerate() {
        let mut expected = vec![0; case.engines.len()];
        for earlier in &records[..at] {
            expected[earlier.engine as usize] += u32::from(!is_known_to_have_left(earlier, late, record.arrival));
        }
        same(&format!("told {late} late of request {at}, which arrived at {}", record.arrival), &expected, told)?;
    }
    Ok(())
}

#[test]
fn a_router_is_told_what_was_in_flight_so_long_ago() {
    for late in [0, 1, 3_000_000, 50_000_000] {
        let mut runner = TestRunner::new(search(CASES, 1000));
        let outcome = runner.run(&case(Size::SMALL), |case| told_what_the_records_say(case, SimTime(late)));
        outcome.unwrap_or_else(|error| panic!("{error}"));
    }
}
