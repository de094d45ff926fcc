//! What it means that two runs are alike: equal to the nanosecond, the token and the block; sums of fractions but for the order
//! in which they were taken.

use std::collections::BTreeMap;
use std::fmt::Debug;

use oracle_components::SimTime;
use oracle_components::record::{GpuTotals, IntervalRow, LinkTotals, RequestRecord};
use oracle_components::scenario::Scenario;
use oracle_systems::ports::{RecordSink, SinkClosed};
use proptest::test_runner::TestCaseError;

/// What the order of a sum may change of it.
pub const ORDER_OF_SUMS: f64 = 1e-9;

/// Keeps what leaves the fast engine.
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
pub fn same<T: PartialEq + Debug>(what: &str, naive: &T, fast: &T) -> Result<(), TestCaseError> {
    if naive == fast {
        return Ok(());
    }
    let (naive, fast) = (format!("{naive:?}"), format!("{fast:?}"));
    let fields = naive.split(", ").zip(fast.split(", "));
    let report = fields
        .filter(|(naive, fast)| naive != fast)
        .take(12)
        .fold(String::new(), |report, (naive, fast)| report + &format!("\n  naive {naive:40} fast {fast}"));
    Err(TestCaseError::fail(format!("{what}:{report}")))
}

/// `fast`, or `naive` if that is as near as the order of sums allows.
fn near(naive: f64, fast: f64) -> f64 {
    if (naive - fast).abs() <= ORDER_OF_SUMS * naive.abs() { naive } else { fast }
}

/// `fast`, or `naive` if that is no more than `roundings` nanoseconds from it.
fn within(roundings: u64, naive: SimTime, fast: SimTime) -> SimTime {
    if naive.0.abs_diff(fast.0) <= roundings { naive } else { fast }
}

/// GPUs do the same work. The time of one that is shared is rounded with every booking, and a booking holds a step or more.
pub fn same_gpu(index: usize, naive: &GpuTotals, fast: &GpuTotals, bookings: u64) -> Result<(), TestCaseError> {
    let fast = GpuTotals {
        busy: within(bookings, naive.busy, fast.busy),
        flops: near(naive.flops, fast.flops),
        bytes: near(naive.bytes, fast.bytes),
    };
    same(&format!("GPU {index}"), naive, &fast)
}

/// Links carry the same. The time for what ranks exchange is rounded with every booking, and a booking holds a step or more.
pub fn same_link(index: usize, naive: &LinkTotals, fast: &LinkTotals, bookings: u64) -> Result<(), TestCaseError> {
    let fast = LinkTotals {
        busy: within(bookings, naive.busy, fast.busy),
        bytes: near(naive.bytes, fast.bytes),
        transfers: fast.transfers,
    };
    same(&format!("link {index}"), naive, &fast)
}

/// How often the time of each GPU is rounded if every step is booked alone; 0 where nothing is rounded.
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
