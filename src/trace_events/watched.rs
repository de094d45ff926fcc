//! A sink with somebody who looks over its shoulder.

use oracle_components::SimTime;
use oracle_components::record::{IntervalRow, RequestRecord};
use oracle_systems::ports::{RecordSink, SinkClosed, StepSink};

use super::Recorder;

/// Hands everything to a sink, and what is in the window to a recorder as well.
#[derive(Debug)]
pub struct Watched<K> {
    /// The sink.
    pub sink: K,
    /// Who looks.
    pub recorder: Recorder,
}

impl<K: RecordSink> RecordSink for Watched<K> {
    fn request(&mut self, record: &RequestRecord) -> Result<(), SinkClosed> {
        self.recorder.request(record)?;
        self.sink.request(record)
    }

    fn token_gap(&mut self, at: SimTime, gap: SimTime, sequences: u64) {
        self.sink.token_gap(at, gap, sequences);
    }

    fn token_gaps(&mut self, from: SimTime, step_ends: &[SimTime], sequences: u64) {
        self.sink.token_gaps(from, step_ends, sequences);
    }

    fn interval(&mut self, row: &IntervalRow) -> Result<(), SinkClosed> {
        self.sink.interval(row)
    }

    fn steps(&mut self) -> Option<&mut dyn StepSink> {
        self.recorder.steps()
    }
}
