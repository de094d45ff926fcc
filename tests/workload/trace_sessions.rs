//! Recorded sessions and agents: who is sent when, what prompts share, and what is said of files that cannot be.

use llmperforacle::workload::{MessageMode, SessionTimes, TraceSource, TraceWorkload};
use oracle_components::SimTime;
use oracle_components::record::{RequestRecord, Status};
use oracle_components::request::RequestSpec;
use oracle_systems::ports::RequestSource;

use super::traces::written;
use super::{drain, success};

/// All requests in the order in which they arrive, every answer there `latency_s` after.
fn play(workload: &TraceWorkload, latency_s: f64) -> Vec<RequestSpec> {
    play_with(workload, |spec| success(spec, latency_s)).0
}

fn play_with(
    workload: &TraceWorkload,
    record: impl Fn(&RequestSpec) -> RequestRecord,
) -> (Vec<RequestSpec>, TraceSource) {
    let mut source = TraceSource::open(workload).expect("a sound trace");
    let mut waiting: Vec<RequestSpec> = Vec::new();
    let mut all: Vec<RequestSpec> = Vec::new();
    let mut ends: Vec<(SimTime, RequestSpec)> = Vec::new();
    let mut next = source.next_request();
    loop {
        waiting.extend(next.take());
        next = source.next_request();
        waiting.sort_by_key(|spec| spec.arrival);
        ends.sort_by_key(|(end, _)| *end);
        let first_arrival = waiting.first().map_or(SimTime::NEVER, |spec| spec.arrival);
        match ends.first().map(|(end, _)| *end) {
            Some(end) if end < first_arrival && next.as_ref().is_none_or(|spec| end < spec.arrival) => {
                let (_, spec) = ends.remove(0);
                source.follow_ups(&spec, &record(&spec), &mut waiting);
            }
            _ if !waiting.is_empty() => {
                let spec = waiting.remove(0);
                ends.push((record(&spec).completion, spec.clone()));
                all.push(spec);
            }
            None if next.is_none() => return (all, source),
            _ => {}
        }
    }
}

fn arrivals_s(specs: &[RequestSpec]) -> Vec<f64> {
    specs.iter().map(|spec| spec.arrival.as_secs_f64()).collect()
}

fn refusal(workload: &TraceWorkload) -> String {
    TraceSource::open(workload).err().expect("it is refused").to_string()
}

const TWO_SESSIONS: &str = r#"{"session_id": "a", "timestamp": 0, "input_length": 600, "output_length": 50}
{"session_id": "b", "timestamp": 500, "input_length": 700, "output_length": 10}
{"session_id": "a", "delay": 1500, "input_length": 900, "output_length": 26}
{"session_id": "c", "timestamp": 4000, "input_length": 1, "output_length": 1}
{"session_id": "b", "delay_ms": 250, "input_length": 710, "output_length": 5}
{"session_id": "a", "delay": 0, "input_length": 1000, "output_length": 26}
"#;

#[test]
fn turns_follow_their_answers() {
    let (_folder, workload) = written("delay.jsonl", TWO_SESSIONS);
    let specs = play(&workload, 2.0);
    assert_eq!(arrivals_s(&specs), [0.0, 0.5, 2.75, 3.5, 4.0, 5.5]);
    let who: Vec<_> = specs.iter().map(|spec| (spec.session, spec.turn)).collect();
    assert_eq!(who, [(0, 0), (1, 0), (1, 1), (0, 1), (2, 0), (0, 2)]);
    // Sessions come at another rate; who waits, waits as long.
    let twice = play(&TraceWorkload { rate_scale: 2.0, ..workload.clone() }, 2.0);
    assert_eq!(arrivals_s(&twice), [0.0, 0.25, 2.0, 2.5, 3.5, 5.5]);
    let first_ends = TraceWorkload { duration: Some(SimTime::from_secs_f64(3.0)), ..workload.clone() };
    assert_eq!(play(&first_ends, 2.0), specs[..3]);
    assert_eq!(play(&TraceWorkload { total_requests: Some(4), ..workload }, 2.0).len(), 4);
}

#[test]
fn turns_that_hold_the_conversation_share_it() {
    let (_folder, workload) = written("delay.jsonl", TWO_SESSIONS);
    let specs = play(&workload, 2.0);
    let key = |session, turn| {
        specs.iter().find(|spec| (spec.session, spec.turn) == (session, turn)).expect("it is sent").tail_key
    };
    assert_ne!(key(0, 0), 0);
    assert_eq!([key(0, 1), key(0, 2)], [key(0, 0); 2]);
    assert_eq!(key(1, 1), key(1, 0));
    assert_ne!(key(1, 0), key(0, 0));
    // Nobody asks for it.
    assert_eq!(key(2, 0), 0);
}

#[test]
fn a_prompt_too_short_for_the_conversation_must_be_explained() {
    let text = r#"{"session_id": "a", "timestamp": 0, "input_length": 300, "output_length": 40, "hash_ids": [7]}
{"session_id": "a", "delay": 2, "input_length": 150, "output_length": 20}
"#;
    let (_folder, mut workload) = written("short.jsonl", text);
    let error = refusal(&workload);
    assert!(
        error.contains("short.jsonl:2: its prompt of 150 tokens is shorter than the conversation so far (340)"),
        "{error}"
    );
    assert!(error.contains("message_mode: delta"), "{error}");
    workload.options.message_mode = Some(MessageMode::Delta);
    let specs = play(&workload, 1.0);
    assert_eq!(specs[1].prompt_tokens, 300 + 40 + 150);
    assert_eq!((specs[0].tail_key, specs[0].prefix.len()), (specs[1].tail_key, 1));
    assert_eq!(specs[0].prefix, specs[1].prefix);
    workload.options.message_mode = Some(MessageMode::History);
    let specs = play(&workload, 1.0);
    assert_eq!((specs[1].prompt_tokens, specs[1].tail_key), (150, 0));
}

#[test]
fn a_failure_ends_its_session() {
    let (_folder, workload) = written("delay.jsonl", TWO_SESSIONS);
    for status in [Status::Failed, Status::Timeout] {
        let (specs, source) = play_with(&workload, |spec| {
            let mut record = success(spec, 2.0);
            if (spec.session, spec.turn) == (0, 0) {
                record.status = status;
            }
            record
        });
        let who: Vec<_> = specs.iter().map(|spec| (spec.session, spec.turn)).collect();
        assert_eq!(who, [(0, 0), (1, 0), (1, 1), (2, 0)]);
        assert_eq!(source.facts().unsent(), (1, 2));
    }
    assert_eq!(play_with(&workload, |spec| success(spec, 1.0)).1.facts().unsent(), (0, 0));
}

#[test]
fn any_table_with_sessions_can_be_closed() {
    let text = "arrival_s,prompt_tokens,output_tokens,session_id\n0,10,5,a\n1,10,5,b\n2,20,5,a\n9,30,5,a\n";
    let (_folder, mut workload) = written("own.csv", text);
    assert_eq!(arrivals_s(&play(&workload, 3.0)), [0.0, 1.0, 2.0, 9.0]);
    workload.options.sessions = Some(SessionTimes::Closed);
    // The second turn waits for its answer, the third for its time.
    assert_eq!(arrivals_s(&play(&workload, 3.0)), [0.0, 1.0, 3.0, 9.0]);
    workload.rate_scale = 2.0;
    assert_eq!(arrivals_s(&play(&workload, 3.0)), [0.0, 0.5, 3.0, 6.0]);
}

#[test]
fn sessions_without_recorded_times_cannot_be_open() {
    let (_folder, mut workload) = written("delay.jsonl", TWO_SESSIONS);
    workload.options.sessions = Some(SessionTimes::Open);
    let error = refusal(&workload);
    assert!(error.contains("delay.jsonl:3: sessions: open sends requests at recorded times"), "{error}");
}

/// A root, two that follow it, one that follows these, in an order that names some before they come.
const AGENTS: &str = r#"{"request_id": "join", "session_id": "main", "input_length": 30, "output_length": 1, "hash_ids": [1], "wait_for": ["left", "right"], "tool_wait_ms": 100}
{"request_id": "root", "session_id": "main", "input_length": 20, "output_length": 1, "hash_ids": [1], "timestamp": 1000}
{"request_id": "left", "session_id": "l", "input_length": 20, "output_length": 1, "hash_ids": [1], "wait_for": ["root"], "delay": 50}
{"request_id": "right", "session_id": "r", "input_length": 20, "output_length": 1, "hash_ids": [2], "wait_for": ["root"], "delay": 0}
{"request_id": "alone", "input_length": 9, "output_length": 1, "hash_ids": [3], "timestamp": 1500}
"#;

#[test]
fn agents_branch_and_join() {
    let (_folder, workload) = written("agents.jsonl", AGENTS);
    let specs = play(&workload, 2.0);
    assert_eq!(arrivals_s(&specs), [0.0, 0.5, 2.0, 2.05, 4.15]);
    let who: Vec<_> = specs.iter().map(|spec| (spec.session, spec.turn, spec.prompt_tokens)).collect();
    assert_eq!(who, [(0, 1, 20), (1, 0, 9), (0, 3, 20), (0, 2, 20), (0, 0, 30)]);
    assert_eq!(specs[0].prefix[0].key, specs[4].prefix[0].key);
}

#[test]
fn what_is_wrong_with_a_graph_is_said_with_its_line() {
    let wrong = |from: &str, to: &str| {
        let (_folder, workload) = written("agents.jsonl", AGENTS.replacen(from, to, 1));
        refusal(&workload)
    };
    let missing = wrong(r#""request_id": "left""#, r#""request_id": "other""#);
    assert!(missing.contains("agents.jsonl:1: it waits for a request that is not in the file"), "{missing}");
    let doubled = wrong(r#""request_id": "right""#, r#""request_id": "left""#);
    assert!(doubled.contains("agents.jsonl:4: its name is that of the request on line 3"), "{doubled}");
    let cycle = wrong(r#""wait_for": ["root"], "delay": 50"#, r#""wait_for": ["root", "join"], "delay": 50"#);
    assert!(cycle.contains("agents.jsonl:1: it waits, by way of others, for itself"), "{cycle}");
    let own = wrong(r#""wait_for": ["root"], "delay": 50"#, r#""wait_for": ["left"], "delay": 50"#);
    assert!(own.contains("agents.jsonl:3: it waits, by way of others, for itself"), "{own}");
}

#[test]
fn sessions_may_lie_anywhere_in_a_file() {
    // 30 sessions, turn by turn, the last session first.
    let mut lines = Vec::new();
    for turn in 0..20_u32 {
        for session in (0..30_u32).rev() {
            let time =
                if turn == 0 { format!(r#""timestamp": {}"#, session * 10) } else { format!(r#""delay": {turn}"#) };
            let input = 100 + session + 200 * turn;
            lines
                .push(format!(r#"{{"session_id": "{session}", {time}, "input_length": {input}, "output_length": 3}}"#));
        }
    }
    let (_folder, workload) = written("many.jsonl", lines.join("\n"));
    let specs = play(&workload, 1.0);
    assert_eq!(specs.len(), 600);
    for spec in specs {
        let (session, turn) = (spec.session as u32, spec.turn);
        assert_eq!(spec.prompt_tokens, 100 + session + 200 * turn);
        let pauses_ms: u32 = (1..=turn).sum();
        assert_eq!(spec.arrival.0, u64::from(session * 10 + pauses_ms + 1000 * turn) * 1_000_000);
    }
}

#[test]
fn sessions_at_recorded_times_have_no_follow_ups() {
    let text = r#"{"session_id": "a", "timestamp": 0, "input_length": 60, "output_length": 5}
{"session_id": "a", "timestamp": 1500, "input_length": 90, "output_length": 2}
"#;
    let (_folder, workload) = written("times.jsonl", text);
    let mut source = TraceSource::open(&workload).expect("a sound trace");
    assert!(source.promises().no_follow_ups);
    let specs = drain(&mut source);
    assert_eq!(arrivals_s(&specs), [0.0, 1.5]);
    assert_eq!(specs[0].tail_key, specs[1].tail_key);
    assert_ne!(specs[0].tail_key, 0);
}
