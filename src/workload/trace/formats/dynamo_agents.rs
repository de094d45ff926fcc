//! Dynamo's request trace of agents (`dynamo.request.trace.v1`, `DYN_REQUEST_TRACE=1`): a `request_end` a line, by itself or as the
//! `event` of one, with `request.request_id`,
//! `request_received_ms`, `total_time_ms`, `output_tokens` and, in `request.replay`, `trace_block_size`, `input_length` and
//! `input_sequence_hashes`; and an `agent_context`, whose session it was.
//!
//! Without a context a request is sent at its recorded time. With one, as Dynamo's own replay does, a request of an agent waits for
//! the answer before it in its `trajectory_id` (else `session_id`), and for as long as it did then; the first of a sub-agent for the last
//! answer its parent had by then, and the parent's next for the agents that it launched and that had their answers. Events of tools lie within those waits and are not read.

use std::collections::{HashMap, VecDeque};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::blocks::Blocks;
use super::dynamo::{Line, Replay, event_of};
use super::{Format, Layout, ObjectFormat, ObjectReader, parsed};
use crate::workload::spec::TraceOptions;
use crate::workload::streams::hash_bytes;
use crate::workload::trace::row::{Problem, Row, Start, from_seconds, token_count};

pub(super) const FORMAT: Format = Format {
    name: "dynamo-agentic",
    title: "Dynamo's request trace of agents",
    layout: Layout::Objects(ObjectFormat {
        recognises: |object: &Map<String, Value>| {
            event_of(object).is_some_and(|event| event.get("agent_context").is_some_and(Value::is_object))
        },
        reader: |options: &TraceOptions| {
            Box::new(Reader { block_tokens: options.block_tokens, agents: HashMap::new() })
        },
        example: r#"{"schema": "dynamo.request.trace.v1", "event_type": "request_end", "event_time_unix_ms": 1600, "request": {"request_id": "a", "request_received_ms": 1500, "output_tokens": 4, "replay": {"trace_block_size": 64, "input_length": 128, "input_sequence_hashes": [11, 33]}}}"#,
        sort_by: ".request.request_received_ms",
    }),
};

/// Tokens in a block where a request names none.
const BLOCK_TOKENS: u32 = 64;

/// Keeps its hashes apart from those of other traces.
const NAMESPACE: u64 = 0x6479_6e61_6167_0000;

#[derive(Deserialize)]
struct Event {
    event_type: String,
    event_time_unix_ms: Option<f64>,
    agent_context: Option<Agent>,
    request: Option<Request>,
}

#[derive(Deserialize)]
struct Agent {
    session_id: Option<String>,
    trajectory_id: Option<String>,
    parent_trajectory_id: Option<String>,
    parent_session_id: Option<String>,
}

#[derive(Deserialize)]
struct Request {
    request_id: String,
    request_received_ms: Option<f64>,
    total_time_ms: Option<f64>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    replay: Option<Replay>,
}

struct Reader {
    block_tokens: Option<u32>,
    agents: HashMap<u64, Known>,
}

/// What is known of an agent.
struct Known {
    /// The request that was answered last, and when.
    last: u64,
    ended_ns: i64,
    /// Agents that it has launched since.
    launched: Vec<u64>,
}

impl ObjectReader for Reader {
    fn read(&mut self, object: &[u8], rows: &mut VecDeque<Row>) -> Result<(), Problem> {
        let (Line::Wrapped { event } | Line::Bare(event)) = parsed::<Line<Event>>(object, &FORMAT)?;
        if event.event_type != "request_end" {
            return Ok(());
        }
        let request = event.request.ok_or("it has no request")?;
        let replay = request.replay;
        let block_tokens = replay.as_ref().map_or(BLOCK_TOKENS, |replay| replay.trace_block_size);
        if block_tokens == 0 || replay.is_some() && self.block_tokens.is_some_and(|asked| asked != block_tokens) {
            let asked =
                self.block_tokens.map_or("be above 0".to_owned(), |asked| format!("be {asked}, as was asked for"));
            return Err(format!("trace_block_size is {block_tokens}, but must {asked}"));
        }
        let ended_ms = event.event_time_unix_ms;
        let received_ms =
            request.request_received_ms.or(ended_ms.zip(request.total_time_ms).map(|(end, time)| end - time));
        let received_ms =
            received_ms.ok_or("it has neither request_received_ms nor event_time_unix_ms and total_time_ms")?;
        let received_ns = nanoseconds("request_received_ms", received_ms)?;
        let ended_ms = request.total_time_ms.map(|time| received_ms + time).or(ended_ms).unwrap_or(received_ms);
        let ended_ns = nanoseconds("total_time_ms", ended_ms)?.max(received_ns);
        let id = hash_bytes(request.request_id.as_bytes());
        let output = request.output_tokens.ok_or("its request has no output_tokens")?;
        let input = replay.as_ref().map(|replay| replay.input_length).or(request.input_tokens);
        let input = input.ok_or("its request has neither a replay nor input_tokens, so its prompt has no length")?;
        let hashes = replay.map_or(Vec::new(), |replay| replay.input_sequence_hashes);
        let prompt_tokens = token_count("input_length", input)?;
        let agent = event.agent_context.and_then(|context| context.name());
        let (start, session) = match agent {
            None => (Start::At(received_ns), None),
            Some((agent, parent)) => {
                let start = self.start(agent, parent, received_ns);
                let mut launched = self.agents.remove(&agent).map_or(Vec::new(), |known| known.launched);
                launched.retain(|child| self.agents.get(child).is_some_and(|child| child.ended_ns > received_ns));
                self.agents.insert(agent, Known { last: id, ended_ns, launched });
                (start, Some(agent))
            }
        };
        let output_tokens = token_count("output_tokens", output)?;
        let mut blocks = Blocks::new(NAMESPACE, block_tokens);
        rows.push_back(Row {
            start,
            // Lines come in the order of their ends: all of them are parts of sessions, which may begin in any order.
            id: Some(id),
            session,
            prompt_tokens,
            output_tokens,
            prefix: blocks.segments(&hashes, prompt_tokens, output_tokens)?,
            ..Row::default()
        });
        Ok(())
    }
}

impl Reader {
    fn start(&mut self, agent: u64, parent: Option<u64>, received_ns: i64) -> Start {
        let answered = |known: &&Known| known.ended_ns <= received_ns;
        let mut waits: Vec<(u64, i64)> = Vec::new();
        if let Some(own) = self.agents.get(&agent) {
            // One that was sent before that answer waits for nobody.
            if !answered(&own) {
                return Start::At(received_ns);
            }
            waits.push((own.last, own.ended_ns));
            let launched = own.launched.iter().filter_map(|child| self.agents.get(child)).filter(answered);
            waits.extend(launched.map(|child| (child.last, child.ended_ns)));
        } else if let Some(parent) = parent.and_then(|parent| self.agents.get_mut(&parent)) {
            if parent.ended_ns <= received_ns {
                waits.push((parent.last, parent.ended_ns));
            }
            parent.launched.push(agent);
        }
        match waits.iter().map(|&(_, ended_ns)| ended_ns).max() {
            None => Start::At(received_ns),
            Some(ended_ns) => {
                let requests = waits.iter().map(|&(request, _)| request).collect();
                Start::After { requests, pause_ns: received_ns.saturating_sub(ended_ns).unsigned_abs() }
            }
        }
    }
}

impl Agent {
    /// Hashes of its name and of its parent's.
    fn name(self) -> Option<(u64, Option<u64>)> {
        let hash = |name: String| hash_bytes(name.as_bytes());
        let own = self.trajectory_id.or(self.session_id)?;
        Some((hash(own), self.parent_trajectory_id.or(self.parent_session_id).map(hash)))
    }
}

fn nanoseconds(name: &str, ms: f64) -> Result<i64, Problem> {
    from_seconds(ms / 1e3).ok_or_else(|| format!("{name} is {ms}; that many milliseconds are beyond 292 years"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{read, refused};
    use super::*;

    fn end(id: &str, received: u64, ended: u64, context: &str) -> String {
        format!(
            r#"{{"schema": "dynamo.request.trace.v1", "event_type": "request_end", "event_time_unix_ms": {ended}, "event_source": "dynamo", {context}"request": {{"request_id": "{id}", "model": "m", "output_tokens": 4, "request_received_ms": {received}, "total_time_ms": {}, "replay": {{"trace_block_size": 64, "input_length": 128, "input_sequence_hashes": [11, 33]}}}}}}"#,
            ended - received
        )
    }

    fn agent(name: &str, parent: &str) -> String {
        format!(
            r#""agent_context": {{"session_type_id": "t", "session_id": "run", "trajectory_id": "{name}"{parent}}}, "#
        )
    }

    fn read_all(lines: &[String]) -> Vec<Row> {
        let mut reader = Reader { block_tokens: None, agents: HashMap::new() };
        let mut rows = VecDeque::new();
        lines.iter().for_each(|line| reader.read(line.as_bytes(), &mut rows).expect("a line"));
        rows.into()
    }

    #[test]
    fn without_an_agent_times_are_as_recorded() {
        let rows = read_all(&[end("a", 1500, 1600, ""), end("b", 1550, 1700, "")]);
        assert_eq!(rows[0].start, Start::At(1_500_000_000));
        assert_eq!(rows[1].start, Start::At(1_550_000_000));
        assert_eq!(rows[0].prefix.len(), 2);
    }

    #[test]
    fn agents_wait_for_their_answers_and_for_their_parents() {
        let child = agent("run:child", r#", "parent_trajectory_id": "run:planner""#);
        let tool = r#"{"schema": "dynamo.request.trace.v1", "event_type": "tool_end", "event_time_unix_ms": 1650, "tool": {}}"#;
        let rows = read_all(&[
            end("a", 1500, 1600, &agent("run:planner", "")),
            tool.to_owned(),
            end("b", 1630, 1700, &child),
            end("c", 1900, 2000, &agent("run:planner", "")),
        ]);
        let after = |ids: &[&str], ms| {
            let requests = ids.iter().map(|id| hash_bytes(id.as_bytes())).collect();
            Start::After { requests, pause_ns: 1_000_000_u64 * ms }
        };
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[1].start, after(&["a"], 30));
        assert_eq!(rows[2].start, after(&["a", "b"], 200));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let one = end("a", 1500, 1600, &agent("run", ""));
        let wrapped = format!(r#"{{"timestamp": 5, "event": {one}}}"#);
        assert_eq!(read(&FORMAT, std::slice::from_ref(&one)), read(&FORMAT, &[wrapped]));
        assert!(
            refused(&FORMAT, &one.replace("\"replay\"", "\"other\"")).contains("neither a replay nor input_tokens")
        );
        assert!(refused(&FORMAT, &one.replace("64", "0")).contains("trace_block_size is 0"));
        assert!(refused(&FORMAT, &one.replace("\"output_tokens\": 4, ", "")).contains("no output_tokens"));
    }
}
