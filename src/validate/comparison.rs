//! Measured against predicted: which figure of a simulation answers which measured one.

use oracle_components::record::{RequestRecord, Status};
use serde_json::{Value, json};

use super::deployment::Deployment;
use super::replay::Replayed;
use super::requests_file::{Recorded, RecordedRequest};
use super::run_file::Run;
use super::statistics::{REPORTED, Sample, error_pct};
use crate::output::{HostSpec, energy};
use crate::tables::{Block, Cell, Column, Document, Findings, Table, pretty};

/// Latencies of a request: the key of the measured figure, and the column of the file.
pub(super) const LATENCIES: [&str; 3] = ["ttft_ms", "tpot_ms", "e2e_ms"];

/// A figure that was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its dotted key, such as `ttft_ms.mean`.
    pub metric: String,
    /// As it was measured.
    pub measured: f64,
    /// As it is predicted; `None` if nothing in the simulation answers it.
    pub predicted: Option<f64>,
}

impl Metric {
    /// By how much the prediction is off, in per cent of the measured figure.
    #[must_use]
    pub fn error_pct(&self) -> Option<f64> {
        error_pct(self.measured, self.predicted?)
    }

    fn json(&self) -> Value {
        json!({
            "metric": self.metric,
            "measured": self.measured,
            "predicted": self.predicted,
            "error_pct": self.error_pct(),
        })
    }
}

/// The KV pool of the run's first engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSize {
    /// Blocks that memory allows; `None` if the model does not fit by our count.
    pub predicted: Option<u64>,
    /// Blocks that the run recorded, which were simulated.
    pub measured: Option<u64>,
}

/// Errors request by request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestErrors {
    /// For each latency, the mean of |predicted / measured − 1|, in per cent, over the requests that have it.
    pub mape_pct: Vec<(&'static str, Option<f64>)>,
}

/// The fifteen statistics of a run whose requests were measured one by one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatisticsTable {
    /// Mean, p50, p90, p95 and p99 of TTFT, TPOT and E2E.
    pub metrics: Vec<Metric>,
}

impl StatisticsTable {
    /// The one that is off by the most.
    #[must_use]
    pub fn worst(&self) -> Option<&Metric> {
        let error = |metric: &&Metric| metric.error_pct().map_or(0.0, f64::abs);
        self.metrics.iter().filter(|metric| metric.error_pct().is_some()).max_by(|a, b| error(a).total_cmp(&error(b)))
    }
}

/// A run, measured and predicted.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Its name.
    pub run: String,
    /// Every measured figure.
    pub metrics: Vec<Metric>,
    /// The fifteen statistics; empty without figures of single requests.
    pub statistics: StatisticsTable,
    /// Errors request by request.
    pub requests: RequestErrors,
    /// The KV pool.
    pub kv_blocks: PoolSize,
    /// Requests, and how many of them succeeded in the simulation.
    pub succeeded: (usize, usize),
    /// For each latency, (measured, predicted) of each request that has both, in milliseconds.
    pub pairs: Vec<(&'static str, Vec<(f64, f64)>)>,
    /// What was assumed.
    pub warnings: Vec<String>,
    /// Each request with its latencies, measured and predicted, as CSV.
    pub requests_csv: String,
}

/// Compares a run with its simulation.
pub(super) fn compare(run: &Run, recorded: &Recorded, deployment: &Deployment, replayed: &Replayed) -> Comparison {
    let predictions = Predictions::new(run, recorded, deployment, replayed);
    let metrics = run.measured.iter().map(|(metric, measured)| Metric {
        metric: metric.clone(),
        measured: *measured,
        predicted: predictions.of(metric),
    });
    let pairs: Vec<_> = LATENCIES.iter().map(|latency| (*latency, pairs(latency, recorded, replayed))).collect();
    let succeeded = replayed.records.iter().filter(|record| record.status == Status::Success).count();
    let mut warnings = deployment.warnings.clone();
    warnings.extend(recorded.warnings.iter().cloned());
    warnings.extend(deployment.diagnostics().iter().map(ToString::to_string));
    let short = replayed.records.iter().zip(&recorded.requests);
    let short = short.filter(|(record, request)| record.output_tokens < request.output_tokens).count();
    let metrics: Vec<Metric> = metrics.collect();
    let unanswered: Vec<&str> =
        metrics.iter().filter(|metric| metric.predicted.is_none()).map(|metric| metric.metric.as_str()).collect();
    if !unanswered.is_empty() {
        warnings.push(format!("nothing in the simulation answers {}", unanswered.join(", ")));
    }
    if short > 0 {
        warnings.push(format!("{short} requests were refused or cut short in the simulation, and not in the run"));
    }
    Comparison {
        run: run.name.clone(),
        metrics,
        statistics: statistics(recorded, &predictions),
        requests: RequestErrors { mape_pct: pairs.iter().map(|(name, pairs)| (*name, mape_pct(pairs))).collect() },
        kv_blocks: PoolSize { predicted: deployment.kv_blocks.0, measured: deployment.kv_blocks.1 },
        succeeded: (succeeded, recorded.requests.len()),
        pairs,
        warnings,
        requests_csv: requests_csv(recorded, replayed),
    }
}

/// Every request in order of arrival: what was asked, and its latencies in milliseconds, measured and predicted.
fn requests_csv(recorded: &Recorded, replayed: &Replayed) -> String {
    let columns = LATENCIES.map(|name| format!(",measured_{name},predicted_{name}")).concat();
    let mut text = format!("arrival_s,prompt_tokens,output_tokens,engine,cached_tokens,preemptions{columns}\n");
    let field = |figure: Option<f64>| figure.map_or_else(String::new, |figure| format!("{figure:.4}"));
    for (request, record) in recorded.requests.iter().zip(&replayed.records) {
        let RecordedRequest { arrival_s, prompt_tokens, output_tokens, .. } = request;
        let RequestRecord { engine, cached_tokens, preemptions, .. } = record;
        text += &format!("{arrival_s},{prompt_tokens},{output_tokens},{engine},{cached_tokens},{preemptions}");
        for name in LATENCIES {
            text += &format!(",{},{}", field(real_latency(name, request)), field(latency(name, record)));
        }
        text.push('\n');
    }
    text
}

/// What the simulation answers.
struct Predictions {
    makespan_s: f64,
    drained_by_s: f64,
    requests: f64,
    output_tokens: f64,
    /// For each engine, tokens of prompts that it computed and those of them found in the cache.
    prefix: Vec<(f64, f64)>,
    /// Entries of the run's list of hit rates.
    prefix_entries: usize,
    /// GPUs and host; `None` where the catalog does not know what a device draws.
    server_energy_j: Option<f64>,
    samples: [(&'static str, Sample); 4],
}

impl Predictions {
    fn new(run: &Run, recorded: &Recorded, deployment: &Deployment, replayed: &Replayed) -> Self {
        let ended = || replayed.records.iter().filter(|record| record.status == Status::Success);
        let first = replayed.records.first().map_or(0.0, |record| record.arrival.as_secs_f64());
        let last = ended().map(|record| record.completion.as_secs_f64()).fold(0.0, f64::max);
        let mut prefix = vec![(0.0, 0.0); deployment.scenario().engines.len()];
        for record in &replayed.records {
            let computed = record.prefill.as_ref().and_then(|prefill| prefill.computed);
            let engine = computed.map_or(record.engine, |computed| computed.engine);
            let (prompt, cached) = &mut prefix[engine as usize];
            *prompt += f64::from(record.prompt_tokens);
            *cached += f64::from(record.cached_tokens);
        }
        let latencies = |of: fn(&RequestRecord) -> Option<f64>| Sample::new(ended().filter_map(of));
        let gaps = replayed.gaps.iter().map(|(gap, sequences)| (gap.as_millis_f64(), *sequences));
        debug_assert_eq!(replayed.outcome.arrived as usize, recorded.requests.len(), "every request is replayed");
        Self {
            makespan_s: last - first,
            drained_by_s: last + replayed.clock_offset_s,
            requests: ended().count() as f64,
            output_tokens: ended().map(|record| f64::from(record.output_tokens)).sum(),
            prefix,
            prefix_entries: run.measured.iter().filter(|(metric, _)| metric.starts_with("prefix_hit_pct.")).count(),
            server_energy_j: energy(deployment.scenario(), &replayed.outcome, HostSpec::default())
                .map(|energy| energy.server_energy_j),
            samples: [
                ("ttft_ms", latencies(|record| latency("ttft_ms", record))),
                ("tpot_ms", latencies(|record| latency("tpot_ms", record))),
                ("e2e_ms", latencies(|record| latency("e2e_ms", record))),
                ("itl_ms", Sample::weighted(gaps)),
            ],
        }
    }

    fn of(&self, metric: &str) -> Option<f64> {
        let (name, rest) = metric.split_once('.').unwrap_or((metric, ""));
        match (name, rest) {
            ("makespan_s", "") => Some(self.makespan_s),
            ("drained_by_s", "") => Some(self.drained_by_s),
            ("server_energy_j", "") => self.server_energy_j,
            ("request_throughput_rps", "") => Some(self.requests / self.makespan_s),
            ("output_throughput_tok_s", "") => Some(self.output_tokens / self.makespan_s),
            ("prefix_hit_pct", "") => Some(hit_pct(&self.prefix)),
            ("prefix_hit_pct", entry) => self.of_entry(entry.parse().ok()?).map(hit_pct),
            _ => {
                let (_, sample) = self.samples.iter().find(|(known, _)| *known == name)?;
                sample.statistic(if rest.is_empty() { "mean" } else { rest })
            }
        }
        .filter(|figure| figure.is_finite())
    }

    /// The engines that an entry of a list stands for: as many for each entry.
    fn of_entry(&self, entry: usize) -> Option<&[(f64, f64)]> {
        let (engines, entries) = (self.prefix.len(), self.prefix_entries);
        let of_each = engines.is_multiple_of(entries).then_some(engines / entries)?;
        self.prefix.chunks(of_each).nth(entry)
    }
}

/// Share of the prompts' tokens that was found in the caches of some engines; none of nothing.
fn hit_pct(engines: &[(f64, f64)]) -> f64 {
    let sum = |of: fn(&(f64, f64)) -> f64| engines.iter().map(of).sum::<f64>();
    100.0 * sum(|engine| engine.1) / sum(|engine| engine.0).max(1.0)
}

/// A latency of a simulated request, in milliseconds.
pub(super) fn latency(name: &str, record: &RequestRecord) -> Option<f64> {
    match name {
        "ttft_ms" => record.ttft().map(|time| time.as_millis_f64()),
        "tpot_ms" => record.tpot_ms(),
        _ => Some(record.e2e().as_millis_f64()),
    }
}

/// The same of a recorded one. The TPOT follows from the others where it is not recorded.
fn real_latency(name: &str, request: &RecordedRequest) -> Option<f64> {
    match name {
        "ttft_ms" => request.real_ttft_ms,
        "tpot_ms" => request.real_tpot_ms.filter(|_| request.output_tokens > 1),
        _ => request.real_e2e_ms,
    }
}

fn pairs(name: &str, recorded: &Recorded, replayed: &Replayed) -> Vec<(f64, f64)> {
    let both = recorded.requests.iter().zip(&replayed.records);
    both.filter(|(_, record)| record.status == Status::Success)
        .filter_map(|(request, record)| Some((real_latency(name, request)?, latency(name, record)?)))
        .collect()
}

fn mape_pct(pairs: &[(f64, f64)]) -> Option<f64> {
    let errors: Vec<f64> = pairs.iter().filter_map(|&(measured, predicted)| error_pct(measured, predicted)).collect();
    (!errors.is_empty()).then(|| errors.iter().map(|error| error.abs()).sum::<f64>() / errors.len() as f64)
}

fn statistics(recorded: &Recorded, predictions: &Predictions) -> StatisticsTable {
    let mut metrics = Vec::new();
    for name in LATENCIES {
        let sample = Sample::new(recorded.requests.iter().filter_map(|request| real_latency(name, request)));
        for statistic in REPORTED {
            let metric = format!("{name}.{statistic}");
            let predicted = predictions.of(&metric);
            metrics.extend(sample.statistic(statistic).map(|measured| Metric { metric, measured, predicted }));
        }
    }
    StatisticsTable { metrics }
}

impl Comparison {
    /// As JSON: `run` and `metrics`, and beside them the fifteen statistics with the worst, errors by request and KV blocks.
    #[must_use]
    pub fn json(&self) -> Value {
        let metrics = |metrics: &[Metric]| metrics.iter().map(Metric::json).collect::<Vec<_>>();
        let mape: serde_json::Map<String, Value> =
            self.requests.mape_pct.iter().map(|(name, pct)| ((*name).to_owned(), json!(pct))).collect();
        json!({
            "run": self.run,
            "metrics": metrics(&self.metrics),
            "statistics": metrics(&self.statistics.metrics),
            "worst_statistic": self.statistics.worst().map(Metric::json),
            "per_request_mape_pct": mape,
            "kv_blocks": {"measured": self.kv_blocks.measured, "predicted": self.kv_blocks.predicted},
            "requests": {"total": self.succeeded.1, "succeeded": self.succeeded.0},
            "warnings": self.warnings,
        })
    }

    /// For people: the name, every figure, and how far the worst is off.
    fn blocks(&self) -> Vec<Block> {
        let mut table = metrics_table(&self.metrics);
        let (measured, predicted) = (self.kv_blocks.measured, self.kv_blocks.predicted);
        let blocks = |blocks: Option<u64>| blocks.map_or_else(Cell::dash, Cell::of);
        let error = measured.zip(predicted).and_then(|(m, p)| error_pct(m as f64, p as f64));
        table.rows.push(vec![Cell::of("  KV blocks"), blocks(measured), blocks(predicted), percent_cell(error)]);
        let mut told = vec![Block::Title(self.run.clone()), Block::Table(table)];
        let mut line = |head: &str, text: String| told.push(Block::line(format!("{head}:"), head.len() + 2, text));
        if let Some(worst) = self.statistics.worst() {
            let count = self.statistics.metrics.len();
            line(&format!("worst of {count} statistics"), format!("{} {}", worst.metric, percent(worst.error_pct())));
            let mape = self.requests.mape_pct.iter().filter_map(|(name, pct)| Some(format!("{name} {:.1} %", (*pct)?)));
            line("mean error request by request", mape.collect::<Vec<_>>().join(", "));
        }
        if self.succeeded.0 < self.succeeded.1 {
            let text = format!("{} of {} requests", self.succeeded.0, self.succeeded.1);
            line("succeeded in the simulation", text);
        }
        told
    }

    /// For programs: a row a figure, the fifteen statistics and the KV blocks too.
    fn records(&self) -> Vec<Vec<Cell>> {
        let row = |kind: &str, metric: &str, [measured, predicted]: [Option<f64>; 2], error: Option<f64>| {
            let figures = [measured, predicted, error].map(|figure| Cell::figure_or_dash(figure, |f| f.to_string()));
            [&self.run, kind, metric].into_iter().map(Cell::of).chain(figures).collect()
        };
        let of_kind = |kind: &'static str, metrics: &'_ [Metric]| {
            let rows = metrics.iter();
            rows.map(|m| row(kind, &m.metric, [Some(m.measured), m.predicted], m.error_pct())).collect::<Vec<_>>()
        };
        let [measured, predicted] =
            [self.kv_blocks.measured, self.kv_blocks.predicted].map(|blocks| blocks.map(|blocks| blocks as f64));
        let error = measured.zip(predicted).and_then(|(measured, predicted)| error_pct(measured, predicted));
        let mut rows = of_kind("metric", &self.metrics);
        rows.extend(of_kind("statistic", &self.statistics.metrics));
        rows.push(row("metric", "kv_blocks", [measured, predicted], error));
        rows
    }
}

/// Runs that were compared; a list even of one, where several were asked for.
#[derive(Clone, Copy, Debug)]
pub struct Comparisons<'a> {
    /// Those that could be.
    pub all: &'a [Comparison],
    /// How many were asked for.
    pub asked: usize,
}

impl Findings for Comparisons<'_> {
    fn document(&self) -> Document {
        let told: Vec<Vec<Block>> = self.all.iter().map(Comparison::blocks).collect();
        Document(told.join(&Block::Gap))
    }

    fn records(&self) -> Table {
        let columns = [("run", true), ("kind", true), ("metric", true), ("measured", false), ("predicted", false)];
        let column = |(key, is_words)| Column { is_words, ..Column::figures(key, key) };
        let columns = columns.into_iter().chain([("error_pct", false)]).map(column);
        Table { columns: columns.collect(), rows: self.all.iter().flat_map(Comparison::records).collect() }
    }

    fn json(&self) -> String {
        let mut values: Vec<Value> = self.all.iter().map(Comparison::json).collect();
        pretty(&if self.asked == 1 && values.len() == 1 { values.remove(0) } else { Value::Array(values) })
    }
}

/// Figures with how far they are off.
fn metrics_table(metrics: &[Metric]) -> Table {
    let columns = vec![
        Column::words("metric", ""),
        Column::figures("measured", "measured"),
        Column::figures("predicted", "predicted"),
        Column::figures("error_pct", "error"),
    ];
    let row = |metric: &Metric| {
        vec![
            Cell::of(format!("  {}", metric.metric)),
            Cell::figure(metric.measured, figure(metric.measured)),
            Cell::figure_or_dash(metric.predicted, figure),
            percent_cell(metric.error_pct()),
        ]
    };
    Table { columns, rows: metrics.iter().map(row).collect() }
}

pub(super) fn percent_cell(error: Option<f64>) -> Cell {
    Cell::figure_or_dash(error, |error| percent(Some(error)))
}

/// A figure with as many digits as matter.
pub(super) fn figure(value: f64) -> String {
    let decimals = if value.abs() >= 1000.0 { 1 } else { 3 };
    format!("{value:.decimals$}")
}

pub(super) fn percent(error: Option<f64>) -> String {
    error.map_or_else(|| "-".to_owned(), |error| format!("{error:+.1} %"))
}
