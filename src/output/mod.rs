//! What a run writes.

mod columns;
mod csv_file;
mod distribution;
mod error;
mod interval_columns;
mod manifest;
mod names;
mod parquet_file;
mod plan;
mod request_columns;
mod run_files;
mod staged;
mod statistics;
mod summarise;
mod summary;
mod table;
mod writer;

pub use distribution::Statistics;
pub use error::OutputError;
pub use plan::OutputPlan;
pub use summary::{
    EngineSummary, GpuSummary, Latency, LatencySummary, LinkSummary, Named, PrefixSummary,
    ProfileSummary, RequestSummary, SimulationSummary, Summary, ThroughputSummary,
};
pub use writer::RunWriter;
