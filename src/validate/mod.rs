//! Predictions held against measurements: a recorded run (`validate-run`), serving points (`validate-points`), and the
//! fit of a GPU's efficiency to a recorded run (`calibrate run`).
//!
//! It owns the meaning of a run folder (`run.json`, `requests.csv`) and of a table of serving points: which deployment
//! they describe, how their load is replayed, which figure of the simulation answers which measured one. It changes
//! nothing in the engine and knows no cost: a deployment is put as a configuration and goes the way of every other.

mod benchmark;
mod benchmark_file;
mod calibration;
mod capped_client;
mod closed_loop;
mod comparison;
mod deployment;
mod device;
mod fields;
mod plot;
mod points;
mod points_file;
mod points_header;
mod points_report;
mod prefixes;
mod problem;
mod replay;
mod requests_file;
mod run_file;
mod simplex;
mod statistics;
mod table_file;

pub use calibration::{Calibration, Fit, calibrate};
pub use comparison::{Comparison, Comparisons, Metric, PoolSize, RequestErrors, StatisticsTable};
pub use deployment::DeploymentOptions;
pub use plot::plot;
pub use points::{PointResult, PointsReport, validate_points};
pub use points_report::CohortReport;
pub use problem::{Problem, Problems};

use std::path::Path;

use crate::config::Overrides;
use deployment::Deployment;

/// The files of a recorded run, in its folder.
pub const FILES_OF_RUN: [&str; 2] = ["run.json", "requests.csv"];

/// What is asked of a validation besides the folder.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What the run does not say of its deployment.
    pub deployment: DeploymentOptions,
    /// What flags change in the configuration that the run becomes.
    pub overrides: Overrides,
}

/// Simulates the run of a folder and compares.
///
/// # Errors
/// Everything that is wrong with the folder's files, or with the deployment they describe.
pub fn validate_run(folder: &Path, options: &Options) -> Result<Comparison, Problems> {
    let run = run_file::read(folder)?;
    let recorded = requests_file::read(folder)?;
    let deployment = Deployment::of_run(&run, folder, options)?;
    let replayed = replay::replay(deployment.scenario(), &recorded.requests, run.max_in_flight);
    Ok(comparison::compare(&run, &recorded, &deployment, &replayed))
}
