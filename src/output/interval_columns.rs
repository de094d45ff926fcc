//! The columns of `timeseries.parquet`: one row an interval and engine, GPU, link or client profile with an SLO; what does not
//! apply is null. Those of profiles are behind all others.

use oracle_components::record::{IntervalRow, Subject};

use super::columns::{Column, Scale, Value};
use super::energy::Metered;
use super::goodput::Kept;
use super::names::Names;

/// A row of the file.
#[derive(Debug)]
pub(super) struct SeriesRow {
    pub(super) interval: IntervalRow,
    pub(super) metered: Metered,
    /// Profile: how the requests that ended kept to their SLO.
    kept: Option<Kept>,
}

impl SeriesRow {
    /// A row that comes from the engines.
    pub(super) fn of_engines(interval: IntervalRow, metered: Metered) -> Self {
        Self { interval, metered, kept: None }
    }

    /// A row of requests that ended.
    pub(super) fn of_profile(interval: IntervalRow, kept: Kept) -> Self {
        Self { interval, metered: Metered::default(), kept: Some(kept) }
    }

    /// A profile is not busy.
    fn busy(&self) -> Option<f64> {
        self.kept.is_none().then_some(self.interval.busy)
    }
}

/// Tells subjects apart.
fn key(subject: Subject) -> u64 {
    let (kind, index) = match subject {
        Subject::Engine(index) => (0, index),
        Subject::Gpu(index) => (1, index),
        Subject::Link(index) => (2, index),
        Subject::Profile(index) => (3, index.into()),
    };
    kind << 32 | u64::from(index)
}

fn kind(subject: Subject) -> &'static str {
    match subject {
        Subject::Engine(_) => "engine",
        Subject::Gpu(_) => "gpu",
        Subject::Link(_) => "link",
        Subject::Profile(_) => "profile",
    }
}

fn name(subject: Subject, names: &Names) -> &str {
    match subject {
        Subject::Engine(index) => &names.engines[index as usize],
        Subject::Gpu(index) => &names.gpus[index as usize],
        Subject::Link(index) => &names.links[index as usize],
        Subject::Profile(index) => &names.profiles[usize::from(index)],
    }
}

/// The columns, in the order of the file.
pub(super) static INTERVAL_COLUMNS: [Column<SeriesRow>; 21] = {
    use Scale::Seconds;
    use Value::{FloatOrNull, Time, Word};
    [
        Column::new("start_time", "s", "start of the interval", Time(Seconds, |r| r.interval.start)),
        Column::new("duration", "s", "length of the interval", Time(Seconds, |r| r.interval.length)),
        Column::new(
            "kind",
            "",
            "engine, gpu, link or profile",
            Word(|r| key(r.interval.subject) >> 32, |r, _| kind(r.interval.subject)),
        ),
        Column::new(
            "name",
            "",
            "which of them",
            Word(|r| key(r.interval.subject), |r, names| name(r.interval.subject, names)),
        ),
        Column::new("running", "sequences", "engine: mean number running", FloatOrNull(|r| r.interval.running)),
        Column::new("waiting", "requests", "engine: mean number waiting", FloatOrNull(|r| r.interval.waiting)),
        Column::new(
            "kv_use",
            "1",
            "engine: mean share of the KV blocks held by running sequences",
            FloatOrNull(|r| r.interval.kv_use),
        ),
        Column::new("steps", "", "engine: steps that ended", FloatOrNull(|r| r.interval.steps)),
        Column::new(
            "prefill_tokens",
            "tokens",
            "engine: prompt tokens computed",
            FloatOrNull(|r| r.interval.prefill_tokens),
        ),
        Column::new(
            "output_tokens",
            "tokens",
            "engine: output tokens generated",
            FloatOrNull(|r| r.interval.output_tokens),
        ),
        Column::new("preemptions", "", "engine: preemptions", FloatOrNull(|r| r.interval.preemptions)),
        Column::new("busy", "1", "engine, gpu, link: share of the interval it was busy", FloatOrNull(SeriesRow::busy)),
        Column::new("mfu", "1", "gpu: FLOPs done over peak FLOPs", FloatOrNull(|r| r.interval.mfu)),
        Column::new("mbu", "1", "gpu: bytes moved over peak bytes", FloatOrNull(|r| r.interval.mbu)),
        Column::new(
            "bytes",
            "bytes",
            "gpu: read and written in memory; link: that crossed it",
            FloatOrNull(|r| r.interval.bytes),
        ),
        Column::new(
            "power_w",
            "W",
            "gpu: what the board drew on average, where known; engine: what its GPUs drew",
            FloatOrNull(|r| r.metered.power_w),
        ),
        Column::new(
            "cost_usd",
            "USD",
            "gpu: the interval's part of its price an hour, if it has one; engine: that of its GPUs",
            FloatOrNull(|r| r.metered.usd),
        ),
        Column::new(
            "joules_per_output_token",
            "J",
            "engine: what its GPUs drew, a token generated",
            FloatOrNull(|r| r.metered.joules_per_output_token),
        ),
        Column::new(
            "usd_per_million_output_tokens",
            "USD",
            "engine: what its GPUs cost, a million tokens generated",
            FloatOrNull(|r| r.metered.usd_per_million_output_tokens),
        ),
        Column::new(
            "slo_met",
            "requests",
            "profile: requests that ended within its SLO",
            FloatOrNull(|r| r.kept.map(|kept| kept.met as f64)),
        ),
        Column::new(
            "slo_missed",
            "requests",
            "profile: requests that ended, but not within it",
            FloatOrNull(|r| r.kept.map(|kept| kept.missed as f64)),
        ),
    ]
};
