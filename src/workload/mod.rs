//! Where requests come from: synthetic client profiles and recorded traces.

mod spec;

pub use spec::*;
