//! The steps ahead of a batch that stays as it is.

use crate::costing::{CostModel, PricedBatch, StepShape};
use crate::deadlines;
use crate::kv;
use crate::running::{blocks_needed, classes_from, next_finish, seen_until};
use bevy_ecs::query::QueryData;
use oracle_components::SimTime;
use oracle_components::disaggregation::Handoffs;
use oracle_components::engine::{Batch, Epoch, Queues, Running, StepClock};
use oracle_components::kv::KvPool;
/// What costing sees of an engine.
#[derive(QueryData)]
#[query_data(mutable)]
pub struct CostingParts {
    pub clock: &'static StepClock,
    pub queues: &'static Queues,
    pub running: &'static Running,
    pub pool: &'static KvPool,
    pub batch: &'static Batch,
    pub epoch: &'static mut Epoch,
    pub cost: &'static mut CostModel,
    pub handoffs: Option<&'static Handoffs>,
}

/// The shape of the batch, and what its decodes attend to in the first step.
fn shape(parts: &CostingPartsItem<'_, '_>) -> StepShape {
    let mut shape = StepShape {
        decode_sequences: parts.running.decodes,
        sampled_rows: parts.running.decodes,
        ..StepShape::default()
    };
    for chunk in parts.batch.chunks.iter().chain(&parts.batch.orphans) {
        shape.sampled_rows += u32::from(chunk.completes);
        if chunk.is_decode {
            shape.decode_sequences += 1;
            continue;
        }
        let (tokens, context) = (u64::from(chunk.tokens), u64::from(chunk.context));
        shape.prefill_tokens += chunk.tokens;
        shape.prefill_sequences += 1;
        shape.encoder_tokens += u64::from(chunk.encoder_tokens);
        shape.prefill_pairs += tokens * context + tokens * (tokens + 1) / 2;
        shape.prefill_context_tokens += context + tokens;
        shape.prefill_longest_context = shape.prefill_longest_context.max(chunk.context + chunk.tokens);
    }
    shape
}

/// Prices the batch and computes the ends of its steps.
pub fn run_ahead(parts: &mut CostingPartsItem<'_, '_>, next_delivery: SimTime) {
    let has_chunks = !(parts.batch.chunks.is_empty() && parts.batch.orphans.is_empty());
    parts.cost.batch = if has_chunks {
        PricedBatch::Mixed(parts.cost.prices.step.prepare(&shape(parts)))
    } else {
        PricedBatch::DecodeOnly(parts.running.decodes)
    };
    let price = parts.cost.price();
    let running = parts.running;
    let decodes = u64::from(running.decodes);
    let epoch = &mut *parts.epoch;
    epoch.step_ends.clear();
    let first_tokens = parts.handoffs.is_some_and(|handoffs| !handoffs.first_step.is_empty());
    let standing = parts.batch.standing;
    let most_steps = if !has_chunks && !first_tokens {
        let until_finish = next_finish(running).saturating_sub(parts.clock.steps);
        until_finish.min(epoch.steps_ahead as u64).min(standing.steps)
    } else {
        1
    };
    debug_assert!(most_steps > 0, "a sequence that has its target has left");
    let look_out = parts.queues.in_transit_with_deadline > 0 || standing.sees_deliveries;
    let front = parts.queues.in_transit.front().filter(|_| look_out);
    let deliveries = front.map_or(SimTime::NEVER, |&(delivered, _)| delivered);
    let next_delivery = if look_out { next_delivery } else { SimTime::NEVER };
    let seen = seen_until(parts.clock, parts.clock.boundary);
    let next_load = parts.handoffs.map_or(SimTime::NEVER, |handoffs| next_event(handoffs, seen));
    let look_up_at = deliveries.min(next_delivery).min(next_load).min(standing.until);
    let next_deadline = next_deadline(parts.queues);
    let mut free = kv::free_blocks(parts.pool);
    let mut context = running.decode_context + decodes + parts.batch.decode_context_apart();
    let mut end = parts.clock.boundary;
    let mut classes = classes_from(running, parts.clock.steps + 1);
    let needs_no_look = running
        .by_blocks
        .as_ref()
        .is_some_and(|classes| classes.most_taken(decodes).saturating_mul(most_steps) <= free);
    for step in 0..most_steps {
        if step > 0 && !needs_no_look {
            let need = match &running.by_blocks {
                None => u64::from(*classes.next().expect("classes go round")),
                Some(_) => blocks_needed(running, parts.clock.steps + step),
            };
            if need > free {
                break;
            }
            free -= need;
        }
        let step_end = end + price.duration(context);
        // The step in which somebody gives up is an epoch of its own: its token does not come.
        if step > 0 && step_end >= next_deadline {
            break;
        }
        end = step_end;
        epoch.step_ends.push(end);
        context += decodes;
        if end >= look_up_at.min(next_deadline) {
            break;
        }
    }
    epoch.steps = epoch.step_ends.len();
    debug_assert!(epoch.steps > 0, "an epoch has a step");
}

/// The earliest deadline of a sequence that lives.
fn next_deadline(queues: &Queues) -> SimTime {
    deadlines::earliest(queues).map_or(SimTime::NEVER, |(deadline, ..)| deadline)
}

/// When the next load or hold ends that was not seen, being later than `seen`.
pub fn next_event(handoffs: &Handoffs, seen: SimTime) -> SimTime {
    let load = handoffs.loading.range((seen + SimTime(1), 0)..).next().map(|(&(loaded, _), _)| loaded);
    let hold = handoffs.holds.first_key_value().map(|(&(until, _), _)| until);
    load.into_iter().chain(hold).min().unwrap_or(SimTime::NEVER)
}
