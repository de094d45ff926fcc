//! Where the time of a request went, by the columns of its row: parts that add up to its end-to-end latency.
//!
//! What the columns do not say is in the part it falls into: a preempted request's second wait is in *decode* (or *prefill*, if it
//! had no token yet), and the way of the first token to the client is in *prefill*.

use super::ReportError;
use super::rows::{Batch, Numbers};

/// Names of the parts, in the order in which they follow each other.
pub const PARTS: [&str; 8] =
    ["network in", "queue", "prefill", "KV wait", "KV transfer", "decode queue", "decode", "network out"];
/// The parts that TTFT consists of come first.
pub const PARTS_OF_TTFT: usize = 6;

/// The columns that the parts are made of.
pub(super) const COLUMNS: [&str; 10] = [
    "arrival_time",
    "ingress_time_ms",
    "queue_time_ms",
    "scheduled_time",
    "first_token_time",
    "last_token_time",
    "completion_time",
    "prefill_end_time",
    "kv_wait_time_ms",
    "kv_transfer_time_ms",
];

/// Milliseconds of each part.
pub type Parts = [f64; PARTS.len()];

/// The columns of a batch.
pub(super) struct PartColumns<'a> {
    columns: [Numbers<'a>; COLUMNS.len()],
}

impl<'a> PartColumns<'a> {
    pub(super) fn of(batch: &Batch<'a>) -> Result<Self, ReportError> {
        let mut columns = [batch.numbers(COLUMNS[0])?; COLUMNS.len()];
        for (column, name) in columns.iter_mut().zip(COLUMNS) {
            *column = batch.numbers(name)?;
        }
        Ok(Self { columns })
    }

    /// The parts of a row; `None` of a request that had no token.
    pub(super) fn parts(&self, row: usize) -> Option<Parts> {
        let [_, ingress_ms, queue_ms, scheduled_s, first_s, last_s, end_s, prefill_end_s, wait_ms, transfer_ms] =
            self.columns.map(|column| column.get(row));
        let (scheduled_s, first_s) = (scheduled_s?, first_s?);
        let between_ms = |from_s: f64, to_s: f64| (to_s - from_s) * 1e3;
        let (last_s, end_s) = (last_s.unwrap_or(first_s), end_s?);
        // The prompt was computed by another engine, and its KV cache sent.
        let (prefill, wait, transfer, decode_queue) = match (prefill_end_s, wait_ms, transfer_ms) {
            (Some(prefill_end_s), wait_ms, transfer_ms) => {
                let (wait, transfer) = (wait_ms.unwrap_or(0.0), transfer_ms.unwrap_or(0.0));
                let rest = between_ms(prefill_end_s, first_s) - wait - transfer;
                (between_ms(scheduled_s, prefill_end_s), wait, transfer, rest)
            }
            (None, ..) => (between_ms(scheduled_s, first_s), 0.0, 0.0, 0.0),
        };
        let parts = [
            ingress_ms.unwrap_or(0.0),
            queue_ms.unwrap_or(0.0),
            prefill,
            wait,
            transfer,
            decode_queue,
            between_ms(first_s, last_s),
            between_ms(last_s, end_s),
        ];
        // Seconds in binary leave a rest of some nanoseconds where a part is none.
        Some(parts.map(|part| if part.abs() < 1e-5 { 0.0 } else { part }))
    }
}

/// Parts of many requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct PartSums {
    /// How many requests.
    pub requests: u64,
    sums: Parts,
}

impl PartSums {
    pub(super) fn add(&mut self, parts: &Parts) {
        self.requests += 1;
        self.sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
    }

    /// The mean of each part; nothing without requests.
    #[must_use]
    pub fn means(&self) -> Option<Parts> {
        (self.requests > 0).then(|| self.sums.map(|sum| sum / self.requests as f64))
    }
}
