//! What a run writes.

mod plan;

pub use plan::OutputPlan;
