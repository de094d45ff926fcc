//! vLLM V1's scheduler (`v1/core/sched/scheduler.py`): decodes first, then running prefills, then admissions, within a budget
//! of tokens. Who is in the batch, who makes room, how long a chunk is, whose head is next; and who is refused at once.

use oracle_components::SimTime;
use oracle_components::record::Reason;
use oracle_components::request::{RequestId, RequestSpec};
use oracle_components::scenario::{EngineSpec, QueuePolicy, Role, Scenario, SchedulerSpec};

use crate::naive::boundary::Work;
use crate::naive::engine::Engine;
use crate::naive::sequence::Sequence;

/// Why the engine refuses a request that may generate `target` tokens, if it does.
pub fn refusal(spec: &RequestSpec, target: u64, engine: &EngineSpec, scenario: &Scenario) -> Option<Reason> {
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

/// What the step that starts at `now` computes of whom; nothing if there is nothing to do.
pub fn form(engine: &mut Engine, now: SimTime) -> Vec<(RequestId, Work)> {
    let preempted_before = engine.totals.preemptions;
    let budget = u64::from(engine.scheduler.max_num_batched_tokens);
    let mut batch = Batch { engine, now, budget, work: Vec::new() };
    batch.take_decodes();
    batch.take_prefills();
    if batch.engine.totals.preemptions == preempted_before {
        while batch.admit_loaded() {}
        while batch.admit_head() {}
    }
    batch.work
}

/// The batch under construction.
struct Batch<'a> {
    engine: &'a mut Engine,
    now: SimTime,
    /// Tokens that the step may still take.
    budget: u64,
    work: Vec<(RequestId, Work)>,
}

impl Batch<'_> {
    /// One token of each decode. Where there are not blocks enough, somebody makes room first.
    fn take_decodes(&mut self) {
        let block_tokens = self.engine.block_tokens();
        let needs_block = |sequence: &&Sequence| sequence.decodes() && sequence.computed.is_multiple_of(block_tokens);
        while self.engine.running.iter().filter(needs_block).count() as u64 > self.engine.pool.free_blocks() {
            let everyone = 0..self.engine.running.len();
            let victim = self.victim_among(everyone);
            self.engine.coverage.note(match self.engine.running[victim].decodes() {
                true => "decode preempted for a decode",
                false => "prefill preempted for a decode",
            });
            self.engine.preempt(victim);
        }
        for position in 0..self.engine.running.len() {
            if self.engine.running[position].decodes() {
                self.work.push(self.engine.decode(position));
                self.budget = self.budget.checked_sub(1).expect("slots within the budget");
            }
        }
    }

    /// The next chunk of each running prefill, in order of admission.
    fn take_prefills(&mut self) {
        let mut position = 0;
        while position < self.engine.running.len() {
            let sequence = &self.engine.running[position];
            if sequence.decodes() {
                position += 1;
                continue;
            }
            let limit = chunk_limit(sequence, &self.engine.scheduler);
            let chunk = (sequence.known() - sequence.computed).min(limit).min(self.budget);
            if chunk == 0 {
                self.engine.coverage.note("running prefill without budget");
                return;
            }
            let held = sequence.blocks.len() as u64;
            let more = self.engine.blocks_for(sequence.computed + chunk) - held;
            while more > self.engine.pool.free_blocks() {
                let running = &self.engine.running;
                let not_yet_served: Vec<_> = (position..running.len()).filter(|&at| !running[at].decodes()).collect();
                let victim = self.victim_among(not_yet_served.into_iter());
                self.engine.preempt(victim);
                if victim == position {
                    self.engine.coverage.note("prefill preempted itself");
                    return;
                }
                self.engine.coverage.note("prefill preempted for a prefill");
            }
            self.work.push(self.engine.extend(position, chunk));
            self.budget -= chunk;
            position += 1;
        }
    }

    /// Which of `candidates` (positions in the running list, which is in order of admission) is preempted.
    fn victim_among(&self, candidates: impl Iterator<Item = usize>) -> usize {
        let victim = match self.engine.scheduler.policy {
            QueuePolicy::Fcfs => candidates.max(),
            QueuePolicy::Priority => candidates.max_by_key(|&at| self.engine.running[at].priority_key()),
        };
        victim.expect("somebody holds the blocks that are not free")
    }

    fn has_seat_and_budget(&self) -> bool {
        self.engine.running.len() < self.engine.scheduler.max_num_seqs as usize && self.budget > 0
    }

    /// Gives the next loaded sequence a slot, if there is one and it may run.
    fn admit_loaded(&mut self) -> bool {
        let Some(at) = self.engine.handoffs.next_ready(self.now) else {
            return false;
        };
        if !self.has_seat_and_budget() {
            self.engine.coverage.note("loaded sequence waits for a slot");
            return false;
        }
        self.work.push(self.engine.admit_loaded(at));
        self.budget -= 1;
        true
    }

    /// Admits the head of the waiting queue, or starts to load its KV cache, if there is one and it may run.
    fn admit_head(&mut self) -> bool {
        if self.engine.waiting.is_empty() || !self.has_seat_and_budget() {
            return false;
        }
        let head = head(self.engine);
        if self.engine.waiting[head].is_remote() {
            return self.engine.start_to_load(head, self.now);
        }
        let hit_blocks = self.engine.cached_prefix(&self.engine.waiting[head]);
        let sequence = &self.engine.waiting[head];
        let hit = hit_blocks.len() as u64 * self.engine.block_tokens();
        let mut chunk = (sequence.known() - hit).min(chunk_limit(sequence, &self.engine.scheduler));
        if is_prefilled_whole(sequence, &self.engine.scheduler) && chunk > self.budget {
            self.engine.coverage.note("whole prompt waits for budget");
            return false;
        }
        chunk = chunk.min(self.budget);
        let free_hits = hit_blocks.iter().filter(|&&id| self.engine.pool.is_free(id));
        let room = self.engine.pool.free_blocks() - free_hits.count() as u64;
        let reserved = if self.engine.scheduler.reserve_full_prompt { sequence.known() } else { hit + chunk };
        let whole = self.engine.blocks_for(sequence.known()) - hit_blocks.len() as u64;
        if self.engine.blocks_for(reserved) - hit_blocks.len() as u64 > room {
            self.engine.coverage.note(match self.engine.handoffs.held.is_empty() {
                true => "head waits for blocks",
                false => "head waits for held blocks",
            });
            return false;
        }
        if whole > room {
            self.engine.coverage.note("first chunk fits, the prompt does not");
        }
        if head > 0 {
            self.engine.coverage.note("head by priority, not by arrival");
        }
        let position = self.engine.admit(head, hit_blocks, self.now);
        self.work.push(self.engine.extend(position, chunk));
        self.budget -= chunk;
        true
    }
}

/// Where the next to be admitted stands in the waiting queue.
fn head(engine: &Engine) -> usize {
    let waiting = &engine.waiting;
    match engine.scheduler.policy {
        QueuePolicy::Fcfs => 0,
        QueuePolicy::Priority => {
            (0..waiting.len()).min_by_key(|&at| waiting[at].priority_key()).expect("somebody waits")
        }
    }
}

/// Whether the head of the queue has to be computed whole, and is longer than what is left of the budget.
pub fn is_too_long_to_fit(engine: &Engine, budget_left: u64) -> bool {
    let head = &engine.waiting[head(engine)];
    is_prefilled_whole(head, &engine.scheduler) && !head.is_remote() && head.known() > budget_left
}

/// The most tokens of a sequence that a step may prefill.
fn chunk_limit(sequence: &Sequence, scheduler: &SchedulerSpec) -> u64 {
    match scheduler.long_prefill_token_threshold {
        Some(limit) if scheduler.chunked_prefill || sequence.was_preempted() => u64::from(limit),
        _ => u64::MAX,
    }
}

/// Whether a prefill of a sequence has to fit in one step.
fn is_prefilled_whole(sequence: &Sequence, scheduler: &SchedulerSpec) -> bool {
    !scheduler.chunked_prefill && !sequence.was_preempted()
}
