//! Simulated time: an integer number of nanoseconds since the run began.
//!
//! Sums of integers are exact and ordered, so the fast engine, the naive reference and every thread count agree to the
//! last bit. Durations are computed in `f64` seconds and rounded here, once.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

/// A point in simulated time, or a span of it, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SimTime(pub u64);

impl SimTime {
    /// The start of the simulation.
    pub const ZERO: Self = Self(0);
    /// Later than anything that happens.
    pub const NEVER: Self = Self(u64::MAX);

    /// Rounds seconds to the nearest nanosecond. Negative values and NaN become zero, values beyond the range
    /// [`SimTime::NEVER`].
    #[must_use]
    pub fn from_secs_f64(seconds: f64) -> Self {
        // `as` truncates, saturates at both ends and maps NaN to zero. (`f64::round` is a call on baseline x86-64, and this
        // runs once a step.)
        // Below 292 years a signed conversion does, which is a single instruction.
        let nanoseconds = seconds * 1e9 + 0.5;
        // Of NaN too. (`f64::max` is five instructions.)
        let nanoseconds = if nanoseconds > 0.0 { nanoseconds } else { 0.0 };
        Self(if nanoseconds < i64::MAX as f64 { nanoseconds as i64 as u64 } else { nanoseconds as u64 })
    }

    /// This time in seconds.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// This time in milliseconds.
    #[must_use]
    pub fn as_millis_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The span since `earlier`, zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }

    /// This time plus a span, held at [`SimTime::NEVER`].
    #[must_use]
    pub fn saturating_add(self, span: Self) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

/// A time that there may not be, in the room of one: [`SimTime::NEVER`] is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaybeTime(SimTime);

impl MaybeTime {
    /// No time.
    pub const NONE: Self = Self(SimTime::NEVER);

    /// The time, if there is one.
    #[must_use]
    pub fn get(self) -> Option<SimTime> {
        Some(self.0).filter(|&time| time != SimTime::NEVER)
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_some(self) -> bool {
        self != Self::NONE
    }

    /// Puts a time in place of what was there.
    pub fn set(&mut self, time: SimTime) {
        self.0 = time;
    }

    /// The same, and gives what was there.
    pub fn replace(&mut self, time: SimTime) -> Option<SimTime> {
        std::mem::replace(self, Self(time)).get()
    }

    /// Takes a span in place of a shorter one, or of none.
    pub fn raise_to(&mut self, span: Option<SimTime>) {
        *self = self.get().max(span).into();
    }
}

impl From<Option<SimTime>> for MaybeTime {
    fn from(time: Option<SimTime>) -> Self {
        time.map_or(Self::NONE, Self)
    }
}

impl Add for SimTime {
    type Output = Self;
    fn add(self, span: Self) -> Self {
        self.saturating_add(span)
    }
}

impl AddAssign for SimTime {
    fn add_assign(&mut self, span: Self) {
        *self = *self + span;
    }
}

impl Sub for SimTime {
    type Output = Self;
    fn sub(self, earlier: Self) -> Self {
        Self(self.0 - earlier.0)
    }
}

impl fmt::Display for SimTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.as_secs_f64())
    }
}
