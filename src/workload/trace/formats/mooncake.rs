//! Mooncake (FAST'25; github.com/kvcache-ai/Mooncake): lines of JSON with timestamp in milliseconds, `input_length`, `output_length` and
//! `hash_ids` of blocks of 512 tokens; and the other names that Dynamo and AIPerf take (`created_time`, `input_tokens`, `output_tokens`;
//! dynamo-data-gen 1.4).
//!
//! A file with these fields and times in seconds (guidellm's traces, Bailian's without their chats) would be a load a thousand times as
//! high. It is refused where its requests would come at a rate that no such trace has, unless the unit is given.

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::blocks::Blocks;
use super::{Format, Layout, ObjectFormat, ObjectReader, parsed};
use crate::workload::spec::{Clock, TraceOptions};
use crate::workload::trace::row::{Problem, Row, Start, from_seconds, priority, token_count};

/// Tokens in a block.
const BLOCK_TOKENS: u32 = 512;

/// Keeps block ids apart from the keys of synthetic prefixes.
const NAMESPACE: u64 = 0x6d6f_6f6e_6361_6b65;

/// Requests a second from which on whole milliseconds are taken for seconds, and those with a fraction. The public traces have 3 to 7.
const MOST_PER_S: f64 = 100.0;
const MOST_PER_S_FRACTIONS: f64 = 20.0;

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

#[derive(Deserialize)]
struct Line {
    #[serde(alias = "created_time")]
    timestamp: f64,
    #[serde(alias = "input_tokens")]
    input_length: u64,
    #[serde(alias = "output_tokens")]
    output_length: u64,
    #[serde(default)]
    hash_ids: Vec<u64>,
    priority: Option<i64>,
    #[serde(flatten)]
    rest: BTreeMap<String, IgnoredAny>,
}

fn recognises(object: &Map<String, Value>) -> bool {
    ["input_length", "output_length"].iter().any(|key| object.contains_key(*key))
        || ["created_time", "input_tokens", "output_tokens"].iter().all(|key| object.contains_key(*key))
}

fn reader(options: &TraceOptions) -> Box<dyn ObjectReader> {
    Box::new(Reader {
        blocks: Blocks::new(NAMESPACE, options.block_tokens.unwrap_or(BLOCK_TOKENS)),
        clock: options.clock,
        span_ms: None,
        requests: 0,
        has_fractions: false,
        ignored: BTreeMap::new(),
    })
}

struct Reader {
    blocks: Blocks,
    clock: Option<Clock>,
    /// Timestamps of the first request and of the latest.
    span_ms: Option<(f64, f64)>,
    requests: u64,
    has_fractions: bool,
    ignored: BTreeMap<String, IgnoredAny>,
}

impl ObjectReader for Reader {
    fn read(&mut self, object: &[u8], rows: &mut VecDeque<Row>) -> Result<(), Problem> {
        let mut line: Line = parsed(object, &FORMAT)?;
        self.ignored.append(&mut line.rest);
        rows.push_back(self.row(&line)?);
        Ok(())
    }

    fn end(&mut self, _: &mut VecDeque<Row>) -> Result<(), Problem> {
        self.check_clock()?;
        self.blocks.check()
    }

    fn ignored(&self) -> Vec<String> {
        self.ignored.keys().cloned().collect()
    }
}

impl Reader {
    fn row(&mut self, line: &Line) -> Result<Row, Problem> {
        let prompt_tokens = token_count("input_length", line.input_length)?;
        let output_tokens = token_count("output_length", line.output_length)?;
        let per_s = if self.clock == Some(Clock::Seconds) { 1.0 } else { 1e3 };
        let start_ns = from_seconds(line.timestamp / per_s)
            .ok_or_else(|| format!("timestamp is {}, which is beyond 292 years", line.timestamp))?;
        let first = self.span_ms.map_or(line.timestamp, |(first, _)| first);
        self.span_ms = Some((first, line.timestamp));
        self.requests += 1;
        self.has_fractions |= line.timestamp.fract() != 0.0;
        let rank = line.priority.map(|number| priority("priority", &number.to_string())).transpose()?;
        Ok(Row {
            start: Start::At(start_ns),
            prompt_tokens,
            output_tokens,
            priority: rank.unwrap_or(0),
            prefix: self.blocks.segments(&line.hash_ids, prompt_tokens, output_tokens)?,
            ..Row::default()
        })
    }

    /// Refuses what looks like seconds.
    fn check_clock(&self) -> Result<(), Problem> {
        let Some((first, last)) = self.span_ms.filter(|_| self.clock.is_none()) else { return Ok(()) };
        let rate_per_s = (self.requests - 1) as f64 / (last - first) * 1e3;
        let (most, fractions) =
            if self.has_fractions { (MOST_PER_S_FRACTIONS, ", some with fractions") } else { (MOST_PER_S, "") };
        if last <= first || rate_per_s <= most {
            return Ok(());
        }
        Err(format!(
            "its {} timestamps, from {first} to {last}{fractions}, look like seconds: as the milliseconds of this format they would be \
             {rate_per_s:.0} requests a second; give --trace-time-unit s, or ms if it is so (time_unit)",
            self.requests
        ))
    }
}
