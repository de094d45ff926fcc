//! Invariants: what holds after every tick, and of every run that has ended. Reads everything, writes nothing.
//!
//! [`InvariantMonitor`] looks at the engines of each tick of a debug build, so that a defect is found where it happens;
//! [`violations`] looks at what a run came to, in any build.

mod groups;
mod run;
mod tick;

use oracle_components::SimTime;

pub use run::violations;
pub use tick::InvariantMonitor;

/// What rounding to whole nanoseconds, and of sums of shares, may add to a time.
fn about(time: SimTime) -> SimTime {
    SimTime(time.0.saturating_add(1_000 + time.0 / 1_000_000_000))
}
