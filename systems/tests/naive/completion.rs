//! The end of a request: its record, and what follows from it.

use oracle_components::SimTime;
use oracle_components::record::{Reason, Status};

use super::World;
use super::sequence::Ended;

impl World<'_> {
    /// Writes the record of a request that ends now, and asks for what follows from it.
    pub fn close(&mut self, ended: Ended) {
        let Ended { spec, record } = self.settle(ended);
        let mut follow_ups = Vec::new();
        self.source.follow_ups(&spec, &record, &mut follow_ups);
        for mut next in follow_ups {
            // The arrivals of this instant are in already.
            if next.arrival <= self.now {
                self.coverage.note("follow-up due before it was known");
                next.arrival = self.now + SimTime(1);
            }
            if self.follow_ups.iter().any(|other| other.arrival == next.arrival) {
                self.coverage.note("follow-ups of one instant");
            }
            // Behind all that arrive no later: the list stays in order of arrival, then of return.
            let at = self.follow_ups.partition_point(|other| other.arrival <= next.arrival);
            self.follow_ups.insert(at, next);
        }
        self.records.push(record);
    }
    /// What comes later than the client waits, or than the simulation lasts, comes to nobody.
    pub fn settle(&mut self, ended: Ended) -> Ended {
        let Ended { spec, mut record } = ended;
        let refused = record.status == Status::Failed;
        if record.completion > spec.deadline() {
            self.coverage.note(if refused { "refused after the deadline" } else { "answered after the deadline" });
            record.completion = spec.deadline();
            record.status = Status::Timeout;
            record.reason = if refused { Reason::TimeoutWaiting } else { Reason::TimeoutRunning };
        }
        if let Some(horizon) = self.scenario.horizon
            && record.completion > horizon
        {
            self.coverage.note("completion beyond the horizon");
            record.completion = horizon;
            record.status = Status::Incomplete;
            record.reason = if refused { Reason::EndedWaiting } else { Reason::EndedRunning };
        }
        let has_happened = |time: &SimTime| *time <= record.completion;
        record.delivered = record.delivered.filter(has_happened);
        record.scheduled = record.scheduled.filter(has_happened);
        record.first_token = record.first_token.filter(has_happened);
        record.last_token = record.last_token.filter(has_happened);
        record.longest_gap = record.longest_gap.filter(|_| record.last_token.is_some());
        if let Some(prefill) = &mut record.prefill {
            prefill.load_started = prefill.load_started.filter(has_happened);
            prefill.loaded = prefill.loaded.filter(has_happened);
        }
        Ended { spec, record }
    }
}
