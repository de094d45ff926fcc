//! What was completed while the load was offered, and what in the drain after it.
//!
//! The load is offered until the workload's duration is over; one that ends before (a number of requests, a trace) until
//! its last request arrives. When that was is known only in the end; until then, what was completed after the last arrival
//! that is known is kept one by one. Those were all in flight at that arrival, so there are no more than fit in the
//! system.

use std::ops::AddAssign;

use oracle_components::SimTime;
use oracle_components::record::{Reason, RequestRecord, Status};

use super::plan::LoadPlan;

/// A load that came in less than one so manyth of the run came at once.
const SHORTEST_SHARE: u64 = 1000;

/// Requests that were completed, whole answers only.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Completed {
    pub(super) requests: u64,
    pub(super) prompt_tokens: u64,
    pub(super) output_tokens: u64,
    /// Requests that kept to all that was expected.
    pub(super) good: u64,
}

impl AddAssign for Completed {
    fn add_assign(&mut self, more: Self) {
        self.requests += more.requests;
        self.prompt_tokens += more.prompt_tokens;
        self.output_tokens += more.output_tokens;
        self.good += more.good;
    }
}

/// A completion that may be after the end of the load.
#[derive(Clone, Copy, Debug)]
struct Late {
    at: SimTime,
    profile: u16,
    completed: Completed,
}

/// Completions by profile, before and after the end of the load. What ended in the warm-up does not count.
#[derive(Debug)]
pub(super) struct Completions {
    warm_up: SimTime,
    records_aborts: bool,
    last_arrival: SimTime,
    arrived: u64,
    offered: u64,
    gave_up: u64,
    refused: u64,
    before: Vec<Completed>,
    late: Vec<Late>,
    /// So many of `late` before it is looked through again.
    looked_through_at: usize,
}

/// The same once the end of the load is known.
#[derive(Clone, Debug)]
pub(super) struct OfferedLoad {
    /// When the load ended.
    pub(super) until: SimTime,
    /// All came at once: they have no rate but that of the drain.
    pub(super) at_once: bool,
    /// Requests that arrived after the warm-up.
    pub(super) requests: u64,
    /// Those of them whose clients gave up.
    pub(super) gave_up: u64,
    /// Those that were refused.
    pub(super) refused: u64,
    /// By profile, until then.
    pub(super) during: Vec<Completed>,
    /// All of them.
    pub(super) drained: Completed,
}

impl OfferedLoad {
    pub(super) fn all_during(&self) -> Completed {
        self.during.iter().fold(Completed::default(), |mut sum, &one| {
            sum += one;
            sum
        })
    }
}

impl Completions {
    const FEWEST_LATE: usize = 1024;

    /// Where `records_aborts`, who gives up while its answer is computed would have done so of any server.
    pub(super) fn new(warm_up: SimTime, profiles: usize, records_aborts: bool) -> Self {
        Self {
            warm_up,
            records_aborts,
            last_arrival: SimTime::ZERO,
            arrived: 0,
            offered: 0,
            gave_up: 0,
            refused: 0,
            before: vec![Completed::default(); profiles],
            late: Vec::new(),
            looked_through_at: Self::FEWEST_LATE,
        }
    }

    /// Counts a request, which was `good` if it kept to all that was expected.
    pub(super) fn record(&mut self, record: &RequestRecord, good: bool) {
        self.last_arrival = self.last_arrival.max(record.arrival);
        self.arrived += 1;
        if record.arrival >= self.warm_up {
            self.offered += 1;
            let was_waiting = record.reason == Reason::TimeoutWaiting;
            self.gave_up += u64::from(record.status == Status::Timeout && (was_waiting || !self.records_aborts));
            self.refused += u64::from(record.status == Status::Failed);
        }
        if record.status != Status::Success || record.completion < self.warm_up {
            return;
        }
        let completed = Completed {
            requests: 1,
            prompt_tokens: u64::from(record.prompt_tokens),
            output_tokens: u64::from(record.output_tokens),
            good: u64::from(good),
        };
        self.late.push(Late { at: record.completion, profile: record.profile, completed });
        if self.late.len() >= self.looked_through_at {
            self.keep_after(self.last_arrival);
            self.looked_through_at = Self::FEWEST_LATE.max(2 * self.late.len());
        }
    }

    /// Counts what was completed until `until`, and keeps the rest.
    fn keep_after(&mut self, until: SimTime) {
        let before = &mut self.before;
        self.late.retain(|late| {
            if late.at <= until {
                before[usize::from(late.profile)] += late.completed;
            }
            late.at > until
        });
    }

    /// Divides all at the end of the load, of a run that ended at `end`.
    pub(super) fn divided(&self, load: &LoadPlan, end: SimTime) -> OfferedLoad {
        let used_up = load.total_requests.is_some_and(|total| self.arrived >= total);
        let until = load.duration.filter(|_| !used_up).unwrap_or(self.last_arrival).min(end);
        let at_once = self.offered > 0 && until.0 < end.0 / SHORTEST_SHARE;
        let until = if at_once { end } else { until };
        let mut during = self.before.clone();
        let mut drained = Completed::default();
        for late in &self.late {
            if late.at <= until {
                during[usize::from(late.profile)] += late.completed;
            } else {
                drained += late.completed;
            }
        }
        let Self { offered: requests, gave_up, refused, .. } = *self;
        OfferedLoad { until, at_once, requests, gave_up, refused, during, drained }
    }
}
