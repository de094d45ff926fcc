//! The GPU and Link entities, and what they have done so far.

use bevy_ecs::prelude::*;

use crate::record::{GpuTotals, LinkTotals};
use crate::scenario::{EngineIndex, GpuIndex, GpuSpec, LinkIndex};
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
    /// What it has carried; all but the number of transfers is known at the end.
    pub totals: LinkTotals,
}

/// A GPU as its engine sees it.
#[derive(Clone, Copy, Debug)]
pub struct EngineGpu {
    /// The entity.
    pub entity: Entity,
    /// Its index in the scenario.
    pub index: GpuIndex,
    /// Peak FLOP/s of the products that its model runs.
    pub peak_flops: f64,
    /// Peak memory bandwidth, in bytes per second.
    pub peak_bytes_per_s: f64,
}

/// What an engine runs on.
#[derive(Component, Clone, Debug)]
pub struct EngineHardware {
    /// The engine's index.
    pub engine: EngineIndex,
    /// Its GPUs.
    pub gpus: Vec<EngineGpu>,
    /// What of each GPU's time it has.
    pub gpu_share: f64,
    /// Links that its collectives cross, once for each hop that does, with their bytes per second.
    pub ring_links: Vec<(LinkIndex, f64)>,
    /// Links that its activations cross from stage to stage, the same way.
    pub stage_links: Vec<(LinkIndex, f64)>,
    /// Links that its tokens cross on their way to experts elsewhere, the same way.
    pub exchange_links: Vec<(LinkIndex, f64)>,
}
