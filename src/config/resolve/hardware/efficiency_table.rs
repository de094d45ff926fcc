//! A device's measured kernels: files found, read and made a table; and what they leave to the curve.

use std::path::PathBuf;
use std::sync::Arc;

use oracle_components::device::{DeviceSpec, Efficiency};
use oracle_components::efficiency::EfficiencyCurves;
use oracle_components::kernel_times::KernelTimes;
use oracle_components::model::ModelArchitecture;
use oracle_components::scenario::Scenario;
use oracle_systems::costing::table_gaps;

use crate::catalog::{Catalog, load_hf_config};
use crate::config::declare::{Field, Placed};
use crate::config::diagnostic::{At, Diagnostics};
use crate::config::keys::{ComputeDevice, EfficiencyTable, Framework};
use crate::config::resolve::run_context::RunContext;
use crate::measured::{KernelFiles, kernel_times, layers_folder};

/// The efficiency of a device with measured kernels, on top of its curve.
pub(super) fn on_curve(
    device: &ComputeDevice,
    curve: Option<Arc<EfficiencyCurves>>,
    spec: Option<&DeviceSpec>,
    context: &RunContext,
    diagnostics: &mut Diagnostics,
) -> Option<Efficiency> {
    let key = &device.efficiency_table;
    let Some(table) = &key.value else { return curve.map(Efficiency::Curve) };
    let times = spec.and_then(|spec| times(table, spec, context, diagnostics));
    let Some(curve) = curve else {
        let message = "needs a curve for what it does not hold";
        diagnostics.error_with(&key.at, message, "name a device of the catalog, or an efficiency_curve");
        return None;
    };
    Some(times.map_or_else(
        || Efficiency::Curve(Arc::clone(&curve)),
        |times| Efficiency::Table(Arc::clone(&curve), Arc::new(times)),
    ))
}

/// What the files hold. `None` if one cannot be used, which has been reported.
fn times(
    table: &EfficiencyTable,
    spec: &DeviceSpec,
    context: &RunContext,
    diagnostics: &mut Diagnostics,
) -> Option<KernelTimes> {
    let mut find = |name: &str, at: &At| {
        let found = context.find(name);
        if found.is_none() {
            diagnostics.error(at, format!("no file {name}"));
        }
        found
    };
    let keys = [&table.gemm, &table.gemm_8bit, &table.prefill_attention, &table.decode_attention, &table.experts];
    let found = keys.map(|key| key.value.as_deref().map(|name| find(name, &key.at)));
    let layers: Option<Vec<_>> = table.layers.value.iter().map(|folder| find_layers(folder, &mut find)).collect();
    let is_missing = found.iter().any(|found| matches!(found, Some(None)));
    let model = layers_model(table, context, diagnostics);
    let (layers, false) = (layers?, is_missing) else { return None };
    if !table.layers.value.is_empty() && model.is_none() {
        return None;
    }
    let [gemm, gemm_8bit, prefill_attention, decode_attention, experts] = found.map(Option::flatten);
    let experts_gpu = table.experts_gpu.value.clone();
    let files = KernelFiles {
        gemm,
        gemm_8bit,
        prefill_attention,
        decode_attention,
        experts,
        experts_gpu,
        layers,
        ..KernelFiles::default()
    };
    match kernel_times(&files, model.as_deref(), spec) {
        Ok(measured) => {
            measured.warnings.into_iter().for_each(|warning| diagnostics.warn(&table.at, warning));
            Some(measured.times)
        }
        Err(error) => {
            diagnostics.error(&table.at, error.to_string());
            None
        }
    }
}

fn find_layers(folder: &Placed<String>, find: &mut impl FnMut(&str, &At) -> Option<PathBuf>) -> Option<(PathBuf, u32)> {
    // A folder may have an @ in its name.
    if let Some(path) = Some(PathBuf::from(&folder.value)).filter(|path| path.is_dir()) {
        return Some((path, 1));
    }
    let (name, ranks) = layers_folder(&folder.value).unwrap_or_else(|_| (PathBuf::from(&folder.value), 1));
    Some((find(&name.to_string_lossy(), &folder.at)?, ranks))
}

/// The model whose layers were measured.
fn layers_model(
    table: &EfficiencyTable,
    context: &RunContext,
    diagnostics: &mut Diagnostics,
) -> Option<Arc<ModelArchitecture>> {
    let key: &Field<String> = &table.layers_model;
    let Some(name) = key.value.as_deref() else {
        if !table.layers.value.is_empty() && !key.given {
            let message = "layers without layers_model, the model that was measured";
            diagnostics.error_with(&table.layers.at, message, "such as layers_model: Llama3.1-8B");
        }
        return None;
    };
    if let Some(architecture) = Catalog::builtin().architecture(name) {
        return Some(architecture);
    }
    match context.find(name).map(|path| load_hf_config(&path)) {
        Some(Ok(model)) => Some(Arc::new(model.architecture)),
        Some(Err(error)) => {
            diagnostics.error(&key.at, error.to_string());
            None
        }
        None => {
            let message = format!("{name:?} is neither a model of the catalog nor a Hugging Face config.json");
            diagnostics.error_with(&key.at, message, "`llmperforacle models` lists the known ones");
            None
        }
    }
}

/// Says of each framework on devices with measured kernels which of its operators were not measured.
pub(in crate::config::resolve) fn warn_of_gaps(
    frameworks: &[Framework],
    scenario: &Scenario,
    diagnostics: &mut Diagnostics,
) {
    for framework in frameworks {
        let name = framework.name.value.as_deref();
        let Some(engine) = scenario.engines.iter().find(|engine| Some(engine.name.as_str()) == name) else { continue };
        let gaps: Vec<String> = table_gaps(engine, scenario).into_iter().collect();
        if !gaps.is_empty() {
            let message = format!("priced by curve, for its devices' efficiency_table lacks them: {}", gaps.join("; "));
            diagnostics.warn(&framework.at, message);
        }
    }
}
