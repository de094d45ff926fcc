//! The fast engine against the naive reference: every record in the same order, every gap between tokens, every total,
//! over random scenarios. `PROPTEST_CASES` and `PROPTEST_RNG_SEED` widen the search.

mod naive;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::ControlFlow;

use oracle_components::SimTime;
use oracle_components::record::{IntervalRow, LinkTotals, Outcome, RequestRecord, Status, Stop, Subject};
use oracle_components::scenario::{PrefixCaching, QueuePolicy, Routing, Scenario};
use oracle_systems::Simulation;
use oracle_systems::invariants::violations;
use oracle_systems::ports::{RecordSink, SinkClosed};
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use naive::cases::{Case, EngineCase, SessionCase, Sharing, Tail, TurnCase};
use naive::coverage::Coverage;
use naive::strategy::{Size, case};

/// Many sessions at once on pools that are too small for them.
const SMALL: Size = Size { sessions: 40, least_sessions: 1, seats: 16, pool_tokens: (40, 600), output: 60, gap: 40 };

/// Some 2,000 requests in bigger batches that stay as they are for many steps.
const LONG: Size =
    Size { sessions: 1300, least_sessions: 1100, seats: 64, pool_tokens: (400, 3000), output: 200, gap: 60 };

/// How many small cases there are unless `PROPTEST_CASES` says otherwise.
const SMALL_CASES: u32 = 3000;

/// An interval of the time series that lasts as long as some ten steps.
const SHORT_INTERVAL: SimTime = SimTime(7_000_000);

/// What the roundings of a link's bookings in an interval come to.
const ROUNDING_S: f64 = 20e-9;

/// What the small cases must reach to be worth their time, each many times.
const CORNERS: [&str; 43] = [
    "KV cache given up before it was loaded",
    "KV cache waits for blocks to be loaded into",
    "cached block evicted",
    "cached block taken while computing",
    "cached tail block beyond a hit forgotten",
    "completion beyond the horizon",
    "decode preempted for a decode",
    "empty step, scheduled again",
    "engines go their own ways",
    "engines share experts",
    "exceeds_kv_cache",
    "finished after its deadline, before it was looked at",
    "first chunk fits, the prompt does not",
    "flow waits for its lane",
    "follow-up due before it was known",
    "head by priority, not by arrival",
    "head waits for blocks",
    "head waits for held blocks",
    "held blocks released",
    "hit after a preemption",
    "hit into a tail",
    "hit of blocks in use",
    "hit of its own blocks after a preemption",
    "hit within the segments",
    "loaded sequence preempted",
    "loaded sequence waits for a seat",
    "output cut at max_model_len",
    "partly filled block given up for a cached one",
    "prefill preempted for a decode",
    "prefill preempted for a prefill",
    "prefill preempted itself",
    "prompt handed over",
    "prompt_exceeds_max_model_len",
    "prompt_exceeds_token_budget",
    "ranks have whole experts",
    "ranks share a KV cache",
    "ranks share norms",
    "tail left nameless, another is cached",
    "batch gone before the next was seen",
    "timeout of a loaded sequence without a seat",
    "timeout while running",
    "timeout while waiting",
    "whole prompt waits for budget",
];

/// Keeps what leaves the fast engine.
#[derive(Default)]
struct Ledger {
    records: Vec<RequestRecord>,
    gaps: BTreeMap<u64, u64>,
    rows: Vec<IntervalRow>,
}

impl RecordSink for Ledger {
    fn request(&mut self, record: &RequestRecord) -> Result<(), SinkClosed> {
        self.records.push(record.clone());
        Ok(())
    }

    fn token_gap(&mut self, _: SimTime, gap: SimTime, sequences: u64) {
        *self.gaps.entry(gap.0).or_default() += sequences;
    }

    fn interval(&mut self, row: &IntervalRow) -> Result<(), SinkClosed> {
        self.rows.push(row.clone());
        Ok(())
    }
}

/// Fails with the fields in which two things differ.
fn same<T: PartialEq + Debug>(what: &str, naive: &T, fast: &T) -> Result<(), TestCaseError> {
    if naive == fast {
        return Ok(());
    }
    let (naive, fast) = (format!("{naive:?}"), format!("{fast:?}"));
    let fields = naive.split(", ").zip(fast.split(", "));
    let report = fields
        .filter(|(naive, fast)| naive != fast)
        .take(12)
        .fold(String::new(), |report, (naive, fast)| report + &format!("\n  naive {naive:40} fast {fast}"));
    Err(TestCaseError::fail(format!("{what}:{report}")))
}

/// Bytes may be sums of fractions taken in another order; all else is exact.
fn same_link(index: usize, naive: &LinkTotals, fast: &LinkTotals) -> Result<(), TestCaseError> {
    let mut fast = fast.clone();
    if (naive.bytes - fast.bytes).abs() <= 1e-9 * naive.bytes {
        fast.bytes = naive.bytes;
    }
    same(&format!("link {index}"), naive, &fast)
}

/// Runs a simulation to its end.
fn run(mut simulation: Simulation<Ledger>) -> (Outcome, Ledger) {
    let outcome = simulation.run(|_| ControlFlow::Continue(()));
    (outcome, simulation.into_sink())
}

/// Engines that may be ahead of each other leave the same records, and rows of the time series, as when they may not.
fn same_if_tight(case: &Case, loose: &Ledger) -> Result<(), TestCaseError> {
    let simulation =
        |scenario: &Scenario| Simulation::new(scenario.clone(), Box::new(case.source()), Ledger::default());
    let mut scenario = case.scenario();
    let (_, tight) = run(simulation(&scenario).tightly_coupled());
    same("records, tightly coupled", &loose.records, &tight.records)?;
    same_rows(loose, &tight, |_| true)?;
    // Epochs cross the ends of several intervals; links keep no more than some open, and book late what queues for longer.
    scenario.series_interval = SHORT_INTERVAL;
    let ((_, loose), (_, tight)) = (run(simulation(&scenario)), run(simulation(&scenario).tightly_coupled()));
    same_rows(&loose, &tight, |row| !matches!(row.subject, Subject::Link(_)))
}

/// The rows of two runs are alike but for the order of sums. KV use alone is a mean over an epoch, and epochs end at other steps.
fn same_rows(loose: &Ledger, tight: &Ledger, is_compared: fn(&IntervalRow) -> bool) -> Result<(), TestCaseError> {
    let sorted = |ledger: &Ledger| {
        let mut rows: Vec<IntervalRow> = ledger.rows.iter().filter(|row| is_compared(row)).cloned().collect();
        rows.sort_by_key(|row| (format!("{:?}", row.subject), row.start));
        rows
    };
    let (loose, tight) = (sorted(loose), sorted(tight));
    same("rows, tightly coupled", &loose.len(), &tight.len())?;
    let within = |share: f64| {
        move |one: Option<f64>, other: Option<f64>| match (one, other) {
            (Some(one), Some(other)) => (one - other).abs() <= share * (1.0 + one.abs()),
            _ => one == other,
        }
    };
    let near = within(1e-9);
    for (one, other) in loose.iter().zip(&tight) {
        let figures = |row: &IntervalRow| {
            let IntervalRow { waiting, running, steps, prefill_tokens, output_tokens, preemptions, .. } = *row;
            let of_engine = [waiting, running, steps, prefill_tokens, output_tokens, preemptions];
            of_engine.into_iter().chain([row.mfu, row.mbu, row.bytes])
        };
        // Each booking of a link is rounded to whole nanoseconds.
        let busy_near = within(1e-9 + ROUNDING_S / one.length.as_secs_f64());
        let alike = busy_near(Some(one.busy), Some(other.busy))
            && (one.subject, one.start, one.length) == (other.subject, other.start, other.length)
            && figures(one).zip(figures(other)).all(|(one, other)| near(one, other));
        if !alike {
            same("a row, tightly coupled", other, one)?;
        }
    }
    Ok(())
}

fn compare(case: &Case, coverage: &RefCell<Coverage>) -> Result<(), TestCaseError> {
    let scenario = case.scenario();
    let naive = naive::run(&scenario, &mut case.source());
    coverage.borrow_mut().add(&naive.coverage);
    if case.is_loose() {
        coverage.borrow_mut().note("engines go their own ways");
    }
    case.engines.iter().filter_map(EngineCase::corner).for_each(|corner| coverage.borrow_mut().note(corner));

    let (outcome, fast) = run(Simulation::new(scenario.clone(), Box::new(case.source()), Ledger::default()));
    same("violations", &Vec::new(), &violations(&scenario, &outcome))?;
    if case.is_loose() {
        same_if_tight(case, &fast)?;
    }

    for (at, (naive, fast)) in naive.records.iter().zip(&fast.records).enumerate() {
        let what = format!("record {at}, of request {}", naive.request);
        same(&what, naive, fast)?;
    }
    same("records", &naive.records.len(), &fast.records.len())?;
    same("gaps", &naive.gaps, &fast.gaps)?;
    for (at, (naive, fast)) in naive.engines.iter().zip(&outcome.engines).enumerate() {
        same(&format!("engine {at}"), naive, fast)?;
    }
    let links = naive.links.iter().zip(&outcome.links).enumerate();
    for (at, (naive, fast)) in links.take(case.client_links()) {
        same_link(at, naive, fast)?;
    }
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
    let from_environment = Config::default();
    let config = Config {
        cases,
        max_shrink_iters,
        rng_seed: match from_environment.rng_seed {
            RngSeed::Random => RngSeed::Fixed(1),
            fixed => fixed,
        },
        failure_persistence: None,
        ..from_environment
    };
    let coverage = RefCell::default();
    let mut runner = TestRunner::new(config);
    match runner.run(&case(size), |case| compare(&case, &coverage)) {
        Ok(()) => {}
        Err(TestError::Fail(reason, case)) => {
            if std::env::var_os("DUMP").is_some() {
                let scenario = case.scenario();
                let naive = naive::run(&scenario, &mut case.source());
                let mut simulation = Simulation::new(scenario, Box::new(case.source()), Ledger::default());
                simulation.run(|_| ControlFlow::Continue(()));
                let fast = simulation.into_sink();
                for (who, records) in [("naive", &naive.records), ("fast", &fast.records)] {
                    for r in records {
                        println!(
                            "{who} #{} e{} s{} t{} p{} o{}/{} prio {} arr {} del {} sch {:?} first {:?} last {:?} compl {} {:?} {:?} cached {} prefilled {} recomp {} preempt {}",
                            r.request,
                            r.engine,
                            r.session,
                            r.turn,
                            r.prompt_tokens,
                            r.output_tokens,
                            r.max_output_tokens,
                            r.priority,
                            r.arrival.0,
                            r.delivered.0,
                            r.scheduled.map(|t| t.0),
                            r.first_token.map(|t| t.0),
                            r.last_token.map(|t| t.0),
                            r.completion.0,
                            r.reason,
                            r.prefix_event,
                            r.cached_tokens,
                            r.prefilled_tokens,
                            r.recomputed_tokens,
                            r.preemptions
                        );
                    }
                }
            }
            panic!("{reason}\nsmallest case:\n{case}")
        }
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
    println!("{}", coverage.borrow());
    coverage.into_inner()
}

/// The number of cases that `PROPTEST_CASES` asks for, if it does.
fn cases_asked_for() -> Option<u32> {
    std::env::var("PROPTEST_CASES").ok()?.parse().ok()
}

#[test]
fn small_cases_end_alike() {
    let cases = cases_asked_for().unwrap_or(SMALL_CASES);
    let coverage = compare_many(SMALL, cases, 20_000);
    if cases >= SMALL_CASES {
        for corner in CORNERS {
            let count = coverage.count(corner);
            assert!(count >= 5, "{corner}: {count} times in {cases} cases");
        }
    }
}

#[test]
fn long_cases_end_alike() {
    let cases = cases_asked_for().unwrap_or(SMALL_CASES) / 500;
    compare_many(LONG, cases.max(1), 20);
}

/// A run that is interrupted ends whole: a record for each request that arrived, none before its arrival, all blocks back.
#[test]
fn an_interrupted_run_ends_whole() {
    let config = Config { cases: 6, rng_seed: RngSeed::Fixed(3), failure_persistence: None, ..Config::default() };
    let interrupted = RefCell::new(0);
    let outcome = TestRunner::new(config).run(&case(LONG), |case| {
        let mut simulation = Simulation::new(case.scenario(), Box::new(case.source()), Ledger::default());
        let outcome = simulation.run(|_| ControlFlow::Break(()));
        let ledger = simulation.into_sink();
        *interrupted.borrow_mut() += u32::from(outcome.stop == Stop::Interrupted);
        same("records", &(ledger.records.len() as u64), &outcome.arrived)?;
        same("ended", &outcome.ended.iter().sum(), &outcome.arrived)?;
        for record in &ledger.records {
            same("completion from arrival on", &record.completion.max(record.arrival), &record.completion)?;
        }
        same("violations", &Vec::new(), &violations(&case.scenario(), &outcome))?;
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(interrupted.into_inner() > 0, "no case was long enough to be interrupted");
}

/// A decode evicts, a block a step, what a waiting request would hit, until too little is left to count: then that little
/// is room for the request's first chunk, though no sequence has left.
#[test]
fn a_hit_that_lapses_makes_room_for_a_chunk() {
    let engine = EngineCase {
        seats: 4,
        budget: 64,
        block: 1,
        pool_tokens: 135,
        chunked: true,
        reserve: false,
        threshold: Some(8),
        policy: QueuePolicy::Fcfs,
        caching: PrefixCaching::Full,
        min_cached: 26,
        asynchronous: false,
        model_len: 1000,
        tensor: 1,
        pipeline: 1,
        sharing: Sharing::Plain,
        ingress: vec![],
        egress: vec![],
        response_bytes: 0,
        weight: 1,
        by_curve: false,
    };
    let session = |gap, tail, new_tokens, output| SessionCase {
        gap,
        path: vec![],
        tail,
        priority: 0,
        streaming: false,
        timeout: None,
        turns: vec![TurnCase { think: 0, new_tokens, output }],
    };
    let case = Case {
        seed: 0,
        routing: Routing::RoundRobin,
        high_detail: false,
        clockwork: true,
        horizon: None,
        links: vec![(1, 0); 3],
        segment_tokens: [[1, 1]; 3],
        pools: None,
        engines: vec![engine],
        sessions: vec![
            session(0, Tail::Common, 60, 1),
            session(20, Tail::Nameless, 70, 60),
            session(20, Tail::Common, 60, 1),
        ],
    };
    compare(&case, &RefCell::default()).unwrap_or_else(|reason| panic!("{reason}"));
    let naive = naive::run(&case.scenario(), &mut case.source());
    let of = |request| naive.records.iter().find(|record| record.request == request).expect("all requests end");
    let (decode, late) = (of(1), of(2));
    assert_eq!(late.cached_tokens, 0);
    assert!(late.scheduled > Some(late.delivered) && late.scheduled < Some(decode.completion), "{late:?}");
}
