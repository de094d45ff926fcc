//! TraceLab (University of Washington, arXiv 2606.30560; CC BY): a round of a coding agent a line, with `session_id`, `round_index`,
//! `input_tokens_total`, `prefix_tokens`, `newly_append_tokens`, `output_tokens`, `timing_events[]` and `tools[]`.
//!
//! A round was sent with the last of its inputs (`user_message`, `tool_result`) and answered with the last of its outputs (`text`,
//! `reasoning`, `tool_call`), as AIPerf reads them (`_tracelab_convert.py`); so a session's next round is sent as long after the answer
//! as it was then: the tool's wait, or the user's. A session begins at its recorded time. Reasoning tokens are part of the output.
//!
//! `prefix_tokens` says what a cache had then, not what the prompts share, and is only checked; a prompt that is no shorter than the
//! conversation so far is taken to hold it. The file has no link from an agent to its sub-agents: these are sessions of their own, at
//! their recorded times.

use std::collections::{HashMap, VecDeque};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Format, Layout, ObjectFormat, ObjectReader, parsed};
use crate::workload::spec::{Clock, TraceOptions};
use crate::workload::streams::hash_bytes;
use crate::workload::trace::row::{Context, Problem, Row, Start, token_count};
use crate::workload::trace::times::moment_ns;

pub(super) const FORMAT: Format = Format {
    name: "tracelab",
    title: "a TraceLab trace",
    layout: Layout::Objects(ObjectFormat {
        recognises: |object: &Map<String, Value>| {
            object.contains_key("input_tokens_total") && object.contains_key("newly_append_tokens")
        },
        reader: |_: &TraceOptions| Box::new(Reader { answered_ns: HashMap::new() }),
        example: r#"{"session_id": "claude:1", "round_index": 0, "input_tokens_total": 900, "prefix_tokens": 0, "newly_append_tokens": 900, "output_tokens": 50, "timing_events": [{"event_type": "user_message", "timestamp": "2026-03-01T10:00:00Z"}, {"event_type": "text", "timestamp": "2026-03-01T10:00:04Z"}], "tools": []}"#,
        sort_by: ".timing_events[0].timestamp",
    }),
};

#[derive(Deserialize)]
struct Round {
    session_id: String,
    input_tokens_total: u64,
    prefix_tokens: u64,
    newly_append_tokens: u64,
    output_tokens: u64,
    #[serde(default)]
    timing_events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    event_type: String,
    timestamp: Option<String>,
}

struct Reader {
    /// When each session's last answer was there.
    answered_ns: HashMap<u64, i64>,
}

impl ObjectReader for Reader {
    fn read(&mut self, object: &[u8], rows: &mut VecDeque<Row>) -> Result<(), Problem> {
        let round: Round = parsed(object, &FORMAT)?;
        if round.prefix_tokens.checked_add(round.newly_append_tokens) != Some(round.input_tokens_total) {
            return Err("prefix_tokens and newly_append_tokens do not add up to input_tokens_total".to_owned());
        }
        let (sent_ns, answered_ns) = times(&round.timing_events)?;
        let session = hash_bytes(round.session_id.as_bytes());
        let start = match self.answered_ns.insert(session, answered_ns) {
            None => Start::At(sent_ns),
            // A round that was sent before the answer above it came is sent with that.
            Some(before_ns) => {
                let pause_ns = sent_ns.saturating_sub(before_ns).max(0).unsigned_abs();
                Start::After { requests: Vec::new(), pause_ns }
            }
        };
        rows.push_back(Row {
            start,
            session: Some(session),
            prompt_tokens: token_count("input_tokens_total", round.input_tokens_total)?,
            output_tokens: token_count("output_tokens", round.output_tokens)?,
            context: Context::History,
            ..Row::default()
        });
        Ok(())
    }
}

/// When a round was sent and when it was answered.
fn times(events: &[Event]) -> Result<(i64, i64), Problem> {
    let (mut sent, mut first_output, mut answered) = (None, None, None);
    for event in events {
        let Some(text) = &event.timestamp else { continue };
        let time = moment_ns(Clock::Calendar, "the timestamp", text)?;
        match event.event_type.as_str() {
            "user_message" | "tool_result" => sent = sent.max(Some(time)),
            "text" | "reasoning" | "tool_call" => {
                first_output = Some(first_output.map_or(time, |first: i64| first.min(time)));
                answered = answered.max(Some(time));
            }
            _ => {}
        }
    }
    let sent = sent.or(first_output);
    let sent = sent.ok_or("timing_events has no time of an input or an output; take the line out")?;
    Ok((sent, answered.unwrap_or(sent).max(sent)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{read, refused};
    use super::*;

    fn round(session: &str, index: u32, input: u64, prefix: u64, events: &[(&str, &str)]) -> String {
        let events: Vec<String> = events
            .iter()
            .map(|(kind, time)| format!(r#"{{"event_type": "{kind}", "timestamp": "2026-03-01T10:00:{time}Z"}}"#))
            .collect();
        format!(
            r#"{{"trace_key": "k", "provider": "claude", "user": "u", "project": "p", "session_id": "{session}", "round_index": {index}, "model": "m", "input_tokens_total": {input}, "prefix_tokens": {prefix}, "newly_append_tokens": {}, "output_tokens": 50, "reasoning_output_tokens": 10, "timing_events": [{}], "tools": [{{"tool_name": "Bash", "emitted_at": "2026-03-01T10:00:04Z", "result_at": "2026-03-01T10:00:06Z", "tool_wall_latency_ms": 2000}}]}}"#,
            input - prefix,
            events.join(",")
        )
    }

    #[test]
    fn a_round_follows_the_answer_and_its_tools() {
        let rows = read(
            &FORMAT,
            &[
                round("claude:1", 0, 900, 0, &[("user_message", "00"), ("reasoning", "03"), ("tool_call", "04")]),
                round("claude:2", 0, 70, 0, &[("user_message", "02.5"), ("text", "05")]),
                round("claude:1", 1, 1200, 900, &[("tool_result", "05"), ("tool_result", "06.5"), ("text", "09")]),
                round("claude:1", 2, 1300, 1200, &[("user_message", "08"), ("text", "11")]),
            ],
        );
        let Start::At(first_ns) = rows[0].start else { panic!("it begins a session") };
        assert_eq!(rows[1].start, Start::At(first_ns + 2_500_000_000));
        assert_eq!(rows[2].start, Start::After { requests: Vec::new(), pause_ns: 2_500_000_000 });
        assert_eq!(rows[3].start, Start::After { requests: Vec::new(), pause_ns: 0 });
        assert_eq!((rows[2].prompt_tokens, rows[2].output_tokens), (1200, 50));
        assert_eq!(rows[2].context, Context::History);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let good = round("s", 0, 900, 100, &[("user_message", "00")]);
        assert!(
            refused(&FORMAT, &good.replace("\"newly_append_tokens\": 800", "\"newly_append_tokens\": 1"))
                .contains("add up")
        );
        assert!(refused(&FORMAT, &good.replace("00Z", "0xZ")).contains("must look like"));
        assert!(refused(&FORMAT, &round("s", 0, 900, 0, &[("other", "00")])).contains("timing_events"));
    }
}
