//! The predecessor's rules for an entry of `model_params.json`, M1 to M7 of its validator, and the types of the values.

use serde_json::{Map, Value};

use super::finding::Severity;
use super::findings::Findings;
use super::json_file::shown;
use super::nearest::did_you_mean;
use super::shape::LARGEST_DIMENSION;

/// The numbers of an entry that its architecture follows from.
#[derive(Clone, Copy, Debug)]
pub(super) struct StatedShape {
    pub(super) parameters: f64,
    pub(super) hidden: u32,
    pub(super) layers: u32,
    pub(super) heads: u32,
    pub(super) kv_heads: u32,
    pub(super) intermediate: u32,
    pub(super) vocab: u32,
    /// Bytes, as stated; compared with the architecture, never used.
    pub(super) kv_bytes_per_token_per_layer: Option<f64>,
    pub(super) experts: Option<u32>,
    pub(super) experts_per_token: Option<u32>,
    pub(super) max_position_embeddings: Option<u32>,
}

/// Every key that the predecessor or we read.
const KEYS: &[&str] = &[
    "parameters",
    "parameter_bytes_fp16",
    "hidden_size",
    "num_layers",
    "num_attention_heads",
    "num_kv_heads",
    "intermediate_size",
    "vocab_size",
    "num_experts",
    "num_experts_per_tok",
    "max_position_embeddings",
    "kv_cache_bytes_per_token_per_layer",
    "prefill_op_stats",
    "decode_op_stats",
    "aggregated_ops",
    "layer_types",
];

/// M3: how far `parameter_bytes_fp16` may be from two bytes a parameter.
const PARAMETER_BYTES_TOLERANCE: f64 = 1000.0;

/// Reads an entry and checks its rules; `None` where a rule that is an error is broken.
pub(super) fn check(name: &str, entry: &Value, findings: &mut Findings<'_>) -> Option<StatedShape> {
    let errors_before = findings.errors();
    let Value::Object(entry) = entry else {
        findings.error(name, format!("must be an object with the model's numbers, not {}", shown(entry)));
        return None;
    };
    let mut rules = Rules { name, entry, findings };
    rules.unknown_keys();
    let shape = rules.shape();
    rules.parameter_bytes();
    rules.op_stats();
    rules.layer_types();
    rules.aggregated_ops();
    (findings.errors() == errors_before).then_some(shape)
}

struct Rules<'a, 'f> {
    name: &'a str,
    entry: &'a Map<String, Value>,
    findings: &'a mut Findings<'f>,
}

impl<'a> Rules<'a, '_> {
    fn add(&mut self, severity: Severity, key: &str, message: impl Into<String>) {
        self.findings.add(severity, &format!("{}.{key}", self.name), message);
    }

    fn unknown_keys(&mut self) {
        for key in self.entry.keys() {
            if !KEYS.contains(&key.as_str()) {
                let hint = did_you_mean(key, KEYS.iter().copied());
                self.add(Severity::Warning, key, format!("nobody reads this key{hint}"));
            }
        }
    }

    /// M1, and M5's stated figure.
    fn shape(&mut self) -> StatedShape {
        StatedShape {
            parameters: self.required_quantity("parameters"),
            hidden: self.required_dimension("hidden_size"),
            layers: self.required_dimension("num_layers"),
            heads: self.required_dimension("num_attention_heads"),
            kv_heads: self.required_dimension("num_kv_heads"),
            intermediate: self.required_dimension("intermediate_size"),
            vocab: self.required_dimension("vocab_size"),
            kv_bytes_per_token_per_layer: self.kv_bytes(),
            experts: self.dimension("num_experts"),
            experts_per_token: self.dimension("num_experts_per_tok"),
            max_position_embeddings: self.dimension("max_position_embeddings"),
        }
    }

    fn required_dimension(&mut self, key: &'static str) -> u32 {
        if !self.present(key) {
            self.missing(key);
        }
        self.dimension(key).unwrap_or(1)
    }

    fn required_quantity(&mut self, key: &'static str) -> f64 {
        if !self.present(key) {
            self.missing(key);
        }
        self.quantity(self.entry, key, key).unwrap_or(1.0)
    }

    fn present(&self, key: &str) -> bool {
        self.entry.get(key).is_some_and(|value| !value.is_null())
    }

    fn missing(&mut self, key: &'static str) {
        let strangers = self.entry.keys().map(String::as_str).filter(|key| !KEYS.contains(key));
        let hint = did_you_mean(key, strangers).replacen("did you mean", "is it written as", 1);
        let hint = if hint.is_empty() { "; it is in the model's config.json".to_owned() } else { hint };
        self.add(Severity::Error, key, format!("is missing{hint}"));
    }

    /// A whole number above zero.
    fn dimension(&mut self, key: &str) -> Option<u32> {
        let value = self.entry.get(key).filter(|value| !value.is_null())?;
        // The predecessor's Python takes 4096.0 as well.
        let number =
            value.as_f64().filter(|number| number.fract() == 0.0 && (1.0..=LARGEST_DIMENSION as f64).contains(number));
        if number.is_none() {
            let message = format!("must be a whole number from 1 to {LARGEST_DIMENSION}, not {}", shown(value));
            self.add(Severity::Error, key, message);
        }
        number.map(|number| number as u32)
    }

    /// A number above zero, however large.
    fn quantity(&mut self, map: &Map<String, Value>, key: &str, path: &str) -> Option<f64> {
        let value = map.get(key).filter(|value| !value.is_null())?;
        let number = value.as_f64().filter(|number| *number > 0.0 && number.is_finite());
        if number.is_none() {
            self.add(Severity::Error, path, format!("must be a number above 0, not {}", shown(value)));
        }
        number
    }

    /// M2 and M3.
    fn parameter_bytes(&mut self) {
        const KEY: &str = "parameter_bytes_fp16";
        let parameters = self.entry.get("parameters").and_then(Value::as_f64);
        if !self.present(KEY) {
            if let Some(parameters) = parameters {
                self.add(Severity::Warning, KEY, format!("is missing; taken as 2 × parameters = {}", 2.0 * parameters));
            } else {
                self.add(Severity::Error, KEY, "is missing, and without parameters it cannot be computed");
            }
            return;
        }
        let (Some(bytes), Some(parameters)) = (self.quantity(self.entry, KEY, KEY), parameters) else {
            return;
        };
        if (bytes - 2.0 * parameters).abs() > PARAMETER_BYTES_TOLERANCE {
            let message =
                format!("is {bytes}, but two bytes for each of {parameters} parameters are {}", 2.0 * parameters);
            self.add(Severity::Error, KEY, message);
        }
    }

    /// M4.
    fn op_stats(&mut self) {
        for block in ["prefill_op_stats", "decode_op_stats"] {
            let Some(stats) = self.object(block, Severity::Error) else {
                continue;
            };
            for key in ["flops_per_token", "memory_bytes_per_token"] {
                let path = format!("{block}.{key}");
                if stats.contains_key(key) {
                    self.quantity(stats, key, &path);
                } else {
                    self.add(Severity::Error, &path, "is missing");
                }
            }
        }
    }

    /// M5: the figure, where there is one.
    fn kv_bytes(&mut self) -> Option<f64> {
        const KEY: &str = "kv_cache_bytes_per_token_per_layer";
        if !self.present(KEY) {
            self.add(Severity::Warning, KEY, "is missing; computed from the heads");
            return None;
        }
        self.quantity(self.entry, KEY, KEY)
    }

    /// M6.
    fn layer_types(&mut self) {
        if !self.present("layer_types") {
            return;
        }
        let Some(kinds) = self.object("layer_types", Severity::Error) else {
            return;
        };
        for kind in ["attention", "mlp"] {
            if !kinds.get(kind).is_some_and(Value::is_object) {
                self.add(Severity::Error, &format!("layer_types.{kind}"), "is missing");
            }
        }
    }

    /// M7.
    fn aggregated_ops(&mut self) {
        self.object("aggregated_ops", Severity::Warning);
    }

    /// An object that the entry should have.
    fn object(&mut self, key: &str, if_missing: Severity) -> Option<&'a Map<String, Value>> {
        let entry: &'a Map<String, Value> = self.entry;
        match entry.get(key) {
            None | Some(Value::Null) => {
                let computed = if if_missing == Severity::Warning { "; computed from the architecture" } else { "" };
                self.add(if_missing, key, format!("is missing{computed}"));
                None
            }
            Some(Value::Object(object)) => Some(object),
            Some(other) => {
                self.add(Severity::Error, key, format!("must be an object, not {}", shown(other)));
                None
            }
        }
    }
}
