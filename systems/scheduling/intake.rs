//! What comes in at a boundary, and who has given up by then.

use super::remove::{Removal, remove};
use super::{handoffs, queue};
use crate::deadlines;
use crate::world::EngineView;
use bevy_ecs::prelude::Query;
use oracle_components::SimTime;
use oracle_components::engine::{Deadline, Queues};
use oracle_components::record::{Ending, Reason, Status};
use oracle_components::request::Request;
use oracle_components::sequence::{Phase, Sequence};
/// Moves what has been delivered by `until` to the waiting queue.
pub fn enqueue_delivered(parts: &mut EngineView<'_>, sequences: &Query<&mut Sequence>, until: SimTime) {
    let queues = &mut *parts.queues;
    while let Some(&(_, entity)) = queues.in_transit.front().filter(|&&(delivered, _)| delivered <= until) {
        queues.in_transit.pop_front();
        let sequence = sequences.get(entity).expect("a delivered sequence lives");
        if sequence.deadline != SimTime::NEVER {
            queues.in_transit_with_deadline -= 1;
            deadlines::list(queues, (sequence.deadline, sequence.id, entity));
        }
        queue::join(queues, sequence, entity, queue::Place::Back);
    }
    parts.ledger.0.waiting_peak = parts.ledger.0.waiting_peak.max(u64::from(parts.waiting_or_loading()));
}

/// The earliest deadline of those that are listed and those that were when it was over.
#[inline]
fn next_deadline(queues: &Queues) -> Option<Deadline> {
    let listed = deadlines::earliest(queues);
    match queues.given_up.front() {
        Some(&given_up) if listed.is_none_or(|listed| given_up < listed) => Some(given_up),
        _ => listed,
    }
}

/// Takes the sequence with the earliest deadline off the list, if that is over by `now`.
fn next_listed(queues: &mut Queues, now: SimTime) -> Option<Deadline> {
    let next = next_deadline(queues).filter(|&(deadline, ..)| deadline <= now)?;
    if queues.given_up.front() == Some(&next) {
        queues.given_up.pop_front();
    } else {
        deadlines::drop_earliest(queues);
    }
    Some(next)
}

/// Takes the waiting and running sequences whose clients have given up by `now` off the engine: whether there were any.
#[inline]
pub fn expire(
    parts: &mut EngineView<'_>,
    sequences: &mut Query<&mut Sequence>,
    requests: &Query<&'static Request>,
    now: SimTime,
) -> bool {
    // Mostly nobody has.
    next_deadline(parts.queues).is_some_and(|(deadline, ..)| deadline <= now)
        && expire_by(parts, sequences, requests, now)
}

#[inline(never)]
fn expire_by(
    parts: &mut EngineView<'_>,
    sequences: &mut Query<&mut Sequence>,
    requests: &Query<&'static Request>,
    now: SimTime,
) -> bool {
    let mut any = false;
    let mut loading = Vec::new();
    while let Some((deadline, id, entity)) = next_listed(parts.queues, now) {
        let mut sequence = sequences.get_mut(entity).expect("sequences live as long as the world");
        // It may have ended, or gone on to another engine.
        if sequence.id != id || sequence.engine != parts.hardware.engine {
            continue;
        }
        if sequence.phase == Phase::Loading && !handoffs::may_expire(&sequence, deadline) {
            match handoffs::loaded_here(&sequence) {
                Some(loaded) => deadlines::list(parts.queues, (loaded, id, entity)),
                None if handoffs::loads_here(&sequence) => loading.push((deadline, id, entity)),
                // It is about to be handed off; the decode engine will look.
                None => {}
            }
            continue;
        }
        let deadline = sequence.deadline;
        let reason = match sequence.phase {
            Phase::Waiting | Phase::Loading => Reason::TimeoutWaiting,
            Phase::Prefill | Phase::Decode | Phase::Paused | Phase::Leaving => Reason::TimeoutRunning,
            Phase::Ended => continue,
        };
        remove(parts, &mut sequence, entity, requests, Removal::Ended);
        let end = Ending { completion: deadline, status: Status::Timeout, reason, whole_response_tokens: None };
        parts.step_output.ended.push((entity, end));
        any = true;
    }
    for deadline in loading {
        deadlines::list(parts.queues, deadline);
    }
    any
}
