//! The clock: which engine is due next, and the move to the next event.
//!
//! At one instant requests arrive first; then each engine that is due ends its steps and schedules. So a tick takes in all
//! that arrives up to the next boundary, and moves the clock there. Where engines are windowed a whole window of
//! arrivals is in beforehand, and each engine goes through it at its own time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use oracle_components::SimTime;
use oracle_components::calendar::{Calendar, Coupling};
use oracle_components::follow_ups::FollowUps;
use oracle_components::request::RequestSpec;
use oracle_components::scenario::{EngineIndex, Scenario};

/// The beginning of a world with these engines of a scenario: nothing has happened, and `first` is the first to arrive.
#[must_use]
pub fn beginning(
    coupling: Coupling,
    scenario: &Scenario,
    engines: Range<usize>,
    first: Option<RequestSpec>,
) -> Calendar {
    let first_engine = engines.start as EngineIndex;
    let engines = engines.len();
    Calendar {
        now: SimTime::ZERO,
        due: Vec::new(),
        coupling,
        window: SimTime::ZERO,
        series_interval: scenario.series_interval,
        engines: Vec::new(),
        first_engine,
        horizon: scenario.horizon.unwrap_or(SimTime::NEVER),
        stopped: false,
        next_boundaries: vec![SimTime::NEVER; engines],
        event_queue: BinaryHeap::new(),
        last_arrival: SimTime::ZERO,
        next_request: first,
        follow_ups: FollowUps::default(),
        next_id: 0,
        loads: vec![0; engines],
        ended: [0; 4],
        last_completion: SimTime::ZERO,
    }
}

/// Sets an engine's next boundary.
pub fn wake_at(calendar: &mut Calendar, engine: u32, at: SimTime) {
    if calendar.next_boundaries[engine as usize] != at {
        calendar.next_boundaries[engine as usize] = at;
        if at != SimTime::NEVER && calendar.coupling == Coupling::Lockstep {
            calendar.event_queue.push(Reverse((at, engine)));
        }
    }
}

/// The next boundary of any engine; [`SimTime::NEVER`] if there is none. Looks at every engine if they are windowed,
/// which is once a window.
pub fn next_boundary(calendar: &mut Calendar) -> SimTime {
    if calendar.coupling == Coupling::Windowed {
        return calendar.next_boundaries.iter().copied().min().unwrap_or(SimTime::NEVER);
    }
    while let Some(&Reverse((at, engine))) = calendar.event_queue.peek() {
        if calendar.next_boundaries[engine as usize] == at {
            return at;
        }
        calendar.event_queue.pop();
    }
    SimTime::NEVER
}

/// The next arrival; [`SimTime::NEVER`] if there is none.
#[must_use]
pub fn next_arrival(calendar: &Calendar) -> SimTime {
    let open_loop = calendar.next_request.as_ref().map_or(SimTime::NEVER, |spec| spec.arrival);
    let follow_up = calendar.follow_ups.next_arrival().unwrap_or(SimTime::NEVER);
    open_loop.min(follow_up)
}

/// Moves the clock to the next boundary, if nothing arrives before, and lists the engines that are due then.
pub fn advance(calendar: &mut Calendar) {
    calendar.due.clear();
    match calendar.coupling {
        Coupling::Lockstep => {
            let (arrival, boundary) = (next_arrival(calendar), next_boundary(calendar));
            if boundary < arrival && boundary <= calendar.horizon {
                advance_to(calendar, boundary);
            } else {
                let next = arrival.min(boundary);
                calendar.stopped = next == SimTime::NEVER || next > calendar.horizon;
            }
        }
        Coupling::Windowed => {
            advance_within_window(calendar);
            calendar.stopped = calendar.due.is_empty();
        }
    }
}

/// Moves the clock to the next boundary.
fn advance_to(calendar: &mut Calendar, next: SimTime) {
    calendar.now = next;
    while next_boundary(calendar) == next {
        let Some(Reverse((at, engine))) = calendar.event_queue.pop() else { break };
        calendar.next_boundaries[engine as usize] = SimTime::NEVER;
        calendar.due.push((at, engine));
    }
}

/// Lists the engines with a boundary within the window.
fn advance_within_window(calendar: &mut Calendar) {
    let until = calendar.window.min(calendar.horizon);
    let Calendar { next_boundaries, due, .. } = calendar;
    for (wake, engine) in next_boundaries.iter_mut().zip(0..) {
        if *wake <= until && *wake != SimTime::NEVER {
            due.push((*wake, engine));
            *wake = SimTime::NEVER;
        }
    }
    if let Some(first) = due.iter().map(|&(at, _)| at).min() {
        calendar.now = first;
    }
}
