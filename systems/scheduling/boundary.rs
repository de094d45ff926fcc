//! A boundary as a batch policy sees it: what it may read, and the verbs that are all it may change.
//!
//! A policy holds no field of an engine. Whatever it decides, the verbs keep queues, KV blocks, running sequences and chunks in
//! agreement; one that cannot be carried out (more tokens than the budget, more blocks than are free) panics and says so, since
//! only the policy can be wrong.

use bevy_ecs::prelude::*;
use oracle_components::SimTime;
use oracle_components::engine::{Chunk, PriorityKey};
use oracle_components::record::{Hold, PrefixEvent};
use oracle_components::request::Request;
use oracle_components::scenario::{PrefixCaching, SchedulerSpec};
use oracle_components::sequence::{Phase, Sequence};

use super::remove::{Removal, remove};
use super::{handoffs, queue};
use crate::kv::{self, BlockKeys, Hit, block_keys};
use crate::running;
use crate::world::EngineView;

/// What a policy may know of a sequence.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Which.
    pub who: Entity,
    /// Tokens known of it: the prompt, and what was generated before a preemption.
    pub known: u32,
    /// Those of them in the KV cache.
    pub computed: u32,
    /// Times it was preempted.
    pub preemptions: u32,
    /// Its place under the priority policy: (priority, arrival, number).
    pub key: PriorityKey,
    /// A prefill engine has computed its prompt, whose KV cache has to be loaded.
    pub is_to_load: bool,
    request: Entity,
}

impl Candidate {
    fn of(who: Entity, sequence: &Sequence) -> Self {
        Self {
            who,
            known: sequence.prompt_tokens + sequence.generated,
            computed: sequence.computed,
            preemptions: sequence.preemptions,
            key: running::priority_key(sequence),
            is_to_load: handoffs::is_to_load(sequence),
            request: sequence.request,
        }
    }

    /// Known tokens that are not in the KV cache.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.known - self.computed
    }
}

/// An engine between two steps.
pub struct Boundary<'a, 'w> {
    parts: &'a mut EngineView<'w>,
    sequences: Query<'a, 'a, &'static mut Sequence>,
    requests: &'a Query<'a, 'a, &'static Request>,
    now: SimTime,
    /// Tokens that the step may still take.
    budget: u32,
    /// Sequences that the policy lets enter at most, from here on.
    entries_left: u32,
    is_gated: bool,
    preempted: bool,
    decodes_taken: bool,
}

impl<'a, 'w> Boundary<'a, 'w> {
    /// The boundary at `now`, with an empty batch.
    pub(super) fn new(
        parts: &'a mut EngineView<'w>,
        sequences: Query<'a, 'a, &'static mut Sequence>,
        requests: &'a Query<'a, 'a, &'static Request>,
        now: SimTime,
    ) -> Self {
        parts.batch.chunks.clear();
        let budget = parts.engine.scheduler.max_num_batched_tokens;
        Self {
            parts,
            sequences,
            requests,
            now,
            budget,
            entries_left: u32::MAX,
            is_gated: false,
            preempted: false,
            decodes_taken: false,
        }
    }

    /// What holds the queue back while the batch stands, the same at each boundary at which it is. Why a policy lets nobody in
    /// though it could is its own matter.
    pub(super) fn hold(&mut self) -> Option<Hold> {
        let limits = *self.limits();
        if self.parts.running.count == limits.max_num_seqs {
            return Some(Hold::Seats);
        }
        let head = self.head().filter(|_| !self.is_gated)?;
        let is_computed_whole = !limits.chunked_prefill && head.preemptions == 0 && !head.is_to_load;
        let is_out_of_budget = self.budget == 0 || (is_computed_whole && head.known > self.budget);
        Some(if is_out_of_budget { Hold::TokenBudget } else { Hold::KvCache })
    }

    /// Whether the batch is empty although something was preempted: with the blocks that are back, it can be formed again.
    pub(super) fn is_to_be_formed_again(&self) -> bool {
        let decodes = self.parts.running.decodes;
        assert!(decodes == 0 || self.decodes_taken, "a policy leaves no decode out of the batch");
        decodes == 0 && self.parts.batch.chunks.is_empty() && self.preempted
    }
}

/// What a policy may read.
impl<'a> Boundary<'a, '_> {
    /// When the step begins.
    #[must_use]
    pub fn now(&self) -> SimTime {
        self.now
    }

    /// The engine's limits.
    #[must_use]
    pub fn limits(&self) -> &SchedulerSpec {
        &self.parts.engine.scheduler
    }

    /// Tokens that the step may still take.
    #[must_use]
    pub fn budget(&self) -> u32 {
        self.budget
    }

    /// Sequences that may still enter (`max_num_seqs` less those that run), at this boundary: see [`Self::limit_entries`].
    #[must_use]
    pub fn slots_left(&self) -> u32 {
        (self.parts.engine.scheduler.max_num_seqs - self.parts.running.count).min(self.entries_left)
    }

    /// Sequences that run.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.parts.running.count
    }

    /// Blocks that nobody holds.
    #[must_use]
    pub fn free_blocks(&self) -> u64 {
        kv::free_blocks(self.parts.pool)
    }

    /// Blocks that the decodes need for this step, one for each that starts one.
    #[must_use]
    pub fn decode_blocks(&self) -> u64 {
        u64::from(running::blocks_needed(self.parts.running, self.parts.clock.steps))
    }

    /// Whether somebody was preempted at this boundary.
    #[must_use]
    pub fn has_preempted(&self) -> bool {
        self.preempted
    }

    /// Requests in the waiting queue.
    #[must_use]
    pub fn queued(&self) -> u32 {
        self.parts.queues.waiting_count
    }

    /// Requests in the waiting queue, and those whose KV caches are being loaded.
    #[must_use]
    pub fn queued_or_loading(&self) -> u32 {
        self.parts.waiting_or_loading()
    }

    /// Running prefills that are not in the batch yet, in order of admission.
    pub fn prefills(&self) -> impl Iterator<Item = Candidate> {
        let running = &self.parts.running.prefills[self.parts.batch.chunks.len()..];
        running.iter().map(|&who| Candidate::of(who, self.sequences.get(who).expect("a running sequence lives")))
    }

    /// The first of [`Self::prefills`], whose turn it is.
    #[must_use]
    pub fn next_prefill(&self) -> Option<Candidate> {
        self.prefills().next()
    }

    /// Blocks that a running prefill needs for a chunk of `tokens`, beside those that it holds.
    #[must_use]
    pub fn chunk_blocks(&self, prefill: &Candidate, tokens: u32) -> u64 {
        u64::from(kv::further_blocks(prefill.computed, tokens, self.limits().block_tokens))
    }

    /// The head of the waiting queue.
    pub fn head(&mut self) -> Option<Candidate> {
        let who = queue::head(self.parts.queues, &self.sequences)?;
        Some(Candidate::of(who, self.sequences.get(who).expect("the head of the queue lives")))
    }

    /// The running sequence that the queue's policy preempts first: the last admitted, or that of the highest priority number.
    pub fn victim(&mut self) -> Entity {
        let policy = self.limits().policy;
        running::victim(self.parts.running, policy)
    }

    /// The running sequences in order of admission (by priority under that policy), the decodes among them up to date. Takes a
    /// look at each, so a policy that needs it at every boundary is slow.
    pub fn all_running(&self) -> impl Iterator<Item = Candidate> {
        let running = &self.parts.running;
        let by_admission = running.admitted.iter().flatten();
        by_admission.chain(running.by_priority.values()).map(|&who| {
            let sequence = self.sequences.get(who).expect("a running sequence lives");
            let decoded = match sequence.phase {
                Phase::Decode => (self.parts.clock.steps - sequence.entered_step) as u32,
                _ => 0,
            };
            let seen = Candidate::of(who, sequence);
            Candidate { known: seen.known + decoded, computed: seen.computed + decoded, ..seen }
        })
    }

    /// The cached prefix that counts for the head of the queue.
    #[must_use]
    pub fn look_up(&self, head: &Candidate) -> Hit {
        let scheduler = self.limits();
        if scheduler.prefix_caching == PrefixCaching::Off {
            return Hit::default();
        }
        let request = self.request(head);
        let hit = kv::look_up(self.parts.pool, &waiting_keys(head, request, scheduler), head.known);
        let first = request.spec.turn == 0 && head.preemptions == 0;
        let too_short = hit.blocks() * scheduler.block_tokens < scheduler.min_cached_prefix_tokens;
        if first && too_short { Hit::default() } else { hit }
    }

    fn request(&self, candidate: &Candidate) -> &'a Request {
        let requests = self.requests;
        requests.get(candidate.request).expect("a sequence's request lives as long as it does")
    }
}

/// All that a policy may change.
impl Boundary<'_, '_> {
    /// Every decode takes a token, with a block where it starts one.
    pub fn decode_all(&mut self) {
        assert!(!self.decodes_taken, "decodes take a token a step");
        let blocks = self.decode_blocks();
        assert!(blocks <= self.free_blocks(), "decodes take a token only if their blocks are free");
        kv::allocate(self.parts.pool, blocks);
        self.budget -= self.parts.running.decodes;
        self.decodes_taken = true;
    }

    /// The first of [`Self::prefills`] takes `tokens`, with their blocks.
    pub fn chunk(&mut self, prefill: &Candidate, tokens: u32) {
        let next = self.parts.running.prefills.get(self.parts.batch.chunks.len());
        assert!(next == Some(&prefill.who), "running prefills take their chunks in order of admission");
        assert!(0 < tokens && tokens <= self.budget.min(prefill.left()), "a chunk is within the budget and the prompt");
        assert!(self.chunk_blocks(prefill, tokens) <= self.free_blocks(), "a chunk has its blocks");
        self.take_chunk(prefill, prefill.computed, tokens);
    }

    /// The head of the queue gets a slot and the blocks of its cached prefix, and takes `tokens` behind that.
    pub fn admit(&mut self, head: &Candidate, hit: Hit, tokens: u32) {
        let scheduler = *self.limits();
        assert!(self.slots_left() > 0, "who is admitted gets a slot");
        assert!(
            self.parts.batch.chunks.len() == self.parts.running.prefills.len(),
            "running prefills take their chunks before anybody is admitted"
        );
        let cached = hit.blocks() * scheduler.block_tokens;
        assert!(0 < tokens && tokens <= self.budget && cached + tokens <= head.known, "a chunk is within the budget");
        let blocks = kv::further_blocks(cached, tokens, scheduler.block_tokens) + hit.free_blocks;
        assert!(u64::from(blocks) <= self.free_blocks(), "who is admitted gets its blocks");
        let request = self.request(head);
        if hit.blocks() > 0 {
            kv::take_hit(self.parts.pool, &waiting_keys(head, request, &scheduler), hit);
        }
        self.entries_left -= 1;
        queue::pop_head(self.parts.queues);
        let mut sequence = self.sequences.get_mut(head.who).expect("the head of the queue lives");
        start_running(&mut sequence, request.spec.turn, cached, head.known, self.now, &scheduler);
        running::enter(self.parts.running, &mut sequence, head.who, scheduler.policy);
        self.parts.running.prefills.push(head.who);
        self.take_chunk(head, cached, tokens);
    }

    /// The head of the queue takes blocks and starts to load its KV cache, if there are as many: whether it does.
    pub fn start_load(&mut self, head: &Candidate) -> bool {
        handoffs::start_to_load(self.parts, &mut self.sequences, head.who)
    }

    /// Sequences whose KV caches are loaded get slots, in order of loading, while there are any and the budget lasts.
    pub fn admit_loaded(&mut self) {
        let most = self.budget.min(self.slots_left());
        let admitted = handoffs::admit_loaded(self.parts, &mut self.sequences, self.now, most);
        self.budget -= admitted;
        self.entries_left -= admitted;
    }

    /// No more than `most` enter at this boundary from here on: with it a policy gates another that it calls.
    pub fn limit_entries(&mut self, most: u32) {
        self.entries_left = most;
        self.is_gated = true;
    }

    /// A running sequence goes back to the queue; its blocks are free, and what was computed is computed again.
    pub fn preempt(&mut self, who: Entity) {
        let mut sequence = self.sequences.get_mut(who).expect("a running sequence lives");
        let in_batch = match sequence.phase {
            Phase::Decode => self.decodes_taken,
            _ => self.parts.batch.chunks.iter().any(|chunk| chunk.sequence == who),
        };
        assert!(!in_batch, "who is in the batch is not preempted");
        remove(self.parts, &mut sequence, who, self.requests, Removal::Preempted);
        self.preempted = true;
    }

    /// Adds the chunk of a running prefill that has `computed` tokens in the KV cache.
    fn take_chunk(&mut self, candidate: &Candidate, computed: u32, tokens: u32) {
        let scheduler = self.limits();
        let (caching, block_tokens) = (scheduler.prefix_caching, scheduler.block_tokens);
        if caching == PrefixCaching::Off {
            let blocks = kv::further_blocks(computed, tokens, block_tokens);
            kv::allocate(self.parts.pool, u64::from(blocks));
        } else {
            let keys = block_keys(self.request(candidate), caching, block_tokens);
            kv::extend(self.parts.pool, &keys, computed, tokens);
        }
        let completes = computed + tokens == candidate.known;
        self.parts.batch.chunks.push(Chunk { sequence: candidate.who, tokens, context: computed, completes });
        self.budget -= tokens;
    }
}

/// What names the blocks of a waiting sequence: one that was preempted finds its own.
fn waiting_keys<'a>(candidate: &Candidate, request: &'a Request, scheduler: &SchedulerSpec) -> BlockKeys<'a> {
    let keys = block_keys(request, scheduler.prefix_caching, scheduler.block_tokens);
    if candidate.preemptions > 0 { keys.findable_by(candidate.key.2) } else { keys }
}

/// An admitted sequence's own books.
fn start_running(sequence: &mut Sequence, turn: u32, cached: u32, known: u32, now: SimTime, scheduler: &SchedulerSpec) {
    sequence.phase = Phase::Prefill;
    sequence.computed = cached;
    sequence.recomputed_tokens += sequence.high_water.saturating_sub(cached);
    if sequence.scheduled.is_some() {
        return;
    }
    sequence.scheduled = Some(now);
    sequence.cached_tokens = cached;
    sequence.prefix_event = match (scheduler.prefix_caching, cached) {
        (PrefixCaching::Off, _) => PrefixEvent::None,
        (_, 0) if turn > 0 => PrefixEvent::ConversationalMiss,
        (_, 0) => PrefixEvent::Miss,
        (_, cached) if cached == known - 1 => PrefixEvent::FullHit,
        _ if turn > 0 => PrefixEvent::ConversationalHit,
        _ => PrefixEvent::CrossRequestHit,
    };
}
