//! Three numbers from one measured run: the shares of the peaks that kernels reach, and the host's time a step.
//!
//! What is minimised is the mean square of ln(predicted / measured): over the fifteen statistics where requests were
//! measured one by one, else over the latencies and throughputs that were measured. Both shares count for all kernels, so
//! the fit is right for loads like the run's, and no better than constants can be elsewhere. Under asynchronous
//! scheduling the host's time hides behind the GPU's, and the run says of it no more than that it is not above that.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::comparison::{self, Comparison, Metric};
use super::deployment::{Deployment, Keys};
use super::problem::{Problem, Problems};
use super::replay::replay;
use super::requests_file::{self, Recorded};
use super::run_file::{self, Run};
use super::{Options, simplex};
use crate::config::Overrides;
use crate::tables::{Block, Cell, Column, Document, Findings, Table, pretty};

/// Simulations that a fit may take.
const SIMULATIONS: usize = 240;
/// One after the other, each from where the last one ended.
const SEARCHES: usize = 3;
/// Steps, and corners that are as good as equal, in the unbounded coordinates of [`Fit::of_point`].
const FIRST_STEP: f64 = 0.7;
const TOLERANCE: f64 = 1e-7;
/// Least share of a peak that a configuration takes.
const LEAST_SHARE: f64 = 0.01;
/// Longest host time a step.
const MOST_OVERHEAD_S: f64 = 0.1;

/// The three numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// Share of the peak FLOP/s.
    pub mfu: f64,
    /// Share of the memory bandwidth.
    pub mbu: f64,
    /// Host time a step, in seconds.
    pub step_overhead_s: f64,
}

impl Fit {
    /// The predecessor's shares, and a host that takes no time.
    const START: Self = Self { mfu: 0.5, mbu: 0.8, step_overhead_s: 0.0005 };

    /// Any three numbers as a fit.
    fn of_point(point: &[f64; 3]) -> Self {
        let share = |x: f64| LEAST_SHARE + (1.0 - LEAST_SHARE) / (1.0 + (-x).exp());
        let overhead = MOST_OVERHEAD_S / (1.0 + (-point[2]).exp());
        Self { mfu: rounded(share(point[0])), mbu: rounded(share(point[1])), step_overhead_s: rounded(overhead) }
    }

    fn point(&self) -> [f64; 3] {
        let logit = |share: f64| (share / (1.0 - share)).ln();
        let unbounded = |share: f64| logit((share - LEAST_SHARE) / (1.0 - LEAST_SHARE));
        [unbounded(self.mfu), unbounded(self.mbu), logit(self.step_overhead_s / MOST_OVERHEAD_S)]
    }

    fn overrides(&self, base: &Overrides) -> Overrides {
        let mut overrides = Overrides { mfu: Some(self.mfu), mbu: Some(self.mbu), ..base.clone() };
        overrides.set.push(format!("frameworks_to_test[*].config.step_overhead_s={}", self.step_overhead_s));
        overrides
    }
}

/// As many digits as a fit is good for: what is printed is what was simulated.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// A fit to a run, and the run before and after.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// The numbers.
    pub fit: Fit,
    /// With the catalog's efficiency, or a guess where the catalog lacks the device.
    pub before: Comparison,
    /// With the fitted numbers.
    pub after: Comparison,
    /// Root mean square of ln(predicted / measured), before and after.
    pub rms: (f64, f64),
    /// What a configuration needs beside them for the same prediction.
    keys: Keys,
}

/// Fits the three numbers to the run of a folder.
///
/// # Errors
/// What is wrong with the folder, or a run in which nothing was measured that they could be fitted to.
pub fn calibrate(folder: &Path, options: &Options) -> Result<Calibration, Problems> {
    let run = run_file::read(folder)?;
    let recorded = requests_file::read(folder)?;
    let simulate = |overrides: Overrides| simulate(&run, &recorded, folder, &Options { overrides, ..options.clone() });
    let (before, keys) = simulate(options.overrides.clone())?;
    if mean_square(&before).is_none() {
        let message = "measures no latency and no throughput that three numbers could be fitted to";
        return Err(Problem::of_file(&folder.join("run.json"), message).into());
    }
    let error = |point: &[f64; 3]| {
        let (comparison, _) = simulate(Fit::of_point(point).overrides(&options.overrides)).ok()?;
        mean_square(&comparison)
    };
    let value = |point: &[f64; 3]| error(point).unwrap_or(f64::INFINITY);
    // A simplex that has shrunk too soon gets off the ground again from a fresh one.
    let search = |start| simplex::minimise(value, start, FIRST_STEP, SIMULATIONS / SEARCHES, TOLERANCE).0;
    let point = (0..SEARCHES).fold(Fit::START.point(), |start, _| search(start));
    let fit = Fit::of_point(&point);
    let (after, _) = simulate(fit.overrides(&options.overrides))?;
    let rms = |comparison| mean_square(comparison).map_or(f64::NAN, f64::sqrt);
    Ok(Calibration { fit, rms: (rms(&before), rms(&after)), before, after, keys })
}

fn simulate(run: &Run, recorded: &Recorded, folder: &Path, options: &Options) -> Result<(Comparison, Keys), Problems> {
    let deployment = Deployment::of_run(run, folder, options)?;
    let replayed = replay(deployment.scenario(), &recorded.requests, run.max_in_flight);
    Ok((comparison::compare(run, recorded, &deployment, &replayed), deployment.keys))
}

/// Mean square of ln(predicted / measured).
fn mean_square(comparison: &Comparison) -> Option<f64> {
    let is_fitted = |metric: &&Metric| {
        ["ttft_ms", "tpot_ms", "itl_ms", "e2e_ms", "makespan_s", "request_throughput_rps", "output_throughput_tok_s"]
            .iter()
            .any(|name| metric.metric.split('.').next() == Some(name))
    };
    let of_requests = &comparison.statistics.metrics;
    let metrics = if of_requests.is_empty() { &comparison.metrics } else { of_requests };
    let logs = metrics.iter().filter(is_fitted).filter_map(|metric| {
        let ratio = metric.predicted? / metric.measured;
        (ratio > 0.0 && ratio.is_finite()).then(|| ratio.ln().powi(2))
    });
    let logs: Vec<f64> = logs.collect();
    (!logs.is_empty()).then(|| logs.iter().sum::<f64>() / logs.len() as f64)
}

impl Calibration {
    /// YAML to put into a configuration, with the errors as comments.
    #[must_use]
    pub fn yaml(&self) -> String {
        let Fit { mfu, mbu, step_overhead_s } = self.fit;
        let lines = |keys: &Map<String, Value>| {
            keys.iter().map(|(key, value)| format!("      {key}: {value}\n")).collect::<String>()
        };
        let (sheet, engine) = (lines(&self.keys.device), lines(&self.keys.engine));
        let worst = |comparison: &Comparison| {
            let metrics = if comparison.statistics.metrics.is_empty() {
                &comparison.metrics
            } else {
                &comparison.statistics.metrics
            };
            let size = |metric: &Metric| metric.error_pct().map_or(0.0, f64::abs);
            let worst = metrics.iter().max_by(|a, b| size(a).total_cmp(&size(b)));
            worst.map_or_else(String::new, |metric| {
                format!(", worst {} {}", metric.metric, comparison::percent(metric.error_pct()))
            })
        };
        format!(
            "# Fitted to the run {} by `llmperforacle calibrate run`.\n\
             # Off before: {:.1} % (root mean square){}\n\
             # Off after:  {:.1} % (root mean square){}\n\
             hardware_profile:\n  compute_devices:\n    - device_id: gpu\n{sheet}      mfu: {mfu}\n      mbu: {mbu}\n\
             frameworks_to_test:\n  - config:\n      step_overhead_s: {step_overhead_s}\n{engine}",
            self.after.run,
            100.0 * self.rms.0,
            worst(&self.before),
            100.0 * self.rms.1,
            worst(&self.after),
        )
    }
}

impl Findings for Calibration {
    /// YAML to put into a configuration: a terminal's text is what a file takes.
    fn document(&self) -> Document {
        Document(vec![Block::Drawn(self.yaml())])
    }

    /// A row a figure: measured, and predicted before and after the fit.
    fn records(&self) -> Table {
        let columns = ["measured", "predicted_before", "predicted_after"].map(|key| Column::figures(key, key));
        let metrics = |comparison: &Comparison| [&comparison.metrics[..], &comparison.statistics.metrics].concat();
        let rows = metrics(&self.before).into_iter().zip(metrics(&self.after)).map(|(before, after)| {
            let figures = [Some(before.measured), before.predicted, after.predicted];
            let figures = figures.map(|figure| Cell::figure_or_dash(figure, |figure| figure.to_string()));
            [Cell::of(before.metric)].into_iter().chain(figures).collect()
        });
        let columns = [Column::words("metric", "metric")].into_iter().chain(columns).collect();
        Table { columns, rows: rows.collect() }
    }

    /// The three numbers, and the comparison before and after.
    fn json(&self) -> String {
        pretty(&json!({
            "run": self.after.run,
            "fit": {"mfu": self.fit.mfu, "mbu": self.fit.mbu, "step_overhead_s": self.fit.step_overhead_s},
            "rms_log_error": {"before": self.rms.0, "after": self.rms.1},
            "before": self.before.json(),
            "after": self.after.json(),
        }))
    }
}
