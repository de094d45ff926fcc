//! Completion: what the steps that have just ended brought. First tokens, finished sequences, freed blocks, records,
//! follow-up turns.
//!
//! Owns the sequences' progress. A decode that goes on is not touched; one that has its target leaves, and only those.

use std::cmp::Reverse;

use bevy_ecs::prelude::*;
use oracle_components::record::{Reason, Status};
use oracle_components::request::{Request, RequestId};
use oracle_components::resources::Directory;
use oracle_components::sequence::Sequence;

use crate::epoch::{adapt_horizon, blocks_needed, finishes_at};
use crate::kv;
use crate::retire::{End, Retirement};
use crate::scheduling::{Departure, leave, start_decoding};
use crate::series::EngineAmounts;
use crate::transfer::Network;
use crate::world::{Doors, EngineParts, EnginePartsItem};

/// Sequences that have their target at a boundary, by request id.
#[derive(Default)]
pub struct Finished(Vec<(RequestId, Entity)>);

/// Ends the steps of the engines that are due.
pub fn complete(
    mut desk: Retirement,
    directory: Res<Directory>,
    mut engines: Query<EngineParts>,
    mut sequences: Query<&mut Sequence>,
    mut network: Network,
    mut finished: Local<Finished>,
) {
    for position in 0..desk.timeline.due.len() {
        let index = desk.timeline.due[position];
        let mut parts = engines.get_mut(directory.engines[index as usize]).expect("engines live as long as the world");
        if parts.epoch.steps > 0 {
            end_steps(&mut parts, &mut sequences, &mut desk.doors, &mut finished);
            answer(&mut parts, &mut sequences, &mut desk, &mut network, &mut finished);
        }
    }
    desk.doors.hand_over_rows();
}

/// Brings an engine to the end of the steps that its epoch ran, and lists who has finished.
pub fn end_steps(
    parts: &mut EnginePartsItem<'_, '_>,
    sequences: &mut Query<&mut Sequence>,
    doors: &mut Doors,
    finished: &mut Finished,
) {
    let steps = parts.epoch.steps;
    let (from, end) = (parts.clock.boundary, parts.epoch.step_ends[steps - 1]);
    let decodes = parts.running.decodes;
    let mut previous = from;
    for &step_end in &parts.epoch.step_ends[..steps] {
        if decodes > 0 {
            doors.sink.token_gap(step_end, step_end - previous, u64::from(decodes));
        }
        previous = step_end;
    }
    let before = kv::held_blocks(&parts.pool);
    for step in 1..steps as u64 {
        let blocks = blocks_needed(&parts.running, parts.clock.steps + step);
        kv::allocate(&mut parts.pool, u64::from(blocks));
    }
    let held = (before + kv::held_blocks(&parts.pool)) as f64 / 2.0;
    let running = f64::from(parts.running.count);
    parts.clock.steps += steps as u64;
    parts.clock.boundary = end;
    parts.running.decode_context += u64::from(decodes) * steps as u64;
    let mut amounts = EngineAmounts {
        running_s: running * end.since(from).as_secs_f64(),
        waiting_s: f64::from(parts.queues.waiting_count) * end.since(from).as_secs_f64(),
        kv_use_s: held / parts.pool.total as f64 * end.since(from).as_secs_f64(),
        steps: steps as f64,
        output_tokens: f64::from(decodes) * steps as f64,
        ..EngineAmounts::default()
    };
    end_chunks(parts, sequences, doors, &mut amounts);
    let ledger = &mut parts.ledger.0;
    amounts.preemptions = (ledger.preemptions - parts.series.preemptions_booked) as f64;
    parts.series.preemptions_booked = ledger.preemptions;
    ledger.steps += steps as u64;
    ledger.output_tokens += amounts.output_tokens as u64;
    ledger.prefill_tokens += amounts.prefill_tokens as u64;
    parts.series.book(from, end, amounts, parts.hardware, &mut doors.rows);
    while let Some(&Reverse((step, id, entity))) = parts.running.finishes.peek() {
        if step > parts.clock.steps {
            break;
        }
        parts.running.finishes.pop();
        if finishes_at(sequences.get(entity).ok(), step) {
            finished.0.push((id, entity));
        }
    }
    adapt_horizon(&mut parts.epoch);
    parts.epoch.steps = 0;
}

/// Ends the chunks of the step: a prompt that is whole emits a token, and decodes from here on.
fn end_chunks(
    parts: &mut EnginePartsItem<'_, '_>,
    sequences: &mut Query<&mut Sequence>,
    doors: &mut Doors,
    amounts: &mut EngineAmounts,
) {
    let end = parts.clock.boundary;
    let mut any_completes = false;
    for chunk in &parts.plan.chunks {
        let mut sequence = sequences.get_mut(chunk.sequence).expect("a planned sequence lives");
        sequence.computed += chunk.tokens;
        sequence.prefilled_tokens += chunk.tokens;
        amounts.prefill_tokens += f64::from(chunk.tokens);
        if !chunk.completes {
            continue;
        }
        any_completes = true;
        amounts.output_tokens += 1.0;
        if let Some(last) = sequence.last_emission {
            doors.sink.token_gap(end, end - last, 1);
        }
        sequence.generated += 1;
        if sequence.first_token.is_none() {
            sequence.first_token = Some(if sequence.streaming { parts.clock.flow_received } else { end });
        }
        start_decoding(&mut parts.running, &parts.clock, &mut sequence, chunk.sequence);
    }
    if any_completes {
        let chunks = &parts.plan.chunks;
        // Chunks follow the order of the running prefills, of which they are the first.
        let mut position = 0;
        parts.running.prefills.retain(|_| {
            position += 1;
            !chunks.get(position - 1).is_some_and(|chunk| chunk.completes)
        });
    }
}

/// Ends the requests whose sequences have finished, and sends whole responses.
fn answer(
    parts: &mut EnginePartsItem<'_, '_>,
    sequences: &mut Query<&mut Sequence>,
    desk: &mut Retirement<'_, '_>,
    network: &mut Network<'_, '_>,
    finished: &mut Finished,
) {
    finished.0.sort_unstable();
    finished.0.dedup();
    for (_, entity) in finished.0.drain(..) {
        let mut sequence = sequences.get_mut(entity).expect("a finished sequence lives");
        leave(parts, &mut sequence, entity, &desk.requests, Departure::Ended);
        let wanted = wanted_tokens(&desk.requests, &sequence);
        let reason = if sequence.generated < wanted { Reason::LengthLimit } else { Reason::Finished };
        let completion = if sequence.streaming {
            parts.clock.flow_received
        } else {
            let bytes = f64::from(sequence.generated) * parts.engine.response_bytes_per_token;
            network.send(&parts.engine.egress, bytes, parts.clock.boundary, &mut desk.doors.rows)
        };
        desk.end_sequence(entity, &sequence, End { completion, status: Status::Success, reason });
    }
}

/// Tokens that the request would have generated without a length limit.
fn wanted_tokens(requests: &Query<&Request>, sequence: &Sequence) -> u32 {
    requests.get(sequence.request).expect("a sequence's request lives as long as it does").spec.output_tokens
}
