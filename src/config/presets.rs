//! Workloads by name, `configs/workloads/*.yaml`: keys of `workload`, with the source of every number beside it.
//!
//! A preset is put into the tree before it is decoded, a key at a time: what the user says stays. What of it is a guess is
//! said whenever it is used.

use super::diagnostic::{At, Diagnostics, Mark};
use super::overrides::marked;
use super::tree::{self, Entry, Node, Value};

/// A workload by name.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// What messages call the place of its keys.
    origin: &'static str,
    text: &'static str,
}

macro_rules! presets {
    ($($name:literal),+ $(,)?) => {
        &[$(Preset {
            name: $name,
            origin: concat!("preset ", $name),
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/configs/workloads/", $name, ".yaml")),
        }),+]
    };
}

const PRESETS: &[Preset] = presets!("chat", "code", "summarization", "reasoning", "agent", "rag", "batch", "mixed");

/// All of them.
#[must_use]
pub fn presets() -> &'static [Preset] {
    PRESETS
}

impl Preset {
    /// What it is, in a sentence.
    #[must_use]
    pub fn about(&self) -> String {
        match self.tree().get("about").map(|node| &node.value) {
            Some(Value::Text(text)) => text.clone(),
            _ => String::new(),
        }
    }

    /// Where its numbers come from: what its file says before them.
    #[must_use]
    pub fn source(&self) -> String {
        let lines = self.text.lines().take_while(|line| !line.starts_with("workload:"));
        let said = lines.filter_map(|line| line.strip_prefix('#')).map(str::trim);
        let said = said.collect::<Vec<_>>().join(" ");
        said.trim_start_matches("Source: ").to_owned()
    }

    /// What of it nobody has measured.
    #[must_use]
    pub fn guesses(&self) -> Vec<String> {
        let tree = self.tree();
        let Some(Value::Sequence(items)) = tree.get("guesses").map(|node| &node.value) else { return Vec::new() };
        let text = |item: &Node| match &item.value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        };
        items.iter().filter_map(text).collect()
    }

    /// Whether it says how much load there is, too.
    #[must_use]
    pub fn has_load(&self) -> bool {
        self.tree().get("workload").is_some_and(|workload| workload.get("load").is_some())
    }

    fn tree(&self) -> Node {
        let mut diagnostics = Diagnostics::new(self.origin);
        tree::parse(self.text.as_bytes(), &mut diagnostics).expect("the shipped presets are YAML, as a test shows")
    }

    fn keys(&self) -> Vec<Entry> {
        let tree = marked(self.tree(), Mark::flag(self.origin));
        match tree.get("workload").map(|node| &node.value) {
            Some(Value::Mapping(entries)) => entries.clone(),
            _ => Vec::new(),
        }
    }
}

/// Puts the keys of `workload.preset` beside those that are there. Gives back its name; `before` is what an earlier call
/// gave.
pub(super) fn expand(
    root: &mut Node,
    before: Option<&'static str>,
    diagnostics: &mut Diagnostics,
) -> Option<&'static str> {
    let Value::Mapping(sections) = &mut root.value else { return before };
    let workload = sections.iter_mut().find(|entry| entry.key == "workload")?;
    let Value::Mapping(entries) = &mut workload.value.value else { return before };
    let given = entries.iter().find(|entry| entry.key == "preset")?;
    // Another value than text is the decoder's to report.
    let Value::Text(name) = &given.value.value else { return before };
    let at = At::root(given.value.mark).key("workload.preset", given.value.mark);
    let names = || PRESETS.iter().map(|preset| preset.name);
    let Some(preset) = PRESETS.iter().find(|preset| preset.name == name) else {
        if before.is_none() {
            diagnostics.unknown(&at, format!("{name:?} is not a workload"), name, names());
        }
        return Some("");
    };
    match before {
        Some(before) if before == preset.name => return Some(preset.name),
        Some(before) if !before.is_empty() => {
            diagnostics.error(&at, format!("the keys of the preset {before} are there already; change it in the file"));
            return Some(preset.name);
        }
        _ => {}
    }
    for guess in preset.guesses() {
        diagnostics.warn(&at, format!("{name} rests on a guess: {guess}"));
    }
    let has = |entries: &[Entry], key: &str| entries.iter().any(|entry| entry.key == key);
    for entry in preset.keys() {
        if !has(entries, &entry.key) {
            entries.push(entry);
        }
    }
    Some(preset.name)
}
