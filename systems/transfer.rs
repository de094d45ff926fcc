//! Network transfer: what crosses links, when, and when it is out.
//!
//! Prompts and whole responses queue on a link one behind the other. Streamed tokens go as one flow a step on a lane of
//! their engine's own: packets of a stream interleave with other traffic instead of queueing behind it. Collectives and
//! pipeline activations are part of a step's price; here their bytes are booked on the links between the ranks.

use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;
use oracle_components::SimTime;
use oracle_components::engine::{Engine, Running, StepClock};
use oracle_components::hardware::{EngineHardware, Gpu, Link};
use oracle_components::record::FinishedRows;
use oracle_components::resources::Coupling;
use oracle_components::scenario::LinkIndex;
use oracle_components::work::{Booking, Brought, StepWork, Stretch, Unbooked};

use crate::series::LinkSeries;
use crate::world::Hub;

/// The links of the world.
#[derive(SystemParam)]
pub struct Network<'w, 's> {
    links: Query<'w, 's, (&'static mut Link, &'static mut LinkSeries)>,
}

impl Network<'_, '_> {
    /// Sends `bytes` over `path` from `at`, whole, link after link: when it is out at the far end. `links` are the entities.
    pub fn send(
        &mut self,
        path: &[LinkIndex],
        links: &[Entity],
        bytes: f64,
        at: SimTime,
        rows: &mut FinishedRows,
    ) -> SimTime {
        path.iter().fold(at, |at, &index| {
            let (mut link, mut series) =
                self.links.get_mut(links[index as usize]).expect("links live as long as the world");
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

    /// Sends `bytes` over all links of `path` at once, from when all are free, `at` at the earliest: when they are there.
    pub fn send_through(
        &mut self,
        path: &[LinkIndex],
        links: &[Entity],
        bytes: f64,
        at: SimTime,
        rows: &mut FinishedRows,
    ) -> SimTime {
        let entities = || path.iter().map(|&index| links[index as usize]);
        let busy_until = entities().filter_map(|link| self.links.get(link).ok()).map(|(link, _)| link.busy_until);
        let start = busy_until.fold(at, SimTime::max);
        let (mut slowest, mut latency) = (SimTime::ZERO, SimTime::ZERO);
        for entity in entities() {
            let (mut link, mut series) = self.links.get_mut(entity).expect("links live as long as the world");
            let serialisation = SimTime::from_secs_f64(bytes / link.bytes_per_s);
            link.busy_until = start + serialisation;
            link.totals.transfers += 1;
            link.totals.busy += serialisation;
            link.totals.bytes += bytes;
            series.book(start, start + serialisation, serialisation, bytes, rows);
            slowest = slowest.max(serialisation);
            latency += link.latency;
        }
        start + slowest + latency
    }

    /// Books the traffic of steps on its links.
    pub fn book(&mut self, traffic: &mut Vec<Booking>, links: &[Entity], rows: &mut FinishedRows) {
        for Booking { link, span: (from, to), busy, bytes } in traffic.drain(..) {
            let (mut link, mut series) =
                self.links.get_mut(links[link as usize]).expect("links live as long as the world");
            link.totals.busy += busy;
            link.totals.bytes += bytes;
            series.book(from, to, busy, bytes, rows);
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

/// Keeps what the steps that ended did until their interval is over. False if they go beyond it, or beyond that of what is
/// kept already: then transfer has to book it.
#[inline]
pub fn keep(brought: &mut Brought, engine: &Engine, interval: SimTime) -> bool {
    let Some(work) = brought.work else { return true };
    if !brought.past.is_empty() {
        return false;
    }
    let flows = flows(brought, brought.steps);
    let unbooked = &mut brought.unbooked;
    if is_empty(unbooked) {
        unbooked.from = brought.from;
        unbooked.to = brought.from;
        unbooked.until = SimTime(brought.from.0 - brought.from.0 % interval.0).saturating_add(interval);
    }
    if brought.to > unbooked.until {
        return false;
    }
    add(unbooked, brought.to, work, flows, engine);
    brought.work = None;
    true
}

/// Bytes and number of the flows that so many of the steps sent.
fn flows(brought: &Brought, steps: u64) -> (f64, u64) {
    (brought.flow_bytes, if brought.streams { steps } else { 0 })
}

fn is_empty(unbooked: &Unbooked) -> bool {
    unbooked.from == unbooked.to
}

/// Adds what steps did to what is kept.
#[inline]
fn add(unbooked: &mut Unbooked, to: SimTime, work: StepWork, (flow_bytes, flows): (f64, u64), engine: &Engine) {
    unbooked.to = to;
    unbooked.work += work;
    if flows == 0 {
        return;
    }
    unbooked.streamed_bytes += flow_bytes * flows as f64;
    unbooked.streaming.resize(engine.egress_rates.len(), SimTime::ZERO);
    for (busy, &(bytes_per_s, _)) in unbooked.streaming.iter_mut().zip(&engine.egress_rates) {
        let flow = SimTime::from_secs_f64(flow_bytes / bytes_per_s);
        *busy += SimTime(flow.0.saturating_mul(flows));
    }
}

/// What transfer sees of an engine.
pub type TransferParts = (&'static Engine, &'static mut Brought, &'static EngineHardware, &'static Running);

/// Carries what the steps that ended have sent.
pub fn transfer(
    mut hub: ResMut<Hub>,
    mut engines: Query<TransferParts>,
    mut gpus: Query<&mut Gpu>,
    mut network: Network,
) {
    let Hub { timeline, doors, links, traffic, completion_bell, .. } = &mut *hub;
    for &(_, index) in &timeline.due {
        let entity = timeline.engines[index as usize];
        let (engine, mut brought, hardware, running) =
            engines.get_mut(entity).expect("engines live as long as the world");
        let brought = &mut *brought;
        if brought.work.is_some() || running.count == 0 {
            book(brought, engine, hardware, &mut gpus, traffic);
        }
        for (_, end) in &mut brought.ended {
            if let Some(tokens) = end.whole_response_tokens {
                let bytes = f64::from(tokens) * engine.response_bytes_per_token;
                end.completion = network.send(&engine.egress, links, bytes, end.completion, &mut doors.rows);
            }
        }
    }
    // Loose engines share links with those of other worlds; their traffic is booked when all are through the window.
    if timeline.coupling == Coupling::Tight {
        network.book(traffic, links, &mut doors.rows);
    }
    if !doors.rows.0.is_empty() {
        completion_bell.ring();
    }
}

/// Books all that an engine's steps did on its GPUs, and notes their traffic.
pub fn book(
    brought: &mut Brought,
    engine: &Engine,
    hardware: &EngineHardware,
    gpus: &mut Query<&mut Gpu>,
    traffic: &mut Vec<Booking>,
) {
    book_kept(&mut brought.unbooked, engine, hardware, gpus, traffic);
    let Some(work) = brought.work.take() else { return };
    let last = Stretch { from: brought.from, to: brought.to, steps: brought.steps, work };
    let mut past = std::mem::take(&mut brought.past);
    for Stretch { from, to, steps, work } in past.drain(..).chain([last]) {
        let flows = flows(brought, steps);
        brought.unbooked.from = from;
        add(&mut brought.unbooked, to, work, flows, engine);
        book_kept(&mut brought.unbooked, engine, hardware, gpus, traffic);
    }
    brought.past = past;
}

fn book_kept(
    unbooked: &mut Unbooked,
    engine: &Engine,
    hardware: &EngineHardware,
    gpus: &mut Query<&mut Gpu>,
    traffic: &mut Vec<Booking>,
) {
    if is_empty(unbooked) {
        return;
    }
    let span = (unbooked.from, unbooked.to);
    let work = std::mem::take(&mut unbooked.work);
    let busy_s = span.1.since(span.0).as_secs_f64() * hardware.gpu_share;
    for gpu in &hardware.gpus {
        let mut gpu = gpus.get_mut(gpu.entity).expect("GPUs live as long as the world");
        gpu.totals.busy += SimTime::from_secs_f64(busy_s);
        gpu.totals.flops += work.flops_per_gpu;
        gpu.totals.bytes += work.memory_bytes_per_gpu;
    }
    let streamed_bytes = std::mem::take(&mut unbooked.streamed_bytes);
    if streamed_bytes > 0.0 {
        for (&link, busy) in engine.egress.iter().zip(&mut unbooked.streaming) {
            traffic.push(Booking { link, span, busy: std::mem::take(busy), bytes: streamed_bytes });
        }
    }
    for (path, bytes) in [
        (&hardware.ring_links, work.ring_bytes),
        (&hardware.stage_links, work.stage_bytes),
        (&hardware.exchange_links, work.exchange_bytes),
    ] {
        let path = path.iter().filter(|_| bytes > 0.0);
        traffic.extend(path.map(|&(link, bytes_per_s)| {
            let busy = SimTime::from_secs_f64(bytes / bytes_per_s);
            Booking { link, span, busy, bytes }
        }));
    }
    unbooked.from = unbooked.to;
}
