//! How the arrivals of several profiles become one stream.
//!
//! The laws: arrivals never decrease and stay below the end; once a process has reached it, it stays there.
//!
//! - **Mixed** (the predecessor's meaning): a profile by weight, then a gap by its distribution after the previous
//!   arrival, whoever's it was. So the rate is 1 / Σ shareᵢ·gapᵢ, and rates do not add up.
//! - **Independent**: each profile is a renewal process of its own, so rates add up and weights do not matter. Arrivals
//!   at the same moment come in the order of the profiles.
//! - **Load**: `clock` says when, and each time a profile by weight says who. Or all at once.

pub(super) mod clock;
mod piece;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use oracle_components::SimTime;
use rand_xoshiro::Xoshiro256PlusPlus;

use clock::Clock;

use super::distribution::Choice;
use super::profile::ProfileSource;

/// The process by which requests arrive.
pub(super) enum Process {
    /// One stream for all profiles.
    Mixed {
        choice: Choice,
        rng: Xoshiro256PlusPlus,
        /// The latest arrival.
        clock: SimTime,
    },
    /// One stream at a rate of its own.
    Timed { clock: Box<Clock>, choice: Choice, rng: Xoshiro256PlusPlus },
    /// Everything at second 0.
    AtOnce { choice: Choice, rng: Xoshiro256PlusPlus },
    /// A stream a profile.
    Independent {
        /// Each profile's next arrival, as long as it is before the end.
        due: BinaryHeap<Reverse<(SimTime, u16)>>,
    },
}

impl Process {
    /// All profiles on one stream.
    pub fn mixed(choice: Choice, rng: Xoshiro256PlusPlus) -> Self {
        Self::Mixed { choice, rng, clock: SimTime::ZERO }
    }

    /// Each profile on its own stream; draws their first gaps.
    pub fn independent(profiles: &mut [ProfileSource], end: SimTime) -> Self {
        let first = profiles.iter_mut().zip(0_u16..=u16::MAX).map(|(profile, index)| Reverse((profile.gap(), index)));
        Self::Independent { due: first.filter(|Reverse((arrival, _))| *arrival < end).collect() }
    }

    /// The next arrival before `end`: when, and whose.
    #[inline]
    pub fn next(&mut self, profiles: &mut [ProfileSource], end: SimTime) -> Option<(SimTime, usize)> {
        match self {
            Self::Mixed { choice, rng, clock } => {
                if *clock >= end {
                    return None;
                }
                let profile = choice.pick(rng);
                *clock = clock.saturating_add(profiles[profile].gap());
                (*clock < end).then_some((*clock, profile))
            }
            Self::Timed { clock, choice, rng } => Some((clock.next(end)?, choice.pick(rng))),
            Self::AtOnce { choice, rng } => (end > SimTime::ZERO).then(|| (SimTime::ZERO, choice.pick(rng))),
            Self::Independent { due } => {
                let mut soonest = due.peek_mut()?;
                let Reverse((arrival, index)) = *soonest;
                let profile = usize::from(index);
                let following = arrival.saturating_add(profiles[profile].gap());
                if following < end {
                    *soonest = Reverse((following, index));
                } else {
                    PeekMut::pop(soonest);
                }
                Some((arrival, profile))
            }
        }
    }
}
