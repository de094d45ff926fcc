//! The timeline: the clock, who is due when, what is to arrive, what has ended.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use bevy_ecs::prelude::Entity;

use crate::request::{RequestId, RequestSpec};
use crate::scenario::EngineIndex;
use crate::time::SimTime;

/// How engines depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coupling {
    /// What one engine does may touch another at once: a follow-up, a load that the router looks at, a link that whole
    /// responses queue on. They meet at every boundary.
    Tight,
    /// Nothing passes between engines but the arrivals, whose order is known beforehand. Within a window of arrivals each
    /// goes its own way; they are taken through it in groups small enough to stay in the processor's cache, a boundary of
    /// each a tick.
    Loose,
}

/// Simulated time: what is now, what comes next, what has been.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// Now: the last arrival or, once all that comes before are in, the first boundary of those that are due.
    pub now: SimTime,
    /// Engines at a boundary, and when: in the order of index.
    pub due: Vec<(SimTime, EngineIndex)>,
    /// Whether engines may be ahead of each other.
    pub coupling: Coupling,
    /// Everything that arrives up to here is in: engines may come this far.
    pub window: SimTime,
    /// Longest window, if engines are loose.
    pub window_span: SimTime,
    /// Width of the intervals of the time series.
    pub series_interval: SimTime,
    /// Engines, by index.
    pub engines: Vec<Entity>,
    /// Nothing happens after this.
    pub horizon: SimTime,
    /// Nothing is left to happen, or the horizon was reached.
    pub stopped: bool,
    /// Each engine's next boundary; [`SimTime::NEVER`] if it has none.
    pub wakes: Vec<SimTime>,
    /// The same as a queue, if engines are tight; entries that differ from `wakes` are stale.
    pub boundaries: BinaryHeap<Reverse<(SimTime, EngineIndex)>>,
    /// If engines are loose: the first of the group that is being taken through the window.
    pub group: usize,
    /// The last arrival that is in.
    pub last_arrival: SimTime,
    /// The next request of the open-loop workload.
    pub next_request: Option<RequestSpec>,
    /// Follow-ups, the earliest first.
    pub follow_ups: BinaryHeap<Reverse<FollowUp>>,
    /// Follow-ups returned so far.
    pub follow_ups_returned: u64,
    /// The next request's number: requests that have arrived so far.
    pub next_id: RequestId,
    /// Requests in transit, waiting and running, by engine.
    pub loads: Vec<u32>,
    /// Requests that ended, by status.
    pub ended: [u64; 4],
    /// The latest completion.
    pub last_completion: SimTime,
}

/// A request that follows from another's end.
#[derive(Clone, Debug)]
pub struct FollowUp {
    /// What it asks.
    pub spec: RequestSpec,
    /// Position in the order in which follow-ups were returned.
    pub order: u64,
}

impl PartialEq for FollowUp {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for FollowUp {}

impl PartialOrd for FollowUp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for FollowUp {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.spec.arrival, self.order).cmp(&(other.spec.arrival, other.order))
    }
}
