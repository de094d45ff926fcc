//! Typed access to the keys of a Hugging Face `config.json`. What is missing or of a wrong type is noted once and read as
//! something harmless, so that one run reports everything that is wrong with a file.

use serde_json::{Map, Value};

use super::findings::Findings;
use super::nearest::nearest;
use super::shape::LARGEST_DIMENSION;

/// The keys of the language model, and those of the whole file for what stands only there.
pub(super) struct Fields<'a> {
    text: &'a Map<String, Value>,
    /// Path of `text` in the file: empty, or `text_config.`.
    text_path: &'static str,
    whole: &'a Map<String, Value>,
    pub(super) findings: Findings<'a>,
}

impl<'a> Fields<'a> {
    /// A multimodal model keeps its language model in `text_config`.
    pub(super) fn new(whole: &'a Map<String, Value>, findings: Findings<'a>) -> Self {
        match whole.get("text_config") {
            Some(Value::Object(text)) => Self { text, text_path: "text_config.", whole, findings },
            _ => Self { text: whole, text_path: "", whole, findings },
        }
    }

    /// The value of a key, from the language model or else from the whole file. `null` is no value.
    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        let present = |map: &'a Map<String, Value>| map.get(key).filter(|value| !value.is_null());
        present(self.text).or_else(|| present(self.whole))
    }

    /// Path of a key as it stands in the file.
    pub(super) fn path(&self, key: &str) -> String {
        if !self.text.contains_key(key) && self.whole.contains_key(key) {
            return key.to_owned();
        }
        format!("{}{key}", self.text_path)
    }

    /// A whole number of at least `least`, under the first of several names that the file uses.
    fn number_from(&mut self, names: &[&str], least: u64) -> Option<u32> {
        let (name, value) = names.iter().find_map(|name| Some((*name, self.value(name)?)))?;
        let number = value.as_u64().filter(|number| (least..=LARGEST_DIMENSION).contains(number));
        if number.is_none() {
            let path = self.path(name);
            let message = format!("must be a whole number from {least} to {LARGEST_DIMENSION}, not {}", shown(value));
            self.findings.error(&path, message);
        }
        number.and_then(|number| u32::try_from(number).ok()).or(Some(1))
    }

    /// A positive number that the file may leave out.
    pub(super) fn number(&mut self, names: &[&str]) -> Option<u32> {
        self.number_from(names, 1)
    }

    /// A number, 0 where the file leaves it out.
    pub(super) fn count(&mut self, names: &[&str]) -> u32 {
        self.number_from(names, 0).unwrap_or(0)
    }

    /// A positive number that a model cannot be without.
    pub(super) fn required(&mut self, names: &[&str]) -> u32 {
        if let Some(number) = self.number(names) {
            return number;
        }
        let path = format!("{}{}", self.text_path, names[0]);
        let others = match &names[1..] {
            [] => String::new(),
            others => format!(" (and so is {})", others.join(", ")),
        };
        let strangers = || {
            let keys = self.text.keys().map(String::as_str);
            keys.filter(|key| !USUAL_KEYS.contains(key))
        };
        let similar = names.iter().find_map(|name| nearest(name, strangers(), 1).first().copied());
        let hint = similar.map_or_else(String::new, |key| format!("; the file has {key}"));
        self.findings.error(&path, format!("is missing{others}{hint}"));
        1
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

    /// A word that the file may leave out.
    pub(super) fn word(&mut self, key: &str) -> Option<&'a str> {
        let value = self.value(key)?;
        if value.as_str().is_none() {
            let path = self.path(key);
            self.findings.error(&path, format!("must be a word, not {}", shown(value)));
        }
        value.as_str()
    }

    /// The file's `model_type`, the language model's before the whole file's.
    pub(super) fn model_type(&mut self) -> Option<&'a str> {
        self.word("model_type")
    }

    pub(super) fn warn(&mut self, key: &str, message: impl Into<String>) {
        let path = self.path(key);
        self.findings.warn(&path, message);
    }
}

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

/// Characters of a value that a message shows.
const SHOWN_CHARACTERS: usize = 40;

/// A value as a message shows it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        _ => {
            let text = value.to_string();
            let cut: String = text.chars().take(SHOWN_CHARACTERS).collect();
            if cut.len() < text.len() { format!("{cut}…") } else { cut }
        }
    }
}
