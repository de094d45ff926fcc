//! Runs the systems of a schedule one after the other, and nothing else.
//!
//! bevy's single-threaded executor also evaluates run conditions, catches panics and keeps track of who has run: a fifth
//! of a run's time at some two ticks a request. Here a system's commands are applied right after it, and a panic is a panic.
//! Order and conflicts are still the schedule's: it is built, and checked, by bevy.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::world::WorkFlag;
use bevy_ecs::error::{BevyError, ErrorContext};
use bevy_ecs::prelude::*;
use bevy_ecs::schedule::{FixedBitSet, SystemExecutor, SystemSchedule, SystemWithAccess};
use bevy_ecs::system::System;

/// Time that each system of a schedule has taken, in their order; shared with who wants to know.
pub type Stopwatch = Arc<Mutex<Vec<Duration>>>;

/// Runs systems in their order.
#[derive(Debug, Default)]
pub struct InOrder {
    /// By system: unless its flag is raised, it is passed over; one without a flag runs every time.
    pub flags: Vec<Option<WorkFlag>>,
    /// Where to keep the time, if anybody wants to know: two looks at the clock a system.
    pub stopwatch: Option<Stopwatch>,
}

/// Runs one system, with its commands.
fn run_one(system: &mut SystemWithAccess, world: &mut World) {
    system.run_without_applying_deferred((), world).expect("systems of a tick do not fail");
    if system.has_deferred() {
        system.apply_deferred(world);
    }
}

impl SystemExecutor for InOrder {
    fn init(&mut self, _: &SystemSchedule) {}

    fn run(
        &mut self,
        schedule: &mut SystemSchedule,
        world: &mut World,
        _: Option<&FixedBitSet>,
        _: fn(BevyError, ErrorContext),
    ) {
        #[expect(unsafe_code, reason = "the way that bevy offers to executors other than its own")]
        // SAFETY: the vector itself is left as it is; systems are only run and their buffers applied.
        let systems = unsafe { schedule.systems_mut() };
        debug_assert!(systems.len() == self.flags.len(), "each system has its flag, or none");
        let is_wanted = |flag: &Option<WorkFlag>| flag.as_ref().is_none_or(WorkFlag::take);
        let Some(stopwatch) = &self.stopwatch else {
            for (system, flag) in systems.iter_mut().zip(&self.flags) {
                if is_wanted(flag) {
                    run_one(system, world);
                }
            }
            return;
        };
        let mut times = stopwatch.lock().expect("nobody panics with the stopwatch in hand");
        times.resize(systems.len(), Duration::ZERO);
        for ((system, flag), time) in systems.iter_mut().zip(&self.flags).zip(&mut *times) {
            let started = Instant::now();
            if is_wanted(flag) {
                run_one(system, world);
            }
            *time += started.elapsed();
        }
    }

    fn set_apply_final_deferred(&mut self, _: bool) {}
}
