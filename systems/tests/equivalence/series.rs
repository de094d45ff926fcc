//! The time series of the fast engine: against the naive one, against its own totals, and of engines that go their own ways
//! against those that meet at every boundary.

use std::collections::BTreeMap;

use oracle_components::SimTime;
use oracle_components::record::{IntervalRow, LinkTotals, Outcome, Status, Stop, Subject};
use oracle_components::scenario::Scenario;
use proptest::test_runner::TestCaseError;

use crate::alike::{ORDER_OF_SUMS, link_bookings, same};

/// What the roundings of a link's bookings in an interval come to.
const ROUNDING_S: f64 = 20e-9;

/// KV use is a mean over the steps of an epoch in an interval, and not over their time: that may be off by so much of what there is, and
/// by a block a sequence.
const KV_USE_OF_STEPS: f64 = 0.1;

fn is_link(row: &IntervalRow) -> bool {
    matches!(row.subject, Subject::Link(_))
}

/// What a row is about, as an order: kind and index.
fn key(subject: Subject) -> (u8, u32) {
    match subject {
        Subject::Engine(index) => (0, index),
        Subject::Gpu(index) => (1, index),
        Subject::Link(index) => (2, index),
    }
}

/// Rows by subject and start; those of engines on one GPU are one.
fn merged<'a>(rows: impl Iterator<Item = &'a IntervalRow>) -> BTreeMap<((u8, u32), SimTime), IntervalRow> {
    let mut merged = BTreeMap::new();
    for row in rows {
        let sum = |one: Option<f64>, other: Option<f64>| one.zip(other).map(|(one, other)| one + other);
        merged
            .entry((key(row.subject), row.start))
            .and_modify(|kept: &mut IntervalRow| {
                kept.busy += row.busy;
                kept.mfu = sum(kept.mfu, row.mfu);
                kept.mbu = sum(kept.mbu, row.mbu);
                kept.bytes = sum(kept.bytes, row.bytes);
            })
            .or_insert_with(|| row.clone());
    }
    merged
}

/// All figures of a row but KV use.
fn figures(row: &IntervalRow) -> [Option<f64>; 11] {
    let IntervalRow { waiting, running, steps, prefill_tokens, output_tokens, preemptions, .. } = *row;
    let IntervalRow { busy, flops, mfu, mbu, bytes, .. } = *row;
    [waiting, running, steps, prefill_tokens, output_tokens, preemptions, Some(busy), flops, mfu, mbu, bytes]
}

fn near(one: Option<f64>, other: Option<f64>, share: f64) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => (one - other).abs() <= share * (1.0 + one.abs()),
        _ => one == other,
    }
}

/// Engines and GPUs have the rows that the naive engine has. Links are held to their totals ([`sums_up`]).
pub fn same_rows(scenario: &Scenario, naive: &[IntervalRow], fast: &[IntervalRow]) -> Result<(), TestCaseError> {
    let (naive, fast) = (merged(naive.iter()), merged(fast.iter().filter(|row| !is_link(row))));
    same("keys of rows", &naive.keys().collect::<Vec<_>>(), &fast.keys().collect())?;
    for (naive, fast) in naive.values().zip(fast.values()) {
        let figures = figures(naive).into_iter().zip(figures(fast));
        let mut alike = figures.into_iter().all(|(one, other)| near(one, other, ORDER_OF_SUMS));
        alike &= naive.length == fast.length;
        if let Subject::Engine(index) = naive.subject {
            let blocks = scenario.engines[index as usize].kv_blocks as f64;
            let off = naive.kv_use.zip(fast.kv_use).map(|(one, other)| (one - other).abs());
            let a_block_each = naive.running.unwrap_or_default() / blocks;
            alike &= off.is_some_and(|off| off <= KV_USE_OF_STEPS * naive.kv_use.unwrap_or_default() + a_block_each);
        }
        if !alike {
            same("a row", naive, fast)?;
        }
    }
    Ok(())
}

/// What all rows of each engine, GPU and link come to.
#[derive(Clone, Copy, Default)]
struct Integral {
    busy_s: f64,
    bytes: f64,
    steps: f64,
    prefill_tokens: f64,
    output_tokens: f64,
    preemptions: f64,
}

/// The integrals of the rows are the totals. Links carry beyond the end what somebody sent who gave up; where nobody did, theirs are, too.
pub fn sums_up(scenario: &Scenario, outcome: &Outcome, rows: &[IntervalRow]) -> Result<(), TestCaseError> {
    let mut integrals: BTreeMap<(u8, u32), Integral> = BTreeMap::new();
    for row in rows {
        let integral = integrals.entry(key(row.subject)).or_default();
        integral.busy_s += row.busy * row.length.as_secs_f64();
        integral.bytes += row.bytes.unwrap_or_default();
        integral.steps += row.steps.unwrap_or_default();
        integral.prefill_tokens += row.prefill_tokens.unwrap_or_default();
        integral.output_tokens += row.output_tokens.unwrap_or_default();
        integral.preemptions += row.preemptions.unwrap_or_default();
    }
    let of = |subject: Subject| integrals.get(&key(subject)).copied().unwrap_or_default();
    let expect = |what: &str, integral: f64, total: f64, rounding: f64| {
        if (integral - total).abs() <= ORDER_OF_SUMS * (1.0 + total) + rounding {
            return Ok(());
        }
        Err(TestCaseError::fail(format!("{what}: rows come to {integral}, the total is {total}")))
    };
    let steps: Vec<u64> = outcome.engines.iter().map(|totals| totals.steps).collect();
    for (index, totals) in outcome.engines.iter().enumerate() {
        let integral = of(Subject::Engine(index as u32));
        expect("an engine's time", integral.busy_s, totals.busy.as_secs_f64(), 0.0)?;
        expect("steps", integral.steps, totals.steps as f64, 0.0)?;
        expect("prompt tokens", integral.prefill_tokens, totals.prefill_tokens as f64, 0.0)?;
        expect("output tokens", integral.output_tokens, totals.output_tokens as f64, 0.0)?;
        if outcome.stop == Stop::Drained {
            expect("preemptions", integral.preemptions, totals.preemptions as f64, 0.0)?;
        }
    }
    for (index, totals) in outcome.gpus.iter().enumerate() {
        let integral = of(Subject::Gpu(index as u32));
        let rounding_s = 1e-9 * steps.iter().sum::<u64>() as f64;
        expect("a GPU's time", integral.busy_s, totals.busy.as_secs_f64(), rounding_s)?;
        expect("a GPU's bytes", integral.bytes, totals.bytes, 0.0)?;
    }
    let given_up = outcome.ended[Status::Timeout as usize] + outcome.ended[Status::Incomplete as usize];
    if outcome.stop != Stop::Drained || given_up > 0 {
        return Ok(());
    }
    let bookings = link_bookings(scenario, &steps);
    for (index, (LinkTotals { busy, bytes, .. }, bookings)) in outcome.links.iter().zip(bookings).enumerate() {
        let integral = of(Subject::Link(index as u32));
        expect("a link's time", integral.busy_s, busy.as_secs_f64(), 1e-9 * bookings as f64)?;
        expect("a link's bytes", integral.bytes, *bytes, 0.0)?;
    }
    Ok(())
}

/// The rows of two runs of the fast engine are alike. KV use alone is a mean over an epoch, and epochs end at other steps. Where
/// intervals are short, links are not compared: they keep no more than some open, and book late what queues for longer.
pub fn same_rows_if_tight(loose: &[IntervalRow], tight: &[IntervalRow], with_links: bool) -> Result<(), TestCaseError> {
    let compared = |rows: &[IntervalRow]| merged(rows.iter().filter(|row| with_links || !is_link(row)));
    let (loose, tight) = (compared(loose), compared(tight));
    same("rows, tightly coupled", &loose.keys().collect::<Vec<_>>(), &tight.keys().collect())?;
    for (one, other) in loose.values().zip(tight.values()) {
        // Each booking of a link is rounded to whole nanoseconds.
        let busy_share = ORDER_OF_SUMS + ROUNDING_S / one.length.as_secs_f64();
        let mut alike = near(Some(one.busy), Some(other.busy), busy_share);
        alike &= one.length == other.length;
        let but_busy = |row: &IntervalRow| figures(&IntervalRow { busy: 0.0, ..row.clone() });
        alike &= but_busy(one).into_iter().zip(but_busy(other)).all(|(one, other)| near(one, other, ORDER_OF_SUMS));
        if !alike {
            same("a row, tightly coupled", other, one)?;
        }
    }
    Ok(())
}
