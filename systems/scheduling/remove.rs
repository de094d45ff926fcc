//! How a sequence leaves the engine's running set or its queue: its counts, its KV blocks, its place.

use bevy_ecs::prelude::*;
use oracle_components::engine::{Batch, Chunk};
use oracle_components::request::Request;
use oracle_components::scenario::PrefixCaching;
use oracle_components::sequence::{Phase, Sequence};

use super::{handoffs, queue};
use crate::kv::{Held, block_keys};
use crate::running::stop_decoding;
use crate::world::EngineView;
use crate::{kv, running};

/// Why a sequence leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It has ended, one way or another.
    Ended,
    /// It makes room, and will be back; the batch that is being formed had so many of its tokens.
    Preempted {
        /// Those.
        taken: u32,
    },
    /// The simulation has stopped; its blocks go back with those of the step that was cut off, all at once.
    Stopped,
}

/// A sequence leaves at the boundary `parts.clock.boundary`: its counts are brought up to date, its blocks released, its
/// place given up. A preempted one goes back to the queue.
pub fn remove(
    parts: &mut EngineView<'_>,
    sequence: &mut Sequence,
    entity: Entity,
    requests: &Query<&'static Request>,
    removal: Removal,
) {
    let running = &mut *parts.running;
    let phase = sequence.phase;
    match sequence.phase {
        Phase::Waiting => {
            queue::drop_waiting(parts.queues, sequence);
            handoffs::abandon(parts, sequence, entity);
            sequence.phase = Phase::Ended;
            return;
        }
        Phase::Loading => {
            handoffs::drop_loaded(parts, sequence);
            sequence.phase = Phase::Ended;
            return;
        }
        Phase::Ended => unreachable!("a sequence ends once"),
        Phase::Prefill | Phase::Paused => running::unlist_prefill(running, sequence),
        Phase::Decode => {
            stop_decoding(running, parts.pool, parts.clock, sequence, entity);
            if removal == Removal::Ended && handoffs::forget_first_step(parts, entity) {
                parts.batch.chunks.push(Chunk::of_decode(entity, sequence.computed));
            }
        }
        Phase::Leaving => {}
    }
    let scheduler = &parts.engine.scheduler;
    running::forget(parts.running, sequence, scheduler.policy);
    if removal == Removal::Stopped {
        return;
    }
    let taken = match removal {
        Removal::Preempted { taken } => taken,
        _ => orphan_chunk(parts.batch, entity),
    };
    release_blocks(parts, sequence, phase, requests, (removal, taken));
    sequence.phase = Phase::Ended;
    if removal != Removal::Ended {
        sequence.phase = Phase::Waiting;
        sequence.high_water = sequence.high_water.max(sequence.computed);
        sequence.computed = 0;
        sequence.preemptions += 1;
        parts.ledger.0.preemptions += 1;
        queue::join(parts.queues, sequence, entity, queue::Place::Front);
        parts.ledger.0.waiting_peak = parts.ledger.0.waiting_peak.max(u64::from(parts.waiting_or_loading()));
    }
}

/// What the batch has of a sequence that has ended is computed for nobody: how many tokens.
pub fn orphan_chunk(batch: &mut Batch, entity: Entity) -> u32 {
    let Some(at) = batch.chunks.iter().position(|chunk| chunk.sequence == entity) else { return 0 };
    let chunk = batch.chunks.remove(at);
    batch.orphans.push(chunk);
    chunk.tokens
}

/// The blocks of a sequence that was in this phase, and of the tokens that the batch has taken of it.
fn release_blocks(
    parts: &mut EngineView<'_>,
    sequence: &Sequence,
    phase: Phase,
    requests: &Query<&'static Request>,
    (removal, taken): (Removal, u32),
) {
    let request = requests.get(sequence.request).expect("a sequence's request lives as long as it does");
    if removal == Removal::Ended && handoffs::hold(parts, sequence, request) {
        return;
    }
    if parts.pool.grouped.is_some() {
        kv::groups::release(parts.pool, sequence.id, removal != Removal::Ended);
        return;
    }
    let scheduler = &parts.engine.scheduler;
    let tokens = sequence.computed + taken;
    if scheduler.prefix_caching == PrefixCaching::Off {
        kv::release_empty(parts.pool, u64::from(tokens.div_ceil(scheduler.block_tokens)));
        return;
    }
    let mut keys = block_keys(request, scheduler.prefix_caching, scheduler.block_tokens);
    if removal != Removal::Ended {
        keys = keys.findable_by(sequence.id);
    }
    // A block has its name when the tokens in it are known, and a token is when its step has ended.
    let decoded_last = match phase {
        Phase::Decode => sequence.entered_step < parts.clock.steps,
        _ => sequence.entered_step == parts.clock.steps,
    };
    let named = match phase {
        _ if !parts.clock.scheduled_ahead => tokens,
        Phase::Prefill => tokens,
        _ if removal != Removal::Ended && taken == 0 && decoded_last => tokens - 1,
        _ => sequence.computed,
    };
    let unnamed_first = scheduler.rules.unnamed_blocks_first;
    kv::release(parts.pool, &keys, Held { tokens, named, unnamed_first });
}
