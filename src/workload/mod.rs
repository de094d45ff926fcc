//! Where requests come from: synthetic client profiles and recorded traces.
//!
//! [`Workload::open`] checks a workload to the end and hands back a lazy [`RequestSource`] with [`WorkloadFacts`] about
//! it. The laws every source keeps: arrivals never decrease, no arrival at or after the duration, no more requests than
//! the total, memory independent of how many there are, and the same workload gives the same requests.

mod arrivals;
mod distribution;
mod error;
mod facts;
mod mean;
mod prefixes;
mod profile;
mod shaping;
mod slo;
mod spec;
pub mod streams;
mod synthetic;
mod trace;
mod turns;

use oracle_systems::ports::RequestSource;

pub use distribution::{Choice, DistributionError, MAX_TOKENS, Sampler, happens};
pub use error::WorkloadError;
pub use facts::{TraceFacts, WorkloadFacts};
pub use shaping::{RepeatedPrefixes, Shaping, Window};
pub use slo::{Judgement, Slo, SloMetric, is_met};
pub use spec::*;
pub use synthetic::SyntheticSource;
use trace::formats::FORMATS;
pub use trace::{TraceError, TraceSource};
pub use turns::{Turn, Turns, TurnsError};

/// The formats of traces by name. The last of them, objects of JSON, has that of the one before, the same in a table.
pub const TRACE_FORMATS: [(&str, TraceFormat); FORMATS.len()] = {
    let mut named = [(TraceFormat::DETECT.0, TraceFormat::DETECT); FORMATS.len()];
    let mut position = 1;
    while position < named.len() {
        let name = FORMATS[position - 1].name;
        named[position] = (name, TraceFormat(name));
        position += 1;
    }
    named
};

impl Workload {
    /// Checks the workload (a trace is read through once) and opens it.
    ///
    /// # Errors
    /// A parameter out of range, or a trace that cannot be replayed to its end.
    pub fn open(&self) -> Result<(Box<dyn RequestSource>, WorkloadFacts), WorkloadError> {
        match self {
            Self::Synthetic(workload) => {
                let source = SyntheticSource::new(workload)?;
                Ok((Box::new(source), synthetic::facts(workload)))
            }
            Self::Trace(workload) => {
                let source = TraceSource::open(workload)?;
                let facts = source.facts();
                Ok((Box::new(source), facts))
            }
        }
    }
}
