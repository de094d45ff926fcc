//! Invariants: what holds after every tick, and of every run that has ended. Reads everything, writes nothing.
//!
//! [`Watch`] looks at the engines of each tick of a debug build, so that a defect is found where it happens; [`violations`]
//! looks at what a run came to, in any build.

use bevy_ecs::prelude::*;
use oracle_components::SimTime;
use oracle_components::engine::{Engine, EngineLedger, Plan, Queues, Running, StepClock, Waiting};
use oracle_components::hardware::{EngineHardware, Gpu};
use oracle_components::kv::KvPool;
use oracle_components::pools::Remote;
use oracle_components::record::{EngineTotals, Outcome, Status, Stop};
use oracle_components::resources::{Coupling, Timeline};
use oracle_components::scenario::{EngineSpec, PrefixCaching, Scenario, SchedulerSpec};

use crate::costing::gpu_peak_flops;
use crate::kv;
use crate::world::Hub;

/// Engines whose loads are summed up a tick, on average.
const LOADS_A_TICK: usize = 64;

/// What rounding to whole nanoseconds, and of sums of shares, may add to a time.
fn about(time: SimTime) -> SimTime {
    SimTime(time.0.saturating_add(1_000 + time.0 / 1_000_000_000))
}

/// Looks at the world after each tick.
#[derive(Debug, Default)]
pub struct Watch {
    now: SimTime,
    last_arrival: SimTime,
    /// Each engine's last boundary.
    boundaries: Vec<SimTime>,
    ticks: usize,
}

impl Watch {
    /// Checks time, requests, and the engines that were due.
    ///
    /// # Panics
    /// If something does not hold.
    pub fn check(&mut self, world: &World) {
        let timeline = &world.resource::<Hub>().timeline;
        assert!(timeline.last_arrival >= self.last_arrival, "arrivals go forwards");
        assert!(timeline.coupling == Coupling::Loose || timeline.now >= self.now, "time goes forwards");
        self.now = timeline.now;
        self.last_arrival = timeline.last_arrival;
        self.boundaries.resize(timeline.engines.len(), SimTime::ZERO);
        for &(_, index) in &timeline.due {
            let engine = EngineView::of(world, timeline.engines[index as usize]);
            let before = std::mem::replace(&mut self.boundaries[index as usize], engine.clock.boundary);
            assert!(engine.clock.boundary >= before, "an engine's time goes forwards");
            engine.check(world);
            assert_eq!(
                u64::from(timeline.loads[index as usize]),
                engine.requests(),
                "an engine's requests are in transit, waiting or running"
            );
        }
        self.ticks += 1;
        if self.ticks.is_multiple_of(timeline.engines.len().div_ceil(LOADS_A_TICK)) {
            check_conservation(timeline);
        }
    }
}

/// Every request that arrived has ended or is with an engine.
fn check_conservation(timeline: &Timeline) {
    let in_flight: u64 = timeline.loads.iter().map(|&load| u64::from(load)).sum();
    let ended: u64 = timeline.ended.iter().sum();
    assert_eq!(timeline.next_id, ended + in_flight, "a request that arrived has ended or is in flight");
}

/// An engine as it is between two ticks.
struct EngineView<'w> {
    scheduler: SchedulerSpec,
    clock: &'w StepClock,
    queues: &'w Queues,
    running: &'w Running,
    plan: &'w Plan,
    pool: &'w KvPool,
    totals: &'w EngineTotals,
    remote: Option<&'w Remote>,
    hardware: &'w EngineHardware,
}

impl<'w> EngineView<'w> {
    fn of(world: &'w World, entity: Entity) -> Self {
        fn part<T: Component>(world: &World, entity: Entity) -> &T {
            world.get::<T>(entity).expect("engines live as long as the world")
        }
        Self {
            scheduler: part::<Engine>(world, entity).scheduler,
            clock: part(world, entity),
            queues: part(world, entity),
            running: part(world, entity),
            plan: part(world, entity),
            pool: part(world, entity),
            totals: &part::<EngineLedger>(world, entity).0,
            remote: world.get(entity),
            hardware: part(world, entity),
        }
    }

    /// In transit, waiting, loading and running.
    fn requests(&self) -> u64 {
        let loading = self.remote.map_or(0, |remote| remote.loading.len() as u64);
        self.queues.inbox.len() as u64 + u64::from(self.queues.waiting_count) + loading + u64::from(self.running.count)
    }

    fn check(&self, world: &World) {
        self.check_queues();
        self.check_batch();
        self.check_blocks();
        assert!(self.totals.busy <= self.clock.boundary, "an engine is busy for no longer than time has passed");
        for gpu in self.hardware.gpus.iter().filter(|_| self.hardware.gpu_share == 1.0) {
            let gpu = world.get::<Gpu>(gpu.entity).expect("GPUs live as long as the world");
            assert!(gpu.totals.busy <= about(self.clock.boundary), "a GPU is busy for no longer than time has passed");
        }
    }

    fn check_queues(&self) {
        let queues = self.queues;
        assert!(queues.inbox_with_deadline as usize <= queues.inbox.len(), "those with a deadline are among all");
        match &queues.waiting {
            Waiting::Priority(waiting) => {
                assert_eq!(waiting.len(), queues.waiting_count as usize, "who waits is counted")
            }
            // Those that have timed out are still in it.
            Waiting::Fcfs(waiting) => {
                assert!(waiting.len() >= queues.waiting_count as usize, "who waits is in the queue")
            }
        }
    }

    fn check_batch(&self) {
        let running = self.running;
        assert_eq!(running.count as usize, running.decodes as usize + running.prefills.len(), "who runs is counted");
        assert_eq!(running.residues.iter().sum::<u32>(), running.decodes, "every decode is in one class of blocks");
        assert!(running.streaming_decodes <= running.decodes, "streaming ones are among all");
        assert!(running.count <= self.scheduler.max_num_seqs, "no more sequences than seats");
        let tokens =
            u64::from(running.decodes) + self.plan.chunks.iter().map(|chunk| u64::from(chunk.tokens)).sum::<u64>();
        assert!(tokens <= u64::from(self.scheduler.max_num_batched_tokens), "no more tokens than the budget");
    }

    fn check_blocks(&self) {
        let pool = self.pool;
        assert!(pool.empty + pool.evictable <= pool.total, "no more free blocks than there are");
        assert!(pool.peak <= pool.total && pool.freed <= pool.allocated, "no block is given back that was not given");
        let (given, held) = (pool.allocated - pool.freed, kv::held_blocks(pool));
        if self.scheduler.prefix_caching == PrefixCaching::Off {
            assert_eq!(given, held, "blocks given and not taken back are held");
        } else {
            // Several sequences hold a shared block, which is one.
            assert!(given >= held, "held blocks were given");
        }
        // Engines of pools hold blocks of sequences that are under way between them.
        assert!(self.running.count > 0 || self.remote.is_some() || held == 0, "nobody runs, so nobody holds blocks");
    }
}

/// What does not hold of a run that has ended, in words; nothing, if all is well.
#[must_use]
pub fn violations(scenario: &Scenario, outcome: &Outcome) -> Vec<String> {
    let mut found = Findings::default();
    let ended: u64 = outcome.ended.iter().sum();
    found.expect(outcome.arrived == ended, || format!("{} requests arrived, {ended} ended", outcome.arrived));
    let all_alike = [scenario.engines.len(), scenario.gpus.len(), scenario.links.len()]
        == [outcome.engines.len(), outcome.gpus.len(), outcome.links.len()];
    found.expect(all_alike, || "engines, GPUs or links without totals".to_owned());
    for (spec, totals) in scenario.engines.iter().zip(&outcome.engines) {
        check_engine_totals(spec, totals, outcome.end, &mut found);
    }
    check_gpu_totals(scenario, outcome, &mut found);
    check_link_totals(scenario, outcome, &mut found);
    found.0
}

/// Collects what does not hold.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn expect(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.0.push(otherwise());
        }
    }
}

fn check_engine_totals(spec: &EngineSpec, totals: &EngineTotals, end: SimTime, found: &mut Findings) {
    let (name, scheduler) = (&spec.name, &spec.scheduler);
    found.expect(totals.blocks_allocated == totals.blocks_freed, || {
        format!("{name}: {} blocks given, {} taken back", totals.blocks_allocated, totals.blocks_freed)
    });
    found.expect(totals.busy <= end, || format!("{name}: busy for {} of {end}", totals.busy));
    let budget = u64::from(scheduler.max_num_batched_tokens);
    let most = [
        ("blocks at once", totals.blocks_peak, spec.kv_blocks),
        ("running at once", totals.running_peak, u64::from(scheduler.max_num_seqs)),
        ("prompt tokens", totals.prefill_tokens, totals.steps.saturating_mul(budget)),
        ("output tokens", totals.output_tokens, totals.steps.saturating_mul(u64::from(scheduler.max_num_seqs))),
    ];
    for (what, count, most) in most {
        found.expect(count <= most, || format!("{name}: {count} {what}, {most} are possible"));
    }
}

/// No GPU is busy for longer than the run, or does more than its peaks allow in it.
fn check_gpu_totals(scenario: &Scenario, outcome: &Outcome, found: &mut Findings) {
    let end_s = outcome.end.as_secs_f64();
    let rounded = 1.0 + 1e-9;
    let peaks = gpu_peak_flops(scenario);
    for ((spec, totals), peak_flops) in scenario.gpus.iter().zip(&outcome.gpus).zip(peaks) {
        let id = &spec.id;
        found
            .expect(totals.busy <= about(outcome.end), || format!("{id}: busy for {} of {}", totals.busy, outcome.end));
        let most = peak_flops * end_s * rounded;
        found.expect(totals.flops <= most, || format!("{id}: {:e} FLOPs, {most:e} are possible", totals.flops));
        let most = spec.device.memory_bytes_per_s * end_s * rounded;
        found.expect(totals.bytes <= most, || format!("{id}: {:e} bytes, {most:e} are possible", totals.bytes));
    }
}

/// Lanes of each link: one for what queues on it, one for each engine that streams over it, one for each hop of a
/// collective and each stage's sends. They interleave, so only together they may exceed the time that has passed.
fn lanes(scenario: &Scenario) -> Vec<u64> {
    let mut lanes = vec![1; scenario.links.len()];
    for engine in &scenario.engines {
        let paths = engine.rings.iter().flatten().chain(&engine.stage_paths).chain([&engine.egress]);
        paths.flatten().for_each(|&link| lanes[link as usize] += 1);
    }
    lanes
}

/// No link carries for longer than its lanes could. Traffic is booked when it is reserved, so this holds only of runs in
/// which everything that was sent had arrived by the end.
fn check_link_totals(scenario: &Scenario, outcome: &Outcome, found: &mut Findings) {
    let given_up = outcome.ended[Status::Timeout as usize] + outcome.ended[Status::Incomplete as usize];
    if outcome.stop != Stop::Drained || given_up > 0 {
        return;
    }
    for ((spec, totals), lanes) in scenario.links.iter().zip(&outcome.links).zip(lanes(scenario)) {
        let most = about(SimTime(outcome.end.0.saturating_mul(lanes)));
        found.expect(totals.busy <= most, || format!("{}: carried for {} of {most}", spec.id, totals.busy));
    }
}
