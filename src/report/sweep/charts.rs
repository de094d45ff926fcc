//! Charts of a sweep: metrics over each swept number, and throughput a GPU against latency with its Pareto front.

use std::collections::BTreeMap;

use super::{Point, Sweep};
use crate::report::figure::{Axis, Body, Figure, Line, Scale, Stroke, rounded};

/// Lines of a chart; of more settings, the least, the median and the most.
const LINES: usize = 8;
/// Swept keys that have charts.
const MOST_AXES: usize = 4;
/// Points of a cloud; of more, evenly chosen ones and the front.
const CLOUD: usize = 2_000;
/// A range of more than this factor is drawn by its logarithm.
const WIDE: f64 = 20.0;
const METRICS: [(&str, &str, Scale); 6] = [
    ("output_tokens_per_s", "output tokens/s", Scale::Linear),
    ("ttft_p99_ms", "TTFT p99, ms", Scale::Log),
    ("tpot_p99_ms", "TPOT p99, ms", Scale::Log),
    ("e2e_p99_ms", "E2E p99, ms", Scale::Log),
    ("slo_attainment", "share within the SLO", Scale::Share),
    ("usd_per_million_output_tokens", "USD a million output tokens", Scale::Linear),
];
const LATENCIES: [(&str, &str); 2] = [("ttft_p99_ms", "TTFT p99, ms"), ("tpot_p99_ms", "TPOT p99, ms")];

/// Curves over swept keys, then the fronts.
#[must_use]
pub fn charts(sweep: &Sweep) -> (Vec<Figure>, Vec<Figure>) {
    let axes: Vec<usize> = sweep.axes().into_iter().take(MOST_AXES).collect();
    let curves = axes.iter().flat_map(|&axis| METRICS.iter().map(move |metric| curve(sweep, axis, metric)));
    let fronts = LATENCIES.iter().map(|&latency| cloud(sweep, latency));
    let seen = |figures: Vec<Figure>| figures.into_iter().filter(|figure| !figure.is_empty()).collect();
    (seen(curves.collect()), seen(fronts.flatten().collect()))
}

/// A metric over a swept number.
pub(super) fn curve_of(sweep: &Sweep, axis: usize, metric: &str) -> Figure {
    let known = METRICS.iter().find(|(name, ..)| *name == metric);
    curve(sweep, axis, known.unwrap_or(&(metric, metric, Scale::Linear)))
}

fn curve(sweep: &Sweep, axis: usize, &(metric, title, scale): &(&str, &str, Scale)) -> Figure {
    // Of each line, at each value, what its seeds came to.
    let mut lines: BTreeMap<String, BTreeMap<u64, (f64, Vec<f64>)>> = BTreeMap::new();
    for point in &sweep.points {
        let (Some(x), Some(y)) = (point.numbers[axis], sweep.metric(point, metric)) else { continue };
        let line = lines.entry(sweep.others(point, axis)).or_default();
        line.entry(in_order(x)).or_insert_with(|| (x, Vec::new())).1.push(y);
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let has_seeds = lines.values().flat_map(BTreeMap::values).any(|(_, values)| values.len() > 1);
    let lines: Vec<(String, Vec<(f64, f64)>)> = lines
        .into_iter()
        .map(|(name, line)| (name, line.into_values().map(|(x, values)| (x, mean(&values))).collect()))
        .collect();
    let count = lines.len();
    let lines = if count > LINES { together(&lines) } else { lines };
    let xs = || lines.iter().flat_map(|(_, points)| points.iter().map(|point| point.0));
    let (least, most) = (xs().fold(f64::INFINITY, f64::min), xs().fold(0.0, f64::max));
    let x_scale = if least > 0.0 && most > WIDE * least { Scale::Log } else { Scale::Linear };
    let mut note = String::new();
    if count > LINES {
        note += &format!("Least, median and most of {count} combinations of the other keys. ");
    }
    if has_seeds {
        note += "Means over seeds.";
    }
    let setting = &sweep.settings[axis];
    Figure {
        kind: format!("curve-{axis}-{metric}"),
        title: format!("{} over {}", title.trim_end_matches(", ms"), setting.name),
        note,
        x: Axis::new(&setting.key, x_scale),
        y: Axis::new(title, scale),
        body: Body::Lines(lines.into_iter().map(|(name, points)| line(name, points, Stroke::PointsAndLine)).collect()),
        limits: Vec::new(),
    }
}

/// Least, median and most of many lines.
fn together(lines: &[(String, Vec<(f64, f64)>)]) -> Vec<(String, Vec<(f64, f64)>)> {
    let mut at: BTreeMap<u64, (f64, Vec<f64>)> = BTreeMap::new();
    for &(x, y) in lines.iter().flat_map(|(_, points)| points) {
        at.entry(in_order(x)).or_insert_with(|| (x, Vec::new())).1.push(y);
    }
    at.values_mut().for_each(|(_, values)| values.sort_by(f64::total_cmp));
    let of = |place: fn(usize) -> usize| at.values().map(|(x, values)| (*x, values[place(values.len())])).collect();
    vec![
        ("most".to_owned(), of(|count| count - 1)),
        ("median".to_owned(), of(|count| count / 2)),
        ("least".to_owned(), of(|_| 0)),
    ]
}

/// Bits that are ordered as their numbers are, below zero too.
fn in_order(number: f64) -> u64 {
    let bits = number.to_bits();
    if number.is_sign_negative() { !bits } else { bits | 1 << 63 }
}

fn line(name: String, points: Vec<(f64, f64)>, stroke: Stroke) -> Line {
    Line { name, points: points.into_iter().map(|(x, y)| (rounded(x), Some(rounded(y)))).collect(), stroke }
}

/// Latency and throughput a GPU of every point that has both.
fn placed<'a>(sweep: &'a Sweep, latency: &'a str) -> impl Iterator<Item = (&'a Point, f64, f64)> {
    sweep
        .points
        .iter()
        .filter_map(move |point| Some((point, sweep.metric(point, latency)?, sweep.tokens_per_gpu(point)?)))
}

/// The points that keep up and that no other one betters in both latency and throughput a GPU, by latency.
#[must_use]
pub fn front<'a>(sweep: &'a Sweep, latency: &'a str) -> Vec<(&'a Point, f64, f64)> {
    let mut points: Vec<_> = placed(sweep, latency).filter(|(point, ..)| point.keeps_up != Some(false)).collect();
    points.sort_by(|a, b| a.1.total_cmp(&b.1).then(b.2.total_cmp(&a.2)).then(a.0.number.cmp(&b.0.number)));
    let mut best = f64::NEG_INFINITY;
    points.retain(|&(_, _, tokens)| {
        let is_better = tokens > best;
        best = best.max(tokens);
        is_better
    });
    points
}

/// Throughput a GPU against a latency, whose title follows its name.
pub(super) fn cloud(sweep: &Sweep, (latency, title): (&str, &str)) -> Option<Figure> {
    let known = LATENCIES.iter().find(|(name, _)| *name == latency);
    let title = known.map_or(title, |(_, title)| title);
    let points: Vec<_> = placed(sweep, latency).collect();
    let front = front(sweep, latency);
    (points.len() > 1).then_some(())?;
    let stride = points.len().div_ceil(CLOUD);
    let of = |keeps_up: bool| {
        let chosen = points.iter().filter(|(point, ..)| (point.keeps_up != Some(false)) == keeps_up);
        chosen.step_by(stride).map(|&(_, x, y)| (x, y)).collect::<Vec<_>>()
    };
    let along = front.iter().map(|&(_, x, y)| (x, y)).collect();
    let mut lines = vec![
        line("keeps up".to_owned(), of(true), Stroke::Points),
        line("does not keep up".to_owned(), of(false), Stroke::Points),
        line("Pareto front".to_owned(), along, Stroke::PointsAndLine),
    ];
    lines.retain(|line| !line.points.is_empty());
    let mut note =
        "A point each run; the front of those that keep up: no other has both a lower latency and more tokens a \
                    GPU."
            .to_owned();
    if stride > 1 {
        note += &format!(" One in {stride} points is drawn, and all of the front.");
    }
    Some(Figure {
        kind: format!("front-{latency}"),
        title: format!("Throughput a GPU against {}", title.trim_end_matches(", ms")),
        note,
        x: Axis::new(title, Scale::Log),
        y: Axis::new("output tokens/s a GPU", Scale::Linear),
        body: Body::Lines(lines),
        limits: Vec::new(),
    })
}
