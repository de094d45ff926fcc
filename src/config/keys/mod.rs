//! Every key of a configuration, declared once.
//!
//! One file a top-level section. Defaults and meanings are the predecessor's where it has the key; the doc comment of a
//! key is what the schema, the annotated example and the reference say about it.

mod distribution;
mod frameworks;
mod hardware;
mod load;
mod metrics;
mod shorthand;
mod workload;

pub(crate) use distribution::{Distribution, Histogram, LogNormal, Mixture};
pub(crate) use frameworks::{
    CacheDtype, ContextLength, Framework, FrameworkConfig, FrameworkKind, FrontEnd, FrontEndDelay, MoeBackend,
    Parallelism, Retention, Strategy,
};
pub(crate) use hardware::{ComputeDevice, EfficiencyTable, HardwareProfile, NetworkLink, ServerTopology};
pub(crate) use load::{Load, Markov, Process, Rate, Stage};
pub(crate) use metrics::Metrics;
pub(crate) use workload::{ClientProfile, Images, PatternKind, PrefixPattern, Slo, Trace, TraceColumns, Workload};

use oracle_components::scenario::LevelOfDetail;

use super::declare::{Field, Literal, Set, default, names, optional, required, section};

/// Longest time that a key may state, in seconds: some 31 years. The clock, of nanoseconds in 64 bits, goes to 584.
const LONGEST_S: f64 = 1e9;
/// The same in milliseconds.
const LONGEST_MS: f64 = LONGEST_S * 1e3;
/// Longest time that a key may add to a single step or transfer, in seconds.
const LONGEST_DELAY_S: f64 = 3_600.0;
/// Lowest efficiency, of FLOP/s and bandwidth. Below, a step takes longer than any simulation.
const LOWEST_EFFICIENCY: f64 = 1e-3;
/// Most tokens of an image in the vision encoder.
const MOST_ENCODER_TOKENS: f64 = crate::workload::MAX_ENCODER_TOKENS as f64;
/// Most bytes of a token on a link.
const MOST_BYTES_PER_TOKEN: f64 = 1e9;

/// Where a key of this name is declared; the first place of several.
pub(crate) fn path_of(name: &str) -> Option<String> {
    super::declare::path_of(name, Config::DECLARATION)
}

names!(LevelOfDetail { "high" => LevelOfDetail::High, "medium" => LevelOfDetail::Medium });

section! {
    /// A simulated serving deployment and the load on it.
    Config {
        /// Schema of this file, for editors.
        schema_uri: Field<String> = optional("none").named("$schema");
        /// How long, how exact, with which random numbers.
        simulation: Field<Simulation> = required();
        /// JSON file with the predecessor's model profiles; relative to the current folder, else to this file's folder
        /// or
        /// its parents.
        model_characteristics_db_path: Field<String> = optional("the built-in catalog alone");
        /// GPUs and the links between them.
        hardware_profile: Field<HardwareProfile> = required();
        /// Who sends requests, when, and how long they are.
        workload: Field<Workload> = required();
        /// The serving engines. Those that are workload targets are replicas behind `load_balancing_strategy`.
        frameworks_to_test: Field<Vec<Framework>> = required();
        /// What is measured and where it is written.
        metrics_config: Set<Metrics> = default(Literal::EmptyMapping);
    }
}

section! {
    /// How long, how exact, with which random numbers.
    Simulation {
        /// Name of the run and of its folder below `output/`.
        name: Field<String> = optional("the name of the file without its extension");
        /// The simulation stops here; requests still in flight are INCOMPLETE. Not needed with `drain` or a trace.
        max_simulation_time: Field<f64> = optional("with `drain` or a trace: until the last request has ended")
            .unit("s").up_to(LONGEST_S).example("60");
        /// Simulate until the last request has ended, however long that takes, instead of `max_simulation_time`.
        drain: Set<bool> = default(Literal::Flag(false)).example("false");
        /// Seed of every random draw; `workload.random_seed` comes before it.
        random_seed: Field<u64> = optional("0").example("42");
        /// Level of detail of costs: `high` prices layer by layer and lets collectives share links, `medium` prices
        /// layers in aggregate.
        lod: Set<LevelOfDetail> = default(Literal::Text("high")).example("high").also_called(&["level_of_detail"]);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::Config;
    use crate::config::declare::{Decode, Key, Literal, Need, Section, Shape};

    /// Every section that can be reached from the root.
    fn sections() -> Vec<&'static Section> {
        let mut found = vec![Config::DECLARATION];
        let mut index = 0;
        while let Some(section) = found.get(index).copied() {
            for inner in section.keys.iter().flat_map(|key| inner_sections(key.shape)) {
                if !found.iter().any(|known| known.name == inner.name) {
                    found.push(inner);
                }
            }
            index += 1;
        }
        found
    }

    fn inner_sections(shape: &'static Shape) -> Vec<&'static Section> {
        match shape {
            Shape::List(inner) | Shape::Names(inner) => inner_sections(inner),
            Shape::Or(one, other) => inner_sections(one).into_iter().chain(inner_sections(other)).collect(),
            Shape::Section(section) => vec![section],
            Shape::Variants(variants) => variants().of.iter().map(|(_, inner)| *inner).collect(),
            _ => Vec::new(),
        }
    }

    fn has_type(value: Literal, key: &Key) -> bool {
        let holds = |value: f64| key.bounds.is_none_or(|bounds| bounds.hold(value));
        match (value, key.shape) {
            (Literal::Flag(_), Shape::Flag) | (Literal::Text(_), Shape::Text) => true,
            (Literal::EmptyMapping, Shape::Names(_) | Shape::Section(_)) => true,
            (Literal::EmptyList, Shape::List(_)) => true,
            (Literal::Integer(value), Shape::Integer) => value >= 0 && holds(value as f64),
            (Literal::Number(value), Shape::Number) => holds(value),
            (Literal::Numbers(values), Shape::List(Shape::Number)) => values.iter().copied().all(holds),
            (Literal::Text(name), Shape::Choice(names)) => names.contains(&name),
            _ => false,
        }
    }

    #[test]
    fn every_default_has_its_keys_type_and_is_in_range() {
        for section in sections() {
            for key in section.keys {
                if let Need::Default(value) = key.need {
                    assert!(has_type(value, key), "{}.{}: {value:?}", section.name, key.name);
                }
            }
        }
    }

    #[test]
    fn every_key_has_a_name_of_its_own_and_a_doc() {
        for section in sections() {
            let mut names = HashSet::new();
            for key in section.keys {
                assert!(names.insert(key.name), "{}.{} twice", section.name, key.name);
                assert!(key.doc.trim().ends_with('.'), "{}.{}", section.name, key.name);
            }
            for other in section.keys.iter().flat_map(|key| key.also_called) {
                assert!(!names.contains(other), "{}.{other} is a key itself", section.name);
            }
        }
        assert!(matches!(Config::SHAPE, Shape::Section(_)));
    }
}
