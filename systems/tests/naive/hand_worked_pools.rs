//! A prefill and a decode engine in the naive engine, worked out by hand.

use oracle_components::SimTime;
use oracle_components::record::{PromptComputed, Reason, RemotePrefill, Status};
use oracle_components::request::RequestSpec;
use oracle_components::scenario::{KvSide, KvTransfer, Role, Scenario, SchedulerRules, SchedulerSpec};

use super::hand_worked::{request, simulate, step};
use super::scenes::{ROOMY, Ranks, add_engine, empty_scenario, link};

/// A block of 16 tokens of 256 bytes takes 4.096 ms on the link and arrives 0.25 s later.
const LOAD: SimTime = SimTime(4_096_000 + 250_000_000);
/// What happens at an instant is seen elsewhere this much later.
const TICK: SimTime = SimTime(1);

/// Engine 0 computes prompts, engine 1 answers.
fn pools(prefill: (SchedulerSpec, u64), decode: (SchedulerSpec, u64)) -> Scenario {
    let mut scenario = empty_scenario();
    add_engine(&mut scenario, prefill.0, prefill.1, Ranks::ONE).role = Role::Prefill;
    add_engine(&mut scenario, decode.0, decode.1, Ranks::ONE).role = Role::Decode;
    scenario.links.push(link("between", 1e6, 0.25));
    scenario.kv_paths.insert((0, 1), vec![vec![0]]);
    scenario
}

#[test]
fn the_first_token_comes_from_the_decode_engine_once_it_has_the_kv_cache() {
    let scenario = pools((ROOMY, 10), (ROOMY, 10));
    let outcome = simulate(&scenario, vec![request(SimTime::ZERO, 10, 3)]);
    let computed = step(&scenario, &[], &[(0, 10)], 1);
    let load_started = computed + TICK;
    let loaded = load_started + LOAD;
    let first = loaded + step(&scenario, &[10], &[], 0);
    let second = first + step(&scenario, &[11], &[], 0);
    let third = second + step(&scenario, &[12], &[], 0);

    let record = &outcome.records[0];
    assert_eq!((record.scheduled, record.first_token), (Some(SimTime::ZERO), Some(first)));
    assert_eq!((record.completion, record.status), (third, Status::Success));
    assert_eq!((record.output_tokens, record.prefilled_tokens, record.engine), (3, 10, 1));
    let computed = Some(PromptComputed { engine: 0, end: computed });
    let prefill = RemotePrefill { computed, load_started: Some(load_started), loaded: Some(loaded) };
    assert_eq!(record.prefill.as_deref(), Some(&prefill));
    let gaps = [(second - first).0, (third - second).0].map(|gap| (gap, 1));
    assert_eq!(outcome.gaps.into_iter().collect::<Vec<_>>(), gaps);
    let [from, to] = &outcome.engines[..] else { panic!("two engines") };
    assert_eq!((from.output_tokens, from.prefill_tokens, from.blocks_freed), (0, 10, 1));
    assert_eq!((to.output_tokens, to.prefill_tokens, to.blocks_freed), (3, 0, 1));
    assert_eq!((outcome.links[0].bytes, outcome.links[0].transfers), (4096.0, 1));
}

#[test]
fn a_prefill_engine_holds_a_prompts_blocks_until_they_are_loaded() {
    let scenario = pools((ROOMY, 1), (ROOMY, 10));
    let outcome = simulate(&scenario, vec![request(SimTime::ZERO, 10, 1), request(SimTime::ZERO, 12, 1)]);
    let loaded = step(&scenario, &[], &[(0, 10)], 1) + TICK + LOAD;
    assert_eq!(outcome.records[1].scheduled, Some(loaded));
}

#[test]
fn a_load_takes_blocks_but_no_seat() {
    let one_slot = SchedulerSpec { max_num_seqs: 1, ..ROOMY };
    let scenario = pools((ROOMY, 10), (one_slot, 2));
    let requests = vec![request(SimTime::ZERO, 10, 1), request(SimTime::ZERO, 10, 2), request(SimTime::ZERO, 10, 1)];
    let outcome = simulate(&scenario, requests);
    let started = step(&scenario, &[], &[(0, 10); 3], 3) + TICK;
    let serialisation = SimTime(4_096_000);
    let first_ready = started + LOAD;
    // The second has its blocks too, and follows on the link; nobody decodes when it gets there but the first may have.
    let second_ready = first_ready + serialisation;
    let done = first_ready + step(&scenario, &[10], &[], 0);
    let token = |start: SimTime, context| start + step(&scenario, &[context], &[], 0);
    let [a, b, c] = &outcome.records[..] else { panic!("three records") };
    assert_eq!(a.first_token, Some(done));
    assert_eq!(b.first_token, Some(token(done.max(second_ready), 10)));
    // The third finds a block when the first leaves.
    assert_eq!(c.prefill.as_ref().and_then(|prefill| prefill.load_started), Some(done));
}

/// One engine that answers prompts from elsewhere, a transfer of 5 s.
fn consumer(scheduler: SchedulerSpec, kv_blocks: u64) -> Scenario {
    let transfer = KvTransfer { side: KvSide::Consumer, time: TRANSFER };
    let mut scenario = empty_scenario();
    add_engine(&mut scenario, SchedulerSpec { kv_transfer: Some(transfer), ..scheduler }, kv_blocks, Ranks::ONE);
    scenario
}

const TRANSFER: SimTime = SimTime(5_000_000_000);

#[test]
fn a_consumer_alone_loads_every_prompt_in_the_same_time() {
    let scenario = consumer(ROOMY, 10);
    let outcome = simulate(&scenario, vec![request(SimTime(7), 10, 2)]);
    let loaded = SimTime(7) + TRANSFER;
    let first = loaded + step(&scenario, &[10], &[], 0);
    let record = &outcome.records[0];
    let prefill = RemotePrefill { computed: None, load_started: Some(SimTime(7)), loaded: Some(loaded) };
    assert_eq!(record.prefill.as_deref(), Some(&prefill));
    assert_eq!((record.scheduled, record.first_token), (Some(loaded), Some(first)));
    assert_eq!((record.cached_tokens, record.prefilled_tokens, record.output_tokens), (9, 0, 2));
    assert_eq!(record.completion, first + step(&scenario, &[11], &[], 0));
}

/// The second is preempted for the first and computes what it lost anew, in chunks; until it has its blocks, the third does not
/// load into them, though they are free.
#[test]
fn a_load_leaves_running_prompts_the_blocks_that_they_need() {
    let started_with = |loads_leave_room_for_prompts| {
        let rules = SchedulerRules { loads_leave_room_for_prompts, ..SchedulerRules::NEWEST };
        let scheduler = SchedulerSpec { long_prefill_token_threshold: Some(17), block_tokens: 16, rules, ..ROOMY };
        // They have all blocks; the first wants another at its second token. The second needs all that there are to come back.
        let scenario = consumer(scheduler, 7);
        let requests = vec![request(SimTime::ZERO, 16, 4), request(SimTime::ZERO, 96, 10), request(SimTime(1), 16, 1)];
        let outcome = simulate(&scenario, requests);
        let of = |id| outcome.records.iter().find(|record| record.request == id).expect("it ended").clone();
        let started = of(2).prefill.expect("it loads").load_started;
        (started, of(0).completion, of(1).completion, of(1).preemptions)
    };
    let (started, _, second_ends, preemptions) = started_with(true);
    assert_eq!((started, preemptions), (Some(second_ends), 1));
    let (started, first_ends, _, preemptions) = started_with(false);
    assert_eq!((started, preemptions), (Some(first_ends), 2));
}

#[test]
fn a_producer_alone_keeps_blocks_for_as_long_as_a_transfer_takes() {
    let transfer = KvTransfer { side: KvSide::Producer, time: TRANSFER };
    let mut scenario = empty_scenario();
    add_engine(&mut scenario, SchedulerSpec { kv_transfer: Some(transfer), ..ROOMY }, 1, Ranks::ONE);
    let outcome = simulate(&scenario, vec![request(SimTime::ZERO, 10, 1), request(SimTime::ZERO, 12, 30)]);
    let computed = step(&scenario, &[], &[(0, 10)], 1);
    let [a, b] = &outcome.records[..] else { panic!("two records") };
    assert_eq!((a.completion, a.output_tokens, a.reason), (computed, 1, Reason::Finished));
    assert_eq!(b.scheduled, Some(computed + TRANSFER));
    assert_eq!((b.output_tokens, b.reason, b.prefill.as_ref()), (1, Reason::LengthLimit, None));
}

#[test]
fn who_gives_up_before_loading_frees_the_prefill_engine() {
    // The decode engine has room for one of two blocks, the prefill engine for both, or for the last of three.
    let scenario = pools((ROOMY, 4), (ROOMY, 3));
    let hurried = RequestSpec { timeout: SimTime(10_000_000), ..request(SimTime::ZERO, 20, 1) };
    let late = request(SimTime(20_000_000), 40, 1);
    let outcome = simulate(&scenario, vec![request(SimTime::ZERO, 20, 1), hurried, late]);
    let record = outcome.records.iter().find(|record| record.request == 1).expect("it ended");
    assert_eq!((record.status, record.reason), (Status::Timeout, Reason::TimeoutWaiting));
    assert_eq!(record.completion, SimTime(10_000_000));
    // The decode engine is idle until the first is loaded, and sees it then.
    let loaded = step(&scenario, &[], &[(0, 20); 2], 2) + TICK + LOAD + SimTime(4_096_000);
    let late = outcome.records.iter().find(|record| record.request == 2).expect("it ended");
    assert_eq!(late.scheduled, Some(loaded + TICK));
    let freed = outcome.engines.iter().map(|engine| (engine.blocks_allocated, engine.blocks_freed));
    assert_eq!(freed.collect::<Vec<_>>(), [(7, 7), (5, 5)]);
}
