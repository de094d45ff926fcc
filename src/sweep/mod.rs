//! Sweeps: one simulation for every point of a grid, on all cores, and one table.
//!
//! ```text
//! values ─► grid ◄─ grid_file        description (sweep.json): which sweep a folder belongs to
//!            │ settings of a point
//!            ▼ resolve (the caller's)
//!        execution ── runs ─► metrics ─► journal (points/K-of-N.jsonl)
//!                                          │ all points there
//!                              merge ──────┴─► results ─► columns ─► parquet, listing
//! ```
//!
//! Laws:
//! - The same sweep leaves the same bytes on any number of threads, in one go, in several, or in shards that are merged.
//! - A point that is in a journal was finished; it is not run again. What cannot be read in a journal was not.
//! - A point that cannot run is a row, not an end.
//! - This module knows no command line: what a setting means is the caller's.

mod columns;
mod configuration;
mod description;
mod execution;
mod figure;
mod grid;
mod grid_file;
mod journal;
mod listing;
mod merge;
mod metrics;
mod parquet;
mod partition;
mod problem;
mod results;
mod values;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use crate::inputs;
use crate::output::remove_report;

pub use columns::{Cells, Column, Table, setting_names};
pub use configuration::of_config;
pub use description::Description;
pub use execution::{Event, Outcome, Resolve, Sweep, Unresolved, run};
pub use figure::Figure;
pub use grid::{Axis, Grid, SEED, Shard};
pub use grid_file::read_grid;
pub use journal::{Record, Status};
pub use listing::Points;
pub use merge::{Merged, merge};
pub use metrics::{ACCURACY, Metric, NOTES, UNMEASURED_KERNELS, metrics_of, sentences};
pub use problem::SweepError;
pub use results::{Interval, intervals, results};
pub use values::{plain, values};

/// The table of a sweep in its folder.
pub const RESULTS: &str = "results.parquet";
/// The table of intervals over seeds.
pub const INTERVALS: &str = "intervals.parquet";
/// The folder of requests.
const REQUESTS: &str = "requests";

/// Writes the tables of a sweep whose points are all there.
fn write_tables(folder: &Path, grid: &Grid, records: &BTreeMap<usize, Record>) -> Result<(), SweepError> {
    let records: Vec<&Record> = records.values().collect();
    let tables = [(RESULTS, Some(results(grid, &records))), (INTERVALS, intervals(grid, &records))];
    for (name, table) in tables {
        let Some(table) = table else { continue };
        let path = folder.join(name);
        let bytes = parquet::bytes(&table);
        let bytes = bytes.map_err(|error| SweepError::Failed(format!("cannot encode {}: {error}", path.display())))?;
        if inputs::read_file(&path).is_ok_and(|there| there == bytes) {
            continue;
        }
        // A page about other figures must not stay beside these.
        remove_report(folder).map_err(|error| SweepError::cannot_write(folder, &error))?;
        whole_file(&path, &bytes)?;
    }
    Ok(())
}

/// Writes a file that has its name only when it is whole.
fn whole_file(path: &Path, bytes: &[u8]) -> Result<(), SweepError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let written = staged_in(folder).and_then(|mut file| {
        file.write_all(bytes)?;
        file.persist(path).map(|_| ()).map_err(|error| error.error)
    });
    written.map_err(|error| SweepError::cannot_write(path, &error))
}

/// A file without its name yet, which others may read as they may read any file.
fn staged_in(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".partial");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}
