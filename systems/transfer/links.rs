//! The links of the world: transfers that queue on them, and the traffic of steps that is posted to them.

use crate::series::{LinkSeries, Traffic};
use bevy_ecs::prelude::{Entity, Query};
use bevy_ecs::system::SystemParam;
use oracle_components::SimTime;
use oracle_components::hardware::Link;
use oracle_components::record::{Cargo, LinkTransfer};
use oracle_components::request::RequestId;
use oracle_components::scenario::LinkIndex;
use oracle_components::work::LinkUsage;

use crate::world::Ports;

/// What is sent.
#[derive(Clone, Copy)]
pub struct Parcel {
    /// Whose.
    pub request: RequestId,
    /// What.
    pub cargo: Cargo,
    /// How much.
    pub bytes: f64,
}

/// The links of the world.
#[derive(SystemParam)]
pub struct Network<'w, 's> {
    links: Query<'w, 's, (&'static mut Link, &'static mut LinkSeries)>,
}

impl Network<'_, '_> {
    /// Sends a parcel over `path` from `now`, whole, link after link: when it is out at the far end. `links` are the entities.
    pub fn send(
        &mut self,
        path: &[LinkIndex],
        links: &[Entity],
        parcel: Parcel,
        now: SimTime,
        ports: &mut Ports,
    ) -> SimTime {
        let bytes = parcel.bytes;
        path.iter().fold(now, |at, &index| {
            let (mut link, mut series) =
                self.links.get_mut(links[index as usize]).expect("links live as long as the world");
            let serialisation = SimTime::from_secs_f64(bytes / link.bytes_per_s);
            let out = at.max(link.busy_until) + serialisation;
            link.busy_until = out;
            link.totals.transfers += 1;
            let span = (SimTime(out.0 - serialisation.0), out);
            series.queue(span, bytes, now, &mut ports.rows);
            tell(ports, parcel, index, at, span);
            out + link.latency
        })
    }

    /// Sends a parcel over all links of `path` at once, from when all are free, `now` at the earliest: when they are there.
    pub fn send_through(
        &mut self,
        path: &[LinkIndex],
        links: &[Entity],
        parcel: Parcel,
        now: SimTime,
        ports: &mut Ports,
    ) -> SimTime {
        let bytes = parcel.bytes;
        let entities = || path.iter().map(|&index| links[index as usize]);
        let busy_until = entities().filter_map(|link| self.links.get(link).ok()).map(|(link, _)| link.busy_until);
        let start = busy_until.fold(now, SimTime::max);
        let (mut slowest, mut latency) = (SimTime::ZERO, SimTime::ZERO);
        for (&index, entity) in path.iter().zip(entities()) {
            let (mut link, mut series) = self.links.get_mut(entity).expect("links live as long as the world");
            let serialisation = SimTime::from_secs_f64(bytes / link.bytes_per_s);
            link.busy_until = start + serialisation;
            link.totals.transfers += 1;
            let span = (start, start + serialisation);
            series.queue(span, bytes, now, &mut ports.rows);
            tell(ports, parcel, index, now, span);
            slowest = slowest.max(serialisation);
            latency += link.latency;
        }
        start + slowest + latency
    }

    /// Posts the traffic of steps to its links.
    pub fn post(&mut self, traffic: &mut Vec<LinkUsage>, links: &[Entity], ports: &mut Ports) {
        for usage in traffic.drain(..) {
            let LinkUsage { link, span, busy, bytes } = usage;
            let (_, mut series) = self.links.get_mut(links[link as usize]).expect("links live as long as the world");
            series.post(span, Traffic { busy_ns: busy.0 as f64, bytes }, &mut ports.rows);
            if let Some(sink) = ports.sink.steps() {
                sink.traffic(&usage);
            }
        }
    }

    /// Ends the intervals of each link, and calls `then` after each.
    pub fn stop_at(&mut self, stop: SimTime, ports: &mut Ports, mut then: impl FnMut(&mut Ports)) {
        for (mut link, mut series) in &mut self.links {
            let Traffic { busy_ns, bytes } = series.flush(stop, &mut ports.rows);
            link.totals.busy = SimTime(busy_ns.round() as u64);
            link.totals.bytes = bytes;
            then(ports);
        }
    }
}

/// Tells of a transfer whoever wants to know.
fn tell(
    ports: &mut Ports,
    Parcel { request, cargo, bytes }: Parcel,
    link: LinkIndex,
    ready: SimTime,
    (from, to): (SimTime, SimTime),
) {
    if let Some(sink) = ports.sink.steps() {
        sink.transfer(&LinkTransfer { link, request, cargo, ready, from, to, bytes });
    }
}
