//! A session stays on its engine.

use oracle_components::request::RequestSpec;

use super::{FleetView, RoutingPolicy};

/// A session's first turn goes to the next engine in turn, its later turns to the same. Sessions are numbered in the order of
/// their first turns, so this needs no table of them.
#[derive(Clone, Copy, Debug)]
pub struct SessionAffinity;

impl RoutingPolicy for SessionAffinity {
    fn choose(&mut self, request: &RequestSpec, fleet: &FleetView<'_>) -> usize {
        (request.session % fleet.len() as u64) as usize
    }
}
