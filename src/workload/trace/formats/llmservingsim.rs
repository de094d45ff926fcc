//! LLMServingSim 2.0 (github.com/casys-kaist/LLMServingSim; `dataset/*.jsonl`): input_toks, output_toks, arrival_time_ns, and if it likes
//! input_tok_ids, by which prompts share their beginnings. Its sessions with `sub_requests` are another format.

use std::collections::VecDeque;

use oracle_components::request::PrefixSegment;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Format, Layout, ObjectFormat, ObjectReader, parsed};
use crate::workload::spec::TraceOptions;
use crate::workload::streams::combine;
use crate::workload::trace::row::{Problem, Row, Start, token_count};

/// Keeps the keys of its tokens apart from those of other traces.
const NAMESPACE: u64 = 0x6c6c_6d73_6572_7669;

/// Tokens that a key names, where nobody says: the block of vLLM.
const BLOCK_TOKENS: u32 = 16;

/// LLMServingSim's flat traces.
pub(super) const FORMAT: Format = Format {
    name: "llmservingsim",
    title: "LLMServingSim's trace",
    layout: Layout::Objects(ObjectFormat {
        recognises,
        reader,
        example: r#"{"input_toks": 128, "output_toks": 64, "arrival_time_ns": 1000000}"#,
        sort_by: ".arrival_time_ns",
    }),
};

#[derive(Deserialize)]
struct Line {
    input_toks: u64,
    output_toks: u64,
    arrival_time_ns: i64,
    #[serde(default)]
    input_tok_ids: Vec<u64>,
}

fn recognises(object: &Map<String, Value>) -> bool {
    object.contains_key("input_toks") && !object.contains_key("sub_requests")
}

fn reader(options: &TraceOptions) -> Box<dyn ObjectReader> {
    Box::new(Reader { block_tokens: options.block_tokens.unwrap_or(BLOCK_TOKENS) })
}

struct Reader {
    block_tokens: u32,
}

impl ObjectReader for Reader {
    fn read(&mut self, object: &[u8], rows: &mut VecDeque<Row>) -> Result<(), Problem> {
        let line: Line = parsed(object, &FORMAT)?;
        let prompt_tokens = token_count("input_toks", line.input_toks)?;
        let ids = line.input_tok_ids.len() as u64;
        if ids > 0 && ids != line.input_toks {
            return Err(format!("it has {ids} input_tok_ids for {} input_toks", line.input_toks));
        }
        rows.push_back(Row {
            start: Start::At(line.arrival_time_ns),
            prompt_tokens,
            output_tokens: token_count("output_toks", line.output_toks)?,
            prefix: segments(&line.input_tok_ids, self.block_tokens),
            ..Row::default()
        });
        Ok(())
    }
}

/// Tokens as segments whose keys name all up to their end.
fn segments(ids: &[u64], block_tokens: u32) -> Vec<PrefixSegment> {
    let mut key = NAMESPACE;
    let blocks = ids.chunks(block_tokens as usize);
    blocks
        .map(|block| {
            key = block.iter().fold(key, |key, &id| combine(key, id)).max(1);
            PrefixSegment { key, tokens: block.len() as u32 }
        })
        .collect()
}
