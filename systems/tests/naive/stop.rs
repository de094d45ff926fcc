//! The end of the simulation: what is in flight ends with it, and the books are closed.

use oracle_components::SimTime;
use oracle_components::record::{Reason, Status, Stop};

use super::kv::prefix::Leaving;
use super::{NaiveOutcome, World};

impl World<'_> {
    /// What is still in flight ends with the simulation.
    pub fn stop(mut self, stop: Stop) -> NaiveOutcome {
        // The last byte of a response may still be on its way when nothing is left for the engines.
        let completions = self.records.iter().map(|record| record.completion);
        let end = self.scenario.horizon.unwrap_or_else(|| completions.fold(self.last_boundary, SimTime::max));
        let mut rest = Vec::new();
        for engine in &mut self.engines {
            let not_running = engine.in_transit.drain(..).chain(engine.waiting.drain(..));
            rest.extend(not_running.map(|sequence| (sequence, Where::Waiting)));
            for mut sequence in std::mem::take(&mut engine.handoffs.loading) {
                engine.release(&mut sequence, Leaving::ForGood);
                rest.push((sequence, Where::Waiting));
            }
            for mut hold in std::mem::take(&mut engine.handoffs.held) {
                engine.release(&mut hold.sequence, Leaving::ForGood);
            }
            // The step that is cut off leaves nothing computed, but its blocks are given back like the others.
            for mut sequence in std::mem::take(&mut engine.running) {
                engine.release(&mut sequence, Leaving::ForGood);
                rest.push((sequence, Where::Running));
            }
            self.coverage.add(&engine.coverage);
        }
        rest.sort_by_key(|(sequence, _)| sequence.id());
        for (sequence, place) in rest {
            let deadline = sequence.deadline();
            let (status, completion) = match deadline <= end {
                true => (Status::Timeout, deadline),
                false => (Status::Incomplete, end),
            };
            let reason = match (status, place) {
                (Status::Timeout, Where::Waiting) => Reason::TimeoutWaiting,
                (Status::Timeout, Where::Running) => Reason::TimeoutRunning,
                (_, Where::Waiting) => Reason::EndedWaiting,
                (_, Where::Running) => Reason::EndedRunning,
            };
            self.coverage.note(reason.as_str());
            let ended = self.settle(sequence.end(completion, status, reason));
            self.records.push(ended.record);
        }
        assert_eq!(self.records.len() as u64, self.arrived, "one end each");
        for engine in &mut self.engines {
            let counts = engine.pool.counts;
            engine.totals.blocks_allocated = counts.handed_out;
            engine.totals.blocks_freed = counts.handed_back;
            engine.totals.blocks_peak = counts.held_peak;
            engine.totals.blocks_evicted = counts.evicted;
            self.coverage.note_times("cached block evicted", counts.evicted);
        }
        let engines = self.engines.iter().enumerate();
        let rows = engines.flat_map(|(index, engine)| engine.series.rows(self.scenario, index, end));
        let mut rows: Vec<_> = rows.collect();
        let mut links = Vec::new();
        for (link, index) in self.links.iter().zip(0..) {
            let of_link = link.rows(index, self.scenario.series_interval, end, &mut self.coverage);
            links.push(link.totals(&of_link));
            rows.extend(of_link);
        }
        NaiveOutcome {
            records: self.records,
            gaps: self.gaps,
            engines: self.engines.into_iter().map(|engine| engine.totals).collect(),
            gpus: self.gpus,
            links,
            rows,
            stop,
            end,
            coverage: self.coverage,
        }
    }
}

/// Where a request was when the simulation stopped.
#[derive(Clone, Copy)]
enum Where {
    Waiting,
    Running,
}
