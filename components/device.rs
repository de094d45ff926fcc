//! An accelerator's data sheet.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::efficiency::EfficiencyCurves;

/// Dense (not sparse) peak of the matrix units by element type, in FLOP/s. `None` where the device lacks the type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PeakFlops {
    /// 32-bit (TF32 where the device has it).
    pub fp32: Option<f64>,
    /// 16-bit brain float.
    pub bf16: Option<f64>,
    /// 16-bit IEEE float.
    pub fp16: Option<f64>,
    /// 8-bit float.
    pub fp8: Option<f64>,
    /// 8-bit integer.
    pub int8: Option<f64>,
    /// 4-bit float.
    pub fp4: Option<f64>,
}

/// What an accelerator can do at best.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceSpec {
    /// Catalog name, or the id given in a config.
    pub name: String,
    /// Dense peak FLOP/s by element type.
    pub peak_flops: PeakFlops,
    /// Device memory, in bytes.
    pub memory_bytes: u64,
    /// Memory bandwidth, in bytes per second.
    pub memory_bytes_per_s: f64,
    /// Board power limit, in watts, where known.
    pub tdp_w: Option<f64>,
}

/// What kernels reach of a data sheet's peaks.
#[derive(Clone, Debug, PartialEq)]
pub enum Efficiency {
    /// Two shares for all kernels.
    Constant {
        /// Model FLOPs utilisation of a compute-bound kernel, 0 < mfu ≤ 1.
        mfu: f64,
        /// Memory bandwidth utilisation of a memory-bound kernel, 0 < mbu ≤ 1.
        mbu: f64,
    },
    /// By kernel and shape.
    Curve(Arc<EfficiencyCurves>),
}

impl Efficiency {
    /// The predecessor's constants.
    pub const PREDECESSOR: Self = Self::Constant { mfu: 0.5, mbu: 0.8 };
}
