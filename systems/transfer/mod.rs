//! Network transfer: what crosses links, when, and when it is out.
//!
//! Prompts and whole responses queue on a link one behind the other. Streamed tokens go as one flow a step on a lane of
//! their engine's own: packets of a stream interleave with other traffic instead of queueing behind it. Collectives and
//! pipeline activations are part of a step's price; here their bytes are posted to the links between the ranks.

mod links;
mod posting;
mod stream;

use bevy_ecs::prelude::*;
use oracle_components::calendar::Coupling;
use oracle_components::engine::{Engine, Running};
use oracle_components::hardware::{EngineHardware, Gpu};
use oracle_components::record::Cargo;
use oracle_components::sequence::Sequence;
use oracle_components::work::StepOutput;

use crate::world::Shared;

pub use links::{Network, Parcel};
pub use posting::{accrue, post};
pub use stream::stream;

/// What transfer sees of an engine.
pub type TransferParts = (&'static Engine, &'static mut StepOutput, &'static EngineHardware, &'static Running);

/// Carries what the steps that ended have sent.
pub fn transfer(
    mut shared: ResMut<Shared>,
    mut engines: Query<TransferParts>,
    mut gpus: Query<&mut Gpu>,
    sequences: Query<&Sequence>,
    mut network: Network,
) {
    let Shared { calendar, ports, links, traffic, completion_flag, .. } = &mut *shared;
    for &(_, index) in &calendar.due {
        let entity = calendar.engines[index as usize];
        let (engine, mut step_output, hardware, running) =
            engines.get_mut(entity).expect("engines live as long as the world");
        let step_output = &mut *step_output;
        if step_output.work.is_some() || running.count == 0 {
            post(step_output, engine, hardware, &mut gpus, traffic);
        }
        for (entity, end) in &mut step_output.ended {
            if let Some(tokens) = end.whole_response_tokens {
                let bytes = f64::from(tokens) * engine.response_bytes_per_token;
                let request = sequences.get(*entity).expect("free only when it is complete").id;
                let parcel = Parcel { request, cargo: Cargo::Answer, bytes };
                end.completion = network.send(&engine.egress, links, parcel, end.completion, ports);
            }
        }
    }
    // Windowed engines share links with those of other worlds; their traffic is posted when all are through the window.
    if calendar.coupling == Coupling::Lockstep {
        network.post(traffic, links, ports);
    }
    if !ports.rows.0.is_empty() {
        completion_flag.raise();
    }
}
