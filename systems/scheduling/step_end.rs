//! The end of an engine's steps: what they computed and generated, and who has finished.
//!
//! A decode that goes on is not touched; one that has its target leaves, and only those.

use std::cmp::Reverse;

use bevy_ecs::prelude::*;
use oracle_components::SimTime;
use oracle_components::engine::Chunk;
use oracle_components::record::{Ending, RanSteps, Reason, Status};
use oracle_components::request::{Request, RequestId};
use oracle_components::scenario::Role;
use oracle_components::sequence::{Phase, Sequence};

use super::handoffs;
use super::intervals::post_past_intervals;
use super::remove::{Removal, orphan_chunk, remove};
use crate::deadlines;
use crate::decode_classes;
use crate::epoch::adapt_steps_ahead;
use crate::flow_gaps;
use crate::kv;
use crate::running::{self, blocks_over, finishes_at, start_decoding};
use crate::series::IntervalSums;
use crate::streaming;
use crate::transfer::stream;
use crate::world::{EngineView, Ports};

/// Sequences that have their target at a boundary.
pub type Finished = Vec<(RequestId, Entity)>;

/// Brings an engine to the end of the steps that its epoch ran, and lists who has finished: how many steps these were.
pub fn apply_steps(
    parts: &mut EngineView<'_>,
    sequences: &mut Query<&mut Sequence>,
    ports: &mut Ports,
    finished: &mut Finished,
) -> u64 {
    parts.step_output.work = None;
    parts.step_output.streams = false;
    let steps = parts.epoch.steps;
    parts.clock.scheduled_ahead = steps > 0 && parts.engine.scheduler.async_scheduling;
    if steps == 0 {
        return 0;
    }
    let decodes = parts.running.decodes;
    if let Some(sink) = ports.sink.steps() {
        sink.span(&step_span(parts));
    }
    let mut sums = advance_decodes(parts, sequences, ports);
    let sent = send_chunks(parts, sequences, ports, finished);
    send_flows(parts, sequences, sent);
    let (prefilled, emitted) = end_chunks(parts, sequences, ports);
    if parts.handoffs.is_some() {
        handoffs::emit_first_tokens(parts, sequences);
    }
    sums.prefill_tokens += prefilled as f64;
    sums.output_tokens += emitted as f64;
    let ledger = &mut parts.ledger.0;
    ledger.steps += steps as u64;
    ledger.output_tokens += u64::from(decodes) * steps as u64 + emitted;
    ledger.prefill_tokens += prefilled;
    parts.series.post(parts.step_output.from, parts.step_output.to, sums, parts.hardware, &mut ports.rows);
    list_finished(parts, sequences, finished);
    adapt_steps_ahead(parts.epoch);
    parts.epoch.steps = 0;
    steps as u64
}

/// The steps of the epoch, with what is in their batch.
fn step_span<'a>(parts: &'a EngineView<'_>) -> RanSteps<'a> {
    let prompts = parts.batch.chunks.iter().chain(&parts.batch.orphans).filter(|chunk| !chunk.is_decode);
    RanSteps {
        engine: parts.hardware.engine,
        from: parts.clock.boundary,
        ends: &parts.epoch.step_ends[..parts.epoch.steps],
        decodes: parts.running.decodes + parts.batch.chunks.iter().filter(|chunk| chunk.is_decode).count() as u32,
        prompts: prompts.clone().count() as u32,
        prompt_tokens: prompts.map(|chunk| u64::from(chunk.tokens)).sum(),
        running: parts.running.count,
        waiting: parts.waiting_or_loading(),
        preemptions: parts.ledger.0.preemptions,
    }
}

/// Lists the decodes that have their target.
fn list_finished(parts: &mut EngineView<'_>, sequences: &Query<&mut Sequence>, finished: &mut Finished) {
    while let Some(&Reverse((step, id, entity))) = parts.running.last_token_queue.peek() {
        if step > parts.clock.steps {
            break;
        }
        parts.running.last_token_queue.pop();
        // Who was left out of a batch that was formed again at once is listed twice, for the same step.
        let is_listed = finished.last() == Some(&(id, entity));
        if !is_listed && finishes_at(sequences, (step, id, entity)) {
            finished.push((id, entity));
        } else {
            parts.running.stale_entries -= 1;
        }
    }
}

/// The decodes' part of the steps: time, gaps between tokens, KV blocks, work. What is over before the last interval of the
/// time series is posted; the sums are those of the rest.
fn advance_decodes(parts: &mut EngineView<'_>, sequences: &Query<&mut Sequence>, ports: &mut Ports) -> IntervalSums {
    let steps = parts.epoch.steps;
    let ends = &parts.epoch.step_ends[..steps];
    let (from, to) = (parts.clock.boundary, ends[steps - 1]);
    let decodes = parts.running.decodes;
    // First tokens end no gap.
    let first = parts.handoffs.as_ref().map_or(0, |handoffs| handoffs.first_step.len() as u32);
    let emitting = if parts.running.streams.is_empty() {
        decodes - first
    } else {
        decodes - parts.running.streaming_decodes - whole_answers_begun(parts, sequences)
    };
    if emitting > 0 {
        ports.sink.token_gaps(from, ends, u64::from(emitting));
    }
    decode_classes::run_steps(parts.running, parts.pool, parts.clock, steps as u64);
    let sums = post_past_intervals(parts, ports);
    count_steps(parts, to.since(from));
    let ends = &parts.epoch.step_ends[..steps];
    if parts.pool.grouped.is_none() {
        // The first step's were taken when it was scheduled.
        kv::allocate(parts.pool, blocks_over(parts.running, parts.clock.steps + 1, steps as u64 - 1));
    }
    parts.clock.steps += steps as u64;
    parts.clock.last_step = if steps > 1 { ends[steps - 2] } else { from };
    parts.clock.boundary = to;
    parts.running.decode_context += u64::from(decodes) * steps as u64;
    parts.step_output.to = to;
    sums
}

/// Adds the steps of the epoch, which took so long, to the engine's totals.
fn count_steps(parts: &mut EngineView<'_>, busy: SimTime) {
    let (ledger, step_output) = (&mut parts.ledger.0, &parts.step_output);
    ledger.busy += busy;
    if let Some(hold) = parts.batch.hold {
        ledger.held[hold as usize] += busy;
    }
    let mut chunks = parts.batch.chunks.iter().chain(&parts.batch.orphans);
    let has_prompts = chunks.any(|chunk| !chunk.is_decode);
    let kind = if has_prompts { &mut ledger.prefill } else { &mut ledger.decode };
    kind.steps += parts.epoch.steps as u64;
    kind.busy += busy;
    for work in step_output.past.iter().map(|span| &span.work).chain(&step_output.work) {
        kind.flops += work.flops_per_gpu;
        kind.bytes += work.memory_bytes_per_gpu;
    }
}

/// The decodes whose answers are not streamed and begin with the step.
fn whole_answers_begun(parts: &EngineView<'_>, sequences: &Query<&mut Sequence>) -> u32 {
    let begun = parts.handoffs.as_ref().map_or(&[][..], |handoffs| &handoffs.first_step);
    begun.iter().filter(|&&entity| sequences.get(entity).is_ok_and(|sequence| !sequence.streaming)).count() as u32
}

/// What the streaming decodes send at the end of a step, in tokens.
fn send_chunks(
    parts: &mut EngineView<'_>,
    sequences: &Query<&mut Sequence>,
    ports: &mut Ports,
    finished: &mut Finished,
) -> u32 {
    if parts.running.streams.is_empty() {
        return parts.running.streaming_decodes;
    }
    list_finished(parts, sequences, finished);
    let end = parts.clock.boundary;
    let gap = |gap, count| ports.sink.token_gap(end, gap, count);
    streaming::send(parts.running, parts.clock, sequences, finished.iter().map(|&(_, entity)| entity), gap)
}

/// The flows of streamed tokens that the steps sent, each of so many tokens of decodes, and what chunks bring.
fn send_flows(parts: &mut EngineView<'_>, sequences: &mut Query<&mut Sequence>, decoded: u32) {
    let interval = parts.engine.scheduler.stream_interval;
    let sends = |chunk: &Chunk| {
        let sequence = sequences.get(chunk.sequence).ok().filter(|sequence| sequence.streaming)?;
        if chunk.completes { streaming::next_chunk(sequence, interval) } else { None }
    };
    let answers_here = parts.engine.role != Role::Prefill;
    let begun: u32 = parts.batch.chunks.iter().filter(|_| answers_here).filter_map(sends).sum();
    let tokens = decoded + begun;
    if tokens > 0 {
        let ends = &parts.epoch.step_ends[..parts.epoch.steps];
        let bytes = f64::from(tokens) * parts.engine.response_bytes_per_token;
        parts.step_output.flow_bytes = bytes;
        parts.step_output.streams = true;
        let widest = stream(parts.engine, parts.clock, bytes, ends);
        if parts.running.streaming_decodes == 0 {
            parts.running.flow_gaps.clear();
        } else if interval == 1 {
            flow_gaps::note(&mut parts.running.flow_gaps, parts.clock.boundary, widest);
            flow_gaps::drop_old(parts.running, sequences);
        }
    }
    if interval > 1 {
        streaming::note_sent(parts.running, parts.clock, sequences);
    }
}

/// Ends the chunks of the step: a prompt that is whole emits a token, and decodes from here on. Tokens computed, and emitted.
fn end_chunks(parts: &mut EngineView<'_>, sequences: &mut Query<&mut Sequence>, ports: &mut Ports) -> (u64, u64) {
    let (mut prefilled, mut emitted, mut encoded) = (0, 0, 0);
    for chunk in parts.batch.orphans.drain(..).filter(|chunk| !chunk.is_decode) {
        prefilled += u64::from(chunk.tokens);
        encoded += u64::from(chunk.encoder_tokens);
    }
    let mut chunks = std::mem::take(&mut parts.batch.chunks);
    for chunk in &chunks {
        let mut sequence = sequences.get_mut(chunk.sequence).expect("a sequence of the batch lives");
        sequence.computed += chunk.tokens;
        if !chunk.is_decode {
            sequence.prefilled_tokens += chunk.tokens;
            prefilled += u64::from(chunk.tokens);
            encoded += u64::from(chunk.encoder_tokens);
        }
        if !chunk.completes {
            continue;
        }
        running::unlist_prefill(parts.running, &sequence);
        if let Some(handoffs) = parts.handoffs.as_mut().filter(|_| parts.engine.role == Role::Prefill) {
            sequence.phase = Phase::Leaving;
            handoffs.computed.push((sequence.id, chunk.sequence));
            continue;
        }
        emitted += 1;
        emit(parts, &mut sequence, ports);
        start_decoding(parts.running, parts.pool, parts.clock, &mut sequence, chunk.sequence);
        if chunk.is_decode {
            running::date_back(&mut sequence);
        }
    }
    chunks.clear();
    parts.batch.chunks = chunks;
    parts.ledger.0.encoder_tokens += encoded;
    (prefilled, emitted)
}

/// A sequence generates a token of its own at the end of a step.
fn emit(parts: &EngineView<'_>, sequence: &mut Sequence, ports: &mut Ports) {
    let end = parts.clock.boundary;
    let is_sent =
        !sequence.streaming || streaming::next_chunk(sequence, parts.engine.scheduler.stream_interval).is_some();
    sequence.generated += 1;
    if !is_sent {
        return;
    }
    if let Some(last) = sequence.last_emission.get() {
        ports.sink.token_gap(end, end - last, 1);
    }
    let at_client = if sequence.streaming { parts.clock.flow_received } else { end };
    if let Some(last) = sequence.last_token.get().filter(|_| sequence.streaming) {
        sequence.longest_gap.raise_to(Some(at_client.since(last)));
    }
    sequence.last_emission.set(end);
    sequence.last_token.set(at_client);
    if !sequence.first_token.is_some() {
        sequence.first_token.set(at_client);
    }
}

/// Of sequences whose clients give up by the end of the step that is about to end, no token comes of it.
///
/// vLLM handles aborts that came in during a step before the step's output (`EngineCore._process_aborts_queue`).
pub fn mute_expired(parts: &mut EngineView<'_>, sequences: &mut Query<&mut Sequence>) {
    let &[end] = &parts.epoch.step_ends[..parts.epoch.steps] else { return };
    if deadlines::earliest(parts.queues).is_some_and(|(deadline, ..)| deadline <= end) {
        mute_expired_by(parts, sequences, end);
    }
}

#[cold]
fn mute_expired_by(parts: &mut EngineView<'_>, sequences: &mut Query<&mut Sequence>, end: SimTime) {
    while let Some((deadline, id, entity)) = deadlines::earliest(parts.queues)
        && deadline <= end
    {
        deadlines::drop_earliest(parts.queues);
        parts.queues.given_up.push_back((deadline, id, entity));
        let mut sequence = sequences.get_mut(entity).expect("sequences live as long as the world");
        if sequence.id == id && sequence.engine == parts.hardware.engine {
            mute(parts, &mut sequence, entity);
        }
    }
}

/// What the step computes of a sequence is for nobody. It keeps its slot, as a decode that is apart from the others.
fn mute(parts: &mut EngineView<'_>, sequence: &mut Sequence, entity: Entity) {
    let completes = match sequence.phase {
        Phase::Decode => {
            running::pause(parts.running, parts.pool, parts.clock, sequence, entity);
            sequence.entered_step = parts.clock.steps + 1;
            parts.batch.orphans.push(Chunk::of_decode(entity, sequence.computed));
            sequence.computed += 1;
            true
        }
        Phase::Prefill | Phase::Paused => {
            let tokens = orphan_chunk(parts.batch, entity);
            sequence.computed += tokens;
            if sequence.phase == Phase::Prefill {
                sequence.prefilled_tokens += tokens;
                sequence.entered_step = u64::MAX;
            } else if tokens > 0 {
                sequence.entered_step = parts.clock.steps + 1;
            }
            tokens > 0 && sequence.computed == sequence.prompt_tokens + sequence.generated
        }
        _ => return,
    };
    handoffs::forget_first_step(parts, entity);
    let has_last_token = parts.engine.role == Role::Prefill || sequence.generated + 1 >= sequence.target_tokens;
    if completes && has_last_token {
        running::unlist_prefill(parts.running, sequence);
        sequence.phase = Phase::Leaving;
    } else if completes {
        sequence.phase = Phase::Paused;
    }
}

/// Ends the sequences that have finished, by request id. They leave at once, or where the next batch has been formed
/// without knowing, when it is ([`release_leaving`]).
pub fn end_finished(
    parts: &mut EngineView<'_>,
    sequences: &mut Query<&mut Sequence>,
    requests: &Query<&'static Request>,
    finished: &mut Finished,
) {
    finished.sort_unstable();
    for (_, entity) in finished.drain(..) {
        let mut sequence = sequences.get_mut(entity).expect("a finished sequence lives");
        if parts.clock.scheduled_ahead {
            let request = requests.get(sequence.request).expect("a sequence's request lives as long as it does");
            let decoded = sequence.entered_step < parts.clock.steps;
            running::pause(parts.running, parts.pool, parts.clock, &mut sequence, entity);
            sequence.entered_step = if decoded { parts.clock.steps } else { u64::MAX };
            // Only an end that the scheduler could foresee keeps it from computing one more token.
            let is_foreseen = sequence.length_limited
                || sequence.generated >= request.spec.max_output_tokens
                || parts.engine.scheduler.hold_time().is_some();
            if is_foreseen {
                running::unlist_prefill(parts.running, &sequence);
                sequence.phase = Phase::Leaving;
            }
            parts.running.leaving.push(entity);
        } else {
            remove(parts, &mut sequence, entity, requests, Removal::Ended);
        }
        let reason = if sequence.length_limited { Reason::LengthLimit } else { Reason::Finished };
        let completion = if sequence.streaming { parts.clock.flow_received } else { parts.clock.boundary };
        // A last chunk that is shorter than the interval is not one that all of a class send.
        let is_apart = sequence.streaming && sequence.last_emission.get() != Some(parts.clock.boundary);
        if let Some(last) = sequence.last_token.replace(completion).filter(|_| is_apart) {
            sequence.longest_gap.raise_to(Some(completion.since(last)));
        }
        let whole_response_tokens = (!sequence.streaming).then_some(sequence.generated);
        let end = Ending { completion, status: Status::Success, reason, whole_response_tokens };
        parts.step_output.ended.push((entity, end));
    }
}

/// Those that have ended give up their slots and blocks: whether there were any.
pub fn release_leaving(
    parts: &mut EngineView<'_>,
    sequences: &mut Query<&mut Sequence>,
    requests: &Query<&'static Request>,
) -> bool {
    let leaving = std::mem::take(&mut parts.running.leaving);
    for &entity in &leaving {
        let mut sequence = sequences.get_mut(entity).expect("a sequence that has ended leaves once");
        remove(parts, &mut sequence, entity, requests, Removal::Ended);
    }
    !leaving.is_empty()
}
