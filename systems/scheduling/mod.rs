//! Scheduling: each engine that is due ends its steps, lets go of what has finished or timed out, takes in what was
//! delivered, and forms its next batch.
//!
//! Who is in the batch is the policy's to say (`policies`), by the verbs of `boundary`. Nothing here walks the decoding
//! sequences: they are counted by the block position that they are at.

mod boundary;
mod handoffs;
mod intake;
mod intervals;
mod policies;
mod queue;
mod remove;
mod step_end;

use std::cmp::Reverse;

use bevy_ecs::prelude::*;
use oracle_components::SimTime;
use oracle_components::request::Request;
use oracle_components::sequence::{Phase, Sequence};

use crate::transfer::accrue;
use crate::world::calendar::advance;
use crate::world::{EngineParts, EngineView, Shared};
use crate::{deadlines, running};

pub use boundary::{Boundary, Candidate};
pub use handoffs::{NEXT_INSTANT, load_blocks};
use intake::{enqueue_delivered, expire};
use intervals::post_preemptions;
pub use policies::{BatchPolicy, EnginePolicy, Vllm, exceeds_context, exceeds_pool};
pub(crate) use policies::{Rules, shipped};
pub use queue::empty_queues;
pub use remove::{Removal, remove};
pub use step_end::{Finished, apply_steps};
use step_end::{end_finished, mute_expired, release_leaving};

/// Moves the clock to the next boundary, ends the steps of the engines that are due, and forms their next batches.
pub fn schedule_batches(
    mut shared: ResMut<Shared>,
    mut engines: Query<(EngineParts, &mut EnginePolicy)>,
    mut sequences: Query<&'static mut Sequence>,
    requests: Query<&'static Request>,
    mut finished: Local<Finished>,
) {
    let Shared { calendar, ports, transfer_flag, completion_flag, handoff_flag, .. } = &mut *shared;
    advance(calendar);
    for &(now, index) in &calendar.due {
        let engine = calendar.engines[index as usize];
        let (parts, mut policy) = engines.get_mut(engine).expect("engines live as long as the world");
        let mut parts = parts.open();
        let policy = &mut *policy;
        mute_expired(&mut parts, &mut sequences);
        policy.advance(apply_steps(&mut parts, &mut sequences, ports, &mut finished));
        end_finished(&mut parts, &mut sequences, &requests, &mut finished);
        if parts.handoffs.is_some() {
            handoffs::let_go_of_computed(&mut parts, &mut sequences, now);
        }
        if parts.clock.scheduled_ahead {
            form_ahead(&mut parts, policy, &mut sequences, &requests, now);
        } else {
            handoffs::end_holds(&mut parts, now);
            enqueue_delivered(&mut parts, &sequences, now);
            expire(&mut parts, &mut sequences, &requests, now);
            form_batch(&mut parts, policy, sequences.reborrow(), &requests, now);
        }
        drop_stale_heads(&mut parts, &sequences);
        if handoffs::is_to_be_handed_off(&parts) {
            handoff_flag.raise();
        }
        let idle = parts.running.count == 0;
        let is_posted = parts.ledger.0.preemptions == parts.series.preemptions_posted;
        if idle && !is_posted && parts.batch.orphans.is_empty() {
            post_preemptions(&mut parts, now, ports);
        }
        if !accrue(parts.step_output, parts.engine, calendar.series_interval) || idle {
            transfer_flag.raise();
        }
        if !parts.step_output.ended.is_empty() {
            completion_flag.raise();
            if parts.step_output.ended.iter().any(|(_, end)| end.whole_response_tokens.is_some()) {
                transfer_flag.raise();
            }
        }
    }
    if !ports.rows.0.is_empty() {
        completion_flag.raise();
    }
}

/// The batch of the step that starts at `now`, as it was formed when the step that has ended began: who has ended since has
/// slot and blocks in it. If nothing runs on, it is formed anew with all that is known now.
#[inline(never)]
fn form_ahead(
    parts: &mut EngineView<'_>,
    policy: &mut EnginePolicy,
    sequences: &mut Query<'_, '_, &'static mut Sequence>,
    requests: &Query<'_, '_, &'static Request>,
    now: SimTime,
) {
    let until = running::seen_until(parts.clock, now);
    enqueue_delivered(parts, sequences, until);
    expire(parts, sequences, requests, until);
    form_once(parts, policy, sequences.reborrow(), requests, now);
    let is_empty = parts.running.decodes == 0 && parts.batch.chunks.is_empty();
    let left = release_leaving(parts, sequences, requests);
    let released = handoffs::end_holds(parts, now);
    let expired = expire(parts, sequences, requests, now);
    if is_empty {
        parts.clock.scheduled_ahead = false;
        enqueue_delivered(parts, sequences, now);
        expire(parts, sequences, requests, now);
        form_batch(parts, policy, sequences.reborrow(), requests, now);
    } else if left || released || expired {
        let seats = parts.engine.scheduler.max_num_seqs;
        if parts.queues.waiting_count == 0 && parts.running.count < seats {
            parts.batch.hold = None;
        }
        // What they gave back, the next boundary can give.
        let standing = &mut parts.batch.standing;
        standing.sees_deliveries = true;
        if parts.queues.waiting_count > 0 || parts.handoffs.is_some() {
            parts.batch.standing.steps = 1;
        }
    }
}

/// The batch of the step that starts at `now`, as the engine's policy will have it.
fn form_batch(
    parts: &mut EngineView<'_>,
    policy: &mut EnginePolicy,
    mut sequences: Query<'_, '_, &'static mut Sequence>,
    requests: &Query<'_, '_, &'static Request>,
    now: SimTime,
) {
    while form_once(parts, policy, sequences.reborrow(), requests, now) {}
}

/// Forms the batch: whether it is empty although something was preempted, so that another try finds blocks.
fn form_once(
    parts: &mut EngineView<'_>,
    policy: &mut EnginePolicy,
    sequences: Query<'_, '_, &'static mut Sequence>,
    requests: &Query<'_, '_, &'static Request>,
    now: SimTime,
) -> bool {
    parts.clock.boundary = now;
    let mut boundary = Boundary::new(parts, sequences, requests, now);
    let standing = policy.form(&mut boundary);
    boundary.see_to_decodes(u64::MAX);
    let again = boundary.is_to_be_formed_again();
    assert!(standing.steps > 0 && standing.until > now, "a batch stands for a step, and a policy's timer lies ahead");
    let hold = boundary.hold();
    parts.batch.standing = standing;
    parts.batch.hold = hold;
    let ledger = &mut parts.ledger.0;
    ledger.running_peak = ledger.running_peak.max(u64::from(parts.running.count));
    again
}

/// Drops sequences that have left from the head of what costing looks at: who finishes next, and whose deadline is next.
fn drop_stale_heads(parts: &mut EngineView<'_>, sequences: &Query<&mut Sequence>) {
    // Mostly there are none, and a look at a sequence is one at cold memory.
    while parts.running.stale_entries > 0
        && let Some(&Reverse(finish)) = parts.running.last_token_queue.peek()
    {
        if running::finishes_at(sequences, finish) {
            break;
        }
        parts.running.last_token_queue.pop();
        parts.running.stale_entries -= 1;
    }
    let lives =
        |id, entity| sequences.get(entity).is_ok_and(|sequence| sequence.id == id && sequence.phase != Phase::Ended);
    while deadlines::earliest(parts.queues).is_some_and(|(_, id, entity)| !lives(id, entity)) {
        deadlines::drop_earliest(parts.queues);
    }
}
