//! The links of the world: transfers that queue on them, and the traffic of steps that is posted to them.

use crate::series::LinkSeries;
use bevy_ecs::prelude::{Entity, Query};
use bevy_ecs::system::SystemParam;
use oracle_components::SimTime;
use oracle_components::hardware::Link;
use oracle_components::record::FinishedRows;
use oracle_components::scenario::LinkIndex;
use oracle_components::work::LinkUsage;
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
            series.post(SimTime(out.0 - serialisation.0), out, serialisation, bytes, rows);
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
            series.post(start, start + serialisation, serialisation, bytes, rows);
            slowest = slowest.max(serialisation);
            latency += link.latency;
        }
        start + slowest + latency
    }

    /// Posts the traffic of steps to its links.
    pub fn post(&mut self, traffic: &mut Vec<LinkUsage>, links: &[Entity], rows: &mut FinishedRows) {
        for LinkUsage { link, span: (from, to), busy, bytes } in traffic.drain(..) {
            let (mut link, mut series) =
                self.links.get_mut(links[link as usize]).expect("links live as long as the world");
            link.totals.busy += busy;
            link.totals.bytes += bytes;
            series.post(from, to, busy, bytes, rows);
        }
    }

    /// The open intervals of each link.
    pub fn each_series(&mut self, mut visit: impl FnMut(&mut LinkSeries)) {
        for (_, mut series) in &mut self.links {
            visit(&mut series);
        }
    }
}
