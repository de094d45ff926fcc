//! Mooncake (FAST'25): lines of JSON with timestamp in milliseconds, `input_length`, `output_length` and `hash_ids`.
//!
//! Each id names a block of 512 prompt tokens and everything before it, so it is a segment's key as it stands. The
//! blocks cover the prompt from its beginning; its last one may be partial.

use std::collections::VecDeque;

use oracle_components::request::PrefixSegment;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Format, Layout, ObjectFormat, ObjectReader, parsed};
use crate::workload::spec::TraceOptions;
use crate::workload::streams::combine;
use crate::workload::trace::row::{Problem, Row, Start, from_seconds, token_count};

/// Mooncake's traces.
pub(super) const FORMAT: Format = Format {
    name: "mooncake",
    title: "Mooncake's trace",
    layout: Layout::Objects(ObjectFormat {
        recognises,
        reader,
        example: r#"{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}"#,
        sort_by: ".timestamp",
    }),
};

/// Tokens in a block.
const BLOCK_TOKENS: u32 = 512;

/// Keeps block ids apart from the keys of synthetic prefixes.
const NAMESPACE: u64 = 0x6d6f_6f6e_6361_6b65;

#[derive(Deserialize)]
struct Line {
    timestamp: f64,
    input_length: u64,
    output_length: u64,
    #[serde(default)]
    hash_ids: Vec<u64>,
}

fn recognises(object: &Map<String, Value>) -> bool {
    ["timestamp", "input_length", "output_length"].iter().any(|key| object.contains_key(*key))
}

fn reader(_: &TraceOptions) -> Box<dyn ObjectReader> {
    Box::new(Reader)
}

struct Reader;

impl ObjectReader for Reader {
    fn read(&mut self, object: &[u8], rows: &mut VecDeque<Row>) -> Result<(), Problem> {
        rows.push_back(row(&parsed(object)?)?);
        Ok(())
    }
}

/// The request in a line.
fn row(line: &Line) -> Result<Row, Problem> {
    let prompt_tokens = token_count("input_length", line.input_length)?;
    let output_tokens = token_count("output_length", line.output_length)?;
    let time_ns = from_seconds(line.timestamp / 1e3)
        .ok_or_else(|| format!("timestamp is {}; that many milliseconds are beyond 292 years", line.timestamp))?;
    // Some traces name the blocks of the answer too; more than those means blocks of another size.
    let possible = (line.input_length + line.output_length).div_ceil(u64::from(BLOCK_TOKENS));
    let blocks = line.hash_ids.len();
    if blocks as u64 > possible.max(1) {
        return Err(format!(
            "it has {blocks} hash_ids for {} tokens, but each names a block of {BLOCK_TOKENS}; \
             a trace with smaller blocks must be converted",
            line.input_length + line.output_length
        ));
    }
    Ok(Row {
        start: Start::At(time_ns),
        prompt_tokens,
        output_tokens,
        prefix: segments(&line.hash_ids, prompt_tokens),
        ..Row::default()
    })
}

fn segments(hash_ids: &[u64], prompt_tokens: u32) -> Vec<PrefixSegment> {
    let blocks = prompt_tokens.div_ceil(BLOCK_TOKENS);
    hash_ids
        .iter()
        .zip(0..blocks)
        .map(|(&id, block)| PrefixSegment {
            key: combine(NAMESPACE, id).max(1),
            tokens: BLOCK_TOKENS.min(prompt_tokens - block * BLOCK_TOKENS),
        })
        .collect()
}
