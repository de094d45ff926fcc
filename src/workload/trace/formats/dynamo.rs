//! Dynamo's request trace (schema `dynamo.request.trace.v1`; docs.nvidia.com/dynamo, Request Trace Reference): lines `{"timestamp", "event"}`
//! or the event alone, in order of completion. Of a `request_end`: request_received_ms, output_tokens, and of `replay` trace_block_size,
//! input_length and input_sequence_hashes, which are of whole prompts. Requests come at their recorded times, those of a session_id
//! are one session; events of tools tell what happened in between and are not replayed.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::blocks::Blocks;
use super::in_order::InOrder;
use super::{Format, Layout, ObjectFormat, ObjectReader, parsed};
use crate::workload::spec::TraceOptions;
use crate::workload::streams::hash_bytes;
use crate::workload::trace::row::{Problem, Row, token_count};

/// Keeps its hashes apart from those of other traces.
const NAMESPACE: u64 = 0x6479_6e61_6d6f_0000;

const SCHEMA: &str = "dynamo.request.trace.v1";
const NS_PER_MS: i64 = 1_000_000;

/// Dynamo's request traces.
pub(super) const FORMAT: Format = Format {
    name: "dynamo",
    title: "Dynamo's request trace",
    layout: Layout::Objects(ObjectFormat {
        recognises,
        reader,
        example: r#"{"timestamp": 5, "event": {"schema": "dynamo.request.trace.v1", "event_type": "request_end", "request": {"request_id": "a", "request_received_ms": 0, "output_tokens": 9, "replay": {"trace_block_size": 64, "input_length": 100, "input_sequence_hashes": [1, 2]}}}}"#,
        sort_by: ".timestamp",
    }),
};

/// An event by itself, or in a line with the time at which it was written.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Line<Event> {
    Wrapped { event: Event },
    Bare(Event),
}

#[derive(Deserialize)]
struct Event {
    schema: String,
    event_type: String,
    agent_context: Option<Agent>,
    request: Option<Request>,
}

#[derive(Deserialize)]
struct Agent {
    session_id: String,
}

#[derive(Deserialize)]
struct Request {
    request_id: String,
    request_received_ms: Option<i64>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    replay: Option<Replay>,
}

/// What a prompt was.
#[derive(Deserialize)]
pub(super) struct Replay {
    pub trace_block_size: u32,
    pub input_length: u64,
    pub input_sequence_hashes: Vec<u64>,
}

fn recognises(object: &Map<String, Value>) -> bool {
    event_of(object).is_some()
}

/// The event in an object of this schema.
pub(super) fn event_of(object: &Map<String, Value>) -> Option<&Map<String, Value>> {
    let event = object.get("event").and_then(Value::as_object).unwrap_or(object);
    (event.get("schema").and_then(Value::as_str) == Some(SCHEMA)).then_some(event)
}

fn reader(_: &TraceOptions) -> Box<dyn ObjectReader> {
    Box::new(Reader::default())
}

#[derive(Default)]
struct Reader {
    rows: InOrder,
}

impl ObjectReader for Reader {
    fn read(&mut self, object: &[u8], _: &mut VecDeque<Row>) -> Result<(), Problem> {
        let (Line::Wrapped { event } | Line::Bare(event)) = parsed::<Line<Event>>(object, &FORMAT)?;
        if event.schema != SCHEMA {
            return Err(format!("its schema is {:?}, and only {SCHEMA} is read", event.schema));
        }
        let Some(request) = event.request.filter(|_| event.event_type == "request_end") else { return Ok(()) };
        let received_ms = request.request_received_ms.ok_or("it has no request_received_ms")?;
        let start_ns = received_ms.checked_mul(NS_PER_MS).ok_or("request_received_ms is beyond 292 years")?;
        let output_tokens = token_count("output_tokens", request.output_tokens.ok_or("it has no output_tokens")?)?;
        let (length, prefix) = match request.replay {
            Some(replay) if replay.trace_block_size > 0 => {
                let prompt = token_count("input_length", replay.input_length)?;
                let mut blocks = Blocks::new(NAMESPACE, replay.trace_block_size);
                (replay.input_length, blocks.segments(&replay.input_sequence_hashes, prompt, output_tokens)?)
            }
            Some(_) => return Err("trace_block_size is 0".to_owned()),
            None => (request.input_tokens.ok_or("it has neither replay nor input_tokens")?, Vec::new()),
        };
        self.rows.push(
            start_ns,
            Row {
                id: Some(hash_bytes(request.request_id.as_bytes())),
                session: event.agent_context.map(|agent| hash_bytes(agent.session_id.as_bytes())),
                prompt_tokens: token_count("input_tokens", length)?,
                output_tokens,
                prefix,
                ..Row::default()
            },
        );
        Ok(())
    }

    fn end(&mut self, rows: &mut VecDeque<Row>) -> Result<(), Problem> {
        self.rows.end(rows);
        Ok(())
    }
}
