//! `calibrate kernels`: measured kernels in, a curve file out.

use serde_json::json;

use super::args::CalibrateKernels;
use super::{Failure, in_format, print, put_in_folder, refuse_output, tell};
use crate::calibrate::{Calibration, KernelFiles, fit_kernels, take_over_mixed};
use crate::catalog::{Catalog, CurveFile, FitError, TakenOver};
use crate::inputs::ReadFiles;
use crate::measured::layers_folder;
use crate::tables::{Block, Cell, Column, Document, Findings, Table, pretty};

/// Most points that a curve is fitted to.
const MOST_POINTS: usize = 6_000;

const BYTES_PER_MB: f64 = 1e6;

/// Curves and whether files measure them.
type Measures = [(&'static str, fn(&KernelFiles) -> bool); 12];
const MEASURES: Measures = [
    ("expert_kernels", |files| files.expert_kernels.is_some()),
    ("gemm", |files| files.gemm.is_some() || !files.layers.is_empty()),
    ("gemm_8bit", |files| files.gemm_8bit.is_some()),
    ("gemm_8bit_block", |files| files.gemm_8bit_block.is_some()),
    ("gemm_4bit", |files| files.gemm_4bit.is_some()),
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
    command.output.iter().try_for_each(|path| refuse_output(path, &reads(&files), command.overwrite))?;
    let calibration = Calibration {
        device: &device.spec,
        processors: device.curves.curves.processors,
        layers_model: &model.architecture,
        most_points: MOST_POINTS,
        l2_bytes: command.l2_mb * BYTES_PER_MB,
        cached_weight_bytes: command.cached_weights_mb * BYTES_PER_MB,
    };
    let named = |name: &str| {
        let known: Vec<&str> = catalog.curve_names().collect();
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
    // Which families of kernels serve experts is another device's own.
    if *from != device.curves.name {
        base.expert_kernels.clear();
        base.corrections.retain(|name, _| !name.starts_with("experts "));
    }
    if files.experts.is_some() {
        base.tuned_experts.clone_from(&command.tuned_experts);
    }
    let fitted = fit_kernels(&files, &calibration, &base).map_err(|error| bad_input(error.to_string()))?;
    let is_measured = |name: &str, measures: &fn(&KernelFiles) -> bool| {
        measures(&files)
            && (!matches!(name, "experts" | "experts_8bit") || fitted.errors.iter().any(|error| error.operator == name))
    };
    // A curve that nobody has is taken over from nobody.
    let is_absent = |name: &str| match name {
        "expert_kernels" => fitted.curves.expert_kernels.is_empty(),
        "gemm_8bit_block" => fitted.curves.gemm_8bit_block.is_none(),
        "gemm_4bit" => fitted.curves.gemm_4bit.is_none(),
        _ => false,
    };
    let missing: Vec<String> = MEASURES
        .iter()
        .filter(|(name, measures)| !is_measured(name, measures) && !is_absent(name))
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
        gemm_8bit_block: command.gemm_8bit_block.clone(),
        gemm_4bit: command.gemm_4bit.clone(),
        prefill_attention: command.prefill_attention.clone(),
        decode_attention: command.decode_attention.clone(),
        experts: command.moe.clone(),
        experts_gpu: command.moe_gpu.clone(),
        expert_kernels: command.moe_kernels.clone(),
        two_matrix_experts: command.two_matrix_experts.clone(),
        layers: layers.collect::<Result<_, _>>()?,
    })
}

/// All of them.
fn reads(files: &KernelFiles) -> ReadFiles {
    let tables = [
        &files.gemm,
        &files.gemm_8bit,
        &files.gemm_8bit_block,
        &files.gemm_4bit,
        &files.prefill_attention,
        &files.decode_attention,
        &files.experts,
        &files.expert_kernels,
    ];
    let folders = files.layers.iter().map(|(folder, _)| folder);
    ReadFiles { files: tables.into_iter().flatten().chain(folders).cloned().collect(), ..ReadFiles::default() }
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
            Column::figures("bias_pct", "bias %"),
            Column::figures("fitted", "fitted to"),
            Column::figures("points", "held out"),
        ];
        let percent = |pct: f64| Cell::figure(pct, format!("{pct:.1}"));
        let row = |error: &FitError| {
            vec![
                Cell::of(&error.operator),
                percent(error.median_pct),
                percent(error.p90_pct),
                percent(error.bias_pct),
                Cell::of(error.fitted),
                Cell::of(error.points),
            ]
        };
        Table { columns, rows: self.0.iter().map(row).collect() }
    }

    fn json(&self) -> String {
        let errors = self.0.iter().map(|error| {
            json!({
                "operator": error.operator, "median_pct": error.median_pct, "p90_pct": error.p90_pct,
                "bias_pct": error.bias_pct, "fitted": error.fitted, "points": error.points,
            })
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
    put_in_folder(path, curve.yaml().as_bytes())?;
    print(&table)
}
