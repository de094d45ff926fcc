//! To the engine with the fewest requests in flight.

use oracle_components::SimTime;
use oracle_components::request::RequestSpec;

use super::{FleetView, RoutingPolicy, Wants};

/// The engine with the fewest requests in transit, waiting and running; the first of equals.
#[derive(Clone, Copy, Debug)]
pub struct LeastLoaded;

impl RoutingPolicy for LeastLoaded {
    fn wants(&self) -> Wants {
        Wants { in_flight: Some(SimTime::ZERO), ..Wants::default() }
    }

    fn choose(&mut self, _: &RequestSpec, fleet: &FleetView<'_>) -> usize {
        (0..fleet.len()).min_by_key(|&position| fleet.in_flight(position)).unwrap_or(0)
    }
}
