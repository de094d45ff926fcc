//! A simulation: the world built from a scenario, the schedule of a tick, and the loop that runs it.

use std::any::Any;
use std::marker::PhantomData;
use std::ops::ControlFlow;

use bevy_ecs::prelude::*;
use bevy_ecs::schedule::{LogLevel, ScheduleBuildSettings, ScheduleLabel};
use oracle_components::SimTime;
use oracle_components::engine::EngineLedger;
use oracle_components::hardware::{Gpu, Link};
use oracle_components::kv::KvPool;
use oracle_components::record::{EngineTotals, GpuTotals, LinkTotals, Outcome, Stop};
use oracle_components::resources::{Directory, Timeline};
use oracle_components::scenario::Scenario;

use crate::arrival::arrive;
use crate::clock::beginning;
use crate::completion::complete;
use crate::epoch::cost_steps;
use crate::executor::InOrder;
use crate::ports::{RecordSink, RequestSource};
use crate::router::Router;
use crate::scheduling::schedule_batches;
use crate::series::FinishedRows;
use crate::spawn::populate;
use crate::stop::stop_at;
use crate::transfer::transfer;
use crate::world::Doors;

/// Ticks between two looks at the caller's wishes.
const TICKS_BETWEEN_REPORTS: u64 = 8192;

/// The schedule of a tick.
#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
struct Tick;

/// Where a simulation is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Simulated time.
    pub now: SimTime,
    /// Requests that have arrived.
    pub arrived: u64,
    /// Requests that have ended.
    pub ended: u64,
}

/// A simulation, ready to run. `K` is where its records go.
pub struct Simulation<K> {
    world: World,
    schedule: Schedule,
    horizon: Option<SimTime>,
    sink: PhantomData<K>,
}

impl<K: RecordSink + 'static> Simulation<K> {
    /// Builds the world of a scenario.
    ///
    /// # Panics
    /// If an index in the scenario points nowhere: what the configuration checks.
    #[must_use]
    pub fn new(scenario: Scenario, mut source: Box<dyn RequestSource>, sink: K) -> Self {
        let mut world = World::new();
        let next = source.next_request();
        let horizon = scenario.horizon.unwrap_or(SimTime::NEVER);
        world.insert_resource(beginning(scenario.engines.len(), horizon, next));
        let weights: Vec<f64> = scenario.engines.iter().map(|engine| engine.weight).collect();
        world.insert_resource(Doors {
            source,
            router: Router::new(scenario.routing, &weights, scenario.seed),
            prompt_bytes_per_token: scenario.prompt_bytes_per_token,
            sink: Box::new(sink),
            closed: false,
            rows: FinishedRows::default(),
        });
        populate(&mut world, &scenario);
        Self { world, schedule: tick(), horizon: scenario.horizon, sink: PhantomData }
    }

    /// Runs until nothing is left to happen, the horizon, or `control` breaks; it is asked every few thousand ticks.
    pub fn run(&mut self, mut control: impl FnMut(Progress) -> ControlFlow<()>) -> Outcome {
        let mut ticks = 0_u64;
        let stop = loop {
            self.schedule.run(&mut self.world);
            self.world.clear_trackers();
            ticks += 1;
            if self.world.resource::<Timeline>().stopped {
                break if self.horizon.is_some() && !self.is_drained() { Stop::Horizon } else { Stop::Drained };
            }
            if ticks.is_multiple_of(TICKS_BETWEEN_REPORTS) {
                if self.world.resource::<Doors>().closed {
                    break Stop::SinkClosed;
                }
                if control(self.progress()).is_break() {
                    break Stop::Interrupted;
                }
            }
        };
        let end = match stop {
            Stop::Drained | Stop::Horizon => {
                self.horizon.unwrap_or_else(|| self.world.resource::<Timeline>().last_completion)
            }
            Stop::Interrupted | Stop::SinkClosed => self.world.resource::<Timeline>().now,
        };
        stop_at(&mut self.world, end);
        self.outcome(stop, end, ticks)
    }

    /// The sink, when the simulation has run.
    ///
    /// # Panics
    /// Never: the sink is the one that [`Simulation::new`] was given.
    #[must_use]
    pub fn into_sink(mut self) -> K {
        let doors = self.world.remove_resource::<Doors>().expect("the doors are a resource of the world");
        let sink: Box<dyn Any> = doors.sink;
        *sink.downcast::<K>().expect("the sink is of the type it came in as")
    }

    /// Where the simulation is.
    fn progress(&self) -> Progress {
        let timeline = self.world.resource::<Timeline>();
        Progress { now: timeline.now, arrived: timeline.next_id, ended: timeline.ended.iter().sum() }
    }

    /// Whether every request has ended and none is to come.
    fn is_drained(&self) -> bool {
        let timeline = self.world.resource::<Timeline>();
        let none_to_come = timeline.next_request.is_none() && timeline.follow_ups.is_empty();
        none_to_come && timeline.loads.iter().all(|&load| load == 0)
    }

    /// The totals, once everything has ended.
    fn outcome(&mut self, stop: Stop, end: SimTime, ticks: u64) -> Outcome {
        let directory = self.world.resource::<Directory>();
        let timeline = self.world.resource::<Timeline>();
        let engines = timeline.engines.iter().map(|&engine| {
            let pool = self.world.get::<KvPool>(engine).expect("engines live as long as the world");
            let ledger = self.world.get::<EngineLedger>(engine).expect("engines live as long as the world");
            EngineTotals {
                blocks_allocated: pool.allocated,
                blocks_freed: pool.freed,
                blocks_peak: pool.peak,
                blocks_evicted: pool.evicted,
                ..ledger.0.clone()
            }
        });
        let engines = engines.collect();
        let gpus: Vec<GpuTotals> =
            directory.gpus.iter().filter_map(|&gpu| self.world.get::<Gpu>(gpu)).map(|gpu| gpu.totals.clone()).collect();
        let links: Vec<LinkTotals> = directory
            .links
            .iter()
            .filter_map(|&link| self.world.get::<Link>(link))
            .map(|link| link.totals.clone())
            .collect();
        Outcome { stop, end, ticks, arrived: timeline.next_id, ended: timeline.ended, engines, gpus, links }
    }
}

/// One tick: the phases in their order.
fn tick() -> Schedule {
    let mut schedule = Schedule::new(Tick);
    schedule.set_executor(InOrder);
    schedule.set_build_settings(ScheduleBuildSettings {
        ambiguity_detection: LogLevel::Error,
        ..ScheduleBuildSettings::default()
    });
    // The executor applies each system's commands itself.
    schedule.add_systems((arrive, schedule_batches, cost_steps, transfer, complete).chain_ignore_deferred());
    schedule
}
