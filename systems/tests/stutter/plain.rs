//! A batch policy in pieces, for policies that differ in one of them: decodes, running prefills, then whoever has room for
//! a whole prompt. Written with the verbs of [`Boundary`] alone, as a policy outside this workspace would be.

use bevy_ecs::entity::Entity;
use oracle_components::SimTime;
use oracle_components::scenario::QueuePolicy;
use oracle_systems::{Boundary, Candidate, Standing};

/// A token for each decode; where blocks run out, `victim` says who yields.
pub fn decodes(boundary: &mut Boundary<'_, '_>, mut victim: impl FnMut(&mut Boundary<'_, '_>) -> Entity) {
    while boundary.decode_blocks() > boundary.free_blocks() {
        let victim = victim(boundary);
        boundary.preempt(victim);
    }
    boundary.decode_all();
}

/// The next chunk of each running prefill; where blocks run out, the last of them yields.
pub fn prefills(boundary: &mut Boundary<'_, '_>) {
    while let Some(prefill) = boundary.next_prefill() {
        let tokens = prefill.left().min(boundary.budget());
        if tokens == 0 {
            return;
        }
        while boundary.chunk_blocks(&prefill, tokens) > boundary.free_blocks() {
            let last = boundary.prefills().last().expect("the prefill that asks is one of them").who;
            boundary.preempt(last);
            if last == prefill.who {
                return;
            }
        }
        boundary.chunk(&prefill, tokens);
    }
}

/// Admits, unless somebody was preempted, for as long as whole prompts have room; `first_chunk` of so many tokens at most.
pub fn admissions(boundary: &mut Boundary<'_, '_>, mut first_chunk: impl FnMut(&Candidate, u32) -> u32) -> Standing {
    if !boundary.has_preempted() {
        boundary.admit_loaded();
        while boundary.budget() > 0 && boundary.slots_left() > 0 {
            let Some(head) = boundary.head() else { break };
            if head.is_to_load {
                if boundary.load_blocks(&head) > boundary.free_blocks() {
                    break;
                }
                boundary.start_load(&head);
                continue;
            }
            let (hit, block) = (boundary.look_up(&head), boundary.limits().block_tokens);
            let blocks = head.known.div_ceil(block) - hit.blocks() + hit.free_blocks;
            if u64::from(blocks) > boundary.free_blocks() {
                break;
            }
            let most = (head.known - hit.blocks() * block).min(boundary.budget());
            boundary.admit(&head, hit, first_chunk(&head, most));
        }
    }
    let may_admit = boundary.has_preempted() || boundary.queued_or_loading() > 0 && boundary.budget() == 0;
    let would_be_head = boundary.queued() == 0 || boundary.limits().policy == QueuePolicy::Priority;
    Standing {
        steps: if may_admit { 1 } else { u64::MAX },
        until: SimTime::NEVER,
        sees_deliveries: may_admit || (boundary.slots_left() > 0 && would_be_head),
    }
}
