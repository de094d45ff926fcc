//! Costing: prices the batch of each engine that is due, and runs its steps ahead for as long as the batch stays as it is.
//!
//! While a batch goes on, only decode attention's context grows, by the number of sequences each step; so a step ahead
//! costs a few nanoseconds, whatever the batch size. The epoch ends with the step in which a sequence generates its last
//! token, before the step for which KV blocks run out, at the first boundary after a deadline or a delivery, and after a
//! single step if that has prompt chunks. Ends that turn out not to matter are harmless: scheduling then finds the same batch.

use std::cmp::Reverse;

use bevy_ecs::prelude::*;
use bevy_ecs::query::QueryData;
use oracle_components::SimTime;
use oracle_components::engine::{Admission, Engine, Epoch, Plan, Queues, Running, StepClock, Waiting};
use oracle_components::kv::KvPool;
use oracle_components::pools::Remote;

use crate::clock::{next_arrival, wake_at};
use crate::costing::{CostModel, PricedBatch, StepShape};
use crate::kv;
use crate::running::{classes_from, next_finish};
use crate::world::Hub;

/// Steps ahead after an arrival has cut an epoch; doubled each time one runs out uncut.
const FIRST_HORIZON_STEPS: usize = 16;
/// Most steps ahead.
const LAST_HORIZON_STEPS: usize = 4096;

/// What costing sees of an engine.
#[derive(QueryData)]
#[query_data(mutable)]
pub struct CostingParts {
    engine: &'static Engine,
    clock: &'static StepClock,
    queues: &'static Queues,
    running: &'static Running,
    pool: &'static KvPool,
    plan: &'static Plan,
    epoch: &'static mut Epoch,
    cost: &'static mut CostModel,
    remote: Option<&'static Remote>,
}

/// Prices the batches that were formed in this tick.
pub fn cost_steps(mut hub: ResMut<Hub>, mut engines: Query<CostingParts>) {
    let timeline = &mut hub.timeline;
    // With one engine the next arrival is its own, so running ahead of it would be in vain.
    let next_delivery = if timeline.engines.len() == 1 { next_arrival(timeline) } else { SimTime::NEVER };
    for position in 0..timeline.due.len() {
        let (_, index) = timeline.due[position];
        let mut parts = engines.get_mut(timeline.engines[index as usize]).expect("engines live as long as the world");
        parts.epoch.steps = 0;
        let wake = if parts.running.count == 0 {
            let delivery = parts.queues.inbox.front().map_or(SimTime::NEVER, |&(delivered, _)| delivered);
            delivery.min(parts.remote.map_or(SimTime::NEVER, |remote| next_event(remote, parts.clock.boundary)))
        } else {
            run_ahead(&mut parts, next_delivery);
            parts.epoch.step_ends[parts.epoch.steps - 1]
        };
        wake_at(timeline, index, wake);
    }
}

/// The shape of the batch, and what its decodes attend to in the first step.
fn shape(parts: &CostingPartsItem<'_, '_>) -> StepShape {
    let mut shape = StepShape {
        decode_sequences: parts.running.decodes,
        sampled_rows: parts.running.decodes,
        ..StepShape::default()
    };
    for chunk in &parts.plan.chunks {
        let (tokens, context) = (u64::from(chunk.tokens), u64::from(chunk.context));
        shape.prefill_tokens += chunk.tokens;
        shape.prefill_sequences += 1;
        shape.prefill_pairs += tokens * context + tokens * (tokens + 1) / 2;
        shape.prefill_context_tokens += context + tokens;
        shape.prefill_longest_context = shape.prefill_longest_context.max(chunk.context + chunk.tokens);
        shape.sampled_rows += u32::from(chunk.completes);
    }
    shape
}

/// Prices the batch and computes the ends of its steps.
fn run_ahead(parts: &mut CostingPartsItem<'_, '_>, next_delivery: SimTime) {
    parts.cost.batch = if parts.plan.chunks.is_empty() {
        PricedBatch::DecodeOnly(parts.running.decodes)
    } else {
        PricedBatch::Mixed(parts.cost.prices.step.prepare(&shape(parts)))
    };
    let price = parts.cost.price();
    let running = parts.running;
    let decodes = u64::from(running.decodes);
    let epoch = &mut *parts.epoch;
    epoch.step_ends.clear();
    let first_tokens = parts.remote.is_some_and(|remote| !remote.joined.is_empty());
    let most_steps = if parts.plan.chunks.is_empty() && !first_tokens && parts.plan.admission == Admission::Settled {
        let until_finish = next_finish(running).saturating_sub(parts.clock.steps);
        until_finish.min(epoch.horizon_steps as u64)
    } else {
        1
    };
    debug_assert!(most_steps > 0, "a sequence that has its target has left");
    let admission = parts.plan.admission;
    let look_out = parts.queues.inbox_with_deadline > 0 || may_admit(parts.engine, running, parts.queues, admission);
    let front = parts.queues.inbox.front().filter(|_| look_out);
    let deliveries = front.map_or(SimTime::NEVER, |&(delivered, _)| delivered);
    let next_delivery = if look_out { next_delivery } else { SimTime::NEVER };
    let next_load = parts.remote.map_or(SimTime::NEVER, |remote| next_event(remote, parts.clock.boundary));
    let look_up_at = deliveries.min(next_delivery).min(next_deadline(parts.queues)).min(next_load);
    let mut free = kv::free_blocks(parts.pool);
    let mut context = running.decode_context + decodes;
    let mut end = parts.clock.boundary;
    let mut classes = classes_from(running, parts.clock.steps + 1);
    for step in 0..most_steps {
        if step > 0 {
            let need = u64::from(*classes.next().expect("classes go round"));
            if need > free {
                break;
            }
            free -= need;
        }
        end += price.duration(context);
        epoch.step_ends.push(end);
        context += decodes;
        if end >= look_up_at {
            break;
        }
    }
    epoch.steps = epoch.step_ends.len();
    debug_assert!(epoch.steps > 0, "an epoch has a step");
}

/// Whether a request that is delivered while the batch runs could be admitted at the next boundary: there is a seat, and
/// nothing that cannot be admitted itself waits before it.
#[must_use]
pub fn may_admit(engine: &Engine, running: &Running, queues: &Queues, admission: Admission) -> bool {
    let seats_left = running.count < engine.scheduler.max_num_seqs;
    let may_jump_the_queue = matches!(queues.waiting, Waiting::Priority(_));
    admission == Admission::Open || (seats_left && (queues.waiting_count == 0 || may_jump_the_queue))
}

/// The earliest deadline of a sequence that lives.
fn next_deadline(queues: &Queues) -> SimTime {
    queues.deadlines.peek().map_or(SimTime::NEVER, |&Reverse((deadline, ..))| deadline)
}

/// When the next load or hold ends after `boundary`.
fn next_event(remote: &Remote, boundary: SimTime) -> SimTime {
    let load = remote.loading.range((boundary + SimTime(1), 0)..).next().map(|(&(loaded, _), _)| loaded);
    let hold = remote.holds.first_key_value().map(|(&(until, _), _)| until);
    load.into_iter().chain(hold).min().unwrap_or(SimTime::NEVER)
}

/// Adapts how far an engine runs ahead to whether its last epoch was cut.
pub fn adapt_horizon(epoch: &mut Epoch) {
    epoch.horizon_steps = if epoch.steps < epoch.step_ends.len() {
        FIRST_HORIZON_STEPS
    } else if epoch.steps == epoch.horizon_steps {
        (epoch.horizon_steps * 2).min(LAST_HORIZON_STEPS)
    } else {
        epoch.horizon_steps
    };
}

/// An engine that runs nothing yet.
#[must_use]
pub fn no_epoch() -> Epoch {
    Epoch { horizon_steps: FIRST_HORIZON_STEPS, ..Epoch::default() }
}
