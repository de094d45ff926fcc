//! A sweep's folder: `results.parquet`, a row a point, with the columns that `docs/sweep.md` describes.

mod charts;
mod kinds;
mod knees;

use std::path::{Path, PathBuf};

use arrow_schema::DataType;
use serde_json::Value;

pub use charts::{charts, front};
pub use kinds::{Drawn, SWEEP_KINDS, SweepKind};
pub use knees::{Knee, knees};

use super::ReportError;
use super::folder::json_of;
use super::rows::{Batch, Table};
use crate::output::SWEEP_FILE;
use crate::sweep::{ACCURACY, NOTES, RESULTS, UNMEASURED_KERNELS, sentences};

/// Runs of a setting differ in it alone.
const SEED: &str = "seed";

/// A sweep.
pub struct Sweep {
    /// The folder.
    pub path: PathBuf,
    /// `sweep.json`.
    pub description: Value,
    /// What was swept.
    pub settings: Vec<Setting>,
    /// What it came to, a row a point.
    pub points: Vec<Point>,
    /// Names of the metrics.
    pub metrics: Vec<String>,
    /// How far off figures of such deployments were, each kind once.
    pub accuracy: Vec<String>,
    /// What to know before any figure.
    pub notes: Vec<String>,
    /// Which kernels nobody has measured.
    pub unmeasured_kernels: Vec<String>,
}

/// A swept key.
pub struct Setting {
    /// Its column.
    pub name: String,
    /// The key of the configuration, or the flag.
    pub key: String,
    /// Whether all of its values are numbers.
    pub is_number: bool,
}

/// A point.
#[derive(Clone, Debug)]
pub struct Point {
    /// Its number.
    pub number: i64,
    /// By setting, as text.
    pub values: Vec<String>,
    /// By setting, where it is a number.
    pub numbers: Vec<Option<f64>>,
    /// `ok`, `refused` or `failed`.
    pub status: String,
    /// Why it is not `ok`.
    pub error: Option<String>,
    /// Whether it keeps up with its load, where the run tells.
    pub keeps_up: Option<bool>,
    /// What limits it.
    pub limited_by: Option<String>,
    /// By metric.
    pub metrics: Vec<Option<f64>>,
}

impl Sweep {
    /// Whether a folder is a sweep's, not a run's.
    #[must_use]
    pub fn is_one(folder: &Path) -> bool {
        folder.join(SWEEP_FILE).is_file() || folder.join(RESULTS).is_file()
    }

    /// Reads a folder.
    ///
    /// # Errors
    /// The sweep is not over, or its table cannot be read.
    pub fn read(folder: &Path) -> Result<Self, ReportError> {
        let path = folder.join(RESULTS);
        if !path.is_file() {
            let why = format!("{RESULTS} is not there, so not all points are; finish the sweep, or merge its shards");
            return Err(ReportError::NotARun { path: folder.to_owned(), why });
        }
        let description = json_of(&folder.join(SWEEP_FILE))?.unwrap_or_default();
        let table = Table::open(&path)?;
        let noted = |note: &str, column: &str| table.note(&format!("{note}:{column}"));
        let of_kind = |kind: &str| -> Vec<String> {
            table.names().filter(|name| noted("kind", name).as_deref() == Some(kind)).map(str::to_owned).collect()
        };
        let is_numeric = |column: &str| matches!(table.kind(column), Some(DataType::Int64 | DataType::Float64));
        let setting = |name: String| Setting {
            key: noted("key", &name).unwrap_or_else(|| name.clone()),
            is_number: is_numeric(&name),
            name,
        };
        let settings: Vec<Setting> = of_kind("setting").into_iter().map(setting).collect();
        let metrics: Vec<String> = of_kind("metric").into_iter().filter(|name| is_numeric(name)).collect();
        if table.kind("status").is_none() || metrics.is_empty() {
            let what = "it has no column that is marked as a metric, or no status".to_owned();
            return Err(ReportError::Damaged { path, what });
        }
        let all: Vec<&str> = table.names().collect();
        let mut points = Vec::new();
        let (mut notes, mut accuracy, mut unmeasured_kernels) = (Vec::new(), Vec::new(), Vec::new());
        table.each_batch(&all, |batch| {
            points.extend(points_of(batch, &table, &settings, &metrics)?);
            let words = [(&mut notes, NOTES), (&mut accuracy, ACCURACY), (&mut unmeasured_kernels, UNMEASURED_KERNELS)];
            for (told, column) in words {
                let words = batch.words(column)?;
                *told =
                    sentences(told.iter().map(String::as_str).chain((0..batch.len()).filter_map(|row| words.get(row))));
            }
            Ok(())
        })?;
        Ok(Self {
            path: folder.to_owned(),
            description,
            settings,
            points,
            metrics,
            notes,
            accuracy,
            unmeasured_kernels,
        })
    }

    /// The metric of a name, of a point.
    #[must_use]
    pub fn metric(&self, point: &Point, name: &str) -> Option<f64> {
        let index = self.metrics.iter().position(|metric| metric == name)?;
        point.metrics[index]
    }

    /// Whether any point has a metric.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.points.iter().any(|point| self.metric(point, name).is_some())
    }

    /// Output tokens a second and GPU.
    #[must_use]
    pub fn tokens_per_gpu(&self, point: &Point) -> Option<f64> {
        let gpus = self.metric(point, "gpus").filter(|&gpus| gpus > 0.0)?;
        Some(self.metric(point, "output_tokens_per_s")? / gpus)
    }

    /// Places of the settings that curves can be drawn over: numbers of at least two values, no seeds.
    pub(super) fn axes(&self) -> Vec<usize> {
        let differs = |index: usize| {
            let mut values = self.points.iter().map(|point| point.numbers[index]);
            let first = values.next();
            values.any(|value| Some(value) != first)
        };
        let settings = self.settings.iter().enumerate();
        let numbers = settings.filter(|(_, setting)| setting.is_number && setting.name != SEED);
        numbers.map(|(index, _)| index).filter(|&index| differs(index)).collect()
    }

    /// What a point has in all settings but one and the seed, in words.
    pub(super) fn others(&self, point: &Point, axis: usize) -> String {
        let others = self.settings.iter().enumerate().filter(|(index, setting)| *index != axis && setting.name != SEED);
        let words = others.map(|(index, setting)| format!("{} {}", setting.name, point.values[index]));
        words.collect::<Vec<_>>().join(", ")
    }
}

fn points_of(
    batch: &Batch<'_>,
    table: &Table,
    settings: &[Setting],
    metrics: &[String],
) -> Result<Vec<Point>, ReportError> {
    let (number, status, error) = (batch.counts("point")?, batch.words("status")?, batch.words("error")?);
    let (keeps_up, limited_by) = (batch.flags("keeps_up")?, batch.words("limited_by")?);
    let mut points = Vec::new();
    for row in 0..batch.len() {
        let cell = |column: &str| -> Result<(String, Option<f64>), ReportError> {
            Ok(match table.kind(column) {
                Some(DataType::Int64) => {
                    let value = batch.counts(column)?.get(row);
                    (value.map_or_else(String::new, |value| value.to_string()), value.map(|value| value as f64))
                }
                Some(DataType::Float64) => {
                    let value = batch.numbers(column)?.get(row);
                    (value.map_or_else(String::new, |value| value.to_string()), value)
                }
                Some(DataType::Boolean) => {
                    (batch.flags(column)?.get(row).map_or_else(String::new, |value| value.to_string()), None)
                }
                _ => (batch.words(column)?.get(row).unwrap_or_default().to_owned(), None),
            })
        };
        let of_settings: Vec<_> = settings.iter().map(|setting| cell(&setting.name)).collect::<Result<_, _>>()?;
        let of_metrics: Vec<_> =
            metrics.iter().map(|metric| Ok(cell(metric)?.1)).collect::<Result<_, ReportError>>()?;
        let (values, numbers) = of_settings.into_iter().unzip();
        points.push(Point {
            number: number.get(row).unwrap_or(row as i64),
            values,
            numbers,
            status: status.get(row).unwrap_or_default().to_owned(),
            error: error.get(row).map(str::to_owned),
            keeps_up: keeps_up.get(row),
            limited_by: limited_by.get(row).map(str::to_owned),
            metrics: of_metrics,
        });
    }
    Ok(points)
}
