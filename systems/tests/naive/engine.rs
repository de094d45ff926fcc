//! One engine, a boundary and a step at a time: intake, expiry, the scheduler's three passes, and what a step's end does
//! to each of its sequences.

use std::collections::VecDeque;

use oracle_components::SimTime;
use oracle_components::record::{EngineTotals, PrefixEvent, Reason, Status};
use oracle_components::request::RequestId;
use oracle_components::scenario::{EngineSpec, PrefixCaching, QueuePolicy, Role, Scenario, SchedulerSpec};
use oracle_systems::costing::{StepCost, StepShape};

use super::caching::Leaving;
use super::coverage::Coverage;
use super::pool::Pool;
use super::pools::Remote;
use super::sequence::{Ended, Sequence, victim_among};

/// What a step computes of one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// The newest token, and the next one from it.
    Decode,
    /// This many known tokens.
    Chunk(u64),
}

/// A step that is running.
pub struct Step {
    /// When it began.
    pub start: SimTime,
    /// When it ends.
    pub end: SimTime,
    /// What it computes of whom.
    pub work: Vec<(RequestId, Work)>,
}

/// An engine with everything on it.
pub struct Engine {
    /// What of a request it serves.
    pub role: Role,
    /// Its limits.
    pub scheduler: SchedulerSpec,
    /// What is on its way to it, in order of arrival.
    pub in_transit: VecDeque<Sequence>,
    /// What has come and does not run.
    pub waiting: VecDeque<Sequence>,
    /// What runs, in order of admission.
    pub running: Vec<Sequence>,
    /// What is between it and engines of the other role.
    pub remote: Remote,
    /// The step that is running, if any.
    pub step: Option<Step>,
    /// When the last step that ended began.
    pub last_step: SimTime,
    /// When the lane of streamed tokens is free.
    pub lane_free: SimTime,
    /// Sums over the run.
    pub totals: EngineTotals,
    /// Its KV blocks.
    pub pool: Pool,
    /// What happened here, for the tests to know.
    pub coverage: Coverage,
    cost: StepCost,
}

impl Engine {
    /// An empty engine.
    pub fn new(spec: &EngineSpec, scenario: &Scenario) -> Self {
        Self {
            role: spec.role,
            scheduler: spec.scheduler,
            in_transit: VecDeque::new(),
            waiting: VecDeque::new(),
            running: Vec::new(),
            remote: Remote::default(),
            step: None,
            last_step: SimTime::ZERO,
            lane_free: SimTime::ZERO,
            totals: EngineTotals::default(),
            pool: Pool::new(spec.kv_blocks),
            coverage: Coverage::default(),
            cost: StepCost::new(spec, scenario),
        }
    }

    /// Requests routed here that have not ended.
    pub fn load(&self) -> u32 {
        (self.in_transit.len() + self.waiting_or_loading() + self.running.len()) as u32
    }

    fn waiting_or_loading(&self) -> usize {
        self.waiting.len() + self.remote.loading.len()
    }

    /// When it wakes, if it is idle and does.
    pub fn wakes_at(&self) -> Option<SimTime> {
        let delivery = self.in_transit.front().map(|first| first.delivered);
        delivery.into_iter().chain(self.remote.next_time()).min()
    }

    /// Tokens a block.
    pub fn block_tokens(&self) -> u64 {
        u64::from(self.scheduler.block_tokens)
    }

    fn blocks_for(&self, tokens: u64) -> u64 {
        tokens.div_ceil(self.block_tokens())
    }

    /// By when a request has to be delivered to be seen at a boundary: the next step of a batch that goes on was
    /// scheduled when the last one began, if scheduling is asynchronous.
    pub fn seen_until(&self, now: SimTime) -> SimTime {
        let goes_on = self.scheduler.async_scheduling && !self.running.is_empty();
        if goes_on { self.last_step } else { now }
    }

    /// Requests that have been delivered by `until` join the waiting queue.
    pub fn take_in(&mut self, until: SimTime) {
        while let Some(first) = self.in_transit.front()
            && first.delivered <= until
        {
            self.waiting.extend(self.in_transit.pop_front());
        }
        self.totals.waiting_peak = self.totals.waiting_peak.max(self.waiting_or_loading() as u64);
    }

    /// The next waiting or running request whose client has given up, in order of deadline and id.
    pub fn expire_one(&mut self, now: SimTime) -> Option<Ended> {
        let ready = self.remote.loading.iter().filter(|sequence| sequence.loaded().is_some_and(|at| at <= now));
        // A loaded sequence could not have been looked at before.
        let ready = ready.map(|sequence| (sequence.deadline().max(sequence.loaded().unwrap_or_default()), sequence));
        let others = self.waiting.iter().chain(&self.running).map(|sequence| (sequence.deadline(), sequence));
        let all = ready.chain(others).filter(|&(at, _)| at <= now);
        let (_, id, deadline) = all.map(|(at, sequence)| (at, sequence.id(), sequence.deadline())).min()?;
        if let Some(at) = self.waiting.iter().position(|other| other.id() == id) {
            self.coverage.note("timeout while waiting");
            let sequence = self.waiting.remove(at)?;
            if sequence.is_remote() {
                self.coverage.note("KV cache given up before it was loaded");
                self.remote.given_up.extend(sequence.record.prefill.as_ref().map(|prefill| (prefill.engine, id)));
            }
            return Some(sequence.end(deadline, Status::Timeout, Reason::TimeoutWaiting));
        }
        if let Some(at) = self.remote.loading.iter().position(|other| other.id() == id) {
            self.coverage.note("timeout of a loaded sequence without a seat");
            let mut sequence = self.remote.loading.remove(at);
            self.release(&mut sequence, Leaving::ForGood);
            return Some(sequence.end(deadline, Status::Timeout, Reason::TimeoutWaiting));
        }
        self.coverage.note("timeout while running");
        let at = self.position(id);
        let mut sequence = self.running.remove(at);
        self.release(&mut sequence, Leaving::ForGood);
        Some(sequence.end(deadline, Status::Timeout, Reason::TimeoutRunning))
    }

    /// Where a running sequence stands in the order of admission.
    pub fn position(&self, id: RequestId) -> usize {
        let found = self.running.iter().position(|other| other.id() == id);
        found.expect("work is done for running sequences only")
    }

    /// Forms the next step and starts it; none if there is nothing to do.
    pub fn schedule(&mut self, now: SimTime) {
        loop {
            let preempted_before = self.totals.preemptions;
            let work = self.form_step(now);
            if !work.is_empty() {
                self.start(now, work);
                return;
            }
            if self.totals.preemptions == preempted_before {
                assert!(self.running.is_empty(), "idle with sequences running");
                let blocks_come_back = !self.remote.loading.is_empty() || !self.remote.held.is_empty();
                assert!(self.waiting.is_empty() || blocks_come_back, "idle with requests waiting");
                assert!(!self.remote.is_ready(now), "idle with a sequence that could run");
                return;
            }
            // The only prefill that could have run preempted itself; with its blocks back, others can.
            self.coverage.note("empty step, scheduled again");
        }
    }

    fn form_step(&mut self, now: SimTime) -> Vec<(RequestId, Work)> {
        let preempted_before = self.totals.preemptions;
        let mut work = Vec::new();
        let mut budget = u64::from(self.scheduler.max_num_batched_tokens);
        self.schedule_decodes(&mut budget, &mut work);
        self.schedule_running_prefills(&mut budget, &mut work);
        if self.totals.preemptions == preempted_before {
            while self.admit_ready(now, &mut budget, &mut work) {}
            while self.admit_head(now, &mut budget, &mut work) {}
        }
        work
    }

    fn schedule_decodes(&mut self, budget: &mut u64, work: &mut Vec<(RequestId, Work)>) {
        let block_tokens = self.block_tokens();
        let needs_block = |sequence: &Sequence| sequence.decodes() && sequence.computed.is_multiple_of(block_tokens);
        while self.running.iter().filter(|one| needs_block(one)).count() as u64 > self.pool.free_blocks() {
            let everyone = 0..self.running.len();
            let victim = victim_among(&self.running, everyone, self.scheduler.policy);
            self.coverage.note(match self.running[victim].decodes() {
                true => "decode preempted for a decode",
                false => "prefill preempted for a decode",
            });
            self.preempt(victim);
        }
        for sequence in &mut self.running {
            if !sequence.decodes() {
                continue;
            }
            if needs_block(sequence) {
                sequence.blocks.push(self.pool.allocate());
            }
            work.push((sequence.id(), Work::Decode));
            *budget = budget.checked_sub(1).expect("seats within the budget");
        }
    }

    fn schedule_running_prefills(&mut self, budget: &mut u64, work: &mut Vec<(RequestId, Work)>) {
        let mut position = 0;
        while position < self.running.len() {
            let sequence = &self.running[position];
            if sequence.decodes() {
                position += 1;
                continue;
            }
            let limit = sequence.chunk_limit(&self.scheduler);
            let chunk = (sequence.known() - sequence.computed).min(limit).min(*budget);
            if chunk == 0 {
                self.coverage.note("running prefill without budget");
                return;
            }
            let held = sequence.blocks.len() as u64;
            let more = self.blocks_for(sequence.computed + chunk) - held;
            while more > self.pool.free_blocks() {
                let not_yet_served = (position..self.running.len()).filter(|&at| !self.running[at].decodes());
                let victim = victim_among(&self.running, not_yet_served, self.scheduler.policy);
                self.preempt(victim);
                if victim == position {
                    self.coverage.note("prefill preempted itself");
                    return;
                }
                self.coverage.note("prefill preempted for a prefill");
            }
            self.extend(position, chunk);
            work.push((self.running[position].id(), Work::Chunk(chunk)));
            *budget -= chunk;
            position += 1;
        }
    }

    /// Admits the head of the waiting queue, if there is one and it may run.
    fn admit_head(&mut self, now: SimTime, budget: &mut u64, work: &mut Vec<(RequestId, Work)>) -> bool {
        let seats = self.scheduler.max_num_seqs as usize;
        if self.waiting.is_empty() || self.running.len() >= seats || *budget == 0 {
            return false;
        }
        let head = match self.scheduler.policy {
            QueuePolicy::Fcfs => 0,
            QueuePolicy::Priority => {
                (0..self.waiting.len()).min_by_key(|&at| self.waiting[at].priority_key()).expect("somebody waits")
            }
        };
        if self.waiting[head].is_remote() {
            return self.start_to_load(head, now);
        }
        let hit_blocks = self.cached_prefix(&self.waiting[head]);
        let sequence = &self.waiting[head];
        let hit = hit_blocks.len() as u64 * self.block_tokens();
        let mut chunk = (sequence.known() - hit).min(sequence.chunk_limit(&self.scheduler));
        if sequence.is_prefilled_whole(&self.scheduler) && chunk > *budget {
            self.coverage.note("whole prompt waits for budget");
            return false;
        }
        chunk = chunk.min(*budget);
        let free_hits = hit_blocks.iter().filter(|&&id| self.pool.is_free(id));
        let room = self.pool.free_blocks() - free_hits.count() as u64;
        let reserved = if self.scheduler.reserve_full_prompt { sequence.known() } else { hit + chunk };
        if self.blocks_for(reserved) - hit_blocks.len() as u64 > room {
            self.coverage.note(match self.remote.held.is_empty() {
                true => "head waits for blocks",
                false => "head waits for held blocks",
            });
            return false;
        }
        if self.blocks_for(sequence.known()) - hit_blocks.len() as u64 > room {
            self.coverage.note("first chunk fits, the prompt does not");
        }
        if head > 0 {
            self.coverage.note("head by priority, not by arrival");
        }
        let mut sequence = self.waiting.remove(head).expect("the head waits");
        self.note_admission(&mut sequence, now, hit);
        self.take_hit(&mut sequence, hit_blocks);
        sequence.computed = hit;
        sequence.generated_in_residence = 0;
        work.push((sequence.id(), Work::Chunk(chunk)));
        self.running.push(sequence);
        self.extend(self.running.len() - 1, chunk);
        *budget -= chunk;
        true
    }

    fn note_admission(&mut self, sequence: &mut Sequence, now: SimTime, hit: u64) {
        let known = sequence.known();
        let record = &mut sequence.record;
        if record.preemptions > 0 {
            record.recomputed_tokens += sequence.high_water.saturating_sub(hit) as u32;
        }
        if record.scheduled.is_some() {
            return;
        }
        record.scheduled = Some(now);
        record.cached_tokens = hit as u32;
        record.prefix_event = if self.scheduler.prefix_caching == PrefixCaching::Off {
            PrefixEvent::None
        } else if hit > 0 && hit == known - 1 {
            PrefixEvent::FullHit
        } else {
            match (hit > 0, record.turn > 0) {
                (true, true) => PrefixEvent::ConversationalHit,
                (true, false) => PrefixEvent::CrossRequestHit,
                (false, true) => PrefixEvent::ConversationalMiss,
                (false, false) => PrefixEvent::Miss,
            }
        };
    }

    fn preempt(&mut self, position: usize) {
        let mut sequence = self.running.remove(position);
        self.release(&mut sequence, Leaving::ToComeBack);
        sequence.high_water = sequence.high_water.max(sequence.computed);
        sequence.computed = 0;
        sequence.generated_in_residence = 0;
        if std::mem::take(&mut sequence.loaded_in_residence) {
            self.coverage.note("loaded sequence preempted");
        }
        sequence.record.preemptions += 1;
        self.totals.preemptions += 1;
        self.waiting.push_front(sequence);
        self.totals.waiting_peak = self.totals.waiting_peak.max(self.waiting_or_loading() as u64);
    }

    fn start(&mut self, now: SimTime, work: Vec<(RequestId, Work)>) {
        let mut shape = StepShape::default();
        let mut decode_context = 0;
        let mut tokens = 0;
        for &(id, one) in &work {
            let sequence = &self.running[self.position(id)];
            match one {
                Work::Decode => {
                    tokens += 1;
                    shape.decode_sequences += 1;
                    shape.sampled_rows += 1;
                    decode_context += sequence.computed + 1;
                }
                Work::Chunk(chunk) => {
                    tokens += chunk;
                    shape.prefill_sequences += 1;
                    shape.prefill_tokens += chunk as u32;
                    shape.prefill_pairs += chunk * sequence.computed + chunk * (chunk + 1) / 2;
                    shape.prefill_context_tokens += sequence.computed + chunk;
                    let context = (sequence.computed + chunk) as u32;
                    shape.prefill_longest_context = shape.prefill_longest_context.max(context);
                    if sequence.computed + chunk == sequence.known() {
                        shape.sampled_rows += 1;
                    }
                }
            }
        }
        assert!(tokens <= u64::from(self.scheduler.max_num_batched_tokens));
        assert!(self.running.len() <= self.scheduler.max_num_seqs as usize);
        self.totals.running_peak = self.totals.running_peak.max(self.running.len() as u64);
        let duration = self.cost.prepare(&shape).duration(decode_context);
        self.step = Some(Step { start: now, end: now + duration, work });
        self.check();
    }

    /// Conservation: blocks are free or held by those who say so, and a sequence holds what its tokens need.
    pub fn check(&self) {
        let held = self.running.iter().chain(self.remote.holders());
        self.pool.check(held.flat_map(|sequence| &sequence.blocks));
        for sequence in &self.running {
            let scheduled = self.step.as_ref().map_or(0, |step| {
                let mine = step.work.iter().find(|(id, _)| *id == sequence.id());
                mine.map_or(0, |(_, work)| match work {
                    Work::Decode => 1,
                    Work::Chunk(chunk) => *chunk,
                })
            });
            let tokens = sequence.computed + scheduled;
            assert_eq!(sequence.blocks.len() as u64, self.blocks_for(tokens));
            assert!(tokens <= sequence.known());
        }
        for sequence in &self.waiting {
            assert!(sequence.blocks.is_empty() && sequence.computed == 0);
        }
    }
}
