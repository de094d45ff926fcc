//! What of an engine's steps its device's measurements do not hold: for people.

use std::collections::BTreeSet;

use oracle_components::kernel_times::Heads;
use oracle_components::scenario::{EngineSpec, Scenario};

use super::attention_tables::measured_heads;
use super::layers::{ExpertLoad, ModelRank};
use super::operator::{KernelKind, Operator};
use super::rates::Rates;
use super::stage::layers_of_stage;
use super::stage_curves::with_experts_together;
use super::tables::{Known, Table};

/// The operators of an engine that are priced by curve, in part or in whole, although their device has measurements.
#[must_use]
pub fn table_gaps(engine: &EngineSpec, scenario: &Scenario) -> BTreeSet<String> {
    let mut gaps = BTreeSet::new();
    let rank = ModelRank::new(engine, ExpertLoad::Busiest);
    let experts = engine.model.experts().map_or(0.0, |experts| f64::from(experts.count));
    for stage in 0..engine.pipeline_parallel.max(1) {
        let curves = Rates::of_stage(engine, scenario, stage as usize).curves;
        let Some(table) = curves.and_then(|curves| curves.table) else { continue };
        let operators = with_experts_together(rank.operators(&layers_of_stage(engine, stage)));
        gaps.extend(operators.iter().filter_map(|operator| gap(&table, operator, experts)));
        gaps.extend(attention_gaps(&table, measured_heads(engine).as_ref()));
    }
    gaps
}

fn gap(table: &Table, operator: &Operator, experts: f64) -> Option<String> {
    let name = match operator.kind {
        KernelKind::Gemm { depth, columns } => format!("products {columns} wide and {depth} deep"),
        KernelKind::WideGemm { .. } => "routers in 32 bits".to_owned(),
        KernelKind::Stream { kernels, .. } if kernels > 1.0 => "norms and rotary embedding".to_owned(),
        KernelKind::Stream { .. } => "activation or embedding".to_owned(),
        KernelKind::Sampler => "sampler".to_owned(),
        KernelKind::Experts { .. } => "experts".to_owned(),
        KernelKind::PrefillAttention { .. } => return None,
    };
    match table.known(operator, experts) {
        Known::Measured(_) => None,
        Known::Neighbours(_) => Some(format!("{name} (corrected as products near them are)")),
        Known::Nothing => Some(name),
    }
}

fn attention_gaps(table: &Table, heads: Option<&Heads>) -> impl Iterator<Item = String> {
    let prefill = heads.and_then(|heads| table.prefill_of(heads));
    let decode = heads.and_then(|heads| table.decode_of(heads));
    let gap = |name: &str, measured: Option<Heads>| match measured {
        None => Some(name.to_owned()),
        Some(measured) if heads.is_some_and(|heads| *heads != measured) => {
            Some(format!("{name} (corrected as with {} and {} heads)", measured.query, measured.kv))
        }
        Some(_) => None,
    };
    let mixed = decode.filter(|lines| !lines.with_prompts.is_empty());
    [
        gap("prefill attention", prefill.map(|times| times.heads)),
        gap("decode attention", decode.filter(|lines| !lines.alone.is_empty()).map(|lines| lines.heads)),
        mixed.is_none().then(|| "decode attention beside prompts".to_owned()),
    ]
    .into_iter()
    .flatten()
}
