//! Which engine a request goes to: a policy a file, behind one trait.
//!
//! A policy declares what it wants to know of engines, and how late; what nobody wants is not collected. From that follows the
//! *lookahead*: how far engines may run before what they do can touch another's requests.

mod least_loaded;
mod random;
mod round_robin;
mod session_affinity;
mod weighted_random;

use std::collections::VecDeque;

use oracle_components::SimTime;
use oracle_components::record::RequestRecord;
use oracle_components::request::RequestSpec;
use oracle_components::scenario::{EngineIndex, Role, Routing, Scenario};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

pub use least_loaded::LeastLoaded;
pub use random::Random;
pub use round_robin::RoundRobin;
pub use session_affinity::SessionAffinity;
pub use weighted_random::WeightedRandom;

/// Mixed into the master seed, so that routing draws are a stream of their own.
const ROUTING_STREAM: u64 = 0x726f_7574_696e_6721;
/// The same for the draws of handoffs.
const HANDOFF_STREAM: u64 = 0x6861_6e64_6f76_6572;

/// A routing policy.
pub trait RoutingPolicy: Send + Sync {
    /// What it wants to know of engines.
    fn wants(&self) -> Wants {
        Wants::default()
    }

    /// The engine for a request: its position among the candidates of `fleet`, which has one at least.
    fn choose(&mut self, request: &RequestSpec, fleet: &FleetView<'_>) -> usize;

    /// A request has ended; called only if [`Wants::ends`].
    fn on_end(&mut self, record: &RequestRecord) {
        let _ = record;
    }
}

/// What a policy wants to know of engines, beside what it has sent where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// How many requests are in flight at each engine, where what has left one is known so late. Zero: at once.
    pub in_flight: Option<SimTime>,
    /// The record of each request that has ended, at once.
    pub ends: bool,
}

impl Wants {
    /// How long after an engine has done something the policy may act on it; [`SimTime::NEVER`] if it never learns of it.
    #[must_use]
    pub fn lookahead(self) -> SimTime {
        let ends = if self.ends { SimTime::ZERO } else { SimTime::NEVER };
        self.in_flight.map_or(ends, |late| late.min(ends))
    }
}

/// Engines as a policy sees them.
#[derive(Clone, Copy, Debug)]
pub struct FleetView<'a> {
    candidates: &'a [EngineIndex],
    in_flight: &'a [u32],
}

impl FleetView<'_> {
    /// How many engines there are to choose among, one at least.
    #[must_use]
    pub fn len(&self) -> usize {
        self.candidates.len()
    }

    /// Never: see [`Self::len`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// Index in the scenario of the engine at `position`; ascending with it.
    #[must_use]
    pub fn engine(&self, position: usize) -> EngineIndex {
        self.candidates[position]
    }

    /// Requests in transit, waiting and running at the engine at `position`, as far as is known; see [`Wants::in_flight`].
    #[must_use]
    pub fn in_flight(&self, position: usize) -> u32 {
        self.in_flight[self.candidates[position] as usize]
    }
}

/// The policy that a configuration names ([`Routing::NAMED`]), over candidates of these weights.
fn shipped(routing: Routing, weights: &[f64], random: Xoshiro256PlusPlus) -> Box<dyn RoutingPolicy> {
    match routing {
        Routing::RoundRobin => Box::new(RoundRobin::default()),
        Routing::Random => Box::new(Random::new(random)),
        Routing::WeightedRandom => Box::new(WeightedRandom::new(weights, random)),
        Routing::LeastLoaded => Box::new(LeastLoaded),
        Routing::SessionAffinity => Box::new(SessionAffinity),
    }
}

/// A routing policy at work: with the engines to choose among, and what it knows of them.
pub struct Router {
    policy: Box<dyn RoutingPolicy>,
    wants: Wants,
    /// Those to choose among.
    engines: Vec<EngineIndex>,
    /// What is in flight as the policy knows it, if it learns late of what has left.
    late_books: Option<LateBooks>,
}

impl Router {
    /// The router of requests that arrive: to all engines but those that only decode.
    #[must_use]
    pub fn of_arrivals(scenario: &Scenario) -> Self {
        Self::shipped(scenario.routing, scenario, |role| role != Role::Decode, ROUTING_STREAM)
    }

    /// The same with a policy of one's own.
    #[must_use]
    pub fn of_arrivals_by(policy: Box<dyn RoutingPolicy>, scenario: &Scenario) -> Self {
        let (engines, _) = candidates(scenario, |role| role != Role::Decode);
        Self::new(policy, engines, scenario.engines.len())
    }

    /// The router of requests whose prompts a prefill engine has computed: to the decode engines.
    #[must_use]
    pub fn of_handoffs(scenario: &Scenario) -> Self {
        Self::shipped(scenario.decode_routing, scenario, |role| role == Role::Decode, HANDOFF_STREAM)
    }

    fn shipped(routing: Routing, scenario: &Scenario, takes_part: impl Fn(Role) -> bool, stream: u64) -> Self {
        let (engines, weights) = candidates(scenario, takes_part);
        let random = Xoshiro256PlusPlus::seed_from_u64(scenario.seed ^ stream);
        Self::new(shipped(routing, &weights, random), engines, scenario.engines.len())
    }

    fn new(policy: Box<dyn RoutingPolicy>, engines: Vec<EngineIndex>, all_engines: usize) -> Self {
        let wants = policy.wants();
        let late = wants.in_flight.filter(|&late| late > SimTime::ZERO);
        let late_books = late.map(|late| LateBooks { late, in_flight: vec![0; all_engines], left: VecDeque::new() });
        Self { policy, wants, engines, late_books }
    }

    /// What its policy wants to know.
    #[must_use]
    pub fn wants(&self) -> Wants {
        self.wants
    }

    /// The engine for a request at `now`, given what is in flight at every engine of the scenario.
    pub fn route(&mut self, request: &RequestSpec, in_flight: &[u32], now: SimTime) -> EngineIndex {
        let in_flight = self.late_books.as_mut().map_or(in_flight, |books| books.at(now));
        let fleet = FleetView { candidates: &self.engines, in_flight };
        let chosen = self.engines[self.policy.choose(request, &fleet)];
        if let Some(books) = &mut self.late_books {
            books.in_flight[chosen as usize] += 1;
        }
        chosen
    }

    /// A request that was routed has left its engine, or was not let in.
    #[inline]
    pub fn left(&mut self, engine: EngineIndex, at: SimTime) {
        if let Some(books) = &mut self.late_books
            && self.engines.binary_search(&engine).is_ok()
        {
            books.left.push_back((at, engine));
        }
    }

    /// A request has ended.
    #[inline]
    pub fn ended(&mut self, record: &RequestRecord) {
        if self.wants.ends {
            self.policy.on_end(record);
        }
    }
}

/// The engines that take part, with their weights.
fn candidates(scenario: &Scenario, takes_part: impl Fn(Role) -> bool) -> (Vec<EngineIndex>, Vec<f64>) {
    let engines = (0..).zip(&scenario.engines).filter(|(_, engine)| takes_part(engine.role));
    engines.map(|(index, engine)| (index, engine.weight)).unzip()
}

/// What is in flight at each engine as a policy knows it that learns late of what has left.
struct LateBooks {
    late: SimTime,
    in_flight: Vec<u32>,
    /// What has left, and when, as far as it is not known yet.
    left: VecDeque<(SimTime, EngineIndex)>,
}

impl LateBooks {
    /// What is known at `now`.
    fn at(&mut self, now: SimTime) -> &[u32] {
        while let Some((_, engine)) = self.left.pop_front_if(|&mut (at, _)| at.saturating_add(self.late) <= now) {
            self.in_flight[engine as usize] -= 1;
        }
        &self.in_flight
    }
}
