//! Every key of a configuration, declared once.
//!
//! One file a top-level section. Defaults and meanings are the predecessor's where it has the key; the doc comment of a
//! key is what the schema, the annotated example and the reference say about it.

mod distribution;
mod frameworks;
mod hardware;
mod metrics;
mod workload;

pub(crate) use distribution::{Distribution, LogNormal};
pub(crate) use frameworks::{Framework, FrameworkConfig, FrameworkKind, Parallelism, Strategy};
pub(crate) use hardware::{ComputeDevice, HardwareProfile, NetworkLink};
pub(crate) use metrics::Metrics;
pub(crate) use workload::{ClientProfile, PatternKind, PrefixPattern, Trace, Workload};

use oracle_components::scenario::LevelOfDetail;

use super::declare::{Field, Literal, Set, default, names, optional, required, section};

names!(LevelOfDetail { "high" => LevelOfDetail::High, "medium" => LevelOfDetail::Medium });

section! {
    /// A simulated serving deployment and the load on it.
    Config {
        /// Schema of this file, for editors.
        schema_uri: Field<String> = optional("none").named("$schema");
        /// How long, how exact, with which random numbers.
        simulation: Field<Simulation> = required();
        /// JSON file with the predecessor's model profiles; relative to the current folder, else to this file's folder or
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
            .unit("s").positive().example("60");
        /// Simulate until the last request has ended, however long that takes, instead of `max_simulation_time`.
        drain: Set<bool> = default(Literal::Flag(false)).example("false");
        /// Seed of every random draw; `workload.random_seed` comes before it.
        random_seed: Field<u64> = optional("0").example("42");
        /// Level of detail of costs: `high` prices layer by layer and lets collectives share links, `medium` prices
        /// layers in aggregate.
        lod: Set<LevelOfDetail> = default(Literal::Text("high")).example("high").also_called(&["level_of_detail"]);
    }
}
