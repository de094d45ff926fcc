//! Later turns: when they come, what they hold, and that the order of completions does not matter.

use llmperforacle::workload::{Distribution, SyntheticWorkload};
use oracle_components::SimTime;
use oracle_components::record::Status;
use oracle_components::request::RequestSpec;

use super::{constant, first_turns, open, profile, success, talker, workload};

/// Plays sessions to their end; `pick` says which of the open requests completes next.
fn play(workload: &SyntheticWorkload, pick: fn(usize) -> usize) -> Vec<RequestSpec> {
    let mut source = open(workload);
    let mut open_requests = super::drain(source.as_mut());
    let mut all = open_requests.clone();
    while !open_requests.is_empty() {
        let spec = open_requests.swap_remove(pick(open_requests.len()));
        let latency_s = f64::from(spec.output_tokens) * 0.01;
        if let Some(next) = super::follow_up(&mut *source, &spec, &success(&spec, latency_s)) {
            assert!(next.arrival >= spec.arrival);
            all.push(next.clone());
            open_requests.push(next);
        }
    }
    all.sort_by_key(|spec| (spec.session, spec.turn));
    all
}

#[test]
fn the_order_of_completions_changes_nothing() {
    for accumulate_conversation in [true, false] {
        let mut one = workload(vec![profile("a", 0.5), talker("b", 0.2)]);
        one.profiles[0].conversational_probability = 0.6;
        one.accumulate_conversation = accumulate_conversation;
        let last_first = play(&one, |open| open - 1);
        let first_first = play(&one, |_| 0);
        let scattered = play(&one, |open| (open * 7 + 3) % open);
        assert!(last_first.iter().any(|spec| spec.turn == 4));
        assert_eq!(last_first, first_first);
        assert_eq!(last_first, scattered);
    }
}

#[test]
fn a_turn_holds_the_conversation_so_far() {
    let mut one = workload(vec![talker("a", 0.1)]);
    one.profiles[0].prompt_tokens = constant(30.0);
    one.profiles[0].output_tokens = Some(constant(200.0));
    one.profiles[0].priority = Some(Distribution::Uniform { low: 0.0, high: 100.0 });
    let first = first_turns(&one).remove(3);
    assert_ne!(first.tail_key, 0);
    let mut record = success(&first, 2.0);
    // The length limit cut the answer short.
    record.output_tokens = 120;
    let next = super::follow_up(&mut *open(&one), &first, &record).expect("it goes on");
    assert_eq!(next.prompt_tokens, 30 + 120 + 30);
    assert_eq!(next.turn, 1);
    assert!(next.arrival > record.completion);
    assert_eq!(
        (next.session, next.client, next.profile, next.tail_key, next.priority),
        (first.session, first.client, first.profile, first.tail_key, first.priority)
    );
    one.accumulate_conversation = false;
    let first = first_turns(&one).remove(3);
    let next = super::follow_up(&mut *open(&one), &first, &record).expect("it goes on");
    assert_eq!((first.tail_key, next.tail_key), (0, 0));
    assert_eq!(next.prompt_tokens, 30);
}

#[test]
fn sessions_have_different_tail_keys() {
    let specs = first_turns(&workload(vec![talker("a", 5.0), talker("b", 5.0)]));
    let mut keys: Vec<_> = specs.iter().map(|spec| spec.tail_key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), specs.len());
}

#[test]
fn only_a_whole_answer_is_answered() {
    let one = workload(vec![talker("a", 1.0)]);
    let first = first_turns(&one).remove(0);
    for status in Status::ALL {
        let mut record = success(&first, 0.0);
        record.status = status;
        let next = super::follow_up(&mut *open(&one), &first, &record);
        assert_eq!(next.is_some(), status == Status::Success, "{status:?}");
    }
}

#[test]
fn turns_end_at_their_maximum_and_at_the_duration() {
    let mut one = workload(vec![talker("a", 1.0)]);
    one.max_turns_per_session = 3;
    let turns = play(&one, |_| 0);
    assert_eq!(turns.iter().map(|spec| spec.turn).max(), Some(2));
    assert!(turns.iter().all(|spec| Some(spec.arrival) < one.duration));
    one.max_turns_per_session = 1;
    assert_eq!(first_turns(&one)[0].tail_key, 0);
    assert!(play(&one, |_| 0).iter().all(|spec| spec.turn == 0));
    one.max_turns_per_session = 5;
    let late = RequestSpec { arrival: SimTime(one.duration.expect("limited").0 - 1), ..first_turns(&one).remove(0) };
    assert_eq!(super::follow_up(&mut *open(&one), &late, &success(&late, 1.0)), None);
}

#[test]
fn conversations_open_and_go_on_as_often_as_they_should() {
    let mut one = workload(vec![profile("a", 20.0)]);
    one.profiles[0].conversational_probability = 0.4;
    one.profiles[0].think_time_s = constant(0.0);
    let turns = play(&one, |open| open - 1);
    let count = |turn| turns.iter().filter(|spec| spec.turn == turn).count() as f64;
    assert!((count(1) / count(0) - 0.4).abs() < 0.02);
    assert!((count(2) / count(1) - 0.7).abs() < 0.02);
    assert!((count(3) / count(2) - 0.7).abs() < 0.02);
    let facts = llmperforacle::workload::Workload::Synthetic(one).open();
    let expected = facts.expect("valid").1.expected_requests.expect("known") as f64;
    assert!((expected / turns.len() as f64 - 1.0).abs() < 0.03);
}

#[test]
fn later_turns_count_against_the_total() {
    let mut one = workload(vec![talker("a", 1.0)]);
    one.total_requests = Some(100);
    let mut source = open(&one);
    let (mut made, mut waiting) = (0, Vec::new());
    loop {
        // Follow-ups take their share before the first turns run out.
        if let Some(spec) = source.next_request() {
            waiting.push(spec);
            made += 1;
        }
        let Some(spec) = waiting.pop() else { break };
        if let Some(next) = super::follow_up(&mut *source, &spec, &success(&spec, 0.1)) {
            waiting.push(next);
            made += 1;
        }
    }
    assert_eq!(made, 100);
    assert_eq!(source.next_request(), None);
}
