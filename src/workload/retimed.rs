//! The requests of a trace at other times: its lengths, prefixes and sessions under a load of one's own.

use oracle_components::SimTime;
use oracle_components::record::RequestRecord;
use oracle_components::request::RequestSpec;
use oracle_systems::ports::{Promises, RequestSource};

use super::arrivals::clock::{self, Clock};
use super::error::WorkloadError;
use super::load::{Rate, Starts};

/// A source whose requests come when the load says, in the order in which they stand in it. What follows from an answer
/// keeps its distance from that.
pub(super) struct Retimed {
    inner: Box<dyn RequestSource>,
    /// `None`: all at second 0.
    clock: Option<(Clock, Rate)>,
    end: Option<SimTime>,
}

impl Retimed {
    pub fn new(
        inner: Box<dyn RequestSource>,
        starts: &Starts,
        end: Option<SimTime>,
        seed: u64,
    ) -> Result<Self, WorkloadError> {
        let clock = match starts {
            Starts::AtOnce => None,
            Starts::Rate { gaps, rate } => Some((Clock::new(gaps, rate, seed)?, rate.clone())),
        };
        Ok(Self { inner, clock, end })
    }

    /// Requests a second to expect.
    pub fn mean_rate_per_s(&self) -> Option<f64> {
        let (_, rate) = self.clock.as_ref()?;
        clock::mean_per_s(rate, self.end)
    }

    /// Requests to expect, if there are `all` in the trace.
    pub fn expected_of(&self, all: Option<u64>) -> Option<u64> {
        let ends = self.end.or_else(|| clock::length(&self.clock.as_ref()?.1));
        let by_time = ends.zip(self.mean_rate_per_s()).map(|(end, rate)| (end.as_secs_f64() * rate).round() as u64);
        by_time.map_or(all, |by_time| all.map(|all| all.min(by_time)))
    }
}

impl RequestSource for Retimed {
    fn next_request(&mut self) -> Option<RequestSpec> {
        let end = self.end.unwrap_or(SimTime::NEVER);
        let arrival = match &mut self.clock {
            Some((clock, _)) => clock.next(end)?,
            None => SimTime::ZERO,
        };
        Some(RequestSpec { arrival, ..self.inner.next_request()? })
    }

    fn follow_ups(&mut self, spec: &RequestSpec, record: &RequestRecord, next: &mut Vec<RequestSpec>) {
        self.inner.follow_ups(spec, record, next);
        let end = self.end.unwrap_or(SimTime::NEVER);
        next.retain(|spec| spec.arrival < end);
    }

    fn promises(&self) -> Promises {
        self.inner.promises()
    }
}
