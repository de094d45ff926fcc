//! What deployments of a plan are called: model, device, load, and of what else was chosen what they differ in.

use std::fmt::Write;

/// Settings of a deployment: keys and values.
type Settings = [(String, String)];

/// Keys whose values say themselves what they are.
const TOLD_BY_VALUE: &str = "workload.load_balancing_strategy";

/// How the settings of a plan's deployments are told.
pub struct Names {
    /// The keys that they differ in, and what these are called.
    varied: Vec<(String, String)>,
}

impl Names {
    /// Of these deployments.
    pub fn of<'a>(deployments: impl Iterator<Item = &'a [(String, String)]>) -> Self {
        let mut values: Vec<(&str, &str, bool)> = Vec::new();
        for (key, value) in deployments.flatten() {
            match values.iter_mut().find(|(known, ..)| known == key) {
                Some((_, first, varies)) => *varies |= first != value,
                None => values.push((key, value, false)),
            }
        }
        let varied: Vec<&str> = values.into_iter().filter(|(.., varies)| *varies).map(|(key, ..)| key).collect();
        let name = |key: &&str| match *key {
            TOLD_BY_VALUE => String::new(),
            // Two keys may end alike: then their places tell them apart.
            key if varied.iter().filter(|other| last_part(other) == last_part(key)).count() > 1 => format!("{key} "),
            key => format!("{} ", last_part(key)),
        };
        Self { varied: varied.iter().map(|key| ((*key).to_owned(), name(key))).collect() }
    }

    /// `weight_dtype bf16, max_num_seqs 32, round_robin`; empty where all deployments are alike.
    pub fn settings(&self, settings: &Settings) -> String {
        let told = settings.iter().filter_map(|(key, value)| {
            let (_, name) = self.varied.iter().find(|(varied, _)| varied == key)?;
            Some(format!("{name}{value}"))
        });
        told.collect::<Vec<_>>().join(", ")
    }

    /// Model, device, load and settings.
    pub fn who(&self, model: &str, device: &str, settings: &Settings, rate_scale: Option<f64>) -> String {
        let mut who = format!("{model} on {device}");
        if let Some(scale) = rate_scale {
            let _ = write!(who, " × {scale}");
        }
        let settings = self.settings(settings);
        if settings.is_empty() { who } else { format!("{who}, {settings}") }
    }
}

fn last_part(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}
