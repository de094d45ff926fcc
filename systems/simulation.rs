//! A simulation: the world built from a scenario, the schedule of a tick, and the loop that runs it.

use std::any::Any;
use std::marker::PhantomData;
use std::ops::ControlFlow;

use bevy_ecs::prelude::*;
use bevy_ecs::schedule::{LogLevel, ScheduleBuildSettings, ScheduleLabel, SingleThreadedExecutor};
use bevy_ecs::system::SystemState;
use oracle_components::SimTime;
use oracle_components::engine::{Admission, Engine, EngineLedger, Plan, StepClock};
use oracle_components::hardware::{Gpu, Link};
use oracle_components::record::{EngineTotals, GpuTotals, LinkTotals, Outcome, Reason, Status, Stop};
use oracle_components::resources::{Directory, Timeline};
use oracle_components::scenario::{EngineSpec, Scenario};
use oracle_components::sequence::{Phase, Sequence};

use crate::arrival::arrive;
use crate::clock::{advance_clock, any_engine_is_due, beginning};
use crate::completion::{Finished, complete, end_steps};
use crate::costing::StepCost;
use crate::epoch::{blocks_needed, cost_steps, no_epoch};
use crate::kv;
use crate::ports::{RecordSink, RequestSource};
use crate::retire::{End, Retirement, record_of};
use crate::router::Router;
use crate::scheduling::{Departure, empty_queues, form_batches, leave, nothing_running};
use crate::series::{EngineSeries, FinishedRows, LinkSeries};
use crate::transfer::{Network, carry, transfer};
use crate::world::{CostModel, Doors, EngineHardware, EngineParts, Priced};

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
        let directory = spawn_hardware(&mut world, &scenario);
        world.insert_resource(directory);
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
        let directory = self.world.resource::<Directory>().clone();
        let engines = directory.engines.iter().map(|&engine| {
            let pool =
                self.world.get::<oracle_components::kv::KvPool>(engine).expect("engines live as long as the world");
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
        let timeline = self.world.resource::<Timeline>();
        Outcome { stop, end, ticks, arrived: timeline.next_id, ended: timeline.ended, engines, gpus, links }
    }
}

/// One tick: the phases in their order, and the move of the clock between costing and transfer.
fn tick() -> Schedule {
    let mut schedule = Schedule::new(Tick);
    schedule.set_executor(SingleThreadedExecutor::new());
    schedule.set_build_settings(ScheduleBuildSettings {
        ambiguity_detection: LogLevel::Error,
        ..ScheduleBuildSettings::default()
    });
    schedule.add_systems(
        (
            arrive,
            (form_batches, cost_steps).chain().run_if(any_engine_is_due),
            advance_clock,
            (transfer, complete).chain().run_if(any_engine_is_due),
        )
            .chain(),
    );
    schedule
}

/// Spawns GPUs, links and engines.
fn spawn_hardware(world: &mut World, scenario: &Scenario) -> Directory {
    let width = scenario.series_interval;
    let gpus = scenario.gpus.iter().zip(0..).map(|(gpu, index)| {
        let device = &gpu.device;
        let peaks = device.peak_flops;
        let peak_flops = peaks.bf16.or(peaks.fp16).or(peaks.fp32).unwrap_or(f64::INFINITY);
        let peak_bytes_per_s = device.memory_bytes_per_s;
        world.spawn(Gpu { index, peak_flops, peak_bytes_per_s, totals: GpuTotals::default() }).id()
    });
    let gpus = gpus.collect();
    let links = scenario.links.iter().zip(0..).map(|(link, index)| {
        let latency = SimTime::from_secs_f64(link.latency_s);
        let link = Link {
            index,
            bytes_per_s: link.bytes_per_s,
            latency,
            busy_until: SimTime::ZERO,
            totals: LinkTotals::default(),
        };
        world.spawn((link, LinkSeries::new(index, width))).id()
    });
    let links = links.collect();
    let engines = scenario.engines.iter().zip(0..).map(|(engine, index)| spawn_engine(world, scenario, engine, index));
    let engines = engines.collect();
    Directory { engines, gpus, links }
}

/// Spawns an engine.
fn spawn_engine(world: &mut World, scenario: &Scenario, spec: &EngineSpec, index: u32) -> Entity {
    let first_gpu = &scenario.gpus[spec.gpus[0] as usize].device;
    let peaks = first_gpu.peak_flops;
    let engine = Engine {
        index,
        scheduler: spec.scheduler,
        ingress: spec.ingress.clone(),
        egress: spec.egress.clone(),
        response_bytes_per_token: spec.response_bytes_per_token,
    };
    let clock = StepClock { boundary: SimTime::ZERO, steps: 0, lane_free: SimTime::ZERO, flow_received: SimTime::ZERO };
    let hardware = EngineHardware {
        engine: index,
        gpus: spec.gpus.clone(),
        ring_links: spec.rings.iter().flatten().flatten().copied().collect(),
        stage_links: spec.stage_paths.iter().flatten().copied().collect(),
        peak_flops: peaks.bf16.or(peaks.fp16).or(peaks.fp32).unwrap_or(f64::INFINITY),
        peak_bytes_per_s: first_gpu.memory_bytes_per_s,
    };
    let entity = world.spawn((
        engine,
        clock,
        empty_queues(spec.scheduler.policy),
        nothing_running(spec.scheduler.block_tokens),
        kv::new_pool(spec.kv_blocks),
        Plan { chunks: Vec::new(), admission: Admission::Settled },
        no_epoch(),
        EngineLedger::default(),
        EngineSeries::new(scenario.series_interval),
        CostModel { step: StepCost::new(spec, scenario), decode_only: Vec::new() },
        Priced(None),
        hardware,
    ));
    entity.id()
}

/// Ends everything at `stop`: steps that are over by then, requests in flight, and open intervals.
fn stop_at(world: &mut World, stop: SimTime) {
    end_all_steps(world, stop);
    end_all_requests(world, stop);
}

/// Ends the steps that are over by `stop`.
fn end_all_steps(world: &mut World, stop: SimTime) {
    let mut state = SystemState::<(
        Query<EngineParts>,
        Query<&mut Gpu>,
        Network,
        Res<Directory>,
        ResMut<Doors>,
        ParamSet<(Query<&Sequence>, Query<&mut Sequence>)>,
    )>::new(world);
    let (mut engines, mut gpus, mut network, directory, mut doors, mut sequences) =
        state.get_mut(world).expect("the world has all of it");
    for &entity in &directory.engines {
        let mut parts = engines.get_mut(entity).expect("engines live as long as the world");
        let planned = parts.epoch.steps;
        let over = parts.epoch.step_ends[..planned].partition_point(|&end| end <= stop);
        parts.epoch.steps = over;
        if over > 0 {
            carry(&mut parts, &directory, &mut gpus, &mut network, &sequences.p0(), &mut doors.rows);
            end_steps(&mut parts, &mut sequences.p1(), &mut doors, &mut Finished::default());
            // Who was delivered by the last boundary waits, though only the next that matters would have seen it.
            let boundary = parts.clock.boundary;
            let delivered = parts.queues.inbox.partition_point(|&(delivered, _)| delivered <= boundary) as u64;
            let waiting = u64::from(parts.queues.waiting_count) + delivered;
            parts.ledger.0.waiting_peak = parts.ledger.0.waiting_peak.max(waiting);
            if over < planned {
                // The step that is cut off had its blocks.
                let blocks = blocks_needed(&parts.running, parts.clock.steps);
                kv::allocate(&mut parts.pool, u64::from(blocks));
            }
        }
        parts.series.flush(stop, parts.hardware, &mut doors.rows);
    }
    network.flush(stop, &mut doors.rows);
    doors.hand_over_rows();
    state.apply(world);
}

/// Ends the requests in flight at `stop`, by their numbers.
fn end_all_requests(world: &mut World, stop: SimTime) {
    let mut state =
        SystemState::<(Retirement, Query<EngineParts>, Query<(Entity, &mut Sequence)>, Res<Directory>)>::new(world);
    let (mut desk, mut engines, mut sequences, directory) = state.get_mut(world).expect("the world has all of it");
    let mut in_flight: Vec<_> = sequences.iter().map(|(entity, sequence)| (sequence.id, entity)).collect();
    in_flight.sort_unstable();
    for (_, entity) in in_flight {
        let (_, mut sequence) = sequences.get_mut(entity).expect("it was listed");
        let mut parts =
            engines.get_mut(directory.engines[sequence.engine as usize]).expect("engines live as long as the world");
        let waiting = sequence.phase == Phase::Waiting;
        if !waiting {
            leave(&mut parts, &mut sequence, entity, &desk.requests, Departure::Stopped);
        }
        let end = if sequence.deadline <= stop {
            let reason = if waiting { Reason::TimeoutWaiting } else { Reason::TimeoutRunning };
            End { completion: sequence.deadline, status: Status::Timeout, reason }
        } else {
            let reason = if waiting { Reason::EndedWaiting } else { Reason::EndedRunning };
            End { completion: stop, status: Status::Incomplete, reason }
        };
        let request = desk.requests.get(sequence.request).expect("a sequence's request lives as long as it does");
        let record = record_of(request, &sequence, end);
        desk.write(record);
    }
    for mut parts in &mut engines {
        kv::release_all(&mut parts.pool);
    }
    state.apply(world);
}
