//! The naive reference: what `systems/SEMANTICS.md` says, per block, per token, per sequence, one step at a time. The fast
//! engine is judged by it, so it is written for reading: no ECS, no epochs, no counters that stand for many objects.
//!
//! - `sequence`: a request on its engine; - `pool`: the KV blocks; - `caching`: who holds which;
//! - `pools`: what passes between prefill and decode engines;
//! - `engine`: boundaries, the scheduler, steps; - `links`: the network; this file: arrivals, time and the stop.

mod caching;
pub mod cases;
pub mod coverage;
mod engine;
mod hand_worked;
mod hand_worked_pools;
mod laws;
mod links;
pub mod pool;
pub mod pools;
pub mod scenes;
mod sequence;
pub mod strategy;

use std::collections::BTreeMap;

use oracle_components::SimTime;
use oracle_components::record::{EngineTotals, LinkTotals, Reason, RequestRecord, Status, Stop};
use oracle_components::request::{RequestId, RequestSpec};
use oracle_components::scenario::{EngineIndex, EngineSpec, Role, Scenario};
use oracle_systems::ports::RequestSource;
use oracle_systems::routing::Router;

use caching::Leaving;
use coverage::Coverage;
use engine::{Engine, Work};
use links::{Link, send_flow, send_whole};
use sequence::{Ended, Sequence};

/// What came of a naive run.
pub struct NaiveOutcome {
    /// Every request that arrived, in the order in which they ended.
    pub records: Vec<RequestRecord>,
    /// How many sequences had a gap of so many nanoseconds between two tokens.
    pub gaps: BTreeMap<u64, u64>,
    /// Per engine.
    pub engines: Vec<EngineTotals>,
    /// Per link.
    pub links: Vec<LinkTotals>,
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
    router: Router,
    decode_router: Router,
    engines: Vec<Engine>,
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
            router: Router::of_arrivals(scenario),
            decode_router: Router::of_handovers(scenario),
            engines: scenario.engines.iter().map(|engine| Engine::new(engine, scenario)).collect(),
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
                return Stop::Horizon;
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
        while let Some(spec) = self.next_arrival() {
            self.arrive(spec);
        }
        for index in 0..self.engines.len() {
            let engine = &self.engines[index];
            let ends = engine.step.as_ref().is_some_and(|step| step.end == now);
            let wakes = engine.step.is_none() && engine.wakes_at().is_some_and(|at| at <= now);
            if ends {
                self.end_step(index);
            }
            if ends || wakes {
                self.pass_boundary(index);
            }
        }
        self.book_loads();
        self.hand_over();
    }

    /// Takes out the next request that arrives now: open-loop ones first, then follow-ups as they were returned.
    fn next_arrival(&mut self) -> Option<RequestSpec> {
        if self.next_open.as_ref().is_some_and(|spec| spec.arrival <= self.now) {
            return std::mem::replace(&mut self.next_open, self.source.next_request());
        }
        let due = self.follow_ups.iter().position(|spec| spec.arrival <= self.now);
        due.map(|at| self.follow_ups.remove(at))
    }

    fn arrive(&mut self, spec: RequestSpec) {
        let id = self.arrived;
        self.arrived += 1;
        self.coverage.note("requests");
        let loads: Vec<u32> = self.engines.iter().map(Engine::load).collect();
        let index = self.router.route(&spec, &loads, self.now);
        let engine_spec = &self.scenario.engines[index as usize];
        let bytes = f64::from(spec.prompt_tokens) * self.scenario.prompt_bytes_per_token;
        let path = &engine_spec.ingress;
        let delivered = send_whole(&mut self.links, path, self.now, bytes);
        let mut sequence = Sequence::new(id, spec, index, delivered);
        let target = target_tokens(&sequence.spec, engine_spec);
        match refusal(&sequence.spec, target, engine_spec, self.scenario) {
            Some(reason) => {
                self.coverage.note(reason.as_str());
                self.close(sequence.end(delivered, Status::Failed, reason));
            }
            None => {
                sequence.target = target;
                self.engines[index as usize].in_transit.push_back(sequence);
            }
        }
    }

    fn pass_boundary(&mut self, index: usize) {
        self.last_boundary = self.now;
        self.engines[index].end_holds(self.now);
        let until = self.engines[index].seen_until(self.now);
        self.schedule_with(index, until);
        // Nothing runs on after all; so all that has come is seen.
        if until < self.now && self.engines[index].step.is_none() {
            self.coverage.note("batch gone before the next was seen");
            self.schedule_with(index, self.now);
        }
    }

    /// Intake of what has been delivered by `until`, expiry, and the next step.
    fn schedule_with(&mut self, index: usize, until: SimTime) {
        self.engines[index].take_in(until);
        while let Some(ended) = self.engines[index].expire_one(self.now) {
            self.close(ended);
        }
        self.engines[index].schedule(self.now);
    }

    fn end_step(&mut self, index: usize) {
        let engine = &mut self.engines[index];
        let spec = &self.scenario.engines[index];
        let step = engine.step.take().expect("a step that ends");
        engine.last_step = step.start;
        engine.totals.steps += 1;
        engine.totals.busy += step.end - step.start;

        let (mut emitters, mut computed) = (Vec::new(), Vec::new());
        for &(id, work) in &step.work {
            let at = engine.position(id);
            let sequence = &mut engine.running[at];
            match work {
                Work::Decode => sequence.computed += 1,
                Work::Chunk(chunk) => {
                    sequence.computed += chunk;
                    sequence.record.prefilled_tokens += chunk as u32;
                    engine.totals.prefill_tokens += chunk;
                }
            }
            if sequence.computed == sequence.known() && engine.role == Role::Prefill {
                computed.push(id);
            } else if sequence.computed == sequence.known() {
                sequence.generated += 1;
                sequence.generated_in_residence += 1;
                engine.totals.output_tokens += 1;
                emitters.push(at);
                if let Some(last) = sequence.last_token_step.replace(step.end) {
                    *self.gaps.entry((step.end - last).0).or_default() += 1;
                }
            }
        }

        let streamed = emitters.iter().filter(|&&at| engine.running[at].spec.streaming);
        let streamed = streamed.count();
        let mut received = step.end;
        if streamed > 0 {
            if engine.lane_free > step.end {
                self.coverage.note("flow waits for its lane");
            }
            let bytes = streamed as f64 * spec.response_bytes_per_token;
            let lane = &mut engine.lane_free;
            received = send_flow(&mut self.links, &spec.egress, lane, step.end, bytes);
        }
        for at in emitters {
            let sequence = &mut engine.running[at];
            let at_client = if sequence.spec.streaming { received } else { step.end };
            sequence.record.first_token.get_or_insert(at_client);
            sequence.record.last_token = Some(at_client);
        }
        computed.sort_unstable();
        for id in computed {
            self.engines[index].let_go_of_computed(id, index as EngineIndex, self.now);
        }
        self.finish_sequences(index);
        self.engines[index].check();
    }

    fn finish_sequences(&mut self, index: usize) {
        let spec = &self.scenario.engines[index];
        let done = |sequence: &&Sequence| sequence.generated == sequence.target;
        let finished = self.engines[index].running.iter().filter(done);
        let mut finished: Vec<RequestId> = finished.map(Sequence::id).collect();
        finished.sort_unstable();
        for id in finished {
            let engine = &mut self.engines[index];
            let at = engine.position(id);
            let mut sequence = engine.running.remove(at);
            engine.release(&mut sequence, Leaving::ForGood);
            let completion = if sequence.spec.streaming {
                sequence.record.last_token.expect("it generated a token")
            } else {
                let bytes = sequence.generated as f64 * spec.response_bytes_per_token;
                send_whole(&mut self.links, &spec.egress, self.now, bytes)
            };
            let reason = if sequence.target < u64::from(sequence.spec.output_tokens) {
                self.coverage.note("output cut at max_model_len");
                Reason::LengthLimit
            } else {
                Reason::Finished
            };
            if sequence.deadline() <= self.now {
                self.coverage.note("finished after its deadline, before it was looked at");
            }
            self.close(sequence.end(completion, Status::Success, reason));
        }
    }

    /// Writes the record of a request that ends now, and asks for what follows from it.
    fn close(&mut self, ended: Ended) {
        let Ended { spec, mut record } = ended;
        if let Some(horizon) = self.scenario.horizon
            && record.completion > horizon
        {
            self.coverage.note("completion beyond the horizon");
            record.reason = match record.status {
                Status::Failed => Reason::EndedWaiting,
                _ => Reason::EndedRunning,
            };
            record.status = Status::Incomplete;
            record.completion = horizon;
        }
        if let Some(mut next) = self.source.follow_up(&spec, &record) {
            // The arrivals of this instant are in already.
            if next.arrival <= self.now {
                self.coverage.note("follow-up due before it was known");
                next.arrival = self.now + SimTime(1);
            }
            // Behind all that arrive no later: the list stays in order of arrival, then of return.
            let at = self.follow_ups.partition_point(|other| other.arrival <= next.arrival);
            self.follow_ups.insert(at, next);
        }
        self.records.push(record);
    }

    /// What is still in flight ends with the simulation.
    fn stop(mut self, stop: Stop) -> NaiveOutcome {
        // The last byte of a response may still be on its way when nothing is left for the engines.
        let completions = self.records.iter().map(|record| record.completion);
        let end = self.scenario.horizon.unwrap_or_else(|| completions.fold(self.last_boundary, SimTime::max));
        let mut rest = Vec::new();
        for engine in &mut self.engines {
            let not_running = engine.in_transit.drain(..).chain(engine.waiting.drain(..));
            rest.extend(not_running.map(|sequence| (sequence, Where::Waiting)));
            for mut sequence in std::mem::take(&mut engine.remote.loading) {
                engine.release(&mut sequence, Leaving::ForGood);
                rest.push((sequence, Where::Waiting));
            }
            for mut hold in std::mem::take(&mut engine.remote.held) {
                engine.release(&mut hold.sequence, Leaving::ForGood);
            }
            // The step that is cut off leaves nothing computed, but its blocks are given back like the others.
            for mut sequence in std::mem::take(&mut engine.running) {
                engine.release(&mut sequence, Leaving::ForGood);
                rest.push((sequence, Where::Running));
            }
            self.coverage.add(&engine.coverage);
        }
        rest.sort_by_key(|(sequence, _)| sequence.id());
        for (sequence, place) in rest {
            let deadline = sequence.deadline();
            let (status, completion) = match deadline <= end {
                true => (Status::Timeout, deadline),
                false => (Status::Incomplete, end),
            };
            let reason = match (status, place) {
                (Status::Timeout, Where::Waiting) => Reason::TimeoutWaiting,
                (Status::Timeout, Where::Running) => Reason::TimeoutRunning,
                (_, Where::Waiting) => Reason::EndedWaiting,
                (_, Where::Running) => Reason::EndedRunning,
            };
            self.coverage.note(reason.as_str());
            self.records.push(sequence.end(completion, status, reason).record);
        }
        assert_eq!(self.records.len() as u64, self.arrived, "one end each");
        for engine in &mut self.engines {
            let counts = engine.pool.counts;
            engine.totals.blocks_allocated = counts.handed_out;
            engine.totals.blocks_freed = counts.handed_back;
            engine.totals.blocks_peak = counts.held_peak;
            engine.totals.blocks_evicted = counts.evicted;
            self.coverage.note_times("cached block evicted", counts.evicted);
        }
        NaiveOutcome {
            records: self.records,
            gaps: self.gaps,
            engines: self.engines.into_iter().map(|engine| engine.totals).collect(),
            links: self.links.into_iter().map(|link| link.totals).collect(),
            stop,
            end,
            coverage: self.coverage,
        }
    }
}

/// Where a request was when the simulation stopped.
#[derive(Clone, Copy)]
enum Where {
    Waiting,
    Running,
}

/// Tokens that will be generated within `max_model_len`.
fn target_tokens(spec: &RequestSpec, engine: &EngineSpec) -> u64 {
    let room = engine.scheduler.max_model_len.saturating_sub(spec.prompt_tokens);
    u64::from(spec.output_tokens.min(room))
}

/// Why the engine refuses a request, if it does.
fn refusal(spec: &RequestSpec, target: u64, engine: &EngineSpec, scenario: &Scenario) -> Option<Reason> {
    let scheduler = &engine.scheduler;
    let prompt = u64::from(spec.prompt_tokens);
    if prompt + 1 > u64::from(scheduler.max_model_len) {
        return Some(Reason::PromptTooLong);
    }
    if !scheduler.chunked_prefill && spec.prompt_tokens > scheduler.max_num_batched_tokens {
        return Some(Reason::PromptExceedsTokenBudget);
    }
    let blocks_for = |tokens: u64| tokens.div_ceil(u64::from(scheduler.block_tokens));
    let (own, answer) = match engine.role {
        Role::Prefill => {
            let decoding = scenario.engines.iter().filter(|other| other.role == Role::Decode);
            (prompt, decoding.map(|other| other.kv_blocks).min().expect("somebody decodes"))
        }
        Role::Both | Role::Decode => (prompt + target - 1, engine.kv_blocks),
    };
    let exceeds = blocks_for(own) > engine.kv_blocks || blocks_for(prompt + target - 1) > answer;
    exceeds.then_some(Reason::ExceedsKvCache)
}
