//! Network transfer: what crosses links, when, and when it is out.
//!
//! Prompts and whole responses queue on a link one behind the other. Streamed tokens go as one flow a step on a lane of
//! their engine's own: packets of a stream interleave with other traffic instead of queueing behind it. Collectives and
//! pipeline activations are part of a step's price; here their bytes are booked on the links between the ranks.

use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;
use oracle_components::SimTime;
use oracle_components::engine::{Engine, StepClock};
use oracle_components::hardware::{Gpu, Link};
use oracle_components::record::Status;
use oracle_components::resources::Timeline;
use oracle_components::sequence::Sequence;

use crate::series::{FinishedRows, LinkSeries};
use crate::world::{Brought, Doors, EngineHardware};

/// The links of the world.
#[derive(SystemParam)]
pub struct Network<'w, 's> {
    links: Query<'w, 's, (&'static mut Link, &'static mut LinkSeries)>,
}

impl Network<'_, '_> {
    /// Sends `bytes` over `path` from `at`, whole, link after link: when it is out at the far end.
    pub fn send(&mut self, path: &[Entity], bytes: f64, at: SimTime, rows: &mut FinishedRows) -> SimTime {
        path.iter().fold(at, |at, &link| {
            let (mut link, mut series) = self.links.get_mut(link).expect("links live as long as the world");
            let serialisation = SimTime::from_secs_f64(bytes / link.bytes_per_s);
            let out = at.max(link.busy_until) + serialisation;
            link.busy_until = out;
            link.totals.transfers += 1;
            link.totals.busy += serialisation;
            link.totals.bytes += bytes;
            series.book(SimTime(out.0 - serialisation.0), out, serialisation, bytes, rows);
            out + link.latency
        })
    }

    /// Books `times` transfers of `bytes` on each link of `path`, spread from `from` to `to`.
    fn book(
        &mut self,
        path: &[Entity],
        bytes: f64,
        times: u64,
        (from, to): (SimTime, SimTime),
        rows: &mut FinishedRows,
    ) {
        if bytes == 0.0 || times == 0 {
            return;
        }
        for &link in path {
            let (mut link, mut series) = self.links.get_mut(link).expect("links live as long as the world");
            let carrying = SimTime(SimTime::from_secs_f64(bytes / link.bytes_per_s).0.saturating_mul(times));
            link.totals.busy += carrying;
            link.totals.bytes += bytes * times as f64;
            series.book(from, to, carrying, bytes * times as f64, rows);
        }
    }

    /// Ends the open intervals of all links at `stop`.
    pub fn flush(&mut self, stop: SimTime, rows: &mut FinishedRows) {
        for (_, mut series) in &mut self.links {
            series.flush(stop, rows);
        }
    }
}

/// When the client has the flow of streamed tokens of `bytes` a step, for steps that ended at `step_ends`.
pub fn stream(engine: &Engine, clock: &mut StepClock, bytes: f64, step_ends: &[SimTime]) {
    let (mut received, mut gap) = (SimTime::ZERO, SimTime::ZERO);
    for &(bytes_per_s, latency) in &engine.egress_rates {
        let serialisation = SimTime::from_secs_f64(bytes / bytes_per_s);
        received += serialisation + latency;
        gap = gap.max(serialisation);
    }
    for &end in step_ends {
        let start = end.max(clock.lane_free);
        clock.lane_free = start + gap;
        clock.flow_received = start + received;
    }
}

/// What transfer sees of an engine.
pub type TransferParts = (&'static Engine, &'static mut Brought, &'static EngineHardware);

/// Carries what the steps that ended have sent.
pub fn transfer(
    timeline: Res<Timeline>,
    mut doors: ResMut<Doors>,
    mut engines: Query<TransferParts>,
    mut gpus: Query<&mut Gpu>,
    mut network: Network,
    sequences: Query<&Sequence>,
) {
    for &(_, index) in &timeline.due {
        let engine = timeline.engines[index as usize];
        let (engine, mut brought, hardware) = engines.get_mut(engine).expect("engines live as long as the world");
        book(&brought, engine, hardware, &mut gpus, &mut network, &mut doors.rows);
        for (entity, end) in &mut brought.ended {
            let sequence = sequences.get(*entity).expect("despawned only when it is complete");
            if end.status == Status::Success && !sequence.streaming {
                let bytes = f64::from(sequence.generated) * engine.response_bytes_per_token;
                end.completion = network.send(&engine.egress, bytes, end.completion, &mut doors.rows);
            }
        }
    }
}

/// Books the work of the steps that ended on the engine's GPUs and links.
pub fn book(
    brought: &Brought,
    engine: &Engine,
    hardware: &EngineHardware,
    gpus: &mut Query<&mut Gpu>,
    network: &mut Network<'_, '_>,
    rows: &mut FinishedRows,
) {
    let Some(work) = &brought.work else { return };
    let span = (brought.from, brought.to);
    let busy_s = brought.to.since(brought.from).as_secs_f64() * hardware.gpu_share;
    for gpu in &hardware.gpus {
        let mut gpu = gpus.get_mut(gpu.entity).expect("GPUs live as long as the world");
        gpu.totals.busy += SimTime::from_secs_f64(busy_s);
        gpu.totals.flops += work.flops_per_gpu;
        gpu.totals.bytes += work.memory_bytes_per_gpu;
    }
    network.book(&engine.egress, brought.flow_bytes, brought.flows, span, rows);
    network.book(&hardware.ring_links, work.ring_bytes, 1, span, rows);
    network.book(&hardware.stage_links, work.stage_bytes, 1, span, rows);
    network.book(&hardware.exchange_links, work.exchange_bytes, 1, span, rows);
}
