//! What to write, and where.

use std::path::PathBuf;

use oracle_components::SimTime;
use serde_json::Value;

use crate::fidelity::Expectation;
use crate::inputs::ReadFiles;
use crate::trace_events::Window;
use crate::workload::{HeldBack, Slo, TraceDigest};

/// What a run writes, and where. Every path is final; writers put a file there only when it is whole.
#[derive(Clone, Debug)]
pub struct OutputPlan {
    /// Name of the run.
    pub run_name: String,
    /// The folder of the run; created if need be.
    pub directory: PathBuf,
    /// The summary; `directory/summary.json` unless the config names another.
    pub summary_json: Option<PathBuf>,
    /// Per-request records as Parquet.
    pub requests_parquet: Option<PathBuf>,
    /// Per-request records as CSV.
    pub requests_csv: Option<PathBuf>,
    /// The time series.
    pub timeseries_parquet: Option<PathBuf>,
    /// Where a file would be that is left out: one of an earlier run goes from there.
    pub left_out: Vec<PathBuf>,
    /// What the run reads, of which no output may take the place.
    pub reads: ReadFiles,
    /// What was read of the trace, for runs of one.
    pub trace_digest: Option<TraceDigest>,
    /// Rows stay in memory, too, for a host program.
    pub keeps_tables: bool,
    /// A window of the run as trace events.
    pub trace: Option<TracePlan>,
    /// The manifest.
    pub manifest_json: Option<PathBuf>,
    /// Whose files in the folder may be replaced.
    pub overwrite: Overwrite,
    /// Quantiles of the summary, each 0 < q < 1.
    pub quantiles: Vec<f64>,
    /// Requests that arrive before this are left out of the summary (not of the records).
    pub warm_up: SimTime,
    /// What its GPUs are plugged into.
    pub host: HostSpec,
    /// What the configuration left to defaults, for the summary.
    pub defaults: Vec<TakenDefault>,
    /// The load, as far as the summary tells it.
    pub load: LoadPlan,
    /// What clients expect, by profile; nothing of those that it does not reach.
    pub slos: Vec<Slo>,
    /// Requests may have images for the vision encoder: the files have a column of them.
    pub encodes_images: bool,
    /// What to know before any figure: prices that rest on another device's, what a setting costs.
    pub notes: Vec<String>,
    /// Devices of which nobody measured what they draw.
    pub estimated_power: Vec<String>,
    /// How far off figures of such deployments were.
    pub fidelity: Vec<Expectation>,
}

/// A window of a run, to be traced while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracePlan {
    /// The file.
    pub path: PathBuf,
    /// The window.
    pub window: Window,
}

/// A setting that a configuration left out.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TakenDefault {
    /// Whose setting.
    pub framework: String,
    /// Its key.
    pub key: String,
    /// What holds.
    pub value: String,
    /// Why that.
    pub reason: String,
}

impl TakenDefault {
    /// The key of the vision encoder's price.
    const ENCODER: &str = "encoder_token_s";

    pub(super) fn is_of_encoder(&self) -> bool {
        self.key == Self::ENCODER
    }
}

/// A load in short.
#[derive(Clone, Debug, Default)]
pub struct LoadPlan {
    /// In words.
    pub description: String,
    /// Nothing arrives at or after this, and until then something may; `None`: until the last request.
    pub duration: Option<SimTime>,
    /// No more requests than this.
    pub total_requests: Option<u64>,
    /// How many sessions there may be at once; `None`: any number.
    pub places: Option<PlacesPlan>,
    /// What the client holds back because of that.
    pub held_back: HeldBack,
    /// When clients give up is recorded of each request (`abort_s`), and not how patient they are.
    pub records_aborts: bool,
}

/// A limit on the sessions that there are at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacesPlan {
    /// The limit.
    pub count: u32,
    /// Nothing but a place that becomes free brings the next session.
    pub is_closed: bool,
}

impl OutputPlan {
    /// Leaves every file out: the run comes to a summary and nothing else.
    pub fn write_nothing(&mut self) {
        (self.summary_json, self.manifest_json) = (None, None);
        (self.requests_parquet, self.requests_csv, self.timeseries_parquet) = (None, None, None);
        self.trace = None;
    }

    /// Leaves the CSV out.
    pub fn leave_out_csv(&mut self) {
        self.left_out.extend(self.requests_csv.take());
    }

    /// Defaults that make a difference: the encoder's price only where there are images.
    pub fn defaults_that_act(&self, encodes_images: bool) -> impl Iterator<Item = &TakenDefault> {
        self.defaults.iter().filter(move |taken| encodes_images || !taken.is_of_encoder())
    }

    /// Every file that is written.
    #[must_use]
    pub fn files(&self) -> Vec<&PathBuf> {
        let files = [
            &self.manifest_json,
            &self.summary_json,
            &self.requests_parquet,
            &self.requests_csv,
            &self.timeseries_parquet,
        ];
        let trace = self.trace.as_ref().map(|trace| &trace.path);
        files.into_iter().flatten().chain(trace).collect()
    }
}

/// Whose files in the folder of a run the run may replace.
#[derive(Clone, Debug, PartialEq)]
pub enum Overwrite {
    /// Anybody's.
    Anything,
    /// Those of a run of this configuration, as its manifest tells it.
    SameConfiguration(Value),
}

/// A server without its GPUs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostSpec {
    /// What it draws, in watts.
    pub power_w: f64,
    /// How many GPUs it holds.
    pub gpus: u32,
}

impl Default for HostSpec {
    /// A server under load by LLMServingSim's measured parts (`evaluation/power`): base 164 W, processor 132 W, memory 16 W,
    /// network card, disk and link 22 W.
    fn default() -> Self {
        Self { power_w: 330.0, gpus: 8 }
    }
}
