//! The waiting queue and the order of the running sequences, by policy.

use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use crate::running::priority_key;
use bevy_ecs::prelude::*;
use oracle_components::engine::{Queues, Waiting};
use oracle_components::scenario::QueuePolicy;
use oracle_components::sequence::{Phase, Sequence};

/// Queues with nothing in them.
#[must_use]
pub fn empty_queues(policy: QueuePolicy) -> Queues {
    let waiting = match policy {
        QueuePolicy::Fcfs => Waiting::Fcfs(VecDeque::new()),
        QueuePolicy::Priority => Waiting::Priority(BTreeMap::new()),
    };
    Queues {
        in_transit: VecDeque::new(),
        in_transit_with_deadline: 0,
        waiting,
        waiting_count: 0,
        deadlines: VecDeque::new(),
        late_deadlines: BinaryHeap::new(),
        given_up: VecDeque::new(),
    }
}

/// Where a sequence joins a queue in order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It has been delivered.
    Back,
    /// It was preempted.
    Front,
}

/// A sequence joins the queue: at its place, or where its priority puts it.
pub fn join(queues: &mut Queues, sequence: &Sequence, entity: Entity, place: Place) {
    queues.waiting_count += 1;
    match (&mut queues.waiting, place) {
        (Waiting::Fcfs(queue), Place::Back) => queue.push_back((sequence.id, entity)),
        (Waiting::Fcfs(queue), Place::Front) => queue.push_front((sequence.id, entity)),
        (Waiting::Priority(queue), _) => {
            queue.insert(priority_key(sequence), entity);
        }
    }
}

/// The sequence to admit next.
pub fn head<'a>(queues: &mut Queues, sequences: &'a Query<&mut Sequence>) -> Option<(Entity, &'a Sequence)> {
    let sequence = |entity| sequences.get(entity).expect("sequences live as long as the world");
    match &mut queues.waiting {
        Waiting::Fcfs(queue) => loop {
            let &(id, entity) = queue.front()?;
            let head = sequence(entity);
            // Those that timed out have left, and others may be in their entities.
            if head.id == id && head.phase == Phase::Waiting {
                return Some((entity, head));
            }
            queue.pop_front();
        },
        Waiting::Priority(queue) => queue.first_key_value().map(|(_, &entity)| (entity, sequence(entity))),
    }
}

/// Takes the head out of the queue.
pub fn pop_head(queues: &mut Queues) {
    queues.waiting_count -= 1;
    match &mut queues.waiting {
        Waiting::Fcfs(queue) => {
            queue.pop_front();
        }
        Waiting::Priority(queue) => {
            queue.pop_first();
        }
    }
}

/// A sequence leaves the queue from within, since it timed out.
pub fn drop_waiting(queues: &mut Queues, sequence: &Sequence) {
    queues.waiting_count -= 1;
    match &mut queues.waiting {
        // Skipped when it comes to the front.
        Waiting::Fcfs(_) => {}
        Waiting::Priority(queue) => {
            queue.remove(&priority_key(sequence));
        }
    }
}
