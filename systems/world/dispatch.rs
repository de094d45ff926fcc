//! Where arrivals go: the router, and what each engine lets in.

use std::collections::BTreeSet;
use std::sync::Arc;

use oracle_components::SimTime;
use oracle_components::engine::AdmissionLimits;
use oracle_components::record::Reason;
use oracle_components::request::{RequestId, RequestSpec};
use oracle_components::scenario::{EngineIndex, LinkIndex};

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
    /// What is counted for `max_num_queued_reqs`, if that is set.
    pub unanswered: Option<Unanswered>,
}

/// Requests that a server has let in and not answered, with the times at which their clients give up.
pub struct Unanswered {
    most: u32,
    requests: BTreeSet<(SimTime, RequestId)>,
}

impl Unanswered {
    /// None yet, of so many that are let in.
    #[must_use]
    pub fn at_most(most: u32) -> Self {
        Self { most, requests: BTreeSet::new() }
    }

    /// Whether no more are let in now.
    pub fn is_full(&mut self, now: SimTime) -> bool {
        while self.requests.first().is_some_and(|&(deadline, _)| deadline <= now) {
            self.requests.pop_first();
        }
        self.requests.len() >= self.most as usize
    }

    /// Lets a request in.
    pub fn let_in(&mut self, deadline: SimTime, id: RequestId) {
        self.requests.insert((deadline, id));
    }

    /// The request has been answered, one way or another.
    pub fn answered(&mut self, deadline: SimTime, id: RequestId) {
        self.requests.remove(&(deadline, id));
    }
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

impl Dispatch {
    /// The server of an engine has answered a request.
    #[inline]
    pub fn answered(&mut self, engine: EngineIndex, deadline: SimTime, id: RequestId) {
        if let Some(unanswered) = &mut self.entrances[engine as usize].unanswered {
            unanswered.answered(deadline, id);
        }
    }
}
