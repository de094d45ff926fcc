//! Where arrivals go: the router, and what each engine lets in.

use std::sync::Arc;

use oracle_components::engine::AdmissionLimits;
use oracle_components::record::Reason;
use oracle_components::request::RequestSpec;
use oracle_components::scenario::LinkIndex;

use crate::routing::Router;

/// Why a request that would generate so many tokens is refused, if it is: a batch policy's rule.
pub type Refusal = Arc<dyn Fn(&RequestSpec, u32, &AdmissionLimits) -> Option<Reason> + Send + Sync>;

/// The way in to an engine.
pub struct Entrance {
    /// Its limits.
    pub limits: AdmissionLimits,
    /// Who is refused.
    pub refusal: Refusal,
    /// Links from the client, in the order of travel.
    pub ingress: Vec<LinkIndex>,
}

/// Where arrivals go.
pub struct Dispatch {
    /// Which engine.
    pub router: Router,
    /// The ways in, by engine.
    pub entrances: Vec<Entrance>,
    /// Bytes of a prompt token on the ingress links.
    pub prompt_bytes_per_token: f64,
}
