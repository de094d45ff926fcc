//! Charts of latencies: cumulative, by size, and by the time of arrival.

use crate::report::counts::Counts;
use crate::report::figure::{Axis, Body, Figure, Limit, Line, Scale, Side, Stroke, rounded, seconds};
use crate::report::requests::Spread;
use crate::report::run::Run;

/// A range of less than this factor is drawn evenly, not by its logarithm.
const NARROW: f64 = 4.0;

fn figure(title: &str, note: String, x: Axis, y: Axis, lines: Vec<Line>, limits: Vec<Limit>) -> Figure {
    Figure { kind: String::new(), title: title.to_owned(), note, x, y, body: Body::Lines(lines), limits }
}

fn line(name: &str, points: Vec<(f64, Option<f64>)>, stroke: Stroke) -> Line {
    Line { name: name.to_owned(), points, stroke }
}

/// Shares at which a cumulative curve has a point: 200 even ones, and the last per cent more finely.
fn shares() -> Vec<f64> {
    let even = (0..=198).map(|at| f64::from(at) / 200.0);
    let tail = (0..=9).map(|at| 0.99 + f64::from(at) / 1_000.0);
    even.chain(tail).chain([0.9995, 0.9999, 1.0]).collect()
}

/// How an axis of latencies from one value to another is drawn.
fn scale(least: f64, most: f64) -> Scale {
    if least > 0.0 && most > NARROW * least { Scale::Log } else { Scale::Linear }
}

fn cumulative(title: &str, spread: &Spread, limits: Vec<Limit>) -> Option<Figure> {
    let shares = shares();
    let values = spread.quantiles(&shares)?;
    let scale = scale(values[0], *values.last()?);
    let points = values.iter().zip(&shares).map(|(&value, &share)| (rounded(value), Some(share))).collect();
    let exactness =
        "One point for each half per cent of the requests, finer in the last per cent; quantiles as in summary.json.";
    let x = Axis::new("ms", scale);
    let y = Axis::new("share of requests", Scale::Share);
    Some(figure(title, exactness.to_owned(), x, y, vec![line("", points, Stroke::Straight)], limits))
}

/// What clients expect of a metric at most, where all expect the same.
fn objective(run: &Run, metric: &str, on: Side) -> Vec<Limit> {
    let value = run.folder.number(&format!("/slo/by_metric/{metric}_ms/objective_ms"));
    value.map(|value| Limit { on, value, label: format!("SLO {value} ms") }).into_iter().collect()
}

pub(super) fn ttft_cdf(run: &Run) -> Option<Figure> {
    cumulative("Time to first token (TTFT)", &run.requests.as_ref()?.ttft, objective(run, "ttft", Side::X))
}

pub(super) fn tpot_cdf(run: &Run) -> Option<Figure> {
    cumulative("Time per output token (TPOT)", &run.requests.as_ref()?.tpot, objective(run, "tpot", Side::X))
}

pub(super) fn e2e_cdf(run: &Run) -> Option<Figure> {
    cumulative("End-to-end latency (E2E)", &run.requests.as_ref()?.e2e, objective(run, "e2e", Side::X))
}

pub(super) fn queue_cdf(run: &Run) -> Option<Figure> {
    let figure = cumulative("Time in the engine's queue", &run.requests.as_ref()?.queue, Vec::new())?;
    Some(figure)
}

pub(super) fn itl_cdf(run: &Run) -> Option<Figure> {
    let told = run.folder.summary.pointer("/latency/inter_token_latency_ms")?.as_object()?;
    let share = |key: &str| match key {
        "min" => Some(0.0),
        "max" => Some(1.0),
        _ => key.strip_prefix('p').and_then(|percent| percent.parse::<f64>().ok()).map(|percent| percent / 100.0),
    };
    let mut points: Vec<(f64, Option<f64>)> =
        told.iter().filter_map(|(key, value)| Some((value.as_f64()?, Some(share(key)?)))).collect();
    points.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap_or(std::cmp::Ordering::Equal).then(a.0.total_cmp(&b.0)));
    let (least, most) = (points.first()?.0, points.last()?.0);
    let mut lines = vec![line("every gap", points, Stroke::PointsAndLine)];
    let mut widest = most;
    let longest = run.requests.as_ref().map(|requests| &requests.longest_gap);
    let shares = shares();
    if let Some(values) = longest.and_then(|spread| spread.quantiles(&shares)) {
        widest = widest.max(values.last().copied().unwrap_or(0.0));
        let points = values.iter().zip(&shares).map(|(&value, &share)| (rounded(value), Some(share))).collect();
        lines.push(line("longest gap of a request", points, Stroke::Straight));
    }
    let note = "Of every gap the quantiles that summary.json has, with straight lines between: single gaps are in no file. The \
                longest gap of each request is in requests.parquet.";
    let (x, y) = (Axis::new("ms", scale(least, widest)), Axis::new("share", Scale::Share));
    Some(figure("Time between tokens (ITL)", note.to_owned(), x, y, lines, objective(run, "itl", Side::X)))
}

fn histogram(title: &str, shape: &Counts, limits: Vec<Limit>) -> Option<Figure> {
    let bars = shape.bars();
    let scale = scale(bars.first()?.0, bars.last()?.0);
    let points = bars.iter().map(|&(from, share)| (rounded(from), Some(rounded(share)))).collect();
    let note = "Bars of equal width on a logarithmic scale, some forty at most, counted over all requests.";
    let (x, y) = (Axis::new("ms", scale), Axis::new("share of requests", Scale::Share));
    Some(figure(title, note.to_owned(), x, y, vec![line("", points, Stroke::FilledSteps)], limits))
}

pub(super) fn ttft_histogram(run: &Run) -> Option<Figure> {
    histogram("TTFT by size", &run.requests.as_ref()?.ttft.shape, objective(run, "ttft", Side::X))
}

pub(super) fn tpot_histogram(run: &Run) -> Option<Figure> {
    histogram("TPOT by size", &run.requests.as_ref()?.tpot.shape, objective(run, "tpot", Side::X))
}

pub(super) fn e2e_histogram(run: &Run) -> Option<Figure> {
    histogram("E2E by size", &run.requests.as_ref()?.e2e.shape, objective(run, "e2e", Side::X))
}

fn by_arrival(run: &Run, title: &str, what: [(&str, &Spread); 2], limits: Vec<Limit>) -> Option<Figure> {
    let slice_s = run.requests.as_ref()?.slice_s;
    let course = |spread: &Spread, share: f64| -> Vec<(f64, Option<f64>)> {
        let slices = spread.over_time.iter().enumerate();
        slices.map(|(at, counts)| (rounded((at as f64 + 0.5) * slice_s), counts.quantile(share).map(rounded))).collect()
    };
    let quantiles = [("p50", 0.5), ("p99", 0.99)];
    let lines = what.iter().flat_map(|(name, spread)| {
        quantiles.map(|(quantile, share)| line(&format!("{name} {quantile}"), course(spread, share), Stroke::Straight))
    });
    let note = format!(
        "By the time at which requests arrived, in parts of {}; a quantile of a part is within 1.1 %, and p99 of fewer than a \
         hundred requests is the slowest of them. Only answered requests that arrived after the warm-up.",
        seconds(slice_s),
    );
    let (x, y) = (Axis::new("arrival, s", Scale::Linear), Axis::new("ms", Scale::Log));
    Some(figure(title, note, x, y, lines.collect(), limits))
}

pub(super) fn over_time(run: &Run) -> Option<Figure> {
    let requests = run.requests.as_ref()?;
    by_arrival(run, "TTFT and E2E over time", [("TTFT", &requests.ttft), ("E2E", &requests.e2e)], Vec::new())
}

pub(super) fn tpot_over_time(run: &Run) -> Option<Figure> {
    let requests = run.requests.as_ref()?;
    let what = [("TPOT", &requests.tpot), ("longest gap", &requests.longest_gap)];
    by_arrival(run, "Pace of tokens over time", what, objective(run, "tpot", Side::Y))
}
