//! Serving points: a closed loop at a fixed concurrency, measured and simulated.
//!
//! A point is measured as its `benchmark` does it: after a warm-up of its own, `concurrency` clients start at once, and each
//! sends its next request when it has the last answer. TTFT and TPOT are means over all requests. So is the simulation: the
//! burst of the start and the drain of the end are in the means of both.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;
use serde_json::{Value, json};

use super::Options;
use super::closed_loop::closed_loop;
use super::comparison::{figure, latency, percent_cell};
use super::deployment::Deployment;
use super::points_file::{self, Point};
use super::problem::Problems;
use super::replay::simulate;
use super::statistics::{Sample, error_pct, median};
use crate::tables::{Block, Cell, Column, Document, Findings, Table, pretty};

/// A point, measured and predicted.
#[derive(Clone, Debug)]
pub struct PointResult {
    /// Its id in the file.
    pub id: String,
    /// What it was measured on: model, element type of the weights, device and tensor parallelism.
    pub group: String,
    /// Clients.
    pub concurrency: u32,
    /// Tokens of a prompt and of an answer.
    pub lengths: (u32, u32),
    /// Mean TTFT in milliseconds, measured and predicted.
    pub ttft_ms: (f64, f64),
    /// Mean TPOT in milliseconds, measured and predicted.
    pub tpot_ms: (f64, f64),
}

/// All points of a file.
#[derive(Clone, Debug)]
pub struct PointsReport {
    /// In the order of the file.
    pub points: Vec<PointResult>,
    /// What was assumed or left out.
    pub warnings: Vec<String>,
}

/// Simulates every point of a file and compares.
///
/// # Errors
/// Everything that is wrong with the file, or with the first deployment that cannot be simulated.
pub fn validate_points(file: &Path, options: &Options) -> Result<PointsReport, Problems> {
    let (points, mut warnings) = points_file::read(file)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let results: Result<Vec<_>, Problems> = points.par_iter().map(|point| result(point, folder, options)).collect();
    let (points, found): (Vec<_>, Vec<_>) = results?.into_iter().unzip();
    for warning in found.into_iter().flatten() {
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    Ok(PointsReport { points, warnings })
}

fn result(point: &Point, folder: &Path, options: &Options) -> Result<(PointResult, Vec<String>), Problems> {
    let deployment = Deployment::of_run(&point.run, folder, options)?;
    let load = point.load;
    let source = closed_loop(load.concurrency, point.benchmark.lengths(load));
    let simulated = simulate(deployment.scenario(), source);
    let mean =
        |name| Sample::new(simulated.records.iter().filter_map(|record| latency(name, record))).statistic("mean");
    let result = PointResult {
        id: point.id.clone(),
        group: point.group.clone(),
        concurrency: load.concurrency,
        lengths: (load.prompt_tokens, load.output_tokens),
        ttft_ms: (point.ttft_ms, mean("ttft_ms").unwrap_or(f64::NAN)),
        tpot_ms: (point.tpot_ms, mean("tpot_ms").unwrap_or(f64::NAN)),
    };
    Ok((result, deployment.warnings))
}

/// Medians of the errors' sizes over some points, in per cent.
struct Medians {
    points: usize,
    ttft_pct: Option<f64>,
    tpot_pct: Option<f64>,
}

impl Medians {
    fn of<'a>(points: impl Iterator<Item = &'a PointResult> + Clone) -> Self {
        let size = |(measured, predicted)| error_pct(measured, predicted).map(f64::abs);
        Self {
            points: points.clone().count(),
            ttft_pct: median(points.clone().filter_map(|point| size(point.ttft_ms))),
            tpot_pct: median(points.filter_map(|point| size(point.tpot_ms))),
        }
    }

    fn json(&self) -> Value {
        json!({"points": self.points, "ttft_ms": self.ttft_pct, "tpot_ms": self.tpot_pct})
    }

    fn row(&self, name: &str) -> Vec<Cell> {
        let size = |pct: Option<f64>| Cell::figure_or_dash(pct, |pct| format!("{pct:.1} %"));
        vec![Cell::of(format!("  {name}")), Cell::of(self.points), size(self.ttft_pct), size(self.tpot_pct)]
    }
}

impl PointsReport {
    fn groups(&self) -> BTreeMap<&str, Medians> {
        let names = self.points.iter().map(|point| point.group.as_str());
        names.map(|name| (name, Medians::of(self.points.iter().filter(|point| point.group == name)))).collect()
    }

    /// What every row of a point has.
    fn columns() -> Vec<Column> {
        let heads = [("isl", "  isl"), ("osl", "osl"), ("concurrency", "clients")];
        let ttft = [("measured_ttft_ms", "TTFT, ms"), ("predicted_ttft_ms", "predicted"), ("ttft_error_pct", "error")];
        let tpot = [("measured_tpot_ms", "TPOT, ms"), ("predicted_tpot_ms", "predicted"), ("tpot_error_pct", "error")];
        heads.into_iter().chain(ttft).chain(tpot).map(|(key, head)| Column::figures(key, head)).collect()
    }
}

impl PointResult {
    fn row(&self) -> Vec<Cell> {
        let ((isl, osl), pairs) = (self.lengths, [self.ttft_ms, self.tpot_ms]);
        let first =
            [Cell { exact: isl.to_string(), shown: format!("  {isl:>6}") }, Cell::of(osl), Cell::of(self.concurrency)];
        let figures = pairs.into_iter().flat_map(|(measured, predicted)| {
            let cells = [measured, predicted].map(|value| Cell::figure(value, figure(value)));
            cells.into_iter().chain([percent_cell(error_pct(measured, predicted))])
        });
        first.into_iter().chain(figures).collect()
    }
}

impl Findings for PointsReport {
    /// Every point, then the medians.
    fn document(&self) -> Document {
        let mut told = Vec::new();
        for (name, medians) in self.groups() {
            told.push(Block::Title(format!("{name}, {} points", medians.points)));
            let points = self.points.iter().filter(|point| point.group == name);
            told.push(Block::Table(Table { columns: Self::columns(), rows: points.map(PointResult::row).collect() }));
        }
        let columns = vec![
            Column::words("group", "median of |error|"),
            Column::figures("points", "points"),
            Column::figures("ttft_pct", "TTFT"),
            Column::figures("tpot_pct", "TPOT"),
        ];
        let groups = self.groups().into_iter().map(|(name, medians)| medians.row(name));
        let rows = groups.chain([Medians::of(self.points.iter()).row("all")]).collect();
        told.push(Block::Table(Table { columns, rows }));
        Document(told)
    }

    fn records(&self) -> Table {
        let names = [Column::words("id", "id"), Column::words("group", "group")];
        let columns = names.into_iter().chain(Self::columns()).collect();
        let row =
            |point: &PointResult| [&point.id, &point.group].map(Cell::of).into_iter().chain(point.row()).collect();
        Table { columns, rows: self.points.iter().map(row).collect() }
    }

    /// `points`, each with its metrics, and the `median_abs_error_pct` of all and of each group.
    fn json(&self) -> String {
        let metric = |name: &str, (measured, predicted): (f64, f64)| {
            json!({
                "metric": name, "measured": measured, "predicted": predicted,
                "error_pct": error_pct(measured, predicted),
            })
        };
        let points: Vec<Value> = self
            .points
            .iter()
            .map(|point| {
                json!({
                    "id": point.id, "group": point.group, "concurrency": point.concurrency,
                    "isl": point.lengths.0, "osl": point.lengths.1,
                    "metrics": [metric("ttft_ms", point.ttft_ms), metric("tpot_ms", point.tpot_ms)],
                })
            })
            .collect();
        let groups: serde_json::Map<String, Value> =
            self.groups().into_iter().map(|(name, medians)| (name.to_owned(), medians.json())).collect();
        let all = Medians::of(self.points.iter()).json();
        pretty(&json!({
            "points": points,
            "median_abs_error_pct": {"all": all, "groups": groups},
            "warnings": self.warnings,
        }))
    }
}
