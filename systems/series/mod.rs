//! The time series: integrals over intervals of fixed width, row by row as the intervals pass.
//!
//! Steps count in the interval in which they run; one that crosses the end of it is spread in proportion to time. Intervals
//! in which nothing happened have no row.

mod engine;
mod link;

use oracle_components::SimTime;

pub use engine::{EngineSeries, IntervalSums};
pub use link::{LinkSeries, Traffic, WINDOW_INTERVALS};

/// The interval that something is in.
#[derive(Clone, Copy, Debug)]
struct Interval {
    start: SimTime,
    width: SimTime,
}

impl Interval {
    fn containing(at: SimTime, width: SimTime) -> Self {
        Self { start: SimTime(at.0 - at.0 % width.0), width }
    }

    fn end(self) -> SimTime {
        self.start.saturating_add(self.width)
    }

    /// Its length if the simulation stops at `stop`.
    fn length(self, stop: SimTime) -> SimTime {
        self.end().min(stop).since(self.start)
    }
}
