//! Qwen-Bailian (github.com/alibaba-edu/qwen-bailian-usagetraces-anon): lines of JSON with chat_id, parent_chat_id (−1: a first turn),
//! timestamp in **seconds**, input_length, output_length, type, turn and hash_ids of blocks of 16 tokens.
//!
//! Every row is the complete prompt, the conversation so far included, and its hashes say what of it is the same as in others. So turns
//! come at their recorded times; a chat and those that it goes back to are one session. Memory: three words a chat.

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
    Box::new(Reader { blocks, chats: HashMap::new(), orphans: 0 })
}

struct Reader {
    blocks: Blocks,
    chats: HashMap<i64, Chat>,
    /// Chats that go on from one that had no row before.
    orphans: u64,
}

/// A chat that has a row, or that another goes on from.
#[derive(Clone, Copy)]
struct Chat {
    /// The first of its session.
    root: i64,
    has_row: bool,
}

impl ObjectReader for Reader {
    fn read(&mut self, object: &[u8], rows: &mut VecDeque<Row>) -> Result<(), Problem> {
        let line: Line = parsed(object, &FORMAT)?;
        let prompt_tokens = token_count("input_length", line.input_length)?;
        let output_tokens = token_count("output_length", line.output_length)?;
        let start_ns = from_seconds(line.timestamp)
            .ok_or_else(|| format!("timestamp is {}, which is beyond 292 years", line.timestamp))?;
        let parent = Some(line.parent_chat_id).filter(|&parent| parent >= 0);
        let root = self.root(line.chat_id, parent)?;
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

    fn remarks(&self) -> Vec<String> {
        let remark = "chats go on from one that has no row above them: what is left of such a conversation is a session, its prompts whole";
        (self.orphans > 0).then(|| format!("{} {remark}", self.orphans)).into_iter().collect()
    }
}

impl Reader {
    /// The first chat of the session that a chat belongs to.
    fn root(&mut self, chat: i64, parent: Option<i64>) -> Result<i64, Problem> {
        match self.chats.get(&chat) {
            Some(Chat { has_row: true, .. }) => return Err(format!("another row has chat_id {chat} too")),
            Some(_) => return Err(format!("a row above goes on from chat_id {chat}, which must come before it")),
            None if parent == Some(chat) => return Err(format!("chat_id {chat} is its own parent")),
            None => {}
        }
        // A parent from before the trace began is the first of what is left of its session.
        let root = parent.map_or(chat, |parent| {
            let before = self.chats.entry(parent).or_insert_with(|| {
                self.orphans += 1;
                Chat { root: parent, has_row: false }
            });
            before.root
        });
        self.chats.insert(chat, Chat { root, has_row: true });
        Ok(root)
    }
}
