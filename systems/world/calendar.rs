//! The clock: which engine is due next, and the move to the next event.
//!
//! At one instant requests arrive first; then each engine that is due ends its steps and schedules. So a tick takes in all
//! that arrives up to the next boundary, and moves the clock there. Where engines are loose a whole window of arrivals is in
//! beforehand, and each engine goes through it at its own time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use oracle_components::SimTime;
use oracle_components::request::RequestSpec;
use oracle_components::resources::{Coupling, Timeline};
use oracle_components::scenario::{EngineIndex, Scenario};

/// The beginning of a world with these engines of a scenario: nothing has happened, and `first` is the first to arrive.
#[must_use]
pub fn beginning(
    coupling: Coupling,
    scenario: &Scenario,
    engines: Range<usize>,
    first: Option<RequestSpec>,
) -> Timeline {
    let first_engine = engines.start as EngineIndex;
    let engines = engines.len();
    Timeline {
        now: SimTime::ZERO,
        due: Vec::new(),
        coupling,
        window: SimTime::ZERO,
        series_interval: scenario.series_interval,
        engines: Vec::new(),
        first_engine,
        horizon: scenario.horizon.unwrap_or(SimTime::NEVER),
        stopped: false,
        wakes: vec![SimTime::NEVER; engines],
        boundaries: BinaryHeap::new(),
        last_arrival: SimTime::ZERO,
        next_request: first,
        follow_ups: BinaryHeap::new(),
        follow_ups_returned: 0,
        next_id: 0,
        loads: vec![0; engines],
        ended: [0; 4],
        last_completion: SimTime::ZERO,
    }
}

/// Sets an engine's next boundary.
pub fn wake_at(timeline: &mut Timeline, engine: u32, at: SimTime) {
    if timeline.wakes[engine as usize] != at {
        timeline.wakes[engine as usize] = at;
        if at != SimTime::NEVER && timeline.coupling == Coupling::Tight {
            timeline.boundaries.push(Reverse((at, engine)));
        }
    }
}

/// The next boundary of any engine; [`SimTime::NEVER`] if there is none. Looks at every engine if they are loose, which
/// is once a window.
pub fn next_boundary(timeline: &mut Timeline) -> SimTime {
    if timeline.coupling == Coupling::Loose {
        return timeline.wakes.iter().copied().min().unwrap_or(SimTime::NEVER);
    }
    while let Some(&Reverse((at, engine))) = timeline.boundaries.peek() {
        if timeline.wakes[engine as usize] == at {
            return at;
        }
        timeline.boundaries.pop();
    }
    SimTime::NEVER
}

/// The next arrival; [`SimTime::NEVER`] if there is none.
#[must_use]
pub fn next_arrival(timeline: &Timeline) -> SimTime {
    let open_loop = timeline.next_request.as_ref().map_or(SimTime::NEVER, |spec| spec.arrival);
    let follow_up = timeline.follow_ups.peek().map_or(SimTime::NEVER, |next| next.0.spec.arrival);
    open_loop.min(follow_up)
}

/// Moves the clock to the next boundary, if it is not beyond the horizon, and lists the engines that are due then.
pub fn advance(timeline: &mut Timeline) {
    let next = next_boundary(timeline);
    if next == SimTime::NEVER || next > timeline.horizon {
        return;
    }
    timeline.now = next;
    while next_boundary(timeline) == next {
        let Some(Reverse((at, engine))) = timeline.boundaries.pop() else { break };
        timeline.wakes[engine as usize] = SimTime::NEVER;
        timeline.due.push((at, engine));
    }
}

/// Lists the engines with a boundary within the window.
pub fn advance_within_window(timeline: &mut Timeline) {
    let until = timeline.window.min(timeline.horizon);
    let Timeline { wakes, due, .. } = timeline;
    for (wake, engine) in wakes.iter_mut().zip(0..) {
        if *wake <= until && *wake != SimTime::NEVER {
            due.push((*wake, engine));
            *wake = SimTime::NEVER;
        }
    }
    if let Some(first) = due.iter().map(|&(at, _)| at).min() {
        timeline.now = first;
    }
}
