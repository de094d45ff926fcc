//! Uniformly at random.

use oracle_components::request::RequestSpec;
use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{FleetView, RoutingPolicy};

/// Any engine, each as likely as the others.
#[derive(Clone, Debug)]
pub struct Random {
    random: Xoshiro256PlusPlus,
}

impl Random {
    /// Draws from `random`.
    #[must_use]
    pub fn new(random: Xoshiro256PlusPlus) -> Self {
        Self { random }
    }
}

impl RoutingPolicy for Random {
    fn choose(&mut self, _: &RequestSpec, fleet: &FleetView<'_>) -> usize {
        self.random.random_range(0..fleet.len())
    }
}
