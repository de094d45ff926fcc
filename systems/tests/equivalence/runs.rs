//! How a run goes, beside what it leaves: how far ahead engines run, who is asked whether to go on, and what a run that is cut short
//! comes to.

use std::cell::Cell;
use std::ops::ControlFlow;

use oracle_components::SimTime;
use oracle_components::record::{IntervalRow, Outcome, RequestRecord, Stop};
use oracle_components::request::RequestSpec;
use oracle_components::scenario::{Scenario, SchedulerSpec};
use oracle_systems::Simulation;
use oracle_systems::invariants::violations;
use oracle_systems::ports::{RecordSink, SinkClosed};

use crate::alike::Ledger;
use crate::directed::{clockwork, engine, session};
use crate::naive::cases::{Case, EngineCase, SessionCase, Tail};
use crate::naive::hand_worked::{List, request};
use crate::naive::scenes::{ROOMY, Ranks, add_engine, empty_scenario};

/// Steps that an engine runs ahead at first, and at most.
const FIRST_EPOCH: u32 = 16;
const LONGEST_EPOCH: u32 = 4096;
/// Decode steps until epochs have doubled up to the longest, that one included: 16 + 32 + … + 4096, nine of them.
const UNTIL_LONGEST: u32 = 2 * LONGEST_EPOCH - FIRST_EPOCH;
const DOUBLINGS: u64 = 9;

fn one_engine(scheduler: SchedulerSpec, kv_blocks: u64) -> Scenario {
    let mut scenario = empty_scenario();
    add_engine(&mut scenario, scheduler, kv_blocks, Ranks::ONE);
    scenario
}

fn run_to_end(scenario: &Scenario, requests: Vec<RequestSpec>) -> Outcome {
    let mut simulation = Simulation::new(scenario.clone(), Box::new(List::new(requests)), Ledger::default());
    simulation.run(|_| ControlFlow::Continue(()))
}

/// Ticks of a request that decodes for so many steps behind its prompt.
fn ticks_of(scenario: &Scenario, decode_steps: u32) -> u64 {
    run_to_end(scenario, vec![request(SimTime::ZERO, 1, 1 + decode_steps)]).ticks
}

/// A batch that stays as it is takes an epoch a tick: 16 steps, then twice as many each time, 4096 at most. A batch that fills
/// slots and budget is no exception.
#[test]
fn a_batch_that_stays_takes_few_ticks() {
    let full = SchedulerSpec { max_num_seqs: 1, max_num_batched_tokens: 1, ..ROOMY };
    for scheduler in [ROOMY, full] {
        let scenario = one_engine(scheduler, 2000);
        let prompt = ticks_of(&scenario, 0);
        assert!(prompt <= 3, "{prompt} ticks for a prompt");
        for (steps, epochs) in [
            (1, 1),
            (FIRST_EPOCH, 1),
            (FIRST_EPOCH + 1, 2),
            (3 * FIRST_EPOCH, 2),
            (3 * FIRST_EPOCH + 1, 3),
            (UNTIL_LONGEST, DOUBLINGS),
            (UNTIL_LONGEST + 1, DOUBLINGS + 1),
            (UNTIL_LONGEST + LONGEST_EPOCH, DOUBLINGS + 1),
            (UNTIL_LONGEST + 3 * LONGEST_EPOCH, DOUBLINGS + 3),
        ] {
            assert_eq!(ticks_of(&scenario, steps), prompt + epochs, "{steps} steps");
        }
    }
}

/// Who may be admitted cuts an epoch, and the next ones are short again. (An engine that is alone knows what comes next.)
#[test]
fn an_epoch_that_was_cut_is_followed_by_short_ones() {
    let mut scenario = one_engine(ROOMY, 2000);
    add_engine(&mut scenario, ROOMY, 2000, Ranks::ONE);
    let long = || request(SimTime::ZERO, 1, 1 + 2 * UNTIL_LONGEST);
    let two_at = |at: SimTime| vec![long(), request(at, 1, 1), request(at, 1, 1)];
    let end = run_to_end(&scenario, vec![long()]).end;
    let [cut, not_cut] = [SimTime(end.0 / 2), end].map(|at| run_to_end(&scenario, two_at(at)).ticks);
    assert!((DOUBLINGS - 2..=DOUBLINGS + 2).contains(&(cut - not_cut)), "{cut} ticks, {not_cut} without a cut");
}

/// Who cannot be admitted before somebody leaves cuts no epoch: there is no slot, or somebody waits for blocks before
/// it.
#[test]
fn arrivals_that_have_to_wait_cut_no_epoch() {
    let one_slot = one_engine(SchedulerSpec { max_num_seqs: 1, ..ROOMY }, 2000);
    // Half a pool of 17,600 tokens does not hold the prompt.
    let no_blocks = one_engine(ROOMY, 1100);
    for (scenario, waiting_prompt) in [(one_slot, 1), (no_blocks, 9500)] {
        let long = request(SimTime::ZERO, 1, 2 * UNTIL_LONGEST);
        let alone = run_to_end(&scenario, vec![long.clone()]);
        let scenario = Scenario { horizon: Some(SimTime(alone.end.0 - 1)), ..scenario };
        let late = (1..=100).map(|at| request(SimTime(alone.end.0 / 2 + at * alone.end.0 / 300), waiting_prompt, 1));
        let crowded = run_to_end(&scenario, [long].into_iter().chain(late).collect());
        assert_eq!(crowded.arrived, 101);
        // The first who waits may find that it has to.
        assert!(crowded.ticks <= alone.ticks + DOUBLINGS + 3, "{} ticks, {} alone", crowded.ticks, alone.ticks);
    }
}

/// Twenty engines, each a request of so many tokens every millisecond, streamed.
fn many(requests: u64, output: u32) -> Case {
    let engines = vec![EngineCase { slots: 16, ..engine(600) }; 20];
    let streamed = |at: u64| SessionCase {
        streaming: true,
        ..session(u64::from(at.is_multiple_of(20)), Tail::Anonymous, 1 + at as u32 % 3, output)
    };
    clockwork(engines, (0..requests).map(streamed).collect())
}

/// Engines in step share the ticks of one world; where each goes its own way, it has its own.
#[test]
fn engines_meet_where_they_are_told_to() {
    let case = many(400, 3);
    let ticks = |simulation: Simulation<Ledger>| {
        let mut simulation = simulation;
        simulation.run(|_| ControlFlow::Continue(())).ticks
    };
    let simulation = || Simulation::new(case.scenario(), Box::new(case.source()), Ledger::default());
    let (apart, together) = (ticks(simulation()), ticks(simulation().in_lockstep()));
    assert!(apart > 2 * together, "{apart} ticks apart, {together} together");
}

/// A look at each phase's time leaves everything else as it is.
#[test]
fn a_profile_has_every_phase_once() {
    let case = many(400, 3);
    let simulation = || Simulation::new(case.scenario(), Box::new(case.source()), Ledger::default());
    for lockstep in [false, true] {
        let simulation = || if lockstep { simulation().in_lockstep() } else { simulation() };
        let (mut plain, mut profiled) = (simulation(), simulation().profiled());
        let outcomes = [&mut plain, &mut profiled].map(|simulation| simulation.run(|_| ControlFlow::Continue(())));
        assert_eq!(outcomes[0], outcomes[1]);
        assert_eq!(plain.profile(), []);
        let profile = profiled.profile();
        let phases: Vec<_> = profile.iter().map(|&(phase, _)| phase).collect();
        assert_eq!(phases, ["arrival", "scheduling", "costing", "transfer", "completion"]);
        assert!(profile.iter().all(|(_, time)| !time.is_zero()), "{profile:?}");
    }
}

/// It is asked whether to go on every 1024 boundaries of an engine, and no more once it has said no.
#[test]
fn control_is_asked_now_and_then() {
    let scenario = one_engine(ROOMY, 2000);
    let requests = || (0..5000).map(|at| request(SimTime(at * 1_000_000), 1, 2)).collect();
    let asked = Cell::new(0_u64);
    let simulation = || Simulation::new(scenario.clone(), Box::new(List::new(requests())), Ledger::default());
    let outcome = simulation().run(|_| {
        asked.set(asked.get() + 1);
        ControlFlow::Continue(())
    });
    let expected = outcome.ticks / 1024;
    assert!(expected > 4 && asked.get().abs_diff(expected) <= 1, "{} times in {} ticks", asked.get(), outcome.ticks);
    let asked = Cell::new(0);
    let outcome = simulation().run(|_| {
        asked.set(asked.get() + 1);
        ControlFlow::Break(())
    });
    assert_eq!((asked.get(), outcome.stop), (1, Stop::Interrupted));
    assert!(outcome.arrived < 2000, "{} arrived", outcome.arrived);
}

/// Long after the last arrival, what is told of the present is how far the engines are.
#[test]
fn control_is_told_how_far_engines_have_come() {
    let case = many(400, 300);
    let mut simulation = Simulation::new(case.scenario(), Box::new(case.source()), Ledger::default());
    let told = Cell::new(SimTime::ZERO);
    simulation.run(|progress| {
        told.set(told.get().max(progress.now));
        ControlFlow::Continue(())
    });
    let records = simulation.into_sink().records;
    let last = |time: fn(&RequestRecord) -> SimTime| records.iter().map(time).max().expect("there are records");
    let (arrival, completion) = (last(|record| record.arrival), last(|record| record.completion));
    assert!(completion.0 > 5 * arrival.0, "{arrival} and {completion}");
    assert_eq!(told.get(), completion);
}

/// What a run of many engines was cut short to is whole: a record for each request that arrived, none before its arrival,
/// all blocks back. Much of what would have come has not.
#[track_caller]
fn assert_cut_short(case: &Case, outcome: &Outcome, records: &[RequestRecord]) {
    assert_eq!(outcome.ended.iter().sum::<u64>(), outcome.arrived);
    assert!(outcome.arrived < case.sessions.len() as u64 * 3 / 4, "{} arrived", outcome.arrived);
    assert!(records.iter().all(|record| record.arrival <= record.completion));
    assert_eq!(violations(&case.scenario(), outcome), Vec::<String>::new());
}

#[test]
fn an_interrupted_run_ends_whole() {
    let case = many(20_000, 2);
    let simulation = || Simulation::new(case.scenario(), Box::new(case.source()), Ledger::default());
    for mut simulation in [simulation(), simulation().in_lockstep()] {
        let asked = Cell::new(0);
        let outcome = simulation.run(|_| {
            asked.set(asked.get() + 1);
            ControlFlow::Break(())
        });
        assert_eq!((asked.get(), outcome.stop), (1, Stop::Interrupted));
        let records = simulation.into_sink().records;
        assert_eq!(records.len() as u64, outcome.arrived);
        assert_cut_short(&case, &outcome, &records);
    }
}

/// A sink that takes so many records.
struct Full {
    room: usize,
    records: Vec<RequestRecord>,
}

impl RecordSink for Full {
    fn request(&mut self, record: &RequestRecord) -> Result<(), SinkClosed> {
        self.room = self.room.checked_sub(1).ok_or(SinkClosed)?;
        self.records.push(record.clone());
        Ok(())
    }

    fn token_gap(&mut self, _: SimTime, _: SimTime, _: u64) {}

    fn interval(&mut self, _: &IntervalRow) -> Result<(), SinkClosed> {
        Ok(())
    }
}

#[test]
fn a_closed_sink_stops_the_run() {
    let case = many(20_000, 2);
    let simulation =
        || Simulation::new(case.scenario(), Box::new(case.source()), Full { room: 700, records: Vec::new() });
    for mut simulation in [simulation(), simulation().in_lockstep()] {
        let outcome = simulation.run(|_| ControlFlow::Continue(()));
        assert_eq!(outcome.stop, Stop::SinkClosed);
        let records = simulation.into_sink().records;
        assert_eq!(records.len(), 700);
        assert_cut_short(&case, &outcome, &records);
    }
}
