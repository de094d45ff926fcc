//! Runs side by side: by how much their figures differ, whether by more than their seeds make them, and where the time went that
//! makes the difference.
//!
//! A **side** is a configuration, with a run for each seed: runs that differ in nothing but their seed are of one side. Every side is
//! held against the first. What makes two sides hard to compare (another load, a run that was stopped early) is said, and they
//! are compared all the same.

mod breakdown;
mod findings;
mod metrics;
mod run;
mod significance;
mod simulated;

use serde_json::Value;

use crate::statistics::Moments;
use crate::tables::flat;
pub use breakdown::{Part, RequestTimes, read as read_times};
pub use metrics::{METRICS, Metric};
pub use run::{Breakdown, Run};
pub use significance::{CONFIDENCE, Difference, Test};
pub use simulated::{NoRun, Point};

/// Keys that may differ between the runs of a side.
const OF_A_RUN: [&str; 4] =
    ["simulation.random_seed", "workload.random_seed", "metrics_config.output_directory", "simulation.name"];

/// A configuration and its runs.
#[derive(Clone, Debug)]
pub struct Side {
    /// What it is called in the tables: A, B, ...
    pub letter: String,
    /// Its name.
    pub name: String,
    /// Its runs, by seed.
    pub runs: Vec<Run>,
}

/// A figure of two sides.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Means over the seeds.
    pub means: [f64; 2],
    /// Sample deviations over the seeds; none of one.
    pub deviations: [Option<f64>; 2],
    /// Whether they differ; none without a test.
    pub difference: Option<Difference>,
}

/// A key whose value is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Its path.
    pub key: String,
    /// What it is on the two sides; empty where it is not given.
    pub values: [String; 2],
}

/// A side against the first.
#[derive(Clone, Debug)]
pub struct Pair {
    /// Place of the other among the sides.
    pub other: usize,
    /// What their configurations differ in.
    pub changed: Vec<Changed>,
    /// How the differences were tested; none where a side has a single seed.
    pub test: Option<Test>,
    /// In the order of [`METRICS`], those that both have.
    pub figures: Vec<(Metric, Compared)>,
    /// Milliseconds of each part, in the order of [`Part::ALL`].
    pub parts: Vec<Compared>,
}

/// All sides, compared.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The sides.
    pub sides: Vec<Side>,
    /// Each but the first against the first.
    pub pairs: Vec<Pair>,
    /// What makes them hard to compare.
    pub warnings: Vec<String>,
}

impl Comparison {
    /// Compares runs, grouped to sides in the order in which their configurations, and versions of the program, are met.
    ///
    /// # Errors
    /// Why nothing can be compared: a run that is there twice, or no second side.
    pub fn of(runs: Vec<Run>) -> Result<Self, String> {
        let mut sides: Vec<Side> = Vec::new();
        for run in runs {
            let is_its = |side: &Run| side.version == run.version && is_of_one_side(&side.config, &run.config);
            match sides.iter_mut().find(|side| is_its(&side.runs[0])) {
                Some(side) => side.add(run)?,
                None => {
                    let letter = letter(sides.len());
                    sides.push(Side { letter, name: run.name.clone(), runs: vec![run] });
                }
            }
        }
        if sides.is_empty() {
            return Err("there is nothing to compare: none of the runs can be used".to_owned());
        }
        if let [side] = &sides[..] {
            let runs = side.runs.len();
            return Err(format!(
                "there is nothing to compare with: {} in {runs} seed{}; name a run or a configuration that differs in more than its seed",
                if runs == 1 { "one configuration".to_owned() } else { "these are one configuration".to_owned() },
                if runs == 1 { "" } else { "s" },
            ));
        }
        name_apart(&mut sides);
        let warnings = sides[1..].iter().flat_map(|side| cautions(&sides[0], side));
        let warnings = sides.iter().flat_map(Side::cautions).chain(warnings).collect();
        let pairs = (1..sides.len()).map(|other| Pair::of(&sides[0], &sides[other], other)).collect();
        Ok(Self { sides, pairs, warnings })
    }
}

impl Side {
    fn add(&mut self, run: Run) -> Result<(), String> {
        if let Some(same) = self.runs.iter().find(|known| known.seed == run.seed) {
            let Run { place, seed, .. } = &run;
            return Err(format!("{} and {place} are the same run: one configuration, seed {seed}", same.place));
        }
        self.runs.push(run);
        self.runs.sort_by_key(|run| run.seed);
        Ok(())
    }

    fn seeds(&self) -> Vec<u64> {
        self.runs.iter().map(|run| run.seed).collect()
    }

    fn cautions(&self) -> Vec<String> {
        let partial = self.runs.iter().filter(|run| run.partial);
        partial
            .map(|run| format!("{} was stopped early: its figures are those of a part of its load", run.place))
            .collect()
    }
}

impl Pair {
    fn of(first: &Side, second: &Side, other: usize) -> Self {
        let test = Test::of(&first.seeds(), &second.seeds());
        let compared = |of: &dyn Fn(&Run) -> Option<f64>| {
            let [a, b] = [first, second].map(|side| side.runs.iter().map(of).collect::<Option<Vec<f64>>>());
            Some(Compared::of(&a?, &b?, test))
        };
        let figures = METRICS.iter().filter_map(|metric| Some((*metric, compared(&|run| run.figure(metric))?)));
        let parts = Part::ALL.iter().filter_map(|&part| compared(&|run| Some(run.breakdown.mean_ms(part))));
        Self {
            other,
            changed: changed(&first.runs[0].config, &second.runs[0].config),
            test,
            figures: figures.collect(),
            parts: parts.collect(),
        }
    }

    /// Sums of parts: what they make up together.
    #[must_use]
    pub fn whole(&self, parts: &[Part]) -> [f64; 2] {
        [0, 1].map(|side| parts.iter().map(|&part| self.parts[part as usize].means[side]).sum())
    }
}

impl Compared {
    fn of(first: &[f64], second: &[f64], test: Option<Test>) -> Self {
        let moments = [first, second].map(Moments::of);
        Self {
            means: moments.map(|of| of.map_or(f64::NAN, |of| of.mean)),
            deviations: moments.map(|of| of.filter(|of| of.count > 1).map(|of| of.variance.sqrt())),
            difference: test.and_then(|test| test.difference(first, second)),
        }
    }

    /// By how much the second is more.
    #[must_use]
    pub fn by(&self) -> f64 {
        self.means[1] - self.means[0]
    }
}

/// A, B, ... Z, A2, ...
fn letter(place: usize) -> String {
    let letter = char::from(b'A' + (place % 26) as u8);
    if place < 26 { letter.to_string() } else { format!("{letter}{}", place / 26 + 1) }
}

fn is_of_one_side(first: &Value, second: &Value) -> bool {
    changed(first, second).is_empty()
}

/// Sides of one name are told apart by the places of their first runs.
fn name_apart(sides: &mut [Side]) {
    let names: Vec<String> = sides.iter().map(|side| side.name.clone()).collect();
    for side in sides {
        if names.iter().filter(|name| **name == side.name).count() > 1 {
            side.name = format!("{} in {}", side.name, side.runs[0].place);
        }
    }
}

/// The keys in which two configurations differ, those of a single run apart.
fn changed(first: &Value, second: &Value) -> Vec<Changed> {
    let values = |config: &Value| {
        let rows = flat(config).rows.into_iter();
        let pairs = rows.map(|row| (row[0].exact.clone(), row[1].exact.clone()));
        pairs.filter(|(key, value)| !OF_A_RUN.contains(&key.as_str()) && !value.is_empty()).collect::<Vec<_>>()
    };
    let (first, second) = (values(first), values(second));
    let of = |all: &[(String, String)], key: &str| {
        let place = all.binary_search_by(|(known, _)| known.as_str().cmp(key));
        place.map_or(String::new(), |place| all[place].1.clone())
    };
    let (mut first, mut second) = (first, second);
    first.sort();
    second.sort();
    let mut keys: Vec<&String> = first.iter().chain(&second).map(|(key, _)| key).collect();
    keys.sort();
    keys.dedup();
    let all = keys.into_iter().map(|key| Changed { key: key.clone(), values: [of(&first, key), of(&second, key)] });
    all.filter(|changed| changed.values[0] != changed.values[1]).collect()
}

/// What makes two sides hard to compare.
fn cautions(first: &Side, second: &Side) -> Vec<String> {
    let [a, b] = [first, second].map(|side| &side.runs[0]);
    let names = format!("{} and {}", first.letter, second.letter);
    let mut told = Vec::new();
    let changed = changed(&a.config, &b.config);
    let of = |prefix: &str| {
        let keys = changed.iter().filter(|changed| changed.key.starts_with(prefix));
        keys.map(|changed| changed.key.as_str()).collect::<Vec<_>>().join(", ")
    };
    let load = of("workload.");
    let is_no_load = |key: &str| key.is_empty() || key.ends_with("_balancing_strategy") || key.contains("slo.");
    if load.split(", ").any(|key| !is_no_load(key)) {
        told.push(format!(
            "{names} do not serve the same load ({load}): differences are of load and deployment together"
        ));
    }
    for (prefix, what) in [
        ("metrics_config.warm_up_duration_s", "count other requests"),
        ("simulation.max_simulation_time", "end at other times"),
        ("simulation.drain", "end at other times"),
    ] {
        let keys = of(prefix);
        if !keys.is_empty() {
            told.push(format!("{names} {what} ({keys})"));
        }
    }
    if load.split(", ").any(|key| key.contains("slo.")) {
        told.push(format!("{names} are held to other SLOs: goodput and attainment do not compare"));
    }
    if a.version != b.version {
        let versions = format!("{} and {}", a.version, b.version);
        told.push(format!(
            "{names} are of other versions of the program ({versions}): differences may be the program's"
        ));
    }
    let pairs = first.runs.iter().filter_map(|run| Some((run, second.runs.iter().find(|b| b.seed == run.seed)?)));
    for (a, b) in pairs {
        let [here, there] = [a, b].map(|run| (run.arrived, run.breakdown.prompt_tokens));
        if load.is_empty() && here != there {
            told.push(format!(
                "{} and {} were asked for the same load and had another: {} requests of {} prompt tokens, and {} of {}; so it is where \
                 answers bring about requests (a closed loop, sessions), where one ends earlier, or where a trace has changed",
                a.place, b.place, here.0, here.1, there.0, there.1
            ));
            break;
        }
    }
    told
}
