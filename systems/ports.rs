//! The two ports of the engine: requests come in by a [`RequestSource`], records leave by a [`RecordSink`].

use std::any::Any;

use oracle_components::SimTime;
use oracle_components::record::{IntervalRow, LinkTransfer, RanSteps, RequestRecord};
use oracle_components::request::RequestSpec;
use oracle_components::work::LinkUsage;

/// What a source will never do. Each promise lets engines run further ahead of each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promises {
    /// [`RequestSource::follow_ups`] never adds a request.
    pub no_follow_ups: bool,
    /// Every response is streamed.
    pub streams_only: bool,
}

/// Where requests come from. Lazy: it holds what it needs for the next request, not the workload.
pub trait RequestSource: Send + Sync {
    /// The next request of the open-loop workload, in non-decreasing order of arrival; `None` when there are no more.
    fn next_request(&mut self) -> Option<RequestSpec>;

    /// Called when a request has ended, in the order in which engines end them: adds to `next` the requests that this end gives rise to
    /// (the session's next turn, the calls of an agent that waited for it, what a client held back), each of which arrives at
    /// `record.completion` or later. `next` is empty before.
    fn follow_ups(&mut self, _spec: &RequestSpec, _record: &RequestRecord, _next: &mut Vec<RequestSpec>) {}

    /// What it will never do.
    fn promises(&self) -> Promises {
        Promises::default()
    }
}

/// The sink can take no more (the disk is full, say); it keeps the reason itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkClosed;

/// Where records go.
pub trait RecordSink: Any + Send + Sync {
    /// A request has ended. Called in the order in which the engine ends them, which is nearly that of completion times:
    /// a whole response still crosses its links after its engine is done with it.
    ///
    /// # Errors
    /// [`SinkClosed`] stops the simulation.
    fn request(&mut self, record: &RequestRecord) -> Result<(), SinkClosed>;

    /// `sequences` sequences had a gap of `gap` between two tokens, the later of which came at `at`.
    fn token_gap(&mut self, at: SimTime, gap: SimTime, sequences: u64);

    /// `sequences` sequences generated a token in each of the steps that ended at `step_ends`, and before that at `from`.
    fn token_gaps(&mut self, from: SimTime, step_ends: &[SimTime], sequences: u64) {
        let mut previous = from;
        for &end in step_ends {
            self.token_gap(end, end - previous, sequences);
            previous = end;
        }
    }

    /// An interval of an engine, GPU or link has passed. For each subject in order of time.
    ///
    /// # Errors
    /// [`SinkClosed`] stops the simulation.
    fn interval(&mut self, row: &IntervalRow) -> Result<(), SinkClosed>;

    /// Where steps and transfers are told, if anybody wants to know them: asked once for all that an engine ran ahead, and for
    /// each transfer. Engines that are windowed tell no steps ([`crate::Simulation::in_lockstep`]).
    fn steps(&mut self) -> Option<&mut dyn StepSink> {
        None
    }
}

/// Where steps and transfers are told.
pub trait StepSink {
    /// An engine has run these, in order of time for each engine.
    fn span(&mut self, span: &RanSteps<'_>);

    /// A transfer has been booked on a link, in order of time for each link.
    fn transfer(&mut self, transfer: &LinkTransfer);

    /// Steps have sent this over a link, beside its transfers: streamed tokens, collectives, activations.
    fn traffic(&mut self, usage: &LinkUsage);
}

/// The records of all requests, and nothing else.
impl RecordSink for Vec<RequestRecord> {
    fn request(&mut self, record: &RequestRecord) -> Result<(), SinkClosed> {
        self.push(record.clone());
        Ok(())
    }

    fn token_gap(&mut self, _: SimTime, _: SimTime, _: u64) {}

    fn token_gaps(&mut self, _: SimTime, _: &[SimTime], _: u64) {}

    fn interval(&mut self, _: &IntervalRow) -> Result<(), SinkClosed> {
        Ok(())
    }
}
