//! Recorded workloads: a file is read through once to check it, then replayed lazily, a request at a time. What comes
//! through a pipe is kept for that.
//!
//! Owns the timeline: arrivals are relative to the first request and divided by the rate scale, and must not decrease.
//! The laws: whatever is wrong with a file is said by [`TraceSource::open`], before anything runs; memory holds a line
//! and, where a trace names sessions, a few words a session. Should the file change between check and replay, the
//! stream ends there and [`TraceSource::error`] says why. A token count of 0 is an error: vLLM refuses an empty prompt, and
//! an answer of no tokens. No request has a follow-up: later turns are in the file.

mod azure;
mod columns;
pub(super) mod error;
mod feed;
mod generic;
mod lines;
mod mooncake;
mod replay;
mod row;
mod rows;
mod table;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use oracle_components::SimTime;
use oracle_components::request::RequestSpec;
use oracle_systems::ports::{Promises, RequestSource};

pub use error::TraceError;

use super::facts::{Failure, TraceFacts, WorkloadFacts};
use super::spec::TraceWorkload;
use crate::inputs;
use row::Row;
use rows::Rows;

/// Clients that the sessions go round among, as in synthetic profiles.
const CLIENTS: u64 = 100;

/// A source of requests read from a trace.
pub struct TraceSource {
    timeline: Timeline,
    sessions: Sessions,
    facts: TraceFacts,
    profile_name: String,
    limits: Limits,
    streaming: bool,
    timeout: SimTime,
    /// Requests handed out.
    replayed: u64,
}

/// The part of a trace that is replayed.
#[derive(Clone, Copy)]
struct Limits {
    end: SimTime,
    requests: u64,
}

impl TraceSource {
    /// Checks the whole file and opens it at its beginning.
    ///
    /// # Errors
    /// The file cannot be read, is of no known format, has no requests, or has a line that is not a request or comes
    /// before its predecessor.
    pub fn open(workload: &TraceWorkload) -> Result<Self, TraceError> {
        let path = &workload.path;
        if !(workload.rate_scale > 0.0 && workload.rate_scale.is_finite()) {
            return Err(TraceError::RateScale { path: path.clone(), value: workload.rate_scale });
        }
        let timeout = match workload.timeout_s {
            None => SimTime::NEVER,
            Some(seconds) if seconds > 0.0 => SimTime::from_secs_f64(seconds),
            Some(value) => {
                let path = path.clone();
                return Err(TraceError::Timeout { path, value });
            }
        };
        let limits = Limits {
            end: workload.duration.unwrap_or(SimTime::NEVER),
            requests: workload.total_requests.unwrap_or(u64::MAX),
        };
        let timeline = Timeline::new(Rows::open(path, workload.format)?, workload.rate_scale);
        let (facts, timeline) = check(timeline, limits)?;
        Ok(Self {
            timeline,
            sessions: Sessions::default(),
            facts,
            profile_name: inputs::stem(path),
            limits,
            streaming: workload.streaming,
            timeout,
            replayed: 0,
        })
    }

    /// Why the stream ended before the trace did, if it did.
    #[must_use]
    pub fn error(&self) -> Option<&TraceError> {
        self.facts.failure.get()
    }

    /// What the file holds.
    #[must_use]
    pub fn facts(&self) -> WorkloadFacts {
        let span_s = self.facts.last_arrival.as_secs_f64();
        let gaps = self.facts.requests.saturating_sub(1);
        WorkloadFacts {
            profile_names: vec![self.profile_name.clone()],
            expected_requests: Some(self.facts.requests),
            mean_rate_per_s: (span_s > 0.0).then(|| gaps as f64 / span_s),
            trace: Some(self.facts.clone()),
            ..WorkloadFacts::default()
        }
    }

    fn spec(&mut self, arrival: SimTime, row: Row) -> RequestSpec {
        let (session, turn) = self.sessions.turn(row.session);
        let max_output_tokens = row.max_output_tokens.unwrap_or(row.output_tokens);
        RequestSpec {
            arrival,
            profile: 0,
            client: (session % CLIENTS) as u32,
            session,
            turn,
            prompt_tokens: row.prompt_tokens,
            max_output_tokens,
            output_tokens: row.output_tokens.min(max_output_tokens),
            priority: row.priority,
            streaming: self.streaming,
            timeout: row.patience_ns.map_or(self.timeout, |ns| self.timeout.min(SimTime(ns))),
            prefix: row.prefix,
            // A session column says who asks, not that a prompt holds the turns before it.
            tail_key: 0,
        }
    }
}

impl RequestSource for TraceSource {
    fn next_request(&mut self) -> Option<RequestSpec> {
        if self.replayed == self.facts.requests || self.error().is_some() {
            return None;
        }
        let (arrival, row) = match self.timeline.next() {
            Ok(Some(next)) if next.0 < self.limits.end => next,
            // The check found more requests within the limits.
            Ok(_) => {
                self.facts.failure.set(self.timeline.rows.changed());
                return None;
            }
            Err(error) => {
                self.facts.failure.set(error);
                return None;
            }
        };
        self.replayed += 1;
        Some(self.spec(arrival, row))
    }

    fn promises(&self) -> Promises {
        Promises { no_follow_ups: true, streams_only: self.streaming }
    }
}

/// Rows with their arrivals.
struct Timeline {
    rows: Rows,
    rate_scale: f64,
    /// Time stamps of the first row and of the latest.
    span: Option<(i64, i64)>,
}

impl Timeline {
    fn new(rows: Rows, rate_scale: f64) -> Self {
        Self { rows, rate_scale, span: None }
    }

    fn next(&mut self) -> Result<Option<(SimTime, Row)>, TraceError> {
        let Some(row) = self.rows.next()? else {
            return Ok(None);
        };
        let time = row.time_ns;
        let (first, latest) = self.span.unwrap_or((time, time));
        if time < latest {
            return Err(self.rows.out_of_order(latest.abs_diff(time)));
        }
        self.span = Some((first, time));
        Ok(Some((self.arrival(first.abs_diff(time)), row)))
    }

    fn arrival(&self, since_first_ns: u64) -> SimTime {
        if self.rate_scale == 1.0 {
            return SimTime(since_first_ns);
        }
        // `as` saturates.
        SimTime((since_first_ns as f64 / self.rate_scale).round() as u64)
    }
}

/// Reads the file to its end; gives back what it holds and the timeline at its beginning.
fn check(mut timeline: Timeline, limits: Limits) -> Result<(TraceFacts, Timeline), TraceError> {
    let mut facts = TraceFacts {
        rows: 0,
        requests: 0,
        last_arrival: SimTime::ZERO,
        prompt_tokens: 0,
        output_tokens: 0,
        failure: Failure::default(),
    };
    while let Some((arrival, row)) = timeline.next()? {
        facts.rows += 1;
        if arrival < limits.end && facts.requests < limits.requests {
            facts.requests += 1;
            facts.last_arrival = arrival;
            facts.prompt_tokens += u64::from(row.prompt_tokens);
            facts.output_tokens += u64::from(row.output_tokens);
        }
    }
    if facts.rows == 0 {
        return Err(TraceError::NoRequests { path: timeline.rows.path().to_owned() });
    }
    let rows = timeline.rows.rewind()?;
    Ok((facts, Timeline::new(rows, timeline.rate_scale)))
}

/// Numbers sessions in the order of their first turns, and the turns within them.
#[derive(Default)]
struct Sessions {
    count: u64,
    /// By hash of the trace's own name: number, and turns so far.
    named: HashMap<u64, (u64, u32)>,
}

impl Sessions {
    fn turn(&mut self, name: Option<u64>) -> (u64, u32) {
        let number = self.count;
        let Some(name) = name else {
            self.count += 1;
            return (number, 0);
        };
        match self.named.entry(name) {
            Entry::Occupied(mut known) => {
                let (session, turns) = known.get_mut();
                let turn = *turns;
                *turns = turn.saturating_add(1);
                (*session, turn)
            }
            Entry::Vacant(new) => {
                new.insert((number, 1));
                self.count += 1;
                (number, 0)
            }
        }
    }
}
