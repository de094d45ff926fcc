//! The clock: which engine is due next, and the move to the next event.
//!
//! At one instant steps end first, then requests arrive, then engines schedule. So the clock stops at an arrival only if
//! it comes strictly before the next boundary; the arrivals of a boundary's own instant are taken in the tick after it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use bevy_ecs::prelude::*;
use oracle_components::SimTime;
use oracle_components::resources::{Arrivals, Clock, EngineEvents};
use oracle_components::scenario::EngineIndex;

/// No engine has anything to do.
#[must_use]
pub fn no_events(engines: usize) -> EngineEvents {
    EngineEvents {
        wakes: vec![SimTime::NEVER; engines],
        queue: BinaryHeap::new(),
    }
}

/// Sets an engine's next boundary.
pub fn wake_at(events: &mut EngineEvents, engine: EngineIndex, at: SimTime) {
    if events.wakes[engine as usize] != at {
        events.wakes[engine as usize] = at;
        if at != SimTime::NEVER {
            events.queue.push(Reverse((at, engine)));
        }
    }
}

/// The next boundary of any engine; [`SimTime::NEVER`] if there is none.
pub fn next_boundary(events: &mut EngineEvents) -> SimTime {
    while let Some(&Reverse((at, engine))) = events.queue.peek() {
        if events.wakes[engine as usize] == at {
            return at;
        }
        events.queue.pop();
    }
    SimTime::NEVER
}

/// The next arrival; [`SimTime::NEVER`] if there is none.
#[must_use]
pub fn next_arrival(arrivals: &Arrivals) -> SimTime {
    let open_loop = arrivals
        .next
        .as_ref()
        .map_or(SimTime::NEVER, |spec| spec.arrival);
    let follow_up = arrivals
        .follow_ups
        .peek()
        .map_or(SimTime::NEVER, |next| next.0.spec.arrival);
    open_loop.min(follow_up)
}

/// Moves the clock to the next event, and lists the engines that are due then.
pub fn advance_clock(
    mut clock: ResMut<Clock>,
    mut events: ResMut<EngineEvents>,
    arrivals: Res<Arrivals>,
) {
    clock.due.clear();
    let boundary = next_boundary(&mut events);
    let next = boundary.min(next_arrival(&arrivals));
    if next == SimTime::NEVER || next > clock.horizon {
        clock.stopped = true;
        return;
    }
    debug_assert!(next >= clock.now, "time never goes back");
    clock.now = next;
    while next_boundary(&mut events) == next {
        let Some(Reverse((_, engine))) = events.queue.pop() else {
            break;
        };
        events.wakes[engine as usize] = SimTime::NEVER;
        clock.due.push(engine);
    }
}
