//! Streamed answers under `stream_interval`: who sends how many tokens at the end of a step.
//!
//! Decodes that send their chunks in the same steps are a class, told by step count modulo the interval, and counted together. One that
//! was apart since its last chunk (preempted, left out, just loaded) joins the count with its next. With an interval of one there are no
//! classes, and nothing here does anything.

use bevy_ecs::prelude::*;
use oracle_components::SimTime;
use oracle_components::engine::{Running, StepClock, StreamClass};
use oracle_components::sequence::Sequence;

use crate::flow_gaps;

/// The classes of an engine.
#[must_use]
pub fn no_streams(interval: u32) -> Vec<StreamClass> {
    if interval > 1 { vec![StreamClass::default(); interval as usize] } else { Vec::new() }
}

/// Whether a sequence sends its next token once it is generated, and with how many of those before.
#[must_use]
pub fn next_chunk(sequence: &Sequence, interval: u32) -> Option<u32> {
    let generated = sequence.generated + 1;
    let is_sent = generated == sequence.target_tokens || (generated - 1).is_multiple_of(interval);
    is_sent.then(|| chunk_tokens(generated, interval))
}

/// Tokens of the chunk that the token with this number, counted from 1, is the last of.
fn chunk_tokens(generated: u32, interval: u32) -> u32 {
    if generated == 1 { 1 } else { (generated - 2) % interval + 1 }
}

/// The class of a decode that has generated so much at this step count.
fn class_of(running: &mut Running, generated: u32, steps: u64) -> (&mut StreamClass, usize) {
    let interval = running.streams.len() as u64;
    let class = (steps + 1 + interval - u64::from(generated) % interval) % interval;
    (&mut running.streams[class as usize], class as usize)
}

/// A sequence starts to decode.
pub fn join(running: &mut Running, clock: &StepClock, sequence: &Sequence, entity: Entity) {
    if running.streams.is_empty() || !sequence.streaming {
        return;
    }
    let (class, _) = class_of(running, sequence.generated, clock.steps);
    let last = sequence.last_emission.get().zip(sequence.last_token.get());
    if last.is_some() && last == class.last {
        class.regular += 1;
    } else {
        class.joining.push(entity);
    }
}

/// A sequence stops to decode; its counts are still those of its entry. Tells it what it has sent since then.
pub fn leave(running: &mut Running, sequence: &mut Sequence, entity: Entity) {
    let (class, _) = class_of(running, sequence.generated, sequence.entered_step);
    if let Some(at) = class.joining.iter().position(|&other| other == entity) {
        class.joining.swap_remove(at);
        return;
    }
    class.regular -= 1;
    if let Some(since) = sequence.last_emission.get() {
        sequence.longest_gap.raise_to(flow_gaps::widest_since(&class.flow_gaps, since));
    }
    let (emission, received) = class.last.unzip();
    (sequence.last_emission, sequence.last_token) = (emission.into(), received.into());
    if class.regular == 0 {
        class.flow_gaps.clear();
    }
}

/// The decodes send what they do at the end of the step that has just ended, `finished` having their last tokens in it: how many
/// tokens. `gap` is told of gaps, and of how many sequences had them.
pub fn send(
    running: &mut Running,
    clock: &StepClock,
    sequences: &Query<&mut Sequence>,
    finished: impl Iterator<Item = Entity>,
    mut gap: impl FnMut(SimTime, u64),
) -> u32 {
    let interval = running.streams.len() as u32;
    let end = clock.boundary;
    let sequence = |entity| sequences.get(entity).expect("a decode lives");
    let now = (clock.steps % u64::from(interval)) as usize;
    let mut tokens = 0;
    for entity in finished {
        let sequence = sequence(entity);
        let (class, index) = class_of(running, sequence.generated, sequence.entered_step);
        if !sequence.streaming || index == now {
            continue;
        }
        tokens += chunk_tokens(sequence.target_tokens, interval);
        let is_joining = class.joining.contains(&entity);
        let last = if is_joining { sequence.last_emission.get() } else { class.last.map(|(emission, _)| emission) };
        if let Some(last) = last {
            gap(end - last, 1);
        }
    }
    let class = &mut running.streams[now];
    if let Some((last, _)) = class.last
        && class.regular > 0
    {
        gap(end - last, u64::from(class.regular));
    }
    tokens += class.regular * interval;
    for &entity in &class.joining {
        let sequence = sequence(entity);
        tokens += if sequence.generated == 0 { 1 } else { interval };
        if let Some(last) = sequence.last_emission.get() {
            gap(end - last, 1);
        }
    }
    tokens
}

/// The client has, or will have, what [`send`] sent. Who joined with it is counted from here on.
pub fn note_sent(running: &mut Running, clock: &StepClock, sequences: &mut Query<&mut Sequence>) {
    let interval = running.streams.len() as u64;
    let (end, received) = (clock.boundary, clock.flow_received);
    let class = &mut running.streams[(clock.steps % interval) as usize];
    if let Some((_, before)) = class.last.filter(|_| class.regular > 0) {
        flow_gaps::note(&mut class.flow_gaps, end, received.since(before));
    }
    class.regular += class.joining.len() as u32;
    for entity in class.joining.drain(..) {
        let mut sequence = sequences.get_mut(entity).expect("a decode lives");
        if let Some(last) = sequence.last_token.replace(received) {
            sequence.longest_gap.raise_to(Some(received.since(last)));
        }
        sequence.last_emission.set(end);
    }
    class.last = Some((end, received));
}
