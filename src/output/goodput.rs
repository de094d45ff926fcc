//! Goodput: how many requests kept to what their clients expect, by profile, by metric and by interval of the time series.
//!
//! Requests of which nothing is expected do not count, nor do those that the simulation ended: these are told apart.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use oracle_components::SimTime;
use oracle_components::record::{IntervalRow, RequestRecord, Status, Subject};

use super::summary::{Named, ObjectiveSummary, SloSummary};
use crate::workload::{Judgement, Slo, SloMetric, is_met};

/// Requests that kept to something, and those that did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) met: u64,
    pub(super) missed: u64,
}

impl Kept {
    fn count(&mut self, met: bool) {
        self.met += u64::from(met);
        self.missed += u64::from(!met);
    }

    fn attainment(self) -> f64 {
        let judged = self.met + self.missed;
        if judged > 0 { self.met as f64 / judged as f64 } else { 0.0 }
    }
}

impl AddAssign for Kept {
    fn add_assign(&mut self, other: Self) {
        self.met += other.met;
        self.missed += other.missed;
    }
}

/// The same of a group of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct SloCounts {
    all: Kept,
    /// In the order of [`SloMetric::ALL`].
    by_metric: [Kept; SloMetric::ALL.len()],
    incomplete: u64,
}

impl SloCounts {
    /// Counts a request of clients that expect something.
    pub(super) fn record(&mut self, record: &RequestRecord, judgement: Option<Judgement>) {
        self.incomplete += u64::from(record.status == Status::Incomplete);
        let Some(judgement) = judgement else { return };
        self.all.count(is_met(&judgement));
        for (kept, judged) in self.by_metric.iter_mut().zip(judgement) {
            if let Some(met) = judged {
                kept.count(met);
            }
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.all += other.all;
        self.incomplete += other.incomplete;
        for (sum, &kept) in self.by_metric.iter_mut().zip(&other.by_metric) {
            *sum += kept;
        }
    }

    /// What the summary tells of profiles whose clients expect `slos`; `None` if they expect nothing.
    pub(super) fn summary(&self, slos: &[Slo], goodput_per_s: f64) -> Option<SloSummary> {
        let objectives = |metric| slos.iter().filter_map(move |slo| slo.objective_ms(metric));
        let by_metric = SloMetric::ALL.into_iter().zip(self.by_metric).filter_map(|(metric, kept)| {
            let objective_ms = objectives(metric).next()?;
            let summary = ObjectiveSummary {
                objective_ms: objectives(metric).all(|other| other == objective_ms).then_some(objective_ms),
                attainment: kept.attainment(),
                met: kept.met,
                missed: kept.missed,
            };
            Some((metric.key().to_owned(), summary))
        });
        slos.iter().any(Slo::is_set).then(|| SloSummary {
            goodput_requests_per_second: goodput_per_s,
            attainment: self.all.attainment(),
            met: self.all.met,
            missed: self.all.missed,
            incomplete: self.incomplete,
            by_metric: Named(by_metric.collect()),
        })
    }
}

/// Requests by the interval in which they ended. Kept until the run ends, for records do not come in order of completion:
/// some bytes an interval in which any ended.
#[derive(Debug)]
pub(super) struct SloSeries {
    width: SimTime,
    intervals: BTreeMap<(u64, u16), Kept>,
}

impl SloSeries {
    pub(super) fn new(width: SimTime) -> Self {
        Self { width, intervals: BTreeMap::new() }
    }

    /// Counts a request by its completion; one at the end of an interval ended in it.
    pub(super) fn record(&mut self, record: &RequestRecord, judgement: &Judgement) {
        let interval = record.completion.0.saturating_sub(1) / self.width.0;
        self.intervals.entry((interval, record.profile)).or_default().count(is_met(judgement));
    }

    /// The rows of a run that ended at `end`, in order of time, then of profiles.
    pub(super) fn rows(&self, end: SimTime) -> impl Iterator<Item = (IntervalRow, Kept)> {
        self.intervals.iter().map(move |(&(interval, profile), &kept)| {
            let start = SimTime(interval.saturating_mul(self.width.0));
            let length = self.width.min(end.since(start));
            (IntervalRow::new(Subject::Profile(profile), start, length, 0.0), kept)
        })
    }
}
