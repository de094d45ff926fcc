//! YAML in flow style, put together key by key.

use std::fmt;

use crate::draw::Draw;

/// `{key: value, …}`, in the order in which keys are set.
#[derive(Clone, Default)]
pub struct Mapping(Vec<(String, String)>);

impl Mapping {
    pub fn with(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.set(key, value);
        self
    }

    /// Sets a key, anew if it is there.
    pub fn set(&mut self, key: &str, value: impl fmt::Display) {
        self.remove(key);
        self.0.push((key.to_owned(), value.to_string()));
    }

    pub fn remove(&mut self, key: &str) {
        self.0.retain(|(other, _)| other != key);
    }

    /// Sets a key to one of `choices`, so many times in a hundred.
    pub fn maybe(&mut self, draw: &mut Draw, percent: u64, key: &str, choices: &[&str]) {
        if draw.chance(percent) {
            self.set(key, draw.one_of(choices));
        }
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == key).map(|(_, value)| value.as_str())
    }

    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<String> = self.pairs().map(|(key, value)| format!("{key}: {value}")).collect();
        write!(formatter, "{{{}}}", pairs.join(", "))
    }
}

/// `[item, …]`.
pub fn list<T: fmt::Display>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    format!("[{}]", items.join(", "))
}

/// The items of a list, each on a line of its own.
pub fn lines<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(|item| format!("\n  - {item}")).collect()
}
