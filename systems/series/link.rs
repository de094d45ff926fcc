//! What a link carries, by intervals.
//!
//! Transfers that queue on a link have it one after the other. What steps send beside them interleaves with all else; what does
//! not fit into an interval is carried in the next one, so that a link is never busy for longer than there is time.

use super::Interval;
use bevy_ecs::prelude::Component;
use oracle_components::SimTime;
use oracle_components::record::{FinishedRows, IntervalRow, Subject};
use std::collections::VecDeque;

/// Longest window of engines that go their own ways, in intervals.
pub const WINDOW_INTERVALS: u64 = 32;
/// Intervals that stay open behind the present: what steps sent is known when they are over, and of windowed engines two windows
/// later.
const OPEN_INTERVALS: u64 = 2 * WINDOW_INTERVALS + 8;
/// What sums of fractions may be off by: an interval that is too short by less is long enough.
const ROUNDING_NS: f64 = 1e-3;

/// A transfer that queues, or what is left of it.
#[derive(Clone, Copy, Debug)]
struct Transfer {
    from: SimTime,
    to: SimTime,
    bytes: f64,
}

/// What a link has carried, or is to carry.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// For how long.
    pub busy_ns: f64,
    /// How much.
    pub bytes: f64,
}

impl Traffic {
    fn add(&mut self, more: Self, share: f64) {
        self.busy_ns += more.busy_ns * share;
        self.bytes += more.bytes * share;
    }
}

/// The open intervals of a link.
#[derive(Component, Debug)]
pub struct LinkSeries {
    index: u32,
    width: SimTime,
    /// Where the first open interval begins.
    open_from: SimTime,
    /// What is sent in open intervals, by their starts.
    sent: VecDeque<(SimTime, Traffic)>,
    /// Transfers that are not over.
    queued: VecDeque<Transfer>,
    /// What did not fit into the intervals before.
    left: Traffic,
    /// What the intervals before have carried.
    carried: Traffic,
}

impl LinkSeries {
    /// An empty series of link `index` with intervals of `width`.
    #[must_use]
    pub fn new(index: u32, width: SimTime) -> Self {
        Self {
            index,
            width,
            open_from: SimTime::ZERO,
            sent: VecDeque::new(),
            queued: VecDeque::new(),
            left: Traffic::default(),
            carried: Traffic::default(),
        }
    }

    /// A transfer, booked at `now`, has the link to itself from `from`, when the one before is over at the earliest, to `to`.
    pub fn queue(&mut self, (from, to): (SimTime, SimTime), bytes: f64, now: SimTime, rows: &mut FinishedRows) {
        self.queued.push_back(Transfer { from, to, bytes });
        self.advance(now, rows);
    }

    /// Steps that ran from `from` to `to` have sent something, evenly. What comes too late for its interval, of an engine that has run
    /// thousands of steps ahead, counts in the first that is open.
    pub fn post(&mut self, (from, to): (SimTime, SimTime), traffic: Traffic, rows: &mut FinishedRows) {
        self.spread((from, to), traffic);
        self.advance(to, rows);
    }

    /// Ends all intervals, the last at `stop`: what the link has carried by then.
    pub fn flush(&mut self, stop: SimTime, rows: &mut FinishedRows) -> Traffic {
        self.begin_queued(stop, stop);
        self.finish_before(stop, stop, rows);
        self.carried
    }

    /// Ends the intervals that nothing is sent in any more.
    fn advance(&mut self, now: SimTime, rows: &mut FinishedRows) {
        let interval = Interval::containing(now, self.width).start;
        self.begin_queued(now, interval);
        let open = SimTime(self.width.0.saturating_mul(OPEN_INTERVALS));
        self.finish_before(interval.since(open), SimTime::NEVER, rows);
    }

    /// Counts transfers that are over by `now`, and of the one that is under way what is by `cut`.
    fn begin_queued(&mut self, now: SimTime, cut: SimTime) {
        while let Some(&Transfer { from, to, bytes }) = self.queued.front() {
            let is_over = to <= now;
            if !is_over && from >= cut {
                return;
            }
            let until = if is_over { to } else { cut };
            let share = if is_over { 1.0 } else { until.since(from).0 as f64 / to.since(from).0 as f64 };
            self.queued.pop_front();
            if !is_over {
                self.queued.push_front(Transfer { from: until, to, bytes: bytes * (1.0 - share) });
            }
            let traffic = Traffic { busy_ns: until.since(from).0 as f64, bytes: bytes * share };
            self.spread((from, until), traffic);
        }
    }

    /// Adds what is sent from `from` to `to` to the intervals between.
    fn spread(&mut self, (mut from, to): (SimTime, SimTime), traffic: Traffic) {
        let span = to.since(from).0 as f64;
        loop {
            let interval = Interval::containing(from, self.width);
            if to <= interval.end() {
                let share = if span > 0.0 { to.since(from).0 as f64 / span } else { 1.0 };
                self.add(interval.start, traffic, share);
                return;
            }
            self.add(interval.start, traffic, interval.end().since(from).0 as f64 / span);
            from = interval.end();
        }
    }

    fn add(&mut self, start: SimTime, traffic: Traffic, share: f64) {
        let start = start.max(self.open_from);
        let behind = self.sent.iter().rposition(|&(other, _)| other <= start);
        let position = match behind {
            Some(position) if self.sent[position].0 == start => position,
            _ => {
                let position = behind.map_or(0, |position| position + 1);
                self.sent.insert(position, (start, Traffic::default()));
                position
            }
        };
        self.sent[position].1.add(traffic, share);
    }

    /// Ends the open intervals that begin before `until`, and cuts the last at `stop`.
    fn finish_before(&mut self, until: SimTime, stop: SimTime, rows: &mut FinishedRows) {
        while self.open_from < until {
            if self.left.bytes == 0.0 {
                let next = self.sent.front().map_or(until, |&(start, _)| start.min(until));
                self.open_from = Interval::containing(next, self.width).start.max(self.open_from);
            }
            if self.open_from < until {
                self.finish_first(stop, rows);
            }
        }
    }

    fn finish_first(&mut self, stop: SimTime, rows: &mut FinishedRows) {
        let interval = Interval { start: self.open_from, width: self.width };
        let mut traffic = std::mem::take(&mut self.left);
        if let Some((_, sent)) = self.sent.pop_front_if(|(start, _)| *start == interval.start) {
            traffic.add(sent, 1.0);
        }
        self.open_from = interval.end();
        let length = interval.length(stop);
        let length_ns = length.0 as f64;
        if traffic.busy_ns >= length_ns + ROUNDING_NS {
            let share = length_ns / traffic.busy_ns;
            self.left = Traffic { busy_ns: traffic.busy_ns - length_ns, bytes: traffic.bytes * (1.0 - share) };
            traffic = Traffic { busy_ns: length_ns, bytes: traffic.bytes * share };
        }
        if traffic.bytes == 0.0 || length == SimTime::ZERO {
            return;
        }
        self.carried.add(traffic, 1.0);
        let busy = (traffic.busy_ns / length_ns).min(1.0);
        let row = IntervalRow::new(Subject::Link(self.index), interval.start, length, busy);
        rows.0.push(IntervalRow { bytes: Some(traffic.bytes), ..row });
    }
}
