//! When an engine has to look at what is on its way to it.

use crate::world::calendar::wake_at;
use bevy_ecs::prelude::Entity;
use bevy_ecs::query::QueryData;
use oracle_components::SimTime;
use oracle_components::calendar::Calendar;
use oracle_components::engine::{Batch, Engine, Epoch, Queues};
/// What an arrival sees of an engine.
#[derive(QueryData)]
#[query_data(mutable)]
pub struct ArrivalParts {
    /// Its limits.
    pub engine: &'static Engine,
    queues: &'static mut Queues,
    batch: &'static Batch,
    epoch: &'static mut Epoch,
}

impl ArrivalPartsItem<'_, '_> {
    /// Puts a sequence on its way to the engine at this position, and sees to it that the engine looks when it has to: at
    /// the first boundary after the delivery if it could be admitted there, else the first after its deadline.
    pub fn send(
        &mut self,
        position: u32,
        sequence: Entity,
        (delivered, deadline): (SimTime, SimTime),
        calendar: &mut Calendar,
    ) {
        self.queues.in_transit.push_back((delivered, sequence));
        self.queues.in_transit_with_deadline += u32::from(deadline != SimTime::NEVER);
        self.look_up_at(
            position,
            if self.batch.standing.sees_deliveries { delivered } else { deadline.max(delivered) },
            delivered,
            calendar,
        );
    }

    /// Ends the engine's epoch at the first boundary from `at` on; if it is idle, wakes it at `wake`.
    pub fn look_up_at(&mut self, position: u32, at: SimTime, wake: SimTime, calendar: &mut Calendar) {
        let epoch = &mut *self.epoch;
        let wake = if epoch.steps > 0 {
            let boundary = epoch.step_ends[..epoch.steps].partition_point(|&end| end < at);
            epoch.steps = epoch.steps.min(boundary + 1);
            epoch.step_ends[epoch.steps - 1]
        } else {
            calendar.next_boundaries[position as usize].min(wake)
        };
        wake_at(calendar, position, wake);
    }
}
