//! One folder of the catalog: what its files are called is read when the catalog is first asked for, a file when what it tells of is.
//!
//! It owns how names are compared, and the nearest of them.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::OnceLock;

use serde::Deserialize;

use super::embedded::EmbeddedFile;
use super::nearest::nearest;

/// The files of a folder, in their order.
#[derive(Debug)]
pub(super) struct Shelf<T: 'static> {
    entries: Vec<Entry<T>>,
    by_name: HashMap<String, usize>,
}

#[derive(Debug)]
struct Entry<T: 'static> {
    file: &'static EmbeddedFile,
    heading: Heading,
    read: fn(&str) -> Result<T, String>,
    read_before: OnceLock<T>,
}

/// What a file begins with.
#[derive(Debug, Deserialize)]
struct Heading {
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
}

/// The key that follows the heading of every file.
const AFTER_HEADING: &str = "\nsource:";

impl<T> Entry<T> {
    fn new(file: &'static EmbeddedFile, read: fn(&str) -> Result<T, String>) -> Self {
        let (name, text) = file;
        let (heading, _) = text.split_once(AFTER_HEADING).unwrap_or((text, ""));
        let heading = serde_saphyr::from_str(heading).unwrap_or_else(|error| broken(name, &error));
        Self { file, heading, read, read_before: OnceLock::new() }
    }

    fn thing(&self) -> &T {
        let (name, text) = self.file;
        self.read_before.get_or_init(|| (self.read)(text).unwrap_or_else(|error| broken(name, &error)))
    }
}

fn broken<T>(file: &str, error: &dyn Display) -> T {
    panic!("the catalog's {file}, as tests read it: {error}")
}

impl<T> Shelf<T> {
    pub(super) fn of(files: &'static [EmbeddedFile], read: fn(&str) -> Result<T, String>) -> Self {
        let entries: Vec<_> = files.iter().map(|file| Entry::new(file, read)).collect();
        let by_name = index(entries.iter().map(|entry| &entry.heading));
        Self { entries, by_name }
    }

    /// What is called so: a whole name or alias first, then the part after its last slash, of another owner's copy or a path.
    /// Case does not matter.
    pub(super) fn get(&self, name: &str) -> Option<&T> {
        let key = key(name);
        let without_owner = key.rsplit_once('/').map_or(key.as_str(), |(_, name)| name);
        let index = self.by_name.get(&key).or_else(|| self.by_name.get(without_owner))?;
        Some(self.entries[*index].thing())
    }

    /// All of it, in the order of the files.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.entries.iter().map(Entry::thing)
    }

    /// What the files call what they tell of.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.heading.name.as_str())
    }

    /// The other names of what is called so.
    pub(super) fn aliases(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().flat_map(|entry| &entry.heading.aliases).map(String::as_str)
    }

    /// The `n` whose names or aliases are nearest to an unknown one, each as the catalog calls it. The owner of a Hugging Face
    /// id says nothing of the model.
    pub(super) fn nearest(&self, unknown: &str, n: usize) -> Vec<&str> {
        let unknown = unknown.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let mut found: Vec<&str> = Vec::new();
        for alias in nearest(unknown, self.by_name.keys().map(String::as_str), self.by_name.len()) {
            let name = self.entries[self.by_name[alias]].heading.name.as_str();
            if !found.contains(&name) {
                found.push(name);
            }
        }
        found.truncate(n);
        found
    }
}

fn index<'a>(headings: impl Iterator<Item = &'a Heading>) -> HashMap<String, usize> {
    let mut by_name = HashMap::new();
    for (index, Heading { name, aliases }) in headings.enumerate() {
        for name in std::iter::once(name).chain(aliases) {
            let key = key(name);
            if let Some((_, without_owner)) = key.rsplit_once('/') {
                by_name.insert(without_owner.to_owned(), index);
            }
            by_name.insert(key, index);
        }
    }
    by_name
}

/// Names as they are compared: `RTX 4090` and `rtx_4090` are `rtx-4090`.
pub(super) fn key(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '_'], "-")
}
