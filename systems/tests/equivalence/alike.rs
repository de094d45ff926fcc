//! What it means that two runs are alike: equal to the nanosecond, the token and the block; sums of fractions but for the order
//! in which they were taken.

use std::collections::BTreeMap;
use std::fmt::Debug;

use oracle_components::SimTime;
use oracle_components::record::{EngineTotals, GpuTotals, IntervalRow, LinkTotals, RequestRecord, StepTotals};
use oracle_components::scenario::Scenario;
use oracle_systems::ports::{RecordSink, SinkClosed};
use proptest::test_runner::TestCaseError;

/// What the order of a sum may change of it.
pub const ORDER_OF_SUMS: f64 = 1e-9;

/// Keeps what leaves an engine.
#[derive(Default)]
pub struct Ledger {
    /// Every request that has ended.
    pub records: Vec<RequestRecord>,
    /// How many sequences had a gap of so many nanoseconds between two tokens.
    pub gaps: BTreeMap<u64, u64>,
    /// The time series.
    pub rows: Vec<IntervalRow>,
}

impl RecordSink for Ledger {
    fn request(&mut self, record: &RequestRecord) -> Result<(), SinkClosed> {
        self.records.push(record.clone());
        Ok(())
    }

    fn token_gap(&mut self, _: SimTime, gap: SimTime, sequences: u64) {
        *self.gaps.entry(gap.0).or_default() += sequences;
    }

    fn interval(&mut self, row: &IntervalRow) -> Result<(), SinkClosed> {
        self.rows.push(row.clone());
        Ok(())
    }
}

/// Fails with the fields in which two things differ.
pub fn same<T: PartialEq + Debug>(what: &str, expected: &T, found: &T) -> Result<(), TestCaseError> {
    if expected == found {
        return Ok(());
    }
    let (expected, found) = (format!("{expected:?}"), format!("{found:?}"));
    let fields = expected.split(", ").zip(found.split(", "));
    let report = fields
        .filter(|(expected, found)| expected != found)
        .take(12)
        .fold(String::new(), |report, (expected, found)| report + &format!("\n  expected {expected:40} found {found}"));
    Err(TestCaseError::fail(format!("{what}:{report}")))
}

/// `found`, or `expected` if that is as near as the order of sums allows.
fn near(expected: f64, found: f64) -> f64 {
    if (expected - found).abs() <= ORDER_OF_SUMS * expected.abs() { expected } else { found }
}

/// `found`, or `expected` if that is no more than `roundings` nanoseconds from it.
fn within(roundings: u64, expected: SimTime, found: SimTime) -> SimTime {
    if expected.0.abs_diff(found.0) <= roundings { expected } else { found }
}

/// Engines do the same.
pub fn same_engine(index: usize, expected: &EngineTotals, found: &EngineTotals) -> Result<(), TestCaseError> {
    let steps = |expected: &StepTotals, found: &StepTotals| StepTotals {
        flops: near(expected.flops, found.flops),
        bytes: near(expected.bytes, found.bytes),
        ..*found
    };
    let found = EngineTotals {
        prefill: steps(&expected.prefill, &found.prefill),
        decode: steps(&expected.decode, &found.decode),
        ..found.clone()
    };
    same(&format!("engine {index}"), expected, &found)
}

/// GPUs do the same work. The time of one that is shared is rounded with every posting, and a posting holds a step or
/// more.
pub fn same_gpu(index: usize, expected: &GpuTotals, found: &GpuTotals, bookings: u64) -> Result<(), TestCaseError> {
    let found = GpuTotals {
        busy: within(bookings, expected.busy, found.busy),
        flops: near(expected.flops, found.flops),
        bytes: near(expected.bytes, found.bytes),
    };
    same(&format!("GPU {index}"), expected, &found)
}

/// Links carry the same. The time for what ranks exchange is rounded with every posting, and a posting holds a step or
/// more; the sum of all is rounded once.
pub fn same_link(index: usize, expected: &LinkTotals, found: &LinkTotals, bookings: u64) -> Result<(), TestCaseError> {
    let roundings = bookings + (ORDER_OF_SUMS * expected.busy.0 as f64) as u64;
    let found = LinkTotals {
        busy: within(roundings, expected.busy, found.busy),
        bytes: near(expected.bytes, found.bytes),
        transfers: found.transfers,
    };
    same(&format!("link {index}"), expected, &found)
}

/// How often the time of each GPU is rounded if every step is posted alone; 0 where nothing is rounded.
pub fn gpu_bookings(scenario: &Scenario, steps: &[u64]) -> Vec<u64> {
    let mut bookings = vec![0; scenario.gpus.len()];
    for (engine, steps) in scenario.engines.iter().zip(steps).filter(|(engine, _)| engine.gpu_share < 1.0) {
        engine.gpus.iter().for_each(|&gpu| bookings[gpu as usize] += steps);
    }
    bookings
}

/// The same of each link.
pub fn link_bookings(scenario: &Scenario, steps: &[u64]) -> Vec<u64> {
    let mut bookings = vec![0; scenario.links.len()];
    for (engine, steps) in scenario.engines.iter().zip(steps) {
        let experts = engine.expert_parallel.iter().flat_map(|experts| &experts.hops);
        let paths = engine.rings.iter().flatten().chain(&engine.stage_paths).chain(experts);
        paths.flatten().for_each(|&link| bookings[link as usize] += steps);
    }
    bookings
}
