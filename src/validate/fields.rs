//! Keys of a JSON object, every one of which may be missing or null: what is there must be of its kind.

use std::path::Path;

use serde_json::{Map, Value};

use super::problem::Problem;
use crate::catalog::did_you_mean;
use crate::catalog::json_file::KeyLines;

/// Keys that hold words for people.
const NOTES: [&str; 7] = ["note", "notes", "comment", "comments", "description", "source", "id"];

/// An object of a JSON file, and what has been found wrong with the file so far.
pub(super) struct Fields<'a> {
    pub(super) file: &'a Path,
    pub(super) lines: &'a KeyLines,
    /// `None` where the object is missing.
    pub(super) object: Option<&'a Map<String, Value>>,
    /// Path of the object, empty for the file's.
    pub(super) path: String,
    pub(super) problems: &'a mut Vec<Problem>,
}

impl<'a> Fields<'a> {
    /// The object under a key.
    pub(super) fn section(&mut self, key: &str) -> Fields<'_> {
        let value = self.value(key);
        if let Some(other) = value.filter(|value| !value.is_object()) {
            self.report(key, format!("is {}, but must be an object", kind(other)));
        }
        Fields {
            file: self.file,
            lines: self.lines,
            object: value.and_then(Value::as_object),
            path: self.key_path(key),
            problems: &mut *self.problems,
        }
    }

    /// The value under a key, unless it is null.
    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        self.object?.get(key).filter(|value| !value.is_null())
    }

    /// Reports every key but those that are known, unless it is null or a note for people.
    pub(super) fn refuse_others(&mut self, known: &[&str]) {
        let is_note = |key: &str| key.starts_with('_') || NOTES.contains(&key);
        let is_other = |(key, value): &(&String, &Value)| {
            !value.is_null() && !known.contains(&key.as_str()) && !is_note(key.as_str())
        };
        let others: Vec<&String> = self.object.into_iter().flatten().filter(is_other).map(|(key, _)| key).collect();
        for key in others {
            let near = did_you_mean(key, known.iter().copied());
            let message = format!(
                "is not understood, so that the run would be simulated without it{near}; rename what is for people alone to \
                 \"notes\""
            );
            self.report(key, message);
        }
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        let value = self.value(key)?;
        let text = value.as_str().map(str::to_owned);
        self.or_report(key, text, value, "text")
    }

    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        let value = self.value(key)?;
        self.or_report(key, value.as_bool(), value, "true or false")
    }

    /// A number above zero.
    pub(super) fn positive(&mut self, key: &str) -> Option<f64> {
        let value = self.value(key)?;
        self.or_report(key, value.as_f64().filter(|number| *number > 0.0), value, "a number above 0")
    }

    /// A whole number from 1 on, written with or without a fraction of zeros.
    pub(super) fn count(&mut self, key: &str) -> Option<u32> {
        let value = self.value(key)?;
        let whole = value.as_f64().filter(|number| number.fract() == 0.0 && *number >= 1.0);
        let count = whole.filter(|number| *number <= f64::from(u32::MAX)).map(|number| number as u32);
        self.or_report(key, count, value, "a whole number, 1 or more")
    }

    /// Says what is wrong with a key.
    pub(super) fn report(&mut self, key: &str, message: impl Into<String>) {
        let key = self.key_path(key);
        // Lines are kept by key; items of a list have that of the list.
        let list = key.split('[').next().unwrap_or_default();
        let line = self.lines.line(&key).or_else(|| self.lines.line(list)).map(|line| line as u64);
        self.problems.push(Problem { file: self.file.into(), line, key, message: message.into() });
    }

    fn or_report<T>(&mut self, key: &str, read: Option<T>, value: &Value, wanted: &str) -> Option<T> {
        if read.is_none() {
            self.report(key, format!("is {}, but must be {wanted} (or null: not recorded)", kind(value)));
        }
        read
    }

    fn key_path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// A value as a message shows it.
pub(super) fn kind(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(items) => format!("a list of {}", items.len()),
        short => short.to_string().chars().take(40).collect(),
    }
}
