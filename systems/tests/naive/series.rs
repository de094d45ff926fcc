//! The time series, a step at a time: what happened in a step counts in the intervals in which it ran, in proportion to
//! time; what crosses a link on its own counts while it does.

use std::collections::BTreeMap;

use oracle_components::SimTime;
use oracle_components::record::{IntervalRow, Subject};
use oracle_components::scenario::Scenario;
use oracle_systems::costing::peak_flops;

use super::coverage::Coverage;

/// What happened in a step of an engine, or on a link, or in an interval.
#[derive(Clone, Copy, Default)]
pub struct Amounts {
    /// Sequences that ran × seconds.
    pub running_s: f64,
    /// Requests that waited × seconds.
    pub waiting_s: f64,
    /// KV blocks that were held × seconds.
    pub held_s: f64,
    /// Steps.
    pub steps: f64,
    /// Prompt tokens computed.
    pub prefill_tokens: f64,
    /// Output tokens generated.
    pub output_tokens: f64,
    /// Preemptions.
    pub preemptions: f64,
    /// Seconds of steps, or of a link's work.
    pub busy_s: f64,
    /// FLOPs of each GPU.
    pub flops: f64,
    /// Bytes in each GPU's memory, or over a link.
    pub bytes: f64,
}

impl Amounts {
    /// A share of it.
    pub fn part(&self, share: f64) -> Self {
        let mut part = Self::default();
        part.add(self, share);
        part
    }

    fn add(&mut self, more: &Self, share: f64) {
        self.running_s += more.running_s * share;
        self.waiting_s += more.waiting_s * share;
        self.held_s += more.held_s * share;
        self.steps += more.steps * share;
        self.prefill_tokens += more.prefill_tokens * share;
        self.output_tokens += more.output_tokens * share;
        self.preemptions += more.preemptions * share;
        self.busy_s += more.busy_s * share;
        self.flops += more.flops * share;
        self.bytes += more.bytes * share;
    }
}

/// The intervals of an engine or a link, by their numbers.
#[derive(Default)]
pub struct Series(BTreeMap<u64, Amounts>);

impl Series {
    /// Adds what happened from `from` to `to`.
    pub fn add(&mut self, from: SimTime, to: SimTime, width: SimTime, amounts: &Amounts) {
        if from == to {
            self.0.entry(from.0 / width.0).or_default().add(amounts, 1.0);
            return;
        }
        for number in from.0 / width.0..=(to.0 - 1) / width.0 {
            let (start, end) = (number * width.0, (number + 1) * width.0);
            let within = to.0.min(end) - from.0.max(start);
            self.0.entry(number).or_default().add(amounts, within as f64 / (to.0 - from.0) as f64);
        }
    }

    /// The rows of engine `index` and its GPUs if the simulation ended at `end`.
    pub fn rows(&self, scenario: &Scenario, index: usize, end: SimTime) -> Vec<IntervalRow> {
        let engine = &scenario.engines[index];
        let width = scenario.series_interval;
        let mut rows = Vec::new();
        for (number, amounts) in &self.0 {
            let start = SimTime(number * width.0);
            let length = (start + width).min(end) - start;
            let seconds = length.as_secs_f64();
            rows.push(IntervalRow {
                running: Some(amounts.running_s / seconds),
                waiting: Some(amounts.waiting_s / seconds),
                kv_use: Some(amounts.held_s / engine.kv_blocks as f64 / seconds),
                steps: Some(amounts.steps),
                prefill_tokens: Some(amounts.prefill_tokens),
                output_tokens: Some(amounts.output_tokens),
                preemptions: Some(amounts.preemptions),
                flops: Some(amounts.flops),
                ..IntervalRow::new(Subject::Engine(index as u32), start, length, amounts.busy_s / seconds)
            });
            for &gpu in &engine.gpus {
                let device = &scenario.gpus[gpu as usize].device;
                let busy = amounts.busy_s * engine.gpu_share / seconds;
                rows.push(IntervalRow {
                    mfu: Some(amounts.flops / peak_flops(device, &engine.model) / seconds),
                    mbu: Some(amounts.bytes / device.memory_bytes_per_s / seconds),
                    bytes: Some(amounts.bytes),
                    ..IntervalRow::new(Subject::Gpu(gpu), start, length, busy)
                });
            }
        }
        rows
    }

    /// The rows of link `index` if the simulation ended at `end`. What does not fit into an interval is carried in the next; one that
    /// nothing crossed it in has no row.
    pub fn rows_of_link(&self, index: u32, width: SimTime, end: SimTime, coverage: &mut Coverage) -> Vec<IntervalRow> {
        let mut rows = Vec::new();
        let mut left = Amounts::default();
        let first = self.0.first_key_value().map_or(0, |(&number, _)| number);
        for number in first..end.0.div_ceil(width.0) {
            let mut amounts = left;
            left = Amounts::default();
            if let Some(sent) = self.0.get(&number) {
                amounts.add(sent, 1.0);
            }
            if amounts.bytes == 0.0 {
                continue;
            }
            let start = SimTime(number * width.0);
            let length = (start + width).min(end) - start;
            let excess_s = amounts.busy_s - length.as_secs_f64();
            if excess_s >= 1e-12 {
                coverage.note("traffic left for the next interval");
                left = amounts.part(excess_s / amounts.busy_s);
                amounts = amounts.part(1.0 - excess_s / amounts.busy_s);
            }
            let busy = (amounts.busy_s / length.as_secs_f64()).min(1.0);
            let row = IntervalRow::new(Subject::Link(index), start, length, busy);
            rows.push(IntervalRow { bytes: Some(amounts.bytes), ..row });
        }
        rows
    }
}
