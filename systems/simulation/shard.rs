//! A world with some engines of a scenario, and the schedule of its tick: all of them in lockstep, a few in windows.
//!
//! [`tick`] reads as a table of contents of what happens.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use bevy_ecs::prelude::*;
use bevy_ecs::schedule::{LogLevel, ScheduleBuildSettings, ScheduleLabel};
use oracle_components::SimTime;
use oracle_components::engine::{EngineLedger, StepClock};
use oracle_components::hardware::Gpu;
use oracle_components::kv::KvPool;
use oracle_components::record::EngineTotals;
use oracle_components::request::Routed;
use oracle_components::scenario::GpuIndex;

use super::executor::{InOrder, Stopwatch};
use super::spawn::{Blueprint, spawn_engines};
use crate::arrival::{self, arrive};
use crate::completion::complete;
use crate::epoch::cost_steps;
use crate::handoff::{HandoffRouting, hand_off};
use crate::invariants::InvariantMonitor;
use crate::ports::RecordSink;
use crate::scheduling::schedule_batches;
use crate::transfer::transfer;
use crate::world::{Ports, Shared};

/// The schedule of a tick.
#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
struct Tick;

/// One tick: the phases in their order.
fn tick(has_pools: bool) -> Schedule {
    let mut schedule = Schedule::new(Tick);
    schedule.set_build_settings(ScheduleBuildSettings {
        ambiguity_detection: LogLevel::Error,
        ..ScheduleBuildSettings::default()
    });
    // The executor applies each system's commands itself.
    schedule.add_systems((arrive, schedule_batches, cost_steps, transfer, complete).chain_ignore_deferred());
    if has_pools {
        schedule.add_systems(hand_off.after_ignore_deferred(complete));
    }
    schedule
}

/// The systems of a tick by the names of their phases; the last one is there only where there are pools.
pub const PHASES: [&str; 6] = ["arrival", "scheduling", "costing", "transfer", "completion", "handover"];

/// A world and its schedule.
pub struct Shard {
    /// The world.
    pub world: World,
    schedule: Schedule,
    stopwatch: Option<Stopwatch>,
    gpus: BTreeMap<GpuIndex, Entity>,
    ticks: u64,
    monitor: InvariantMonitor,
}

impl Shard {
    /// A world with some engines of a scenario.
    pub fn new(blueprint: &Blueprint, engines: Range<usize>, mut shared: Shared) -> Self {
        let mut world = World::new();
        let [arrival, transfer, completion] =
            [&shared.arrival_flag, &shared.transfer_flag, &shared.completion_flag].map(|flag| Some(flag.clone()));
        let mut flags = vec![arrival, None, None, transfer, completion];
        let routing = HandoffRouting::of(&blueprint.scenario);
        let mut schedule = tick(routing.is_some());
        if let Some(routing) = routing {
            flags.push(Some(shared.handoff_flag.clone()));
            world.insert_resource(routing);
        }
        let (engines, gpus) = spawn_engines(&mut world, blueprint, engines);
        shared.calendar.engines = engines;
        shared.arrival_flag.raise();
        world.insert_resource(shared);
        let stopwatch = blueprint.profiled.then(Stopwatch::default);
        schedule.set_executor(InOrder { flags, stopwatch: stopwatch.clone() });
        Self { world, schedule, stopwatch, gpus, ticks: 0, monitor: InvariantMonitor::default() }
    }

    /// Runs one tick, and tells what the world shares; `None` if nothing is left to happen.
    pub fn tick(&mut self) -> Option<&Shared> {
        self.schedule.run(&mut self.world);
        self.world.clear_trackers();
        self.ticks += 1;
        if cfg!(debug_assertions) {
            self.monitor.check(&self.world);
        }
        let shared = self.shared_mut();
        if arrival::is_next(shared) {
            shared.arrival_flag.raise();
        }
        (!shared.calendar.stopped).then_some(shared)
    }

    /// Takes in what arrives up to `until`, and brings all engines there; what arrived is left empty.
    pub fn run_window(&mut self, until: SimTime, routed: &mut Vec<Routed>) {
        let shared = self.shared_mut();
        shared.calendar.window = until;
        let nothing_to_do = routed.is_empty() && shared.calendar.next_boundaries.iter().all(|&wake| wake > until);
        if nothing_to_do {
            return;
        }
        std::mem::swap(&mut shared.routed, routed);
        shared.arrival_flag.raise();
        while self.tick().is_some() {}
        std::mem::swap(&mut self.shared_mut().routed, routed);
    }

    /// What the world shares.
    pub fn shared(&self) -> &Shared {
        self.world.resource::<Shared>()
    }

    /// What the world shares.
    pub fn shared_mut(&mut self) -> &mut Shared {
        self.world.resource_mut::<Shared>().into_inner()
    }

    /// How far the engine that is furthest has come.
    pub fn latest(&self) -> SimTime {
        let engines = self.shared().calendar.engines.iter();
        let clocks = engines.filter_map(|&engine| self.world.get::<StepClock>(engine));
        clocks.map(|clock| clock.boundary).fold(SimTime::ZERO, SimTime::max)
    }

    /// Ticks so far.
    pub fn ticks(&self) -> u64 {
        self.ticks
    }

    /// The totals of its engines.
    pub fn engine_totals(&self) -> impl Iterator<Item = EngineTotals> {
        self.shared().calendar.engines.iter().map(|&engine| {
            let pool = self.world.get::<KvPool>(engine).expect("engines live as long as the world");
            let ledger = self.world.get::<EngineLedger>(engine).expect("engines live as long as the world");
            EngineTotals {
                blocks_allocated: pool.allocated,
                blocks_freed: pool.freed,
                blocks_peak: pool.peak,
                blocks_evicted: pool.evicted,
                ..ledger.0.clone()
            }
        })
    }

    /// Its GPUs by index.
    pub fn gpus(&self) -> impl Iterator<Item = (GpuIndex, &Gpu)> {
        self.gpus.iter().filter_map(|(&index, &gpu)| Some((index, self.world.get::<Gpu>(gpu)?)))
    }

    /// The sink.
    pub fn into_sink(mut self) -> Box<dyn RecordSink> {
        self.world.remove_resource::<Shared>().expect("the shared state is a resource of the world").ports.sink
    }

    /// How long each phase has taken; empty if nobody asked for it.
    pub fn profile(&self) -> Vec<Duration> {
        let stopwatch = self.stopwatch.as_ref();
        stopwatch.map(|times| times.lock().expect("the simulation is not running").clone()).unwrap_or_default()
    }
}

/// The sink of a world, of the type that it came in as.
pub fn sink_of<K: RecordSink>(ports: &mut Ports) -> &mut K {
    let sink: &mut dyn Any = &mut *ports.sink;
    sink.downcast_mut().expect("the sink is of the type it came in as")
}
