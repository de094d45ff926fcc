//! At random, by the engines' weights.

use oracle_components::request::RequestSpec;
use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{FleetView, RoutingPolicy};

/// Any engine, as likely as its weight over the sum of all.
#[derive(Clone, Debug)]
pub struct WeightedRandom {
    /// Running sums of the weights.
    cumulative: Vec<f64>,
    random: Xoshiro256PlusPlus,
}

impl WeightedRandom {
    /// Draws from `random` among engines of these weights.
    #[must_use]
    pub fn new(weights: &[f64], random: Xoshiro256PlusPlus) -> Self {
        let sums = weights.iter().scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Self { cumulative: sums.collect(), random }
    }
}

impl RoutingPolicy for WeightedRandom {
    fn choose(&mut self, _: &RequestSpec, fleet: &FleetView<'_>) -> usize {
        let last = fleet.len() - 1;
        let draw = self.random.random::<f64>() * self.cumulative[last];
        self.cumulative.partition_point(|&sum| sum <= draw).min(last)
    }
}
