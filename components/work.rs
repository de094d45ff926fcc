//! What steps did to GPUs and links, on its way from the boundary that ended them to totals and time series.

use bevy_ecs::prelude::*;

use crate::record::Ending;
use crate::scenario::LinkIndex;
use crate::time::SimTime;

/// What GPUs and links do in a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepWork {
    /// FLOPs of each GPU (the mean over stages; ranks of a stage do the same).
    pub flops_per_gpu: f64,
    /// Bytes each GPU reads from and writes to its memory (the mean over stages).
    pub memory_bytes_per_gpu: f64,
    /// Bytes that cross each hop of the ring of a stage (the mean over stages).
    pub ring_bytes: f64,
    /// Bytes sent from each stage to the next.
    pub stage_bytes: f64,
    /// Bytes that leave each rank for experts on other engines' ranks, and for those engines (the mean over stages).
    pub exchange_bytes: f64,
}

impl std::ops::AddAssign for StepWork {
    #[inline]
    fn add_assign(&mut self, more: Self) {
        self.flops_per_gpu += more.flops_per_gpu;
        self.memory_bytes_per_gpu += more.memory_bytes_per_gpu;
        self.ring_bytes += more.ring_bytes;
        self.stage_bytes += more.stage_bytes;
        self.exchange_bytes += more.exchange_bytes;
    }
}

/// What came of the steps that ended at a boundary, from scheduling, which ends them, to completion, which reports.
#[derive(Component, Default)]
pub struct StepOutput {
    /// Steps that were over before the last interval of the time series that these steps reached.
    pub past: Vec<StepSpan>,
    /// Start of the first of the others.
    pub from: SimTime,
    /// End of the last.
    pub to: SimTime,
    /// How many these are.
    pub steps: u64,
    /// What GPUs and links did in them; `None` if no step ended.
    pub work: Option<StepWork>,
    /// Bytes of a step's flow of streamed tokens.
    pub flow_bytes: f64,
    /// Whether each step sent such a flow.
    pub streams: bool,
    /// What earlier steps did that has not been posted yet.
    pub accrued: Accrued,
    /// Sequences that have ended, in order.
    pub ended: Vec<(Entity, Ending)>,
}

/// Consecutive steps of an engine in one interval of the time series, or one that crosses the end of it.
#[derive(Clone, Copy, Debug)]
pub struct StepSpan {
    /// Start of the first.
    pub from: SimTime,
    /// End of the last.
    pub to: SimTime,
    /// How many there are.
    pub steps: u64,
    /// What GPUs and links did.
    pub work: StepWork,
}

/// What an engine's steps did within one interval of the time series. It is posted to GPUs and links when that is over.
#[derive(Clone, Debug, Default)]
pub struct Accrued {
    /// Start of the first of these steps.
    pub from: SimTime,
    /// End of the last.
    pub to: SimTime,
    /// End of the interval.
    pub until: SimTime,
    /// What GPUs and links between them did.
    pub work: StepWork,
    /// Bytes of streamed tokens.
    pub streamed_bytes: f64,
    /// How long each link to the client carried them.
    pub streaming: Vec<SimTime>,
}

/// Bytes that kept a link busy for a part of a span of time.
#[derive(Clone, Copy, Debug)]
pub struct LinkUsage {
    /// Which link.
    pub link: LinkIndex,
    /// From when to when.
    pub span: (SimTime, SimTime),
    /// For how long.
    pub busy: SimTime,
    /// How many bytes.
    pub bytes: f64,
}
