//! Which engine a request goes to.

use oracle_components::scenario::{EngineIndex, Role, Routing, Scenario};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Mixed into the master seed, so that routing draws are a stream of their own.
const ROUTING_STREAM: u64 = 0x726f_7574_696e_6721;
/// The same for the draws of handovers.
const HANDOVER_STREAM: u64 = 0x6861_6e64_6f76_6572;

/// A routing policy with its state.
#[derive(Clone, Debug)]
pub struct Router {
    policy: Routing,
    turn: u64,
    /// Those to choose among.
    engines: Vec<EngineIndex>,
    /// Running sums of their weights.
    cumulative_weights: Vec<f64>,
    random: Xoshiro256PlusPlus,
}

impl Router {
    /// The router of requests that arrive: to all engines but those that only decode.
    #[must_use]
    pub fn of_arrivals(scenario: &Scenario) -> Self {
        Self::new(scenario.routing, scenario, |role| role != Role::Decode, ROUTING_STREAM)
    }

    /// The router of requests whose prompts a prefill engine has computed: to the decode engines.
    #[must_use]
    pub fn of_handovers(scenario: &Scenario) -> Self {
        Self::new(scenario.decode_routing, scenario, |role| role == Role::Decode, HANDOVER_STREAM)
    }

    fn new(policy: Routing, scenario: &Scenario, takes_part: impl Fn(Role) -> bool, stream: u64) -> Self {
        let engines = (0..).zip(&scenario.engines).filter(|(_, engine)| takes_part(engine.role));
        let (engines, weights): (Vec<_>, Vec<_>) = engines.map(|(index, engine)| (index, engine.weight)).unzip();
        let cumulative_weights = weights
            .iter()
            .scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        let random = Xoshiro256PlusPlus::seed_from_u64(scenario.seed ^ stream);
        Self { policy, turn: 0, engines, cumulative_weights, random }
    }

    /// The engine for a request of `session`, given the load of every engine of the scenario (requests in transit, waiting
    /// and running).
    pub fn route(&mut self, session: u64, loads: &[u32]) -> EngineIndex {
        let engines = self.engines.len();
        let chosen = match self.policy {
            Routing::RoundRobin => {
                let engine = self.turn % engines as u64;
                self.turn += 1;
                engine as usize
            }
            Routing::Random => self.random.random_range(0..engines),
            Routing::WeightedRandom => {
                let total = self.cumulative_weights[engines - 1];
                let draw = self.random.random::<f64>() * total;
                self.cumulative_weights.partition_point(|&sum| sum <= draw).min(engines - 1)
            }
            Routing::LeastLoaded => {
                (0..engines).min_by_key(|&engine| loads[self.engines[engine] as usize]).unwrap_or(0)
            }
            // Sessions are numbered in the order of their first turns, so this is round robin over sessions, without
            // a table of them.
            Routing::SessionAffinity => (session % engines as u64) as usize,
        };
        self.engines[chosen]
    }
}
