//! A run's folder, read back.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::breakdown::{self, Part, RequestTimes};
use super::metrics::{METRICS, Metric};
use crate::fidelity::{Expectation, told_by};
use crate::inputs;
use crate::output::{MANIFEST_FILE, SWEEP_FILE, notes_of};

/// The longest JSON file that is read.
const LONGEST_FILE_BYTES: u64 = 1 << 30;

/// A run, as far as it is compared.
#[derive(Clone, Debug)]
pub struct Run {
    /// What a user called it: the folder, or the configuration and its seed.
    pub place: String,
    /// Its name.
    pub name: String,
    /// Its seed.
    pub seed: u64,
    /// The version of the program.
    pub version: String,
    /// Its configuration as the manifest has it.
    pub config: Value,
    /// Whether it was stopped early.
    pub partial: bool,
    /// Requests that arrived.
    pub arrived: u64,
    /// In the order of [`METRICS`]; what it does not have is none.
    pub figures: Vec<Option<f64>>,
    /// Where the time went.
    pub breakdown: Breakdown,
    /// How far off figures of such deployments were, for each kind of engine.
    pub fidelity: Vec<Expectation>,
    /// What to know of it before any figure.
    pub notes: Vec<String>,
}

/// Where the time of requests went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Breakdown {
    /// Requests that succeeded and arrived after the warm-up.
    pub requests: u64,
    /// The sums of their parts in nanoseconds, in the order of [`Part::ALL`].
    pub sums_ns: [i128; Part::ALL.len()],
    /// Tokens of all prompts, those of the warm-up and those that did not succeed too.
    pub prompt_tokens: u64,
}

impl Breakdown {
    fn add(&mut self, times: &RequestTimes) {
        self.requests += 1;
        self.sums_ns.iter_mut().zip(times.parts).for_each(|(sum, part)| *sum += i128::from(part));
    }

    /// Mean of a part in milliseconds.
    #[must_use]
    pub fn mean_ms(&self, part: Part) -> f64 {
        self.sums_ns[part as usize] as f64 / self.requests.max(1) as f64 / 1e6
    }
}

impl Run {
    /// Reads a run of this program from its folder.
    ///
    /// # Errors
    /// Why it cannot be compared, in words.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let place = folder.display().to_string();
        let manifest_path = folder.join(MANIFEST_FILE);
        if folder.join(SWEEP_FILE).exists() {
            return Err(format!(
                "{place} holds a sweep; runs are compared: see `report` and `plot` for what its points differ in"
            ));
        }
        if !manifest_path.exists() {
            return Err(format!(
                "{place} holds no run: there is no manifest.json, which a run writes last; name the folder that `run` wrote to"
            ));
        }
        let manifest = json(&manifest_path)?;
        if manifest["program"] != env!("CARGO_PKG_NAME") {
            return Err(format!("{} is not of a run of this program", manifest_path.display()));
        }
        let damaged = |what: &str| format!("{} is damaged: it has no {what}", manifest_path.display());
        let text = |key: &str| manifest[key].as_str().map(str::to_owned).ok_or_else(|| damaged(key));
        let config = manifest.get("config").cloned().ok_or_else(|| damaged("config"))?;
        let arrived = manifest["requests_arrived"].as_u64().ok_or_else(|| damaged("requests_arrived"))?;
        let files = manifest["files"].as_array().ok_or_else(|| damaged("files"))?;
        let summary_path = listed(folder, files, &config, "output_summary_json_path", "summary.json")
            .ok_or_else(|| format!("{place}: the run wrote no summary; nothing can be compared"))?;
        let summary = json(&summary_path)?;
        is_as_listed(folder, files, &summary_path)?;
        let requests = listed(folder, files, &config, "output_requests_parquet_path", "requests.parquet")
            .ok_or_else(|| format!("{place}: the run wrote no requests.parquet; nothing can be compared"))?;
        let breakdown = read_breakdown(&requests, &summary, count(folder, files, &requests, "rows"))?;
        let figures: Vec<_> = METRICS.iter().map(|metric| metric.of(&summary)).collect();
        if !summary["latency"].is_object() {
            return Err(format!("{} is damaged: it has no latency", summary_path.display()));
        }
        Ok(Self {
            name: text("name")?,
            version: text("version")?,
            seed: manifest["seed"].as_u64().ok_or_else(|| damaged("seed"))?,
            partial: manifest["partial"].as_bool().unwrap_or(false),
            place,
            config,
            arrived,
            figures,
            breakdown,
            fidelity: told_by(&summary),
            notes: notes_of(&summary),
        })
    }

    /// The figure of a metric.
    #[must_use]
    pub fn figure(&self, metric: &Metric) -> Option<f64> {
        let place = METRICS.iter().position(|known| known.key == metric.key)?;
        self.figures[place]
    }
}

fn json(path: &Path) -> Result<Value, String> {
    let shown = path.display();
    let length = fs::metadata(path).map_err(|error| format!("cannot read {shown}: {error}"))?.len();
    if length > LONGEST_FILE_BYTES {
        return Err(format!("{shown} has {length} bytes: no such file of a run is as long"));
    }
    let bytes = inputs::read_file(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("{shown} is damaged: {error}"))
}

/// A file that the manifest lists: under the name that the configuration gives it, else under its usual one.
fn listed(folder: &Path, files: &[Value], config: &Value, key: &str, usual: &str) -> Option<PathBuf> {
    let named = config["metrics_config"][key].as_str().and_then(|path| Path::new(path).file_name()?.to_str());
    let names = [named.unwrap_or(usual), usual];
    let path = files.iter().filter_map(|file| file["path"].as_str()).find(|path| {
        let name = Path::new(path).file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| names.contains(&name))
    })?;
    Some(found(folder, path))
}

/// What lies outside of the folder is named as it was to the run; a name alone is inside.
fn found(folder: &Path, path: &str) -> PathBuf {
    let inside = folder.join(path);
    if inside.exists() || Path::new(path).components().count() == 1 { inside } else { path.into() }
}

/// What the manifest lists of a file.
fn count(folder: &Path, files: &[Value], path: &Path, what: &str) -> Option<u64> {
    let is_it = |file: &&Value| file["path"].as_str().is_some_and(|listed| found(folder, listed) == path);
    files.iter().find(is_it)?[what].as_u64()
}

/// Whether a file is as long as the manifest lists it: one of another run seldom is.
fn is_as_listed(folder: &Path, files: &[Value], path: &Path) -> Result<(), String> {
    let bytes = fs::metadata(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?.len();
    match count(folder, files, path, "bytes") {
        Some(listed) if listed != bytes => {
            Err(format!("{} has {bytes} bytes, its manifest says {listed}: it is not of this run", path.display()))
        }
        _ => Ok(()),
    }
}

fn read_breakdown(path: &Path, summary: &Value, rows: Option<u64>) -> Result<Breakdown, String> {
    let warm_up_ns = summary["simulation"]["warm_up_duration_s"].as_f64().unwrap_or(0.0) * 1e9;
    let mut breakdown = Breakdown::default();
    let mut prompt_tokens = 0;
    let read = breakdown::read(
        path,
        |tokens| prompt_tokens += tokens,
        |times| {
            if times.arrival >= warm_up_ns.round() as i64 {
                breakdown.add(times);
            }
        },
    )?;
    match rows {
        Some(rows) if rows != read => {
            Err(format!("{} has {read} rows, its manifest says {rows}: it is not of this run", path.display()))
        }
        _ => Ok(Breakdown { prompt_tokens, ..breakdown }),
    }
}
