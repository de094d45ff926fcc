//! `calibrate kernels`: measured kernels in, a curve file out.

use serde_json::json;

use super::args::CalibrateKernels;
use super::{Failure, in_format, print, tell};
use crate::calibrate::{Calibration, KernelFiles, fit_kernels, take_over_mixed};
use crate::catalog::{Catalog, CurveFile, FitError, TakenOver};
use crate::measured::layers_folder;
use crate::tables::{Block, Cell, Column, Document, Findings, Table, pretty};

/// Most points that a curve is fitted to. A stride over evenly measured shapes can drop a kind of them, such as all odd batches.
const MOST_POINTS: usize = 20_000;

/// Curves and whether files measure them.
type Measures = [(&'static str, fn(&KernelFiles) -> bool); 9];
const MEASURES: Measures = [
    ("gemm", |files| files.gemm.is_some() || !files.layers.is_empty()),
    ("gemm_8bit", |files| files.gemm_8bit.is_some()),
    ("experts", |files| files.experts.is_some()),
    ("experts_8bit", |files| files.experts.is_some()),
    ("prefill_attention", |files| files.prefill_attention.is_some() || !files.layers.is_empty()),
    ("decode_attention", |files| files.decode_attention.is_some() || !files.layers.is_empty()),
    ("decode_attention_multi_head", |files| files.decode_attention.is_some()),
    ("elementwise", |files| !files.layers.is_empty()),
    ("sampler", |files| !files.layers.is_empty()),
];

/// Fits curves to measured kernels.
pub fn kernels(command: &CalibrateKernels) -> Result<(), Failure> {
    let bad_input = |message: String| Failure::BadInput(Some(message));
    let catalog = Catalog::builtin();
    let Some(device) = catalog.device(&command.device) else {
        return Err(bad_input(format!(
            "no device {:?} in the catalog; `llmperforacle devices` lists them",
            command.device
        )));
    };
    let Some(model) = catalog.model(&command.layers_model) else {
        return Err(bad_input(format!("no model {:?} in the catalog", command.layers_model)));
    };
    let files = files(command).map_err(bad_input)?;
    if MEASURES.iter().all(|(_, measures)| !measures(&files)) {
        return Err(bad_input("nothing to fit to; name at least one file of measured kernels".to_owned()));
    }
    let calibration = Calibration {
        device: &device.spec,
        processors: device.curves.curves.processors,
        layers_model: &model.architecture,
        most_points: MOST_POINTS,
    };
    let named = |name: &str| {
        let known: Vec<&str> = catalog.curves().iter().map(|curve| curve.name.as_str()).collect();
        let unknown = || format!("no efficiency curve {name:?}; known are {}", known.join(", "));
        catalog.curve(name).map(|curve| &curve.curves).ok_or_else(|| bad_input(unknown()))
    };
    let from = command.take_over_from.as_ref().unwrap_or(&device.curves.name);
    let mut base = named(from)?.clone();
    if let Some(other) = command.mixed_from.as_deref().map(named).transpose()? {
        for curve in [&mut base.decode_attention, &mut base.decode_attention_multi_head] {
            take_over_mixed(curve, &other.decode_attention, calibration.processors / other.processors);
        }
    }
    if files.experts.is_some() {
        base.tuned_experts.clone_from(&command.tuned_experts);
    }
    let fitted = fit_kernels(&files, &calibration, &base).map_err(|error| bad_input(error.to_string()))?;
    let is_measured = |name: &str, measures: &fn(&KernelFiles) -> bool| {
        measures(&files) && (!name.starts_with("experts") || fitted.errors.iter().any(|error| error.operator == name))
    };
    let missing: Vec<String> = MEASURES
        .iter()
        .filter(|(name, measures)| !is_measured(name, measures))
        .map(|(name, _)| (*name).to_owned())
        .collect();
    let mut taken_over = Vec::new();
    if !missing.is_empty() {
        taken_over.push(TakenOver { operators: missing, from: from.clone() });
    }
    if let Some(from) = command.mixed_from.clone().filter(|from| files.layers.is_empty() && *from != device.curves.name)
    {
        taken_over.push(TakenOver { operators: vec!["decodes beside prompts".to_owned()], from });
    }
    let curve = CurveFile {
        name: command.name.clone().unwrap_or_else(|| device.spec.name.clone()),
        source: command.source.clone().unwrap_or_else(|| format!("kernels measured on {}", device.spec.name)),
        taken_over,
        errors: fitted.errors,
        curves: fitted.curves,
    };
    write(command, &curve)
}

fn files(command: &CalibrateKernels) -> Result<KernelFiles, String> {
    let layers = command.layers.iter().map(|layers| layers_folder(layers).map_err(|error| format!("--layers {error}")));
    Ok(KernelFiles {
        gemm: command.gemm.clone(),
        gemm_8bit: command.gemm_8bit.clone(),
        prefill_attention: command.prefill_attention.clone(),
        decode_attention: command.decode_attention.clone(),
        experts: command.moe.clone(),
        experts_gpu: command.moe_gpu.clone(),
        layers: layers.collect::<Result<_, _>>()?,
    })
}

/// Errors on what was held out of a fit.
struct HeldOut<'a>(&'a [FitError]);

impl Findings for HeldOut<'_> {
    fn document(&self) -> Document {
        Document(vec![Block::Table(self.records())])
    }

    fn records(&self) -> Table {
        let columns = vec![
            Column::words("operator", "held-out error"),
            Column::figures("median_pct", "median %"),
            Column::figures("p90_pct", "p90 %"),
            Column::figures("points", "points"),
        ];
        let percent = |pct: f64| Cell::figure(pct, format!("{pct:.1}"));
        let row = |error: &FitError| {
            vec![Cell::of(&error.operator), percent(error.median_pct), percent(error.p90_pct), Cell::of(error.points)]
        };
        Table { columns, rows: self.0.iter().map(row).collect() }
    }

    fn json(&self) -> String {
        let errors = self.0.iter().map(|FitError { operator, median_pct, p90_pct, points }| {
            json!({"operator": operator, "median_pct": median_pct, "p90_pct": p90_pct, "points": points})
        });
        pretty(&errors.collect())
    }
}

/// The table of errors to standard output, the curve to its file; without a file, the curve to standard output and the
/// table to standard error.
fn write(command: &CalibrateKernels, curve: &CurveFile) -> Result<(), Failure> {
    let table = in_format(&HeldOut(&curve.errors), command.format);
    let Some(path) = &command.output else {
        tell(table.trim_end());
        return print(&curve.yaml());
    };
    std::fs::write(path, curve.yaml())
        .map_err(|error| Failure::Failed(format!("cannot write {}: {error}", path.display())))?;
    print(&table)
}
