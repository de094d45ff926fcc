//! Completion: requests that have ended are recorded and followed up, and their entities are free.
//!
//! Owns the end of a request, whatever brought it: scheduling has taken its sequence off the engine, transfer has carried
//! its answer. A sequence that goes on is not touched.

mod finish;

use bevy_ecs::prelude::*;

use oracle_components::request::Request;
use oracle_components::sequence::Sequence;
use oracle_components::work::StepOutput;

use crate::world::Shared;

pub use finish::record_of;

/// Ends the requests that the engines that are due have brought to an end.
pub fn complete(
    mut shared: ResMut<Shared>,
    mut engines: Query<&mut StepOutput>,
    sequences: Query<&Sequence>,
    requests: Query<&Request>,
) {
    let shared = &mut *shared;
    for position in 0..shared.calendar.due.len() {
        let (at, index) = shared.calendar.due[position];
        let engine = shared.calendar.engines[index as usize];
        let mut step_output = engines.get_mut(engine).expect("engines live as long as the world");
        for (entity, end) in step_output.ended.drain(..) {
            let sequence = sequences.get(entity).expect("free only when it is complete");
            let request = requests.get(sequence.request).expect("a sequence's request lives as long as it does");
            shared.end_sequence(entity, sequence, request, end, at);
        }
    }
    shared.ports.hand_over_rows();
}
