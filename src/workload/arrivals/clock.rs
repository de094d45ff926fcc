//! Arrivals at a rate that changes: a renewal process in operational time.
//!
//! The law: gaps of mean 1 are laid end to end on the axis of Λ(t), the integral of the rate, and every arrival is at the
//! t at which Λ has come that far. With exponential gaps that is a Poisson process of just this rate, however it
//! changes; no step in time is taken anywhere. A random rate (states) is drawn from a stream of its own, so that gaps do
//! not depend on it.

use oracle_components::SimTime;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::super::distribution::{Choice, Sampler};
use super::super::error::WorkloadError;
use super::super::load::{Course, Piece, Rate, State};
use super::super::mean;
use super::super::spec::Distribution;
use super::super::streams::{Purpose, stream};

/// Shortest mean stay in a state, in seconds: shorter ones are averaged over by nobody.
const SHORTEST_STAY_S: f64 = 1e-6;

/// When sessions begin.
pub(in super::super) struct Clock {
    gaps: Sampler,
    rng: Xoshiro256PlusPlus,
    pieces: Pieces,
    piece: Piece,
    /// When the piece began, in seconds.
    since_s: f64,
    /// Arrivals expected in all of it, and up to the latest arrival.
    total: f64,
    reached: f64,
    /// The first arrival of evenly spaced ones is at the beginning.
    begins_at_once: bool,
}

enum Pieces {
    Listed { pieces: Box<[Piece]>, next: usize, repeats: bool },
    Random { states: Box<[(f64, Sampler, Choice)]>, state: usize, rng: Xoshiro256PlusPlus },
}

impl Clock {
    pub(in super::super) fn new(gaps: &Distribution, rate: &Rate, seed: u64) -> Result<Self, WorkloadError> {
        let wrong = |source| WorkloadError::Distribution { profile: "load".to_owned(), quantity: "gaps", source };
        rate.check()?;
        let mut clock = Self {
            gaps: Sampler::new(gaps).map_err(wrong)?,
            rng: stream(seed, Purpose::LoadGaps),
            pieces: Pieces::new(rate, seed)?,
            piece: Piece { seconds: 0.0, course: Course::Line { from: 0.0, to: 0.0 } },
            since_s: 0.0,
            total: 0.0,
            reached: 0.0,
            begins_at_once: matches!(gaps, Distribution::Constant { .. }),
        };
        clock.turn_over();
        Ok(clock)
    }

    /// The next arrival before `end`; `None` if there is none.
    #[inline]
    pub(in super::super) fn next(&mut self, end: SimTime) -> Option<SimTime> {
        let mut gap = if self.begins_at_once { 0.0 } else { self.gaps.sample(&mut self.rng) };
        self.begins_at_once = false;
        while self.reached + gap > self.total {
            gap -= self.total - self.reached;
            self.since_s += self.piece.seconds;
            if SimTime::from_secs_f64(self.since_s) >= end || !self.turn_over() {
                return None;
            }
        }
        self.reached += gap;
        let at = SimTime::from_secs_f64(self.since_s + self.piece.time_of(self.reached));
        (at < end).then_some(at)
    }

    /// Goes on to the next piece; false if there is none.
    fn turn_over(&mut self) -> bool {
        let Some(piece) = self.pieces.next() else { return false };
        (self.piece, self.total, self.reached) = (piece, piece.total(), 0.0);
        true
    }
}

impl Pieces {
    fn new(rate: &Rate, seed: u64) -> Result<Self, WorkloadError> {
        Ok(match rate {
            Rate::Pieces { pieces, repeats } => {
                Self::Listed { pieces: pieces.clone().into(), next: 0, repeats: *repeats }
            }
            Rate::States(states) => {
                let prepared: Result<_, _> = states.iter().map(prepare).collect();
                Self::Random { states: prepared?, state: 0, rng: stream(seed, Purpose::LoadStates) }
            }
        })
    }

    fn next(&mut self) -> Option<Piece> {
        match self {
            Self::Listed { pieces, next, repeats } => {
                if *next == pieces.len() && *repeats {
                    *next = 0;
                }
                *next += 1;
                pieces.get(*next - 1).copied()
            }
            Self::Random { states, state, rng } => {
                let (per_s, stay_s, next) = &states[*state];
                let seconds = stay_s.sample(rng);
                *state = next.pick(rng);
                Some(Piece { seconds, course: Course::Line { from: *per_s, to: *per_s } })
            }
        }
    }
}

fn prepare(state: &State) -> Result<(f64, Sampler, Choice), WorkloadError> {
    let wrong = |source| WorkloadError::Distribution { profile: "load".to_owned(), quantity: "stay", source };
    let stay = Sampler::new(&state.stay_s).map_err(wrong)?;
    let next = Choice::new(state.next.iter().copied()).ok_or(WorkloadError::Weights { what: "states of the load" })?;
    Ok((state.per_s, stay, next))
}

impl Rate {
    /// A load that never comes would be looked for without end.
    ///
    /// # Errors
    /// The rate is always 0, or its states last no time.
    pub fn check(&self) -> Result<(), WorkloadError> {
        let comes = match self {
            Self::Pieces { pieces, .. } => pieces.iter().map(Piece::total).sum::<f64>() > 0.0,
            Self::States(states) => {
                let stays = |state: &State| mean::of(&state.stay_s).is_none_or(|mean_s| mean_s >= SHORTEST_STAY_S);
                states.iter().all(stays) && mean_of_states(states).is_none_or(|mean| mean > 0.0)
            }
        };
        if comes { Ok(()) } else { Err(WorkloadError::NoLoad) }
    }
}

/// When a rate that ends by itself does.
pub(in super::super) fn length(rate: &Rate) -> Option<SimTime> {
    let Rate::Pieces { pieces, repeats: false } = rate else { return None };
    let seconds: f64 = pieces.iter().map(|piece| piece.seconds).sum();
    seconds.is_finite().then(|| SimTime::from_secs_f64(seconds))
}

/// Sessions a second before `end`, or in the long run; `None` where that is not finite.
pub(in super::super) fn mean_per_s(rate: &Rate, end: Option<SimTime>) -> Option<f64> {
    let mean = match rate {
        Rate::States(states) => mean_of_states(states)?,
        Rate::Pieces { pieces, repeats } => {
            let cycle: f64 = pieces.iter().map(Piece::total).sum();
            let cycle_s: f64 = pieces.iter().map(|piece| piece.seconds).sum();
            match end.map(SimTime::as_secs_f64) {
                Some(end_s) if *repeats => {
                    let cycles = (end_s / cycle_s).floor();
                    (cycles * cycle + expected(pieces, end_s - cycles * cycle_s)) / end_s
                }
                Some(end_s) => expected(pieces, end_s) / end_s,
                None if cycle_s.is_finite() => cycle / cycle_s,
                None => pieces.last()?.endless_per_s(),
            }
        }
    };
    Some(mean).filter(|mean| mean.is_finite())
}

/// Arrivals expected in the first `seconds` of pieces.
fn expected(pieces: &[Piece], seconds: f64) -> f64 {
    let mut left_s = seconds;
    let mut sum = 0.0;
    for piece in pieces {
        sum += if left_s < piece.seconds { piece.expected(left_s) } else { piece.total() };
        left_s -= piece.seconds;
        if left_s <= 0.0 {
            break;
        }
    }
    sum
}

/// The rate in the long run: each state by how often it is entered and how long it is stayed in.
fn mean_of_states(states: &[State]) -> Option<f64> {
    const ROUNDS: u32 = 10_000;
    let count = states.len();
    let mut share = vec![1.0 / count as f64; count];
    for _ in 0..ROUNDS {
        // Half of it stays where it is, so that it settles where states only alternate.
        let mut next: Vec<f64> = share.iter().map(|share| share / 2.0).collect();
        for (state, share) in states.iter().zip(&share) {
            let total: f64 = state.next.iter().sum();
            for (next, weight) in next.iter_mut().zip(&state.next) {
                *next += share / 2.0 * weight / total;
            }
        }
        share = next;
    }
    let stays: Option<Vec<f64>> = states.iter().map(|state| mean::of(&state.stay_s)).collect();
    let weighted: Vec<f64> = share.iter().zip(stays?).map(|(share, stay)| share * stay).collect();
    let total: f64 = weighted.iter().sum();
    let sum: f64 = weighted.iter().zip(states).map(|(weight, state)| weight * state.per_s).sum();
    Some(sum / total).filter(|mean| mean.is_finite())
}
