//! The folder of a run: which of its files are there, and whether they are of one run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::ReportError;
use super::rows::Table;
use crate::inputs;
use crate::output::MANIFEST_FILE;

/// The program whose runs are shown.
const PROGRAM: &str = env!("CARGO_PKG_NAME");

/// A run as it lies on the disk.
pub struct RunFolder {
    /// The folder.
    pub path: PathBuf,
    /// `summary.json`.
    pub summary: Value,
    /// `manifest.json`, where it is.
    pub manifest: Option<Value>,
    /// The requests, where they are.
    pub(super) requests: Option<Table>,
    /// The time series, where it is.
    pub(super) series: Option<Table>,
    /// What is missing, and what cannot be shown without it.
    pub missing: Vec<String>,
}

impl RunFolder {
    /// Opens a folder.
    ///
    /// # Errors
    /// It is no folder, holds no run, or a file of the run cannot be read.
    pub fn open(path: &Path) -> Result<Self, ReportError> {
        let unreadable = |source| ReportError::Unreadable { path: path.to_owned(), source };
        if !fs::metadata(path).map_err(unreadable)?.is_dir() {
            let why = "it is a file; give the folder that `run` wrote".to_owned();
            return Err(ReportError::NotARun { path: path.to_owned(), why });
        }
        let manifest = json_of(&path.join(MANIFEST_FILE))?;
        if manifest.as_ref().is_some_and(|manifest| manifest["program"] != PROGRAM) {
            let why = format!("its manifest.json is not {PROGRAM}'s");
            return Err(ReportError::NotARun { path: path.to_owned(), why });
        }
        if manifest.as_ref().is_some_and(|manifest| !manifest["files"].is_array()) {
            let what = "it has no list of files".to_owned();
            return Err(ReportError::Damaged { path: path.join(MANIFEST_FILE), what });
        }
        let place = |key: &str, name: &str| place(path, manifest.as_ref(), key, name);
        let summary_path = place("output_summary_json_path", "summary.json");
        let Some(summary) = json_of(&summary_path)? else { return Err(no_summary(path)) };
        is_as_listed(&summary_path, manifest.as_ref())?;
        if summary["program"]["name"] != PROGRAM || !summary["verdict"].is_object() || !summary["latency"].is_object() {
            let why = format!("{} is not the summary of a run of {PROGRAM}", summary_path.display());
            return Err(ReportError::NotARun { path: path.to_owned(), why });
        }
        let mut missing = Vec::new();
        if manifest.is_none() {
            missing.push(
                "manifest.json is not there, so nothing says that the other files are of the same run; the configuration is \
                 not shown."
                    .to_owned(),
            );
        }
        let requests = table(&place("output_requests_parquet_path", "requests.parquet"), manifest.as_ref())?;
        if requests.is_none() {
            missing.push(
                "requests.parquet is not there: no distributions of TTFT, TPOT and E2E, no latency over time, no slowest \
                 requests."
                    .to_owned(),
            );
        }
        let series = table(&place("output_timeseries_parquet_path", "timeseries.parquet"), manifest.as_ref())?;
        if series.is_none() {
            missing.push("timeseries.parquet is not there: nothing of engines, GPUs and links over time.".to_owned());
        }
        Ok(Self { path: path.to_owned(), summary, manifest, requests, series, missing })
    }

    /// Name of the run.
    #[must_use]
    pub fn name(&self) -> String {
        let of_manifest = self.manifest.as_ref().and_then(|manifest| manifest["name"].as_str());
        let of_folder = || self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        of_manifest.map_or_else(of_folder, str::to_owned)
    }

    /// A number of the summary.
    pub(super) fn number(&self, pointer: &str) -> Option<f64> {
        self.summary.pointer(pointer).and_then(Value::as_f64)
    }

    /// How many of a kind the summary has.
    pub(super) fn count(&self, kind: &str) -> usize {
        self.summary[kind].as_object().map_or(0, serde_json::Map::len)
    }
}

/// Why there is nothing to show, as far as the folder tells.
fn no_summary(path: &Path) -> ReportError {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let why = if names.iter().any(|name| name.ends_with(".partial")) {
        "its files are .partial ones, of a run that was killed or is under way; run it (again) to its end"
    } else if names.is_empty() {
        "it is empty"
    } else {
        "there is no summary.json in it"
    };
    ReportError::NotARun { path: path.to_owned(), why: why.to_owned() }
}

/// Where a file of the run is: in its folder, or where its configuration put it.
fn place(folder: &Path, manifest: Option<&Value>, key: &str, name: &str) -> PathBuf {
    let of_config = manifest.and_then(|manifest| manifest["config"]["metrics_config"][key].as_str());
    let elsewhere = of_config.map(Path::new).map(|path| {
        let inside = folder.join(path.file_name().unwrap_or_default());
        if inside.exists() { inside } else { path.to_owned() }
    });
    elsewhere.unwrap_or_else(|| folder.join(name))
}

/// A JSON file; `None` if there is none.
pub(super) fn json_of(path: &Path) -> Result<Option<Value>, ReportError> {
    match inputs::read_file(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| ReportError::Damaged { path: path.to_owned(), what: format!("no JSON, {error}") }),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ReportError::Unreadable { path: path.to_owned(), source }),
    }
}

/// What the manifest lists of a file.
fn listed<'a>(path: &Path, manifest: Option<&'a Value>) -> Option<&'a Value> {
    let mut files = manifest.and_then(|manifest| manifest["files"].as_array()).into_iter().flatten();
    files.find(|file| file["path"].as_str().map(Path::new).and_then(Path::file_name) == path.file_name())
}

/// Whether a file is as long as the manifest lists it: one of another run seldom is.
fn is_as_listed(path: &Path, manifest: Option<&Value>) -> Result<(), ReportError> {
    let bytes = fs::metadata(path).map_err(|source| ReportError::Unreadable { path: path.to_owned(), source })?.len();
    match listed(path, manifest).and_then(|file| file["bytes"].as_u64()).filter(|&listed| listed != bytes) {
        Some(listed) => {
            let what = format!("it has {bytes} bytes where the manifest lists {listed}, so it is of another run");
            Err(ReportError::Damaged { path: path.to_owned(), what })
        }
        None => Ok(()),
    }
}

/// A Parquet file with as many rows as the manifest lists; `None` if there is none.
fn table(path: &Path, manifest: Option<&Value>) -> Result<Option<Table>, ReportError> {
    if !path.exists() {
        return Ok(None);
    }
    let table = Table::open(path)?;
    if let Some(rows) = listed(path, manifest).and_then(|file| file["rows"].as_u64())
        && rows != table.rows()
    {
        let what = format!("it has {} rows where the manifest lists {rows}", table.rows());
        return Err(ReportError::Damaged { path: path.to_owned(), what });
    }
    Ok(Some(table))
}
