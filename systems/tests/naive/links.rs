//! Links: a FIFO for prompts and whole responses, and each engine's lane of streamed tokens.

use oracle_components::SimTime;
use oracle_components::record::LinkTotals;
use oracle_components::scenario::{LinkIndex, LinkSpec};

/// A link and what has crossed it.
pub struct Link {
    bytes_per_s: f64,
    latency: SimTime,
    busy_until: SimTime,
    /// For how long it carried what ranks exchange.
    collectives_s: f64,
    /// What has crossed it.
    pub totals: LinkTotals,
}

impl Link {
    /// An idle link.
    pub fn new(spec: &LinkSpec) -> Self {
        Self {
            bytes_per_s: spec.bytes_per_s,
            latency: SimTime::from_secs_f64(spec.latency_s),
            busy_until: SimTime::ZERO,
            collectives_s: 0.0,
            totals: LinkTotals::default(),
        }
    }

    fn time_of(&self, bytes: f64) -> SimTime {
        SimTime::from_secs_f64(bytes / self.bytes_per_s)
    }

    fn count(&mut self, bytes: f64) {
        self.totals.busy += self.time_of(bytes);
        self.totals.bytes += bytes;
    }

    /// What ranks exchange in a step, whose price holds the time for it.
    pub fn count_collectives(&mut self, bytes: f64) {
        self.collectives_s += bytes / self.bytes_per_s;
        self.totals.bytes += bytes;
    }

    /// What has crossed it, in the end.
    pub fn into_totals(self) -> LinkTotals {
        LinkTotals { busy: self.totals.busy + SimTime::from_secs_f64(self.collectives_s), ..self.totals }
    }
}

/// Sends `bytes` over a path at `start`, whole from link to link, each a FIFO; when they are out of the last one.
pub fn send_whole(links: &mut [Link], path: &[LinkIndex], start: SimTime, bytes: f64) -> SimTime {
    let mut at = start;
    for &index in path {
        let link = &mut links[index as usize];
        link.busy_until = at.max(link.busy_until) + link.time_of(bytes);
        link.count(bytes);
        link.totals.transfers += 1;
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
        link.count(bytes);
        link.totals.transfers += 1;
        slowest = slowest.max(span);
        latency += link.latency;
    }
    start + slowest + latency
}

/// Sends one step's streamed tokens over a path at `end`, on the engine's own lane; when they are received.
pub fn send_flow(links: &mut [Link], path: &[LinkIndex], lane_free: &mut SimTime, end: SimTime, bytes: f64) -> SimTime {
    let start = end.max(*lane_free);
    let mut received = start;
    let mut slowest = SimTime::ZERO;
    for &index in path {
        let link = &mut links[index as usize];
        let span = link.time_of(bytes);
        received = received + span + link.latency;
        slowest = slowest.max(span);
        link.count(bytes);
    }
    *lane_free = start + slowest;
    received
}
