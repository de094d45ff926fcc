//! Serving points: a closed loop at a fixed concurrency, or an offline load, measured and simulated.
//!
//! A point is measured as its benchmark does it: after a warm-up of its own, so many clients start at once, and each sends its
//! next request when it has the last answer. TTFT and TPOT are means over all requests. So is the simulation: the burst of the
//! start and the drain of the end are in the means of both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oracle_components::SimTime;
use rayon::prelude::*;

use super::Options;
use super::closed_loop::{closed_loop, together};
use super::comparison::{Metric, latency};
use super::deployment::Deployment;
use super::points_file::{self, Point, PointsFile};
use super::problem::{Problem, Problems};
use super::replay::{Replayed, simulate};
use super::statistics::Sample;
use crate::fidelity::Kind;

/// Skipped rows and caveats that are told one by one.
const MOST_TOLD: usize = 10;

/// A point, measured and predicted.
#[derive(Clone, Debug)]
pub struct PointResult {
    /// Its id in the file.
    pub id: String,
    /// What it was measured on: model, element type of the weights, device and tensor parallelism.
    pub group: String,
    /// Who measured it.
    pub origin: String,
    /// What served it; what is simulated is vLLM.
    pub engine: &'static str,
    /// Device, model and weights.
    pub kind: Kind,
    /// Clients; requests, of an offline load.
    pub clients: u32,
    /// Tokens of a prompt and of an answer.
    pub lengths: (u32, u32),
    /// Whose data it is.
    pub source: &'static str,
    /// The script that the server's flags were read from; `None` where vLLM's defaults are taken.
    pub flags_from: Option<&'static str>,
    /// What of the program was fitted to it, so that it is no test.
    pub fitted: Option<&'static str>,
    /// What was measured, TTFT and TPOT first.
    pub metrics: Vec<Metric>,
}

/// All points of some files.
#[derive(Clone, Debug)]
pub struct PointsReport {
    /// In the order of the files.
    pub points: Vec<PointResult>,
    /// Rows that are no points here, and why.
    pub skipped: Vec<Problem>,
    /// What was assumed or left out.
    pub warnings: Vec<String>,
}

/// Simulates every point of some files and compares. What is wrong with a row costs that row alone.
///
/// # Errors
/// A file that cannot be read as a table of points, or none of whose rows can be.
pub fn validate_points(files: &[PathBuf], options: &Options) -> Result<PointsReport, Problems> {
    let mut report = PointsReport { points: Vec::new(), skipped: Vec::new(), warnings: Vec::new() };
    let mut caveats: BTreeMap<String, usize> = BTreeMap::new();
    for path in files {
        let folder = path.parent().unwrap_or(Path::new("."));
        let PointsFile { points, mut skipped, unknown_columns } = points_file::read(path)?;
        if !unknown_columns.is_empty() {
            report
                .warnings
                .push(format!("columns that are not understood count for nothing: {}", unknown_columns.join(", ")));
        }
        let results: Vec<_> = points.par_iter().map(|point| result(point, folder, options)).collect();
        let before = report.points.len();
        for (point, result) in points.iter().zip(results) {
            match result {
                Ok((result, found)) => {
                    let all = point.caveats.iter().cloned().chain(found);
                    all.for_each(|caveat| *caveats.entry(caveat).or_default() += 1);
                    report.points.push(result);
                }
                Err(problems) => skipped.push(problem(&problems, path, point.line)),
            }
        }
        if report.points.len() == before {
            skipped.truncate(MOST_TOLD);
            return Err(Problems::Files(skipped));
        }
        report.skipped.extend(skipped);
    }
    report.warnings.extend(caveats.into_iter().map(|(caveat, points)| format!("{points} points: {caveat}")));
    let skipped = &report.skipped;
    report.warnings.extend(skipped.iter().take(MOST_TOLD).map(|problem| format!("skipped: {problem}")));
    if skipped.len() > MOST_TOLD {
        report.warnings.push(format!("skipped: {} rows more, {} in all", skipped.len() - MOST_TOLD, skipped.len()));
    }
    Ok(report)
}

/// Why a point cannot be simulated, as what is wrong with its row.
fn problem(problems: &Problems, file: &Path, line: u64) -> Problem {
    let (key, message) = match problems {
        Problems::Files(found) if !found.is_empty() => (found[0].key.clone(), found[0].message.clone()),
        other => (String::new(), other.to_string().lines().next().unwrap_or_default().to_owned()),
    };
    Problem { file: file.into(), line: Some(line), key, message }
}

fn result(point: &Point, folder: &Path, options: &Options) -> Result<(PointResult, Vec<String>), Problems> {
    let deployment = Deployment::of(&point.run, folder, "as a configuration", options)?;
    let (load, benchmark) = (point.load, point.benchmark);
    let source = match point.all_at_once {
        Some(requests) => together(benchmark.draw(load, requests as usize)),
        None => closed_loop(load.clients, benchmark.lengths(load)),
    };
    let simulated = simulate(deployment.scenario(), source);
    let predicted = |metric: &str| predicted(metric, &simulated);
    let metrics = point.measured.iter().map(|(metric, measured)| Metric {
        metric: metric.clone(),
        measured: *measured,
        predicted: predicted(metric),
    });
    let mut metrics: Vec<Metric> = metrics.collect();
    let first = ["ttft_ms.mean", "tpot_ms.mean"];
    metrics.sort_by_key(|metric| first.iter().position(|name| *name == metric.metric).unwrap_or(first.len()));
    let kind = Kind::of(&deployment.scenario().engines[0], deployment.scenario());
    let mut warnings = deployment.warnings;
    if let Some(what) = point.fitted {
        warnings.push(format!("{what} was fitted to such points: they count in no cohort"));
    }
    let result = PointResult {
        id: point.id.clone(),
        group: point.group.clone(),
        origin: benchmark.name.clone(),
        engine: point.engine.name(),
        kind,
        clients: load.clients,
        lengths: (load.prompt_tokens, load.output_tokens),
        source: &benchmark.source,
        flags_from: point.flags_from,
        fitted: point.fitted,
        metrics,
    };
    Ok((result, warnings))
}

/// What the simulation says of a measured figure.
fn predicted(metric: &str, simulated: &Replayed) -> Option<f64> {
    let records = &simulated.records;
    if let Some((name, statistic)) = metric.split_once('.') {
        let sample = match name {
            "itl_ms" => Sample::weighted(simulated.gaps.iter().map(|(gap, times)| (gap.as_millis_f64(), *times))),
            _ => Sample::new(records.iter().filter_map(|record| latency(name, record))),
        };
        return sample.statistic(statistic);
    }
    let last = records.iter().map(|record| record.completion).max().unwrap_or(SimTime::ZERO);
    let count: f64 = match metric {
        "request_throughput_rps" => records.len() as f64,
        "output_throughput_tok_s" => records.iter().map(|record| f64::from(record.output_tokens)).sum(),
        _ => records.iter().map(|record| f64::from(record.prompt_tokens) + f64::from(record.output_tokens)).sum(),
    };
    Some(count / last.as_secs_f64()).filter(|rate| rate.is_finite())
}

impl PointResult {
    /// By how much the prediction of a metric is off, in per cent of what was measured.
    #[must_use]
    pub fn error_pct(&self, metric: &str) -> Option<f64> {
        self.metric(metric)?.error_pct()
    }

    /// A metric, if it was measured.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.metric == name)
    }
}
