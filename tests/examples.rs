//! What the examples say, held against what queues must do.

#[path = "../examples/my_router.rs"]
#[expect(dead_code, reason = "its main function prints what is asked for here")]
mod my_router;
#[path = "../examples/my_scheduler.rs"]
#[expect(dead_code, reason = "its main function prints what is asked for here")]
mod my_scheduler;

use oracle_components::SimTime;
use oracle_systems::EpochCuts;

use my_router::Ttft;
use my_scheduler::{BY_REQUEST, run};

/// Who knows more of the replicas lets fewer wait.
#[test]
fn two_choices_are_nearly_as_good_as_all_and_better_than_none() {
    let runs = my_router::compare();
    let p99 = |policy: &str| runs.iter().find(|run| run.policy == policy).expect("it was run").p99_ms;
    for pair in ["least loaded", "two choices", "two choices, 5 s late", "round robin"].windows(2) {
        assert!(p99(pair[0]) < p99(pair[1]), "{} waits less than {}", pair[0], pair[1]);
    }
    let little_late = p99("two choices, 50 ms late") / p99("two choices");
    assert!(
        (0.9..1.1).contains(&little_late),
        "50 ms are little beside an answer, but the wait is {little_late} times as long"
    );
    for Ttft { policy, p50_ms, p99_ms } in &runs {
        assert!(0.0 < *p50_ms && p50_ms < p99_ms, "{policy}");
    }
}

/// Who may enter only when all have left waits for the longest answer, and empty slots generate nothing.
#[test]
fn batching_by_request_waits_longer_and_generates_less() {
    let [vllm, by_request] = my_scheduler::compare();
    assert!(by_request.ttft_p50_s > 10.0 * vllm.ttft_p50_s && by_request.ttft_p99_s > 10.0 * vllm.ttft_p99_s);
    assert!(by_request.output_tokens < vllm.output_tokens);
}

/// The scheduler promises what every batch policy does, and keeps it: it does not show where its steps are cut.
#[test]
fn batching_by_request_does_the_same_however_it_is_cut() {
    let uncut = run(BY_REQUEST, EpochCuts::AsNeeded);
    for cuts in [EpochCuts::EveryStep, EpochCuts::AtRandom(1)] {
        assert_eq!(uncut, run(BY_REQUEST, cuts), "{cuts:?}");
    }
}

/// Batches do not overlap: whoever is still answered when a request enters, has entered with it, some steps before at most.
#[test]
fn nobody_enters_before_all_have_left() {
    let (fill, way_back) = (SimTime(2_000_000_000), SimTime(1_000_000));
    let mut shared = 0;
    let records = run(BY_REQUEST, EpochCuts::AsNeeded);
    for record in records.iter().filter(|record| record.scheduled.is_some()) {
        let entered = record.scheduled.expect("it has entered");
        let before =
            records.iter().filter(|other| other.engine == record.engine && other.scheduled <= record.scheduled);
        let there = before.filter_map(|other| Some((other.scheduled?, other.completion)));
        let there: Vec<_> = there.filter(|&(_, completion)| completion > entered + way_back).collect();
        assert!(there.iter().all(|&(scheduled, _)| entered.since(scheduled) < fill), "{record:?} met {there:?}");
        assert!(there.len() <= BY_REQUEST.size as usize);
        shared += there.len() - 1;
    }
    assert!(shared > records.len(), "batches hold more than a few");
}
