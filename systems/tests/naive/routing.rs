//! Which engine a request goes to: by lists and turns where the policy decides, by the drawn engine where chance does.

use std::collections::VecDeque;

use oracle_components::SimTime;
use oracle_components::request::RequestSpec;
use oracle_components::scenario::{EngineIndex, Role, Routing, Scenario};
use oracle_systems::routing::Router;

use super::hand_worked::request;

/// Where the fast engine's router sends a request of `session`, given the load of every engine.
pub fn decide(router: &mut Router, session: u64, loads: &[u32]) -> EngineIndex {
    let request = RequestSpec { session, ..request(SimTime::ZERO, 1, 1) };
    router.route(&request, loads, SimTime::ZERO)
}

/// A router: of requests that arrive, or of prompts that are handed off.
pub struct NaiveRouter {
    policy: Routing,
    /// Those to choose among, the next in turn first.
    turns: VecDeque<EngineIndex>,
    /// The engine of every session up to the latest, by number.
    engine_of_session: Vec<EngineIndex>,
    /// Draws for the policies that leave it to chance; what it draws obeys the laws of `equivalence/routing.rs`.
    drawn: Router,
}

impl NaiveRouter {
    /// Requests that arrive go to engines that serve all of them or compute their prompts.
    pub fn of_arrivals(scenario: &Scenario) -> Self {
        let takes_arrivals = |role| matches!(role, Role::Both | Role::Prefill);
        Self::new(scenario.routing, scenario, takes_arrivals, Router::of_arrivals(scenario))
    }

    /// Prompts that are computed go to engines that decode.
    pub fn of_handoffs(scenario: &Scenario) -> Self {
        let decodes = |role| matches!(role, Role::Decode);
        Self::new(scenario.decode_routing, scenario, decodes, Router::of_handoffs(scenario))
    }

    fn new(policy: Routing, scenario: &Scenario, is_candidate: fn(Role) -> bool, drawn: Router) -> Self {
        let engines = scenario.engines.iter().zip(0..);
        let turns = engines.filter(|(engine, _)| is_candidate(engine.role)).map(|(_, index)| index).collect();
        Self { policy, turns, engine_of_session: Vec::new(), drawn }
    }

    /// Where a request of `session` goes, given the load of every engine.
    pub fn route(&mut self, session: u64, loads: &[u32]) -> EngineIndex {
        match self.policy {
            Routing::RoundRobin => self.next_in_turn(),
            Routing::SessionAffinity => {
                // Sessions take turns in the order of their numbers, and keep what they got.
                while self.engine_of_session.len() as u64 <= session {
                    let engine = self.next_in_turn();
                    self.engine_of_session.push(engine);
                }
                self.engine_of_session[session as usize]
            }
            Routing::LeastLoaded => {
                let mut candidates: Vec<EngineIndex> = self.turns.iter().copied().collect();
                candidates.sort_by_key(|&engine| (loads[engine as usize], engine));
                candidates[0]
            }
            Routing::Random | Routing::WeightedRandom => decide(&mut self.drawn, session, loads),
        }
    }

    fn next_in_turn(&mut self) -> EngineIndex {
        let engine = self.turns.pop_front().expect("somebody takes requests");
        self.turns.push_back(engine);
        engine
    }
}
