//! An input: what a user could give.

use std::fmt::Write as _;

use llmperforacle::workload::{TRACE_FORMATS, TraceFormat};
use rand::RngExt;

use super::Random;
use super::corpus::{Corpus, Kind};
use super::mutation::mutate;
use super::nasty::{NUMBERS, VALUES, pick};

/// What is fuzzed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Configurations; those that resolve are run.
    Config,
    /// Traces, model files, curves and measured kernels.
    Files,
}

impl Group {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Config, Self::Files];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Files => "files",
        }
    }
}

/// What is given to the program.
#[derive(Clone, Debug)]
pub enum Input {
    /// A configuration and `--set`s.
    Config { text: Vec<u8>, set: Vec<String> },
    /// A trace, as the reader takes it.
    Trace { text: Vec<u8>, name: &'static str, format: TraceFormat, rate_scale: f64, duration_s: Option<f64> },
    /// A Hugging Face `config.json`; if it is one, a configuration that serves it is run.
    HuggingFace { text: Vec<u8>, set: Vec<String> },
    /// A `model_params.json`; if it is one, a configuration that serves a model of it is run.
    ModelParams { text: Vec<u8> },
    /// Measured kernels, or a curve: what a device's `key` names; a configuration with such a device is run.
    Kernels { text: Vec<u8>, key: &'static str },
}

impl Input {
    /// Makes one up.
    pub fn any(group: Group, corpus: &Corpus, random: &mut Random) -> Self {
        match group {
            Group::Config if random.random_bool(0.4) => {
                Self::Config { text: corpus.any_config(random), set: Vec::new() }.mutated(corpus, random)
            }
            Group::Config => {
                let most = random.random_range(1..=4);
                let set = (0..most).map(|_| set(corpus, random)).collect();
                Self::Config { text: corpus.any_config(random), set }
            }
            Group::Files => Self::any_file(corpus, random).mutated(corpus, random),
        }
    }

    fn any_file(corpus: &Corpus, random: &mut Random) -> Self {
        match random.random_range(0..12) {
            0..6 => {
                let formats = TRACE_FORMATS.map(|(_, format)| format);
                let format =
                    if random.random_bool(0.6) { formats[0] } else { formats[random.random_range(0..formats.len())] };
                let (name, text) = corpus.any_trace(random);
                let name =
                    if random.random_bool(0.8) { name } else { pick(random, &["x.csv", "x.jsonl", "x", "x.JSON"]) };
                let scales = [1.0, 1.0, 1.0, 2.0, 1e-300, 1e300, 5e-324, 0.5];
                let rate_scale = scales[random.random_range(0..scales.len())];
                let durations = [None, None, Some(0.0), Some(1e-9), Some(1e300), Some(3.0)];
                Self::Trace {
                    text,
                    name,
                    format,
                    rate_scale,
                    duration_s: durations[random.random_range(0..durations.len())],
                }
            }
            6..9 => {
                let most = random.random_range(0..=2);
                let set = (0..most).map(|_| set(corpus, random)).collect();
                Self::HuggingFace { text: corpus.any_hugging_face(random), set }
            }
            9 => Self::ModelParams { text: corpus.any_model_params(random) },
            _ => {
                let (key, text) = corpus.any_kernels(random);
                Self::Kernels { text, key }
            }
        }
    }

    fn mutated(mut self, corpus: &Corpus, random: &mut Random) -> Self {
        let text = match &mut self {
            Self::Config { text, .. }
            | Self::Trace { text, .. }
            | Self::HuggingFace { text, .. }
            | Self::ModelParams { text }
            | Self::Kernels { text, .. } => text,
        };
        mutate(text, corpus, random);
        self
    }

    /// What is kept of an input with a finding.
    pub fn dump(&self) -> Vec<u8> {
        let (head, text) = match self {
            Self::Config { text, set } | Self::HuggingFace { text, set } => {
                let mut head = String::new();
                for set in set {
                    let _ = writeln!(head, "# --set {set:?}");
                }
                (head, text)
            }
            Self::Trace { text, name, format, rate_scale, duration_s } => {
                (format!("# {name} {format:?} {rate_scale} {duration_s:?}\n"), text)
            }
            Self::Kernels { text, key } => (format!("# {key}\n"), text),
            Self::ModelParams { text } => ("# model_params\n".to_owned(), text),
        };
        [head.as_bytes(), text].concat()
    }
}

/// A `--set` of a real key, mostly to a value of its type.
fn set(corpus: &Corpus, random: &mut Random) -> String {
    let any_key = |random: &mut Random| &corpus.keys[random.random_range(0..corpus.keys.len())];
    let mut key = any_key(random);
    if matches!(key.kind, Kind::Other) {
        // Names are nearly always wrong.
        key = any_key(random);
    }
    let value = match (&key.kind, random.random_range(0..20)) {
        (_, 0) => {
            let mut text = pick(random, VALUES).as_bytes().to_vec();
            mutate(&mut text, corpus, random);
            String::from_utf8_lossy(&text).into_owned()
        }
        (_, 1) | (Kind::Other, _) => pick(random, VALUES).to_owned(),
        (Kind::Number { .. }, 3..7) => pick(random, NUMBERS).to_owned(),
        (&Kind::Number { low, high, whole }, _) => number(low, high, whole, random),
        (Kind::Flag, _) => random.random_bool(0.5).to_string(),
        (Kind::Choice(names), _) => names[random.random_range(0..names.len())].clone(),
        (Kind::Distribution, _) => distribution(random),
    };
    let mut path = key.path.clone();
    if random.random_bool(0.02) {
        let mut text = path.into_bytes();
        mutate(&mut text, corpus, random);
        path = String::from_utf8_lossy(&text).into_owned();
    }
    format!("{path}={value}")
}

/// A number that the key takes: one of its bounds, or of any magnitude between them.
fn number(low: f64, high: f64, whole: bool, random: &mut Random) -> String {
    let most = if whole { high.min(f64::from(u32::MAX)) } else { high };
    let least = low.max(if whole { 1.0 } else { 1e-12 });
    let value = match random.random_range(0..6) {
        0 => low,
        1 => most,
        2 => least,
        _ => (least.ln() + (most.min(1e20).ln() - least.ln()) * random.random::<f64>()).exp().clamp(low, most),
    };
    if whole { format!("{:.0}", value.floor()) } else { format!("{value:e}") }
}

fn distribution(random: &mut Random) -> String {
    let kinds = [
        "Constant, value",
        "Exponential, rate",
        "Uniform, high",
        "Normal, std",
        "Normal, mean",
        "LogNormal, mu",
        "LogNormal, sigma",
        "LogNormal, std_tokens: 1, mean_tokens",
        "LogNormal, mean_tokens: 1, std_tokens",
        "Pareto, shape",
        "Pareto, scale",
        "Weibull, shape",
        "Weibull, scale",
        "Gamma, shape",
        "Gamma, scale",
    ];
    format!("{{type: {}: {}}}", pick(random, &kinds), pick(random, NUMBERS))
}
