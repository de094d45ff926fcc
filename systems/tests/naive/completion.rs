//! The end of a request: its record, and what follows from it.

use oracle_components::SimTime;
use oracle_components::record::{Reason, Status};

use super::World;
use super::sequence::Ended;

impl World<'_> {
    /// Writes the record of a request that ends now, and asks for what follows from it.
    pub fn close(&mut self, ended: Ended) {
        let Ended { spec, mut record } = ended;
        if let Some(horizon) = self.scenario.horizon
            && record.completion > horizon
        {
            self.coverage.note("completion beyond the horizon");
            record.reason = match record.status {
                Status::Failed => Reason::EndedWaiting,
                _ => Reason::EndedRunning,
            };
            record.status = Status::Incomplete;
            record.completion = horizon;
        }
        if let Some(mut next) = self.source.follow_up(&spec, &record) {
            // The arrivals of this instant are in already.
            if next.arrival <= self.now {
                self.coverage.note("follow-up due before it was known");
                next.arrival = self.now + SimTime(1);
            }
            // Behind all that arrive no later: the list stays in order of arrival, then of return.
            let at = self.follow_ups.partition_point(|other| other.arrival <= next.arrival);
            self.follow_ups.insert(at, next);
        }
        self.records.push(record);
    }
}
