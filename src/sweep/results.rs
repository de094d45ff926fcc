//! The tables of a sweep: a row a point, and intervals over seeds.

use std::collections::{BTreeSet, HashMap};

use super::columns::{Cells, Column, Table, setting_columns};
use super::figure::Figure;
use super::grid::{Grid, SEED};
use super::journal::Record;
use super::metrics::{Metric, metrics_named};
use crate::statistics::Moments;

/// A mean, and where the mean over all seeds is with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Of how many runs.
    pub runs: usize,
    /// Their mean.
    pub mean: f64,
    /// Half the width of the interval; `None` of fewer than two runs.
    pub half_width: Option<f64>,
}

impl Interval {
    /// Of values, by Student's t; `None` without any.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let moments = Moments::of(values)?;
        Some(Self { runs: moments.count, mean: moments.mean, half_width: moments.reach_of_mean() })
    }
}

/// A row a point.
#[must_use]
pub fn results(grid: &Grid, records: &[&Record]) -> Table {
    let points: Vec<usize> = records.iter().map(|record| record.point).collect();
    let point = points.iter().map(|&point| Some(point as i64)).collect();
    let mut columns = vec![Column::new("point", "point", "", Cells::Integers(point))];
    columns.extend(setting_columns(grid, &points));
    let status = records.iter().map(|record| Some(record.status.word().to_owned())).collect();
    columns.push(Column::new("status", "point", "", Cells::Texts(status)));
    let errors = records.iter().map(|record| record.error.clone()).collect();
    columns.push(Column::new("error", "point", "", Cells::Texts(errors)));
    columns.extend(metric_columns(records).into_iter().map(|(metric, figures)| {
        let column = Column::new(&metric.name, "metric", metric.unit, Cells::of(figures));
        column.noting("summary", metric.source())
    }));
    Table { columns }
}

/// Each metric that a record has, with its figures.
fn metric_columns(records: &[&Record]) -> Vec<(Metric, Vec<Option<Figure>>)> {
    let names: BTreeSet<&str> =
        records.iter().flat_map(|record| record.metrics.iter().map(|(name, _)| name.as_str())).collect();
    let maps: Vec<HashMap<&str, &Figure>> = records
        .iter()
        .map(|record| record.metrics.iter().map(|(name, figure)| (name.as_str(), figure)).collect())
        .collect();
    let figures = |name: &str| maps.iter().map(|map| map.get(name).map(|&figure| figure.clone())).collect();
    let metrics = metrics_named(&names).into_iter();
    metrics
        .map(|metric| {
            let figures = figures(&metric.name);
            (metric, figures)
        })
        .collect()
}

/// Over seeds: a row a setting and metric. `None` where there is one seed.
#[must_use]
pub fn intervals(grid: &Grid, records: &[&Record]) -> Option<Table> {
    let metrics = metric_columns(records);
    let groups = settings(grid, records);
    let mut rows = Vec::new();
    for group in groups.iter().filter(|_| grid.seeds() > 1) {
        for (metric, figures) in &metrics {
            let values: Vec<f64> = figures[group.clone()].iter().flatten().filter_map(Figure::as_f64).collect();
            rows.extend(Interval::of(&values).map(|interval| (records[group.start].point, metric, interval)));
        }
    }
    if grid.seeds() < 2 {
        return None;
    }
    let points: Vec<usize> = rows.iter().map(|(point, ..)| *point).collect();
    let mut columns = setting_columns(grid, &points);
    columns.retain(|column| !column.notes.contains(&("key", SEED.to_owned())));
    let bound = |sign: f64| {
        let bounds = rows.iter().map(|(.., interval)| interval.half_width.map(|half| interval.mean + sign * half));
        Cells::Floats(bounds.collect())
    };
    let text =
        |of: fn(&Metric) -> &str| Cells::Texts(rows.iter().map(|(_, metric, _)| Some(of(metric).to_owned())).collect());
    let runs = rows.iter().map(|(.., interval)| Some(interval.runs as i64)).collect();
    let means = rows.iter().map(|(.., interval)| Some(interval.mean)).collect();
    columns.extend([
        Column::new("metric", "metric", "", text(|metric| &metric.name)),
        Column::new("unit", "metric", "", text(|metric| metric.unit)),
        Column::new("seeds", "metric", "", Cells::Integers(runs)),
        Column::new("mean", "metric", "", Cells::Floats(means)),
        Column::new("ci95_low", "metric", "", bound(-1.0)),
        Column::new("ci95_high", "metric", "", bound(1.0)),
    ]);
    Some(Table { columns })
}

/// Where the records of each setting are: those that differ in the seed alone, next to each other.
pub(super) fn settings(grid: &Grid, records: &[&Record]) -> Vec<std::ops::Range<usize>> {
    let setting = |record: &&Record| record.point / grid.seeds();
    let groups = records.chunk_by(|one, other| setting(one) == setting(other));
    let ends = groups.scan(0, |end, group| {
        *end += group.len();
        Some(*end - group.len()..*end)
    });
    ends.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_students() {
        // Means, standard errors and quantiles of t by hand: 12.706, 4.303, 2.776.
        for (values, half_width) in [
            (&[1.0, 3.0][..], 12.706_204_736),
            (&[1.0, 2.0, 3.0], 4.302_652_730 / 3.0_f64.sqrt()),
            (&[1.0, 2.0, 3.0, 4.0, 5.0], 2.776_445_105 * 0.5_f64.sqrt()),
        ] {
            let interval = Interval::of(values).expect("there are values");
            let found = interval.half_width.expect("of two and more");
            assert!((found - half_width).abs() < 1e-6, "{values:?}: {found}");
        }
        assert_eq!(Interval::of(&[2.0]), Some(Interval { runs: 1, mean: 2.0, half_width: None }));
        assert_eq!(Interval::of(&[]), None);
        assert_eq!(Interval::of(&[2.0; 3]).and_then(|interval| interval.half_width), Some(0.0));
    }
}
