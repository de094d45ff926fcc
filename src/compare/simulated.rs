//! A configuration becomes a run: simulated into a folder that goes when it has been read.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::run::Run;
use crate::config::{Diagnostic, Overrides, load};
use crate::runs;

/// Why a configuration came to no run.
#[derive(Clone, Debug)]
pub enum NoRun {
    /// What is wrong with it.
    Configuration(Vec<Diagnostic>),
    /// What is wrong with its load.
    Load(String),
    /// It was tried.
    Failed(String),
}

/// A configuration with a seed.
#[derive(Clone, Copy, Debug)]
pub struct Point<'a> {
    /// The file.
    pub config: &'a Path,
    /// Instead of its own.
    pub seed: Option<u64>,
    /// What flags change in it.
    pub overrides: &'a Overrides,
}

impl Point<'_> {
    /// Simulates it, until `interrupted` is set; and what is to be said of it.
    ///
    /// # Errors
    /// See [`NoRun`].
    pub fn simulate(&self, interrupted: &AtomicBool) -> Result<(Run, Vec<Diagnostic>), NoRun> {
        let failed = |error: &dyn std::fmt::Display| NoRun::Failed(format!("{}: {error}", self.config.display()));
        let folder = tempfile::tempdir().map_err(|error| failed(&error))?;
        let overrides = Overrides {
            output_directory: Some(folder.path().into()),
            seed: self.seed.or(self.overrides.seed),
            ..self.overrides.clone()
        };
        let mut resolved = load(self.config, &overrides).map_err(NoRun::Configuration)?;
        let warnings = std::mem::take(&mut resolved.warnings);
        (resolved.output.requests_csv, resolved.output.timeseries_parquet) = (None, None);
        let config = std::mem::take(&mut resolved.canonical);
        let run =
            runs::Run::open(resolved).map_err(|error| NoRun::Load(format!("{}: {error}", self.config.display())))?;
        let writer = run.writer().map_err(|error| failed(&error))?;
        let ended = run.simulate(writer, false, |_| runs::unless(interrupted));
        if let Some(reason) = ended.stopped_short() {
            return Err(failed(&reason));
        }
        ended.finish(config).map_err(|error| failed(&error))?;
        let run = Run::read(folder.path()).map_err(|error| failed(&error))?;
        let place = format!("{} with seed {}", self.config.display(), run.seed);
        Ok((Run { place, ..run }, warnings))
    }

    /// Its seed without another.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn own_seed(&self) -> Result<u64, NoRun> {
        let resolved = load(self.config, self.overrides).map_err(NoRun::Configuration)?;
        Ok(resolved.scenario.seed)
    }
}
