//! What can be wrong with a workload before it runs.

use thiserror::Error;

use super::distribution::{DistributionError, MAX_TOKENS};
use super::trace::error::TraceError;

/// A workload that cannot be opened.
#[derive(Debug, Error)]
pub enum WorkloadError {
    /// Nobody sends anything.
    #[error("the workload has no client profile; give at least one")]
    NoProfiles,
    /// More profiles than numbers for them.
    #[error("the workload has {count} client profiles; at most 65536 are possible")]
    TooManyProfiles {
        /// How many.
        count: usize,
    },
    /// A distribution cannot be drawn from.
    #[error("client profile {profile:?}, {quantity}: {source}")]
    Distribution {
        /// Name of the profile.
        profile: String,
        /// What the distribution is for.
        quantity: &'static str,
        /// What is wrong.
        source: DistributionError,
    },
    /// Weights from which nothing can be chosen.
    #[error("the weights of the {what} must be finite, at least 0, and one of them above 0, with a finite sum")]
    Weights {
        /// Weights of what.
        what: &'static str,
    },
    /// A probability that is none.
    #[error("client profile {profile:?}: {quantity} is {value}, but must be from 0 to 1")]
    Probability {
        /// Name of the profile.
        profile: String,
        /// Which probability.
        quantity: &'static str,
        /// What it is.
        value: f64,
    },
    /// A timeout that is none.
    #[error("client profile {profile:?}: timeout_s is {value}, but must be a number of seconds above 0")]
    Timeout {
        /// Name of the profile.
        profile: String,
        /// What it is.
        value: f64,
    },
    /// Arrivals that all fall on one moment, without end.
    #[error(
        "client profile {profile:?}: its gaps between arrivals are always 0, so time would never pass; \
         give it longer gaps or limit total_requests"
    )]
    NoGaps {
        /// Name of the profile.
        profile: String,
    },
    /// A rate that is always 0, or whose states last no time.
    #[error("the rate of the load is never above 0, or its states last no time; give a rate above 0")]
    NoLoad,
    /// No session may begin.
    #[error("the load has no place for a session; give at least 1")]
    NoPlaces,
    /// Everything at once, without end.
    #[error("a load that comes all at once needs a number of requests; limit total_requests")]
    NoEnd,
    /// Lengths that cannot be drawn together.
    #[error(
        "client profile {profile:?}: length_correlation needs quantiles, which Gamma and Mixture lengths lack; \
         take LogNormal, Weibull or a Histogram"
    )]
    NoQuantiles {
        /// Name of the profile.
        profile: String,
    },
    /// Documents that cannot be chosen from.
    #[error("prefix pattern {pattern:?}: it needs at least one document and a popularity of at least 0")]
    Documents {
        /// Name of the pattern.
        pattern: String,
    },
    /// A profile names a pattern that nobody wrote.
    #[error("client profile {profile:?}: there is no prefix pattern {pattern:?} (there are: {})", list(.known))]
    UnknownPrefixPattern {
        /// Name of the profile.
        profile: String,
        /// The name.
        pattern: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A prefix that no prompt can hold.
    #[error("prefix pattern {pattern:?} has {tokens} tokens; at most {} are possible", MAX_TOKENS - 1)]
    PrefixTooLong {
        /// Name of the pattern.
        pattern: String,
        /// Its tokens.
        tokens: u64,
    },
    /// A trace cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
