//! Scheduling: each engine that is due ends its steps, lets go of what has finished or timed out, takes in what was
//! delivered, and forms its next batch.
//!
//! Follows vLLM V1's scheduler, as SEMANTICS.md states it: decodes first, then running prefills, then admissions, unless
//! something was preempted. Nothing here walks the decoding sequences: they are counted by the block position that they
//! are at.

mod batch;
mod leave;
mod queue;
mod settle;

use std::cmp::Reverse;

use bevy_ecs::prelude::*;
use oracle_components::SimTime;
use oracle_components::engine::Admission;
use oracle_components::record::{Reason, Status};
use oracle_components::request::Request;
use oracle_components::scenario::PrefixCaching;
use oracle_components::sequence::{Phase, Sequence};

use crate::kv::Names;
use crate::retire::End;
use crate::transfer::keep;
use crate::world::{EngineParts, EngineView, Hub};

pub use leave::{Departure, leave};
pub use queue::{empty_queues, nothing_running};
use settle::let_finished_go;
pub use settle::{Finished, end_steps};

/// Ends the steps of the engines that are due, and forms their next batches.
pub fn schedule_batches(
    mut hub: ResMut<Hub>,
    mut engines: Query<EngineParts>,
    mut sequences: Query<&'static mut Sequence>,
    requests: Query<&'static Request>,
    mut finished: Local<Finished>,
) {
    let Hub { timeline, doors, transfer_bell, completion_bell, .. } = &mut *hub;
    for &(now, index) in &timeline.due {
        let engine = timeline.engines[index as usize];
        let mut parts = engines.get_mut(engine).expect("engines live as long as the world").open();
        end_steps(&mut parts, &mut sequences, doors, &mut finished);
        let_finished_go(&mut parts, &mut sequences, &requests, &mut finished);
        take_in(&mut parts, &sequences, now);
        expire(&mut parts, &mut sequences, &requests, now);
        batch::form(&mut parts, sequences.reborrow(), &requests, now);
        forget_those_gone(&mut parts, &sequences);
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

/// What names a sequence's KV blocks on an engine.
#[must_use]
pub fn names<'a>(request: &'a Request, caching: PrefixCaching, block_tokens: u32) -> Names<'a> {
    let segments: &[_] = if caching == PrefixCaching::Full { &request.spec.prefix } else { &[] };
    Names { segments, tail_key: request.spec.tail_key, block_tokens }
}

/// Moves what has been delivered to the waiting queue.
fn take_in(parts: &mut EngineView<'_>, sequences: &Query<&mut Sequence>, now: SimTime) {
    let queues = &mut *parts.queues;
    while let Some(&(_, entity)) = queues.inbox.front().filter(|&&(delivered, _)| delivered <= now) {
        queues.inbox.pop_front();
        let sequence = sequences.get(entity).expect("a delivered sequence lives");
        if sequence.deadline != SimTime::NEVER {
            queues.inbox_with_deadline -= 1;
            queues.deadlines.push(Reverse((sequence.deadline, sequence.id, entity)));
        }
        queue::join(queues, sequence, entity, queue::Place::Back);
    }
    parts.ledger.0.waiting_peak = parts.ledger.0.waiting_peak.max(u64::from(parts.queues.waiting_count));
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
        if sequence.id != id {
            continue;
        }
        let reason = match sequence.phase {
            Phase::Waiting => Reason::TimeoutWaiting,
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
        if settle::finishes_at(sequences, finish) {
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

/// Whether the batch can go on by itself until a sequence leaves it.
fn settled(waiting: u32, preempted: bool, budget: u32) -> Admission {
    if preempted || (waiting > 0 && budget == 0) { Admission::Open } else { Admission::Settled }
}
