//! What `plan --format json` printed, as a page sees it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::ReportError;
use super::figure::{Axis, Body, Figure, Line, Scale, Stroke, rounded};
use super::folder::json_of;

/// Models, and loads of each, that have charts.
const MOST_CHARTS: usize = 4;
/// Bars of one.
const MOST_BARS: usize = 40;
/// Where `--max-rate` tells its knees.
const RATES: &str = "max_rates";
/// Lines of a chart.
const MOST_LINES: usize = 9;
/// A range of loads of more than this factor is drawn by its logarithm.
const WIDE: f64 = 20.0;

/// A plan.
pub struct Plan {
    /// The file.
    pub path: PathBuf,
    /// What is in it.
    pub told: Value,
}

impl Plan {
    /// Reads a file.
    ///
    /// # Errors
    /// It is no JSON, or no plan.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let missing = || ReportError::NotARun { path: path.to_owned(), why: "it is not there".to_owned() };
        let told = json_of(path)?.ok_or_else(missing)?;
        let is_plan = told["answers"].is_array() && told["candidates"].is_array();
        if !is_plan && !told[RATES].is_array() {
            let why =
                "it is a file, but no plan; give the folder of a run or a sweep, or what `plan --format json` printed";
            return Err(ReportError::NotARun { path: path.to_owned(), why: why.to_owned() });
        }
        Ok(Self { path: path.to_owned(), told })
    }

    /// Whether it asks for the highest rates, not for the least deployments.
    #[must_use]
    pub fn is_of_rates(&self) -> bool {
        self.told[RATES].is_array()
    }

    /// The knee of each deployment, where that was asked for.
    pub fn max_rates(&self) -> impl Iterator<Item = &Value> {
        self.told[RATES].as_array().into_iter().flatten()
    }

    /// The rates that deployments bear, and what that is for each GPU.
    #[must_use]
    pub fn rates(&self) -> Vec<Figure> {
        let met: Vec<&Value> = self.max_rates().filter(|knee| knee["slo_met"] == true).take(MOST_BARS).collect();
        let name = |knee: &&Value| {
            let word = |key: &str| knee[key].as_str().unwrap_or_default();
            let settings = knee["settings"].as_array().into_iter().flatten().filter_map(|pair| pair[1].as_str());
            let ranks = format!("TP {}, PP {}", knee["tensor_parallel"], knee["pipeline_parallel"]);
            let chosen: Vec<&str> = std::iter::once(ranks.as_str()).chain(settings).collect();
            format!("{} × {} on {}, {}", knee["replicas"], word("model"), word("device"), chosen.join(", "))
        };
        let bars = |kind: &str, title: &str, of: fn(&Value) -> Option<f64>| Figure {
            kind: kind.to_owned(),
            title: title.to_owned(),
            note: "The highest rate that meets the targets; deployments that meet them at no rate are left out."
                .to_owned(),
            x: Axis::new("requests/s", Scale::Linear),
            y: Axis::new("", Scale::Names),
            body: Body::Stacks {
                bars: met.iter().map(name).collect(),
                parts: vec![(title.to_owned(), met.iter().map(|knee| rounded(of(knee).unwrap_or(0.0))).collect())],
            },
            limits: Vec::new(),
        };
        let rate = |knee: &Value| knee["requests_per_s"].as_f64();
        let figures = [
            bars("rate", "Requests a second", rate),
            bars("rate-per-gpu", "Requests a second and GPU", |knee| {
                Some(knee["requests_per_s"].as_f64()? / knee["gpus"].as_f64().filter(|&gpus| gpus > 0.0)?)
            }),
        ];
        figures.into_iter().filter(|figure| !figure.is_empty()).collect()
    }

    /// The best deployments.
    pub fn answers(&self) -> impl Iterator<Item = &Value> {
        self.told["answers"].as_array().into_iter().flatten()
    }

    /// All that was looked at.
    pub fn candidates(&self) -> impl Iterator<Item = &Value> {
        self.told["candidates"].as_array().into_iter().flatten()
    }

    /// What deployments of each model take by device, over the load.
    #[must_use]
    pub fn curves(&self) -> Vec<Figure> {
        let measures = [
            ("gpus", "GPUs", "fewest GPUs that meet the targets"),
            ("usd_per_million_output_tokens", "USD", "USD a million output tokens"),
            ("output_tokens_per_s_per_gpu", "tokens/s", "output tokens/s a GPU"),
        ];
        let models = self.distinct("model");
        let models = models.iter().take(MOST_CHARTS);
        let figures = models.flat_map(|model| measures.iter().map(move |measure| self.curve(model, *measure)));
        figures.filter(|figure| !figure.is_empty()).collect()
    }

    fn curve(&self, model: &str, (key, unit, title): (&str, &str, &str)) -> Figure {
        let mut lines: BTreeMap<&str, Vec<(f64, Option<f64>)>> = BTreeMap::new();
        for answer in self.answers().filter(|answer| answer["model"] == model) {
            let (Some(device), Some(rate)) = (answer["device"].as_str(), answer["rate_scale"].as_f64()) else {
                continue;
            };
            let value = answer[key].as_f64().filter(|_| answer["slo_met"] == true);
            lines.entry(device).or_default().push((rate, value.map(rounded)));
        }
        let rates = || lines.values().flatten().map(|point| point.0);
        let (least, most) = (rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max));
        let scale = if least > 0.0 && most >= WIDE * least { Scale::Log } else { Scale::Linear };
        Figure {
            kind: format!("{key}-{}", self.distinct("model").iter().position(|known| known == model).unwrap_or(0)),
            title: format!("{model}: {title}"),
            note: "A line each device; a gap where nothing within the limit meets the targets.".to_owned(),
            x: Axis::new("times the rate of the load", scale),
            y: Axis::new(unit, Scale::Linear),
            body: Body::Lines(
                lines.into_iter().map(|(name, points)| line(name, points, Stroke::PointsAndLine)).collect(),
            ),
            limits: Vec::new(),
        }
    }

    /// Throughput a GPU against the first target, of all candidates that meet the targets.
    #[must_use]
    pub fn fronts(&self) -> Vec<Figure> {
        let mut cases: BTreeMap<(String, u64), Vec<&Value>> = BTreeMap::new();
        for candidate in self.candidates().filter(|candidate| candidate["status"] == "meets") {
            let model = candidate["model"].as_str().unwrap_or_default().to_owned();
            // Positive numbers are in the order of their bits.
            let rate = candidate["rate_scale"].as_f64().unwrap_or(0.0).to_bits();
            cases.entry((model, rate)).or_default().push(candidate);
        }
        let cases = cases.into_iter().filter(|(_, candidates)| candidates.len() > 1).take(MOST_CHARTS);
        cases
            .enumerate()
            .map(|(at, ((model, rate), candidates))| front(at, &model, f64::from_bits(rate), &candidates))
            .collect()
    }

    fn distinct(&self, key: &str) -> Vec<String> {
        let mut all: Vec<String> =
            self.answers().filter_map(|answer| answer[key].as_str()).map(str::to_owned).collect();
        all.sort();
        all.dedup();
        all
    }
}

fn line(name: &str, points: Vec<(f64, Option<f64>)>, stroke: Stroke) -> Line {
    Line { name: name.to_owned(), points, stroke }
}

fn front(at: usize, model: &str, rate: f64, candidates: &[&Value]) -> Figure {
    let place = |candidate: &Value| {
        let target = candidate["targets"][0]["value"].as_f64()?;
        Some((rounded(target), Some(rounded(candidate["output_tokens_per_s_per_gpu"].as_f64()?))))
    };
    let mut devices: BTreeMap<&str, Vec<(f64, Option<f64>)>> = BTreeMap::new();
    for candidate in candidates {
        let device = candidate["device"].as_str().unwrap_or_default();
        devices.entry(device).or_default().extend(place(candidate));
    }
    let mut best: Vec<_> =
        candidates.iter().filter(|candidate| candidate["pareto"] == true).filter_map(|one| place(one)).collect();
    best.sort_by(|a, b| a.0.total_cmp(&b.0));
    let target = candidates[0]["targets"][0]["name"].as_str().unwrap_or("target");
    let lines = devices.into_iter().take(MOST_LINES - 1).map(|(name, points)| line(name, points, Stroke::Points));
    let lines = lines.chain([line("Pareto front", best, Stroke::Rings)]).collect();
    Figure {
        kind: format!("front-{at}"),
        title: format!("{model} at {rate} times the rate"),
        note: "A point each deployment that meets the targets, with the fewest replicas that do. The front is over cost, throughput a \
               GPU and all targets, so it is no line here."
            .to_owned(),
        x: Axis::new(target, Scale::Linear),
        y: Axis::new("output tokens/s a GPU", Scale::Linear),
        body: Body::Lines(lines),
        limits: Vec::new(),
    }
}
