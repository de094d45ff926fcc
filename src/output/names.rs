//! What indices are called in the files. A name is unique among its kind: equal ones are told apart by their index, so
//! that files can be joined on them.

use std::collections::HashMap;

use oracle_components::scenario::Scenario;

use crate::workload::Slo;

/// Names by index.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) profiles: Vec<String>,
    pub(super) engines: Vec<String>,
    pub(super) gpus: Vec<String>,
    pub(super) links: Vec<String>,
    /// What clients of the profiles expect.
    pub(super) slos: Vec<Slo>,
    /// The same in words; none where that is nothing.
    pub(super) slos_in_words: Vec<Option<String>>,
    /// Whether one of them has to be quoted in a CSV.
    pub(super) need_quotes: bool,
}

impl Names {
    pub(super) fn new(scenario: &Scenario, profiles: &[String], slos: &[Slo]) -> Self {
        let mut names = Self {
            profiles: unique(profiles.iter()),
            engines: unique(scenario.engines.iter().map(|engine| &engine.name)),
            gpus: unique(scenario.gpus.iter().map(|gpu| &gpu.id)),
            links: unique(scenario.links.iter().map(|link| &link.id)),
            slos: slos.iter().copied().chain(std::iter::repeat(Slo::default())).take(profiles.len()).collect(),
            slos_in_words: Vec::new(),
            need_quotes: false,
        };
        names.slos_in_words = names.slos.iter().map(|slo| slo.is_set().then(|| slo.to_string())).collect();
        let kinds = [&names.profiles, &names.engines, &names.gpus, &names.links];
        names.need_quotes = kinds.into_iter().flatten().any(|name| needs_quotes(name));
        names
    }
}

impl Names {
    /// Of a load alone.
    pub(super) fn of_profiles(profiles: &[String]) -> Self {
        let profiles = unique(profiles.iter());
        let need_quotes = profiles.iter().any(|name| needs_quotes(name));
        Self { profiles, need_quotes, ..Self::default() }
    }
}

/// Whether text has to be quoted in a CSV.
pub(super) fn needs_quotes(text: &str) -> bool {
    text.contains([',', '"', '\n', '\r'])
}

fn unique<'a>(names: impl Iterator<Item = &'a String> + Clone) -> Vec<String> {
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for name in names.clone() {
        *uses.entry(name).or_default() += 1;
    }
    let numbered = names
        .enumerate()
        .map(|(index, name)| if uses[name.as_str()] > 1 { format!("{name}#{index}") } else { name.clone() });
    numbered.collect()
}
