//! `calibrate kernels`: efficiency curves out of measured kernels.
//!
//! Files of measured kernels (`crate::measured`) become points (`layers`); each operator's curve is fitted to half of the shapes and
//! tried on the other half (`operators` and `experts`, by the least squares of `fit`); the result is a curve file, with its errors
//! (`catalog::CurveFile`). The formulas are those that price a step, `oracle_systems::costing::curves`, so what is fitted is what is
//! used.

mod corrections;
mod expert_kernels;
mod expert_layers;
mod experts;
mod fit;
mod gate;
mod layers;
mod least_squares;
mod operators;
mod starts;
mod taken_over;

use oracle_components::device::DeviceSpec;
use oracle_components::efficiency::EfficiencyCurves;
use oracle_components::model::ModelArchitecture;
use oracle_systems::costing::curves::Peaks;

use crate::catalog::FitError;
pub use crate::measured::{KernelFiles, MeasuredError};
pub use taken_over::take_over_mixed;

/// Where fits are made.
#[derive(Clone, Copy, Debug)]
pub struct Calibration<'a> {
    /// The device that was measured.
    pub device: &'a DeviceSpec,
    /// Its multiprocessors.
    pub processors: f64,
    /// The model whose layers were measured.
    pub layers_model: &'a ModelArchitecture,
    /// What its L2 cache holds.
    pub l2_bytes: f64,
    /// Weights of up to so many bytes may have stayed in the L2 cache while products were measured.
    pub cached_weight_bytes: f64,
    /// Most points that a curve is fitted to, evenly picked; errors are of all points.
    pub most_points: usize,
}

impl Calibration<'_> {
    fn peaks(&self, flops_per_s: Option<f64>) -> Peaks {
        let peaks = &self.device.peak_flops;
        let flops_per_s = flops_per_s.or(peaks.bf16).or(peaks.fp16).expect("catalog devices multiply 16-bit numbers");
        Peaks { flops_per_s, bytes_per_s: self.device.memory_bytes_per_s, processors: self.processors }
    }
}

/// A fitted curve and how far it is off.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The curves; those without measurements as they were.
    pub curves: EfficiencyCurves,
    /// Errors by what was measured.
    pub errors: Vec<FitError>,
}

/// Fits what the files hold, on top of `base`.
///
/// # Errors
/// If a file cannot be read, or holds nothing to fit to.
pub fn fit_kernels(
    files: &KernelFiles,
    calibration: &Calibration<'_>,
    base: &EfficiencyCurves,
) -> Result<Fitted, MeasuredError> {
    let mut fitted = Fitted { curves: base.clone(), errors: Vec::new() };
    fitted.curves.processors = calibration.processors;
    operators::fit_gemms(files, calibration, &mut fitted)?;
    operators::fit_attention(files, calibration, &mut fitted)?;
    experts::fit_experts(files, calibration, &mut fitted)?;
    layers::fit_layers(files, calibration, &mut fitted)?;
    Ok(fitted)
}
