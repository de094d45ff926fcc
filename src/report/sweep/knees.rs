//! How far a swept key goes until the deployment no longer keeps up.

use std::collections::BTreeMap;

use super::{Point, Sweep};

/// Of an SLO, this share must keep to it.
const KEPT: f64 = 0.99;

/// Of one swept key, with all others as they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Knee {
    /// The key's column.
    pub setting: String,
    /// The others, in words.
    pub others: String,
    /// The last value that all goes well up to; none if it does not at the first.
    pub good: Option<f64>,
    /// The first at which it does not.
    pub bad: f64,
    /// What is wrong there.
    pub why: String,
    /// A value beyond it that goes well again, if there is one.
    pub good_again: Option<f64>,
}

/// All of them, key by key.
#[must_use]
pub fn knees(sweep: &Sweep) -> Vec<Knee> {
    let of_axis = |axis: usize| {
        let mut lines: BTreeMap<String, Vec<(f64, &Point)>> = BTreeMap::new();
        for point in &sweep.points {
            let Some(value) = point.numbers[axis] else { continue };
            lines.entry(sweep.others(point, axis)).or_default().push((value, point));
        }
        lines.into_iter().filter_map(move |(others, points)| knee(sweep, axis, others, points))
    };
    sweep.axes().into_iter().flat_map(of_axis).collect()
}

/// Of several seeds all must go well.
fn knee(sweep: &Sweep, axis: usize, others: String, mut points: Vec<(f64, &Point)>) -> Option<Knee> {
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut values: Vec<(f64, Option<String>)> = Vec::new();
    for (value, point) in points {
        let wrong = wrong(sweep, point);
        match values.last_mut().filter(|(last, _)| *last == value) {
            Some((_, told)) => *told = told.take().or(wrong),
            None => values.push((value, wrong)),
        }
    }
    let first = values.iter().position(|(_, wrong)| wrong.is_some())?;
    let good_again = values[first..].iter().find(|(_, wrong)| wrong.is_none()).map(|(value, _)| *value);
    // A key with which things get better has no knee of this kind.
    if first == 0 && good_again.is_some() {
        return None;
    }
    let (bad, why) = values[first].clone();
    Some(Knee {
        setting: sweep.settings[axis].name.clone(),
        others,
        good: first.checked_sub(1).map(|last| values[last].0),
        bad,
        why: why.unwrap_or_default(),
        good_again,
    })
}

/// Why a point does not do, if it does not.
fn wrong(sweep: &Sweep, point: &Point) -> Option<String> {
    if point.status != "ok" {
        return Some(point.error.clone().unwrap_or_else(|| point.status.clone()));
    }
    if point.keeps_up == Some(false) {
        let limit = point.limited_by.as_deref().unwrap_or_default().replace('_', " ");
        return Some(format!("does not keep up, limited by {limit}"));
    }
    let kept = sweep.metric(point, "slo_attainment").filter(|&kept| kept < KEPT)?;
    Some(format!("{:.1} % within the SLO", kept * 100.0))
}
