//! vLLM V1's scheduler (`vllm/v1/core/sched/scheduler.py`, `Scheduler.schedule`), as SEMANTICS.md states it: decodes first, then
//! running prefills, then admissions, unless somebody was preempted.

use bevy_ecs::prelude::Entity;
use oracle_components::SimTime;
use oracle_components::engine::{AdmissionLimits, Standing};
use oracle_components::record::Reason;
use oracle_components::request::RequestSpec;
use oracle_components::scenario::QueuePolicy;

use super::{BatchPolicy, exceeds_context, exceeds_pool};
use crate::scheduling::boundary::{Boundary, Candidate};

/// vLLM V1's scheduler. Keeps nothing between boundaries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vllm;

impl BatchPolicy for Vllm {
    type Memory = ();

    fn refusal(&self, request: &RequestSpec, target_tokens: u32, limits: &AdmissionLimits) -> Option<Reason> {
        let scheduler = &limits.scheduler;
        let whole_prompt_exceeds =
            !scheduler.chunked_prefill && request.prompt_tokens > scheduler.max_num_batched_tokens;
        exceeds_context(request, limits)
            .or_else(|| whole_prompt_exceeds.then_some(Reason::PromptExceedsTokenBudget))
            .or_else(|| exceeds_pool(request, target_tokens, limits))
    }

    fn form(&self, (): &mut (), boundary: &mut Boundary<'_, '_>) -> Standing {
        take_decodes(boundary);
        take_prefills(boundary);
        let admitted = if boundary.has_preempted() {
            Admitted::All
        } else {
            boundary.admit_loaded();
            admit(boundary)
        };
        standing(boundary, admitted)
    }
}

/// One token of each decode, with a block where it starts one.
fn take_decodes(boundary: &mut Boundary<'_, '_>) {
    while boundary.decode_blocks() > boundary.free_blocks() {
        let victim = boundary.victim();
        boundary.preempt(victim);
    }
    boundary.decode_all();
}

/// The next chunk of each running prefill, in order of admission.
fn take_prefills(boundary: &mut Boundary<'_, '_>) {
    while let Some(prefill) = boundary.next_prefill() {
        let tokens = prefill.left().min(limit(boundary, &prefill)).min(boundary.budget());
        if tokens == 0 {
            return;
        }
        while boundary.chunk_blocks(&prefill, tokens) > boundary.free_blocks() {
            let victim = prefill_victim(boundary);
            boundary.preempt(victim);
            if victim == prefill.who {
                return;
            }
        }
        boundary.chunk(&prefill, tokens);
    }
}

/// The running prefill to preempt first among those that are not in the batch.
fn prefill_victim(boundary: &Boundary<'_, '_>) -> Entity {
    let victim = match boundary.limits().policy {
        QueuePolicy::Fcfs => boundary.prefills().last(),
        QueuePolicy::Priority => boundary.prefills().max_by_key(|prefill| prefill.key),
    };
    victim.expect("the prefill that asks is one of them").who
}

/// Most tokens of one sequence a step.
fn limit(boundary: &Boundary<'_, '_>, candidate: &Candidate) -> u32 {
    let threshold = boundary.limits().long_prefill_token_threshold;
    threshold.filter(|_| may_chunk(boundary, candidate)).unwrap_or(u32::MAX)
}

/// Whether a sequence may be computed over several steps. Recomputation after a preemption always may.
fn may_chunk(boundary: &Boundary<'_, '_>, candidate: &Candidate) -> bool {
    boundary.limits().chunked_prefill || candidate.preemptions > 0
}

/// What admission left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admitted {
    /// All that may enter before somebody leaves.
    All,
    /// The head may find room though nobody leaves.
    HeadMayFit,
}

/// Admits from the waiting queue for as long as budget, slots and blocks last.
fn admit(boundary: &mut Boundary<'_, '_>) -> Admitted {
    while boundary.budget() > 0 && boundary.slots_left() > 0 {
        let Some(head) = boundary.head() else { break };
        if head.is_to_load {
            if !boundary.start_load(&head) {
                break;
            }
            continue;
        }
        let scheduler = *boundary.limits();
        let hit = boundary.look_up(&head);
        let cached = hit.blocks() * scheduler.block_tokens;
        let wanted = (head.known - cached).min(limit(boundary, &head));
        if wanted > boundary.budget() && !may_chunk(boundary, &head) {
            break;
        }
        let tokens = wanted.min(boundary.budget());
        let reserved = if scheduler.reserve_full_prompt { head.known } else { cached + tokens };
        let blocks = u64::from(reserved.div_ceil(scheduler.block_tokens) - hit.blocks());
        if blocks + u64::from(hit.free_blocks) > boundary.free_blocks() {
            // Decodes that evict from the hit may leave it too short to count: what is left of it is room for the chunk.
            let may_lapse = hit.blocks() > 0 && scheduler.min_cached_prefix_tokens > 0;
            return if may_lapse && !scheduler.reserve_full_prompt { Admitted::HeadMayFit } else { Admitted::All };
        }
        boundary.admit(&head, hit, tokens);
    }
    Admitted::All
}

/// Until somebody leaves, unless the next boundary may admit.
fn standing(boundary: &Boundary<'_, '_>, admitted: Admitted) -> Standing {
    let budget_ran_out = boundary.queued_or_loading() > 0 && boundary.budget() == 0;
    let may_admit = boundary.has_preempted() || admitted == Admitted::HeadMayFit || budget_ran_out;
    let may_jump_the_queue = boundary.limits().policy == QueuePolicy::Priority;
    let would_be_head = boundary.queued() == 0 || may_jump_the_queue;
    Standing {
        steps: if may_admit { 1 } else { u64::MAX },
        until: SimTime::NEVER,
        sees_deliveries: may_admit || (boundary.slots_left() > 0 && would_be_head),
    }
}
