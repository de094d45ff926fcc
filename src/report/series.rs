//! What is told over time, gathered in one pass over `timeseries.parquet`: means over parts of the time, of every engine, GPU and
//! link where they are few, else the least, the mean and the most of them.

use std::collections::HashMap;

use super::folder::RunFolder;
use super::rows::{Batch, Numbers, Table};
use super::{ReportError, slices};

/// Parts of the time, at most.
const MOST_SLICES: usize = 300;
/// As many of a kind have a line each.
pub const LINES_OF_A_KIND: usize = 8;

/// A quantity that is told over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quantity {
    /// Sequences in the batch, of an engine.
    Running,
    /// Requests that wait, of an engine.
    Waiting,
    /// Share of the KV blocks held, of an engine.
    KvUse,
    /// Tokens generated a second, of an engine.
    OutputRate,
    /// Tokens of prompts computed a second, of an engine.
    PrefillRate,
    /// FLOPs over the peak's, of a GPU.
    Mfu,
    /// Bytes over the peak's, of a GPU.
    Mbu,
    /// Share of the time with a step running, of a GPU.
    GpuBusy,
    /// Share of the time in which bytes crossed it, of a link.
    LinkBusy,
}

impl Quantity {
    const ALL: [Self; 9] = [
        Self::Running,
        Self::Waiting,
        Self::KvUse,
        Self::OutputRate,
        Self::PrefillRate,
        Self::Mfu,
        Self::Mbu,
        Self::GpuBusy,
        Self::LinkBusy,
    ];

    /// Kind of the rows, column, and whether its value is a sum over the interval.
    fn source(self) -> (&'static str, &'static str, bool) {
        match self {
            Self::Running => ("engine", "running", false),
            Self::Waiting => ("engine", "waiting", false),
            Self::KvUse => ("engine", "kv_use", false),
            Self::OutputRate => ("engine", "output_tokens", true),
            Self::PrefillRate => ("engine", "prefill_tokens", true),
            Self::Mfu => ("gpu", "mfu", false),
            Self::Mbu => ("gpu", "mbu", false),
            Self::GpuBusy => ("gpu", "busy", false),
            Self::LinkBusy => ("link", "busy", false),
        }
    }
}

/// A value over time.
#[derive(Clone, Debug)]
pub struct Course {
    /// Whose.
    pub name: String,
    /// Its mean in each part of the time, where there is one.
    pub values: Vec<Option<f64>>,
}

/// How requests that ended kept to their SLO, over time.
#[derive(Clone, Debug)]
pub struct Attainment {
    /// Which profile.
    pub profile: String,
    /// Within it, and not, in each part of the time.
    pub kept: Vec<(f64, f64)>,
}

/// All that is told over time.
#[derive(Debug)]
pub struct Series {
    /// Length of a part of the time.
    pub slice_s: f64,
    courses: HashMap<Quantity, Vec<Course>>,
    /// By profile with an SLO.
    pub attainment: Vec<Attainment>,
}

impl Series {
    /// Those of a quantity: one each, or `least`, `mean` and `most` of many.
    #[must_use]
    pub fn of(&self, quantity: Quantity) -> &[Course] {
        self.courses.get(&quantity).map_or(&[], Vec::as_slice)
    }

    pub(super) fn gather(folder: &RunFolder, table: &Table) -> Result<Self, ReportError> {
        let end_s = folder.number("/simulation/total_duration_s").unwrap_or(0.0);
        let interval_s = interval(table)?;
        let intervals = (end_s / interval_s).ceil().max(1.0);
        // Whole intervals, so that none is divided.
        let slice_s = interval_s * (intervals / MOST_SLICES as f64).ceil();
        let slices = slices::count((end_s / slice_s).ceil() as u64, MOST_SLICES);
        let link_names = busiest_links(folder);
        let mut gathering = Gathering {
            slice_s,
            slices,
            kinds: ["engine", "gpu", "link"].map(|kind| (kind, Subjects::default())).into_iter().collect(),
            link_names,
            profiles: Subjects::default(),
            kept: Vec::new(),
        };
        for (kind, of_summary) in [("engine", "engines"), ("gpu", "gpus")] {
            if let Some(subjects) = gathering.kinds.get_mut(kind) {
                subjects.together = folder.count(of_summary) > LINES_OF_A_KIND;
            }
        }
        let columns = Quantity::ALL.map(|quantity| quantity.source().1);
        let columns: Vec<&str> =
            ["start_time", "duration", "kind", "name", "slo_met", "slo_missed"].into_iter().chain(columns).collect();
        table.each_batch(&columns, |batch| gathering.add(batch))?;
        Ok(gathering.series())
    }
}

/// Length of the intervals of the file: that of the first row.
fn interval(table: &Table) -> Result<f64, ReportError> {
    let mut first = None;
    table.each_batch(&["duration"], |batch| {
        if first.is_none() && batch.len() > 0 {
            first = batch.numbers("duration")?.get(0);
        }
        Ok(())
    })?;
    Ok(first.filter(|&length| length > 0.0).unwrap_or(1.0))
}

/// Names of the links that are drawn: all if they are few, else the busiest.
fn busiest_links(folder: &RunFolder) -> Vec<String> {
    let links = folder.summary["links"].as_object();
    let mut ranked: Vec<(&String, f64)> =
        links.into_iter().flatten().map(|(name, link)| (name, link["busy"].as_f64().unwrap_or(0.0))).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    ranked.into_iter().take(LINES_OF_A_KIND).map(|(name, _)| name.clone()).collect()
}

/// Engines, GPUs or links.
#[derive(Default)]
struct Subjects {
    /// Too many for a line each.
    together: bool,
    names: Vec<String>,
    places: HashMap<String, usize>,
    /// By quantity and place.
    sums: HashMap<Quantity, Vec<Vec<Slice>>>,
}

/// A part of the time.
#[derive(Clone, Copy)]
struct Slice {
    weighted: f64,
    duration_s: f64,
    least: f64,
    most: f64,
}

impl Slice {
    const EMPTY: Self = Self { weighted: 0.0, duration_s: 0.0, least: f64::INFINITY, most: f64::NEG_INFINITY };

    fn add(&mut self, value: f64, duration_s: f64) {
        self.weighted += value * duration_s;
        self.duration_s += duration_s;
        self.least = self.least.min(value);
        self.most = self.most.max(value);
    }

    fn mean(&self) -> Option<f64> {
        (self.duration_s > 0.0).then(|| self.weighted / self.duration_s)
    }
}

impl Subjects {
    fn place(&mut self, name: &str) -> usize {
        if self.together {
            return 0;
        }
        if let Some(&place) = self.places.get(name) {
            return place;
        }
        self.places.insert(name.to_owned(), self.names.len());
        self.names.push(name.to_owned());
        self.names.len() - 1
    }

    fn courses(&self, quantity: Quantity) -> Vec<Course> {
        let Some(all) = self.sums.get(&quantity) else { return Vec::new() };
        let course = |name: &str, values: &[Slice], of: fn(&Slice) -> Option<f64>| Course {
            name: name.to_owned(),
            values: values.iter().map(of).collect(),
        };
        if self.together {
            let Some(slices) = all.first() else { return Vec::new() };
            return vec![
                course("most", slices, |slice| slice.mean().map(|_| slice.most)),
                course("mean", slices, Slice::mean),
                course("least", slices, |slice| slice.mean().map(|_| slice.least)),
            ];
        }
        self.names.iter().zip(all).map(|(name, slices)| course(name, slices, Slice::mean)).collect()
    }
}

struct Gathering {
    slice_s: f64,
    slices: usize,
    kinds: HashMap<&'static str, Subjects>,
    link_names: Vec<String>,
    profiles: Subjects,
    kept: Vec<Vec<(f64, f64)>>,
}

impl Gathering {
    fn add(&mut self, batch: &Batch<'_>) -> Result<(), ReportError> {
        let (start, duration) = (batch.numbers("start_time")?, batch.numbers("duration")?);
        let (kind, name) = (batch.words("kind")?, batch.words("name")?);
        let (met, missed) = (batch.numbers("slo_met")?, batch.numbers("slo_missed")?);
        let mut columns: Vec<(Quantity, Numbers<'_>)> = Vec::new();
        for quantity in Quantity::ALL {
            columns.push((quantity, batch.numbers(quantity.source().1)?));
        }
        for row in 0..batch.len() {
            let (Some(start_s), Some(duration_s)) = (start.get(row), duration.get(row)) else { continue };
            let (Some(kind), Some(name)) = (kind.get(row), name.get(row)) else { continue };
            // Seconds in binary may lie a hair below the beginning of their part.
            let slice = (((start_s + 1e-9) / self.slice_s) as usize).min(self.slices - 1);
            if kind == "profile" {
                self.keep(name, slice, met.get(row).unwrap_or(0.0), missed.get(row).unwrap_or(0.0));
            }
            let is_drawn = kind != "link" || self.link_names.iter().any(|link| link == name);
            let Some(subjects) = self.kinds.get_mut(kind).filter(|_| is_drawn) else { continue };
            let place = subjects.place(name);
            for (quantity, column) in columns.iter().filter(|(quantity, _)| quantity.source().0 == kind) {
                let Some(value) = column.get(row) else { continue };
                let value = if quantity.source().2 && duration_s > 0.0 { value / duration_s } else { value };
                let of_quantity = subjects.sums.entry(*quantity).or_default();
                if of_quantity.len() <= place {
                    of_quantity.resize(place + 1, vec![Slice::EMPTY; self.slices]);
                }
                of_quantity[place][slice].add(value, duration_s);
            }
        }
        Ok(())
    }

    fn keep(&mut self, profile: &str, slice: usize, met: f64, missed: f64) {
        let place = self.profiles.place(profile);
        if self.kept.len() <= place {
            self.kept.resize(place + 1, vec![(0.0, 0.0); self.slices]);
        }
        let kept = &mut self.kept[place][slice];
        *kept = (kept.0 + met, kept.1 + missed);
    }

    fn series(self) -> Series {
        let courses = Quantity::ALL.map(|quantity| {
            let subjects = self.kinds.get(quantity.source().0);
            (quantity, subjects.map_or_else(Vec::new, |subjects| subjects.courses(quantity)))
        });
        let attainment = self.profiles.names.into_iter().zip(self.kept);
        Series {
            slice_s: self.slice_s,
            courses: courses.into_iter().collect(),
            attainment: attainment.map(|(profile, kept)| Attainment { profile, kept }).collect(),
        }
    }
}
