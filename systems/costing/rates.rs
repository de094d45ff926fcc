//! What a pipeline stage's GPUs do in a second: the slowest rank counts, for every rank waits at the next all-reduce.
//!
//! Which peak counts is decided here alone, for costs and for what utilisation is measured against.

use std::sync::Arc;

use oracle_components::device::{DeviceSpec, Efficiency, PeakFlops};
use oracle_components::efficiency::{EfficiencyCurves, ExpertsCurve, GemmCurve, ProductShares};
use oracle_components::model::{Dtype, ModelArchitecture};
use oracle_components::scenario::{EngineSpec, Scenario};
use oracle_components::weight_format::WeightFormat;

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

/// The curves of a device for a model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CurveRates {
    pub(crate) all: Arc<EfficiencyCurves>,
    /// What was measured on it.
    pub(crate) table: Option<Table>,
    /// Whether the device multiplies the weights as 8-bit numbers.
    are_weights_8bit: bool,
    /// Whether it does the routed experts'.
    are_experts_8bit: bool,
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
        let is_8bit = |weights| own_product_peak(device, weights).is_some();
        let (weights, experts) = (engine.model.weight_format, engine.model.expert_format());
        Some(Self {
            all: Arc::clone(curves),
            table: times.map(|times| Table { times: Arc::clone(times), gpu_share: engine.gpu_share }),
            are_weights_8bit: is_8bit(weights),
            are_experts_8bit: is_8bit(experts),
            are_experts_narrow: experts.dtype.bits() < engine.model.activation_dtype.bits(),
        })
    }

    pub(crate) fn gemm(&self, precision: Precision) -> &GemmCurve {
        if self.is_8bit(precision) { &self.all.gemm_8bit } else { &self.all.gemm }
    }

    /// What is left of the peak FLOP/s in [`Rates`].
    pub(crate) fn sustained(&self, precision: Precision) -> f64 {
        let ProductShares { gemm_share, gemm_8bit_share } = self.all.sustained;
        if self.is_8bit(precision) { gemm_8bit_share } else { gemm_share }
    }

    fn is_8bit(&self, precision: Precision) -> bool {
        match precision {
            Precision::Activations => false,
            Precision::Weights => self.are_weights_8bit,
            Precision::Experts => self.are_experts_8bit,
        }
    }

    pub(crate) fn experts(&self) -> &ExpertsCurve {
        if self.are_experts_8bit { &self.all.experts_8bit } else { &self.all.experts }
    }

    /// Whether kernels are tuned for so many experts of this width.
    pub(crate) fn is_tuned(&self, experts: f64, width: f64) -> bool {
        self.are_experts_narrow || self.all.tuned_experts.contains(&[experts as u32, width as u32])
    }
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
