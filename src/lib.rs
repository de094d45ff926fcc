//! LLMPerfOracle: a data-oriented simulator of LLM serving.
//!
//! This crate is the program around the engine: configuration, catalog, workloads, output and the command line. The
//! engine itself is `oracle-systems` over `oracle-components`.

pub mod calibrate;
pub mod catalog;
pub mod cli;
pub mod compare;
pub mod config;
pub mod describe;
pub mod fidelity;
mod inputs;
pub mod measured;
pub mod output;
pub mod plan;
pub mod report;
pub mod runs;
mod statistics;
pub mod sweep;
pub mod tables;
mod ticks;
pub mod trace_events;
pub mod validate;
pub mod workload;
