//! Agentic Mooncake (Dynamo's replay, `agentic_mooncake`; AISimulate's manual, 11.8): a request a line with `request_id`,
//! `input_length`, `output_length`, `hash_ids`, and `wait_for`, the requests that must be answered first. It is sent `delay` (or
//! `delay_ms`) and `tool_wait_ms` milliseconds after the last of them; one that waits for nobody at its `timestamp` (or
//! `created_time`) in milliseconds, 0 without.
//!
//! `request_kind`, `branches`, `prefix_reset` and `tool_events` say what happened, not what is to happen, and are not used. Blocks
//! have 512 tokens, or as many as the options say; ids name the same content in the whole file.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::blocks::Blocks;
use super::mooncake::{BLOCK_TOKENS, NAMESPACE};
use super::{Format, Layout, ObjectFormat, ObjectReader, parsed};
use crate::workload::spec::TraceOptions;
use crate::workload::streams::hash_bytes;
use crate::workload::trace::row::{Problem, Row, Start, from_seconds, pause_ns, token_count};

pub(super) const FORMAT: Format = Format {
    name: "agentic_mooncake",
    title: "an agentic Mooncake trace",
    layout: Layout::Objects(ObjectFormat {
        recognises,
        reader: |options: &TraceOptions| {
            Box::new(Reader { blocks: Blocks::new(NAMESPACE, options.block_tokens.unwrap_or(BLOCK_TOKENS)) })
        },
        example: r#"{"request_id": "b", "session_id": "s", "wait_for": ["a"], "tool_wait_ms": 20, "input_length": 900, "output_length": 30, "hash_ids": [1, 2]}"#,
        sort_by: ".timestamp",
    }),
};

fn recognises(object: &Map<String, Value>) -> bool {
    let names = ["wait_for", "tool_wait_ms", "tool_events", "branches", "prefix_reset"];
    let of_header = object.get("schema").and_then(Value::as_str) == Some("dynamo.agentic_mooncake");
    of_header || (object.contains_key("request_id") && names.iter().any(|name| object.contains_key(*name)))
}

#[derive(Deserialize)]
struct Line {
    schema: Option<String>,
    request_id: Option<String>,
    session_id: Option<String>,
    #[serde(alias = "input_tokens")]
    input_length: Option<u64>,
    #[serde(alias = "output_tokens")]
    output_length: Option<u64>,
    #[serde(default)]
    hash_ids: Vec<u64>,
    #[serde(alias = "created_time")]
    timestamp: Option<f64>,
    #[serde(default)]
    wait_for: Vec<String>,
    #[serde(default, alias = "delay_ms")]
    delay: f64,
    #[serde(default)]
    tool_wait_ms: f64,
    #[serde(default)]
    priority: i32,
}

struct Reader {
    blocks: Blocks,
}

impl ObjectReader for Reader {
    fn read(&mut self, object: &[u8], rows: &mut VecDeque<Row>) -> Result<(), Problem> {
        let line: Line = parsed(object, &FORMAT)?;
        if line.schema.is_some() {
            return Err(
                "it is the head of version 2 of this format, whose lines name what they wait for in another way; \
                        write version 1 (request_id, wait_for)"
                    .to_owned(),
            );
        }
        let id = line.request_id.filter(|id| !id.is_empty());
        let id = id.ok_or("it has no request_id, by which others wait for it")?;
        let blocks = u64::from(self.blocks.tokens) * line.hash_ids.len() as u64;
        let prompt_tokens = token_count("input_length", line.input_length.unwrap_or(blocks))?;
        let output = line.output_length.ok_or("it has no output_length")?;
        let start = if line.wait_for.is_empty() {
            let ms = line.timestamp.unwrap_or(0.0);
            Start::At(from_seconds(ms / 1e3).ok_or_else(|| format!("timestamp is {ms}, beyond 292 years"))?)
        } else {
            let delay = pause_ns("delay", line.delay, "milliseconds")?;
            let tool = pause_ns("tool_wait_ms", line.tool_wait_ms, "milliseconds")?;
            let requests = line.wait_for.iter().map(|id| hash_bytes(id.as_bytes())).collect();
            Start::After { requests, pause_ns: delay.saturating_add(tool) }
        };
        let output_tokens = token_count("output_length", output)?;
        rows.push_back(Row {
            start,
            id: Some(hash_bytes(id.as_bytes())),
            session: line.session_id.map(|name| hash_bytes(name.as_bytes())),
            prompt_tokens,
            output_tokens,
            priority: line.priority,
            prefix: self.blocks.segments(&line.hash_ids, prompt_tokens, output_tokens)?,
            ..Row::default()
        });
        Ok(())
    }

    fn end(&mut self, _: &mut VecDeque<Row>) -> Result<(), Problem> {
        self.blocks.check()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{read, refused};
    use super::*;

    const ROOT: &str = r#"{"request_id": "root", "session_id": "s", "input_length": 700, "output_length": 2, "hash_ids": [1, 2], "timestamp": 5}"#;
    const CHILD: &str = r#"{"request_id": "child", "session_id": "s", "output_length": 1, "hash_ids": [1, 7], "wait_for": ["root", "other"], "delay": 2, "tool_wait_ms": 3.5, "timestamp": 9999, "branches": []}"#;

    #[test]
    fn a_request_waits_for_all_that_it_names() {
        let [child, root] = &read(&FORMAT, &[CHILD, ROOT])[..] else { panic!("two requests") };
        assert_eq!(root.start, Start::At(5_000_000));
        let requests = vec![hash_bytes(b"root"), hash_bytes(b"other")];
        assert_eq!(child.start, Start::After { requests, pause_ns: 5_500_000 });
        assert_eq!(root.id, Some(hash_bytes(b"root")));
        assert_eq!(root.session, child.session);
        // As many tokens as its blocks have, where it says no length.
        assert_eq!(child.prompt_tokens, 1024);
        assert_eq!(root.prefix[0].key, child.prefix[0].key);
        assert_eq!(root.prefix.iter().map(|segment| segment.tokens).collect::<Vec<_>>(), [512, 188]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(refused(&FORMAT, &ROOT.replace(r#""request_id": "root", "#, "")).contains("no request_id"));
        assert!(refused(&FORMAT, &CHILD.replace("3.5", "-1")).contains("tool_wait_ms is -1"));
        assert!(refused(&FORMAT, r#"{"schema": "dynamo.agentic_mooncake", "version": 2}"#).contains("version 2"));
        assert!(refused(&FORMAT, &ROOT.replace("[1, 2]", "[1, 2, 3]")).contains("3 hash_ids"));
    }
}
