//! The fast engine against the naive reference: every record in the same order, every gap between tokens, every total and
//! every interval, over random scenarios. `PROPTEST_CASES` and `PROPTEST_RNG_SEED` widen the search, and
//! `PROPTEST_MAX_SHRINK_ITERS=0` has it fail at once.

mod alike;
mod deadlines;
mod directed;
mod gaps;
mod in_flight;
mod invariants;
#[path = "../naive/mod.rs"]
mod naive;
mod routing;
mod runs;
mod series;
mod verbs;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use oracle_components::SimTime;
use oracle_components::record::{Outcome, RequestRecord, Status};
use oracle_components::scenario::Scenario;
use oracle_systems::Simulation;
use oracle_systems::invariants::violations;
use proptest::test_runner::{TestCaseError, TestError, TestRunner};

use alike::{Ledger, gpu_bookings, link_bookings, same, same_engine, same_gpu, same_link};
use naive::cases::{Case, EngineCase, SHORT_INTERVAL};
use naive::coverage::Coverage;
use naive::search::{cases_asked_for, search};
use naive::strategy::{Size, case};
use series::{in_order, same_rows, same_rows_in_lockstep, sums_up};

/// How many small cases there are unless `PROPTEST_CASES` says otherwise.
const SMALL_CASES: u32 = 3000;

/// An interval of the time series that most small cases are over in.
const LONG_INTERVAL: SimTime = SimTime(1_000_000_000);

/// What the small cases must reach to be worth their time, each several times.
const CORNERS: [&str; 79] = [
    "KV cache abandoned before it was loaded",
    "KV cache waits for blocks that prompts still need",
    "KV cache waits for blocks to be loaded into",
    "agents begin at one instant",
    "answered after the deadline",
    "block of a window or state without a name",
    "block past its use",
    "blocks kept for others",
    "cached block evicted",
    "cached block computed again",
    "cached tail block beyond a hit forgotten",
    "completion beyond the horizon",
    "decode left out of a step",
    "decode preempted for a decode",
    "decode preempted for a prefill",
    "decode preempted itself",
    "empty step, scheduled again",
    "engines go their own ways",
    "engines share GPUs",
    "engines share experts",
    "exceeds_kv_cache",
    "exceeds_max_num_queued_reqs",
    "first chunk fits, the prompt does not",
    "flow waits for its lane",
    "follow-up due before it was known",
    "follow-ups of one instant",
    "head by priority, not by arrival",
    "head too short for a state to be kept",
    "head waits for blocks",
    "head waits for held blocks",
    "held blocks released",
    "hit after a preemption",
    "hit in all groups",
    "hit in all groups of blocks that nobody else asks for",
    "hit into a tail",
    "hit shorter than what a group has",
    "hit of blocks in use",
    "hit of its own blocks after a preemption",
    "hit within the segments",
    "images encoded",
    "images encoded before a preemption",
    "images encoded where the prompt was loaded",
    "images in the hit",
    "last answer of agents comes first",
    "last chunk shorter than the interval",
    "loaded sequence preempted",
    "loaded sequence waits for a slot",
    "loaded sequence waits for the watermark",
    "output cut at max_model_len",
    "prefill preempted for a decode",
    "prefill preempted for a prefill",
    "prefill preempted itself",
    "place is free before a session is due",
    "preempted though it has its last token",
    "prompt handed off",
    "refused after the deadline",
    "prompt waits for its interval",
    "prompt_exceeds_max_model_len",
    "prompt_exceeds_token_budget",
    "ranks have whole experts",
    "ranks share a KV cache",
    "ranks share norms",
    "session begins when another ends",
    "session held back for a place",
    "session ends with its agents",
    "tail left anonymous, another is cached",
    "batch gone before the next was seen",
    "timeout of a loaded sequence without a slot",
    "timeout while running",
    "timeout while waiting",
    "token for nobody",
    "token held back for its chunk",
    "token of a client that has given up",
    "tokens of a victim go back to the budget",
    "traffic left for the next interval",
    "transfer beyond the end",
    "turn waits for its agents",
    "turn waits for tools",
    "whole prompt waits for budget",
];

/// Runs a simulation to its end.
fn run(mut simulation: Simulation<Ledger>) -> (Outcome, Ledger) {
    let outcome = simulation.run(|_| ControlFlow::Continue(()));
    (outcome, simulation.into_sink())
}

/// Engines that may be ahead of each other leave the same records, and rows of the time series, as when they may not; also
/// where epochs cross the ends of many intervals, and wherever windows end.
fn same_in_lockstep(case: &Case) -> Result<(), TestCaseError> {
    for series_interval in [LONG_INTERVAL, SHORT_INTERVAL] {
        let scenario = Scenario { series_interval, ..case.scenario() };
        let simulation = || Simulation::new(scenario.clone(), Box::new(case.source()), Ledger::default());
        let ((outcome, windowed), (_, lockstep)) = (run(simulation()), run(simulation().in_lockstep()));
        same("records, in lockstep", &windowed.records, &lockstep.records)?;
        same_rows_in_lockstep(&scenario, outcome.end, &windowed.rows, &lockstep.rows)?;
        for arrivals in [NonZeroUsize::MIN, NonZeroUsize::MIN.saturating_add(6)] {
            let (_, short) = run(simulation().with_window_arrivals(arrivals));
            same("records, in short windows", &short.records, &lockstep.records)?;
            same_rows_in_lockstep(&scenario, outcome.end, &short.rows, &lockstep.rows)?;
        }
    }
    Ok(())
}

/// No time of a record lies after its completion, and the times of a request are in order; none ends after its client has given up.
fn nothing_after_the_end(case: &Case, records: &[RequestRecord]) -> Result<(), TestCaseError> {
    for record in records {
        let RequestRecord { arrival, delivered, scheduled, first_token, last_token, completion, .. } = *record;
        let prefill = record.prefill.as_ref();
        let computed = prefill.and_then(|prefill| prefill.computed).map(|at| at.end);
        let load = prefill.map_or([None; 2], |prefill| [prefill.load_started, prefill.loaded]);
        // Where prompts come computed the first admission is that with a loaded KV cache, else that of the prompt.
        let [before, after] = match prefill.is_some() && computed.is_none() {
            true => [None, scheduled],
            false => [scheduled, None],
        };
        let of_engine = [Some(arrival), delivered, scheduled, first_token, last_token, Some(completion)];
        let of_load = [Some(arrival), delivered, before, computed, load[0], load[1], after, Some(completion)];
        let in_order = of_engine.iter().flatten().is_sorted() && of_load.iter().flatten().is_sorted();
        let deadline = arrival.saturating_add(case.timeout(record.session));
        if !in_order || completion > deadline {
            return Err(TestCaseError::fail(format!("deadline {deadline}, and yet {record:?}")));
        }
    }
    Ok(())
}

/// No more sessions are open than there are places: a session is from its first arrival to its last end.
fn places_suffice(case: &Case, records: &[RequestRecord]) -> Result<(), TestCaseError> {
    let Some(places) = case.places else { return Ok(()) };
    let mut sessions: BTreeMap<u64, (SimTime, SimTime)> = BTreeMap::new();
    for record in records {
        let (start, end) = sessions.entry(record.session).or_insert((record.arrival, record.completion));
        (*start, *end) = ((*start).min(record.arrival), (*end).max(record.completion));
    }
    let begun = |at: SimTime| sessions.values().filter(move |(start, end)| *start <= at && at < *end).count();
    let most = sessions.values().map(|&(start, _)| begun(start)).max().unwrap_or(0);
    if most > places.count as usize {
        return Err(TestCaseError::fail(format!("{most} sessions at once in {} places", places.count)));
    }
    Ok(())
}

fn compare(case: &Case, coverage: &RefCell<Coverage>) -> Result<(), TestCaseError> {
    let scenario = case.scenario();
    let mut source = case.source();
    let naive = naive::run(&scenario, &mut source);
    coverage.borrow_mut().add(&naive.coverage);
    coverage.borrow_mut().add(&source.coverage);
    if case.is_windowed() {
        coverage.borrow_mut().note("engines go their own ways");
    }
    if scenario.engines.windows(2).any(|two| two[0].gpus == two[1].gpus) {
        coverage.borrow_mut().note("engines share GPUs");
    }
    case.engines.iter().filter_map(EngineCase::corner).for_each(|corner| coverage.borrow_mut().note(corner));

    let (outcome, fast) = run(Simulation::new(scenario.clone(), Box::new(case.source()), Ledger::default()));
    same("violations", &Vec::new(), &violations(&scenario, &outcome))?;
    if case.is_windowed() {
        same_in_lockstep(case)?;
    }

    nothing_after_the_end(case, &fast.records)?;
    places_suffice(case, &fast.records)?;
    for (at, (naive, fast)) in naive.records.iter().zip(&fast.records).enumerate() {
        let what = format!("record {at}, of request {}", naive.request);
        same(&what, naive, fast)?;
    }
    same("records", &naive.records.len(), &fast.records.len())?;
    same("gaps", &naive.gaps, &fast.gaps)?;
    for (at, (naive, fast)) in naive.engines.iter().zip(&outcome.engines).enumerate() {
        same_engine(at, naive, fast)?;
    }
    let steps: Vec<u64> = naive.engines.iter().map(|totals| totals.steps).collect();
    let gpus = naive.gpus.iter().zip(&outcome.gpus).zip(gpu_bookings(&scenario, &steps));
    for (at, ((naive, fast), bookings)) in gpus.enumerate() {
        same_gpu(at, naive, fast, bookings)?;
    }
    let links = naive.links.iter().zip(&outcome.links).zip(link_bookings(&scenario, &steps));
    for (at, ((naive, fast), bookings)) in links.enumerate() {
        same_link(at, naive, fast, bookings + 1)?;
    }
    same_rows(&scenario, &naive, &fast.rows, case.clockwork)?;
    sums_up(&outcome, &fast.rows)?;
    in_order(&fast.rows)?;
    same("stop", &naive.stop, &outcome.stop)?;
    same("end", &naive.end, &outcome.end)?;
    same("arrived", &(naive.records.len() as u64), &outcome.arrived)?;
    let ended = Status::ALL.map(|status| {
        let records = naive.records.iter();
        records.filter(|record| record.status == status).count() as u64
    });
    same("ended", &ended, &outcome.ended)
}

/// Compares the engines on random cases and says what these reached.
fn compare_many(size: Size, cases: u32, max_shrink_iters: u32) -> Coverage {
    let coverage = RefCell::default();
    let mut runner = TestRunner::new(search(cases, max_shrink_iters));
    match runner.run(&case(size), |case| compare(&case, &coverage)) {
        Ok(()) => {}
        Err(TestError::Fail(reason, case)) => {
            panic!("{reason}\nsmallest case:\n{case}")
        }
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
    println!("{}", coverage.borrow());
    coverage.into_inner()
}

#[test]
fn small_cases_end_alike() {
    let cases = cases_asked_for().unwrap_or(SMALL_CASES);
    let coverage = compare_many(Size::SMALL, cases, 20_000);
    if cases >= SMALL_CASES {
        for corner in CORNERS {
            let count = coverage.count(corner);
            assert!(count >= 3, "{corner}: {count} times in {cases} cases");
        }
    }
}

#[test]
fn long_cases_end_alike() {
    let cases = cases_asked_for().unwrap_or(SMALL_CASES) / 500;
    compare_many(Size::LONG, cases.max(1), 20);
}
