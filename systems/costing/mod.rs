//! What a step costs: pure functions of the model's architecture, the GPUs, the parallelism and the step's shape.
//!
//! The way of a price:
//! - [`shape`]: the step as the scheduler sees it, and the *features* (tokens, query-key pairs, sampled rows, distinct
//!   experts …) that every operator is linear in;
//! - `parts`: what a part of a layer multiplies and keeps; [`weights`]: parameters, weight bytes by stage and rank, KV bytes;
//! - `operator`, `layers`: the forward pass as a short list of operators, each a kind of layer × how many there are;
//! - `rates`: [`peak_flops`], FLOP/s and bytes/s of the slowest rank; `collectives`: rings and stage sends over links;
//!   `timing`: collectives as measured; `traffic`: bytes between ranks; `exchange`: tokens to experts elsewhere and back;
//! - `stage`: operators in seconds on the GPUs of one pipeline stage, at constant efficiency; `stage_curves`: the same by
//!   efficiency curves, whose formulas are [`curves`] and what they are off by [`corrections`]; `decode_attention`: what is linear in the summed context;
//! - `tables`, `attention_tables`: a user's own measurements, on top of the curves;
//! - [`step`]: stages, micro-batches and the decode context put together; `prices`: such prices as engines keep them;
//! - [`memory`]: what fits in a GPU, a price in bytes.
//!
//! At constant efficiency an operator takes `max(FLOPs / (peak·mfu), bytes / (bandwidth·mbu))` (the roofline model: Williams, Waterman and
//! Patterson, 2009), so no price lies below either roof. `roofline` is the one place that says so. By curve the roofs of the whole peaks are
//! the least that it takes.
//!
//! Both levels of detail price the same operators, so they agree wherever no link is shared; high detail divides the
//! bandwidth of a link among the ring hops that cross it.
//!
//! Reads components only; owns no state; may not know the scheduler, the clock or a file.

mod attention_tables;
mod collectives;
pub mod corrections;
pub mod curves;
mod decode_attention;
mod exchange;
pub mod kv_layers;
mod layers;
pub mod memory;
mod operator;
mod parts;
mod prices;
mod rates;
pub mod shape;
mod stage;
mod stage_curves;
pub mod step;
mod table_gaps;
mod tables;
mod timing;
mod traffic;
pub mod weights;

pub use layers::ATTENTION_STREAM_KERNELS;
pub use prices::{CostModel, PricedBatch, Prices};
pub use rates::{expert_families, expert_kernels, experts_correction, gpu_peak_flops, peak_flops};
pub use shape::StepShape;
pub use step::{PreparedStep, StepCost};
pub use table_gaps::table_gaps;
pub use tables::measured_product_s;
pub use timing::{Operation, collective_seconds};

/// Seconds of an operator that needs `compute_s` of the matrix units and `memory_s` of the memory, which overlap fully.
#[inline]
fn roofline(compute_s: f64, memory_s: f64) -> f64 {
    compute_s.max(memory_s)
}
