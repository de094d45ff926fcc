//! Where requests come from: synthetic client profiles and recorded traces.
//!
//! [`Workload::open`] checks a workload to the end and hands back a lazy [`RequestSource`] with [`WorkloadFacts`] about
//! it. The laws every source keeps: arrivals never decrease, no arrival at or after the duration, no more requests than
//! the total, memory independent of how many there are, and the same workload gives the same requests.

mod arrivals;
mod behaviour;
mod distribution;
mod error;
mod expected;
mod facts;
mod fan_out;
mod in_flight;
mod law;
mod lengths;
mod load;
mod mean;
mod prefixes;
mod profile;
mod quantile;
mod retimed;
mod shaping;
mod slo;
mod spec;
pub mod streams;
mod synthetic;
mod trace;
mod turns;

use oracle_components::SimTime;
use oracle_systems::ports::RequestSource;

use retimed::Retimed;

pub use behaviour::*;
pub use distribution::{Choice, DistributionError, MAX_ENCODER_TOKENS, MAX_TOKENS, Sampler, happens};
pub use error::WorkloadError;
pub use facts::{HeldBack, HeldBackTotals, Stuck, TraceFacts, WorkloadFacts};
pub use in_flight::InFlight;
pub use load::*;
pub use mean::weibull_shape;
pub use shaping::{RepeatedPrefixes, Shaping, Window};
pub use slo::{Judgement, Slo, SloMetric, is_met};
pub use spec::*;
pub use synthetic::SyntheticSource;
use trace::formats::FORMATS;
pub use trace::{TraceDigest, TraceError, TraceSource};
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
                let source = Box::new(SyntheticSource::new(workload)?);
                let facts = expected::facts(workload);
                let source = placed(source, &workload.load, workload.duration, workload.seed, &facts)?;
                Ok((source, facts))
            }
            Self::Trace(workload) => {
                let Load { starts, .. } = &workload.load;
                // Retimed, it is the new times that the duration limits.
                let duration = workload.duration.filter(|_| starts.is_none());
                let source = TraceSource::open(&TraceWorkload { duration, ..workload.clone() })?;
                let mut facts = source.facts();
                let source: Box<dyn RequestSource> = match starts {
                    Some(starts) => {
                        let source = Retimed::new(Box::new(source), starts, workload.duration, workload.seed)?;
                        facts.mean_rate_per_s = source.mean_rate_per_s();
                        facts.expected_requests = source.expected_of(facts.expected_requests);
                        Box::new(source)
                    }
                    None => Box::new(source),
                };
                let source = placed(source, &workload.load, workload.duration, workload.seed, &facts)?;
                Ok((source, facts))
            }
        }
    }
}

/// The source within the load's places, if it has a number of them.
fn placed(
    source: Box<dyn RequestSource>,
    load: &Load,
    end: Option<SimTime>,
    seed: u64,
    facts: &WorkloadFacts,
) -> Result<Box<dyn RequestSource>, WorkloadError> {
    match &load.places {
        None => Ok(source),
        Some(places) => {
            let source = InFlight::new(source, places, end, seed, facts.stuck.clone())?;
            Ok(Box::new(source.counting(facts.held_back.clone())))
        }
    }
}
