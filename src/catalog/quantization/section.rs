//! Typed access to an object of a quantisation's description. The first thing that is not understood ends the reading:
//! what a checkpoint's weights are is known whole or not at all.

use serde_json::{Map, Value};

use crate::catalog::json_file::shown;

/// What of a description is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Path of the key inside the description.
    pub(crate) key: String,
    /// What is wrong with it.
    pub(crate) message: String,
}

/// An object and where it stands.
#[derive(Clone)]
pub(super) struct Section<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

impl<'a> Section<'a> {
    pub(super) fn new(map: &'a Map<String, Value>) -> Self {
        Self { map, path: String::new() }
    }

    fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        Problem { key: self.path(key), message: message.into() }
    }

    /// The value of a key; `null` is none.
    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// The first of several spellings of a key that the object has.
    pub(super) fn spelling<'k>(&self, keys: &[&'k str]) -> Option<&'k str> {
        keys.iter().copied().find(|key| self.has(key))
    }

    fn wrong(&self, key: &str, expected: &str, value: &Value) -> Problem {
        self.problem(key, format!("must be {expected}, not {}", shown(value)))
    }

    pub(super) fn word(&self, key: &str) -> Result<Option<&'a str>, Problem> {
        let Some(value) = self.value(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.wrong(key, "a word", value))
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, Problem> {
        let Some(value) = self.value(key) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.wrong(key, "true or false", value))
    }

    /// A whole number, which may be −1 where that stands for all.
    pub(super) fn number(&self, key: &str) -> Result<Option<i64>, Problem> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let number = value.as_i64().filter(|number| (-1..=i64::from(u32::MAX)).contains(number));
        number.map(Some).ok_or_else(|| self.wrong(key, "a whole number", value))
    }

    pub(super) fn section(&self, key: &str) -> Result<Option<Section<'a>>, Problem> {
        let Some(value) = self.value(key) else { return Ok(None) };
        self.as_section(key, value).map(Some)
    }

    fn as_section(&self, key: &str, value: &'a Value) -> Result<Section<'a>, Problem> {
        let map = value.as_object().ok_or_else(|| self.wrong(key, "an object", value))?;
        Ok(Section { map, path: self.path(key) })
    }

    /// The objects that the object consists of, by their keys. `null` is none.
    pub(super) fn sections(&self) -> impl Iterator<Item = Result<(&'a str, Section<'a>), Problem>> + '_ {
        let present = self.map.iter().filter(|(_, value)| !value.is_null());
        present.map(|(key, value)| Ok((key.as_str(), self.as_section(key, value)?)))
    }

    /// Keys and values as they stand.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.map.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// A list of words, or of lists of words.
    pub(super) fn words(&self, key: &str) -> Result<Vec<&'a str>, Problem> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let mut words = Vec::new();
        if gather(value, &mut words).is_some() { Ok(words) } else { Err(self.wrong(key, "a list of names", value)) }
    }

    /// Rows and columns of a block: `[128, 128]` or `128x128`.
    pub(super) fn block(&self, key: &str) -> Result<Option<(u32, u32)>, Problem> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let sides: Option<Vec<u32>> = match value {
            Value::Array(sides) => sides.iter().map(|side| side.as_u64()?.try_into().ok()).collect(),
            Value::String(text) => text.split('x').map(|side| side.parse().ok()).collect(),
            _ => None,
        };
        match sides.as_deref() {
            Some(&[rows, columns]) if rows > 0 && columns > 0 => Ok(Some((rows, columns))),
            _ => Err(self.wrong(key, "two positive numbers, rows and columns of a block", value)),
        }
    }
}

fn gather<'a>(value: &'a Value, words: &mut Vec<&'a str>) -> Option<()> {
    match value {
        Value::String(word) => words.push(word),
        Value::Array(values) => {
            for value in values {
                gather(value, words)?;
            }
        }
        _ => return None,
    }
    Some(())
}
