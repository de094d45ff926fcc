//! Mooncake (FAST'25; github.com/kvcache-ai/Mooncake): lines of JSON with timestamp in milliseconds, `input_length`, `output_length` and
//! `hash_ids` of blocks of 512 tokens; and the other names that Dynamo and AIPerf take (`created_time`, `input_tokens`, `output_tokens`;
//! dynamo-data-gen 1.4). Its sessions are in [`mooncake_turns`](super::mooncake_turns).
//!
//! A file with these fields and times in seconds (guidellm's traces, Bailian's without their chats) would be a load a thousand times as
//! high. It is refused where its requests would come at a rate that no such trace has, unless the unit is given.

use std::collections::{BTreeMap, VecDeque};

use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};

use super::blocks::Blocks;
use super::mooncake_turns::{Turn, Turns};
use super::{Format, Layout, ObjectFormat, ObjectReader, parsed};
use crate::workload::spec::{Clock, TraceOptions};
use crate::workload::trace::row::{Problem, Row, priority, token_count};

/// Tokens in a block.
pub(super) const BLOCK_TOKENS: u32 = 512;

/// Keeps block ids apart from the keys of synthetic prefixes.
pub(super) const NAMESPACE: u64 = 0x6d6f_6f6e_6361_6b65;

/// Requests a second from which on whole milliseconds are taken for seconds, and those with a fraction. The public traces have 3 to 7.
const MOST_PER_S: f64 = 100.0;
const MOST_PER_S_FRACTIONS: f64 = 20.0;

/// Mooncake's traces.
pub(super) const FORMAT: Format = Format {
    name: "mooncake",
    title: "Mooncake's trace",
    layout: Layout::Objects(ObjectFormat {
        recognises,
        reader: |options| reader(options, false),
        example: EXAMPLE,
        sort_by: ".timestamp",
    }),
};

/// The same, but later turns of a session hold what is new.
pub(super) const DELTA: Format = Format {
    name: "mooncake-delta",
    title: "Mooncake's trace of deltas",
    layout: Layout::Objects(ObjectFormat {
        recognises: |_| false,
        reader: |options| reader(options, true),
        example: EXAMPLE,
        sort_by: ".timestamp",
    }),
};

const EXAMPLE: &str = r#"{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}"#;

#[derive(Deserialize)]
struct Line {
    #[serde(flatten)]
    turn: Turn,
    #[serde(alias = "input_tokens", deserialize_with = "whole")]
    input_length: u64,
    #[serde(alias = "output_tokens", deserialize_with = "whole")]
    output_length: u64,
    hash_ids: Option<Vec<u64>>,
    priority: Option<i64>,
    #[serde(flatten)]
    rest: BTreeMap<String, IgnoredAny>,
}

/// A number without a fraction, which tables that once held a gap write with one of zero.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = Number::deserialize(deserializer)?;
    let whole = number.as_f64().filter(|float| *float >= 0.0 && float.fract() == 0.0).map(|float| float as u64);
    number.as_u64().or(whole).ok_or_else(|| D::Error::custom(format!("{number} is no whole number of tokens")))
}

/// What to do about a request that is given by its text.
fn of_text(object: &[u8]) -> Option<Problem> {
    let object: Map<String, Value> = serde_json::from_slice(object).ok()?;
    let has = |keys: [&str; 2]| keys.iter().any(|key| object.contains_key(*key));
    let is_text = has(["text_input", "messages"]) && !has(["input_length", "input_tokens"]);
    let problem = "it has a text and no input_length: count its tokens with the model's tokenizer, and write them as input_length";
    is_text.then(|| problem.to_owned())
}

fn recognises(object: &Map<String, Value>) -> bool {
    ["input_length", "output_length"].iter().any(|key| object.contains_key(*key))
        || ["created_time", "input_tokens", "output_tokens"].iter().all(|key| object.contains_key(*key))
}

fn reader(options: &TraceOptions, delta: bool) -> Box<dyn ObjectReader> {
    Box::new(Reader {
        blocks: Blocks::new(NAMESPACE, options.block_tokens.unwrap_or(BLOCK_TOKENS)),
        turns: Turns::new(delta, options.clock),
        clock: options.clock,
        span_ms: None,
        requests: 0,
        has_fractions: false,
        ignored: BTreeMap::new(),
    })
}

struct Reader {
    blocks: Blocks,
    turns: Turns,
    clock: Option<Clock>,
    /// Timestamps of the first request and of the latest.
    span_ms: Option<(f64, f64)>,
    requests: u64,
    has_fractions: bool,
    ignored: BTreeMap<String, IgnoredAny>,
}

impl ObjectReader for Reader {
    fn read(&mut self, object: &[u8], rows: &mut VecDeque<Row>) -> Result<(), Problem> {
        let mut line: Line = parsed(object, &FORMAT).map_err(|problem| of_text(object).unwrap_or(problem))?;
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

    fn remarks(&self) -> Vec<String> {
        let rate_per_s = self.rate_per_s().filter(|rate| self.clock.is_none() && *rate > MOST_PER_S_FRACTIONS);
        let remark = |rate| {
            format!(
                "its timestamps are taken for milliseconds: {rate:.0} requests a second; if they are seconds, give --trace-time-unit s"
            )
        };
        rate_per_s.map(remark).into_iter().collect()
    }
}

impl Reader {
    fn row(&mut self, line: &Line) -> Result<Row, Problem> {
        let prompt_tokens = token_count("input_length", line.input_length)?;
        let output_tokens = token_count("output_length", line.output_length)?;
        let hash_ids = line.hash_ids.as_deref().unwrap_or_default();
        let (start, session, context) = self.turns.take(&line.turn, !hash_ids.is_empty())?;
        if let Some(timestamp) = line.turn.timestamp {
            let first = self.span_ms.map_or(timestamp, |(first, _)| first);
            self.span_ms = Some((first, timestamp));
            self.requests += 1;
            self.has_fractions |= timestamp.fract() != 0.0;
        }
        let rank = line.priority.map(|number| priority("priority", &number.to_string())).transpose()?;
        Ok(Row {
            start,
            session,
            context,
            prompt_tokens,
            output_tokens,
            priority: rank.unwrap_or(0),
            prefix: self.blocks.segments(hash_ids, prompt_tokens, output_tokens)?,
            ..Row::default()
        })
    }

    /// Requests a second, if timestamps are milliseconds.
    fn rate_per_s(&self) -> Option<f64> {
        let (first, last) = self.span_ms.filter(|(first, last)| last > first)?;
        Some((self.requests - 1) as f64 / (last - first) * 1e3)
    }

    /// Refuses what looks like seconds.
    fn check_clock(&self) -> Result<(), Problem> {
        let Some((first, last)) = self.span_ms.filter(|_| self.clock.is_none()) else { return Ok(()) };
        let Some(rate_per_s) = self.rate_per_s() else { return Ok(()) };
        let (most, fractions) =
            if self.has_fractions { (MOST_PER_S_FRACTIONS, ", some with fractions") } else { (MOST_PER_S, "") };
        if rate_per_s <= most {
            return Ok(());
        }
        Err(format!(
            "its {} timestamps, from {first} to {last}{fractions}, look like seconds: as the milliseconds of this format they would be \
             {rate_per_s:.0} requests a second; give --trace-time-unit s, or ms if it is so (time_unit)",
            self.requests
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{read, read_with, refused};
    use super::*;
    use crate::workload::trace::row::{Context, Start};

    fn after(ms: u64) -> Start {
        Start::After { requests: Vec::new(), pause_ns: ms * 1_000_000 }
    }

    #[test]
    fn other_names_and_sizes_of_blocks() {
        let plain =
            read(&FORMAT, &[r#"{"timestamp": 10, "input_length": 655, "output_length": 52, "hash_ids": [1, 2]}"#]);
        let renamed =
            read(&FORMAT, &[r#"{"created_time": 10, "input_tokens": 655, "output_tokens": 52, "hash_ids": [1, 2]}"#]);
        assert_eq!(plain, renamed);
        let options = TraceOptions { block_tokens: Some(64), ..TraceOptions::default() };
        let ids = r#"{"timestamp": 0, "input_length": 130, "output_length": 52, "hash_ids": [1, 2, 3]}"#;
        let small = read_with(&FORMAT, &options, &[ids]);
        assert_eq!(small[0].prefix.iter().map(|segment| segment.tokens).collect::<Vec<_>>(), [64, 64, 2]);
        assert!(refused(&FORMAT, ids).contains("3 hash_ids for 182 tokens"));
    }

    #[test]
    fn turns_follow_the_answer_or_their_times() {
        let rows = read(
            &FORMAT,
            &[
                r#"{"session_id": "a", "timestamp": 5, "input_length": 655, "output_length": 52, "priority": 3}"#,
                r#"{"session_id": "a", "delay": 1500, "input_length": 900, "output_length": 26}"#,
                r#"{"session_id": "b", "timestamp": 7, "input_length": 100, "output_length": 26, "hash_ids": [1]}"#,
                r#"{"session_id": "b", "timestamp": 9, "delay_ms": 2.5, "input_length": 200, "output_length": 26, "hash_ids": [1]}"#,
                r#"{"session_id": "a", "timestamp": 4000, "input_length": 1000, "output_length": 26, "message_mode": "history"}"#,
                r#"{"session_id": "a", "input_length": 10, "output_length": 26, "message_mode": "delta"}"#,
            ],
        );
        let starts: Vec<Start> = rows.iter().map(|row| row.start.clone()).collect();
        let delay = Start::After { requests: Vec::new(), pause_ns: 2_500_000 };
        assert_eq!(
            starts,
            [Start::At(5_000_000), after(1500), Start::At(7_000_000), delay, Start::At(4_000_000_000), after(0)]
        );
        let contexts: Vec<Context> = rows.iter().map(|row| row.context).collect();
        use Context::{Delta, History, Own, Unsaid};
        assert_eq!(contexts, [Unsaid, Unsaid, Own, Own, History, Delta]);
        assert_eq!(rows[0].priority, 3);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |line: &str| refused(&FORMAT, line);
        assert!(wrong(r#"{"input_length": 1, "output_length": 1}"#).contains("missing field `timestamp`"));
        assert!(
            wrong(r#"{"session_id": "a", "delay": 3, "input_length": 1, "output_length": 1}"#)
                .contains("no line before")
        );
        let waits = r#"{"timestamp": 0, "input_length": 1, "output_length": 1, "wait_for": ["a"]}"#;
        assert!(wrong(waits).contains("agentic_mooncake"));
        assert!(wrong(r#"{"timestamp": 0, "input_length": 0, "output_length": 1}"#).contains("input_length is 0"));
    }
}
