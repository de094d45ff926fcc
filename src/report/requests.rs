//! What is told of requests, gathered in one pass over `requests.parquet` and a second one for the slowest per cent.
//!
//! As in the summary, those count that arrived after the warm-up and succeeded. Memory is bounded: distributions as the summary's,
//! counts by cells for parts of the time, and the slowest requests alone as rows.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use oracle_components::SimTime;

use super::counts::Counts;
use super::folder::RunFolder;
use super::parts::{COLUMNS, PartColumns, PartSums, Parts};
use super::rows::{Batch, Table};
use super::{ReportError, slices};
use crate::output::Distribution;

/// Requests that are told one by one.
const SLOWEST: usize = 20;
/// Requests that a part of the time has on average, at least, so that its p99 is more than one request.
const REQUESTS_A_SLICE: u64 = 25;
/// Parts of the time, at most.
const MOST_SLICES: usize = 150;
/// Of the slowest, as of the summary's p99.
const TAIL: f64 = 0.99;
const SUCCESS: &str = "SUCCESS";

/// A latency of all requests.
#[derive(Clone, Debug)]
pub struct Spread {
    pub(super) distribution: Distribution,
    /// Its shape.
    pub(super) shape: Counts,
    /// By the time of arrival.
    pub(super) over_time: Vec<Counts>,
}

/// A request that took long.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are the columns of requests.parquet, described there")]
pub struct SlowRequest {
    pub id: String,
    pub profile: String,
    pub engine: String,
    pub prompt_tokens: i64,
    pub cached_tokens: i64,
    pub output_tokens: i64,
    pub arrival_s: f64,
    pub ttft_ms: f64,
    pub tpot_ms: Option<f64>,
    pub e2e_ms: f64,
    pub preemptions: i64,
    pub recomputed_tokens: i64,
    pub parts: Option<Parts>,
}

/// All that is told of requests.
#[derive(Debug)]
pub struct Requests {
    /// How many count.
    pub counted: u64,
    /// By name: `ttft`, `tpot`, `e2e`, `queue`, `longest gap`.
    pub(super) ttft: Spread,
    pub(super) tpot: Spread,
    pub(super) e2e: Spread,
    pub(super) queue: Spread,
    pub(super) longest_gap: Spread,
    /// Length of a part of the time.
    pub(super) slice_s: f64,
    /// Of all.
    pub parts: PartSums,
    /// Of those whose E2E is at or above its p99, and of those whose TTFT is.
    pub tail_of_e2e: PartSums,
    pub(super) tail_of_ttft: PartSums,
    /// Requests that were preempted.
    pub preempted: u64,
    /// The slowest by E2E, the slowest first.
    pub slowest: Vec<SlowRequest>,
}

impl Spread {
    fn new(slices: usize) -> Self {
        Self { distribution: Distribution::new(), shape: Counts::default(), over_time: vec![Counts::default(); slices] }
    }

    fn record(&mut self, milliseconds: Option<f64>, slice: usize) {
        let Some(value) = milliseconds else { return };
        self.distribution.record(SimTime((value * 1e6).round() as u64));
        self.shape.record(value);
        self.over_time[slice].record(value);
    }

    /// Quantiles in milliseconds, exact as the summary's are; `None` without values.
    #[must_use]
    pub fn quantiles(&self, shares: &[f64]) -> Option<Vec<f64>> {
        self.distribution.statistics(shares).map(|told| told.quantiles_ms)
    }
}

impl Requests {
    pub(super) fn gather(folder: &RunFolder, table: &Table) -> Result<Self, ReportError> {
        let offered_s = folder.number("/load/offered_until_s").unwrap_or(0.0);
        let slices = slices::count(table.rows() / REQUESTS_A_SLICE, MOST_SLICES);
        let slice_s = slices::length(offered_s, slices);
        let warm_up_s = folder.number("/simulation/warm_up_duration_s").unwrap_or(0.0);
        let spread = || Spread::new(slices);
        let mut requests = Self {
            counted: 0,
            ttft: spread(),
            tpot: spread(),
            e2e: spread(),
            queue: spread(),
            longest_gap: spread(),
            slice_s,
            parts: PartSums::default(),
            tail_of_e2e: PartSums::default(),
            tail_of_ttft: PartSums::default(),
            preempted: 0,
            slowest: Vec::new(),
        };
        let mut slowest = Slowest::default();
        let own = [
            "status",
            "ttft_ms",
            "tpot_ms",
            "e2e_latency_ms",
            "max_itl_ms",
            "preemptions",
            "request_id",
            "profile",
            "framework",
            "prompt_tokens",
            "cached_prefix_length",
            "output_tokens",
            "recomputed_tokens",
        ];
        let columns: Vec<&str> = own.into_iter().chain(COLUMNS).collect();
        table.each_batch(&columns, |batch| {
            requests.add(batch, warm_up_s, slices)?;
            slowest.add(batch, warm_up_s)
        })?;
        requests.slowest = slowest.rows();
        requests.gather_tails(table, warm_up_s)?;
        Ok(requests)
    }

    fn add(&mut self, batch: &Batch<'_>, warm_up_s: f64, slices: usize) -> Result<(), ReportError> {
        let (arrival, preemptions) = (batch.numbers("arrival_time")?, batch.counts("preemptions")?);
        let (ttft, tpot) = (batch.numbers("ttft_ms")?, batch.numbers("tpot_ms")?);
        let (e2e, queue) = (batch.numbers("e2e_latency_ms")?, batch.numbers("queue_time_ms")?);
        let (gap, parts) = (batch.numbers("max_itl_ms")?, PartColumns::of(batch)?);
        for row in counted(batch, warm_up_s)? {
            let slice = ((arrival.get(row).unwrap_or(0.0) / self.slice_s) as usize).min(slices - 1);
            self.counted += 1;
            self.ttft.record(ttft.get(row), slice);
            self.tpot.record(tpot.get(row), slice);
            self.e2e.record(e2e.get(row), slice);
            self.queue.record(queue.get(row), slice);
            self.longest_gap.record(gap.get(row), slice);
            self.preempted += u64::from(preemptions.get(row).unwrap_or(0) > 0);
            if let Some(parts) = parts.parts(row) {
                self.parts.add(&parts);
            }
        }
        Ok(())
    }

    /// What the slowest per cent waited for: the second pass, since the limit is known only now.
    fn gather_tails(&mut self, table: &Table, warm_up_s: f64) -> Result<(), ReportError> {
        let limit = |spread: &Spread| spread.quantiles(&[TAIL]).map_or(f64::INFINITY, |told| told[0]);
        let (ttft_limit, e2e_limit) = (limit(&self.ttft), limit(&self.e2e));
        let columns: Vec<&str> = ["status", "ttft_ms", "e2e_latency_ms"].into_iter().chain(COLUMNS).collect();
        table.each_batch(&columns, |batch| {
            let (ttft, e2e) = (batch.numbers("ttft_ms")?, batch.numbers("e2e_latency_ms")?);
            let columns = PartColumns::of(batch)?;
            for row in counted(batch, warm_up_s)? {
                let is_slow = |value: Option<f64>, limit: f64| value.is_some_and(|value| value >= limit);
                let (late, long) = (is_slow(ttft.get(row), ttft_limit), is_slow(e2e.get(row), e2e_limit));
                let Some(parts) = (late || long).then(|| columns.parts(row)).flatten() else { continue };
                if late {
                    self.tail_of_ttft.add(&parts);
                }
                if long {
                    self.tail_of_e2e.add(&parts);
                }
            }
            Ok(())
        })
    }
}

/// The rows that the summary counts.
fn counted(batch: &Batch<'_>, warm_up_s: f64) -> Result<impl Iterator<Item = usize>, ReportError> {
    let (status, arrival) = (batch.words("status")?, batch.numbers("arrival_time")?);
    Ok((0..batch.len()).filter(move |&row| {
        status.get(row) == Some(SUCCESS) && arrival.get(row).is_some_and(|arrival_s| arrival_s >= warm_up_s)
    }))
}

/// The slowest so far.
#[derive(Default)]
struct Slowest {
    /// By nanoseconds, the fastest on top; of equals the later one goes first.
    heap: BinaryHeap<Reverse<(u64, Reverse<u64>, usize)>>,
    kept: Vec<SlowRequest>,
    rows: u64,
}

impl Slowest {
    fn add(&mut self, batch: &Batch<'_>, warm_up_s: f64) -> Result<(), ReportError> {
        let e2e = batch.numbers("e2e_latency_ms")?;
        for row in counted(batch, warm_up_s)? {
            let Some(e2e_ms) = e2e.get(row) else { continue };
            let key = ((e2e_ms * 1e6).round() as u64, Reverse(self.rows));
            self.rows += 1;
            let fastest = self.heap.peek().map(|Reverse((ns, at, _))| (*ns, *at));
            if self.heap.len() < SLOWEST {
                self.heap.push(Reverse((key.0, key.1, self.kept.len())));
                self.kept.push(slow_request(batch, row, e2e_ms)?);
            } else if fastest.is_some_and(|fastest| key > fastest) {
                let Some(Reverse((.., place))) = self.heap.pop() else { continue };
                self.kept[place] = slow_request(batch, row, e2e_ms)?;
                self.heap.push(Reverse((key.0, key.1, place)));
            }
        }
        Ok(())
    }

    fn rows(mut self) -> Vec<SlowRequest> {
        self.kept.sort_by(|a, b| b.e2e_ms.total_cmp(&a.e2e_ms).then_with(|| a.arrival_s.total_cmp(&b.arrival_s)));
        self.kept
    }
}

fn slow_request(batch: &Batch<'_>, row: usize, e2e_ms: f64) -> Result<SlowRequest, ReportError> {
    let word = |name: &str| Ok::<_, ReportError>(batch.words(name)?.get(row).unwrap_or_default().to_owned());
    let count = |name: &str| Ok::<_, ReportError>(batch.counts(name)?.get(row).unwrap_or(0));
    Ok(SlowRequest {
        id: word("request_id")?,
        profile: word("profile")?,
        engine: word("framework")?,
        prompt_tokens: count("prompt_tokens")?,
        cached_tokens: count("cached_prefix_length")?,
        output_tokens: count("output_tokens")?,
        arrival_s: batch.numbers("arrival_time")?.get(row).unwrap_or(0.0),
        ttft_ms: batch.numbers("ttft_ms")?.get(row).unwrap_or(0.0),
        tpot_ms: batch.numbers("tpot_ms")?.get(row),
        e2e_ms,
        preemptions: count("preemptions")?,
        recomputed_tokens: count("recomputed_tokens")?,
        parts: PartColumns::of(batch)?.parts(row),
    })
}
