//! Typed access to the keys of a Hugging Face `config.json`, and an account of which of them were read. What is missing or of a
//! wrong type is noted once and read as something harmless, so that one run reports everything that is wrong with a file.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::family::Family;
use super::keys::{CONTEXTS, INHERITED, synonyms};
use crate::catalog::findings::Findings;
use crate::catalog::json_file::shown;
use crate::catalog::nearest::nearest;
use crate::catalog::shape::{LARGEST_DIMENSION, MOST_LAYERS};

/// The keys of the language model, and those of the whole file for what stands only there.
pub(super) struct Fields<'a> {
    pub(super) text: &'a Map<String, Value>,
    /// Path of `text` in the file: empty, or such as `text_config.`.
    pub(super) text_path: String,
    pub(super) whole: &'a Map<String, Value>,
    pub(super) family: &'static Family,
    pub(super) findings: Findings<'a>,
    /// Paths of the keys that were asked for.
    pub(super) used: RefCell<BTreeSet<String>>,
}

/// Where the language model of a multimodal file is.
const TEXT_PARTS: [&str; 6] =
    ["text_config", "llm_config", "language_config", "llm", "language_model_config", "thinker_config"];

/// The language model's keys in a file, and their path.
pub(super) fn text_part(whole: &Map<String, Value>) -> (&Map<String, Value>, String) {
    let (mut text, mut path) = (whole, String::new());
    // A talker's thinker holds its text part in turn.
    while let Some((name, Value::Object(part))) = TEXT_PARTS.iter().find_map(|name| Some((*name, text.get(*name)?))) {
        text = part;
        path.push_str(name);
        path.push('.');
    }
    (text, path)
}

impl<'a> Fields<'a> {
    pub(super) fn new(whole: &'a Map<String, Value>, family: &'static Family, findings: Findings<'a>) -> Self {
        let (text, text_path) = text_part(whole);
        Self { text, text_path, whole, family, findings, used: RefCell::default() }
    }

    fn mark(&self, path: String) {
        self.used.borrow_mut().insert(path);
    }

    /// The names that a key may have in the file, the family's own first.
    fn names<'k>(&self, key: &'k str) -> impl Iterator<Item = &'k str> + use<'k> {
        let own: Option<&'static str> = self.family.keys.get(key).map(String::as_str);
        own.into_iter().chain([key]).chain(synonyms(key).iter().copied())
    }

    /// The value of a key under the first of its names that the file uses, else what its configuration class has. `null` is no
    /// value, and the class has none either.
    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        let mut is_null = false;
        for name in self.names(key) {
            match find(self.text, name) {
                Some(Value::Null) => is_null = true,
                Some(value) => {
                    self.mark(format!("{}{name}", self.text_path));
                    return Some(value);
                }
                None => continue,
            }
            self.mark(format!("{}{name}", self.text_path));
        }
        if INHERITED.contains(&key)
            && let Some(value) = self.whole.get(key).filter(|value| !value.is_null())
        {
            self.mark(key.to_owned());
            return Some(value);
        }
        if is_null {
            return None;
        }
        let of_part = || self.family.nested.get(key).filter(|_| !self.text_path.is_empty());
        self.family.defaults.get(key).or_else(of_part)
    }

    /// Path of a key as it stands in the file.
    pub(super) fn path(&self, key: &str) -> String {
        match self.names(key).find(|name| find(self.text, name).is_some()) {
            Some(name) => format!("{}{name}", self.text_path),
            None if self.whole.contains_key(key) => key.to_owned(),
            None => format!("{}{key}", self.text_path),
        }
    }

    fn whole_number(&mut self, key: &str, value: &Value, least: u64) -> u32 {
        // Some files write 4096.0.
        let whole = value.as_u64().or_else(|| {
            value.as_f64().filter(|number| *number >= 0.0 && number.fract() == 0.0).map(|number| number as u64)
        });
        let largest = if counts_tokens(key) { LARGEST_DIMENSION } else { LARGEST_WIDTH };
        let number = whole.filter(|number| (least..=largest).contains(number));
        if number.is_none() {
            let path = self.path(key);
            let message = format!("must be a whole number from {least} to {largest}, not {}", shown(value));
            self.findings.error(&path, message);
        }
        number.map_or(1, |number| number as u32)
    }

    /// A positive number that a model cannot be without, for products of such.
    pub(super) fn wide(&mut self, key: &str) -> u64 {
        self.required(key).into()
    }

    /// A positive number that the file may leave out.
    pub(super) fn number(&mut self, key: &str) -> Option<u32> {
        let value = self.value(key)?;
        Some(self.whole_number(key, value, 1))
    }

    /// A number, 0 where the file leaves it out.
    pub(super) fn count(&mut self, key: &str) -> u32 {
        self.value(key).map_or(0, |value| self.whole_number(key, value, 0))
    }

    /// A number of a layer: the same for all, or one of a list.
    pub(super) fn number_at(&mut self, key: &str, layer: u32) -> Option<u32> {
        let value = self.value(key)?;
        let Value::Array(list) = value else { return Some(self.whole_number(key, value, 0)) };
        match list.get(layer as usize) {
            Some(value) => Some(self.whole_number(key, value, 0)),
            None => {
                let path = self.path(key);
                self.findings.error(&path, format!("has {} entries, none for layer {layer}", list.len()));
                None
            }
        }
    }

    /// A positive number that a model cannot be without.
    pub(super) fn required(&mut self, key: &str) -> u32 {
        if let Some(number) = self.number(key) {
            return number;
        }
        self.missing(key);
        1
    }

    /// How many layers there are, or more than any model has: that is refused later, with all else that is wrong.
    pub(super) fn layers(&mut self) -> u32 {
        self.required("num_hidden_layers").min(MOST_LAYERS + 1)
    }

    /// The same of a layer.
    pub(super) fn required_at(&mut self, key: &str, layer: u32) -> u32 {
        if let Some(number) = self.number_at(key, layer) {
            return number;
        }
        self.missing(key);
        1
    }

    fn missing(&mut self, key: &str) {
        let own = self.family.keys.get(key).map_or(key, String::as_str);
        let path = format!("{}{own}", self.text_path);
        let others = match synonyms(key) {
            [] => String::new(),
            others => format!(" (and so is {})", others.join(", ")),
        };
        let strangers = || self.text.keys().map(String::as_str).filter(|key| !USUAL_KEYS.contains(key));
        let similar = [own].into_iter().chain(synonyms(key).iter().copied());
        let similar = similar.filter_map(|name| nearest(name, strangers(), 1).first().copied()).next();
        let hint = similar.map_or_else(String::new, |key| format!("; the file has {key}"));
        self.findings.error(&path, format!("is missing{others}{hint}"));
    }

    /// A flag that the file may leave out.
    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        let value = self.value(key)?;
        if value.as_bool().is_none() {
            let path = self.path(key);
            self.findings.error(&path, format!("must be true or false, not {}", shown(value)));
        }
        value.as_bool()
    }

    /// A flag that is off where it is left out.
    pub(super) fn is_on(&mut self, key: &str) -> bool {
        self.flag(key).unwrap_or(false)
    }

    /// A word that the file may leave out.
    pub(super) fn word(&mut self, key: &str) -> Option<&'a str> {
        let value = self.value(key)?;
        if value.as_str().is_none() {
            let path = self.path(key);
            self.findings.error(&path, format!("must be a word, not {}", shown(value)));
        }
        value.as_str()
    }

    /// A list that the file may leave out.
    pub(super) fn list(&mut self, key: &str) -> Option<&'a Vec<Value>> {
        let value = self.value(key)?;
        if value.as_array().is_none() {
            let path = self.path(key);
            self.findings.error(&path, format!("must be a list, not {}", shown(value)));
        }
        value.as_array()
    }

    /// A list of words.
    pub(super) fn words(&mut self, key: &str) -> Option<Vec<&'a str>> {
        let list = self.list(key)?;
        let words: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
        if words.is_none() {
            let path = self.path(key);
            self.findings.error(&path, "must be a list of words");
        }
        words
    }

    /// A list of numbers, or the one number that stands for it.
    pub(super) fn numbers(&mut self, key: &str) -> Option<Vec<u32>> {
        let value = self.value(key)?;
        let list = match value {
            Value::Array(list) => list.as_slice(),
            _ => std::slice::from_ref(value),
        };
        Some(list.iter().map(|value| self.whole_number(key, value, 0)).collect())
    }

    pub(super) fn error(&mut self, key: &str, message: impl Into<String>) {
        let path = self.path(key);
        self.findings.error(&path, message);
    }

    pub(super) fn warn(&mut self, key: &str, message: impl Into<String>) {
        let path = self.path(key);
        self.findings.warn(&path, message);
    }
}

/// The value of a name, which may lead into an object: `attn_config.kv_n_heads`.
fn find<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    match name.split_once('.') {
        None => map.get(name),
        Some((object, rest)) => find(map.get(object)?.as_object()?, rest),
    }
}

/// Keys of vocabularies and contexts, which are larger than any width.
fn counts_tokens(key: &str) -> bool {
    let others =
        ["vocab_size", "vocab_size_per_layer_input", "model_max_length", "sliding_window", "attention_chunk_size"];
    CONTEXTS.contains(&key) || others.contains(&key)
}

/// No width, and no number of heads or experts, is larger: products of three stay exact in 64 bits.
const LARGEST_WIDTH: u64 = 1 << 20;

/// Keys that mean what they say: none is a misspelling of another that is missing.
const USUAL_KEYS: [&str; 8] = [
    "hidden_size",
    "head_dim",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "vocab_size",
];
