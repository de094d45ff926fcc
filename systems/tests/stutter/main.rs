//! The stutter test: a batch policy's promises, held against nothing but itself. Random scenarios run as they run, with epochs of
//! one step, and cut at random boundaries; every record in its order, every gap between tokens and every total must agree.
//!
//! A policy of one's own is tested by calling [`agree_on_many`] with it, as `vllm_agrees_on_small_cases` and
//! `vllm_agrees_on_long_cases` do, with `PROPTEST_CASES=20000`. `wrong` shows for each promise what breaks it.
//! `PROPTEST_CASES` and `PROPTEST_RNG_SEED` widen the search, and `PROPTEST_MAX_SHRINK_ITERS=0` has it fail at once.

#[path = "../equivalence/alike.rs"]
mod alike;
#[path = "../naive/cases.rs"]
#[expect(dead_code, reason = "what the equivalence test counts")]
mod cases;
#[path = "../naive/coverage.rs"]
#[expect(dead_code, reason = "what the equivalence test counts")]
mod coverage;
mod plain;
#[path = "../naive/scenes.rs"]
#[expect(dead_code, reason = "what the naive engine's own tests start from")]
mod scenes;
#[path = "../naive/search.rs"]
mod search;
#[path = "../naive/source.rs"]
mod source;
#[path = "../naive/strategy.rs"]
mod strategy;
mod wrong;

use std::cell::RefCell;
use std::ops::ControlFlow;

use oracle_components::record::Outcome;
use oracle_components::scenario::Scenario;
use oracle_systems::invariants::violations;
use oracle_systems::{BatchPolicy, EpochCuts, Simulation, Vllm};
use proptest::strategy::Strategy;
use proptest::test_runner::{TestCaseError, TestError, TestRunner};

use alike::{Ledger, gpu_bookings, link_bookings, same, same_engine, same_gpu, same_link};
use cases::Case;
use search::{cases_asked_for, search};
use strategy::{Size, case};

/// How many small cases there are unless `PROPTEST_CASES` says otherwise.
const SMALL_CASES: u32 = 800;

/// How a run is cut that is not left as it is.
const CUTS: [EpochCuts; 3] = [EpochCuts::EveryStep, EpochCuts::AtRandom(1), EpochCuts::AtRandom(2)];

/// Runs a case under a policy, cut so.
fn run(case: &Case, policy: impl BatchPolicy, cuts: EpochCuts) -> (Outcome, Ledger) {
    let simulation = Simulation::new(case.scenario(), Box::new(case.source()), Ledger::default());
    let mut simulation = simulation.with_batch_policy(policy).with_epoch_cuts(cuts);
    let outcome = simulation.run(|_| ControlFlow::Continue(()));
    (outcome, simulation.into_sink())
}

/// Fails with what differs if an engine is cut where it need not be.
fn agree_however_cut(case: &Case, policy: impl BatchPolicy + Clone) -> Result<(), TestCaseError> {
    let scenario = case.scenario();
    let uncut = run(case, policy.clone(), EpochCuts::AsNeeded);
    same("violations", &Vec::new(), &violations(&scenario, &uncut.0))?;
    for cuts in CUTS {
        let cut = run(case, policy.clone(), cuts);
        agree(&scenario, &uncut, &cut).map_err(|error| TestCaseError::fail(format!("{cuts:?}: {error}")))?;
    }
    Ok(())
}

fn agree(scenario: &Scenario, uncut: &(Outcome, Ledger), cut: &(Outcome, Ledger)) -> Result<(), TestCaseError> {
    for (at, (uncut, cut)) in uncut.1.records.iter().zip(&cut.1.records).enumerate() {
        same(&format!("record {at}, of request {}", uncut.request), uncut, cut)?;
    }
    same("records", &uncut.1.records.len(), &cut.1.records.len())?;
    same("gaps", &uncut.1.gaps, &cut.1.gaps)?;
    let (uncut, cut) = (&uncut.0, &cut.0);
    for (at, (uncut, cut)) in uncut.engines.iter().zip(&cut.engines).enumerate() {
        same_engine(at, uncut, cut)?;
    }
    let steps: Vec<u64> = uncut.engines.iter().map(|totals| totals.steps).collect();
    let gpus = uncut.gpus.iter().zip(&cut.gpus).zip(gpu_bookings(scenario, &steps));
    for (at, ((uncut, cut), bookings)) in gpus.enumerate() {
        same_gpu(at, uncut, cut, bookings)?;
    }
    let links = uncut.links.iter().zip(&cut.links).zip(link_bookings(scenario, &steps));
    for (at, ((uncut, cut), bookings)) in links.enumerate() {
        same_link(at, uncut, cut, bookings)?;
    }
    same("stop", &uncut.stop, &cut.stop)?;
    same("end", &uncut.end, &cut.end)?;
    same("arrived", &uncut.arrived, &cut.arrived)?;
    same("ended", &uncut.ended, &cut.ended)
}

/// The KV caches that a policy knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Caches {
    /// Those of one kind of layers, and those of several kinds that share a pool.
    OfAllKinds,
    /// The former alone.
    OfOneKind,
}

/// Looks for a case that shows where a policy's runs are cut, and fails with the smallest.
fn agree_on_many(
    policy: impl BatchPolicy + Clone,
    caches: Caches,
    size: Size,
    cases: u32,
    max_shrink_iters: u32,
) -> Result<(), String> {
    let mut runner = TestRunner::new(search(cases, max_shrink_iters));
    let cases = case(size).prop_map(move |mut case| {
        if caches == Caches::OfOneKind {
            case.engines.iter_mut().for_each(|engine| engine.kinds = None);
        }
        case
    });
    runner.run(&cases, |case| agree_however_cut(&case, policy.clone())).map_err(|error| match error {
        TestError::Fail(reason, case) => format!("{reason}\nsmallest case:\n{case}"),
        TestError::Abort(reason) => reason.to_string(),
    })
}

/// Otherwise agreement would say nothing: in two of five cases, runs that are cut have many more boundaries.
#[test]
fn cut_runs_have_more_boundaries() {
    let cases = 100;
    let counts = RefCell::new((0, 0));
    let outcome = TestRunner::new(search(cases, 0)).run(&case(Size::SMALL), |case| {
        let ticks = |cuts| run(&case, Vllm, cuts).0.ticks;
        let uncut = ticks(EpochCuts::AsNeeded);
        let mut counts = counts.borrow_mut();
        counts.0 += u32::from(ticks(EpochCuts::EveryStep) * 2 > uncut * 3);
        counts.1 += u32::from(ticks(EpochCuts::AtRandom(1)) * 10 > uncut * 11);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let (every_step, at_random) = counts.into_inner();
    assert!(every_step * 5 > cases * 2, "cut at every step, {every_step} of {cases} have half as many again");
    assert!(at_random * 5 > cases * 2, "cut at random, {at_random} of {cases} have a tenth more");
}

#[test]
fn vllm_agrees_on_small_cases() {
    let cases = cases_asked_for().unwrap_or(SMALL_CASES);
    agree_on_many(Vllm, Caches::OfAllKinds, Size::SMALL, cases, 20_000)
        .unwrap_or_else(|difference| panic!("{difference}"));
}

#[test]
fn vllm_agrees_on_long_cases() {
    let cases = cases_asked_for().unwrap_or(SMALL_CASES) / 500;
    agree_on_many(Vllm, Caches::OfAllKinds, Size::LONG, cases.max(1), 20)
        .unwrap_or_else(|difference| panic!("{difference}"));
}
