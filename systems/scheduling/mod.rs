//! Scheduling: each engine that is due ends its steps, lets go of what has finished or timed out, takes in what was
//! delivered, and forms its next batch.
//!
//! Follows vLLM V1's scheduler, as SEMANTICS.md states it: decodes first, then running prefills, then admissions, unless
//! something was preempted. Nothing here walks the decoding sequences: they are counted by the block position that they
//! are at.

mod batch;
mod queue;
mod remote;
mod remove;
mod step_end;

use std::cmp::Reverse;

use bevy_ecs::prelude::*;
use oracle_components::SimTime;
use oracle_components::record::{End, Reason, Status};
use oracle_components::request::Request;
use oracle_components::sequence::{Phase, Sequence};

use crate::running;
use crate::transfer::keep;
use crate::world::{EngineParts, EngineView, Hub};

pub use queue::empty_queues;
pub use remote::load_blocks;
pub use remove::{Departure, leave};
use step_end::let_finished_go;
pub use step_end::{Finished, end_steps};

/// Ends the steps of the engines that are due, and forms their next batches.
pub fn schedule_batches(
    mut hub: ResMut<Hub>,
    mut engines: Query<EngineParts>,
    mut sequences: Query<&'static mut Sequence>,
    requests: Query<&'static Request>,
    mut finished: Local<Finished>,
) {
    let Hub { timeline, doors, transfer_bell, completion_bell, handover_bell, .. } = &mut *hub;
    for &(now, index) in &timeline.due {
        let engine = timeline.engines[index as usize];
        let mut parts = engines.get_mut(engine).expect("engines live as long as the world").open();
        end_steps(&mut parts, &mut sequences, doors, &mut finished);
        let_finished_go(&mut parts, &mut sequences, &requests, &mut finished);
        if parts.remote.is_some() {
            remote::pass_boundary(&mut parts, &mut sequences, now);
        }
        let until = seen_until(&parts, now);
        take_in(&mut parts, &sequences, until);
        expire(&mut parts, &mut sequences, &requests, now);
        batch::form(&mut parts, sequences.reborrow(), &requests, now);
        if until < now && parts.running.count == 0 {
            take_in(&mut parts, &sequences, now);
            expire(&mut parts, &mut sequences, &requests, now);
            batch::form(&mut parts, sequences.reborrow(), &requests, now);
        }
        forget_those_gone(&mut parts, &sequences);
        if remote::is_to_be_handed_over(&parts) {
            handover_bell.ring();
        }
        let idle = parts.running.count == 0;
        if !keep(parts.brought, parts.engine, timeline.series_interval) || idle {
            transfer_bell.ring();
        }
        if !parts.brought.ended.is_empty() {
            completion_bell.ring();
            if parts.brought.ended.iter().any(|(_, end)| end.whole_response_tokens.is_some()) {
                transfer_bell.ring();
            }
        }
    }
    if !doors.rows.0.is_empty() {
        completion_bell.ring();
    }
}

/// By when a request has to be delivered to be seen at the boundary `now`: the next step of a batch that goes on was
/// scheduled when the last one began, if scheduling is asynchronous.
#[must_use]
pub fn seen_until(parts: &EngineView<'_>, now: SimTime) -> SimTime {
    let goes_on = parts.engine.scheduler.async_scheduling && parts.running.count > 0;
    if goes_on { parts.clock.last_step } else { now }
}

/// Moves what has been delivered by `until` to the waiting queue.
fn take_in(parts: &mut EngineView<'_>, sequences: &Query<&mut Sequence>, until: SimTime) {
    let queues = &mut *parts.queues;
    while let Some(&(_, entity)) = queues.inbox.front().filter(|&&(delivered, _)| delivered <= until) {
        queues.inbox.pop_front();
        let sequence = sequences.get(entity).expect("a delivered sequence lives");
        if sequence.deadline != SimTime::NEVER {
            queues.inbox_with_deadline -= 1;
            queues.deadlines.push(Reverse((sequence.deadline, sequence.id, entity)));
        }
        queue::join(queues, sequence, entity, queue::Place::Back);
    }
    parts.ledger.0.waiting_peak = parts.ledger.0.waiting_peak.max(u64::from(parts.waiting_or_loading()));
}

/// Takes the waiting and running sequences whose clients have given up off the engine.
fn expire(
    parts: &mut EngineView<'_>,
    sequences: &mut Query<&mut Sequence>,
    requests: &Query<&'static Request>,
    now: SimTime,
) {
    while let Some(&Reverse((deadline, id, entity))) = parts.queues.deadlines.peek() {
        if deadline > now {
            return;
        }
        parts.queues.deadlines.pop();
        let mut sequence = sequences.get_mut(entity).expect("sequences live as long as the world");
        // It may have ended, or gone on to another engine.
        if sequence.id != id || sequence.engine != parts.hardware.engine {
            continue;
        }
        if sequence.phase == Phase::Loading && !remote::may_expire(parts, &sequence, entity, deadline) {
            continue;
        }
        let deadline = sequence.deadline;
        let reason = match sequence.phase {
            Phase::Waiting | Phase::Loading => Reason::TimeoutWaiting,
            Phase::Prefill | Phase::Decode => Reason::TimeoutRunning,
            Phase::Ended => continue,
        };
        leave(parts, &mut sequence, entity, requests, Departure::Ended);
        let end = End { completion: deadline, status: Status::Timeout, reason, whole_response_tokens: None };
        parts.brought.ended.push((entity, end));
    }
}

/// Drops sequences that have left from the head of what costing looks at: who finishes next, and whose deadline is next.
fn forget_those_gone(parts: &mut EngineView<'_>, sequences: &Query<&mut Sequence>) {
    while let Some(&Reverse(finish)) = parts.running.finishes.peek() {
        if running::finishes_at(sequences, finish) {
            break;
        }
        parts.running.finishes.pop();
    }
    let lives =
        |id, entity| sequences.get(entity).is_ok_and(|sequence| sequence.id == id && sequence.phase != Phase::Ended);
    while parts.queues.deadlines.peek().is_some_and(|&Reverse((_, id, entity))| !lives(id, entity)) {
        parts.queues.deadlines.pop();
    }
}
