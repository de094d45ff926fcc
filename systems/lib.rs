//! What happens in an LLMPerfOracle world: one module per phase of the tick, in the order in which they run.
//!
//! Invariant: nothing here knows a file format or a command line.

pub mod costing;
pub mod memory;
pub mod ports;
pub mod router;
