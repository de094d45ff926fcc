//! vLLM V1's scheduler (`v1/core/sched/scheduler.py`): the running in order of admission, then admissions, within a budget of
//! tokens. Who is in the batch, who makes room, how long a chunk is, whose head is next; and who is refused at once.

use oracle_components::SimTime;
use oracle_components::record::Reason;
use oracle_components::request::{RequestId, RequestSpec};
use oracle_components::scenario::{EngineSpec, QueuePolicy, Role, Scenario, SchedulerSpec};

use crate::naive::boundary::Found;
use crate::naive::boundary::Work;
use crate::naive::engine::Engine;
use crate::naive::kv::groups::most_blocks;
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
    let blocks_for = |tokens: u64| match &engine.kv_groups {
        Some(groups) => most_blocks(groups, scheduler, tokens),
        None => tokens.div_ceil(u64::from(scheduler.block_tokens)),
    };
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
    let limit = chunk_limit(engine);
    let holds_prompts = holds_prompts(engine);
    engine.interval_holds_head = false;
    engine.head_is_cut_to_nothing = false;
    engine.new_states.clear();
    let mut batch = Batch { engine, now, budget, limit, holds_prompts, computes_prompts: false, work: Vec::new() };
    batch.take_running();
    if batch.engine.totals.preemptions == preempted_before {
        while batch.admit_loaded() {}
        while batch.admit_head() {}
        if !holds_prompts {
            batch.engine.is_full = !batch.engine.waiting.is_empty();
        }
    }
    let Batch { computes_prompts, work, .. } = batch;
    if computes_prompts {
        if engine.scheduler.prefill_schedule_interval > 1 && work.iter().all(|(_, work)| matches!(work, Work::Decode)) {
            engine.coverage.note("interval runs from a chunk that was given back");
        }
        engine.last_prefill_step = Some(engine.steps_formed + 1);
    }
    work
}

/// The most tokens of a sequence that a step may prefill.
fn chunk_limit(engine: &Engine) -> u64 {
    let scheduler = &engine.scheduler;
    let Some(threshold) = scheduler.long_prefill_token_threshold else {
        return u64::MAX;
    };
    let requests = (engine.running.len() + engine.waiting_or_loading()) as u64;
    if scheduler.rules.lone_request_is_unlimited && requests <= 1 {
        return u64::MAX;
    }
    let share = scheduler.threshold_share_tokens.map_or(0, |tokens| u64::from(tokens) / requests.max(1));
    u64::from(threshold).max(share)
}

/// Whether prompts wait since the last was computed a short while ago and others decode.
fn holds_prompts(engine: &Engine) -> bool {
    let interval = u64::from(engine.scheduler.prefill_schedule_interval);
    let Some(last) = engine.last_prefill_step.filter(|_| interval > 1 && !engine.is_full) else {
        return false;
    };
    let computes_prompt = |sequence: &Sequence| !sequence.is_done && !sequence.decodes();
    engine.steps_formed + 1 - last < interval && !engine.running.iter().all(computes_prompt)
}

/// The batch under construction.
struct Batch<'a> {
    engine: &'a mut Engine,
    now: SimTime,
    /// Tokens that the step may still take.
    budget: u64,
    /// Most tokens of one sequence.
    limit: u64,
    /// No prompt is computed, save the last token of one.
    holds_prompts: bool,
    /// One is.
    computes_prompts: bool,
    work: Vec<(RequestId, Work)>,
}

impl Batch<'_> {
    /// Each running sequence in order of admission, whatever it does. Where there are not blocks enough, somebody makes room first.
    fn take_running(&mut self) {
        let mut position = 0;
        while position < self.engine.running.len() && self.budget > 0 {
            let sequence = &self.engine.running[position];
            let decodes = sequence.decodes();
            if sequence.is_done || self.holds_prompts && !decodes {
                position += 1;
                continue;
            }
            let id = sequence.id();
            let mut tokens = (sequence.known() - sequence.computed).min(self.limit).min(self.budget);
            if !decodes {
                tokens = self.engine.chunk_within_blocks(sequence, sequence.computed, sequence.junction, tokens);
            }
            if tokens == 0 {
                self.engine.coverage.note("chunk too short for a state to be kept");
                position += 1;
                continue;
            }
            if self.make_room(&mut position, tokens) {
                self.take(position, tokens, decodes);
                position += 1;
                continue;
            }
            self.engine.coverage.note(match decodes {
                true => "decode preempted itself",
                false => "prefill preempted itself",
            });
            let is_passed_over = self.engine.scheduler.rules.self_preempted_is_passed_over;
            assert!(self.engine.running.iter().all(|sequence| sequence.id() != id));
            if !is_passed_over {
                break;
            }
        }
        let rest = self.engine.running.iter().skip(position).filter(|sequence| sequence.decodes() && !sequence.is_done);
        let left_out = rest.count() as u64;
        self.engine.coverage.note_times("decode left out of a step", left_out);
    }

    /// Preempts until there are blocks for `tokens` more of the sequence at `position`; false if that was its own turn.
    fn make_room(&mut self, position: &mut usize, tokens: u64) -> bool {
        let sequence = &self.engine.running[*position];
        let (id, decodes) = (sequence.id(), sequence.decodes());
        let has_groups = self.engine.groups.is_some();
        let more = match has_groups {
            false => self.engine.blocks_for(sequence.computed + tokens) - sequence.blocks.len() as u64,
            true => {
                self.engine.let_go_past(*position);
                self.engine.group_blocks_needed(*position, tokens)
            }
        };
        while more > self.engine.pool.free_blocks() {
            let victim = self.victim();
            let sequence = &self.engine.running[victim];
            let victim_id = sequence.id();
            if victim_id != id {
                self.engine.coverage.note(match (sequence.is_done, sequence.decodes(), decodes) {
                    (true, ..) => "preempted though it has its last token",
                    (_, true, true) => "decode preempted for a decode",
                    (_, false, true) => "prefill preempted for a decode",
                    (_, true, false) => "decode preempted for a prefill",
                    (_, false, false) => "prefill preempted for a prefill",
                });
            }
            let at = self.work.iter().position(|(other, _)| *other == victim_id);
            let taken = at.map_or(0, |at| self.work.remove(at).1.tokens());
            if taken > 0 {
                self.engine.coverage.note("tokens of a victim go back to the budget");
            }
            self.budget += taken;
            self.engine.preempt(victim, taken);
            if victim_id == id {
                return false;
            }
            if victim < *position {
                *position -= 1;
            }
        }
        true
    }

    fn take(&mut self, position: usize, tokens: u64, decodes: bool) {
        self.computes_prompts |= !decodes;
        let work = if decodes { self.engine.decode(position) } else { self.engine.extend(position, tokens) };
        self.work.push(work);
        self.budget -= tokens;
    }

    /// Who is preempted: the last admitted, or the first admitted of those with the largest (priority, arrival).
    fn victim(&self) -> usize {
        let running = &self.engine.running;
        let last = running.len() - 1;
        let key = |at: &usize| (running[*at].spec.priority, running[*at].spec.arrival);
        match self.engine.scheduler.policy {
            QueuePolicy::Fcfs => last,
            QueuePolicy::Priority => (0..=last).rev().max_by_key(key).expect("somebody holds the blocks"),
        }
    }

    fn has_seat_and_budget(&self) -> bool {
        self.engine.running.len() < self.engine.scheduler.max_num_seqs as usize && self.budget > 0
    }

    /// Gives the next loaded sequence a slot, if there is one and it may run.
    fn admit_loaded(&mut self) -> bool {
        let seen = self.engine.seen_until(self.now);
        let Some(at) = self.engine.handoffs.next_ready(self.engine.scheduler.policy, seen) else {
            return false;
        };
        if !self.has_seat_and_budget() {
            self.engine.coverage.note("loaded sequence waits for a slot");
            return false;
        }
        if self.engine.watermark() > self.engine.pool.free_blocks() {
            self.engine.coverage.note("loaded sequence waits for the watermark");
            return false;
        }
        self.work.push(self.engine.admit_loaded(at, self.now));
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
        let found = self.engine.find(&self.engine.waiting[head]);
        let sequence = self.engine.waiting[head].clone();
        let sequence = &sequence;
        let hit = found.tokens(self.engine.block_tokens());
        let is_last_token = hit + 1 == sequence.known();
        if self.holds_prompts && !is_last_token {
            self.engine.coverage.note("prompt waits for its interval");
            self.engine.interval_holds_head = true;
            return false;
        }
        let mut chunk = (sequence.known() - hit).min(self.limit);
        if is_prefilled_whole(sequence, &self.engine.scheduler) && chunk > self.budget {
            self.engine.coverage.note("whole prompt waits for budget");
            return false;
        }
        chunk = chunk.min(self.budget);
        if let Found::Groups(in_groups) = &found {
            chunk = self.engine.chunk_within_blocks(sequence, hit, in_groups.junction, chunk);
            if chunk == 0 {
                self.engine.coverage.note("head too short for a state to be kept");
                self.engine.head_is_cut_to_nothing = true;
                return false;
            }
        }
        if !self.has_room(sequence, &found, chunk) {
            self.engine.coverage.note(match self.engine.handoffs.held.is_empty() {
                true => "head waits for blocks",
                false => "head waits for held blocks",
            });
            return false;
        }
        if !self.fits_whole(sequence, &found) {
            self.engine.coverage.note("first chunk fits, the prompt does not");
        }
        if head > 0 {
            self.engine.coverage.note("head by priority, not by arrival");
        }
        self.computes_prompts |= !is_last_token;
        let position = self.engine.admit(head, found, self.now);
        self.work.push(self.engine.extend(position, chunk));
        self.budget -= chunk;
        true
    }
}

impl Batch<'_> {
    /// Free blocks, less those that a hit takes from them and what is kept free.
    fn room(&self, hit_blocks: &[usize]) -> u64 {
        let free_hits = hit_blocks.iter().filter(|&&id| self.engine.pool.is_free(id));
        let kept = free_hits.count() as u64 + self.engine.watermark();
        self.engine.pool.free_blocks().saturating_sub(kept)
    }

    /// Whether a waiting sequence finds the blocks that it has to find to be admitted with a chunk.
    fn has_room(&self, sequence: &Sequence, found: &Found, chunk: u64) -> bool {
        match found {
            Found::Plain(blocks) => {
                let hit = found.tokens(self.engine.block_tokens());
                let reserved = if self.engine.scheduler.reserve_full_prompt { sequence.known() } else { hit + chunk };
                self.engine.blocks_for(reserved) - blocks.len() as u64 <= self.room(blocks)
            }
            Found::Groups(hit) => {
                let needed = self.engine.group_blocks_to_admit(sequence, hit, chunk);
                needed.is_some_and(|needed| needed + self.engine.watermark() <= self.engine.pool.free_blocks())
            }
        }
    }

    /// Whether all of it would find blocks.
    fn fits_whole(&self, sequence: &Sequence, found: &Found) -> bool {
        match found {
            Found::Plain(blocks) => self.engine.blocks_for(sequence.known()) - blocks.len() as u64 <= self.room(blocks),
            Found::Groups(_) => true,
        }
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

/// Whether a prefill of a sequence has to fit in one step.
fn is_prefilled_whole(sequence: &Sequence, scheduler: &SchedulerSpec) -> bool {
    !scheduler.chunked_prefill && !sequence.was_preempted()
}
