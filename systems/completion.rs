//! Completion: requests that have ended are recorded, followed up, and despawned.
//!
//! Owns the end of a request, whatever brought it: scheduling has taken its sequence off the engine, transfer has carried
//! its answer. A sequence that goes on is not touched.

use bevy_ecs::prelude::*;
use oracle_components::sequence::Sequence;

use crate::retire::Retirement;
use crate::world::Brought;

/// Ends the requests that the engines that are due have brought to an end.
pub fn complete(mut desk: Retirement, mut engines: Query<&mut Brought>, sequences: Query<&Sequence>) {
    for position in 0..desk.timeline.due.len() {
        let (at, index) = desk.timeline.due[position];
        let engine = desk.timeline.engines[index as usize];
        let mut brought = engines.get_mut(engine).expect("engines live as long as the world");
        for (entity, end) in brought.ended.drain(..) {
            let sequence = sequences.get(entity).expect("despawned only when it is complete");
            desk.end_sequence(entity, sequence, end, at);
        }
    }
    desk.doors.hand_over_rows();
}
