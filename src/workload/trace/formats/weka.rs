//! WEKA's traces of coding agents (`kv-cache-tester`; SemiAnalysis' `cc-traces-weka-*`, on which InferenceX' AgentX runs): a
//! conversation an object, with `id`, `block_size`, `hash_id_scope: local` and `requests`, each `{t, type: n|s, in, out, hash_ids,
//! api_time, think_time}` in seconds, or a sub-agent, `{t, type: subagent, agent_id, status, requests}`.
//!
//! The layout is that of AIPerf's models (`weka_trace_models.py`). Ids name content within a conversation, its sub-agents included.
//! Who waits for whom is told by the recorded times: a request was sent when its agent had the answer that came last before it, so it
//! waits for that one, and for as long as it did then (`think_time`, where there is one and it waits for the request before it).
//! A sub-agent waits for the request of its parent that came before it; the parent, for the sub-agents in between that had ended by
//! then, but not for those launched asynchronously. Times within sub-agents are from the beginning of the conversation, or, if one
//! is before its sub-agent's own `t`, from that.
//!
//! Conversations have no time of their own: of several the load must say when they begin. `model`,
//! `input_types`, `output_types`, `stop`, `ttft`, `tool_tokens` and `system_tokens` (the ids hold them already) are not used.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::blocks::Blocks;
use super::{Format, Layout, ObjectFormat, ObjectReader, parsed, sessions_without_times};
use crate::workload::spec::TraceOptions;
use crate::workload::streams::{combine, hash_bytes};
use crate::workload::trace::row::{Problem, Row, Start, from_seconds, pause_ns, token_count};

pub(super) const FORMAT: Format = Format {
    name: "weka",
    title: "WEKA's trace of agents",
    layout: Layout::Objects(ObjectFormat {
        recognises: |object: &Map<String, Value>| object.contains_key("requests") && object.contains_key("block_size"),
        reader: |options: &TraceOptions| Box::new(Reader { conversations: 0, retimed: options.retimed }),
        example: r#"{"id": "trace_0001", "models": ["m"], "block_size": 64, "hash_id_scope": "local", "requests": [{"t": 0.0, "type": "n", "model": "m", "in": 130, "out": 20, "hash_ids": [1, 2, 3], "api_time": 1.5}]}"#,
        sort_by: ".id",
    }),
};

/// Clocks of a client and of its log differ by as much.
const SLACK_S: f64 = 1e-3;

#[derive(Deserialize)]
struct Conversation {
    id: String,
    block_size: u32,
    #[serde(default)]
    hash_id_scope: Option<String>,
    requests: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Entry {
    #[serde(rename = "n")]
    Whole(Call),
    #[serde(rename = "s")]
    Streamed(Call),
    #[serde(rename = "subagent")]
    Agent(Agent),
}

#[derive(Deserialize)]
struct Call {
    t: f64,
    #[serde(rename = "in")]
    input: u64,
    #[serde(rename = "out")]
    output: u64,
    #[serde(default)]
    hash_ids: Vec<u64>,
    api_time: Option<f64>,
    think_time: Option<f64>,
}

#[derive(Deserialize)]
struct Agent {
    t: f64,
    #[serde(default)]
    status: String,
    requests: Vec<Entry>,
}

struct Reader {
    conversations: u64,
    retimed: bool,
}

impl ObjectReader for Reader {
    fn read(&mut self, object: &[u8], rows: &mut VecDeque<Row>) -> Result<(), Problem> {
        let conversation: Conversation = parsed(object, &FORMAT)?;
        if let Some(scope) = conversation.hash_id_scope.filter(|scope| scope != "local") {
            return Err(format!("hash_id_scope is {scope:?}, but only \"local\" is known"));
        }
        if conversation.block_size == 0 {
            return Err("block_size is 0".to_owned());
        }
        // Two conversations of one name are two.
        let name = combine(hash_bytes(conversation.id.as_bytes()), self.conversations);
        if self.conversations > 0 && !self.retimed {
            return Err(sessions_without_times(FORMAT.title));
        }
        self.conversations += 1;
        let blocks = Blocks::new(name, conversation.block_size);
        let mut play = Play { name, blocks, requests: 0, rows };
        play.agent(&conversation.requests, None, 0.0).map(|_| ())
    }
}

/// A conversation on its way to rows.
struct Play<'a> {
    name: u64,
    blocks: Blocks,
    requests: u64,
    rows: &'a mut VecDeque<Row>,
}

/// A recorded request: its name, and when its answer was there, from the beginning of the conversation.
#[derive(Clone, Copy)]
struct Answer {
    id: u64,
    end_s: f64,
}

impl Play<'_> {
    /// The requests of an agent, which `parent` may have launched, with times from `origin_s` on; the last answers that were there when
    /// it ended.
    fn agent(&mut self, entries: &[Entry], parent: Option<Answer>, origin_s: f64) -> Result<Vec<Answer>, Problem> {
        let mut answers: Vec<Answer> = parent.into_iter().collect();
        // Sub-agents that nobody has waited for yet.
        let mut launched: Vec<Answer> = Vec::new();
        for entry in entries {
            match entry {
                Entry::Whole(call) | Entry::Streamed(call) => {
                    let begin_s = origin_s + call.t;
                    let answer = self.call(call, begin_s, &answers, parent, &mut launched)?;
                    answers.push(answer);
                }
                Entry::Agent(agent) => {
                    let times = agent.requests.iter().map(|entry| match entry {
                        Entry::Whole(call) | Entry::Streamed(call) => call.t,
                        Entry::Agent(agent) => agent.t,
                    });
                    let relative = times.fold(f64::INFINITY, f64::min) < agent.t - SLACK_S;
                    let own_origin_s = if relative { origin_s + agent.t } else { origin_s };
                    let parent = last_before(&answers, origin_s + agent.t).or(answers.last().copied());
                    let ends = self.agent(&agent.requests, parent, own_origin_s)?;
                    if agent.status != "async_launched" {
                        launched.extend(ends);
                    }
                }
            }
        }
        // Whoever waits for this agent waits for all that nobody in it has waited for.
        let own = answers.split_off(usize::from(parent.is_some()).min(answers.len()));
        Ok(own.last().copied().into_iter().chain(launched).collect())
    }

    fn call(
        &mut self,
        call: &Call,
        begin_s: f64,
        answers: &[Answer],
        parent: Option<Answer>,
        launched: &mut Vec<Answer>,
    ) -> Result<Answer, Problem> {
        let id = combine(self.name, self.requests);
        self.requests += 1;
        let time_ns = from_seconds(begin_s).filter(|_| call.t >= 0.0);
        let time_ns = time_ns.ok_or_else(|| format!("t is {}, but must be a number of seconds, 0 or more", call.t))?;
        let start = match last_before(answers, begin_s).or(parent) {
            None => Start::At(time_ns),
            Some(before) => {
                let ended = |answer: &Answer| answer.end_s <= begin_s + SLACK_S;
                let joined: Vec<Answer> = launched.extract_if(.., |answer| ended(answer)).collect();
                let last_end_s = joined.iter().map(|answer| answer.end_s).fold(before.end_s, f64::max);
                let is_next = joined.is_empty() && answers.last().is_some_and(|last| last.id == before.id);
                let pause_s = call.think_time.filter(|_| is_next).unwrap_or((begin_s - last_end_s).max(0.0));
                let requests = std::iter::once(before).chain(joined).map(|answer| answer.id).collect();
                Start::After { requests, pause_ns: pause_ns("think_time", pause_s, "seconds")? }
            }
        };
        let prompt_tokens = token_count("in", call.input)?;
        let output_tokens = token_count("out", call.output)?;
        self.rows.push_back(Row {
            start,
            id: Some(id),
            prompt_tokens,
            output_tokens,
            prefix: self.blocks.segments(&call.hash_ids, prompt_tokens, output_tokens)?,
            ..Row::default()
        });
        // Without it the answer is taken to have been there at once, and the time until the next request to be a pause.
        let api_time_s = call.api_time.unwrap_or(0.0);
        if !(api_time_s >= 0.0 && api_time_s.is_finite()) {
            return Err(format!("api_time is {api_time_s}, but must be a number of seconds, 0 or more"));
        }
        Ok(Answer { id, end_s: begin_s + api_time_s })
    }
}

/// The answer that came last by `time_s`.
fn last_before(answers: &[Answer], time_s: f64) -> Option<Answer> {
    let there = answers.iter().filter(|answer| answer.end_s <= time_s + SLACK_S);
    there.max_by(|one, other| one.end_s.total_cmp(&other.end_s)).copied()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{read, read_with, refused};
    use super::*;

    fn conversation(requests: &str) -> String {
        format!(
            r#"{{"id": "trace_0001", "models": ["m"], "block_size": 64, "hash_id_scope": "local", "tool_tokens": 12974, "system_tokens": 4243, "requests": [{requests}]}}"#
        )
    }

    fn call(t: f64, api_time: f64, ids: &str) -> String {
        format!(
            r#"{{"t": {t}, "type": "s", "model": "m", "in": 130, "out": 20, "hash_ids": [{ids}], "input_types": ["text"], "output_types": ["text"], "stop": "tool_use", "api_time": {api_time}, "ttft": 0.4}}"#
        )
    }

    fn agent(t: f64, status: &str, requests: &str) -> String {
        format!(
            r#"{{"t": {t}, "type": "subagent", "agent_id": "agent_001", "subagent_type": "Explore", "duration_ms": 2000, "total_tokens": 10, "tool_use_count": 1, "status": "{status}", "requests": [{requests}], "models": ["m"], "tool_tokens": 0, "system_tokens": 0}}"#
        )
    }

    fn waits(row: &Row) -> (Vec<u64>, u64) {
        match &row.start {
            Start::After { requests, pause_ns } => (requests.clone(), pause_ns / 1_000_000),
            Start::At(ns) => panic!("it is sent at {ns}"),
        }
    }

    fn id(row: &Row) -> u64 {
        row.id.expect("it has a name")
    }

    #[test]
    fn turns_wait_for_the_answer_that_was_there() {
        let rows = read(&FORMAT, &[conversation(&[call(0.0, 1.0, "1, 2"), call(3.5, 1.0, "1, 2, 3")].join(","))]);
        assert_eq!(rows[0].start, Start::At(0));
        assert_eq!(waits(&rows[1]), (vec![id(&rows[0])], 2500));
        assert_eq!(rows[0].prefix[..2], rows[1].prefix[..2]);
        assert_eq!(rows[1].prefix.iter().map(|segment| segment.tokens).collect::<Vec<_>>(), [64, 64, 2]);
        // Ids are of a conversation.
        let retimed = TraceOptions { retimed: true, ..TraceOptions::default() };
        let two =
            read_with(&FORMAT, &retimed, &[conversation(&call(0.0, 1.0, "1")), conversation(&call(0.0, 1.0, "1"))]);
        assert_ne!(two[0].prefix[0].key, two[1].prefix[0].key);
    }

    #[test]
    fn think_time_is_what_the_file_says() {
        let second = call(3.5, 1.0, "1").replace(r#""ttft""#, r#""think_time": 0.25, "ttft""#);
        let rows = read(&FORMAT, &[conversation(&[call(0.0, 1.0, "1"), second].join(","))]);
        assert_eq!(waits(&rows[1]).1, 250);
    }

    #[test]
    fn requests_side_by_side_do_not_wait_for_each_other() {
        let requests = [call(0.0, 1.0, "1"), call(2.0, 5.0, "1"), call(2.5, 1.0, "1"), call(8.0, 1.0, "1")];
        let rows = read(&FORMAT, &[conversation(&requests.join(","))]);
        assert_eq!(waits(&rows[1]), (vec![id(&rows[0])], 1000));
        assert_eq!(waits(&rows[2]), (vec![id(&rows[0])], 1500));
        // Both were there; the later one is what it waits for.
        assert_eq!(waits(&rows[3]), (vec![id(&rows[1])], 1000));
    }

    #[test]
    fn a_parent_waits_for_its_agents() {
        // Times within the first are relative, in the second absolute; the third is not waited for.
        let inner = [call(0.5, 1.0, "8"), call(2.0, 1.0, "8")].join(",");
        let requests = [
            call(0.0, 1.0, "1"),
            agent(2.0, "completed", &inner),
            agent(2.0, "completed", &call(2.25, 3.0, "9")),
            agent(2.0, "async_launched", &call(2.5, 0.5, "10")),
            call(6.0, 1.0, "1"),
        ];
        let rows = read(&FORMAT, &[conversation(&requests.join(","))]);
        assert_eq!(waits(&rows[1]), (vec![id(&rows[0])], 1500));
        assert_eq!(waits(&rows[2]), (vec![id(&rows[1])], 500));
        assert_eq!(waits(&rows[3]), (vec![id(&rows[0])], 1250));
        assert_eq!(waits(&rows[4]), (vec![id(&rows[0])], 1500));
        assert_eq!(waits(&rows[5]), (vec![id(&rows[0]), id(&rows[2]), id(&rows[3])], 750));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let one = conversation(&call(0.0, 1.0, "1"));
        assert!(refused(&FORMAT, &one.replace("local", "global")).contains("hash_id_scope"));
        assert!(refused(&FORMAT, &conversation(&call(0.0, -1.0, "1"))).contains("api_time is -1"));
        assert!(refused(&FORMAT, &conversation(&call(-2.0, 1.0, "1"))).contains("t is -2"));
        assert!(refused(&FORMAT, &one.replace("\"in\": 130", "\"in\": 0")).contains("in is 0"));
    }
}
