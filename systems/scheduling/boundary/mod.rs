//! A boundary as a batch policy sees it: what it may read, and the verbs that are all it may change.
//!
//! A policy holds no field of an engine. Whatever it decides, the verbs keep queues, KV blocks, running sequences and chunks in
//! agreement; one that cannot be carried out (more tokens than the budget, more blocks than are free) panics and says so, since
//! only the policy can be wrong.

mod blocks;

use bevy_ecs::prelude::*;
use oracle_components::SimTime;
use oracle_components::engine::{Chunk, PriorityKey};
use oracle_components::record::{Hold, PrefixEvent};
use oracle_components::request::Request;
use oracle_components::scenario::{PrefixCaching, SchedulerSpec};
use oracle_components::sequence::{Phase, Sequence};

use super::remove::{Removal, remove};
use super::{handoffs, queue};
use crate::kv::{self, Hit, block_keys};
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
    /// It has all of its tokens but the next in the KV cache, after one that it generated since it was admitted.
    pub is_decode: bool,
    /// A prefill engine has computed its prompt, whose KV cache has to be loaded.
    pub is_to_load: bool,
    request: Entity,
}

impl Candidate {
    /// A sequence, at an engine that has ended so many steps.
    fn of(who: Entity, sequence: &Sequence, steps: u64) -> Self {
        let decoded = if sequence.phase == Phase::Decode { (steps - sequence.entered_step) as u32 } else { 0 };
        let computed = sequence.computed + decoded;
        let is_decode = matches!(sequence.phase, Phase::Decode | Phase::Paused);
        // Of a client that has given up, the scheduler does not know it: a token is on its way.
        let known = (sequence.prompt_tokens + sequence.generated + decoded).max(computed + u32::from(is_decode));
        Self {
            who,
            known,
            computed,
            preemptions: sequence.preemptions,
            is_decode,
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
    prompt_chunk_taken: bool,
    decodes_taken: bool,
    /// Admission number of the next running sequence to look at.
    next: u64,
    /// The one that was looked at last, until it is in the batch.
    looked_at: Option<Entity>,
    /// Decodes that are in the batch one by one.
    decodes_apart: u32,
    /// Decodes that start a block.
    starting_blocks: u64,
    /// Blocks that decodes have taken before others were preempted.
    taken_ahead: u64,
    /// Where layers of several kinds share the pool: blocks of decodes that are in the batch are still to be seen to.
    has_unseen: bool,
    /// Nothing of the head fits within the blocks at whose ends states are kept.
    head_is_cut_to_nothing: bool,
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
        parts.batch.orphans.clear();
        kv::groups::forget_new_states(parts.pool);
        let budget = parts.engine.scheduler.max_num_batched_tokens;
        let next = parts.running.first_admission;
        let starting_blocks = running::blocks_needed(parts.running, parts.clock.steps);
        Self {
            parts,
            sequences,
            requests,
            now,
            budget,
            entries_left: u32::MAX,
            is_gated: false,
            preempted: false,
            prompt_chunk_taken: false,
            decodes_taken: false,
            next,
            looked_at: None,
            decodes_apart: 0,
            starting_blocks,
            taken_ahead: 0,
            has_unseen: false,
            head_is_cut_to_nothing: false,
        }
    }

    /// What holds the queue back while the batch stands, the same at each boundary at which it is. Why a policy lets nobody in
    /// though it could is its own matter.
    pub(super) fn hold(&mut self) -> Option<Hold> {
        let limits = self.limits();
        if self.parts.running.count == limits.max_num_seqs {
            return Some(Hold::Seats);
        }
        if self.is_gated || self.queued() == 0 {
            return None;
        }
        // The head of a long queue is in no cache.
        if self.budget == 0 || self.head_is_cut_to_nothing {
            return Some(Hold::TokenBudget);
        }
        if limits.chunked_prefill {
            return Some(Hold::KvCache);
        }
        let head = self.head()?;
        let is_computed_whole = head.preemptions == 0 && !head.is_to_load;
        let is_out_of_budget = is_computed_whole && head.known > self.budget;
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
impl<'a, 'w> Boundary<'a, 'w> {
    /// When the step begins.
    #[must_use]
    pub fn now(&self) -> SimTime {
        self.now
    }

    /// The engine's limits.
    #[must_use]
    pub fn limits(&self) -> &'w SchedulerSpec {
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

    /// Running sequences that decode all at once, a token each ([`Self::decode_all`]).
    #[must_use]
    pub fn decodes(&self) -> u32 {
        self.parts.running.decodes
    }

    /// Sequences that run, those included that have ended and whose slots are not free yet.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.parts.running.count
    }

    /// Blocks that nobody holds.
    #[must_use]
    pub fn free_blocks(&self) -> u64 {
        kv::free_blocks(self.parts.pool)
    }

    /// Blocks that the decodes need for this step, one for each that starts one, beside those that the first of them have taken
    /// before somebody was preempted.
    #[must_use]
    pub fn decode_blocks(&self) -> u64 {
        self.starting_blocks.saturating_sub(self.taken_ahead)
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

    /// Running prefills that are not in the batch yet, and decodes that a step has left out, in order of admission.
    pub fn prefills(&self) -> impl Iterator<Item = Candidate> {
        self.prefills_to_come().iter().map(|&(_, who)| self.candidate(who))
    }

    /// [`Self::prefills`], with their admission numbers.
    fn prefills_to_come(&self) -> &[(u64, Entity)] {
        let prefills = &self.parts.running.prefills;
        &prefills[prefills.partition_point(|&(admission, _)| admission < self.next)..]
    }

    /// The first of [`Self::prefills`], whose turn it is.
    #[must_use]
    pub fn next_prefill(&self) -> Option<Candidate> {
        self.prefills().next()
    }

    /// Whether there are any of [`Self::prefills`].
    #[must_use]
    pub fn has_prefills(&self) -> bool {
        self.parts.running.prefills.last().is_some_and(|&(admission, _)| admission >= self.next)
    }

    /// Whether a chunk of a prompt was put into the batch, be it that its sequence was preempted since.
    #[must_use]
    pub fn took_prompt_chunk(&self) -> bool {
        self.prompt_chunk_taken
    }

    /// Whether a running sequence is not in the batch.
    #[must_use]
    pub fn leaves_some_out(&self) -> bool {
        self.parts.running.prefills.len() > self.parts.batch.chunks.len()
    }

    /// How many running sequences have known tokens to compute, beside the one that each decode generates.
    #[must_use]
    pub fn computing(&self) -> u32 {
        self.prefills().filter(|prefill| !prefill.is_decode).count() as u32
    }

    /// Whether a sequence that decodes was admitted after one that does not.
    #[must_use]
    pub fn decodes_behind_prefills(&self) -> bool {
        let running = &self.parts.running;
        let Some(&(first, _)) = running.prefills.first() else { return false };
        let behind = running.admitted.range((first - running.first_admission) as usize..).flatten();
        behind.copied().any(|who| self.sequence(who).phase == Phase::Decode)
    }

    fn candidate(&self, who: Entity) -> Candidate {
        Candidate::of(who, self.sequence(who), self.parts.clock.steps)
    }

    fn sequence(&self, who: Entity) -> &Sequence {
        self.sequences.get(who).expect("a sequence of an engine lives")
    }

    /// Blocks that the KV cache of the head of the queue is loaded into.
    #[must_use]
    pub fn load_blocks(&self, head: &Candidate) -> u64 {
        handoffs::load_blocks(self.sequence(head.who), self.limits().block_tokens)
    }

    /// Blocks that the running prompts still need to be computed to their ends, beside those of the batch.
    #[must_use]
    pub fn blocks_of_prompts_to_come(&self) -> u64 {
        let prompts = self.parts.running.prefills.iter().map(|&(_, who)| self.candidate(who));
        let all: u64 = prompts.filter(|prompt| !prompt.is_decode).map(|p| self.chunk_blocks(&p, p.left())).sum();
        let chunks = self.parts.batch.chunks.iter().filter(|chunk| !chunk.is_decode);
        let block_tokens = self.limits().block_tokens;
        let taken = chunks.map(|chunk| u64::from(kv::further_blocks(chunk.context, chunk.tokens, block_tokens)));
        all - taken.sum::<u64>()
    }

    /// The head of the waiting queue.
    pub fn head(&mut self) -> Option<Candidate> {
        self.see_to_decodes(u64::MAX);
        let (who, sequence) = queue::head(self.parts.queues, &self.sequences)?;
        Some(Candidate::of(who, sequence, self.parts.clock.steps))
    }

    /// The running sequence that the queue's policy preempts first: the last admitted, or that of the highest priority number.
    pub fn victim(&mut self) -> Entity {
        let policy = self.limits().policy;
        running::victim(self.parts.running, policy)
    }

    /// The running sequences in order of admission, with their tokens as of the last step: after [`Self::decode_all`] or
    /// [`Self::chunk`] the blocks of this step are taken, its tokens not counted. Takes a look at each, so a policy that needs it
    /// at every boundary is slow.
    pub fn all_running(&self) -> impl Iterator<Item = Candidate> {
        self.parts.running.admitted.iter().flatten().map(|&who| self.candidate(who))
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
        self.take_blocks_of_decodes(blocks);
        if self.taken_ahead > self.starting_blocks {
            kv::release_empty(self.parts.pool, self.taken_ahead - self.starting_blocks);
        }
        assert!(self.parts.running.decodes <= self.budget, "decodes take a token only within the budget");
        self.budget -= self.parts.running.decodes;
        self.decodes_taken = true;
    }

    /// The first of [`Self::prefills`] takes `tokens`, with their blocks.
    pub fn chunk(&mut self, prefill: &Candidate, tokens: u32) {
        self.pass_over(prefill);
        self.see_to_decodes(self.next);
        self.take_chunk(prefill, self.request(prefill), tokens);
    }

    /// The first of [`Self::prefills`] is not in this step.
    pub fn pass_over(&mut self, prefill: &Candidate) {
        let next = self.prefills_to_come().first().filter(|&&(_, who)| who == prefill.who);
        let &(admission, _) = next.expect("running prefills have their turns in order of admission");
        self.next = admission + 1;
    }

    /// The next running sequence in order of admission, to be taken by [`Self::take`], or preempted, or passed over if it does not
    /// decode. With it a policy goes through all that run, one by one, in place of [`Self::decode_all`] and [`Self::chunk`];
    /// [`Self::leave_out_rest`] is the end of it.
    pub fn next_running(&mut self) -> Option<Candidate> {
        loop {
            let running = &self.parts.running;
            let place =
                running.admitted.get((self.next.max(running.first_admission) - running.first_admission) as usize)?;
            self.next = self.next.max(running.first_admission) + 1;
            let Some(who) = *place else { continue };
            if self.sequence(who).phase != Phase::Leaving {
                self.looked_at = Some(who);
                return Some(self.candidate(who));
            }
        }
    }

    /// The sequence that [`Self::next_running`] gave takes `tokens`, with their blocks.
    pub fn take(&mut self, candidate: &Candidate, tokens: u32) {
        assert!(self.looked_at == Some(candidate.who), "running sequences are taken in order of admission");
        self.looked_at = None;
        if self.sequence(candidate.who).phase != Phase::Decode {
            self.take_chunk(candidate, self.request(candidate), tokens);
            return;
        }
        assert!(tokens == 1 && self.budget > 0, "a decode takes a token, within the budget");
        let blocks = self.chunk_blocks(candidate, 1);
        assert!(blocks <= self.free_blocks(), "a decode takes a token only if its block is free");
        if self.parts.pool.grouped.is_some() {
            self.extend_groups(candidate, 1);
        } else {
            kv::allocate(self.parts.pool, blocks);
        }
        self.budget -= 1;
        self.decodes_apart += 1;
    }

    /// The decodes that [`Self::next_running`] has not come to, and the last that it has given, are not in this step.
    #[inline(never)]
    pub fn leave_out_rest(&mut self) {
        let running = &self.parts.running;
        let next = (self.next.max(running.first_admission) - running.first_admission) as usize;
        let rest = running.admitted.range(next.min(running.admitted.len())..).flatten().copied();
        let rest: Vec<Entity> = self.looked_at.into_iter().chain(rest).collect();
        for who in rest {
            let mut sequence = self.sequences.get_mut(who).expect("a running sequence lives");
            if sequence.phase == Phase::Decode {
                running::pause(self.parts.running, self.parts.pool, self.parts.clock, &mut sequence, who);
            }
        }
        self.looked_at = None;
        assert!(self.decodes_apart == self.parts.running.decodes, "a decode that was looked at is in the batch");
        self.note_decodes_seen_to();
        self.decodes_taken = true;
    }

    /// The head of the queue gets a slot and the blocks of its cached prefix, and takes `tokens` behind that.
    pub fn admit(&mut self, head: &Candidate, hit: Hit, tokens: u32) {
        let scheduler = self.limits();
        assert!(self.slots_left() > 0, "who is admitted gets a slot");
        let cached = hit.tokens;
        debug_assert!(
            queue::head(self.parts.queues, &self.sequences).is_some_and(|(who, _)| who == head.who),
            "the head of the queue is admitted"
        );
        debug_assert!(hit.tokens == 0 || self.look_up(head) == hit, "the hit is what the cache has now");
        assert!(self.chunk_blocks_at(hit, tokens) <= self.free_blocks(), "who is admitted gets its blocks");
        let request = self.request(head);
        self.take_hit(head, request, hit);
        self.entries_left -= 1;
        queue::pop_head(self.parts.queues);
        let mut sequence = self.sequences.get_mut(head.who).expect("the head of the queue lives");
        start_running(&mut sequence, request.spec.turn, cached, head.known, self.now, scheduler);
        running::enter(self.parts.running, &mut sequence, head.who, scheduler.policy);
        running::list_prefill(self.parts.running, &sequence, head.who);
        self.next = sequence.admission + 1;
        self.take_chunk(&Candidate { computed: cached, ..*head }, request, tokens);
    }

    /// The head of the queue takes blocks for its prompt and starts to load its KV cache.
    pub fn start_load(&mut self, head: &Candidate) {
        assert!(self.load_blocks(head) <= self.free_blocks(), "who loads gets its blocks");
        handoffs::start_to_load(self.parts, &mut self.sequences, head.who);
    }

    /// Sequences whose KV caches are loaded get slots, in order of loading, while there are any and the budget lasts.
    pub fn admit_loaded(&mut self) {
        let most = self.budget.min(self.slots_left());
        let seen = running::seen_until(self.parts.clock, self.now);
        let admitted = handoffs::admit_loaded(self.parts, &mut self.sequences, seen, most);
        self.budget -= admitted;
        self.entries_left -= admitted;
    }

    /// No more than `most` enter at this boundary from here on: with it a policy gates another that it calls.
    pub fn limit_entries(&mut self, most: u32) {
        self.entries_left = most;
        self.is_gated = true;
    }

    /// A running sequence goes back to the queue; its blocks are free, and what was computed is computed again. What it has taken
    /// of this step goes back to the budget.
    #[inline(never)]
    pub fn preempt(&mut self, who: Entity) {
        self.see_to_decodes(u64::MAX);
        let is_plain = self.parts.pool.grouped.is_none();
        if is_plain && !self.decodes_taken && self.looked_at.is_none() && self.decode_blocks() > self.free_blocks() {
            // Decodes before it have taken all that there are.
            let taken = self.free_blocks();
            kv::allocate(self.parts.pool, taken);
            self.taken_ahead += taken;
        }
        let chunks = &mut self.parts.batch.chunks;
        let mut sequence = self.sequences.get_mut(who).expect("a running sequence lives");
        let chunk = chunks.iter().position(|chunk| chunk.sequence == who).map(|at| chunks.remove(at));
        let walked_past = sequence.admission < self.next && self.looked_at != Some(who);
        let taken = match sequence.phase {
            Phase::Decode if self.decodes_taken || walked_past => 1,
            _ => chunk.map_or(0, |chunk| chunk.tokens),
        };
        if sequence.phase == Phase::Decode && !self.decodes_taken {
            self.decodes_apart -= taken;
        }
        if self.looked_at == Some(who) {
            self.looked_at = None;
        }
        self.budget += taken;
        handoffs::forget_first_step(self.parts, who);
        remove(self.parts, &mut sequence, who, self.requests, Removal::Preempted { taken });
        self.starting_blocks = running::blocks_needed(self.parts.running, self.parts.clock.steps);
        self.preempted = true;
    }

    /// Adds a chunk of a running prefill, of this request.
    fn take_chunk(&mut self, candidate: &Candidate, request: &Request, tokens: u32) {
        let &Candidate { who: sequence, known, computed, is_decode, .. } = candidate;
        assert!(
            0 < tokens && tokens <= self.budget.min(candidate.left()),
            "a chunk is within the budget and the prompt"
        );
        assert!(self.chunk_blocks(candidate, tokens) <= self.free_blocks(), "a chunk has its blocks");
        let scheduler = self.limits();
        let (caching, block_tokens) = (scheduler.prefix_caching, scheduler.block_tokens);
        if self.parts.pool.grouped.is_some() {
            self.extend_groups(candidate, tokens);
            kv::groups::note_taken(self.parts.pool, candidate.key.2, self.parts.clock.steps, tokens);
        } else if caching == PrefixCaching::Off {
            let blocks = kv::further_blocks(computed, tokens, block_tokens);
            kv::allocate(self.parts.pool, u64::from(blocks));
        } else {
            let keys = block_keys(request, caching, block_tokens);
            kv::extend(self.parts.pool, &keys, computed, tokens);
        }
        let encoder_tokens = if request.spec.encoder_tokens > 0 { self.encoder_tokens(candidate, request) } else { 0 };
        let completes = computed + tokens == known;
        self.prompt_chunk_taken |= !is_decode;
        self.parts.batch.chunks.push(Chunk {
            sequence,
            tokens,
            context: computed,
            encoder_tokens,
            completes,
            is_decode,
        });
        self.budget -= tokens;
    }

    /// What the vision encoder computes before a chunk of a request with images: all of it before the first, unless a block or less of
    /// the prompt is left to compute.
    #[cold]
    fn encoder_tokens(&self, candidate: &Candidate, request: &Request) -> u32 {
        let block_tokens = self.limits().block_tokens;
        let is_first = self.sequence(candidate.who).prefilled_tokens == 0 && !candidate.is_decode;
        let is_hit = candidate.computed > 0 && candidate.computed + block_tokens >= request.spec.prompt_tokens;
        if is_first && !is_hit { request.spec.encoder_tokens } else { 0 }
    }
}

/// An admitted sequence's own books.
fn start_running(sequence: &mut Sequence, turn: u32, cached: u32, known: u32, now: SimTime, scheduler: &SchedulerSpec) {
    sequence.phase = Phase::Prefill;
    sequence.computed = cached;
    sequence.recomputed_tokens += sequence.high_water.saturating_sub(cached);
    if sequence.scheduled.is_some() {
        return;
    }
    sequence.scheduled.set(now);
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
