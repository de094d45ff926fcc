//! The stop: what is over by then has happened, what is in flight ends there.

use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemState;
use oracle_components::SimTime;
use oracle_components::record::{Ending, Reason, Status};
use oracle_components::request::Request;
use oracle_components::sequence::{Phase, Sequence};

use crate::completion::record_of;
use crate::decode_classes::run_step;
use crate::kv;
use crate::running::{blocks_needed, seen_until};
use crate::scheduling::{Finished, Removal, apply_steps, remove};
use crate::transfer::{Network, post};
use crate::world::{EngineParts, Ports, Shared};
use oracle_components::hardware::Gpu;

/// Ends everything at `stop`: steps that are over by then, open intervals, and requests in flight. Links are apart.
pub fn stop_at(world: &mut World, stop: SimTime) {
    end_all_steps(world, stop);
    end_all_requests(world, stop);
}

/// Posts what is left of the traffic to the links of a world, and ends their intervals. Their rows leave by `hand_over`
/// link by link: together they may be more than all else in memory.
pub fn stop_links_at(world: &mut World, stop: SimTime, mut hand_over: impl FnMut(&mut Ports)) {
    let mut state = SystemState::<(ResMut<Shared>, Network)>::new(world);
    let (mut shared, mut network) = state.get_mut(world).expect("the world has all of it");
    let Shared { ports, links, traffic, .. } = &mut *shared;
    network.post(traffic, links, ports);
    hand_over(ports);
    network.stop_at(stop, ports, hand_over);
}

/// Ends the steps that are over by `stop`.
fn end_all_steps(world: &mut World, stop: SimTime) {
    let mut state =
        SystemState::<(ResMut<Shared>, Query<EngineParts>, Query<&mut Sequence>, Query<&mut Gpu>)>::new(world);
    let (mut shared, mut engines, mut sequences, mut gpus) = state.get_mut(world).expect("the world has all of it");
    let Shared { calendar, ports, traffic, .. } = &mut *shared;
    for &entity in &calendar.engines {
        let mut parts = engines.get_mut(entity).expect("engines live as long as the world").open();
        let planned = parts.epoch.steps;
        let over = parts.epoch.step_ends[..planned].partition_point(|&end| end <= stop);
        parts.epoch.steps = over;
        if over > 0 {
            apply_steps(&mut parts, &mut sequences, ports, &mut Finished::default());
            // Who was delivered by the last boundary waits, though only the next that matters would have seen it.
            let boundary = seen_until(parts.clock, parts.clock.boundary);
            let delivered = parts.queues.in_transit.partition_point(|&(delivered, _)| delivered <= boundary) as u64;
            let waiting = u64::from(parts.waiting_or_loading()) + delivered;
            parts.ledger.0.waiting_peak = parts.ledger.0.waiting_peak.max(waiting);
            if over < planned {
                // The step that is cut off had its blocks.
                match &mut parts.running.by_blocks {
                    Some(classes) => run_step(classes, parts.pool, parts.clock.steps),
                    None => kv::allocate(parts.pool, blocks_needed(parts.running, parts.clock.steps)),
                }
            }
        }
        post(parts.step_output, parts.engine, parts.hardware, &mut gpus, traffic);
        parts.series.flush(stop, parts.hardware, &mut ports.rows);
        ports.hand_over_rows();
    }
}

/// Ends the requests in flight at `stop`, by their numbers.
fn end_all_requests(world: &mut World, stop: SimTime) {
    let mut state =
        SystemState::<(ResMut<Shared>, Query<EngineParts>, Query<(Entity, &mut Sequence)>, Query<&Request>)>::new(
            world,
        );
    let (mut shared, mut engines, mut sequences, requests) = state.get_mut(world).expect("the world has all of it");
    let alive = sequences.iter().filter(|(_, sequence)| sequence.phase != Phase::Ended);
    let mut in_flight: Vec<_> = alive.map(|(entity, sequence)| (sequence.id, entity)).collect();
    in_flight.sort_unstable();
    let none_in_flight = in_flight.is_empty();
    for (_, entity) in in_flight {
        let (_, mut sequence) = sequences.get_mut(entity).expect("it was listed");
        let engine = shared.calendar.engines[(sequence.engine - shared.calendar.first_engine) as usize];
        let mut parts = engines.get_mut(engine).expect("engines live as long as the world").open();
        let waiting = matches!(sequence.phase, Phase::Waiting | Phase::Loading);
        if !waiting {
            remove(&mut parts, &mut sequence, entity, &requests, Removal::Stopped);
        }
        let end = if sequence.deadline <= stop {
            let reason = if waiting { Reason::TimeoutWaiting } else { Reason::TimeoutRunning };
            Ending { completion: sequence.deadline, status: Status::Timeout, reason, whole_response_tokens: None }
        } else {
            let reason = if waiting { Reason::EndedWaiting } else { Reason::EndedRunning };
            Ending { completion: stop, status: Status::Incomplete, reason, whole_response_tokens: None }
        };
        let request = requests.get(sequence.request).expect("a sequence's request lives as long as it does");
        let record = record_of(request, &sequence, end);
        shared.write_last(record, sequence.deadline);
    }
    debug_assert_eq!(
        shared.calendar.ended.iter().sum::<u64>(),
        shared.calendar.next_id,
        "every request that arrived has ended, once"
    );
    for mut parts in &mut engines {
        let pool = &*parts.pool;
        let none_held = none_in_flight && parts.handoffs.as_ref().is_none_or(|handoffs| handoffs.holds.is_empty());
        debug_assert!(!none_held || kv::held_blocks(pool) == 0, "nobody runs, so nobody holds blocks");
        debug_assert!(!none_held || pool.allocated == pool.freed, "blocks given are blocks taken back");
        kv::release_all(&mut parts.pool);
    }
}
