//! Charts of what engines, GPUs, links and profiles did over time.

use crate::report::figure::{Axis, Body, Figure, Line, Scale, Stroke, rounded, seconds};
use crate::report::run::Run;
use crate::report::series::{LINES_OF_A_KIND, Quantity};

/// A chart of a quantity, by what it belongs to.
fn course(run: &Run, quantity: Quantity, title: &str, unit: &str, scale: Scale) -> Option<Figure> {
    let series = run.series.as_ref()?;
    let (of_summary, whose) = match quantity {
        Quantity::Mfu | Quantity::Mbu | Quantity::GpuBusy => ("gpus", "GPU"),
        Quantity::LinkBusy => ("links", "link"),
        _ => ("engines", "engine"),
    };
    let count = run.folder.count(of_summary);
    let mut note = format!("Means over {}", seconds(series.slice_s));
    note += &match (count > LINES_OF_A_KIND, quantity) {
        (true, Quantity::LinkBusy) => format!("; the {LINES_OF_A_KIND} busiest of {count} links."),
        (true, _) => format!("; least, mean and most of {count} {whose}s, by the intervals of the file."),
        (false, _) => format!(", a line each {whose}."),
    };
    let lines = series.of(quantity).iter().map(|course| Line {
        name: course.name.clone(),
        points: points(series.slice_s, course.values.iter().copied()),
        stroke: Stroke::Straight,
    });
    Some(Figure {
        kind: String::new(),
        title: title.to_owned(),
        note,
        x: Axis::new("s", Scale::Linear),
        y: Axis::new(unit, scale),
        body: Body::Lines(lines.collect()),
        limits: Vec::new(),
    })
}

/// In the middle of each part of the time.
fn points(slice_s: f64, values: impl Iterator<Item = Option<f64>>) -> Vec<(f64, Option<f64>)> {
    values.enumerate().map(|(at, value)| (rounded((at as f64 + 0.5) * slice_s), value.map(rounded))).collect()
}

pub(super) fn waiting(run: &Run) -> Option<Figure> {
    course(run, Quantity::Waiting, "Queue", "requests waiting", Scale::Linear)
}

pub(super) fn running(run: &Run) -> Option<Figure> {
    course(run, Quantity::Running, "Batch", "sequences running", Scale::Linear)
}

pub(super) fn kv_use(run: &Run) -> Option<Figure> {
    course(run, Quantity::KvUse, "KV cache", "share of blocks held", Scale::Share)
}

pub(super) fn output_rate(run: &Run) -> Option<Figure> {
    course(run, Quantity::OutputRate, "Output", "tokens/s", Scale::Linear)
}

pub(super) fn prefill_rate(run: &Run) -> Option<Figure> {
    course(run, Quantity::PrefillRate, "Prefill", "prompt tokens/s", Scale::Linear)
}

pub(super) fn mfu(run: &Run) -> Option<Figure> {
    course(run, Quantity::Mfu, "MFU", "share of peak FLOP/s", Scale::Share)
}

pub(super) fn mbu(run: &Run) -> Option<Figure> {
    course(run, Quantity::Mbu, "MBU", "share of peak bandwidth", Scale::Share)
}

pub(super) fn links(run: &Run) -> Option<Figure> {
    course(run, Quantity::LinkBusy, "Links", "share of the time", Scale::Share)
}

pub(super) fn attainment(run: &Run) -> Option<Figure> {
    let series = run.series.as_ref()?;
    let share = |&(met, missed): &(f64, f64)| (met + missed > 0.0).then(|| met / (met + missed));
    let all = series.attainment.iter().map(|profile| profile.kept.clone()).reduce(|sum, more| {
        let both = sum.iter().zip(&more);
        both.map(|(sum, more)| (sum.0 + more.0, sum.1 + more.1)).collect()
    })?;
    let line = |name: &str, kept: &[(f64, f64)]| Line {
        name: name.to_owned(),
        points: points(series.slice_s, kept.iter().map(share)),
        // A part with neighbours in which nothing ended has no line.
        stroke: Stroke::PointsAndLine,
    };
    let mut lines = vec![line("all", &all)];
    if (2..LINES_OF_A_KIND).contains(&series.attainment.len()) {
        lines.extend(series.attainment.iter().map(|profile| line(&profile.profile, &profile.kept)));
    }
    Some(Figure {
        kind: String::new(),
        title: "SLO attainment".to_owned(),
        note: format!("Of the requests that ended in each part of {}, warm-up included.", seconds(series.slice_s)),
        x: Axis::new("s", Scale::Linear),
        y: Axis::new("share within the SLO", Scale::Share),
        body: Body::Lines(lines),
        limits: Vec::new(),
    })
}
