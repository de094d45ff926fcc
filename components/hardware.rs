//! The GPU and Link entities, and what they have done so far.

use bevy_ecs::prelude::*;

use crate::record::{GpuTotals, LinkTotals};
use crate::scenario::{GpuIndex, LinkIndex};
use crate::time::SimTime;

/// A GPU.
#[derive(Component, Clone, Debug)]
pub struct Gpu {
    /// Its index in the scenario.
    pub index: GpuIndex,
    /// Peak FLOP/s in the element type that it computes in.
    pub peak_flops: f64,
    /// Peak memory bandwidth, in bytes per second.
    pub peak_bytes_per_s: f64,
    /// What it has done.
    pub totals: GpuTotals,
}

/// A directed link.
#[derive(Component, Clone, Debug)]
pub struct Link {
    /// Its index in the scenario.
    pub index: LinkIndex,
    /// Bandwidth, in bytes per second.
    pub bytes_per_s: f64,
    /// Latency.
    pub latency: SimTime,
    /// When the transfers that queue on it have left.
    pub busy_until: SimTime,
    /// What it has carried.
    pub totals: LinkTotals,
}
