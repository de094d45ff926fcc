//! What happens in an LLMPerfOracle world: one module per phase of the tick, in the order in which they run, and the tick
//! that runs them.
//!
//! Invariant: nothing here knows a file format or a command line. Requests come in and records go out by the two traits
//! of [`ports`]. `SEMANTICS.md` states what an engine does, exactly.

pub mod ports;
pub mod router;

pub mod arrival;
pub mod clock;
pub mod completion;
pub mod costing;
pub mod epoch;
pub mod scheduling;
pub mod transfer;

pub mod executor;
pub mod kv;
pub mod memory;
pub mod retire;
pub mod series;
pub mod simulation;
pub mod spawn;
pub mod stop;
pub mod world;

pub use simulation::{Progress, Simulation};
