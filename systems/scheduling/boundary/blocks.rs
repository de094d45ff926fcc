//! A boundary's KV blocks: what a sequence needs and gets, in a pool of one kind of layers or one that several share.

use oracle_components::group_blocks::GroupBlocks;
use oracle_components::request::Request;
use oracle_components::scenario::{PrefixCaching, SchedulerSpec};
use oracle_components::sequence::Phase;

use super::{Boundary, Candidate};
use crate::decode_classes;
use crate::kv::groups::{self, Span, Taking};
use crate::kv::{self, BlockKeys, Hit, block_keys};

/// What names the blocks of a waiting sequence: one that was preempted finds its own.
fn waiting_keys<'a>(candidate: &Candidate, request: &'a Request, scheduler: &SchedulerSpec) -> BlockKeys<'a> {
    let keys = block_keys(request, scheduler.prefix_caching, scheduler.block_tokens);
    if candidate.preemptions > 0 { keys.findable_by(candidate.key.2) } else { keys }
}

/// What a policy may read of blocks.
impl Boundary<'_, '_> {
    /// Whether layers of several kinds share the pool. What sequences need is then a matter of each of them, and they let go of blocks
    /// while they run.
    #[must_use]
    pub fn shares_pool_by_kind(&self) -> bool {
        self.parts.pool.grouped.is_some()
    }

    fn groups(&self) -> Option<&GroupBlocks> {
        self.parts.pool.grouped.as_deref()
    }

    /// Blocks that a running sequence needs for a chunk of `tokens`, beside those that it holds, less those that it lets go of.
    #[must_use]
    #[inline]
    pub fn chunk_blocks(&self, prefill: &Candidate, tokens: u32) -> u64 {
        match self.groups() {
            None => kv::further_blocks(prefill.computed, tokens, self.limits().block_tokens).into(),
            Some(grouped) => self.chunk_blocks_of_groups(grouped, prefill, tokens),
        }
    }

    #[inline(never)]
    fn chunk_blocks_of_groups(&self, grouped: &GroupBlocks, prefill: &Candidate, tokens: u32) -> u64 {
        let taking = self.taking(grouped, prefill, tokens);
        let id = prefill.key.2;
        let taken = self.taken_so_far(prefill);
        groups::needed(grouped, id, taken, taking.end).saturating_sub(groups::freed_by(
            grouped,
            id,
            taken,
            taking.settled,
        ))
    }

    /// Blocks that are to be free for the head of the queue to be admitted with a chunk of `tokens` behind its hit; all that is known
    /// of it in sight, where that is reserved.
    #[must_use]
    pub fn admission_blocks(&self, head: &Candidate, hit: Hit, tokens: u32) -> u64 {
        let scheduler = self.limits();
        let end = hit.tokens + tokens;
        let reserved = scheduler.reserve_full_prompt.then_some(head.known);
        match self.groups() {
            Some(grouped) => groups::blocks_to_admit(grouped, hit, reserved, end),
            None => {
                let blocks = reserved.unwrap_or(end).div_ceil(scheduler.block_tokens) - hit.blocks();
                u64::from(blocks + hit.free_blocks)
            }
        }
    }

    /// Blocks for a chunk of `tokens` behind a hit, and for the hit.
    pub(super) fn chunk_blocks_at(&self, hit: Hit, tokens: u32) -> u64 {
        match self.groups() {
            Some(grouped) => groups::blocks_to_admit(grouped, hit, None, hit.tokens + tokens),
            None => {
                let block_tokens = self.limits().block_tokens;
                u64::from(kv::further_blocks(hit.tokens, tokens, block_tokens) + hit.free_blocks)
            }
        }
    }

    /// How much of a chunk of a running sequence is computed at once: where states are kept, it ends where one is.
    #[must_use]
    pub fn chunk_within_blocks(&self, candidate: &Candidate, tokens: u32) -> u32 {
        let Some(grouped) = self.groups().filter(|grouped| !candidate.is_decode && grouped.store.keeps_states()) else {
            return tokens;
        };
        let junction = grouped.tables[&candidate.key.2].junction;
        self.within_blocks(grouped, candidate, (candidate.computed, junction), tokens)
    }

    fn within_blocks(
        &self,
        grouped: &GroupBlocks,
        candidate: &Candidate,
        (start, junction): (u32, u32),
        tokens: u32,
    ) -> u32 {
        let prompt = self.sequence(candidate.who).prompt_tokens;
        let span = Span { start, tokens, prompt, known: candidate.known, junction };
        groups::chunk_within_blocks(&grouped.store.groups, self.limits(), span)
    }

    /// The cached prefix that counts for the head of the queue.
    #[must_use]
    pub fn look_up(&self, head: &Candidate) -> Hit {
        let scheduler = self.limits();
        if scheduler.prefix_caching == PrefixCaching::Off {
            return Hit::default();
        }
        let request = self.request(head);
        if request.spec.tail_key == 0 && request.spec.prefix.is_empty() && head.preemptions == 0 {
            // What it asks for is nobody's.
            return Hit::default();
        }
        let hit = match self.groups() {
            Some(grouped) => {
                groups::look_up(grouped, request, scheduler.prefix_caching, head.known, head.preemptions > 0)
            }
            None => kv::look_up(self.parts.pool, &waiting_keys(head, request, scheduler), head.known),
        };
        let first = request.spec.turn == 0 && head.preemptions == 0;
        let too_short = hit.tokens < scheduler.min_cached_prefix_tokens;
        if first && too_short { Hit::default() } else { hit }
    }

    /// What a running sequence has taken so far, as far as its table may not say so.
    fn taken_so_far(&self, candidate: &Candidate) -> Option<Taking> {
        let classes = self.parts.running.by_blocks.as_ref().filter(|_| candidate.is_decode)?;
        let sequence = self.sequence(candidate.who);
        if sequence.phase == Phase::Decode { decode_classes::taken_so_far(classes, sequence) } else { None }
    }

    /// Tokens of a running sequence in the step that has just ended, of which the scheduler does not know yet.
    fn in_flight(&self, grouped: &GroupBlocks, candidate: &Candidate) -> u32 {
        let (sequence, steps) = (self.sequence(candidate.who), self.parts.clock.steps);
        match sequence.phase {
            Phase::Decode if sequence.entered_step < steps => 1,
            Phase::Paused if sequence.entered_step == steps => 1,
            _ => groups::taken_before(grouped, candidate.key.2, steps),
        }
    }

    /// What a step that takes `tokens` of a running sequence takes of it.
    fn taking(&self, grouped: &GroupBlocks, candidate: &Candidate, tokens: u32) -> Taking {
        let in_flight = if self.parts.clock.scheduled_ahead { self.in_flight(grouped, candidate) } else { 0 };
        let waits = grouped.store.groups.rules.windows_wait_for_output;
        Taking {
            settled: candidate.computed - if waits { in_flight } else { 0 },
            end: candidate.computed + tokens,
            known: candidate.known - u32::from(candidate.is_decode && in_flight > 0),
        }
    }
}

/// What changes of blocks.
impl Boundary<'_, '_> {
    /// How much of a chunk of the head is computed at once, behind its hit; if that is nothing, it waits for budget.
    pub fn head_within_blocks(&mut self, head: &Candidate, hit: Hit, tokens: u32) -> u32 {
        let Some(grouped) = self.groups().filter(|grouped| grouped.store.keeps_states()) else { return tokens };
        let within = self.within_blocks(grouped, head, (hit.tokens, hit.junction), tokens);
        self.head_is_cut_to_nothing = within == 0;
        within
    }

    /// A running sequence lets go of the blocks that its next token does not need.
    pub fn let_go_past(&mut self, candidate: &Candidate) {
        let Some(grouped) = self.groups() else { return };
        let settled = self.taking(grouped, candidate, 0).settled;
        self.bring_up(candidate);
        groups::let_go_past(self.parts.pool, candidate.key.2, settled);
    }

    /// A running sequence gets the blocks for `tokens` more.
    pub(super) fn extend_groups(&mut self, candidate: &Candidate, tokens: u32) {
        let grouped = self.groups().expect("only pools with groups have them extended");
        let taking = self.taking(grouped, candidate, tokens);
        self.bring_up(candidate);
        groups::extend(self.parts.pool, candidate.key.2, taking);
    }

    /// The table of a running sequence says what it has.
    fn bring_up(&mut self, candidate: &Candidate) {
        if let Some(taken) = self.taken_so_far(candidate) {
            groups::bring_up(self.parts.pool, candidate.key.2, taken);
        }
    }

    /// All decodes have what they need for the step.
    pub(super) fn note_decodes_seen_to(&mut self) {
        if let Some(classes) = &mut self.parts.running.by_blocks {
            classes.seen_to = self.parts.clock.steps + 1;
        }
    }

    /// The decodes, all of them in the batch, get so many blocks, or where they may let go of some, what they need.
    pub(super) fn take_blocks_of_decodes(&mut self, blocks: u64) {
        let has_prefills = self.has_prefills();
        let Some(classes) = &mut self.parts.running.by_blocks else {
            kv::allocate(self.parts.pool, blocks);
            return;
        };
        if !has_prefills {
            decode_classes::run_step(classes, self.parts.pool, self.parts.clock.steps);
        } else {
            decode_classes::list_due(classes, self.parts.clock.steps);
            self.has_unseen = !classes.due.is_empty();
        }
    }

    /// Sees to the blocks of decodes that were admitted before the one with this number, if they are in the batch.
    pub(crate) fn see_to_decodes(&mut self, admission: u64) {
        if self.has_unseen {
            self.see_to_unseen(admission);
        }
    }

    #[inline(never)]
    fn see_to_unseen(&mut self, admission: u64) {
        let classes = self.parts.running.by_blocks.as_mut().expect("only pools with groups have decodes to see to");
        decode_classes::see_to_due(classes, self.parts.pool, self.parts.clock.steps, admission);
        self.has_unseen = !classes.due.is_empty();
    }

    /// A sequence that is admitted begins with the blocks of its hit.
    pub(super) fn take_hit(&mut self, head: &Candidate, request: &Request, hit: Hit) {
        let scheduler = self.limits();
        if self.shares_pool_by_kind() {
            groups::take_hit(self.parts.pool, request, scheduler.prefix_caching, hit, head.preemptions > 0);
        } else if hit.tokens > 0 {
            kv::take_hit(self.parts.pool, &waiting_keys(head, request, scheduler), hit);
        }
    }
}
