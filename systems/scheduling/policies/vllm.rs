//! vLLM V1's scheduler (`vllm/v1/core/sched/scheduler.py`, `Scheduler.schedule`), as SEMANTICS.md states it: running sequences in
//! order of admission, then admissions, unless somebody was preempted.
//!
//! While decodes find their blocks and nobody is left without budget, the order among the running does not show, and decodes are
//! taken all at once. Else they are gone through one by one.

use oracle_components::SimTime;
use oracle_components::engine::{AdmissionLimits, Standing};
use oracle_components::record::Reason;
use oracle_components::request::RequestSpec;
use oracle_components::scenario::QueuePolicy;

use super::{BatchPolicy, exceeds_context, exceeds_pool};
use crate::scheduling::boundary::{Boundary, Candidate};

/// vLLM V1's scheduler.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vllm;

/// When prompts were last computed, for `prefill_schedule_interval`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cadence {
    /// Steps that have run.
    steps: u64,
    /// Number of the last step that computed a prompt, counted from 1; 0 if none has.
    last_prefill: u64,
    /// The last step that could admit left somebody waiting, so prompts are not held back.
    is_full: bool,
}

impl BatchPolicy for Vllm {
    type Memory = Cadence;

    fn refusal(&self, request: &RequestSpec, target_tokens: u32, limits: &AdmissionLimits) -> Option<Reason> {
        let scheduler = &limits.scheduler;
        let whole_prompt_exceeds =
            !scheduler.chunked_prefill && request.prompt_tokens > scheduler.max_num_batched_tokens;
        exceeds_context(request, limits)
            .or_else(|| whole_prompt_exceeds.then_some(Reason::PromptExceedsTokenBudget))
            .or_else(|| exceeds_pool(request, target_tokens, limits))
    }

    fn form(&self, cadence: &mut Cadence, boundary: &mut Boundary<'_, '_>) -> Standing {
        let step = Step { limit: limit(boundary), holds_prompts: cadence.holds_prompts(boundary) };
        if step.order_shows(boundary) {
            step.go_through_running(boundary);
        } else {
            step.take_running(boundary);
        }
        let mut computes_prompts = boundary.took_prompt_chunk();
        let mut admitted = Admitted::All;
        if !boundary.has_preempted() {
            boundary.admit_loaded();
            admitted = step.admit(boundary, &mut computes_prompts);
            if !step.holds_prompts {
                cadence.is_full = boundary.queued() > 0;
            }
        }
        if computes_prompts {
            cadence.last_prefill = cadence.steps + 1;
        }
        standing(boundary, admitted)
    }

    fn advance(&self, cadence: &mut Cadence, steps: u64) {
        cadence.steps += steps;
    }
}

impl Cadence {
    /// Whether prompts wait though there is room in the step, since others decode and the last was computed a short while ago.
    fn holds_prompts(&self, boundary: &Boundary<'_, '_>) -> bool {
        let interval = u64::from(boundary.limits().prefill_schedule_interval);
        let somebody_decodes = || boundary.running() > boundary.computing();
        interval > 1
            && !self.is_full
            && self.last_prefill > 0
            && self.steps + 1 - self.last_prefill < interval
            && somebody_decodes()
    }
}

/// Most tokens of one sequence a step.
fn limit(boundary: &Boundary<'_, '_>) -> u32 {
    let scheduler = boundary.limits();
    let Some(threshold) = scheduler.long_prefill_token_threshold else { return u32::MAX };
    let requests = boundary.running() + boundary.queued_or_loading();
    if scheduler.rules.lone_request_is_unlimited && requests <= 1 {
        return u32::MAX;
    }
    scheduler.threshold_share_tokens.map_or(threshold, |tokens| threshold.max(tokens / requests.max(1)))
}

/// What holds for the whole of a step.
struct Step {
    /// Most tokens of one sequence.
    limit: u32,
    /// No prompt is computed in it, save the last token of one.
    holds_prompts: bool,
}

impl Step {
    /// Tokens of a running sequence within the budget that is left.
    fn tokens(&self, boundary: &Boundary<'_, '_>, candidate: &Candidate, budget: u32) -> u32 {
        let held = self.holds_prompts && !candidate.is_decode;
        if held { 0 } else { boundary.chunk_within_blocks(candidate, candidate.left().min(self.limit).min(budget)) }
    }

    /// Whether the order of the running makes a difference: who finds no block or no budget depends on it.
    fn order_shows(&self, boundary: &Boundary<'_, '_>) -> bool {
        let Some(mut budget) = boundary.budget().checked_sub(boundary.decodes()) else { return true };
        let mut blocks = boundary.decode_blocks();
        let last_yields = boundary.limits().policy == QueuePolicy::Fcfs && !boundary.shares_pool_by_kind();
        if !boundary.has_prefills() {
            return !last_yields && blocks > boundary.free_blocks();
        }
        let mut budget_binds = false;
        for prefill in boundary.prefills() {
            let tokens = self.tokens(boundary, &prefill, budget);
            budget_binds |= tokens < self.tokens(boundary, &prefill, u32::MAX);
            blocks += boundary.chunk_blocks(&prefill, tokens);
            budget -= tokens;
        }
        blocks > boundary.free_blocks() || budget_binds && boundary.decodes_behind_prefills()
    }

    /// One token of each decode, then a chunk of each running prefill. Where decodes find no blocks, the last of them yield until the
    /// others do.
    fn take_running(&self, boundary: &mut Boundary<'_, '_>) {
        while boundary.decode_blocks() > boundary.free_blocks() {
            let victim = boundary.victim();
            boundary.preempt(victim);
        }
        boundary.decode_all();
        while let Some(prefill) = boundary.next_prefill() {
            match self.tokens(boundary, &prefill, boundary.budget()) {
                0 => boundary.pass_over(&prefill),
                tokens => boundary.chunk(&prefill, tokens),
            }
        }
    }

    /// Each of the running, in order of admission, while the budget lasts; who finds no blocks preempts, perhaps itself.
    #[inline(never)]
    fn go_through_running(&self, boundary: &mut Boundary<'_, '_>) {
        while boundary.budget() > 0
            && let Some(next) = boundary.next_running()
        {
            let tokens = self.tokens(boundary, &next, boundary.budget());
            if tokens == 0 {
                continue;
            }
            if make_room(boundary, &next, tokens) {
                boundary.take(&next, tokens);
            } else if !boundary.limits().rules.self_preempted_is_passed_over {
                break;
            }
        }
        boundary.leave_out_rest();
    }

    /// Admits from the waiting queue for as long as budget, slots and blocks last.
    fn admit(&self, boundary: &mut Boundary<'_, '_>, computes_prompts: &mut bool) -> Admitted {
        while boundary.budget() > 0 && boundary.slots_left() > 0 {
            let Some(head) = boundary.head() else { break };
            let scheduler = boundary.limits();
            let watermark = if boundary.running() > 0 { scheduler.watermark_blocks } else { 0 };
            if head.is_to_load {
                let leaves_room = scheduler.rules.loads_leave_room_for_prompts;
                let reserved = if leaves_room { boundary.blocks_of_prompts_to_come() } else { 0 };
                if boundary.load_blocks(&head) + u64::from(watermark) + reserved > boundary.free_blocks() {
                    break;
                }
                boundary.start_load(&head);
                continue;
            }
            let hit = boundary.look_up(&head);
            let is_last_token = hit.tokens + 1 == head.known;
            if self.holds_prompts && !is_last_token {
                boundary.limit_entries(0);
                break;
            }
            let wanted = (head.known - hit.tokens).min(self.limit);
            // Recomputation after a preemption always may be chunked: else it could never end.
            let may_chunk = scheduler.chunked_prefill || head.preemptions > 0;
            if wanted > boundary.budget() && !may_chunk {
                break;
            }
            let tokens = boundary.head_within_blocks(&head, hit, wanted.min(boundary.budget()));
            if tokens == 0 {
                return Admitted::HeadMayFit;
            }
            let blocks = boundary.admission_blocks(&head, hit, tokens).saturating_add(watermark.into());
            if blocks > boundary.free_blocks() {
                // Decodes that evict from the hit may leave it too short to count: what is left of it is room for the chunk.
                let may_lapse =
                    hit.tokens > 0 && scheduler.min_cached_prefix_tokens > 0 && !scheduler.reserve_full_prompt;
                // Decodes let go of what is past.
                let may_fit = may_lapse || boundary.shares_pool_by_kind();
                return if may_fit { Admitted::HeadMayFit } else { Admitted::All };
            }
            *computes_prompts |= !is_last_token;
            boundary.admit(&head, hit, tokens);
        }
        Admitted::All
    }
}

/// Preempts until there are blocks for `tokens` of a sequence: whether there are, or it was its own turn to yield.
fn make_room(boundary: &mut Boundary<'_, '_>, candidate: &Candidate, tokens: u32) -> bool {
    boundary.let_go_past(candidate);
    while boundary.chunk_blocks(candidate, tokens) > boundary.free_blocks() {
        let victim = boundary.victim();
        boundary.preempt(victim);
        if victim == candidate.who {
            return false;
        }
    }
    true
}

/// What admission left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admitted {
    /// All that may enter before somebody leaves.
    All,
    /// The head may find room though nobody leaves.
    HeadMayFit,
}

/// Until somebody leaves, unless the next boundary may admit.
fn standing(boundary: &Boundary<'_, '_>, admitted: Admitted) -> Standing {
    let budget_ran_out = boundary.queued_or_loading() > 0 && boundary.budget() == 0;
    let goes_by_steps = boundary.limits().prefill_schedule_interval > 1 && boundary.queued() > 0;
    let some_are_left_out = boundary.leaves_some_out();
    let may_admit = boundary.has_preempted()
        || admitted == Admitted::HeadMayFit
        || budget_ran_out
        || goes_by_steps
        || some_are_left_out;
    let may_jump_the_queue = boundary.limits().policy == QueuePolicy::Priority;
    let would_be_head = boundary.queued() == 0 || may_jump_the_queue;
    let scheduler = boundary.limits();
    // With more requests the chunks that they share the budget in get smaller, and so a head's first chunk may fit.
    let chunks_may_shrink = scheduler.threshold_share_tokens.is_some() && !scheduler.reserve_full_prompt;
    let every_delivery_counts = scheduler.prefill_schedule_interval > 1 || chunks_may_shrink;
    Standing {
        steps: if may_admit { 1 } else { u64::MAX },
        until: SimTime::NEVER,
        sees_deliveries: may_admit || every_delivery_counts || (boundary.slots_left() > 0 && would_be_head),
    }
}
