//! What holds after every tick.

use super::about;
use super::groups::check_groups;
use crate::kv;
use crate::world::Shared;
use bevy_ecs::prelude::{Component, Entity, World};
use oracle_components::SimTime;
use oracle_components::calendar::{Calendar, Coupling};
use oracle_components::disaggregation::Handoffs;
use oracle_components::engine::{Batch, Engine, EngineLedger, Queues, Running, StepClock, Waiting};
use oracle_components::hardware::{EngineHardware, Gpu};
use oracle_components::kv::{KvPool, Owner};
use oracle_components::record::EngineTotals;
use oracle_components::scenario::{PrefixCaching, SchedulerSpec};
/// Engines whose loads are summed up a tick, on average.
const LOADS_A_TICK: usize = 64;

/// Stale entries of the queue of free blocks: as many as live ones, and those that are not worth a sweep (`kv/pool.rs`).
const MOST_STALE_ENTRIES: u64 = 256;
/// Longest queue of free blocks that is gone through after a tick.
const LONGEST_QUEUE_LOOKED_AT: usize = 1024;

/// Looks at the world after each tick.
#[derive(Debug, Default)]
pub struct InvariantMonitor {
    now: SimTime,
    last_arrival: SimTime,
    /// Each engine's last boundary.
    boundaries: Vec<SimTime>,
    ticks: usize,
}

impl InvariantMonitor {
    /// Checks time, requests, and the engines that were due.
    ///
    /// # Panics
    /// If something does not hold.
    pub fn check(&mut self, world: &World) {
        let calendar = &world.resource::<Shared>().calendar;
        assert!(calendar.last_arrival >= self.last_arrival, "arrivals go forwards");
        assert!(calendar.coupling == Coupling::Windowed || calendar.now >= self.now, "time goes forwards");
        self.now = calendar.now;
        self.last_arrival = calendar.last_arrival;
        self.boundaries.resize(calendar.engines.len(), SimTime::ZERO);
        for &(_, index) in &calendar.due {
            let engine = EngineView::of(world, calendar.engines[index as usize]);
            let before = std::mem::replace(&mut self.boundaries[index as usize], engine.clock.boundary);
            assert!(engine.clock.boundary >= before, "an engine's time goes forwards");
            engine.check(world);
            assert_eq!(
                u64::from(calendar.loads[index as usize]),
                engine.requests(),
                "an engine's requests are in transit, waiting or running"
            );
        }
        self.ticks += 1;
        if self.ticks.is_multiple_of(calendar.engines.len().div_ceil(LOADS_A_TICK)) {
            check_conservation(calendar);
        }
    }
}

/// Every request that arrived has ended or is with an engine.
fn check_conservation(calendar: &Calendar) {
    let in_flight: u64 = calendar.loads.iter().map(|&load| u64::from(load)).sum();
    let ended: u64 = calendar.ended.iter().sum();
    assert_eq!(calendar.next_id, ended + in_flight, "a request that arrived has ended or is in flight");
}

/// The queue of free blocks has all that are evictable, counts its live entries, and is bounded by the pool. A longer one is not
/// gone through: that would cost more than the tick.
fn check_queue(pool: &KvPool) {
    assert!(pool.queue.len() as u64 <= 2 * pool.total + MOST_STALE_ENTRIES, "stale entries are swept");
    if pool.queue.len() > LONGEST_QUEUE_LOOKED_AT {
        return;
    }
    let blocks = |stamp: u64, owner: Owner| match owner {
        Owner::Anonymous { blocks } => Some(blocks),
        Owner::Tail(key) => pool.tails.get(&key).filter(|tail| tail.stamp == stamp).map(|tail| tail.blocks),
        Owner::Segment(key) => pool.segments.get(&key).and_then(|segment| {
            let stretches = segment.runs.iter().flat_map(|run| {
                let ends = run.free.iter().skip(1).map(|&(next, _)| next).chain([run.end]);
                run.free
                    .iter()
                    .zip(ends)
                    .filter(|((_, of_run), _)| *of_run == stamp)
                    .map(|(&(first, _), end)| end - first)
            });
            Some(stretches.sum()).filter(|&blocks: &u32| blocks > 0)
        }),
    };
    let live: Vec<u32> = pool.queue.iter().filter_map(|entry| blocks(entry.stamp, entry.owner)).collect();
    assert_eq!(live.len(), pool.live_entries, "live entries are counted");
    assert!(!live.contains(&0), "a live entry has blocks");
    assert_eq!(live.into_iter().map(u64::from).sum::<u64>(), pool.evictable, "evictable blocks are in the queue");
}

/// An engine as it is between two ticks.
struct EngineView<'w> {
    scheduler: SchedulerSpec,
    clock: &'w StepClock,
    queues: &'w Queues,
    running: &'w Running,
    batch: &'w Batch,
    pool: &'w KvPool,
    totals: &'w EngineTotals,
    handoffs: Option<&'w Handoffs>,
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
            batch: part(world, entity),
            pool: part(world, entity),
            totals: &part::<EngineLedger>(world, entity).0,
            handoffs: world.get(entity),
            hardware: part(world, entity),
        }
    }

    /// In transit, waiting, loading and running.
    fn requests(&self) -> u64 {
        let loading = self.handoffs.map_or(0, |handoffs| handoffs.loading.len() as u64);
        self.queues.in_transit.len() as u64
            + u64::from(self.queues.waiting_count)
            + loading
            + u64::from(self.running.count)
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
        assert!(
            queues.in_transit_with_deadline as usize <= queues.in_transit.len(),
            "those with a deadline are among all"
        );
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
        let in_classes: u32 = running.streams.iter().map(|class| class.regular + class.joining.len() as u32).sum();
        let counted = if running.streams.is_empty() { 0 } else { running.streaming_decodes };
        assert_eq!(in_classes, counted, "every streaming decode is in one class of chunks");
        assert!(running.count <= self.scheduler.max_num_seqs, "no more sequences than slots");
        let tokens =
            u64::from(running.decodes) + self.batch.chunks.iter().map(|chunk| u64::from(chunk.tokens)).sum::<u64>();
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
        match &pool.grouped {
            Some(grouped) => check_groups(pool, grouped, self.running),
            None => check_queue(pool),
        }
        // Engines of pools hold blocks of sequences that are under way between them.
        assert!(self.running.count > 0 || self.handoffs.is_some() || held == 0, "nobody runs, so nobody holds blocks");
    }
}
