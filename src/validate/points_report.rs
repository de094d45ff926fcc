//! Serving points as tables: every point, medians by deployment, and errors by cohort.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::comparison::{figure, percent_cell};
use super::points::{PointResult, PointsReport};
use super::statistics::{Sample, median};
use crate::fidelity::{COLUMNS, Cohort, ERROR_COLUMNS, Errors, Kind};
use crate::tables::{Block, Cell, Column, Document, Findings, Table, pretty};

const TTFT: &str = "ttft_ms.mean";
const TPOT: &str = "tpot_ms.mean";
const RATE: &str = "output_throughput_tok_s";
/// What tables show of a point; the rest is in JSON.
const METRICS: [&str; 3] = [TTFT, TPOT, RATE];

/// Medians of the errors' sizes over some points, in per cent.
struct Medians {
    points: usize,
    ttft_pct: Option<f64>,
    tpot_pct: Option<f64>,
    rate_pct: Option<f64>,
}

impl Medians {
    fn of<'a>(points: impl Iterator<Item = &'a PointResult> + Clone) -> Self {
        let median = |metric| median(points.clone().filter_map(|point| point.error_pct(metric)).map(f64::abs));
        Self { points: points.clone().count(), ttft_pct: median(TTFT), tpot_pct: median(TPOT), rate_pct: median(RATE) }
    }

    fn json(&self) -> Value {
        json!({
            "points": self.points, "ttft_ms": self.ttft_pct, "tpot_ms": self.tpot_pct,
            "output_throughput_tok_s": self.rate_pct,
        })
    }

    fn row(&self, name: &str) -> Vec<Cell> {
        let size = |pct: Option<f64>| Cell::figure_or_dash(pct, |pct| format!("{pct:.1} %"));
        let medians = [self.ttft_pct, self.tpot_pct, self.rate_pct].map(size);
        [Cell::of(format!("  {name}")), Cell::of(self.points)].into_iter().chain(medians).collect()
    }
}

/// Errors of points that have them; `None` of none.
fn errors<'a>(points: impl Iterator<Item = &'a PointResult>, metric: &str) -> Option<Errors> {
    let signed: Vec<f64> = points.filter_map(|point| point.error_pct(metric)).collect();
    let sizes = Sample::new(signed.iter().map(|error| error.abs()));
    Some(Errors {
        median_pct: sizes.statistic("p50")?,
        mean_pct: sizes.statistic("mean")?,
        p90_pct: sizes.statistic("p90")?,
        bias_pct: median(signed)?,
    })
}

/// A cohort with what no file keeps of it.
struct Found {
    cohort: Cohort,
    rate: Option<Errors>,
    source: &'static str,
}

impl PointsReport {
    fn groups(&self) -> BTreeMap<&str, Medians> {
        let names = self.points.iter().map(|point| point.group.as_str());
        names.map(|name| (name, Medians::of(self.points.iter().filter(|point| point.group == name)))).collect()
    }

    /// Points that nothing was fitted to, by who measured them, engine, model, weights and device; those that are off by the
    /// most first.
    fn cohorts(&self) -> Vec<Found> {
        let mut cohorts: BTreeMap<(&str, &str, &Kind), Vec<&PointResult>> = BTreeMap::new();
        for point in self.points.iter().filter(|point| point.fitted.is_none()) {
            cohorts.entry((&point.origin, point.engine, &point.kind)).or_default().push(point);
        }
        let none = Errors { median_pct: f64::NAN, mean_pct: f64::NAN, p90_pct: f64::NAN, bias_pct: f64::NAN };
        let found = cohorts.into_iter().map(|((origin, engine, kind), points)| Found {
            cohort: Cohort {
                origin: origin.to_owned(),
                engine: engine.to_owned(),
                kind: kind.clone(),
                points: points.len(),
                tpot: errors(points.iter().copied(), TPOT).unwrap_or(none),
                ttft: errors(points.iter().copied(), TTFT),
            },
            rate: errors(points.iter().copied(), RATE),
            source: points[0].source,
        });
        let mut found: Vec<Found> = found.collect();
        let worst = |found: &Found| {
            let rate = found.rate.map_or(0.0, |errors| errors.median_pct);
            if found.cohort.tpot.median_pct.is_nan() { rate } else { found.cohort.tpot.median_pct }
        };
        found.sort_by(|a, b| worst(b).total_cmp(&worst(a)));
        found
    }

    /// The cohorts as `configs/fidelity/errors.csv` has them.
    #[must_use]
    pub fn by_cohort(&self) -> CohortReport<'_> {
        CohortReport(self)
    }

    /// The cohorts for people: a name, and what matters most.
    fn cohort_lines(&self) -> Table {
        let heads =
            ["points", "TPOT: median", "mean", "p90", "bias", "TTFT: median", "mean", "p90", "bias", "tokens/s, bias"];
        let figures = heads.map(|head| Column::figures(head, head));
        let columns = [Column::words("cohort", "|error| by cohort")].into_iter().chain(figures).collect();
        let row = |found: &Found| {
            let Cohort { origin, engine, kind, points, tpot, ttft } = &found.cohort;
            // No longer than half a line of a terminal.
            let experts = if kind.has_experts { "MoE" } else { "dense" };
            let engine = engine.replace("TensorRT", "TRT");
            let kernels = kind.expert_kernels.rsplit(' ').next().filter(|family| !family.is_empty());
            let by = kernels.map(|family| format!(" by {family}")).unwrap_or_default();
            let name = format!("{} {} {experts}{by}, {engine}, {origin}", kind.device, kind.dtype);
            let rate = percent_cell(found.rate.map(|errors| rounded(errors.bias_pct)));
            let first = [Cell::of(name), Cell::of(points)].into_iter();
            first.chain(error_cells(Some(tpot))).chain(error_cells(ttft.as_ref())).chain([rate]).collect()
        };
        Table { columns, rows: self.cohorts().iter().map(row).collect() }
    }

    /// The cohorts for programs.
    fn cohort_table(&self) -> Table {
        let names = ["measured by", "engine", "model", "weights", "kernels of experts", "device", "prices", "points"];
        let heads =
            ["TPOT: median", "mean", "p90", "bias", "TTFT: median", "mean", "p90", "bias", "tokens/s: median", "bias"];
        let words = COLUMNS
            .iter()
            .zip(names)
            .map(|(key, head)| if *key == "points" { Column::figures(*key, head) } else { Column::words(*key, head) });
        let keys = ERROR_COLUMNS.into_iter().chain(["throughput_median_pct", "throughput_bias_pct"]);
        let figures = keys.zip(heads).map(|(key, head)| Column::figures(key, head));
        let columns = words.chain(figures).chain([Column::words("source", "source")]).collect();
        let row = |found: &Found| {
            let Cohort { origin, engine, kind, points, tpot, ttft } = &found.cohort;
            let [rate, _, _, rate_bias] = error_cells(found.rate.as_ref());
            let of_model = [kind.model(), &kind.dtype, &kind.expert_kernels];
            let words =
                [origin.as_str(), engine].into_iter().chain(of_model).chain([&kind.device[..], kind.prices.word()]);
            let words = words.map(Cell::of).chain([Cell::of(points)]);
            words
                .chain(error_cells(Some(tpot)))
                .chain(error_cells(ttft.as_ref()))
                .chain([rate, rate_bias, Cell::of(found.source)])
                .collect()
        };
        Table { columns, rows: self.cohorts().iter().map(row).collect() }
    }

    /// What every row of a point has: its load, and these metrics.
    fn columns(metrics: &[&'static str]) -> Vec<Column> {
        let load = [("isl", "  isl"), ("osl", "osl"), ("concurrency", "clients")];
        let load = load.map(|(key, head)| Column::figures(key, head));
        let columns = metrics.iter().flat_map(|metric| {
            let (key, head) = match *metric {
                TTFT => ("ttft_ms", "TTFT, ms"),
                TPOT => ("tpot_ms", "TPOT, ms"),
                _ => ("output_tok_s", "tokens/s"),
            };
            let of = |kind: &str, head| Column::figures(format!("{kind}_{key}"), head);
            let error = format!("{}_error_pct", key.trim_end_matches("_ms"));
            [of("measured", head), of("predicted", "predicted"), Column::figures(error, "error")]
        });
        load.into_iter().chain(columns).collect()
    }

    fn skipped_json(&self) -> Value {
        let row = |problem: &super::Problem| json!({"file": problem.file, "line": problem.line, "key": problem.key, "reason": problem.message});
        self.skipped.iter().map(row).collect()
    }
}

/// Median, mean, p90 and bias.
fn error_cells(errors: Option<&Errors>) -> [Cell; 4] {
    let known = errors.filter(|errors| !errors.median_pct.is_nan());
    let size = |of: fn(&Errors) -> f64| Cell::figure_or_dash(known.map(of).map(rounded), |pct| format!("{pct:.1} %"));
    let bias = percent_cell(known.map(|errors| rounded(errors.bias_pct)));
    [size(|errors| errors.median_pct), size(|errors| errors.mean_pct), size(|errors| errors.p90_pct), bias]
}

/// A hundredth of a per cent is more than anybody reads, and what another processor's last bits may change.
fn rounded(pct: f64) -> f64 {
    (pct * 100.0).round() / 100.0
}

impl PointResult {
    fn row(&self, metrics: &[&'static str]) -> Vec<Cell> {
        let (isl, osl) = self.lengths;
        let first =
            [Cell { exact: isl.to_string(), shown: format!("  {isl:>6}") }, Cell::of(osl), Cell::of(self.clients)];
        let figures = metrics.iter().flat_map(|name| {
            let metric = self.metric(name);
            let cell = |value: Option<f64>| Cell::figure_or_dash(value, figure);
            [
                cell(metric.map(|metric| metric.measured)),
                cell(metric.and_then(|metric| metric.predicted)),
                percent_cell(self.error_pct(name)),
            ]
        });
        first.into_iter().chain(figures).collect()
    }

    fn json(&self) -> Value {
        let metric = |metric: &super::Metric| {
            json!({
                // Means are called by their latency alone.
                "metric": metric.metric.strip_suffix(".mean").unwrap_or(&metric.metric),
                "measured": metric.measured, "predicted": metric.predicted, "error_pct": metric.error_pct(),
            })
        };
        json!({
            "id": self.id, "group": self.group, "origin": self.origin, "engine": self.engine,
            "model_kind": self.kind.model(), "dtype": self.kind.dtype, "device": self.kind.device,
            "prices": self.kind.prices.word(), "concurrency": self.clients,
            "isl": self.lengths.0, "osl": self.lengths.1, "flags_from": self.flags_from, "fitted": self.fitted,
            "metrics": self.metrics.iter().map(metric).collect::<Vec<_>>(),
        })
    }
}

impl Findings for PointsReport {
    /// Every point, the medians by deployment, then the cohorts, those that are off by the most first.
    fn document(&self) -> Document {
        let mut told = Vec::new();
        for (name, medians) in self.groups() {
            told.push(Block::Title(format!("{name}, {} points", medians.points)));
            let points: Vec<&PointResult> = self.points.iter().filter(|point| point.group == name).collect();
            let is_measured = |metric: &&str| points.iter().any(|point| point.metric(metric).is_some());
            let metrics: Vec<&'static str> = METRICS.into_iter().filter(is_measured).collect();
            let rows = points.iter().map(|point| point.row(&metrics)).collect();
            told.push(Block::Table(Table { columns: Self::columns(&metrics), rows }));
        }
        let columns = vec![
            Column::words("group", "median of |error|"),
            Column::figures("points", "points"),
            Column::figures("ttft_pct", "TTFT"),
            Column::figures("tpot_pct", "TPOT"),
            Column::figures("throughput_pct", "tokens/s"),
        ];
        let groups = self.groups().into_iter().map(|(name, medians)| medians.row(name));
        let rows = groups.chain([Medians::of(self.points.iter()).row("all")]).collect();
        told.push(Block::Table(Table { columns, rows }));
        told.push(Block::Gap);
        told.push(Block::Title("by cohort, without points that something was fitted to".to_owned()));
        told.push(Block::Table(self.cohort_lines()));
        Document(told)
    }

    fn records(&self) -> Table {
        let names = ["id", "group", "origin", "engine", "model_kind", "dtype", "device"];
        let columns = names.map(|name| Column::words(name, name)).into_iter().chain(Self::columns(&METRICS)).collect();
        let row = |point: &PointResult| {
            let kind = &point.kind;
            let words = [&point.id, &point.group, &point.origin, point.engine, kind.model(), &kind.dtype, &kind.device];
            words.map(Cell::of).into_iter().chain(point.row(&METRICS)).collect()
        };
        Table { columns, rows: self.points.iter().map(row).collect() }
    }

    /// `points`, each with its metrics, the `median_abs_error_pct` of all and of each group, `cohorts`, and the rows that were
    /// `skipped`.
    fn json(&self) -> String {
        let groups: Map<String, Value> =
            self.groups().into_iter().map(|(name, medians)| (name.to_owned(), medians.json())).collect();
        let all = Medians::of(self.points.iter()).json();
        pretty(&json!({
            "points": self.points.iter().map(PointResult::json).collect::<Vec<_>>(),
            "median_abs_error_pct": {"all": all, "groups": groups},
            "cohorts": cohorts_json(&self.cohorts()),
            "skipped": self.skipped_json(),
            "warnings": self.warnings,
        }))
    }
}

fn cohorts_json(cohorts: &[Found]) -> Value {
    let errors = |errors: Option<Errors>| {
        errors.filter(|errors| !errors.median_pct.is_nan()).map(|errors| {
            json!({
                "median_pct": errors.median_pct, "mean_pct": errors.mean_pct, "p90_pct": errors.p90_pct,
                "bias_pct": errors.bias_pct,
            })
        })
    };
    let row = |found: &Found| {
        let Cohort { origin, engine, kind, points, tpot, ttft } = &found.cohort;
        json!({
            "origin": origin, "engine": engine, "model_kind": kind.model(), "dtype": kind.dtype,
            "expert_kernels": kind.expert_kernels, "device": kind.device, "prices": kind.prices.word(), "points": points, "tpot_ms": errors(Some(*tpot)), "ttft_ms": errors(*ttft),
            "output_throughput_tok_s": errors(found.rate),
        })
    };
    cohorts.iter().map(row).collect()
}

/// The cohorts alone.
#[derive(Clone, Copy, Debug)]
pub struct CohortReport<'a>(&'a PointsReport);

impl Findings for CohortReport<'_> {
    fn document(&self) -> Document {
        Document(vec![Block::Table(self.0.cohort_lines())])
    }

    fn records(&self) -> Table {
        self.0.cohort_table()
    }

    fn json(&self) -> String {
        pretty(&json!({
            "cohorts": cohorts_json(&self.0.cohorts()), "skipped": self.0.skipped_json(), "warnings": self.0.warnings,
        }))
    }
}
