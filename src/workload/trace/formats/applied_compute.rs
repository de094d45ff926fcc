//! Applied Compute's agentic traces, as Dynamo's replay takes them (`applied_compute_agentic`; AISimulate's manual, 11.9): a session
//! an object, with `num_turns`, `input_prompt_length`, for each turn `assistant_response_length[]`, `tool_call_output_length[]` and
//! `tool_call_latency[]` in seconds, and `final_assistant_response_length`.
//!
//! A session is `num_turns` + 1 requests: after each answer its tool runs, and the next prompt holds all before it, the answer and
//! what the tool put out. There are no times: of several sessions the load must say when they begin.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Format, Layout, ObjectFormat, ObjectReader, parsed, sessions_without_times};
use crate::workload::spec::TraceOptions;
use crate::workload::trace::row::{Context, Problem, Row, Start, pause_ns, token_count};

pub(super) const FORMAT: Format = Format {
    name: "applied_compute_agentic",
    title: "Applied Compute's agentic trace",
    layout: Layout::Objects(ObjectFormat {
        recognises: |object: &Map<String, Value>| object.contains_key("final_assistant_response_length"),
        reader: |options: &TraceOptions| Box::new(Reader { sessions: 0, retimed: options.retimed }),
        example: r#"{"num_turns": 1, "input_prompt_length": 800, "assistant_response_length": [90], "tool_call_output_length": [300], "tool_call_latency": [0.8], "final_assistant_response_length": 250}"#,
        sort_by: ".",
    }),
};

#[derive(Deserialize)]
struct Session {
    num_turns: usize,
    input_prompt_length: u64,
    assistant_response_length: Vec<u64>,
    tool_call_output_length: Vec<u64>,
    tool_call_latency: Vec<f64>,
    final_assistant_response_length: u64,
}

struct Reader {
    sessions: u64,
    retimed: bool,
}

impl ObjectReader for Reader {
    fn read(&mut self, object: &[u8], rows: &mut VecDeque<Row>) -> Result<(), Problem> {
        let session: Session = parsed(object, &FORMAT)?;
        let lengths = [
            ("assistant_response_length", session.assistant_response_length.len()),
            ("tool_call_output_length", session.tool_call_output_length.len()),
            ("tool_call_latency", session.tool_call_latency.len()),
        ];
        if let Some((name, length)) = lengths.into_iter().find(|&(_, length)| length != session.num_turns) {
            return Err(format!("{name} has {length} entries, but num_turns is {}", session.num_turns));
        }
        let number = self.sessions;
        self.sessions += 1;
        if number > 0 && !self.retimed {
            return Err(sessions_without_times(FORMAT.title));
        }
        let mut prompt = session.input_prompt_length;
        let mut start = Start::At(0);
        for turn in 0..=session.num_turns {
            let is_last = turn == session.num_turns;
            let (name, output) = if is_last {
                ("final_assistant_response_length", session.final_assistant_response_length)
            } else {
                ("assistant_response_length", session.assistant_response_length[turn])
            };
            rows.push_back(Row {
                start,
                session: Some(number),
                prompt_tokens: token_count(if turn == 0 { "input_prompt_length" } else { "the prompt" }, prompt)?,
                output_tokens: token_count(name, output)?,
                context: Context::History,
                ..Row::default()
            });
            if is_last {
                break;
            }
            prompt = prompt.saturating_add(output).saturating_add(session.tool_call_output_length[turn]);
            let latency_s = session.tool_call_latency[turn];
            start =
                Start::After { requests: Vec::new(), pause_ns: pause_ns("tool_call_latency", latency_s, "seconds")? };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{read_with, refused};
    use super::*;

    const SESSION: &str = r#"{"num_turns": 2, "input_prompt_length": 16, "assistant_response_length": [4, 5],
        "tool_call_output_length": [8, 0], "tool_call_latency": [0.5, 2], "final_assistant_response_length": 3}"#;

    #[test]
    fn a_session_is_its_turns_and_the_last_answer() {
        let retimed = TraceOptions { retimed: true, ..TraceOptions::default() };
        let rows = read_with(&FORMAT, &retimed, &[SESSION, SESSION]);
        let lengths: Vec<_> = rows.iter().map(|row| (row.prompt_tokens, row.output_tokens)).collect();
        assert_eq!(lengths[..3], [(16, 4), (28, 5), (33, 3)]);
        assert_eq!(lengths[3..], lengths[..3]);
        assert_eq!(rows[0].start, Start::At(0));
        assert_eq!(rows[1].start, Start::After { requests: Vec::new(), pause_ns: 500_000_000 });
        assert_eq!(rows[2].start, Start::After { requests: Vec::new(), pause_ns: 2_000_000_000 });
        assert_eq!((rows[0].session, rows[2].session, rows[3].session), (Some(0), Some(0), Some(1)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(
            refused(&FORMAT, &SESSION.replace("[4, 5]", "[4]")).contains("assistant_response_length has 1 entries")
        );
        assert!(refused(&FORMAT, &SESSION.replace("[0.5, 2]", "[0.5, -2]")).contains("tool_call_latency is -2"));
        assert!(refused(&FORMAT, &SESSION.replace(": 16,", ": 0,")).contains("input_prompt_length is 0"));
    }
}
