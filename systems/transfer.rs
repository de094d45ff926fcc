//! Network transfer: what crosses links, when, and when it is out.
//!
//! Prompts and whole responses queue on a link one behind the other. Streamed tokens go as one flow a step on a lane of
//! their engine's own: packets of a stream interleave with other traffic instead of queueing behind it. Collectives and
//! pipeline activations are part of a step's price; here their bytes are booked on the links between the ranks.

use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;
use oracle_components::SimTime;
use oracle_components::hardware::{Gpu, Link};
use oracle_components::resources::{Directory, Timeline};
use oracle_components::scenario::LinkIndex;
use oracle_components::sequence::Sequence;

use crate::costing::StepWork;
use crate::epoch::summed_context;
use crate::series::{EngineAmounts, FinishedRows, LinkSeries};
use crate::world::{Doors, EngineParts, EnginePartsItem};

/// The links of the world.
#[derive(SystemParam)]
pub struct Network<'w, 's> {
    directory: Res<'w, Directory>,
    links: Query<'w, 's, (&'static mut Link, &'static mut LinkSeries)>,
}

impl Network<'_, '_> {
    /// Sends `bytes` over `path` from `at`, whole, link after link: when it is out at the far end.
    pub fn send(&mut self, path: &[LinkIndex], bytes: f64, at: SimTime, rows: &mut FinishedRows) -> SimTime {
        path.iter().fold(at, |at, &index| {
            let entity = self.directory.links[index as usize];
            let (mut link, mut series) = self.links.get_mut(entity).expect("links live as long as the world");
            let serialisation = SimTime::from_secs_f64(bytes / link.bytes_per_s);
            let out = at.max(link.busy_until) + serialisation;
            link.busy_until = out;
            link.totals.transfers += 1;
            link.totals.busy += serialisation;
            link.totals.bytes += bytes;
            series.book(out, serialisation, bytes, rows);
            out + link.latency
        })
    }

    /// Time that a flow of `bytes` takes over a path: (until it is received, until the next may follow).
    fn flow_times(&self, path: &[LinkIndex], bytes: f64) -> (SimTime, SimTime) {
        path.iter().fold((SimTime::ZERO, SimTime::ZERO), |(received, gap), &index| {
            let entity = self.directory.links[index as usize];
            let (link, _) = self.links.get(entity).expect("links live as long as the world");
            let serialisation = SimTime::from_secs_f64(bytes / link.bytes_per_s);
            (received + serialisation + link.latency, gap.max(serialisation))
        })
    }

    /// Books `times` transfers of `bytes` on each link of `path`, the last under way at `at`.
    fn book(&mut self, path: &[LinkIndex], bytes: f64, times: u64, at: SimTime, rows: &mut FinishedRows) {
        if bytes == 0.0 {
            return;
        }
        for &index in path {
            let entity = self.directory.links[index as usize];
            let (mut link, mut series) = self.links.get_mut(entity).expect("links live as long as the world");
            let carrying = SimTime(SimTime::from_secs_f64(bytes / link.bytes_per_s).0 * times);
            link.totals.busy += carrying;
            link.totals.bytes += bytes * times as f64;
            series.book(at, carrying, bytes * times as f64, rows);
        }
    }

    /// Ends the open intervals of all links at `stop`.
    pub fn flush(&mut self, stop: SimTime, rows: &mut FinishedRows) {
        for (_, mut series) in &mut self.links {
            series.flush(stop, rows);
        }
    }
}

/// Carries what the steps that end now have sent.
pub fn transfer(
    timeline: Res<Timeline>,
    mut doors: ResMut<Doors>,
    directory: Res<Directory>,
    mut engines: Query<EngineParts>,
    mut gpus: Query<&mut Gpu>,
    mut network: Network,
    sequences: Query<&Sequence>,
) {
    for &index in &timeline.due {
        let mut parts = engines.get_mut(directory.engines[index as usize]).expect("engines live as long as the world");
        carry(&mut parts, &directory, &mut gpus, &mut network, &sequences, &mut doors.rows);
    }
}

/// Carries what one engine's ended steps have sent, and books their work.
pub fn carry(
    parts: &mut EnginePartsItem<'_, '_>,
    directory: &Directory,
    gpus: &mut Query<&mut Gpu>,
    network: &mut Network<'_, '_>,
    sequences: &Query<&Sequence>,
    rows: &mut FinishedRows,
) {
    let steps = parts.epoch.steps;
    if steps == 0 {
        return;
    }
    let streaming_chunks = parts
        .plan
        .chunks
        .iter()
        .filter(|chunk| chunk.completes && sequences.get(chunk.sequence).is_ok_and(|sequence| sequence.streaming))
        .count();
    stream(parts, parts.running.streaming_decodes + streaming_chunks as u32, network, rows);
    let priced = parts.priced.0.expect("a batch that ran has a price");
    let work = priced.work_over(steps as u64, summed_context(&parts.epoch, steps));
    book_work(parts, &work, directory, gpus, network, rows);
}

/// Sends the flows of streamed tokens of the steps that ended, `sequences` tokens each.
fn stream(parts: &mut EnginePartsItem<'_, '_>, sequences: u32, network: &mut Network<'_, '_>, rows: &mut FinishedRows) {
    if sequences == 0 {
        return;
    }
    let bytes = f64::from(sequences) * parts.engine.response_bytes_per_token;
    let (received, gap) = network.flow_times(&parts.engine.egress, bytes);
    let ends = &parts.epoch.step_ends[..parts.epoch.steps];
    for &end in ends {
        let start = end.max(parts.clock.lane_free);
        parts.clock.lane_free = start + gap;
        parts.clock.flow_received = start + received;
    }
    network.book(&parts.engine.egress, bytes, ends.len() as u64, parts.clock.lane_free, rows);
}

/// Books the work of the steps that ended on the engine's GPUs and on the links between its ranks.
fn book_work(
    parts: &mut EnginePartsItem<'_, '_>,
    work: &StepWork,
    directory: &Directory,
    gpus: &mut Query<&mut Gpu>,
    network: &mut Network<'_, '_>,
    rows: &mut FinishedRows,
) {
    let (from, to) = (parts.clock.boundary, parts.epoch.step_ends[parts.epoch.steps - 1]);
    let busy = to.since(from);
    parts.ledger.0.busy += busy;
    for &gpu in &parts.hardware.gpus {
        let mut gpu = gpus.get_mut(directory.gpus[gpu as usize]).expect("GPUs live as long as the world");
        gpu.totals.busy += busy;
        gpu.totals.flops += work.flops_per_gpu;
        gpu.totals.bytes += work.memory_bytes_per_gpu;
    }
    network.book(&parts.hardware.ring_links, work.ring_bytes, 1, to, rows);
    network.book(&parts.hardware.stage_links, work.stage_bytes, 1, to, rows);
    let mut amounts = EngineAmounts { busy_s: busy.as_secs_f64(), ..EngineAmounts::default() };
    amounts.add_work(work);
    parts.series.book(from, to, amounts, parts.hardware, rows);
}
