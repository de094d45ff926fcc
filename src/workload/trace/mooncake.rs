//! Mooncake (FAST'25): lines of JSON with timestamp in milliseconds, `input_length`, `output_length` and `hash_ids`.
//!
//! Each id names a block of 512 prompt tokens and everything before it, so it is a segment's key as it stands. The
//! blocks cover the prompt from its beginning; its last one may be partial.

use oracle_components::request::PrefixSegment;
use serde::Deserialize;

use super::row::{Problem, Row, from_seconds, token_count};
use crate::workload::streams::combine;

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

/// The request in a line.
pub(super) fn row(line: &[u8]) -> Result<Row, Problem> {
    let line: Line = serde_json::from_slice(line).map_err(|error| problem(&error))?;
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
    Ok(Row { time_ns, prompt_tokens, output_tokens, prefix: segments(&line.hash_ids, prompt_tokens), ..Row::default() })
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

/// What `serde_json` says, with the column only: its line is always 1.
fn problem(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    format!(
        "{what} (at column {}); a line must look like \
         {{\"timestamp\": 0, \"input_length\": 6758, \"output_length\": 500, \"hash_ids\": [0, 1]}}",
        error.column()
    )
}
