//! LLMServingSim's sessions of agents (github.com/casys-kaist/LLMServingSim): a session a line,
//! `session_id`, `arrival_time_ns` and `sub_requests[]` of `input_toks`, `output_toks` and `tool_duration_ns`: how long after the answer
//! the next is sent. Lines of a request each (`input_toks`, `output_toks`, `arrival_time_ns`) may come between (its `router.py`, `load_requests`).
//!
//! A sub-request's prompt is whole. One that is no shorter than the conversation so far is taken to hold it. `input_tok_ids` and
//! `prefix_reuse_toks` are not used.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Format, Layout, ObjectFormat, ObjectReader, parsed};
use crate::workload::spec::TraceOptions;
use crate::workload::trace::row::{Context, Problem, Row, Start, token_count};

pub(super) const FORMAT: Format = Format {
    name: "llmservingsim-agentic",
    title: "LLMServingSim's sessions of agents",
    layout: Layout::Objects(ObjectFormat {
        recognises: |object: &Map<String, Value>| object.contains_key("sub_requests"),
        reader: |_: &TraceOptions| Box::new(Reader { sessions: 0 }),
        example: r#"{"session_id": "s", "arrival_time_ns": 0, "sub_requests": [{"input_toks": 900, "output_toks": 40, "tool_duration_ns": 1000000}]}"#,
        sort_by: ".arrival_time_ns",
    }),
};

#[derive(Deserialize)]
struct Line {
    arrival_time_ns: i64,
    input_toks: Option<u64>,
    output_toks: Option<u64>,
    sub_requests: Option<Vec<Part>>,
}

#[derive(Deserialize)]
struct Part {
    input_toks: u64,
    output_toks: u64,
    #[serde(default)]
    tool_duration_ns: u64,
}

struct Reader {
    sessions: u64,
}

impl ObjectReader for Reader {
    fn read(&mut self, object: &[u8], rows: &mut VecDeque<Row>) -> Result<(), Problem> {
        let line: Line = parsed(object, &FORMAT)?;
        let is_session = line.sub_requests.is_some();
        let parts = match (line.sub_requests, line.input_toks, line.output_toks) {
            (Some(parts), ..) => parts,
            (None, Some(input_toks), Some(output_toks)) => vec![Part { input_toks, output_toks, tool_duration_ns: 0 }],
            _ => return Err("it has neither sub_requests nor input_toks and output_toks".to_owned()),
        };
        let number = self.sessions;
        self.sessions += 1;
        let mut start = Start::At(line.arrival_time_ns);
        for part in parts {
            rows.push_back(Row {
                start,
                session: is_session.then_some(number),
                prompt_tokens: token_count("input_toks", part.input_toks)?,
                output_tokens: token_count("output_toks", part.output_toks)?,
                context: if is_session { Context::History } else { Context::Own },
                ..Row::default()
            });
            start = Start::After { requests: Vec::new(), pause_ns: part.tool_duration_ns };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{read, refused};
    use super::*;

    const FLAT: &str = r#"{"input_toks": 128, "output_toks": 512, "arrival_time_ns": 70, "input_tok_ids": [1, 2]}"#;
    const SESSION: &str = r#"{"session_id": "s", "arrival_time_ns": 9, "sub_requests": [{"input_toks": 100, "output_toks": 1, "tool_duration_ns": 50}, {"input_toks": 108, "output_toks": 2, "tool_duration_ns": 0, "prefix_reuse_toks": 100}]}"#;

    #[test]
    fn flat_lines_and_sessions() {
        let rows = read(&FORMAT, &[SESSION, FLAT]);
        let starts: Vec<Start> = rows.iter().map(|row| row.start.clone()).collect();
        assert_eq!(starts, [Start::At(9), Start::After { requests: Vec::new(), pause_ns: 50 }, Start::At(70)]);
        let lengths: Vec<_> = rows.iter().map(|row| (row.session, row.prompt_tokens, row.output_tokens)).collect();
        assert_eq!(lengths, [(Some(0), 100, 1), (Some(0), 108, 2), (None, 128, 512)]);
        assert_eq!(rows[2].context, Context::Own);
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(refused(&FORMAT, &SESSION.replace(r#""output_toks": 1"#, r#""output": 1"#)).contains("output_toks"));
        assert!(refused(&FORMAT, &SESSION.replace(": 108", ": 0")).contains("input_toks is 0"));
    }
}
