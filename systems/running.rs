//! The running sequences in aggregate: who enters, who decodes, who is preempted first, and closed forms of the steps to come.
//!
//! All that knows how [`Running`] counts. A decode is touched when it enters and when it leaves, not in between: its blocks are
//! counted by the class of its position in a block, its last token by the engine's step count.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use bevy_ecs::prelude::*;
use oracle_components::SimTime;
use oracle_components::engine::{PriorityKey, Running, StepClock, VictimKey};
use oracle_components::kv::KvPool;
use oracle_components::request::RequestId;
use oracle_components::scenario::QueuePolicy;
use oracle_components::sequence::{Phase, Sequence};

use crate::{decode_classes, flow_gaps, streaming};

/// No running sequences, with blocks of `block_tokens`, whose answers are sent in chunks of `stream_interval`.
#[must_use]
pub fn nothing_running(block_tokens: u32, stream_interval: u32) -> Running {
    Running {
        count: 0,
        decodes: 0,
        streaming_decodes: 0,
        streams: streaming::no_streams(stream_interval),
        decode_context: 0,
        residues: vec![0; block_tokens as usize],
        last_token_queue: BinaryHeap::new(),
        stale_entries: 0,
        prefills: Vec::new(),
        leaving: Vec::new(),
        admitted: VecDeque::new(),
        first_admission: 0,
        flow_gaps: VecDeque::new(),
        by_priority: BTreeMap::new(),
        by_blocks: None,
    }
}

/// By when a request has to be delivered to be seen at the boundary `now`, at which the clock stands.
#[must_use]
pub fn seen_until(clock: &StepClock, now: SimTime) -> SimTime {
    if clock.scheduled_ahead { clock.last_step } else { now }
}

/// A sequence's place in the queue under the priority policy.
pub fn priority_key(sequence: &Sequence) -> PriorityKey {
    (sequence.priority, sequence.arrival, sequence.id)
}

/// A sequence's place among those that may be preempted under the priority policy.
fn victim_key(sequence: &Sequence) -> VictimKey {
    (sequence.priority, sequence.arrival, Reverse(sequence.admission))
}

/// A sequence starts to run.
pub fn enter(running: &mut Running, sequence: &mut Sequence, entity: Entity, policy: QueuePolicy) {
    running.count += 1;
    sequence.admission = running.first_admission + running.admitted.len() as u64;
    running.admitted.push_back(Some(entity));
    if policy == QueuePolicy::Priority {
        running.by_priority.insert(victim_key(sequence), entity);
    }
}

/// A running sequence's place in the order of admission is free.
pub fn forget(running: &mut Running, sequence: &Sequence, policy: QueuePolicy) {
    running.count -= 1;
    let position = (sequence.admission - running.first_admission) as usize;
    running.admitted[position] = None;
    while running.admitted.front().is_some_and(Option::is_none) {
        running.admitted.pop_front();
        running.first_admission += 1;
    }
    if policy == QueuePolicy::Priority {
        running.by_priority.remove(&victim_key(sequence));
    }
}

/// The running sequence to preempt first.
pub fn victim(running: &mut Running, policy: QueuePolicy) -> Entity {
    let victim = match policy {
        QueuePolicy::Fcfs => {
            while running.admitted.back().is_some_and(Option::is_none) {
                running.admitted.pop_back();
            }
            running.admitted.back().copied().flatten()
        }
        QueuePolicy::Priority => running.by_priority.last_key_value().map(|(_, &entity)| entity),
    };
    victim.expect("blocks run out only while sequences run")
}

/// The class of a decode with `computed` tokens in the cache: see [`Running::residues`].
fn residue(running: &Running, computed: u32, steps: u64) -> usize {
    let block = running.residues.len() as u64;
    ((u64::from(computed) + block - steps % block) % block) as usize
}

/// A sequence whose known tokens are all computed but the last starts to decode.
pub fn start_decoding(
    running: &mut Running,
    pool: &KvPool,
    clock: &StepClock,
    sequence: &mut Sequence,
    entity: Entity,
) {
    sequence.phase = Phase::Decode;
    sequence.entered_step = clock.steps;
    running.decodes += 1;
    running.streaming_decodes += u32::from(sequence.streaming);
    running.decode_context += u64::from(sequence.computed);
    let class = residue(running, sequence.computed, clock.steps);
    running.residues[class] += 1;
    decode_classes::join(running, pool, sequence);
    let finish = clock.steps + u64::from(sequence.target_tokens - sequence.generated);
    running.last_token_queue.push(Reverse((finish, sequence.id, entity)));
    streaming::join(running, clock, sequence, entity);
}

/// A sequence that starts to decode has done so in the step that has just ended: the same, told from there.
pub fn date_back(sequence: &mut Sequence) {
    sequence.entered_step -= 1;
    sequence.computed -= 1;
    sequence.generated -= 1;
}

/// A decode is touched again: brings its counts up to the present, and takes it out of the aggregates.
pub fn stop_decoding(
    running: &mut Running,
    pool: &mut KvPool,
    clock: &StepClock,
    sequence: &mut Sequence,
    entity: Entity,
) {
    let finish = sequence.entered_step + u64::from(sequence.target_tokens - sequence.generated);
    running.stale_entries += u64::from(finish > clock.steps);
    let in_chunks = sequence.streaming && !running.streams.is_empty();
    if in_chunks {
        streaming::leave(running, sequence, entity);
    }
    let class = residue(running, sequence.computed, sequence.entered_step);
    running.residues[class] -= 1;
    decode_classes::leave(running, pool, sequence);
    let steps = (clock.steps - sequence.entered_step) as u32;
    sequence.computed += steps;
    sequence.generated += steps;
    running.decodes -= 1;
    running.streaming_decodes -= u32::from(sequence.streaming);
    running.decode_context -= u64::from(sequence.computed);
    if !in_chunks && sequence.generated > 0 {
        if let Some(since) = sequence.last_emission.get().filter(|_| sequence.streaming) {
            sequence.longest_gap.raise_to(flow_gaps::widest_since(&running.flow_gaps, since));
        }
        sequence.last_emission.set(clock.boundary);
        sequence.last_token.set(if sequence.streaming { clock.flow_received } else { clock.boundary });
    }
}

/// A decode goes on apart from the others, as of the last boundary.
pub fn pause(running: &mut Running, pool: &mut KvPool, clock: &StepClock, sequence: &mut Sequence, entity: Entity) {
    stop_decoding(running, pool, clock, sequence, entity);
    sequence.phase = Phase::Paused;
    list_prefill(running, sequence, entity);
}

/// A running sequence computes known tokens, or goes on apart from the decodes.
pub fn list_prefill(running: &mut Running, sequence: &Sequence, entity: Entity) {
    let at = running.prefills.partition_point(|&(admission, _)| admission < sequence.admission);
    running.prefills.insert(at, (sequence.admission, entity));
}

/// It does so no longer.
pub fn unlist_prefill(running: &mut Running, sequence: &Sequence) {
    let at = running.prefills.binary_search_by_key(&sequence.admission, |&(admission, _)| admission);
    running.prefills.remove(at.expect("a running prefill is listed"));
}

/// Whether a sequence still decodes, and has its target at the step count for which it was listed.
pub fn finishes_at(sequences: &Query<&mut Sequence>, (step, id, entity): (u64, RequestId, Entity)) -> bool {
    let sequence = sequences.get(entity).expect("sequences live as long as the world");
    sequence.id == id
        && sequence.phase == Phase::Decode
        && sequence.entered_step + u64::from(sequence.target_tokens - sequence.generated) == step
}

/// How many blocks decodes take in the step with this number; where they let go of some too, this is no less than what they need.
#[must_use]
pub fn blocks_needed(running: &Running, step: u64) -> u64 {
    match &running.by_blocks {
        None => running.residues[class_of(running, step)].into(),
        Some(classes) => decode_classes::blocks_needed(classes, step),
    }
}

/// The class of those that take a block in the step with this number.
fn class_of(running: &Running, step: u64) -> usize {
    let block = running.residues.len();
    match (step % block as u64) as usize {
        0 => 0,
        since => block - since,
    }
}

/// How many blocks decodes take in `steps` steps from the one with number `first` on.
#[must_use]
pub fn blocks_over(running: &Running, first: u64, steps: u64) -> u64 {
    if steps == 0 {
        return 0;
    }
    let block = running.residues.len() as u64;
    // Every decode takes one block in as many steps as a block has tokens.
    let (rounds, rest) = if steps < block { (0, steps) } else { (steps / block, steps % block) };
    // As `classes_from` goes round: down to the first class, and on from the last.
    let (now, then) = running.residues.split_at(class_of(running, first) + 1);
    let rest = rest as usize;
    let until_first = rest.min(now.len());
    let blocks = |classes: &[u32]| u64::from(classes.iter().sum::<u32>());
    rounds * u64::from(running.decodes)
        + blocks(&now[now.len() - until_first..])
        + blocks(&then[then.len() + until_first - rest..])
}

/// How many decodes take a block in each step from the one with number `step` on, round and round.
pub fn classes_from(running: &Running, step: u64) -> impl Iterator<Item = &u32> {
    let block = running.residues.len();
    let mut class = class_of(running, step);
    std::iter::from_fn(move || {
        let blocks = &running.residues[class];
        class = if class == 0 { block } else { class } - 1;
        Some(blocks)
    })
}

/// The step count at which the next decoding sequence has its target; `u64::MAX` without one.
pub fn next_finish(running: &Running) -> u64 {
    running.last_token_queue.peek().map_or(u64::MAX, |&Reverse((step, ..))| step)
}

/// KV tokens that decodes attend to in the `steps` steps after the last boundary, summed: each step one more a decode.
#[must_use]
pub fn summed_context(running: &Running, steps: u64) -> u64 {
    steps * running.decode_context + u64::from(running.decodes) * (steps * (steps + 1) / 2)
}
