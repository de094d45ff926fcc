//! What to know before any figure: prices that rest on another device's measurements, and settings that the price says
//! are of no use.

use std::collections::BTreeSet;
use std::sync::Arc;

use oracle_components::device::{DeviceSpec, Efficiency};
use oracle_components::efficiency::{EfficiencyCurves, ProductShares};
use oracle_components::model::{Dtype, ModelArchitecture};
use oracle_components::scenario::{EngineSpec, Scenario};
use oracle_components::weight_format::WeightFormat;
use oracle_systems::costing::{StepCost, StepShape};

use super::doubts;
use crate::catalog::{Catalog, CatalogDevice, ConstantUse, Figure};
use crate::config::keys::Framework;

/// Kinds of engines that are priced for hints.
const MOST_KINDS: usize = 16;
/// The decodes and the prompt that they are priced with, in sequences and tokens.
const DECODES: u32 = 16;
const CONTEXT_TOKENS: u64 = 1_000;
const PROMPT_TOKENS: u32 = 2_048;
/// A step that takes this much longer is worth a word.
const WORTH_A_WORD: f64 = 1.01;

/// Models that are read as another family's.
pub(super) fn of_assumptions(frameworks: &[Framework]) -> Vec<String> {
    let mut notes = Vec::new();
    for config in frameworks.iter().filter_map(|framework| framework.config.value.as_ref()) {
        let Some((model, assumed)) =
            config.model_profile_id.value.as_ref().zip(config.assume_model_type.value.as_ref())
        else {
            continue;
        };
        let note = format!(
            "{model} is read as a model of the family {assumed}, as it was told to be: every figure rests on that"
        );
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    notes
}

/// What to know of a scenario, in the order of its engines.
pub(super) fn of(scenario: &Scenario) -> Vec<String> {
    let mut notes = Vec::new();
    let mut devices = BTreeSet::new();
    for engine in &scenario.engines {
        for gpu in engine.gpus.iter().map(|&gpu| &scenario.gpus[gpu as usize]) {
            if devices.insert(gpu.device.name.as_str()) {
                let efficiency = engine.efficiency.as_ref().unwrap_or(&gpu.efficiency);
                notes.extend(pricing(&gpu.device, efficiency));
                notes.extend(doubts::of(&gpu.device, efficiency, scenario));
            }
        }
    }
    if by_host_memory(scenario) {
        notes.push(BY_HOST_MEMORY.to_owned());
    }
    let mut kinds: Vec<&EngineSpec> = Vec::new();
    for engine in &scenario.engines {
        let is_known = |other: &&EngineSpec| {
            other.model == engine.model
                && other.tensor_parallel == engine.tensor_parallel
                && device(scenario, other) == device(scenario, engine)
        };
        if kinds.len() < MOST_KINDS && !kinds.iter().any(is_known) {
            kinds.push(engine);
        }
    }
    notes.extend(kinds.into_iter().flat_map(|engine| hints(engine, scenario)));
    notes
}

fn device<'a>(scenario: &'a Scenario, engine: &EngineSpec) -> &'a DeviceSpec {
    &scenario.gpus[engine.gpus[0] as usize].device
}

/// On what the prices of a device rest, unless it was measured.
fn pricing(device: &DeviceSpec, efficiency: &Efficiency) -> Option<String> {
    let name = &device.name;
    let catalog = Catalog::builtin().device(name);
    let curves = match efficiency {
        Efficiency::Constant { mfu, mbu } => {
            let own = catalog.and_then(|device| device.constants.as_ref());
            if let Some(ConstantUse { stated_by, .. }) = own.filter(|own| (own.mfu, own.mbu) == (*mfu, *mbu)) {
                return Some(format!(
                    "{name} is priced at constant shares of its own peaks for all kernels (mfu {mfu}, mbu {mbu}): {stated_by}"
                ));
            }
            return Some(format!("{name} is priced at constant efficiency (mfu {mfu}, mbu {mbu}) for all kernels"));
        }
        Efficiency::Curve(curves) | Efficiency::Table(curves, _) => curves,
    };
    match catalog.filter(|device| Arc::ptr_eq(&device.curves.curves, curves)) {
        Some(CatalogDevice { curves, .. }) if curves.is_derived => Some(format!(
            "{name} is priced by the efficiency curve of {}: its own kernels were not measured",
            curves.name
        )),
        Some(_) => None,
        None => Some(format!("{name} is priced by {}, which the configuration names", named(curves))),
    }
}

/// What is said where collectives go through the host's memory.
const BY_HOST_MEMORY: &str = "these GPUs may not read each other's memory: their collectives go through the host's, by a rule of \
                              thumb at 16 GB/s and 20 µs an all-reduce (hardware_profile.peer_to_peer: true where a host lets them)";

/// Whether an engine's collectives go through the host's memory.
fn by_host_memory(scenario: &Scenario) -> bool {
    let fabrics = scenario.engines.iter().flat_map(|engine| engine.fabrics.iter().flatten());
    let is_by_host =
        |name: &str| Catalog::builtin().fabrics().any(|known| known.fabric.name == name && !known.peer_to_peer);
    fabrics.map(|group| group.local.name.as_str()).any(is_by_host)
}

/// The devices of a scenario whose draw the catalog estimates, and the configuration does not say.
pub(super) fn estimated_power(scenario: &Scenario) -> Vec<String> {
    let is_estimated = |device: &&DeviceSpec| {
        let own = Catalog::builtin().device(&device.name);
        own.is_some_and(|own| own.uncertain.why(Figure::PowerW).is_some() && own.spec.power == device.power)
    };
    let used = scenario.engines.iter().flat_map(|engine| &engine.gpus);
    let devices = used.map(|&gpu| &*scenario.gpus[gpu as usize].device).filter(is_estimated);
    devices.map(|device| device.name.clone()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// A curve by the name that it has in the catalog.
fn named(curves: &EfficiencyCurves) -> String {
    let plain = |curves: &EfficiencyCurves| EfficiencyCurves {
        processors: 0.0,
        sustained: ProductShares::default(),
        ..curves.clone()
    };
    let known = Catalog::builtin().curves().find(|known| plain(&known.curves) == plain(curves));
    known.map_or_else(
        || "an efficiency curve of a file".to_owned(),
        |known| format!("the efficiency curve of {}", known.name),
    )
}

/// What would be faster with less.
fn hints(engine: &EngineSpec, scenario: &Scenario) -> Vec<String> {
    let mut hints = Vec::new();
    let model = &engine.model;
    let of_model = |model: ModelArchitecture| EngineSpec { model: Arc::new(model), ..engine.clone() };
    let is_narrow = |dtype: Dtype| matches!(dtype, Dtype::Fp8 | Dtype::Int8);
    if is_narrow(model.weight_format.dtype) {
        let wide = of_model((**model).clone().with_weights(WeightFormat::wide(model.activation_dtype)));
        hints.extend(slower(engine, &wide, scenario, &format!("8-bit weights of {}", model.name), "16-bit ones"));
    }
    if is_narrow(model.kv_dtype) {
        let wide = of_model(ModelArchitecture { kv_dtype: model.activation_dtype, ..(**model).clone() });
        hints.extend(slower(engine, &wide, scenario, "an 8-bit KV cache", "a 16-bit one"));
    }
    let ranks = engine.tensor_parallel;
    if ranks > 1 && engine.expert_parallel.is_none() {
        hints.extend(slower(engine, &on_one_rank(engine), scenario, &format!("{ranks} tensor-parallel ranks"), "one"));
    }
    hints
}

/// The engine with one rank a stage, whether or not it fits.
fn on_one_rank(engine: &EngineSpec) -> EngineSpec {
    EngineSpec {
        tensor_parallel: 1,
        gpus: engine.gpus.iter().copied().step_by(engine.tensor_parallel as usize).collect(),
        rings: vec![Vec::new(); engine.pipeline_parallel as usize],
        fabrics: Vec::new(),
        sequence_parallel: false,
        decode_context_parallel: 1,
        ..engine.clone()
    }
}

/// The steps that take longer with `more` than with `less`.
fn slower(more: &EngineSpec, less: &EngineSpec, scenario: &Scenario, this: &str, that: &str) -> Option<String> {
    let decodes = |sequences: u32| {
        let shape = StepShape { decode_sequences: sequences, sampled_rows: sequences, ..StepShape::default() };
        (format!("a step that decodes {sequences}"), shape, u64::from(sequences) * CONTEXT_TOKENS)
    };
    let pairs = u64::from(PROMPT_TOKENS) * (u64::from(PROMPT_TOKENS) + 1) / 2;
    let steps = [
        decodes(1),
        decodes(DECODES.min(more.scheduler.max_num_seqs)),
        (
            format!("a prompt of {PROMPT_TOKENS} tokens"),
            StepShape {
                prefill_sequences: 1,
                prefill_tokens: PROMPT_TOKENS,
                prefill_pairs: pairs,
                prefill_context_tokens: u64::from(PROMPT_TOKENS),
                prefill_longest_context: PROMPT_TOKENS,
                sampled_rows: 1,
                ..StepShape::default()
            },
            0,
        ),
    ];
    let (more, less) = (StepCost::new(more, scenario), StepCost::new(less, scenario));
    let told: Vec<String> = steps
        .iter()
        .filter_map(|(what, shape, context)| {
            let ms = |cost: &StepCost| cost.prepare(shape).duration(*context).as_millis_f64();
            let (with, without) = (ms(&more), ms(&less));
            (with > WORTH_A_WORD * without).then(|| format!("{what} takes {with:.2} ms in place of {without:.2} ms"))
        })
        .collect();
    (!told.is_empty()).then(|| format!("hint: slower here with {this} than with {that}: {}", told.join(", ")))
}
