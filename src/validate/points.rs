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
use super::comparison::{figure, latency, percent};
use super::deployment::Deployment;
use super::points_file::{self, Point};
use super::problem::Problems;
use super::replay::simulate;
use super::statistics::{Sample, error_pct, median};

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

    fn row(&self, name: &str) -> String {
        let size = |pct: Option<f64>| pct.map_or_else(|| "-".to_owned(), |pct| format!("{pct:.1} %"));
        format!("  {name:<46} {:>6} {:>10} {:>10}\n", self.points, size(self.ttft_pct), size(self.tpot_pct))
    }
}

impl PointsReport {
    fn groups(&self) -> BTreeMap<&str, Medians> {
        let names = self.points.iter().map(|point| point.group.as_str());
        names.map(|name| (name, Medians::of(self.points.iter().filter(|point| point.group == name)))).collect()
    }

    /// As JSON: `points`, each with its metrics, and the `median_abs_error_pct` of all and of each group.
    #[must_use]
    pub fn json(&self) -> Value {
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
        json!({
            "points": points,
            "median_abs_error_pct": {"all": all, "groups": groups},
            "warnings": self.warnings,
        })
    }

    /// As tables for people: every point, then the medians.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        for (name, medians) in self.groups() {
            text += &format!("{name}, {} points\n", medians.points);
            text += &format!(
                "  {:>6} {:>6} {:>8} {:>12} {:>12} {:>10} {:>10} {:>10} {:>10}\n",
                "isl", "osl", "clients", "TTFT, ms", "predicted", "error", "TPOT, ms", "predicted", "error"
            );
            for point in self.points.iter().filter(|point| point.group == name) {
                let ((isl, osl), (ttft, tpot)) = (point.lengths, (point.ttft_ms, point.tpot_ms));
                text += &format!(
                    "  {isl:>6} {osl:>6} {:>8} {:>12} {:>12} {:>10} {:>10} {:>10} {:>10}\n",
                    point.concurrency,
                    figure(ttft.0),
                    figure(ttft.1),
                    percent(error_pct(ttft.0, ttft.1)),
                    figure(tpot.0),
                    figure(tpot.1),
                    percent(error_pct(tpot.0, tpot.1)),
                );
            }
        }
        text += &format!("{:<48} {:>6} {:>10} {:>10}\n", "median of |error|", "points", "TTFT", "TPOT");
        for (name, medians) in self.groups() {
            text += &medians.row(name);
        }
        text + &Medians::of(self.points.iter()).row("all")
    }
}
