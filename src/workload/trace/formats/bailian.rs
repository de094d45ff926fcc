//! Qwen-Bailian (github.com/alibaba-edu/qwen-bailian-usagetraces-anon): lines of JSON with chat_id, parent_chat_id (−1: a first turn),
//! timestamp in **seconds**, input_length, output_length, type, turn and hash_ids of blocks of 16 tokens.
//!
//! Every row is the complete prompt, the conversation so far included, and its hashes say what of it is the same as in others. So turns
//! come at their recorded times; a chat and those that it goes back to are one session. Memory: two words a chat.

use std::collections::{HashMap, VecDeque};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::blocks::Blocks;
use super::{Format, Layout, ObjectFormat, ObjectReader, parsed};
use crate::workload::spec::TraceOptions;
use crate::workload::streams::combine;
use crate::workload::trace::row::{Problem, Row, Start, from_seconds, token_count};

/// Tokens in a block.
const BLOCK_TOKENS: u32 = 16;

/// Keeps its hashes apart from those of other traces.
const NAMESPACE: u64 = 0x6261_696c_6961_6e00;

/// Qwen-Bailian's traces.
pub(super) const FORMAT: Format = Format {
    name: "bailian",
    title: "Qwen-Bailian's trace",
    layout: Layout::Objects(ObjectFormat {
        recognises,
        reader,
        example: r#"{"chat_id": 159, "parent_chat_id": -1, "timestamp": 61.114, "input_length": 521, "output_length": 132, "type": "text", "turn": 1, "hash_ids": [1089]}"#,
        sort_by: ".timestamp",
    }),
};

#[derive(Deserialize)]
struct Line {
    chat_id: i64,
    parent_chat_id: i64,
    timestamp: f64,
    input_length: u64,
    output_length: u64,
    #[serde(default)]
    hash_ids: Vec<u64>,
}

fn recognises(object: &Map<String, Value>) -> bool {
    object.contains_key("parent_chat_id")
}

fn reader(options: &TraceOptions) -> Box<dyn ObjectReader> {
    let blocks = Blocks::new(NAMESPACE, options.block_tokens.unwrap_or(BLOCK_TOKENS));
    Box::new(Reader { blocks, roots: HashMap::new() })
}

struct Reader {
    blocks: Blocks,
    /// The first chat of its session, by chat.
    roots: HashMap<i64, i64>,
}

impl ObjectReader for Reader {
    fn read(&mut self, object: &[u8], rows: &mut VecDeque<Row>) -> Result<(), Problem> {
        let line: Line = parsed(object, &FORMAT)?;
        let prompt_tokens = token_count("input_length", line.input_length)?;
        let output_tokens = token_count("output_length", line.output_length)?;
        let start_ns = from_seconds(line.timestamp)
            .ok_or_else(|| format!("timestamp is {}, which is beyond 292 years", line.timestamp))?;
        let parent = Some(line.parent_chat_id).filter(|&parent| parent >= 0);
        // A parent from before the trace began is the first of what is left of its session.
        let root = parent.map_or(line.chat_id, |parent| *self.roots.entry(parent).or_insert(parent));
        self.roots.insert(line.chat_id, root);
        rows.push_back(Row {
            start: Start::At(start_ns),
            prompt_tokens,
            output_tokens,
            session: Some(combine(NAMESPACE, root.cast_unsigned())),
            prefix: self.blocks.segments(&line.hash_ids, prompt_tokens, output_tokens)?,
            ..Row::default()
        });
        Ok(())
    }

    fn end(&mut self, _: &mut VecDeque<Row>) -> Result<(), Problem> {
        self.blocks.check()
    }
}
