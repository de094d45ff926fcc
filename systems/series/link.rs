//! The open intervals of a link.

use super::Interval;
use bevy_ecs::prelude::Component;
use oracle_components::SimTime;
use oracle_components::record::{FinishedRows, IntervalRow, Subject};
use std::collections::VecDeque;
/// Intervals of a link that are open at once: postings may come this much out of order.
pub const OPEN_INTERVALS: usize = 64;

/// Traffic of a link in an interval.
#[derive(Clone, Copy, Debug)]
struct Traffic {
    start: SimTime,
    busy_s: f64,
    bytes: f64,
}

/// The open intervals of a link.
#[derive(Component, Debug)]
pub struct LinkSeries {
    index: u32,
    width: SimTime,
    open: VecDeque<Traffic>,
}

impl LinkSeries {
    /// An empty series of link `index` with intervals of `width`.
    #[must_use]
    pub fn new(index: u32, width: SimTime) -> Self {
        Self { index, width, open: VecDeque::new() }
    }

    /// Adds traffic that was under way from `from` to `to`, spread evenly, over the last intervals that may be open at once if
    /// it took longer. What comes too late for its interval counts in the oldest open one.
    pub fn post(&mut self, from: SimTime, to: SimTime, busy: SimTime, bytes: f64, rows: &mut FinishedRows) {
        let longest = SimTime(self.width.0.saturating_mul(OPEN_INTERVALS as u64 / 2));
        let mut from = from.max(to.since(longest));
        let (busy_s, span) = (busy.as_secs_f64(), to.since(from).0 as f64);
        loop {
            let interval = Interval::containing(from, self.width);
            let end = interval.end().min(to);
            let share = if to > interval.end() { end.since(from).0 as f64 / span } else { 1.0 };
            let share = if span > 0.0 { share.min(to.since(from).0 as f64 / span) } else { 1.0 };
            self.add(interval.start, busy_s * share, bytes * share, rows);
            if to <= interval.end() {
                return;
            }
            from = end;
        }
    }

    fn add(&mut self, start: SimTime, busy_s: f64, bytes: f64, rows: &mut FinishedRows) {
        let position = self.open.iter().rposition(|traffic| traffic.start <= start);
        let known = position.filter(|&position| self.open[position].start == start);
        let late = position.is_none() && self.open.len() == OPEN_INTERVALS;
        let position = known.or_else(|| late.then_some(0)).unwrap_or_else(|| {
            let position = position.map_or(0, |position| position + 1);
            self.open.insert(position, Traffic { start, busy_s: 0.0, bytes: 0.0 });
            position
        });
        self.open[position].busy_s += busy_s;
        self.open[position].bytes += bytes;
        if self.open.len() > OPEN_INTERVALS {
            let oldest = self.open.pop_front().expect("one more than are kept open");
            self.finish(oldest, SimTime::NEVER, rows);
        }
    }

    /// Ends the open intervals, and cuts the last at `stop`.
    pub fn flush(&mut self, stop: SimTime, rows: &mut FinishedRows) {
        for traffic in std::mem::take(&mut self.open) {
            self.finish(traffic, stop, rows);
        }
    }

    fn finish(&self, traffic: Traffic, stop: SimTime, rows: &mut FinishedRows) {
        let length = Interval { start: traffic.start, width: self.width }.length(stop);
        if traffic.bytes == 0.0 || length == SimTime::ZERO {
            return;
        }
        let busy = traffic.busy_s / length.as_secs_f64();
        let row = IntervalRow::new(Subject::Link(self.index), traffic.start, length, busy);
        rows.0.push(IntervalRow { bytes: Some(traffic.bytes), ..row });
    }
}
