//! The naive reference: what `systems/SEMANTICS.md` says, per block, per token, per sequence, one step at a time. The fast
//! engine is judged by it, so it is written for reading: no ECS, no epochs, no counters that stand for many objects.
//!
//! This file is time: what is next, and what happens then. The rest is in rooms like those of the fast engine:
//! - `arrival`, `routing`, `links`: requests on their way to an engine, and tokens on their way back;
//! - `engine`: an engine and the step that it runs; at a boundary `intake`, then a batch by one of the `policies`, which may
//!   do what `boundary` offers; `step_end`: what the step leaves;
//! - `kv`: blocks; `pools`: what passes between prefill and decode engines;
//! - `completion`, `stop`: the end of a request, and of all; `series`: the time series.
//!
//! `cases` and `strategy` are the random scenarios, `source` their requests, `scenes` what they are made of, `search` how many there are, `coverage` what
//! they reach; the naive engine itself is held against examples (`hand_worked`) and theory (`laws`).

mod arrival;
mod boundary;
pub mod cases;
mod completion;
pub mod coverage;
mod engine;
pub mod hand_worked;
mod hand_worked_pools;
mod intake;
mod kv;
mod laws;
mod links;
mod policies;
mod pools;
pub mod routing;
pub mod scenes;
pub mod search;
mod sequence;
mod series;
pub mod source;
mod step_end;
mod stop;
pub mod strategy;

use std::collections::BTreeMap;

use oracle_components::SimTime;
use oracle_components::record::{EngineTotals, GpuTotals, IntervalRow, LinkTotals, RequestRecord, Stop};
use oracle_components::request::{RequestId, RequestSpec};
use oracle_components::scenario::{EngineIndex, Scenario};
use oracle_systems::ports::RequestSource;

use coverage::Coverage;
use engine::Engine;
use links::Link;
use routing::NaiveRouter;

/// What came of a naive run.
pub struct NaiveOutcome {
    /// Every request that arrived, in the order in which they ended.
    pub records: Vec<RequestRecord>,
    /// How many sequences had a gap of so many nanoseconds between two tokens.
    pub gaps: BTreeMap<u64, u64>,
    /// Per engine.
    pub engines: Vec<EngineTotals>,
    /// Per GPU.
    pub gpus: Vec<GpuTotals>,
    /// Per link.
    pub links: Vec<LinkTotals>,
    /// The time series; a GPU that engines share has a row for each of them.
    pub rows: Vec<IntervalRow>,
    /// Why it stopped.
    pub stop: Stop,
    /// When it stopped.
    pub end: SimTime,
    /// What happened, and how often.
    pub coverage: Coverage,
}

/// Simulates the scenario with the requests of `source`.
pub fn run(scenario: &Scenario, source: &mut dyn RequestSource) -> NaiveOutcome {
    let mut world = World::new(scenario, source);
    let stop = world.run();
    world.stop(stop)
}

struct World<'a> {
    scenario: &'a Scenario,
    source: &'a mut dyn RequestSource,
    now: SimTime,
    /// The last boundary of any engine.
    last_boundary: SimTime,
    router: NaiveRouter,
    decode_router: NaiveRouter,
    engines: Vec<Engine>,
    gpus: Vec<GpuTotals>,
    links: Vec<Link>,
    /// The next request of the open-loop workload.
    next_open: Option<RequestSpec>,
    /// Requests that ends gave rise to, in the order in which they were returned.
    follow_ups: Vec<RequestSpec>,
    arrived: RequestId,
    records: Vec<RequestRecord>,
    gaps: BTreeMap<u64, u64>,
    coverage: Coverage,
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, source: &'a mut dyn RequestSource) -> Self {
        Self {
            scenario,
            now: SimTime::ZERO,
            last_boundary: SimTime::ZERO,
            router: NaiveRouter::of_arrivals(scenario),
            decode_router: NaiveRouter::of_handoffs(scenario),
            engines: scenario.engines.iter().map(|engine| Engine::new(engine, scenario)).collect(),
            gpus: vec![GpuTotals::default(); scenario.gpus.len()],
            links: scenario.links.iter().map(Link::new).collect(),
            next_open: source.next_request(),
            source,
            follow_ups: Vec::new(),
            arrived: 0,
            records: Vec::new(),
            gaps: BTreeMap::new(),
            coverage: Coverage::default(),
        }
    }

    fn run(&mut self) -> Stop {
        while let Some(next) = self.next_time() {
            if self.scenario.horizon.is_some_and(|horizon| next > horizon) {
                // A step for nobody may still run.
                let all_ended = self.engines.iter().all(|engine| engine.load() == 0);
                let nobody_comes = self.next_open.is_none() && self.follow_ups.is_empty();
                return if all_ended && nobody_comes { Stop::Drained } else { Stop::Horizon };
            }
            assert!(next >= self.now, "time went from {} to {next}", self.now);
            self.now = next;
            self.do_what_is_due();
        }
        Stop::Drained
    }

    /// When the next thing happens, by looking at everything that may.
    fn next_time(&self) -> Option<SimTime> {
        let steps = self.engines.iter().filter_map(|engine| engine.step.as_ref());
        let idle = self.engines.iter().filter(|engine| engine.step.is_none());
        let wakes = idle.filter_map(Engine::wakes_at);
        let arrivals = self.next_open.iter().chain(&self.follow_ups);
        steps.map(|step| step.end).chain(wakes).chain(arrivals.map(|spec| spec.arrival)).min()
    }

    /// Everything that happens now: arrivals, each engine's boundary, then what passes between prefill and decode engines.
    fn do_what_is_due(&mut self) {
        let now = self.now;
        self.take_arrivals();
        for index in 0..self.engines.len() {
            let engine = &self.engines[index];
            let ends = engine.step.as_ref().is_some_and(|step| step.end == now);
            let wakes = engine.step.is_none() && engine.wakes_at().is_some_and(|at| at <= now);
            self.engines[index].formed_ahead = ends && self.scenario.engines[index].scheduler.async_scheduling;
            if ends {
                self.end_step(index);
            }
            if ends || wakes {
                self.pass_boundary(index);
            }
        }
        self.book_loads();
        self.hand_off();
    }

    fn pass_boundary(&mut self, index: usize) {
        self.last_boundary = self.now;
        self.engines[index].boundary = self.now;
        self.engines[index].let_go_of_computed(index as EngineIndex, self.now);
        if self.engines[index].formed_ahead {
            self.pass_ahead(index);
        } else {
            self.let_go(index);
            self.schedule_with_all(index);
        }
        self.engines[index].note_idle_preemptions(self.scenario.series_interval);
    }

    /// A boundary whose step was formed when the last one began: who has ended since has a slot and blocks in it.
    fn pass_ahead(&mut self, index: usize) {
        let until = self.engines[index].last_step;
        self.engines[index].enqueue_delivered(until);
        let expired = self.engines[index].expire(until);
        self.engines[index].schedule_ahead(self.now);
        self.let_go(index);
        let late = self.engines[index].expire(self.now);
        expired.into_iter().chain(late).for_each(|ended| self.close(ended));
        let engine = &mut self.engines[index];
        if engine.waiting.is_empty()
            && engine.running.len() < engine.scheduler.max_num_seqs as usize
            && let Some(step) = &mut engine.step
        {
            step.hold = None;
        }
        if self.engines[index].step.is_none() {
            self.coverage.note("batch gone before the next was seen");
            self.engines[index].formed_ahead = false;
            self.schedule_with_all(index);
        }
    }

    /// Those that have ended give up slots and blocks; so do holds that are over.
    fn let_go(&mut self, index: usize) {
        self.let_go_of_finished(index);
        let now = self.now;
        self.engines[index].end_holds(now);
    }

    /// Intake of what has been delivered by now, expiry, and the next step.
    fn schedule_with_all(&mut self, index: usize) {
        self.engines[index].enqueue_delivered(self.now);
        let expired = self.engines[index].expire(self.now);
        expired.into_iter().for_each(|ended| self.close(ended));
        self.engines[index].schedule(self.now);
    }
}
