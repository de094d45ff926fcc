//! Links: a FIFO for prompts and whole responses, and each engine's lane of streamed tokens.

use oracle_components::SimTime;
use oracle_components::record::{IntervalRow, LinkTotals};
use oracle_components::scenario::{LinkIndex, LinkSpec};

use super::coverage::Coverage;
use super::series::{Amounts, Series};

/// A link and what has crossed it.
pub struct Link {
    bytes_per_s: f64,
    latency: SimTime,
    busy_until: SimTime,
    transfers: u64,
    /// What was sent over it, from when to when.
    sent: Vec<(SimTime, SimTime, Amounts)>,
}

impl Link {
    /// An idle link.
    pub fn new(spec: &LinkSpec) -> Self {
        Self {
            bytes_per_s: spec.bytes_per_s,
            latency: SimTime::from_secs_f64(spec.latency_s),
            busy_until: SimTime::ZERO,
            transfers: 0,
            sent: Vec::new(),
        }
    }

    fn time_of(&self, bytes: f64) -> SimTime {
        SimTime::from_secs_f64(bytes / self.bytes_per_s)
    }

    /// What kept it busy for its time at some time from `from` to `to`.
    fn count(&mut self, bytes: f64, (from, to): (SimTime, SimTime)) {
        let busy_s = self.time_of(bytes).as_secs_f64();
        self.sent.push((from, to, Amounts { busy_s, bytes, ..Amounts::default() }));
    }

    /// What ranks exchange in a step, whose price holds the time for it.
    pub fn count_collectives(&mut self, bytes: f64, (from, to): (SimTime, SimTime)) {
        let busy_s = bytes / self.bytes_per_s;
        self.sent.push((from, to, Amounts { busy_s, bytes, ..Amounts::default() }));
    }

    /// Its rows, as link `index`, if the simulation ended at `end`: of what was sent, what fits into the time until then.
    pub fn rows(&self, index: u32, width: SimTime, end: SimTime, coverage: &mut Coverage) -> Vec<IntervalRow> {
        let mut series = Series::default();
        for &(from, to, ref amounts) in &self.sent {
            if to <= end {
                series.add(from, to, width, amounts);
            } else if from < end {
                coverage.note("transfer beyond the end");
                let share = (end - from).0 as f64 / (to - from).0 as f64;
                series.add(from, end, width, &amounts.part(share));
            }
        }
        series.rows_of_link(index, width, end, coverage)
    }

    /// What its rows come to.
    pub fn totals(&self, rows: &[IntervalRow]) -> LinkTotals {
        // In nanoseconds, whose sums are exact.
        let busy_ns: f64 = rows.iter().map(|row| row.busy * row.length.0 as f64).sum();
        let bytes = rows.iter().filter_map(|row| row.bytes).sum();
        LinkTotals { busy: SimTime(busy_ns.round() as u64), bytes, transfers: self.transfers }
    }
}

/// Sends `bytes` over a path at `start`, whole from link to link, each a FIFO; when they are out of the last one.
pub fn send_whole(links: &mut [Link], path: &[LinkIndex], start: SimTime, bytes: f64) -> SimTime {
    let mut at = start;
    for &index in path {
        let link = &mut links[index as usize];
        let start = at.max(link.busy_until);
        link.busy_until = start + link.time_of(bytes);
        link.count(bytes, (start, link.busy_until));
        link.transfers += 1;
        at = link.busy_until + link.latency;
    }
    at
}

/// Sends `bytes` over a path at `start`, all of its links at once, each a FIFO; when they are there.
pub fn send_through(links: &mut [Link], path: &[LinkIndex], start: SimTime, bytes: f64) -> SimTime {
    let busy = path.iter().map(|&index| links[index as usize].busy_until);
    let start = busy.fold(start, SimTime::max);
    let (mut slowest, mut latency) = (SimTime::ZERO, SimTime::ZERO);
    for &index in path {
        let link = &mut links[index as usize];
        let span = link.time_of(bytes);
        link.busy_until = start + span;
        link.count(bytes, (start, link.busy_until));
        link.transfers += 1;
        slowest = slowest.max(span);
        latency += link.latency;
    }
    start + slowest + latency
}

/// Sends the streamed tokens of `step`, from its start to its end, over a path on the engine's own lane; when they are received. In the
/// time series they count while the step runs.
pub fn send_flow(
    links: &mut [Link],
    path: &[LinkIndex],
    lane_free: &mut SimTime,
    step: (SimTime, SimTime),
    bytes: f64,
) -> SimTime {
    let start = step.1.max(*lane_free);
    let mut received = start;
    let mut slowest = SimTime::ZERO;
    for &index in path {
        let link = &mut links[index as usize];
        let span = link.time_of(bytes);
        received = received + span + link.latency;
        slowest = slowest.max(span);
        link.count(bytes, step);
    }
    *lane_free = start + slowest;
    received
}
