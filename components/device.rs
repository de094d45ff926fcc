//! An accelerator's data sheet.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::efficiency::EfficiencyCurves;
use crate::kernel_times::KernelTimes;

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
    /// What it draws, where known.
    pub power: Option<DevicePower>,
    /// Price of an hour of it, in US dollars, if there is one.
    pub price_per_hour_usd: Option<f64>,
}

/// What an accelerator draws, at the board: three readings of `nvidia-smi`. Idle ≤ decode ≤ limit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DevicePower {
    /// With a model loaded and nothing to do, in watts.
    pub idle_w: f64,
    /// While it decodes a batch, in watts.
    pub decode_w: f64,
    /// The board's limit, which long prefills come close to, in watts.
    pub tdp_w: f64,
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
    /// As measured; by curve between what was measured and beyond.
    Table(Arc<EfficiencyCurves>, Arc<KernelTimes>),
}

impl Efficiency {
    /// The predecessor's constants.
    pub const PREDECESSOR: Self = Self::Constant { mfu: 0.5, mbu: 0.8 };
}
