//! The open interval of an engine, and of its GPUs.

use super::Interval;
use bevy_ecs::prelude::Component;
use oracle_components::SimTime;
use oracle_components::hardware::EngineHardware;
use oracle_components::record::{FinishedRows, IntervalRow, Subject};
use oracle_components::work::StepWork;
/// What happened in a span of an engine's time.
#[derive(Clone, Copy, Debug, Default)]
pub struct IntervalSums {
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

impl IntervalSums {
    /// All sums, for arithmetic.
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

/// The open interval of an engine.
#[derive(Component, Debug)]
pub struct EngineSeries {
    interval: Interval,
    sums: Option<IntervalSums>,
    /// Preemptions of the engine that have been posted.
    pub preemptions_posted: u64,
}

impl EngineSeries {
    /// An empty series with intervals of `width`.
    #[must_use]
    pub fn new(width: SimTime) -> Self {
        Self { interval: Interval { start: SimTime::ZERO, width }, sums: None, preemptions_posted: 0 }
    }

    /// The end of the interval that holds what begins at `from`.
    #[must_use]
    pub fn interval_end(&self, from: SimTime) -> SimTime {
        let open = self.interval;
        if from >= open.start && from < open.end() { open.end() } else { Interval::containing(from, open.width).end() }
    }

    /// Adds what happened from `from` to `to`, evenly.
    pub fn post(
        &mut self,
        from: SimTime,
        to: SimTime,
        sums: IntervalSums,
        hardware: &EngineHardware,
        rows: &mut FinishedRows,
    ) {
        let span = to.since(from).0 as f64;
        let mut from = from;
        while from >= self.interval.end() || to > self.interval.end() {
            if from < self.interval.end() {
                let end = self.interval.end();
                let share = end.since(from).0 as f64 / span;
                self.sums.get_or_insert_default().add(sums, share);
                from = end;
            }
            self.flush(SimTime::NEVER, hardware, rows);
            self.interval = Interval::containing(from, self.interval.width);
        }
        let share = if span > 0.0 { to.since(from).0 as f64 / span } else { 1.0 };
        self.sums.get_or_insert_default().add(sums, share);
    }

    /// Ends the open interval, or cuts it at `stop`.
    pub fn flush(&mut self, stop: SimTime, hardware: &EngineHardware, rows: &mut FinishedRows) {
        let Some(sums) = self.sums.take() else {
            return;
        };
        let length = self.interval.length(stop);
        let seconds = length.as_secs_f64();
        if seconds == 0.0 {
            return;
        }
        let row = |subject| IntervalRow::new(subject, self.interval.start, length, sums.busy_s / seconds);
        rows.0.push(IntervalRow {
            running: Some(sums.running_s / seconds),
            waiting: Some(sums.waiting_s / seconds),
            kv_use: Some(sums.kv_use_s / seconds),
            steps: Some(sums.steps),
            prefill_tokens: Some(sums.prefill_tokens),
            output_tokens: Some(sums.output_tokens),
            preemptions: Some(sums.preemptions),
            flops: Some(sums.flops),
            ..row(Subject::Engine(hardware.engine))
        });
        for gpu in &hardware.gpus {
            rows.0.push(IntervalRow {
                busy: sums.busy_s * hardware.gpu_share / seconds,
                mfu: Some(sums.flops / (gpu.peak_flops * seconds)),
                mbu: Some(sums.bytes / (gpu.peak_bytes_per_s * seconds)),
                bytes: Some(sums.bytes),
                ..row(Subject::Gpu(gpu.index))
            });
        }
    }
}
