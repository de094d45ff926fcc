//! What a pipeline stage's GPUs do in a second: the slowest rank counts, for every rank waits at the next all-reduce.
//!
//! Which peak counts is decided here alone, for costs and for what utilisation is measured against.

use std::collections::BTreeMap;
use std::sync::Arc;

use oracle_components::device::{DeviceSpec, Efficiency, PeakFlops};
use oracle_components::efficiency::{
    Correction, EfficiencyCurves, ExpertFamily, ExpertsCurve, GemmCurve, ProductShares,
};
use oracle_components::model::{Dtype, ModelArchitecture};
use oracle_components::scenario::{EngineSpec, Scenario};
use oracle_components::weight_format::{Grain, WeightFormat};

use super::operator::Precision;
use super::tables::Table;

/// Rates of the slowest rank of a stage: peak × efficiency × the engine's share of the GPU. With curves the efficiency is
/// left to them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rates {
    /// FLOP/s of products in the activations' type.
    pub(crate) activation_flops_per_s: f64,
    /// FLOP/s of products with 8-bit weights, where device and weights have them; else as for activations.
    pub(crate) weight_flops_per_s: f64,
    /// The same of products with routed experts.
    pub(crate) expert_flops_per_s: f64,
    /// Memory bytes a second.
    pub(crate) bytes_per_s: f64,
    /// Efficiency by kernel and shape.
    pub(crate) curves: Option<CurveRates>,
}

/// As what numbers are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Multiplied {
    /// In the activations' type.
    Wide,
    /// In 8 bits.
    EightBit,
    /// In 8 bits, square blocks of weights sharing a scale.
    EightBitBlocks,
    /// In 4 bits.
    FourBit,
}

impl Multiplied {
    fn of(weights: WeightFormat, device: &DeviceSpec) -> Self {
        let are_blocks = matches!(weights.scales.grain, Grain::Block(..));
        match weights.activations.filter(|_| own_product_peak(device, weights).is_some()) {
            Some(narrow) if narrow.bits() == 4 => Self::FourBit,
            Some(narrow) if narrow.bits() == 8 && are_blocks => Self::EightBitBlocks,
            Some(narrow) if narrow.bits() == 8 => Self::EightBit,
            _ => Self::Wide,
        }
    }
}

/// The curves of a device for a model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CurveRates {
    pub(crate) all: Arc<EfficiencyCurves>,
    /// What was measured on it.
    pub(crate) table: Option<Table>,
    /// As what the device multiplies the weights.
    weights: Multiplied,
    /// As what it does the routed experts'.
    experts: Multiplied,
    /// What the experts' kernels take, and what that is off by.
    experts_curve: (ExpertsCurve, Option<Correction>),
    /// What prefill attention is off by.
    prefill_correction: Option<Correction>,
    /// Whether the routed experts' weights are narrower than activations: their kernels (Marlin) suit tiles to the tokens.
    are_experts_narrow: bool,
}

impl CurveRates {
    fn of_device(efficiency: &Efficiency, device: &DeviceSpec, engine: &EngineSpec) -> Option<Self> {
        let (curves, times) = match efficiency {
            Efficiency::Constant { .. } => return None,
            Efficiency::Curve(curves) => (curves, None),
            Efficiency::Table(curves, times) => (curves, Some(times)),
        };
        let (weights, experts) = (engine.model.weight_format, engine.model.expert_format());
        Some(Self {
            all: Arc::clone(curves),
            table: times.map(|times| Table { times: Arc::clone(times), gpu_share: engine.gpu_share }),
            weights: Multiplied::of(weights, device),
            experts: Multiplied::of(experts, device),
            prefill_correction: curves.corrections.get("prefill_attention").cloned(),
            experts_curve: experts_curve(curves, device, engine),
            are_experts_narrow: experts.dtype.bits() < engine.model.activation_dtype.bits(),
        })
    }

    /// The curve of products.
    pub(crate) fn gemm(&self, precision: Precision) -> &GemmCurve {
        self.named_gemm(precision).0
    }

    /// What it is off by.
    pub(crate) fn gemm_correction(&self, precision: Precision) -> Option<&Correction> {
        self.all.corrections.get(self.named_gemm(precision).1)
    }

    fn named_gemm(&self, precision: Precision) -> (&GemmCurve, &'static str) {
        let all = &*self.all;
        match (self.multiplied(precision), &all.gemm_8bit_block, &all.gemm_4bit) {
            (Multiplied::Wide, ..) => (&all.gemm, "gemm"),
            (Multiplied::EightBitBlocks, Some(blocks), _) => (blocks, "gemm_8bit_block"),
            (Multiplied::FourBit, _, Some(four_bits)) => (four_bits, "gemm_4bit"),
            _ => (&all.gemm_8bit, "gemm_8bit"),
        }
    }

    pub(crate) fn prefill_correction(&self) -> Option<&Correction> {
        self.prefill_correction.as_ref()
    }

    /// What is left of the peak FLOP/s in [`Rates`].
    pub(crate) fn sustained(&self, precision: Precision) -> f64 {
        let ProductShares { gemm_share, gemm_8bit_share } = self.all.sustained;
        if self.multiplied(precision) == Multiplied::Wide { gemm_share } else { gemm_8bit_share }
    }

    /// Of the FLOP/s at which the products of its table were measured, what lasts, where [`Rates`] have `flops_per_s`.
    pub(crate) fn lasting_in_table(&self, precision: Precision, flops_per_s: f64) -> f64 {
        let is_8bit = self.multiplied(precision) != Multiplied::Wide;
        let sustained = self.sustained(precision);
        let ProductShares { gemm_share, gemm_8bit_share } = self.all.fastest;
        let fastest = if is_8bit { gemm_8bit_share } else { gemm_share };
        let peak = flops_per_s / sustained;
        self.table.as_ref().map_or(1.0, |table| table.lasting_share(is_8bit, peak, fastest, sustained))
    }

    fn multiplied(&self, precision: Precision) -> Multiplied {
        match precision {
            Precision::Activations => Multiplied::Wide,
            Precision::Weights => self.weights,
            Precision::Experts => self.experts,
        }
    }

    pub(crate) fn experts(&self) -> (&ExpertsCurve, Option<&Correction>) {
        (&self.experts_curve.0, self.experts_curve.1.as_ref())
    }

    /// Whether kernels are tuned for so many experts of this width.
    pub(crate) fn is_tuned(&self, experts: f64, width: f64) -> bool {
        self.are_experts_narrow || self.all.tuned_experts.contains(&[experts as u32, width as u32])
    }
}

/// What curves call a model's routed experts on a device, and their families of kernels that were measured.
#[must_use]
pub fn expert_families<'a>(
    curves: &'a EfficiencyCurves,
    device: &DeviceSpec,
    model: &ModelArchitecture,
) -> Option<(&'static str, &'a BTreeMap<ExpertFamily, ExpertsCurve>)> {
    let format = model.expert_format();
    let names: &[&str] = match (Multiplied::of(format, device), format.dtype) {
        (Multiplied::EightBitBlocks, _) => &["fp8_block"],
        (Multiplied::EightBit, Dtype::Mxfp4) => &["w4a8_mxfp4_mxfp8", "fp8"],
        (Multiplied::EightBit, _) => &["fp8"],
        (Multiplied::FourBit, _) => &["nvfp4"],
        (Multiplied::Wide, Dtype::Mxfp4) => &["w4a16_mxfp4"],
        (Multiplied::Wide, Dtype::Int4) => &["int4_wo"],
        (Multiplied::Wide, Dtype::Bf16 | Dtype::Fp16) => &["bfloat16"],
        (Multiplied::Wide, _) => &[],
    };
    names.iter().find_map(|name| Some((*name, curves.expert_kernels.get(*name)?)))
}

/// What curves call an engine's routed experts, and the kernels that it asks for, or vLLM takes, if they were measured on the device.
#[must_use]
pub fn expert_kernels(
    curves: &EfficiencyCurves,
    device: &DeviceSpec,
    engine: &EngineSpec,
) -> Option<(&'static str, ExpertFamily)> {
    let (name, families) = expert_families(curves, device, &engine.model)?;
    // Whole experts on ranks: CUTLASS before Triton where scales go by blocks (vLLM's `fused_moe/oracle/fp8.py`).
    let is_divided = engine.expert_parallel.is_some();
    let is_last = |family: ExpertFamily| is_divided && name == "fp8_block" && family == ExpertFamily::Triton;
    let order = |family: ExpertFamily| (engine.expert_kernels != Some(family), is_last(family), family);
    families.keys().copied().min_by_key(|&family| order(family)).map(|family| (name, family))
}

/// The curve of the kernels that an engine asks for, or vLLM takes, for its experts, if they were measured; else that of
/// their width.
fn experts_curve(
    curves: &EfficiencyCurves,
    device: &DeviceSpec,
    engine: &EngineSpec,
) -> (ExpertsCurve, Option<Correction>) {
    let measured = expert_kernels(curves, device, engine).map(|(name, family)| {
        let curve = curves.expert_kernels[name][&family];
        (curve, curves.corrections.get(&experts_correction(name, family)).cloned())
    });
    measured.unwrap_or_else(|| {
        let is_wide = Multiplied::of(engine.model.expert_format(), device) == Multiplied::Wide;
        (if is_wide { curves.experts } else { curves.experts_8bit }, None)
    })
}

/// The name of what the curve of experts is off by.
#[must_use]
pub fn experts_correction(weights: &str, family: ExpertFamily) -> String {
    format!("experts {weights} {family:?}").to_lowercase()
}

impl Rates {
    /// Rates of stage `stage` of an engine.
    pub(crate) fn of_stage(engine: &EngineSpec, scenario: &Scenario, stage: usize) -> Self {
        let ranks = engine.tensor_parallel.max(1) as usize;
        engine.gpus[stage * ranks..(stage + 1) * ranks]
            .iter()
            .map(|&gpu| {
                let gpu = &scenario.gpus[gpu as usize];
                let efficiency = engine.efficiency.as_ref().unwrap_or(&gpu.efficiency);
                let (mfu, mbu) = match efficiency {
                    Efficiency::Constant { mfu, mbu } => {
                        (ProductShares { gemm_share: *mfu, gemm_8bit_share: *mfu }, *mbu)
                    }
                    Efficiency::Curve(curves) | Efficiency::Table(curves, _) => (curves.sustained, 1.0),
                };
                let activation_flops_per_s =
                    peak(&gpu.device, engine.model.activation_dtype) * mfu.gemm_share * engine.gpu_share;
                let product = |weights| {
                    own_product_peak(&gpu.device, weights)
                        .map_or(activation_flops_per_s, |peak| peak * mfu.gemm_8bit_share * engine.gpu_share)
                };
                Self {
                    activation_flops_per_s,
                    weight_flops_per_s: product(engine.model.weight_format),
                    expert_flops_per_s: product(engine.model.expert_format()),
                    bytes_per_s: gpu.device.memory_bytes_per_s * mbu * engine.gpu_share,
                    curves: CurveRates::of_device(efficiency, &gpu.device, engine),
                }
            })
            .reduce(Self::slowest)
            .expect("a stage has at least one GPU")
    }

    /// By each rate; of unlike curves, the one of the slower memory.
    pub(crate) fn slowest(self, other: Self) -> Self {
        let is_other_slower = other.bytes_per_s < self.bytes_per_s;
        Self {
            activation_flops_per_s: self.activation_flops_per_s.min(other.activation_flops_per_s),
            weight_flops_per_s: self.weight_flops_per_s.min(other.weight_flops_per_s),
            expert_flops_per_s: self.expert_flops_per_s.min(other.expert_flops_per_s),
            bytes_per_s: self.bytes_per_s.min(other.bytes_per_s),
            curves: if is_other_slower { other.curves } else { self.curves },
        }
    }

    pub(crate) fn flops_per_s(&self, precision: Precision) -> f64 {
        match precision {
            Precision::Activations => self.activation_flops_per_s,
            Precision::Weights => self.weight_flops_per_s,
            Precision::Experts => self.expert_flops_per_s,
        }
    }
}

/// Peak FLOP/s of a device for a model: that of the fastest of the types in which the model's matrix products run, so
/// that no utilisation measured against it is above 1.
///
/// # Panics
/// If the device has no peak: what the config checks.
#[must_use]
pub fn peak_flops(device: &DeviceSpec, model: &ModelArchitecture) -> f64 {
    let product = |weights| product_peak(device, weights, model.activation_dtype);
    let dense = peak(device, model.activation_dtype).max(product(model.weight_format));
    dense.max(product(model.expert_format()))
}

/// [`peak_flops`] of each GPU for the model that it serves: the first engine's where several share it, and 16-bit products
/// where none does.
///
/// # Panics
/// If a device has no peak: what the config checks.
#[must_use]
pub fn gpu_peak_flops(scenario: &Scenario) -> Vec<f64> {
    let device = |gpu: usize| &*scenario.gpus[gpu].device;
    let mut peaks: Vec<f64> = (0..scenario.gpus.len()).map(|gpu| peak(device(gpu), Dtype::Bf16)).collect();
    // In reverse, so that the first engine has the last word.
    for engine in scenario.engines.iter().rev() {
        for &gpu in &engine.gpus {
            peaks[gpu as usize] = peak_flops(device(gpu as usize), &engine.model);
        }
    }
    peaks
}

/// Peak FLOP/s of products with `weights`: at the rate of what activations are quantised to on the way in, where the device
/// has it; others are widened first.
fn product_peak(device: &DeviceSpec, weights: WeightFormat, activations: Dtype) -> f64 {
    own_product_peak(device, weights).unwrap_or_else(|| peak(device, activations))
}

/// Peak FLOP/s of weights that are met by activations as narrow.
fn own_product_peak(device: &DeviceSpec, weights: WeightFormat) -> Option<f64> {
    listed_peak(&device.peak_flops, weights.activations?)
}

fn listed_peak(peaks: &PeakFlops, dtype: Dtype) -> Option<f64> {
    match dtype {
        Dtype::Fp32 => peaks.fp32,
        Dtype::Bf16 => peaks.bf16,
        Dtype::Fp16 => peaks.fp16,
        Dtype::Fp8 => peaks.fp8,
        Dtype::Int8 => peaks.int8,
        Dtype::Nvfp4 | Dtype::Mxfp4 => peaks.fp4,
        // Others are widened first.
        _ => None,
    }
}

/// Peak FLOP/s in `dtype`, or in the nearest type that the device has: 16 bits first.
fn peak(device: &DeviceSpec, dtype: Dtype) -> f64 {
    let peaks = &device.peak_flops;
    listed_peak(peaks, dtype)
        .or(peaks.bf16)
        .or(peaks.fp16)
        .or(peaks.fp32)
        .or(peaks.fp8)
        .or(peaks.int8)
        .or(peaks.fp4)
        .expect("a device lists at least one peak")
}
