//! The calendar: the clock, who is due when, what is to arrive, what has ended.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use bevy_ecs::prelude::Entity;

use crate::follow_ups::FollowUps;
use crate::request::{RequestId, RequestSpec};
use crate::scenario::EngineIndex;
use crate::time::SimTime;

/// How the engines of a world depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coupling {
    /// What one engine does may touch another at once: a follow-up, a load that the router looks at, a link that whole
    /// responses queue on. They meet at every boundary.
    Lockstep,
    /// Nothing passes between engines but the arrivals, whose order is known beforehand. Each goes its own way through a
    /// window of arrivals, a boundary of each a tick.
    Windowed,
}

/// Simulated time: what is now, what comes next, what has been.
#[derive(Clone, Debug)]
pub struct Calendar {
    /// Now: the last arrival or, once all that comes before are in, the first boundary of those that are due.
    pub now: SimTime,
    /// Engines at a boundary, and when: in the order of their positions in `engines`.
    pub due: Vec<(SimTime, u32)>,
    /// Whether engines may be ahead of each other.
    pub coupling: Coupling,
    /// If engines are windowed: everything that arrives up to here is in, and they may come this far.
    pub window: SimTime,
    /// Width of the intervals of the time series.
    pub series_interval: SimTime,
    /// Engines of this world.
    pub engines: Vec<Entity>,
    /// Index of the first of them in the scenario.
    pub first_engine: EngineIndex,
    /// Nothing happens after this.
    pub horizon: SimTime,
    /// Nothing is left to happen: at all, or up to the horizon or the end of the window.
    pub stopped: bool,
    /// Each engine's next boundary; [`SimTime::NEVER`] if it has none.
    pub next_boundaries: Vec<SimTime>,
    /// The same as a queue of events, if engines run in lockstep; entries that differ from `next_boundaries` are stale.
    pub event_queue: BinaryHeap<Reverse<(SimTime, u32)>>,
    /// The last arrival that is in.
    pub last_arrival: SimTime,
    /// The next request of the open-loop workload.
    pub next_request: Option<RequestSpec>,
    /// Requests that follow from another's end.
    pub follow_ups: FollowUps,
    /// The next request's number: requests that have arrived so far.
    pub next_id: RequestId,
    /// Requests in transit, waiting and running, by engine.
    pub loads: Vec<u32>,
    /// Requests that ended, by status.
    pub ended: [u64; 4],
    /// The latest completion.
    pub last_completion: SimTime,
}
