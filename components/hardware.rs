//! The GPU and Link entities, and what they have done so far.

use bevy_ecs::prelude::*;

use crate::record::{GpuTotals, LinkTotals};
use crate::scenario::GpuSpec;
use crate::time::SimTime;

/// A GPU.
#[derive(Component, Clone, Debug)]
pub struct Gpu {
    /// What it is.
    pub spec: GpuSpec,
    /// What it has done.
    pub totals: GpuTotals,
}

/// A directed link.
#[derive(Component, Clone, Debug)]
pub struct Link {
    /// Bandwidth, in bytes per second.
    pub bytes_per_s: f64,
    /// Latency.
    pub latency: SimTime,
    /// When the transfers that queue on it have left.
    pub busy_until: SimTime,
    /// What it has carried.
    pub totals: LinkTotals,
}
