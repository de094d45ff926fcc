//! The time series: integrals over intervals of fixed width, row by row as the intervals pass.
//!
//! Steps count in the interval in which they run; one that crosses the end of it is spread in proportion to time. Intervals
//! in which nothing happened have no row.

use std::collections::VecDeque;

use bevy_ecs::prelude::*;
use oracle_components::SimTime;
use oracle_components::hardware::EngineHardware;
use oracle_components::record::{FinishedRows, IntervalRow, Subject};
use oracle_components::work::StepWork;

/// What happened in a span of an engine's time.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineAmounts {
    /// Sequences running × seconds.
    pub running_s: f64,
    /// Requests waiting × seconds.
    pub waiting_s: f64,
    /// Share of the KV blocks held × seconds.
    pub kv_use_s: f64,
    /// Steps.
    pub steps: f64,
    /// Prompt tokens computed.
    pub prefill_tokens: f64,
    /// Output tokens generated.
    pub output_tokens: f64,
    /// Preemptions.
    pub preemptions: f64,
    /// Seconds with a step running.
    pub busy_s: f64,
    /// FLOPs on each GPU.
    pub flops: f64,
    /// Bytes in each GPU's memory.
    pub bytes: f64,
}

impl EngineAmounts {
    /// All amounts, for arithmetic.
    fn fields(&mut self) -> [&mut f64; 10] {
        [
            &mut self.running_s,
            &mut self.waiting_s,
            &mut self.kv_use_s,
            &mut self.steps,
            &mut self.prefill_tokens,
            &mut self.output_tokens,
            &mut self.preemptions,
            &mut self.busy_s,
            &mut self.flops,
            &mut self.bytes,
        ]
    }

    /// Adds `share` of `other`.
    fn add(&mut self, mut other: Self, share: f64) {
        for (mine, theirs) in self.fields().into_iter().zip(other.fields()) {
            *mine += *theirs * share;
        }
    }

    /// What a step's work adds.
    pub fn add_work(&mut self, work: &StepWork) {
        self.flops += work.flops_per_gpu;
        self.bytes += work.memory_bytes_per_gpu;
    }
}

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

/// The open interval of an engine.
#[derive(Component, Debug)]
pub struct EngineSeries {
    interval: Interval,
    amounts: Option<EngineAmounts>,
    /// Preemptions of the engine that have been booked.
    pub preemptions_booked: u64,
}

impl EngineSeries {
    /// An empty series with intervals of `width`.
    #[must_use]
    pub fn new(width: SimTime) -> Self {
        Self { interval: Interval { start: SimTime::ZERO, width }, amounts: None, preemptions_booked: 0 }
    }

    /// The end of the interval that holds what begins at `from`.
    #[must_use]
    pub fn interval_end(&self, from: SimTime) -> SimTime {
        let open = self.interval;
        if from >= open.start && from < open.end() { open.end() } else { Interval::containing(from, open.width).end() }
    }

    /// Adds what happened from `from` to `to`, evenly.
    pub fn book(
        &mut self,
        from: SimTime,
        to: SimTime,
        amounts: EngineAmounts,
        hardware: &EngineHardware,
        rows: &mut FinishedRows,
    ) {
        let span = to.since(from).0 as f64;
        let mut from = from;
        while from >= self.interval.end() || to > self.interval.end() {
            if from < self.interval.end() {
                let end = self.interval.end();
                let share = end.since(from).0 as f64 / span;
                self.amounts.get_or_insert_default().add(amounts, share);
                from = end;
            }
            self.flush(SimTime::NEVER, hardware, rows);
            self.interval = Interval::containing(from, self.interval.width);
        }
        let share = if span > 0.0 { to.since(from).0 as f64 / span } else { 1.0 };
        self.amounts.get_or_insert_default().add(amounts, share);
    }

    /// Ends the open interval, or cuts it at `stop`.
    pub fn flush(&mut self, stop: SimTime, hardware: &EngineHardware, rows: &mut FinishedRows) {
        let Some(amounts) = self.amounts.take() else {
            return;
        };
        let length = self.interval.length(stop);
        let seconds = length.as_secs_f64();
        if seconds == 0.0 {
            return;
        }
        let row = |subject| IntervalRow::new(subject, self.interval.start, length, amounts.busy_s / seconds);
        rows.0.push(IntervalRow {
            running: Some(amounts.running_s / seconds),
            waiting: Some(amounts.waiting_s / seconds),
            kv_use: Some(amounts.kv_use_s / seconds),
            steps: Some(amounts.steps),
            prefill_tokens: Some(amounts.prefill_tokens),
            output_tokens: Some(amounts.output_tokens),
            preemptions: Some(amounts.preemptions),
            flops: Some(amounts.flops),
            ..row(Subject::Engine(hardware.engine))
        });
        for gpu in &hardware.gpus {
            rows.0.push(IntervalRow {
                busy: amounts.busy_s * hardware.gpu_share / seconds,
                mfu: Some(amounts.flops / (gpu.peak_flops * seconds)),
                mbu: Some(amounts.bytes / (gpu.peak_bytes_per_s * seconds)),
                bytes: Some(amounts.bytes),
                ..row(Subject::Gpu(gpu.index))
            });
        }
    }
}

/// Intervals of a link that are open at once: bookings may come this much out of order.
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
    pub fn book(&mut self, from: SimTime, to: SimTime, busy: SimTime, bytes: f64, rows: &mut FinishedRows) {
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
