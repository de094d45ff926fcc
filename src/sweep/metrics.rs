//! The metrics of a point: what of a run's summary becomes a column, with its unit and where it comes from.

use std::collections::BTreeSet;

use serde_json::Value;

use super::figure::Figure;
use crate::fidelity::{Expectation, told_by};
use crate::output::{Summary, notes_of};
use crate::tables::BETWEEN_SENTENCES;

/// A column of results.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its name, which ends with the unit where it has one.
    pub name: String,
    /// Its unit; empty for words and counts.
    pub unit: &'static str,
    /// Where `summary.json` has it.
    from: From,
}

/// Where a summary has a figure.
#[derive(Clone, Debug, PartialEq)]
enum From {
    /// At one place, by the keys that lead there.
    Key(String),
    /// Of every item of a map.
    Each(Fold, &'static str, &'static str),
    /// In words, each sentence once.
    Words(Words),
}

/// Sentences on what to know of figures: of the configuration, or of engines of its kinds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Words {
    Notes,
    Accuracy,
    UnmeasuredKernels,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fold {
    Count,
    Mean,
    Sum,
    Max,
}

/// Figures of one place each: name, unit, keys.
const SINGLE: [(&str, &str, &str); 18] = [
    ("keeps_up", "", "verdict.keeps_up"),
    ("limited_by", "", "verdict.limited_by"),
    ("steps_bound_by", "", "verdict.steps_bound_by"),
    ("requests_total", "", "requests.total"),
    ("requests_successful", "", "requests.successful"),
    ("requests_failed", "", "requests.failed"),
    ("requests_timeout", "", "requests.timeout"),
    ("requests_incomplete", "", "requests.incomplete"),
    ("success_rate", "1", "requests.success_rate"),
    ("requests_per_s", "1/s", "throughput.requests_per_second"),
    ("output_tokens_per_s", "1/s", "throughput.output_tokens_per_second"),
    ("prompt_tokens_per_s", "1/s", "throughput.prompt_tokens_per_second"),
    ("total_tokens_per_s", "1/s", "throughput.total_tokens_per_second"),
    ("goodput_requests_per_s", "1/s", "slo.goodput_requests_per_second"),
    ("slo_attainment", "1", "slo.attainment"),
    ("simulated_s", "s", "simulation.total_duration_s"),
    ("offered_s", "s", "load.offered_until_s"),
    ("drain_s", "s", "drain.duration_s"),
];

/// The same after the latencies.
const SINGLE_LAST: [(&str, &str, &str); 8] = [
    ("prefix_hit_rate", "1", "prefix_caching.overall_hit_rate"),
    ("prefix_saved_share", "1", "prefix_caching.prefill_reduction_ratio"),
    ("energy_kwh", "kWh", "energy.energy_kwh"),
    ("mean_power_w", "W", "energy.mean_power_w"),
    ("joules_per_output_token", "J", "energy.joules_per_output_token"),
    ("gpu_hours", "h", "cost.gpu_hours"),
    ("usd", "USD", "cost.usd"),
    ("usd_per_million_output_tokens", "USD", "cost.usd_per_million_output_tokens"),
];

/// Figures of several engines or GPUs.
const EACH: [(&str, &str, Fold, &str, &str); 9] = [
    ("engines", "", Fold::Count, "engines", ""),
    ("gpus", "", Fold::Count, "gpus", ""),
    ("gpu_busy", "1", Fold::Mean, "gpus", "busy"),
    ("mfu", "1", Fold::Mean, "gpus", "mfu"),
    ("mbu", "1", Fold::Mean, "gpus", "mbu"),
    ("kv_use_peak", "1", Fold::Max, "engines", "kv_use_peak"),
    ("running_peak", "", Fold::Max, "engines", "running_peak"),
    ("waiting_peak", "", Fold::Max, "engines", "waiting_peak"),
    ("preemptions", "", Fold::Sum, "engines", "preemptions"),
];

/// What to know before any figure.
pub const NOTES: &str = "notes";
/// How far off figures of its kind were.
pub const ACCURACY: &str = "accuracy";
/// Which kernels nobody has measured.
pub const UNMEASURED_KERNELS: &str = "unmeasured_kernels";

/// Latencies by their names here and in the summary.
const LATENCIES: [(&str, &str); 5] = [
    ("ttft", "time_to_first_token_ms"),
    ("tpot", "time_per_output_token_ms"),
    ("itl", "inter_token_latency_ms"),
    ("e2e", "end_to_end_latency_ms"),
    ("queue", "queue_time_ms"),
];

/// What there is of each latency beside percentiles.
const OF_LATENCY: [&str; 4] = ["mean", "std", "min", "max"];
const SLOS: [&str; 4] = ["ttft", "tpot", "itl", "e2e"];

impl Metric {
    /// Every metric that a run can have, in the order of columns, with percentiles by their names in summaries (`p99.9`).
    #[must_use]
    pub fn all(percentiles: &[String]) -> Vec<Self> {
        let single = |&(name, unit, keys): &(&str, &'static str, &str)| Self::new(name, unit, keys);
        let mut metrics: Vec<Self> = SINGLE.iter().map(single).collect();
        let after_slo = metrics.iter().position(|metric| metric.name == "simulated_s").unwrap_or(metrics.len());
        let slos = SLOS
            .map(|slo| Self::new(&format!("slo_{slo}_attainment"), "1", &format!("slo.by_metric.{slo}_ms.attainment")));
        metrics.splice(after_slo..after_slo, slos);
        for (name, key) in LATENCIES {
            for figure in OF_LATENCY.into_iter().chain(percentiles.iter().map(String::as_str)) {
                let column = format!("{name}_{figure}_ms");
                // A percentile's name may have a dot in it: it is the last key.
                metrics.push(Self::new(&column, "ms", &format!("latency.{key}.{figure}")));
            }
        }
        let each = EACH.map(|(name, unit, fold, of, key)| Self {
            name: name.to_owned(),
            unit,
            from: From::Each(fold, of, key),
        });
        metrics.extend(each);
        metrics.extend(SINGLE_LAST.iter().map(single));
        let words =
            [(NOTES, Words::Notes), (ACCURACY, Words::Accuracy), (UNMEASURED_KERNELS, Words::UnmeasuredKernels)];
        metrics.extend(words.map(|(name, words)| Self { name: name.to_owned(), unit: "", from: From::Words(words) }));
        metrics
    }

    fn new(name: &str, unit: &'static str, keys: &str) -> Self {
        Self { name: name.to_owned(), unit, from: From::Key(keys.to_owned()) }
    }

    /// Where it is in `summary.json`, in words.
    #[must_use]
    pub fn source(&self) -> String {
        match &self.from {
            From::Key(keys) => keys.clone(),
            From::Each(Fold::Count, of, _) => format!("count({of})"),
            From::Each(Fold::Mean, of, key) => format!("mean({of}.*.{key})"),
            From::Each(Fold::Sum, of, key) => format!("sum({of}.*.{key})"),
            From::Each(Fold::Max, of, key) => format!("max({of}.*.{key})"),
            From::Words(Words::Notes) => "notes".to_owned(),
            From::Words(_) => "fidelity".to_owned(),
        }
    }

    fn of(&self, summary: &Value) -> Option<Figure> {
        match &self.from {
            From::Key(keys) => {
                let found = keys.splitn(3, '.').try_fold(summary, |value, key| value.get(key));
                // Four keys lead to an SLO.
                let found = found.or_else(|| keys.split('.').try_fold(summary, |value, key| value.get(key)));
                found.and_then(Figure::of_json)
            }
            From::Each(fold, of, key) => {
                let items = summary.get(of)?.as_object()?;
                let values = items.values().filter_map(|item| item.get(key).and_then(Figure::of_json));
                match fold {
                    Fold::Count => Some(Figure::Integer(items.len() as i64)),
                    Fold::Mean => mean(values.filter_map(|value| value.as_f64())),
                    Fold::Sum => Some(Figure::Integer(values.filter_map(|value| value.as_i64()).sum())),
                    Fold::Max => values.max_by(|one, other| {
                        one.as_f64().partial_cmp(&other.as_f64()).unwrap_or(std::cmp::Ordering::Equal)
                    }),
                }
            }
            From::Words(words) => {
                let of_kinds = |sentence: fn(&Expectation) -> Option<String>| {
                    told_by(summary).iter().filter_map(sentence).collect::<Vec<_>>()
                };
                let mut sentences = match words {
                    Words::Notes => notes_of(summary),
                    Words::Accuracy => of_kinds(|expected| Some(expected.words())),
                    Words::UnmeasuredKernels => of_kinds(|expected| expected.unmeasured.clone()),
                };
                sentences.dedup();
                (!sentences.is_empty()).then(|| Figure::Text(sentences.join(BETWEEN_SENTENCES)))
            }
        }
    }
}

/// The sentences of many points, each once.
#[must_use]
pub fn sentences<'a>(cells: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut sentences: Vec<String> = Vec::new();
    for sentence in cells.into_iter().flat_map(|cell| cell.split(BETWEEN_SENTENCES)) {
        if !sentences.iter().any(|known| known == sentence) {
            sentences.push(sentence.to_owned());
        }
    }
    sentences
}

fn mean(values: impl Iterator<Item = f64>) -> Option<Figure> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| Figure::Float(values.iter().sum::<f64>() / values.len() as f64))
}

/// The metrics that a run has, in order.
#[must_use]
pub fn metrics_of(summary: &Summary) -> Vec<(String, Figure)> {
    let percentiles: Vec<String> = summary.latency.time_to_first_token_ms.percentile_names().collect();
    let summary = serde_json::to_value(summary).expect("the keys of a summary are text");
    let metrics = Metric::all(&percentiles).into_iter();
    metrics
        .filter_map(|metric| Some((metric.of(&summary)?, metric.name)))
        .map(|(figure, name)| (name, figure))
        .collect()
}

/// The metrics of these names, in the order of columns: percentiles are what the names say.
#[must_use]
pub fn metrics_named(names: &BTreeSet<&str>) -> Vec<Metric> {
    let percentile = |name: &&str| {
        let figure = name.strip_suffix("_ms")?.rsplit('_').next()?;
        let quantile: f64 = figure.strip_prefix('p')?.parse().ok()?;
        Some((quantile, figure.to_owned()))
    };
    let mut percentiles: Vec<(f64, String)> = names.iter().filter_map(percentile).collect();
    percentiles.sort_by(|one, other| one.0.total_cmp(&other.0));
    percentiles.dedup();
    let percentiles: Vec<String> = percentiles.into_iter().map(|(_, name)| name).collect();
    let mut metrics = Metric::all(&percentiles);
    metrics.retain(|metric| names.contains(metric.name.as_str()));
    metrics
}

/// Whether a run can have a metric of this name.
pub(super) fn is_metric(name: &str) -> bool {
    !metrics_named(&BTreeSet::from([name])).is_empty()
}
