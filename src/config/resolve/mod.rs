//! From decoded keys to a scenario, a workload and an output plan.
//!
//! Each part checks what it can and reports all it finds; nothing is built that an error touches. What parts hand on to
//! each other lies below them: `devices` and `topology` as far as they are known, a framework's `plan`, its `ledger` of defaults, the
//! `run_context`.

mod behaviour;
mod devices;
mod distribution;
mod doubts;
mod durations;
mod fleet;
mod frameworks;
mod hardware;
mod ledger;
mod load;
mod notes;
mod output;
mod plan;
mod prefixes;
mod run_context;
mod slo;
mod topology;
mod trace;
mod wiring;
mod workload;

use oracle_components::SimTime;
use oracle_components::scenario::Scenario;

use super::Resolved;
use super::declare::Decode;
use super::diagnostic::Diagnostics;
use super::keys::{Config, Simulation};
use crate::fidelity;
use crate::output::OutputPlan;
pub(crate) use fleet::capture_sizes;
pub(super) use frameworks::check_models;
pub(super) use run_context::RunContext;
pub(super) use workload::resolve as workload_alone;

/// Resolves a decoded configuration. `None` if there is an error.
pub(super) fn resolve(config: &Config, context: &RunContext, diagnostics: &mut Diagnostics) -> Option<Resolved> {
    let horizon = config.simulation.value.as_ref().and_then(|simulation| horizon(simulation, config, diagnostics));
    let default_seed = config.simulation.value.as_ref().and_then(|simulation| simulation.random_seed.value);
    let profile = config.hardware_profile.value.as_ref();
    let hardware = profile.map(|profile| hardware::resolve(profile, context, diagnostics));
    let frameworks = frameworks::resolve(config, hardware.as_ref(), context, diagnostics);
    let workload = config.workload.value.as_ref();
    let traffic = workload.and_then(|workload| workload::resolve(workload, default_seed, context, diagnostics));
    let series_interval = output::series_interval(&config.metrics_config.value, horizon, traffic.as_ref());
    let output = output::resolve(config, context, diagnostics);
    output::check_warm_up(&config.metrics_config.value, horizon, diagnostics);
    let engines = hardware
        .zip(workload)
        .and_then(|(hardware, workload)| fleet::build(frameworks, hardware, workload, diagnostics));
    if diagnostics.has_errors() {
        return None;
    }
    let (simulation, workload_keys, engines, traffic) =
        (config.simulation.value.as_ref()?, workload?, engines?, traffic?);
    let seed = default_seed.or(workload_keys.random_seed.value).unwrap_or(0);
    let scenario = Scenario {
        horizon,
        seed,
        level_of_detail: simulation.lod.value,
        gpus: engines.gpus,
        links: engines.links,
        engines: engines.engines,
        routing: workload_keys.load_balancing_strategy.value,
        decode_routing: workload_keys
            .decode_balancing_strategy
            .value
            .unwrap_or(workload_keys.load_balancing_strategy.value),
        kv_paths: engines.kv_paths,
        prompt_bytes_per_token: workload_keys.bytes_per_token_estimate_for_network.value,
        series_interval,
    };
    let frameworks = config.frameworks_to_test.value.as_deref().unwrap_or_default();
    durations::check(frameworks, &scenario, diagnostics);
    hardware::efficiency_table::warn_of_gaps(frameworks, &scenario, diagnostics);
    let output = output.map(|output| OutputPlan {
        load: output::load(&traffic),
        notes: notes::of_assumptions(frameworks).into_iter().chain(notes::of(&scenario)).collect(),
        estimated_power: notes::estimated_power(&scenario),
        fidelity: fidelity::expected(&scenario),
        ..output
    });
    Some(Resolved {
        scenario,
        profile_names: workload::profile_names(&traffic),
        workload: traffic,
        output: OutputPlan { defaults: engines.defaults, ..output? },
        warnings: Vec::new(),
        canonical: config.json(),
    })
}

/// When the simulation stops; `None` when the last request has ended.
fn horizon(simulation: &Simulation, config: &Config, diagnostics: &mut Diagnostics) -> Option<SimTime> {
    if simulation.drain.value {
        if simulation.max_simulation_time.given {
            let message = "has no effect with drain: true";
            diagnostics.warn(&simulation.max_simulation_time.at, message);
        }
        return None;
    }
    let has_trace = config.workload.value.as_ref().is_some_and(|workload| workload.trace.given);
    if !simulation.max_simulation_time.given && !has_trace {
        let message = "missing required key max_simulation_time";
        diagnostics.error_with(&simulation.at, message, "such as max_simulation_time: 60, or drain: true");
    }
    simulation.max_simulation_time.value.map(SimTime::from_secs_f64)
}
