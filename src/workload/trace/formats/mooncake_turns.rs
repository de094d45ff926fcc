//! The turns of sessions in Mooncake's trace (AIPerf's `mooncake_trace`; AISimulate's manual, 11.7): lines of one `session_id`, in the
//! order of the file.
//!
//! One with a `delay` (`delay_ms`), or without any time, is sent so many milliseconds after the answer before it, one with a timestamp
//! alone at that time. A line holds the whole prompt, which its `hash_ids` name; without them the prompt holds the conversation so far,
//! which must then fit in it, unless `message_mode` (`history` or `delta`) says something else. In `mooncake-delta`, never told by itself,
//! a later turn has its new tokens only: the prompt is the one before, its answer, and those.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::workload::spec::Clock;
use crate::workload::streams::hash_bytes;
use crate::workload::trace::row::{Context, Problem, Start, from_seconds, pause_ns};

/// What a line says of its place in a session.
#[derive(Deserialize)]
pub(super) struct Turn {
    #[serde(alias = "created_time")]
    pub timestamp: Option<f64>,
    #[serde(alias = "delay_ms")]
    delay: Option<f64>,
    session_id: Option<String>,
    message_mode: Option<Mode>,
    #[serde(default)]
    wait_for: Vec<IgnoredAny>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    History,
    Delta,
}

/// The sessions of a trace.
pub(super) struct Turns {
    delta: bool,
    /// Timestamps of a second.
    per_s: f64,
    /// Those that have had a line, with the latest timestamp of one.
    known: HashMap<u64, f64>,
}

impl Turns {
    /// With `delta`, later turns have their new tokens only.
    pub fn new(delta: bool, clock: Option<Clock>) -> Self {
        let per_s = if clock == Some(Clock::Seconds) { 1.0 } else { 1e3 };
        Self { delta, per_s, known: HashMap::new() }
    }

    /// When a line is sent, of which session it is and what it holds, `is_named` if its `hash_ids` say that.
    pub fn take(&mut self, turn: &Turn, is_named: bool) -> Result<(Start, Option<u64>, Context), Problem> {
        if !turn.wait_for.is_empty() {
            return Err("it waits for other requests; give --trace-format agentic_mooncake".to_owned());
        }
        let session = turn.session_id.as_deref().map(|name| hash_bytes(name.as_bytes()));
        let before = session.and_then(|name| self.known.get(&name).copied());
        if let (Some(before), Some(time), None) = (before, turn.timestamp, turn.delay)
            && time < before
        {
            return Err(format!(
                "timestamp is {time}, but that of the turn before it in its session {before}; sort the file"
            ));
        }
        if let Some(name) = session {
            self.known.insert(name, turn.timestamp.or(before).unwrap_or(f64::NEG_INFINITY));
        }
        let context = match turn.message_mode {
            _ if session.is_none() => Context::Own,
            _ if self.delta => Context::Delta,
            Some(Mode::Delta) => Context::Delta,
            Some(Mode::History) if !is_named => Context::History,
            None if !is_named => Context::Unsaid,
            _ => Context::Own,
        };
        Ok((self.start(turn, before.is_some())?, session, context))
    }

    /// When a line is sent, `is_later` if its session had one before.
    fn start(&self, turn: &Turn, is_later: bool) -> Result<Start, Problem> {
        match (turn.timestamp, turn.delay) {
            (_, Some(delay)) if is_later => {
                Ok(Start::After { requests: Vec::new(), pause_ns: pause_ns("delay", delay, "milliseconds")? })
            }
            (_, Some(delay)) if delay != 0.0 => {
                Err("it has a delay, but its session has no line before it to be answered".to_owned())
            }
            (Some(time), _) => {
                let at = from_seconds(time / self.per_s).map(Start::At);
                at.ok_or_else(|| format!("timestamp is {time}, which is beyond 292 years"))
            }
            (None, _) if is_later => Ok(Start::After { requests: Vec::new(), pause_ns: 0 }),
            (None, _) => Err("missing field `timestamp`: no line of its session comes before it".to_owned()),
        }
    }
}
