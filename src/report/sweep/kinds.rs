//! The charts of a sweep that `plot` draws, by name.

use super::charts::{cloud, curve_of};
use super::{Sweep, knees};
use crate::catalog::did_you_mean;
use crate::report::ReportError;
use crate::report::figure::{Axis, Body, Figure, Scale, rounded};

/// What is drawn where nobody says what.
const USUAL_METRIC: &str = "ttft_p99_ms";
/// Bars of a chart.
const MOST_BARS: usize = 40;

/// A chart of a sweep.
pub struct SweepKind {
    /// Its name.
    pub name: &'static str,
    /// What it shows, in one line.
    pub about: &'static str,
    draw: fn(&Sweep, &Drawn<'_>) -> Result<Figure, String>,
}

/// What of a sweep is drawn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drawn<'a> {
    /// The swept key to the right; the first number that was swept without.
    pub x: Option<&'a str>,
    /// The metric upwards; the p99 of TTFT without.
    pub y: Option<&'a str>,
}

/// All of them.
pub const SWEEP_KINDS: [SweepKind; 3] = [
    SweepKind {
        name: "curve",
        about: "a metric (--y) over a swept number (--x), a line for each other key",
        draw: curve,
    },
    SweepKind { name: "knee", about: "how far a swept number (--x) goes until a point does not do", draw: knee },
    SweepKind { name: "front", about: "throughput a GPU against a latency (--y), with the Pareto front", draw: front },
];

impl SweepKind {
    /// The chart.
    ///
    /// # Errors
    /// The sweep has nothing of the kind.
    pub fn draw(&self, sweep: &Sweep, drawn: &Drawn<'_>) -> Result<Figure, ReportError> {
        let figure = (self.draw)(sweep, drawn).and_then(|figure| {
            if figure.is_empty() { Err("no point has values for it".to_owned()) } else { Ok(figure) }
        });
        let nothing = |why| ReportError::NothingToDraw { kind: self.name.to_owned(), why };
        figure.map(|figure| Figure { kind: self.name.to_owned(), ..figure }).map_err(nothing)
    }
}

fn curve(sweep: &Sweep, drawn: &Drawn<'_>) -> Result<Figure, String> {
    let (axis, metric) = (axis(sweep, drawn.x)?, metric(sweep, drawn.y)?);
    Ok(curve_of(sweep, axis, metric))
}

fn front(sweep: &Sweep, drawn: &Drawn<'_>) -> Result<Figure, String> {
    if drawn.x.is_some() {
        return Err("its axes are a latency, by --y, and throughput: it takes no --x".to_owned());
    }
    let metric = metric(sweep, drawn.y)?;
    cloud(sweep, (metric, metric)).ok_or_else(|| "it takes two points that have values for it".to_owned())
}

/// A bar each choice of the other keys.
fn knee(sweep: &Sweep, drawn: &Drawn<'_>) -> Result<Figure, String> {
    if drawn.y.is_some() {
        return Err("it is about what does, not about a metric: it takes no --y".to_owned());
    }
    let axis = axis(sweep, drawn.x)?;
    let setting = &sweep.settings[axis];
    let found: Vec<_> = knees(sweep).into_iter().filter(|knee| knee.setting == setting.name).collect();
    if found.is_empty() {
        return Err(format!("nothing goes wrong as {} grows: there is no knee", setting.name));
    }
    let count = found.len();
    let drawn = &found[..count.min(MOST_BARS)];
    let mut note =
        "The last value up to which all points keep up and to their SLO: no bar where the first does not, and no line where all do."
            .to_owned();
    if count > MOST_BARS {
        note += &format!(" The first {MOST_BARS} of {count}.");
    }
    let name = |others: &String| if others.is_empty() { "all".to_owned() } else { others.clone() };
    Ok(Figure {
        kind: String::new(),
        title: format!("How far {} goes", setting.name),
        note,
        x: Axis::new(&setting.key, Scale::Linear),
        y: Axis::new("", Scale::Names),
        body: Body::Stacks {
            bars: drawn.iter().map(|knee| name(&knee.others)).collect(),
            parts: vec![(setting.name.clone(), drawn.iter().map(|knee| rounded(knee.good.unwrap_or(0.0))).collect())],
        },
        limits: Vec::new(),
    })
}

/// The place of a swept number.
fn axis(sweep: &Sweep, name: Option<&str>) -> Result<usize, String> {
    let axes = sweep.axes();
    let names: Vec<&str> = axes.iter().map(|&axis| sweep.settings[axis].name.as_str()).collect();
    let Some(name) = name else {
        return axes.first().copied().ok_or_else(|| "no number was swept over several values".to_owned());
    };
    let found = axes.iter().find(|&&axis| sweep.settings[axis].name == name || sweep.settings[axis].key == name);
    found.copied().ok_or_else(|| {
        let near = did_you_mean(name, names.iter().copied());
        let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        format!("{name:?} is no number that was swept over several values{near}; there are: {there}")
    })
}

/// The name of a metric that is there.
fn metric<'a>(sweep: &'a Sweep, name: Option<&'a str>) -> Result<&'a str, String> {
    let name = name.unwrap_or(USUAL_METRIC);
    if !sweep.metrics.iter().any(|metric| metric == name) {
        let near = did_you_mean(name, sweep.metrics.iter().map(String::as_str));
        return Err(format!("no point has a metric {name:?} that is a number{near}"));
    }
    if sweep.has(name) { Ok(name) } else { Err(format!("no point has {name}")) }
}
