//! A mapping that is being read: its unknown, doubled and missing keys are reported when it is opened.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use super::key::{Key, Need, Section, Shape};
use crate::config::diagnostic::{At, Diagnostics, Severity, did_you_mean};
use crate::config::tree::{Entry, Node, Value};

/// The entries of one mapping, read key by key.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(super) section: &'static Section,
    entries: &'a [Entry],
    at: At,
    pub(crate) diagnostics: &'a mut Diagnostics,
}

impl<'a> Reader<'a> {
    /// Opens a mapping, and reports what of it is unknown, twice there or missing.
    pub(crate) fn open(
        node: &'a Node,
        section: &'static Section,
        at: &At,
        diagnostics: &'a mut Diagnostics,
    ) -> Option<Self> {
        let entries: &[Entry] = match &node.value {
            Value::Mapping(entries) => entries,
            Value::Null => &[],
            other => {
                let is_required = |key: &&Key| matches!(key.need, Need::Required);
                let first = section.keys.iter().find(is_required).or(section.keys.first()).map_or("", |key| key.name);
                diagnostics.error(at, format!("expected a mapping ({first}: …), found {other}"));
                return None;
            }
        };
        report_duplicates(entries, at, diagnostics);
        for entry in entries.iter().filter(|entry| !section.keys.iter().any(|key| key.name == entry.key)) {
            report_unknown(entry, section, at, diagnostics);
        }
        for key in section.keys.iter().filter(|key| matches!(key.need, Need::Required)) {
            if !entries.iter().any(|entry| entry.key == key.name && !entry.value.is_null()) {
                let example = key.example.map(|yaml| format!("such as {}: {yaml}", key.name));
                let severity = Severity::Error;
                diagnostics.report(severity, at, format!("missing required key {}", key.name), example);
            }
        }
        Some(Self { section, entries, at: at.clone(), diagnostics })
    }

    /// The value of a key; nothing after the colon is as good as no key.
    pub(super) fn find(&self, key: &Key) -> Option<(&'a Node, At)> {
        let entry = self.entries.iter().find(|entry| entry.key == key.name && !entry.value.is_null())?;
        Some((&entry.value, self.at.key(key.name, entry.value.mark)))
    }

    /// Where a key would be that is not there.
    pub(super) fn absent(&self, key: &Key) -> At {
        self.at.key(key.name, self.at.mark)
    }
}

/// A mapping that says the same key twice means only one of them.
pub(super) fn report_duplicates(entries: &[Entry], at: &At, diagnostics: &mut Diagnostics) {
    let mut first_lines = HashMap::new();
    for entry in entries {
        match first_lines.entry(entry.key.as_str()) {
            Slot::Vacant(slot) => {
                slot.insert(entry.mark.line);
            }
            Slot::Occupied(slot) => {
                let message = format!("this key is already given on line {}", slot.get());
                diagnostics.error(&at.key(&entry.key, entry.mark), message);
            }
        }
    }
}

fn report_unknown(entry: &Entry, section: &'static Section, at: &At, diagnostics: &mut Diagnostics) {
    let at = at.key(&entry.key, entry.mark);
    if diagnostics.is_full_of(Severity::Error) {
        diagnostics.error(&at, "unknown key");
        return;
    }
    let called = section.keys.iter().find(|key| key.also_called.contains(&entry.key.as_str()));
    let here = called.map(|key| format!("did you mean {}?", key.name));
    let below = || {
        section.keys.iter().find_map(|key| match key.shape {
            Shape::Section(inner) | Shape::List(Shape::Section(inner)) => {
                let is_meant = |k: &&Key| k.name == entry.key || k.also_called.contains(&entry.key.as_str());
                inner.keys.iter().find(is_meant).map(|k| format!("did you mean {}.{}?", key.name, k.name))
            }
            _ => None,
        })
    };
    let known = did_you_mean(&entry.key, section.keys.iter().map(|key| key.name));
    let near = || known.clone().filter(|suggestion| suggestion.starts_with("did"));
    let elsewhere = || diagnostics.path_of_key(&entry.key).map(|path| format!("did you mean {path}?"));
    let suggestion = here.or_else(below).or_else(near).or_else(elsewhere).or(known.clone());
    diagnostics.report(Severity::Error, &at, "unknown key", suggestion);
}

/// Where a key of this name is declared, from the root section; the first place of several.
pub(crate) fn path_of(name: &str, root: &'static Section) -> Option<String> {
    fn search(section: &'static Section, path: &str, name: &str) -> Option<String> {
        let join = |key: &str| {
            if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
        };
        let here = section.keys.iter().find(|key| key.name == name).map(|key| join(key.name));
        here.or_else(|| {
            section.keys.iter().find_map(|key| match key.shape {
                Shape::Section(inner) => search(inner, &join(key.name), name),
                Shape::List(Shape::Section(inner)) => search(inner, &format!("{}[]", join(key.name)), name),
                _ => None,
            })
        })
    }
    search(root, "", name)
}
