//! What a batch policy is told at a boundary, and what it may not do there; what a router and a sink of one's own are given.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use oracle_components::SimTime;
use oracle_components::record::RequestRecord;
use oracle_components::request::{PrefixSegment, RequestSpec};
use oracle_components::scenario::{PrefixCaching, Role, Scenario, SchedulerSpec};
use oracle_systems::routing::{FleetView, RoutingPolicy, Wants};
use oracle_systems::{BatchPolicy, Boundary, EpochCuts, Simulation, Standing, Vllm};

use crate::alike::Ledger;
use crate::naive::hand_worked::{List, request};
use crate::naive::scenes::{ROOMY, Ranks, add_engine, empty_scenario, link};

/// Tokens of every prompt here.
const PROMPT: u32 = 10;

fn engines(scheduler: SchedulerSpec, roles: &[Role]) -> Scenario {
    let mut scenario = empty_scenario();
    for &role in roles {
        add_engine(&mut scenario, scheduler, 1000, Ranks::ONE).role = role;
    }
    scenario
}

/// A prefill and a decode engine.
fn pools(scheduler: SchedulerSpec) -> Scenario {
    let mut scenario = engines(scheduler, &[Role::Prefill, Role::Decode]);
    scenario.links.push(link("between", 1e6, 0.01));
    scenario.kv_paths.insert((0, 1), vec![vec![0]]);
    scenario
}

/// So many requests at once, and what comes of them under a policy that is asked before every step.
fn run(scenario: Scenario, requests: usize, policy: impl BatchPolicy) -> Vec<RequestRecord> {
    let requests = vec![request(SimTime::ZERO, PROMPT, 20); requests];
    let simulation = Simulation::new(scenario, Box::new(List::new(requests)), Ledger::default());
    let mut simulation = simulation.with_batch_policy(policy).with_epoch_cuts(EpochCuts::EveryStep).in_lockstep();
    simulation.run(|_| ControlFlow::Continue(()));
    simulation.into_sink().records
}

/// As vLLM has it, but for a look before and one after.
#[derive(Clone)]
struct Looks<B, A>(B, A);

impl<B, A> BatchPolicy for Looks<B, A>
where
    B: Fn(u64, &mut Boundary<'_, '_>) + Send + Sync + 'static,
    A: Fn(u64, &mut Boundary<'_, '_>) + Send + Sync + 'static,
{
    /// Steps that have run.
    type Memory = u64;

    fn form(&self, steps: &mut u64, boundary: &mut Boundary<'_, '_>) -> Standing {
        self.0(*steps, boundary);
        let standing = Vllm.form(&mut Default::default(), boundary);
        self.1(*steps, boundary);
        standing
    }

    fn advance(&self, memory: &mut u64, steps: u64) {
        *memory += steps;
    }
}

#[test]
fn a_policy_sees_running_sequences_as_they_are_now() {
    let seen = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&seen);
    let before = move |steps: u64, boundary: &mut Boundary<'_, '_>| {
        let running: Vec<_> = boundary.all_running().collect();
        assert_eq!(running.len(), boundary.running() as usize, "all that run are seen");
        for one in running {
            let generated = steps as u32;
            assert_eq!((one.known, one.computed), (PROMPT + generated, PROMPT + generated - 1));
            counted.fetch_add(1, Ordering::Relaxed);
        }
    };
    run(engines(ROOMY, &[Role::Both]), 3, Looks(before, |_, _: &mut Boundary<'_, '_>| ()));
    // Each of three requests before each step but the first.
    assert_eq!(seen.load(Ordering::Relaxed), 3 * 19);
}

#[test]
fn a_policy_is_told_who_waits() {
    let scheduler = SchedulerSpec { max_num_seqs: 2, ..ROOMY };
    let after = |steps: u64, boundary: &mut Boundary<'_, '_>| {
        let waiting = 5_u32.saturating_sub(2 * (steps as u32 / 20 + 1));
        assert_eq!([boundary.queued(), boundary.queued_or_loading()], [waiting; 2], "after {steps} steps");
    };
    run(engines(scheduler, &[Role::Both]), 5, Looks(|_, _: &mut Boundary<'_, '_>| (), after));
    // On a decode engine all load at some time.
    let most = Arc::new(AtomicU64::new(0));
    let noted = Arc::clone(&most);
    let before = move |_: u64, boundary: &mut Boundary<'_, '_>| {
        let loading = boundary.queued_or_loading() - boundary.queued();
        noted.fetch_max(loading.into(), Ordering::Relaxed);
    };
    run(pools(ROOMY), 5, Looks(before, |_, _: &mut Boundary<'_, '_>| ()));
    assert_eq!(most.load(Ordering::Relaxed), 5);
}

/// Whoever enters takes one of the entries that are left, if it was loaded, too.
#[test]
fn no_more_enter_than_a_policy_lets_in() {
    for scenario in [engines(ROOMY, &[Role::Both]), pools(ROOMY)] {
        let running = Arc::new(AtomicU64::new(0));
        let kept = Arc::clone(&running);
        let before = move |_: u64, boundary: &mut Boundary<'_, '_>| {
            running.store(boundary.running().into(), Ordering::Relaxed);
            boundary.limit_entries(2);
        };
        let after = move |_: u64, boundary: &mut Boundary<'_, '_>| {
            let entered = u64::from(boundary.running()) - kept.load(Ordering::Relaxed);
            assert!(entered <= 2, "{entered} entered");
            assert_eq!(u64::from(boundary.slots_left()), 2 - entered, "{entered} entered");
        };
        assert_eq!(run(scenario, 7, Looks(before, after)).len(), 7);
    }
}

/// Who is preempted with its token in the batch gives it back: the budget, and the block that it would start.
#[test]
fn a_token_of_a_victim_goes_back() {
    let after = |steps: u64, boundary: &mut Boundary<'_, '_>| {
        if steps == 5 {
            let (budget, running) = (boundary.budget(), boundary.running());
            let victim = boundary.victim();
            boundary.preempt(victim);
            assert_eq!((boundary.budget(), boundary.running()), (budget + 1, running - 1));
        }
    };
    let records = run(engines(ROOMY, &[Role::Both]), 3, Looks(|_, _: &mut Boundary<'_, '_>| (), after));
    assert_eq!(records.iter().map(|record| record.preemptions).sum::<u32>(), 1);
}

/// Every request takes what all begin with out of the queue of free blocks, and leaves an entry there that is nobody's; blocks
/// never run out, so eviction drops none. A debug build looks at the queue's length after each tick.
#[test]
fn entries_that_are_nobodys_are_swept() {
    let scheduler = SchedulerSpec { prefix_caching: PrefixCaching::Full, ..ROOMY };
    let mut scenario = empty_scenario();
    add_engine(&mut scenario, scheduler, 20, Ranks::ONE);
    let alike = |at: u64| RequestSpec {
        prefix: vec![PrefixSegment { key: 7, tokens: 96 }],
        ..request(SimTime(at * 1_000_000_000), 96, 1)
    };
    let requests = (0..1000).map(alike).collect();
    let mut simulation = Simulation::new(scenario, Box::new(List::new(requests)), Ledger::default());
    simulation.run(|_| ControlFlow::Continue(()));
    let records = simulation.into_sink().records;
    assert!(
        records[1..].iter().all(|record| record.cached_tokens == 80),
        "all but the block of the last token is found"
    );
}

/// Sends everything to the last candidate, and counts what it hears of.
struct ToTheLast {
    engine: u32,
    ended: Arc<AtomicU64>,
}

impl RoutingPolicy for ToTheLast {
    fn wants(&self) -> Wants {
        Wants { ends: true, ..Wants::default() }
    }

    fn choose(&mut self, _: &RequestSpec, fleet: &FleetView<'_>) -> usize {
        assert!(!fleet.is_empty(), "there is somebody to choose");
        let last = fleet.len() - 1;
        assert_eq!(fleet.engine(last), self.engine);
        last
    }

    fn on_end(&mut self, record: &RequestRecord) {
        assert_eq!(record.engine, self.engine);
        self.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// Engine 1 is not a candidate: it only decodes.
#[test]
fn a_router_hears_of_every_end_if_it_wants_to_and_a_list_of_records_is_a_sink() {
    let mut scenario = engines(ROOMY, &[Role::Both, Role::Decode, Role::Both]);
    scenario.links.push(link("between", 1e6, 0.01));
    let ended = Arc::new(AtomicU64::new(0));
    let policy = ToTheLast { engine: 2, ended: Arc::clone(&ended) };
    let requests = (0..9).map(|at| request(SimTime(at * 1_000), PROMPT, 5)).collect();
    let mut simulation = Simulation::new(scenario, Box::new(List::new(requests)), Vec::<RequestRecord>::new())
        .with_routing_policy(policy);
    simulation.run(|_| ControlFlow::Continue(()));
    let mut numbers: Vec<u64> = simulation.into_sink().iter().map(|record| record.request).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..9).collect::<Vec<_>>());
    assert_eq!(ended.load(Ordering::Relaxed), 9);
}
