//! Which engine a request goes to.

use oracle_components::scenario::{EngineIndex, Routing};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Mixed into the master seed, so that routing draws are a stream of their own.
const ROUTING_STREAM: u64 = 0x726f_7574_696e_6721;

/// A routing policy with its state.
#[derive(Clone, Debug)]
pub struct Router {
    policy: Routing,
    turn: u64,
    /// Running sums of the weights.
    cumulative_weights: Vec<f64>,
    random: Xoshiro256PlusPlus,
}

impl Router {
    /// A router over engines with these weights (used by `weighted_random`), at least one.
    #[must_use]
    pub fn new(policy: Routing, weights: &[f64], seed: u64) -> Self {
        let cumulative_weights = weights
            .iter()
            .scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        Self { policy, turn: 0, cumulative_weights, random: Xoshiro256PlusPlus::seed_from_u64(seed ^ ROUTING_STREAM) }
    }

    /// The engine for a request of `session`, given each engine's load (requests in transit, waiting and running).
    pub fn route(&mut self, session: u64, loads: &[u32]) -> EngineIndex {
        let engines = self.cumulative_weights.len();
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
            Routing::LeastLoaded => (0..engines).min_by_key(|&engine| loads[engine]).unwrap_or(0),
            // Sessions are numbered in the order of their first turns, so this is round robin over sessions, without
            // a table of them.
            Routing::SessionAffinity => (session % engines as u64) as usize,
        };
        chosen as EngineIndex
    }
}
