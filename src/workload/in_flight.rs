//! Places for sessions, laid around any source: a closed loop, users who pause, a client that holds requests back.
//!
//! The laws: never more sessions open than there are places; a session keeps its place until none of its requests is in
//! flight and its source has no further one; sessions go out in the order of their source, each at its own time or, if no
//! place is free then, when one becomes free (and, for users, when the pause after that is over). A request of a session
//! that is open already needs no place of its own. Memory is that of the open sessions.
//!
//! A place that becomes free takes the next session at once, even if that is due later only: of those that are free, it
//! does not matter which takes it, and the engine is told of it early.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use oracle_components::SimTime;
use oracle_components::record::{RequestRecord, Status};
use oracle_components::request::RequestSpec;
use oracle_systems::ports::{Promises, RequestSource};

use super::distribution::Sampler;
use super::error::WorkloadError;
use super::facts::{HeldBack, Stuck};
use super::load::Places;
use super::streams::{Purpose, combine, stream};

/// So many refusals in a row, each the cause of the next, and the loop is taken never to do anything else.
const MOST_REFUSED: u32 = 100_000;

/// A source whose sessions share a number of places.
pub struct InFlight {
    inner: Box<dyn RequestSource>,
    places: u32,
    ramp_up_s: f64,
    pause: Option<(Sampler, u64)>,
    /// Nothing is sent at or after this.
    end: SimTime,
    /// Places that have been taken once.
    opened: u32,
    /// Requests in flight, by session.
    open: HashMap<u64, u32>,
    /// Refused one after another.
    refused: u32,
    stuck: Stuck,
    held_back: HeldBack,
}

impl InFlight {
    /// Lays `places` around `inner`; nothing is sent at or after `end`, if there is one. `stuck` is where it says that every
    /// request was refused.
    ///
    /// # Errors
    /// There is no place, or the pause cannot be drawn.
    pub fn new(
        inner: Box<dyn RequestSource>,
        places: &Places,
        end: Option<SimTime>,
        seed: u64,
        stuck: Stuck,
    ) -> Result<Self, WorkloadError> {
        if places.count == 0 {
            return Err(WorkloadError::NoPlaces);
        }
        let wrong = |source| WorkloadError::Distribution { profile: "load".to_owned(), quantity: "pause", source };
        let pause = places.pause_s.as_ref().map(Sampler::new).transpose().map_err(wrong)?;
        Ok(Self {
            inner,
            places: places.count,
            ramp_up_s: places.ramp_up_s,
            pause: pause.map(|sampler| (sampler, combine(seed, Purpose::UserPause as u64))),
            end: end.unwrap_or(SimTime::NEVER),
            opened: 0,
            open: HashMap::new(),
            refused: 0,
            stuck,
            held_back: HeldBack::default(),
        })
    }

    /// Tells `held_back` of what is sent later than it is due.
    #[must_use]
    pub fn counting(self, held_back: HeldBack) -> Self {
        Self { held_back, ..self }
    }

    /// The source's next request, not before `free`, and whether it begins a session.
    fn take(&mut self, free: SimTime) -> Option<(RequestSpec, bool)> {
        let mut spec = self.inner.next_request()?;
        let begins = match self.open.entry(spec.session) {
            Entry::Occupied(mut open) => {
                *open.get_mut() += 1;
                false
            }
            Entry::Vacant(new) => {
                new.insert(1);
                true
            }
        };
        if spec.arrival > free {
            // It comes by itself, whatever became of others.
            self.refused = 0;
        }
        let due = spec.arrival;
        spec.arrival = due.max(free);
        if spec.arrival >= self.end {
            return None;
        }
        self.held_back.sent(spec.arrival.since(due));
        Some((spec, begins))
    }

    /// Whether that was the session's last request; `more` have followed from it.
    fn has_ended(&mut self, session: u64, more: usize) -> bool {
        let Entry::Occupied(mut open) = self.open.entry(session) else { return false };
        let in_flight = *open.get() - 1 + more as u32;
        if in_flight > 0 {
            *open.get_mut() = in_flight;
            return false;
        }
        open.remove();
        true
    }

    /// Whether only refusals come of going on, at one instant perhaps.
    fn is_stuck(&mut self, record: &RequestRecord) -> bool {
        self.refused = if record.status == Status::Failed { self.refused + 1 } else { 0 };
        if self.refused < MOST_REFUSED {
            return false;
        }
        self.stuck.set(record.completion, MOST_REFUSED);
        true
    }
}

impl RequestSource for InFlight {
    fn next_request(&mut self) -> Option<RequestSpec> {
        if self.opened == self.places {
            return None;
        }
        let opens_s = self.ramp_up_s * f64::from(self.opened) / f64::from(self.places);
        let (spec, begins) = self.take(SimTime::from_secs_f64(opens_s))?;
        self.opened += u32::from(begins);
        Some(spec)
    }

    fn follow_ups(&mut self, spec: &RequestSpec, record: &RequestRecord, next: &mut Vec<RequestSpec>) {
        self.inner.follow_ups(spec, record, next);
        next.iter().for_each(|_| self.held_back.sent(SimTime::ZERO));
        if !self.has_ended(spec.session, next.len()) || self.is_stuck(record) {
            return;
        }
        let pause_s = self
            .pause
            .as_ref()
            .map_or(0.0, |(pause, owner)| pause.sample(&mut stream(combine(*owner, spec.session), Purpose::UserPause)));
        let free = record.completion.saturating_add(SimTime::from_secs_f64(pause_s));
        while let Some((spec, begins)) = self.take(free) {
            next.push(spec);
            if begins {
                break;
            }
        }
    }

    fn promises(&self) -> Promises {
        Promises { no_follow_ups: false, ..self.inner.promises() }
    }
}
