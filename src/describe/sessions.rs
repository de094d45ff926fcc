//! Sessions: how many turns they have, and the pauses between them.
//!
//! How many sessions have so many turns follows from how many requests are the so-manieth turn, so nothing is kept of a
//! session but its latest arrival, and that for the sessions among the last two million at most.

use std::collections::HashMap;

use oracle_components::SimTime;

use super::figures::SessionFigures;
use super::quantiles;
use crate::output::Distribution;
use crate::workload::Turn;

/// Sessions that are remembered before those that have long said nothing are forgotten.
const GENERATION: usize = 1 << 20;
/// Turns that are told apart.
const MOST_TURNS: usize = 1 << 20;

/// Sessions so far.
pub(super) struct Sessions {
    /// Requests by their turn.
    by_turn: Vec<u64>,
    /// Latest arrivals: of the sessions seen lately, and of those seen before them.
    recent: HashMap<u64, SimTime>,
    older: HashMap<u64, SimTime>,
    pauses: Distribution,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { by_turn: Vec::new(), recent: HashMap::new(), older: HashMap::new(), pauses: Distribution::new() }
    }
}

impl Sessions {
    pub fn look_at(&mut self, turn: &Turn) {
        let spec = &turn.spec;
        let number = (spec.turn as usize).min(MOST_TURNS);
        if number >= self.by_turn.len() {
            self.by_turn.resize(number + 1, 0);
        }
        self.by_turn[number] += 1;
        let before = self.latest(spec.session, spec.arrival);
        let pause = turn.pause.or_else(|| before.filter(|_| spec.turn > 0).map(|before| spec.arrival - before));
        if let Some(pause) = pause {
            self.pauses.record(pause);
        }
    }

    /// Notes an arrival; gives the one before it.
    fn latest(&mut self, session: u64, arrival: SimTime) -> Option<SimTime> {
        if self.recent.len() >= GENERATION {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(session, arrival).or_else(|| self.older.remove(&session))
    }

    pub fn figures(&self) -> SessionFigures {
        let requests: u64 = self.by_turn.iter().sum();
        let sessions = self.by_turn.first().copied().unwrap_or(0);
        SessionFigures {
            sessions,
            with_more_turns: self.by_turn.get(1).copied().unwrap_or(0),
            mean_turns: if sessions == 0 { 0.0 } else { requests as f64 / sessions as f64 },
            most_turns: self.by_turn.len() as u64,
            pause_s: quantiles(&self.pauses, 1e-3),
        }
    }
}
