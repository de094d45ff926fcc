//! A recorded load, replayed: the source of its requests and the sink of what became of them.

use oracle_components::SimTime;
use oracle_components::record::{IntervalRow, Outcome, RequestRecord};
use oracle_components::request::{PrefixSegment, RequestSpec};
use oracle_components::scenario::Scenario;
use oracle_systems::Simulation;
use oracle_systems::ports::{Promises, RecordSink, RequestSource, SinkClosed};

use super::capped_client::{due_s, in_flight};
use super::prefixes;
use super::requests_file::RecordedRequest;

/// A recorded load as the engine takes it. A request that is never followed up has tail key 0.
pub(super) struct Replay {
    specs: std::vec::IntoIter<RequestSpec>,
}

/// What became of a load.
#[derive(Debug)]
pub(super) struct Replayed {
    /// In the order of the load.
    pub(super) records: Vec<RequestRecord>,
    /// Gaps between tokens, and of how many sequences.
    pub(super) gaps: Vec<(SimTime, u64)>,
    pub(super) outcome: Outcome,
    /// Arrival of the first request on the recorded clock, which the simulation's zero stands for, less its own.
    pub(super) clock_offset_s: f64,
}

/// Keeps every record.
#[derive(Debug, Default)]
struct Kept {
    records: Vec<RequestRecord>,
    gaps: Vec<(SimTime, u64)>,
}

impl Replay {
    /// The requests in order of arrival, each sent when it is `due_s`. Those from before second 0 shift the clock.
    pub(super) fn new(requests: &[RecordedRequest], due_s: &[f64], block_tokens: u32) -> Self {
        let offset_s = clock_offset_s(requests);
        let prefixes = prefixes::segments(requests, block_tokens);
        let specs: Vec<RequestSpec> = (0..)
            .zip(requests.iter().zip(due_s).zip(prefixes))
            .map(|(session, ((request, due_s), prefix))| spec(session, request, due_s - offset_s, prefix))
            .collect();
        Self::of(specs)
    }

    /// These requests, in order of arrival.
    pub(super) fn of(specs: Vec<RequestSpec>) -> Self {
        Self { specs: specs.into_iter() }
    }
}

/// What to add to the simulation's clock to have the recorded one.
fn clock_offset_s(requests: &[RecordedRequest]) -> f64 {
    requests.first().map_or(0.0, |first| first.arrival_s.min(0.0))
}

fn spec(session: u64, request: &RecordedRequest, arrival_s: f64, prefix: Vec<PrefixSegment>) -> RequestSpec {
    RequestSpec {
        arrival: SimTime::from_secs_f64(arrival_s),
        profile: 0,
        client: 0,
        session,
        turn: 0,
        prompt_tokens: request.prompt_tokens,
        encoder_tokens: 0,
        max_output_tokens: request.output_tokens,
        output_tokens: request.output_tokens,
        priority: 0,
        streaming: true,
        timeout: SimTime::NEVER,
        prefix,
        tail_key: 0,
    }
}

impl RequestSource for Replay {
    fn next_request(&mut self) -> Option<RequestSpec> {
        self.specs.next()
    }

    fn promises(&self) -> Promises {
        Promises { no_follow_ups: true, streams_only: true }
    }
}

impl RecordSink for Kept {
    fn request(&mut self, record: &RequestRecord) -> Result<(), SinkClosed> {
        self.records.push(record.clone());
        Ok(())
    }

    fn token_gap(&mut self, _at: SimTime, gap: SimTime, sequences: u64) {
        self.gaps.push((gap, sequences));
    }

    fn interval(&mut self, _row: &IntervalRow) -> Result<(), SinkClosed> {
        Ok(())
    }
}

/// Simulates a recorded load, sent by a client that has at most `most_in_flight` requests in flight, if it has a limit.
pub(super) fn replay(scenario: &Scenario, requests: &[RecordedRequest], most_in_flight: Option<u32>) -> Replayed {
    let due_s = most_in_flight.and_then(|most| due_s(requests, most));
    let due_s = due_s.unwrap_or_else(|| requests.iter().map(|request| request.arrival_s).collect());
    // Blocks of unlike engines differ in no run that was recorded; the first engine's count.
    let block_tokens = scenario.engines.first().map_or(16, |engine| engine.scheduler.block_tokens);
    let clock_offset_s = clock_offset_s(requests);
    let source = in_flight(Box::new(Replay::new(requests, &due_s, block_tokens)), most_in_flight);
    Replayed { clock_offset_s, ..simulate(scenario, source) }
}

/// Simulates any load to its end and keeps every record.
pub(super) fn simulate(scenario: &Scenario, source: Box<dyn RequestSource>) -> Replayed {
    let mut simulation = Simulation::new(scenario.clone(), source, Kept::default());
    let outcome = simulation.run(|_| std::ops::ControlFlow::Continue(()));
    let Kept { mut records, gaps } = simulation.into_sink();
    // Each request is a session of its own, numbered in the order of the load.
    records.sort_by_key(|record| record.session);
    Replayed { records, gaps, outcome, clock_offset_s: 0.0 }
}
