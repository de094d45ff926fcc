//! Who gives up when: the sequences of an engine by their deadlines.
//!
//! A queue, with a heap for those that are out of order: where all clients are as patient, deadlines come in order, and a heap of
//! thousands took an overloaded engine 4 % of a run.

use std::cmp::Reverse;

use oracle_components::engine::{Deadline, Queues};

/// Lists a deadline.
pub fn list(queues: &mut Queues, deadline: Deadline) {
    if queues.deadlines.back().is_none_or(|&last| last <= deadline) {
        queues.deadlines.push_back(deadline);
    } else {
        queues.late_deadlines.push(Reverse(deadline));
    }
}

/// The earliest that is listed.
#[inline]
#[must_use]
pub fn earliest(queues: &Queues) -> Option<Deadline> {
    let in_order = queues.deadlines.front().copied();
    match queues.late_deadlines.peek() {
        Some(&Reverse(late)) if in_order.is_none_or(|first| late < first) => Some(late),
        _ => in_order,
    }
}

/// Takes the earliest off the list.
pub fn drop_earliest(queues: &mut Queues) {
    if earliest(queues) == queues.deadlines.front().copied() {
        queues.deadlines.pop_front();
    } else {
        queues.late_deadlines.pop();
    }
}
