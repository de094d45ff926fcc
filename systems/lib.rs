//! What happens in an LLMPerfOracle world: the five phases of a tick, and the tick that runs them.
//!
//! The phases, in their order: `arrival`, `scheduling`, costing (`epoch`, by the prices of [`costing`]), `transfer`,
//! `completion`; and `handoff` where there are prefill and decode pools. Below them: `world` (what the systems see), `kv` (the KV
//! pool), `running` (who runs, in aggregate), `decode_classes` (whose blocks begin or end) and `streaming` (what of their answers is sent), `series` (the time series), [`routing`]. Above them: `simulation`, which runs them, and
//! [`invariants`]. A [`BatchPolicy`] decides who is in the batch, a [`routing::RoutingPolicy`] where a request goes.
//!
//! Invariant: nothing here knows a file format or a command line. Requests come in and records go out by the two traits
//! of [`ports`]. `SEMANTICS.md` states what an engine does, exactly.

pub mod costing;
pub mod invariants;
pub mod ports;
pub mod routing;

mod arrival;
mod completion;
mod deadlines;
mod decode_classes;
mod epoch;
mod flow_gaps;
mod handoff;
mod kv;
mod running;
mod scheduling;
mod series;
mod simulation;
mod streaming;
mod transfer;
mod world;

pub use costing::{kv_layers, memory};
pub use kv::{Hit, groups as kv_groups};
pub use oracle_components::engine::{AdmissionLimits, EpochCuts, Standing};
pub use scheduling::{BatchPolicy, Boundary, Candidate, Vllm, exceeds_context, exceeds_pool};
pub use simulation::{Progress, Simulation};
