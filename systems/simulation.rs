//! A simulation: the world built from a scenario, the schedule of a tick, and the loop that runs it.

use std::any::Any;
use std::collections::HashSet;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bevy_ecs::prelude::*;
use bevy_ecs::schedule::{LogLevel, ScheduleBuildSettings, ScheduleLabel};
use oracle_components::SimTime;
use oracle_components::engine::{EngineLedger, StepClock};
use oracle_components::hardware::{Gpu, Link};
use oracle_components::kv::KvPool;
use oracle_components::record::{EngineTotals, GpuTotals, LinkTotals, Outcome, Stop};
use oracle_components::resources::Coupling;
use oracle_components::scenario::{Role, Routing, Scenario};

use crate::arrival::arrive;
use crate::clock::beginning;
use crate::completion::complete;
use crate::epoch::cost_steps;
use crate::executor::{Bell, InOrder, Stopwatch};
use crate::handover::{Pools, hand_over};
use crate::ports::{Promises, RecordSink, RequestSource};
use crate::router::Router;
use crate::scheduling::schedule_batches;
use crate::series::{FinishedRows, OPEN_INTERVALS};
use crate::spawn::{Directory, populate};
use crate::stop::stop_at;
use crate::transfer::transfer;
use crate::world::{Doors, Hub};

/// Boundaries between two looks at the caller's wishes.
const BOUNDARIES_BETWEEN_REPORTS: usize = 1024;

/// Longest window of loose engines, in intervals of the time series.
const WINDOW_INTERVALS: u64 = OPEN_INTERVALS as u64 / 2;

/// The systems of a tick by the names of their phases; the last one runs only where there are pools.
const PHASES: [&str; 6] = ["arrival", "scheduling", "costing", "transfer", "completion", "handover"];

/// The schedule of a tick.
#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
struct Tick;

/// Where a simulation is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Simulated time.
    pub now: SimTime,
    /// Requests that have ended.
    pub ended: u64,
}

/// A simulation, ready to run. `K` is where its records go.
pub struct Simulation<K> {
    world: World,
    schedule: Schedule,
    /// Of transfer and completion.
    bells: Vec<Bell>,
    directory: Directory,
    stopwatch: Option<Stopwatch>,
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
        let mut timeline = beginning(scenario.engines.len(), horizon, next);
        timeline.coupling = coupling(&scenario, source.promises());
        timeline.window_span = SimTime(scenario.series_interval.0.saturating_mul(WINDOW_INTERVALS));
        timeline.series_interval = scenario.series_interval;
        let doors = Doors {
            source,
            router: Router::of_arrivals(&scenario),
            prompt_bytes_per_token: scenario.prompt_bytes_per_token,
            sink: Box::new(sink),
            closed: false,
            held: Vec::new(),
            places: Vec::new(),
            rows: FinishedRows::default(),
        };
        let mut bells: Vec<Bell> = std::iter::repeat_with(Bell::default).take(3).collect();
        let [transfer_bell, completion_bell, handover_bell] = [0, 1, 2].map(|index: usize| bells[index].clone());
        world.insert_resource(Hub {
            timeline,
            doors,
            vacant: Vec::new(),
            transfer_bell,
            completion_bell,
            handover_bell,
        });
        let directory = populate(&mut world, &scenario);
        let pools = Pools::of(&scenario, &directory);
        let mut schedule = tick(pools.is_some());
        match pools {
            Some(pools) => world.insert_resource(pools),
            None => bells.truncate(2),
        }
        schedule.set_executor(InOrder { bells: bells.clone(), stopwatch: None });
        Self { world, schedule, bells, directory, stopwatch: None, horizon: scenario.horizon, sink: PhantomData }
    }

    /// Runs until nothing is left to happen, the horizon, or `control` breaks; it is asked every thousand boundaries or so.
    pub fn run(&mut self, mut control: impl FnMut(Progress) -> ControlFlow<()>) -> Outcome {
        let (mut ticks, mut since_report) = (0_u64, 0);
        let mut cut_short = None;
        loop {
            self.schedule.run(&mut self.world);
            self.world.clear_trackers();
            ticks += 1;
            let timeline = &self.world.resource::<Hub>().timeline;
            if timeline.stopped {
                break;
            }
            since_report += timeline.due.len().max(1);
            if since_report < BOUNDARIES_BETWEEN_REPORTS || cut_short.is_some() {
                continue;
            }
            since_report = 0;
            if self.world.resource::<Hub>().doors.closed {
                cut_short = Some(Stop::SinkClosed);
            } else if control(self.progress()).is_break() {
                cut_short = Some(Stop::Interrupted);
            }
            if cut_short.is_some() {
                self.cut_short();
            }
        }
        let drained = self.horizon.is_none() || self.is_drained();
        let stop = cut_short.unwrap_or(if drained { Stop::Drained } else { Stop::Horizon });
        let horizon =
            if cut_short.is_some() { Some(self.world.resource::<Hub>().timeline.horizon) } else { self.horizon };
        let end = horizon.unwrap_or_else(|| self.latest().max(self.world.resource::<Hub>().timeline.last_completion));
        stop_at(&mut self.world, end);
        self.outcome(stop, end, ticks)
    }

    /// Lets nothing happen beyond what the engine that is furthest has done and the last request that is in.
    fn cut_short(&mut self) {
        let latest = self.latest();
        let timeline = &mut self.world.resource_mut::<Hub>().timeline;
        timeline.horizon = timeline.horizon.min(latest.max(timeline.last_arrival));
    }

    /// Measures how long each phase takes, at the price of two looks at the clock a phase and tick.
    #[must_use]
    pub fn profiled(mut self) -> Self {
        let stopwatch = Stopwatch::default();
        self.schedule.set_executor(InOrder { bells: self.bells.clone(), stopwatch: Some(Arc::clone(&stopwatch)) });
        self.stopwatch = Some(stopwatch);
        self
    }

    /// The phases with the time that each has taken; empty if nobody asked for it.
    ///
    /// # Panics
    /// Never: the simulation is not running while it is looked at.
    #[must_use]
    pub fn profile(&self) -> Vec<(&'static str, Duration)> {
        let Some(stopwatch) = &self.stopwatch else { return Vec::new() };
        let times = stopwatch.lock().expect("the simulation is not running");
        PHASES.into_iter().zip(times.iter().copied()).collect()
    }

    /// Makes engines meet at every boundary even where they need not: slower, with the same result.
    #[must_use]
    pub fn tightly_coupled(mut self) -> Self {
        self.world.resource_mut::<Hub>().timeline.coupling = Coupling::Tight;
        self
    }

    /// The sink, when the simulation has run.
    ///
    /// # Panics
    /// Never: the sink is the one that [`Simulation::new`] was given.
    #[must_use]
    pub fn into_sink(mut self) -> K {
        let hub = self.world.remove_resource::<Hub>().expect("the hub is a resource of the world");
        let sink: Box<dyn Any> = hub.doors.sink;
        *sink.downcast::<K>().expect("the sink is of the type it came in as")
    }

    /// How far the engine that is furthest has come.
    fn latest(&self) -> SimTime {
        let timeline = &self.world.resource::<Hub>().timeline;
        let clocks = timeline.engines.iter().filter_map(|&engine| self.world.get::<StepClock>(engine));
        clocks.map(|clock| clock.boundary).fold(SimTime::ZERO, SimTime::max)
    }

    /// Where the simulation is.
    fn progress(&self) -> Progress {
        let timeline = &self.world.resource::<Hub>().timeline;
        Progress { now: timeline.now, ended: timeline.ended.iter().sum() }
    }

    /// Whether every request has ended and none is to come.
    fn is_drained(&self) -> bool {
        let timeline = &self.world.resource::<Hub>().timeline;
        let none_to_come = timeline.next_request.is_none() && timeline.follow_ups.is_empty();
        none_to_come && timeline.loads.iter().all(|&load| load == 0)
    }

    /// The totals, once everything has ended.
    fn outcome(&mut self, stop: Stop, end: SimTime, ticks: u64) -> Outcome {
        let directory = &self.directory;
        let timeline = &self.world.resource::<Hub>().timeline;
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

/// Whether anything but arrivals passes between the engines of a scenario.
fn coupling(scenario: &Scenario, promises: Promises) -> Coupling {
    let independent = promises.no_follow_ups && (promises.streams_only || responses_have_links_of_their_own(scenario));
    let has_pools = scenario.engines.iter().any(|engine| engine.role != Role::Both);
    let state_matters = scenario.routing == Routing::LeastLoaded || has_pools;
    if independent && !state_matters && scenario.engines.len() > 1 { Coupling::Loose } else { Coupling::Tight }
}

/// Whether no link that an engine's responses queue on carries prompts or another engine's responses.
fn responses_have_links_of_their_own(scenario: &Scenario) -> bool {
    let engines = || scenario.engines.iter();
    let prompts: HashSet<_> = engines().flat_map(|engine| &engine.ingress).collect();
    let mut seen = HashSet::new();
    engines().flat_map(|engine| &engine.egress).all(|link| !prompts.contains(link) && seen.insert(link))
}

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
        schedule.add_systems(hand_over.after_ignore_deferred(complete));
    }
    schedule
}
