//! A run as charts and page see it: its summary, and what was gathered from its files.

use std::path::Path;

use super::ReportError;
use super::folder::RunFolder;
use super::requests::Requests;
use super::series::Series;

/// A file of a run, of which charts are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `summary.json`.
    Summary,
    /// `requests.parquet`.
    Requests,
    /// `timeseries.parquet`.
    Series,
}

impl Source {
    /// The file.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Self::Summary => "summary.json",
            Self::Requests => "requests.parquet",
            Self::Series => "timeseries.parquet",
        }
    }
}

/// A run.
pub struct Run {
    /// Its folder.
    pub folder: RunFolder,
    /// What its requests came to, if they were asked for and are there.
    pub requests: Option<Requests>,
    /// What happened over time, likewise.
    pub series: Option<Series>,
}

impl Run {
    /// Reads a folder, of the large files those that are asked for.
    ///
    /// # Errors
    /// It is no folder, holds no run, or a file of the run cannot be read.
    pub fn read(path: &Path, wanted: &[Source]) -> Result<Self, ReportError> {
        let folder = RunFolder::open(path)?;
        let requests = folder.requests.as_ref().filter(|_| wanted.contains(&Source::Requests));
        let series = folder.series.as_ref().filter(|_| wanted.contains(&Source::Series));
        let requests = requests.map(|table| Requests::gather(&folder, table)).transpose()?;
        let series = series.map(|table| Series::gather(&folder, table)).transpose()?;
        Ok(Self { folder, requests, series })
    }
}
