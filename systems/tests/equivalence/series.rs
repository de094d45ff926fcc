//! The time series of the fast engine: against the naive one, against its own totals, and of engines that go their own ways
//! against those that meet at every boundary.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use oracle_components::SimTime;
use oracle_components::record::{IntervalRow, LinkTotals, Outcome, Stop, Subject};
use oracle_components::request::RequestSpec;
use oracle_components::scenario::{EngineSpec, Scenario};
use oracle_systems::Simulation;
use proptest::test_runner::TestCaseError;

use crate::alike::{Ledger, ORDER_OF_SUMS, same};
use crate::naive::NaiveOutcome;
use crate::naive::cases::SHORT_INTERVAL;
use crate::naive::hand_worked::{List, request};
use crate::naive::scenes::{ROOMY, Ranks, add_engine, empty_scenario, link};

/// What the roundings of what is posted to a link in an interval come to.
const ROUNDING_S: f64 = 20e-9;

/// KV use is a mean over the steps of an epoch in an interval, and not over their time: where steps are not alike it may be off by so
/// much of what there is. Blocks of several tokens are taken as if evenly, which may be off by half a block a sequence.
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
        Subject::Profile(_) => unreachable!("records make those, not engines"),
    }
}

/// What a row is about, and when it begins.
type Key = ((u8, u32), SimTime);

/// Rows by subject and start; those of engines on one GPU are one.
fn merged<'a>(rows: impl Iterator<Item = &'a IntervalRow>) -> BTreeMap<Key, IntervalRow> {
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

/// Whether two rows say the same of the same interval, but for KV use. What is rounded with every booking is the time of links, and
/// of shared GPUs.
fn alike(one: &IntervalRow, other: &IntervalRow, rounded: bool) -> bool {
    let rounding = if rounded { ROUNDING_S / one.length.as_secs_f64() } else { 0.0 };
    let but_busy = |row: &IntervalRow| figures(&IntervalRow { busy: 0.0, ..row.clone() });
    one.length == other.length
        && near(Some(one.busy), Some(other.busy), ORDER_OF_SUMS + rounding)
        && but_busy(one).into_iter().zip(but_busy(other)).all(|(one, other)| near(one, other, ORDER_OF_SUMS))
}

/// Intervals of a link that stay open behind the present (`systems/series/link.rs`).
const OPEN_INTERVALS: u64 = 72;

/// Whether a row of a run that ended at `end` may hold what another run has in a later one: in a long run those of a link that steps
/// send over. Engines run thousands of steps ahead, and what is known of them after so many intervals counts late ([`sums_up`] holds
/// it to the totals).
fn may_count_late(scenario: &Scenario, end: SimTime, row: &IntervalRow) -> bool {
    let Subject::Link(link) = row.subject else { return false };
    let sends = |engine: &EngineSpec| {
        let experts = engine.expert_parallel.iter().flat_map(|experts| &experts.hops);
        let paths = engine.rings.iter().flatten().chain(&engine.stage_paths).chain(experts).chain([&engine.egress]);
        paths.flatten().any(|&other| other == link)
    };
    end.0 / scenario.series_interval.0 >= OPEN_INTERVALS && scenario.engines.iter().any(sends)
}

/// Whether it may be no more than what roundings leave of an interval for the next, so that another run need not have it.
fn is_of_roundings(row: &IntervalRow) -> bool {
    is_link(row) && row.busy * row.length.as_secs_f64() <= ROUNDING_S
}

/// The rows of two runs that are to be alike, in pairs. Fails if one run lacks such a row. Both rows of a pair have a say in whether
/// roundings made it, since the order of a sum decides on which side of the limit either is.
fn pairs(
    what: &str,
    (scenario, end): (&Scenario, SimTime),
    expected: &[IntervalRow],
    found: &[IntervalRow],
) -> Result<Vec<(IntervalRow, IntervalRow)>, TestCaseError> {
    let [expected, found] =
        [expected, found].map(|rows| merged(rows.iter().filter(|row| !may_count_late(scenario, end, row))));
    let counts =
        |key: &Key| [&expected, &found].iter().any(|rows| rows.get(key).is_some_and(|row| !is_of_roundings(row)));
    let keys = |rows: &BTreeMap<Key, _>| rows.keys().copied().filter(counts).collect::<Vec<_>>();
    same(what, &keys(&expected), &keys(&found))?;
    Ok(keys(&expected).iter().map(|key| (expected[key].clone(), found[key].clone())).collect())
}

/// The fast engine has the rows that the naive one has. In a `clockwork`, steps are alike.
pub fn same_rows(
    scenario: &Scenario,
    naive: &NaiveOutcome,
    fast: &[IntervalRow],
    clockwork: bool,
) -> Result<(), TestCaseError> {
    for (naive, fast) in &pairs("keys of rows", (scenario, naive.end), &naive.rows, fast)? {
        let mut alike = alike(naive, fast, is_link(naive));
        if let Subject::Engine(index) = naive.subject {
            let engine = &scenario.engines[index as usize];
            let [running, kv_use] = [naive.running, naive.kv_use].map(Option::unwrap_or_default);
            let unlike_steps = if clockwork { 0.0 } else { KV_USE_OF_STEPS * kv_use };
            let several_tokens = engine.scheduler.block_tokens > 1;
            let half_blocks = if several_tokens { running / 2.0 / engine.kv_blocks as f64 } else { 0.0 };
            let off = naive.kv_use.zip(fast.kv_use).map(|(one, other)| (one - other).abs());
            alike &= off.is_some_and(|off| off <= ORDER_OF_SUMS + unlike_steps + half_blocks);
        }
        if !alike {
            same("a row", naive, fast)?;
        }
    }
    Ok(())
}

/// Each engine and each link has its rows in order of time, one an interval.
pub fn in_order(rows: &[IntervalRow]) -> Result<(), TestCaseError> {
    let mut last: BTreeMap<(u8, u32), SimTime> = BTreeMap::new();
    for row in rows.iter().filter(|row| !matches!(row.subject, Subject::Gpu(_))) {
        let before = last.insert(key(row.subject), row.start);
        if before.is_some_and(|before| before >= row.start) {
            return Err(TestCaseError::fail(format!("a row after that of {before:?}: {row:?}")));
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

/// The integrals of the rows are the totals, and nothing is busy for more than all of an interval.
pub fn sums_up(outcome: &Outcome, rows: &[IntervalRow]) -> Result<(), TestCaseError> {
    let mut integrals: BTreeMap<(u8, u32), Integral> = BTreeMap::new();
    for row in rows {
        if row.busy > 1.0 + if is_link(row) { 0.0 } else { ORDER_OF_SUMS } {
            return Err(TestCaseError::fail(format!("busier than always: {row:?}")));
        }
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
    for (index, LinkTotals { busy, bytes, .. }) in outcome.links.iter().enumerate() {
        let integral = of(Subject::Link(index as u32));
        expect("a link's time", integral.busy_s, busy.as_secs_f64(), 1e-9)?;
        expect("a link's bytes", integral.bytes, *bytes, 0.0)?;
    }
    Ok(())
}

/// The rows of two runs of the fast engine are alike. KV use alone is a mean over an epoch, and epochs end at other steps.
pub fn same_rows_in_lockstep(
    scenario: &Scenario,
    end: SimTime,
    windowed: &[IntervalRow],
    lockstep: &[IntervalRow],
) -> Result<(), TestCaseError> {
    for (one, other) in &pairs("rows, in lockstep", (scenario, end), windowed, lockstep)? {
        if !alike(one, other, true) {
            same("a row, in lockstep", other, one)?;
        }
    }
    Ok(())
}

/// A transfer of any length counts in all intervals that it takes, and what reaches beyond the end in none.
#[test]
fn a_long_transfer_counts_in_all_its_intervals() {
    let mut scenario = Scenario { series_interval: SHORT_INTERVAL, ..empty_scenario() };
    add_engine(&mut scenario, ROOMY, 10, Ranks::ONE).ingress = vec![0];
    // 100 tokens of 4 bytes take 400 of the intervals, from the start of the first.
    scenario.links.push(link("in", 400.0 / (400.0 * SHORT_INTERVAL.as_secs_f64()), 0.0));
    for (horizon, intervals) in [(None, 400.0), (Some(250), 250.0)] {
        let horizon = horizon.map(|intervals| SimTime(intervals * SHORT_INTERVAL.0));
        let scenario = Scenario { horizon, ..scenario.clone() };
        let source = List::new(vec![request(SimTime::ZERO, 100, 1)]);
        let mut simulation = Simulation::new(scenario, Box::new(source), Ledger::default());
        let outcome = simulation.run(|_| ControlFlow::Continue(()));
        let rows = simulation.into_sink().rows;
        let rows: Vec<_> = rows.iter().filter(|row| is_link(row)).collect();
        let starts: Vec<_> = rows.iter().map(|row| row.start.0 / SHORT_INTERVAL.0).collect();
        assert_eq!(starts, (0..intervals as u64).collect::<Vec<_>>());
        assert!(rows.iter().all(|row| row.busy == 1.0 && near(row.bytes, Some(1.0), ORDER_OF_SUMS)), "{rows:?}");
        let LinkTotals { busy, bytes, transfers } = outcome.links[0];
        assert_eq!((busy, transfers), (SimTime(intervals as u64 * SHORT_INTERVAL.0), 1));
        assert!(near(Some(bytes), Some(intervals), ORDER_OF_SUMS), "{bytes}");
    }
}

/// Streamed tokens that a link cannot carry while steps run, it carries afterwards.
#[test]
fn a_link_carries_later_what_it_cannot_carry_at_once() {
    let mut scenario = Scenario { series_interval: SHORT_INTERVAL, ..empty_scenario() };
    let interval_s = SHORT_INTERVAL.as_secs_f64();
    let engine = add_engine(&mut scenario, ROOMY, 10, Ranks::ONE);
    // A token an interval; steps are far shorter.
    (engine.egress, engine.response_bytes_per_token) = (vec![0], 1.0);
    scenario.links.push(link("out", 1.0 / interval_s, 0.0));
    let streamed = RequestSpec { streaming: true, ..request(SimTime::ZERO, 10, 50) };
    let mut simulation = Simulation::new(scenario, Box::new(List::new(vec![streamed])), Ledger::default());
    let outcome = simulation.run(|_| ControlFlow::Continue(()));
    let rows = simulation.into_sink().rows;
    let rows: Vec<_> = rows.iter().filter(|row| is_link(row)).collect();
    assert_eq!(rows.len(), 50);
    assert!(rows.iter().all(|row| row.busy == 1.0 && near(row.bytes, Some(1.0), 1e-6)), "{rows:?}");
    let busy = outcome.links[0].busy;
    assert!(busy.0.abs_diff(50 * SHORT_INTERVAL.0) <= 50 && busy <= outcome.end, "{busy} of {}", outcome.end);
}
