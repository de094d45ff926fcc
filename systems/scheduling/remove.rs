//! How a sequence leaves the engine's running set or its queue: its counts, its KV blocks, its place.

use bevy_ecs::prelude::*;
use oracle_components::request::Request;
use oracle_components::scenario::PrefixCaching;
use oracle_components::sequence::{Phase, Sequence};

use super::{handoffs, queue};
use crate::kv::block_keys;
use crate::running::stop_decoding;
use crate::world::EngineView;
use crate::{kv, running};

/// Why a sequence leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It has ended, one way or another.
    Ended,
    /// It makes room, and will be back.
    Preempted,
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
    let scheduler = &parts.engine.scheduler;
    let running = &mut *parts.running;
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
        Phase::Prefill => {
            let position = running.prefills.iter().position(|&prefill| prefill == entity);
            running.prefills.remove(position.expect("a running prefill is listed"));
        }
        Phase::Decode => stop_decoding(running, parts.clock, parts.clock.boundary, sequence),
    }
    running::forget(running, sequence, scheduler.policy);
    if removal == Removal::Stopped {
        return;
    }
    if scheduler.prefix_caching == PrefixCaching::Off {
        let blocks = sequence.computed.div_ceil(scheduler.block_tokens);
        kv::release_empty(parts.pool, u64::from(blocks));
    } else {
        let request = requests.get(sequence.request).expect("a sequence's request lives as long as it does");
        let mut keys = block_keys(request, scheduler.prefix_caching, scheduler.block_tokens);
        if removal == Removal::Preempted {
            keys = keys.findable_by(sequence.id);
        }
        kv::release(parts.pool, &keys, sequence.computed);
    }
    sequence.phase = Phase::Ended;
    if removal == Removal::Preempted {
        sequence.phase = Phase::Waiting;
        sequence.high_water = sequence.high_water.max(sequence.computed);
        sequence.computed = 0;
        sequence.preemptions += 1;
        parts.ledger.0.preemptions += 1;
        queue::join(parts.queues, sequence, entity, queue::Place::Front);
        parts.ledger.0.waiting_peak = parts.ledger.0.waiting_peak.max(u64::from(parts.waiting_or_loading()));
    }
}
