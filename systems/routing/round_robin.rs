//! In turn.

use oracle_components::request::RequestSpec;

use super::{FleetView, RoutingPolicy};

/// Each engine in turn, by index.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobin {
    turn: u64,
}

impl RoutingPolicy for RoundRobin {
    fn choose(&mut self, _: &RequestSpec, fleet: &FleetView<'_>) -> usize {
        let position = self.turn % fleet.len() as u64;
        self.turn += 1;
        position as usize
    }
}
