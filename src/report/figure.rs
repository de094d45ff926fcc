//! A chart as data, before anything draws it: the page hands it to plotly.js, `plot` to plotters.

/// A chart.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Its name: on the command line, and in the page.
    pub kind: String,
    /// What it shows.
    pub title: String,
    /// By which rule its points were made.
    pub note: String,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// What is drawn.
    pub body: Body,
    /// Values to compare with, such as those of an SLO.
    pub limits: Vec<Limit>,
}

/// An axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// Its quantity and unit.
    pub title: String,
    /// How numbers lie on it.
    pub scale: Scale,
}

/// How numbers lie on an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// From 0 to 1, shown in per cent.
    Share,
    /// By their logarithm; what is not above 0 is left out.
    Log,
    /// Names, of [`Body::Stacks`].
    Names,
}

/// What is drawn.
#[derive(Clone, Debug)]
pub enum Body {
    /// Lines over numbers.
    Lines(Vec<Line>),
    /// Bars to the right, of parts.
    Stacks {
        /// Names of the bars, from the top.
        bars: Vec<String>,
        /// Name of each part, and its length in every bar.
        parts: Vec<(String, Vec<f64>)>,
    },
}

/// A line.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its name; empty if it is the only one.
    pub name: String,
    /// Its points; a gap where there is no value.
    pub points: Vec<(f64, Option<f64>)>,
    /// How it is drawn.
    pub stroke: Stroke,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// From point to point.
    Straight,
    /// Level until the next point.
    Steps,
    /// The same, filled down to zero.
    FilledSteps,
    /// Points alone.
    Points,
    /// Rings, around points of other lines.
    Rings,
    /// Points, with a line through them.
    PointsAndLine,
}

/// A value to compare with.
#[derive(Clone, Debug)]
pub struct Limit {
    /// On which axis.
    pub on: Side,
    /// The value.
    pub value: f64,
    /// What it is.
    pub label: String,
}

/// An axis of a chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// To the right.
    X,
    /// Upwards.
    Y,
}

impl Axis {
    pub(super) fn new(title: impl Into<String>, scale: Scale) -> Self {
        Self { title: title.into(), scale }
    }
}

impl Figure {
    /// Whether there is anything to see.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match &self.body {
            Body::Lines(lines) => !lines.iter().any(|line| line.points.iter().any(|(_, value)| value.is_some())),
            Body::Stacks { bars, .. } => bars.is_empty(),
        }
    }

    /// From where to where the lines go along an axis: from 0 where it is even.
    pub(super) fn extent(&self, side: Side) -> (f64, f64) {
        let Body::Lines(lines) = &self.body else { return (0.0, 0.0) };
        let points = lines.iter().flat_map(|line| line.points.iter());
        let (scale, values): (Scale, Vec<f64>) = match side {
            Side::X => (self.x.scale, points.filter(|point| point.1.is_some()).map(|point| point.0).collect()),
            Side::Y => (self.y.scale, points.filter_map(|point| point.1).collect()),
        };
        let shown = values.into_iter().filter(|&value| scale != Scale::Log || value > 0.0);
        let (least, most) =
            shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| (least.min(value), most.max(value)));
        if scale == Scale::Log { (least, most) } else { (least.min(0.0), most) }
    }
}

/// A span of time in a sentence.
pub(super) fn seconds(span_s: f64) -> String {
    let places = if span_s >= 100.0 {
        0
    } else if span_s >= 1.0 {
        2
    } else {
        4
    };
    let text = format!("{span_s:.places$}");
    let short = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{short} s")
}

/// A number with so many digits as a chart can show.
pub(super) fn rounded(value: f64) -> f64 {
    const DIGITS: i32 = 6;
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let places = DIGITS - 1 - value.abs().log10().floor() as i32;
    if !(0..=300).contains(&places) {
        return value.round();
    }
    let scale = 10_f64.powi(places);
    (value * scale).round() / scale
}
