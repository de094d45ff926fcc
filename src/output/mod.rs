//! What a run writes: per-request records, a time series, a summary and a manifest.
//!
//! ```text
//! simulation thread             writer thread
//! writer (RunWriter)  batches   run_files ── parquet_file ┐  columns: request_columns,
//!   copies records   ─────────►   │          csv_file ────┘           interval_columns
//!   counts token gaps             └──────── statistics ── distribution
//!        │ finish
//!        └─► summarise (energy) ─► summary (summary.json, table) ─► manifest (manifest.json) ─► staged (final names)
//! ```
//!
//! Laws:
//! - A file has its final name only when it is whole; until then it is `<name>.<process>.partial` (`staged`).
//! - A file is written by one run at a time (`lock`), and through no link, pipe or device.
//! - Where there is a manifest, all that it lists is of its run, and nothing of another is beside it (`earlier`).
//! - The same simulation gives the same bytes: no clock, host or absolute path is in any file.
//! - Memory does not grow with the number of requests: a few batches, one row group, and distributions of bounded size.
//! - This module reads records; it may not know how the simulation makes them.

mod backlog;
mod columns;
mod csv_file;
mod deployment;
mod distribution;
mod earlier;
mod energy;
mod error;
mod goodput;
mod interval_columns;
mod kept;
mod load_files;
mod lock;
mod manifest;
mod names;
mod offered;
mod parquet_file;
mod plan;
mod request_columns;
mod reserve;
mod row_group;
mod run_files;
mod staged;
mod statistics;
mod summarise;
mod summary;
mod table;
mod value_chunk;
mod verdict;
mod word_chunk;
mod writer;

pub use crate::inputs::ReadFiles;
pub use backlog::BacklogTrend;
pub use deployment::DeploymentSummary;
pub(crate) use distribution::Distribution;
pub use distribution::Statistics;
pub(crate) use earlier::{MANIFEST_FILE, REPORT_FILE, REPORT_MARK, SWEEP_FILE, TRACE, is_report, remove_report};
pub(crate) use energy::{cost, energy};
pub use error::OutputError;
pub use kept::{ArrowTable, KeptTables, Tables};
pub use load_files::{LoadFile, LoadFileError, Loss, Target, Written};
pub(crate) use lock::Lock;
pub use plan::{HostSpec, LoadPlan, OutputPlan, Overwrite, PlacesPlan, TakenDefault, TracePlan};
pub use run_files::WriterClock;
pub(crate) use staged::{put, refuse_input};
pub use summary::{
    CostSummary, DrainSummary, EnergySummary, EngineSummary, GpuSummary, Latency, LatencySummary, LinkSummary,
    LoadSummary, Named, ObjectiveSummary, PrefixSummary, ProfileSummary, ProgramSummary, RequestSummary,
    SimulationSummary, SloSummary, Summary, ThroughputSummary, notes_of,
};
pub use verdict::{BusiestLink, EngineTime, Ground, HeldBackSummary, InFlightSummary, Limit, StepSummary, Verdict};
pub use writer::RunWriter;
