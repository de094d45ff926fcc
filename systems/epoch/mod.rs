//! Costing: prices the batch of each engine that is due, and runs its steps ahead for as long as the batch stays as it is.
//!
//! While a batch goes on, only decode attention's context grows, by the number of sequences each step; so a step ahead
//! costs a few nanoseconds, whatever the batch size. The epoch ends with the step in which a sequence generates its last
//! token, before the step for which KV blocks run out, at the first boundary after a deadline or a delivery, and after a
//! single step if that has prompt chunks. Ends that turn out not to matter are harmless: scheduling then finds the same batch.

mod run_ahead;

use bevy_ecs::prelude::*;
use oracle_components::SimTime;
use oracle_components::engine::{Epoch, EpochCuts};

use crate::world::Shared;
use crate::world::calendar::{next_arrival, wake_at};

use run_ahead::{CostingParts, next_event, run_ahead};

/// Steps ahead after an arrival has cut an epoch; doubled each time one runs out uncut.
const FIRST_STEPS_AHEAD: usize = 16;
/// Most steps of an epoch that is cut at random.
const MOST_STEPS_BETWEEN_CUTS: usize = 7;
/// Most steps ahead.
const MOST_STEPS_AHEAD: usize = 4096;

/// Prices the batches that were formed in this tick.
pub fn cost_steps(mut shared: ResMut<Shared>, mut engines: Query<CostingParts>) {
    let calendar = &mut shared.calendar;
    // With one engine the next arrival is its own, so running ahead of it would be in vain.
    let next_delivery = if calendar.engines.len() == 1 { next_arrival(calendar) } else { SimTime::NEVER };
    for position in 0..calendar.due.len() {
        let (_, index) = calendar.due[position];
        let mut parts = engines.get_mut(calendar.engines[index as usize]).expect("engines live as long as the world");
        parts.epoch.steps = 0;
        let is_idle = parts.running.count == 0 && parts.batch.orphans.is_empty();
        let wake = if is_idle {
            let delivery = parts.queues.in_transit.front().map_or(SimTime::NEVER, |&(delivered, _)| delivered);
            delivery
                .min(parts.batch.standing.until)
                .min(parts.handoffs.map_or(SimTime::NEVER, |handoffs| next_event(handoffs, parts.clock.boundary)))
        } else {
            run_ahead(&mut parts, next_delivery);
            parts.epoch.step_ends[parts.epoch.steps - 1]
        };
        wake_at(calendar, index, wake);
    }
}

/// Adapts how far an engine runs ahead to whether its last epoch was cut.
pub fn adapt_steps_ahead(epoch: &mut Epoch) {
    epoch.steps_ahead = match epoch.cuts {
        EpochCuts::AsNeeded if epoch.steps < epoch.step_ends.len() => FIRST_STEPS_AHEAD,
        EpochCuts::AsNeeded if epoch.steps == epoch.steps_ahead => (epoch.steps_ahead * 2).min(MOST_STEPS_AHEAD),
        EpochCuts::AsNeeded => epoch.steps_ahead,
        EpochCuts::EveryStep => 1,
        EpochCuts::AtRandom(state) => {
            // A congruential generator's upper bits (Knuth's MMIX).
            let state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            epoch.cuts = EpochCuts::AtRandom(state);
            1 + (state >> 33) as usize % MOST_STEPS_BETWEEN_CUTS
        }
    };
}

/// An engine that runs nothing yet.
#[must_use]
pub fn no_epoch(cuts: EpochCuts) -> Epoch {
    let steps_ahead = if cuts == EpochCuts::AsNeeded { FIRST_STEPS_AHEAD } else { 1 };
    Epoch { steps_ahead, cuts, ..Epoch::default() }
}
