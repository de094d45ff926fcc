//! Recorded workloads: a file is read through once to check it, then replayed lazily, a request at a time. What comes
//! through a pipe is kept for that.
//!
//! Owns the timeline: arrivals are relative to the first request, once the trace is shaped, and divided by the rate scale.
//! The laws: whatever is wrong with a file is said by [`TraceSource::open`], before anything runs; memory holds a line
//! and, where a trace names sessions, a few words a session. Should the file change between check and replay, the
//! stream ends there and [`TraceSource::error`] says why. A token count of 0 is an error: vLLM refuses an empty prompt, and
//! an answer of no tokens. Where requests wait for others, or say what of a session they hold, [`sessions`] replays them; elsewhere no
//! request has a follow-up.

pub(super) mod containers;
pub(super) mod error;
pub(super) mod formats;
mod opening;
pub(super) mod row;
pub(super) mod rows;
mod servegen;
mod sessions;
mod source;
mod times;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use oracle_components::SimTime;
use oracle_components::record::RequestRecord;
use oracle_components::request::RequestSpec;
use oracle_systems::ports::{Promises, RequestSource};

pub use containers::digest::TraceDigest;
use containers::digest::of_folder;
pub use error::TraceError;

use super::facts::{Failure, TraceFacts, Unsent, WorkloadFacts};
use super::shaping::{Shaped, Shaping};
use super::slo::Slo;
use super::spec::{SessionTimes, TraceWorkload};
use crate::inputs;
use row::{Recorded, Row, Start};
use rows::Rows;
use servegen::ServeGen;

/// Clients that the sessions go round among, as in synthetic profiles.
const CLIENTS: u64 = 100;

/// A source of requests read from a trace.
pub struct TraceSource {
    replay: Replay,
    facts: TraceFacts,
    profile_name: String,
    slo: Slo,
    requests: Requests,
}

/// How a trace is replayed.
enum Replay {
    /// A row after the other.
    Rows { timeline: Box<Timeline>, names: SessionNames, limits: Limits, replayed: u64 },
    /// By sessions.
    Sessions(Box<sessions::Sessions>),
    /// Drawn from ServeGen's clients.
    Clients { clients: ServeGen, limits: Limits, rate_scale: f64, sent: u64 },
}

/// What the requests of a trace have in common.
#[derive(Clone, Copy)]
struct Requests {
    streaming: bool,
    timeout: SimTime,
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
        let requests = Requests { streaming: workload.streaming, timeout };
        let options = &workload.options;
        let (profile_name, slo) = (inputs::stem(path), workload.slo);
        if path.is_dir() {
            if workload.shaping != (Shaping { seed: workload.shaping.seed, ..Shaping::default() }) {
                let problem = "ServeGen's clients are drawn, not recorded: only rate and limits shape them".to_owned();
                return Err(TraceError::Shaping { path: path.clone(), problem });
            }
            let clients = ServeGen::open(path, options.total_rate_per_s, options.seed)?;
            let read = |source| TraceError::Read { path: path.clone(), source };
            let digest = Some(of_folder(path).map_err(read)?);
            let facts = TraceFacts { digest, ..facts_of_clients(&clients, workload, limits) };
            let replay = Replay::Clients { clients, limits, rate_scale: workload.rate_scale, sent: 0 };
            return Ok(Self { replay, facts, profile_name, slo, requests });
        }
        if options.total_rate_per_s.is_some() {
            let problem =
                "total_rate is for a folder of ServeGen's clients; a file has its rate, which rate_scale changes"
                    .to_owned();
            return Err(TraceError::Unfit { path: path.clone(), line: 1, problem });
        }
        let by_session = options.sessions == Some(SessionTimes::Closed) || options.message_mode.is_some();
        let rows = Rows::open(workload)?;
        let raw = rows.raw();
        let timeline = Timeline::new(Shaped::new(rows, &workload.shaping)?, workload.rate_scale);
        let (mut facts, replay) = match check(timeline, limits, workload.streaming, by_session)? {
            Checked::Rows(facts, timeline) => (
                facts,
                Replay::Rows { timeline: Box::new(timeline), names: SessionNames::default(), limits, replayed: 0 },
            ),
            Checked::Sessions(rows) => {
                let sessions = sessions::Sessions::new(rows, options, workload.rate_scale, limits, requests)?;
                (sessions.facts(), Replay::Sessions(Box::new(sessions)))
            }
        };
        facts.digest = Some(raw.digest().map_err(|source| source::read_error(inputs::shown(path), source))?);
        if options.encoder_tokens.is_some_and(|tokens| tokens > 0) && facts.encoder_tokens == 0 {
            let path = inputs::shown(path).display();
            facts
                .remarks
                .push(format!("{path}: --encoder-tokens (encoder_tokens) has no effect: no request has images"));
        }
        Ok(Self { replay, facts, profile_name, slo, requests })
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
        // What waits for answers comes at a rate that these decide.
        let is_timed = self.promises().no_follow_ups;
        let only = [(self.profile_name.clone(), Slo::default())];
        let profiles = if self.facts.profiles.is_empty() { &only[..] } else { &self.facts.profiles };
        WorkloadFacts {
            profile_names: profiles.iter().map(|(name, _)| name.clone()).collect(),
            profile_slos: profiles.iter().map(|&(_, slo)| self.slo.or(slo)).collect(),
            expected_requests: Some(self.facts.requests),
            mean_rate_per_s: (is_timed && span_s > 0.0).then(|| gaps as f64 / span_s),
            encodes_images: self.facts.encoder_tokens > 0,
            trace: Some(self.facts.clone()),
            ..WorkloadFacts::default()
        }
    }
}

impl Requests {
    /// The request of a row, the turn of a session where no run has recorded whose it was.
    fn spec(self, arrival: SimTime, turn: impl FnOnce() -> (u64, u32), row: Row) -> RequestSpec {
        let max_output_tokens = row.max_output_tokens.unwrap_or(row.output_tokens);
        let patience = row.patience_ns.map(SimTime);
        let (recorded, timeout) = match row.recorded {
            // A run's own clients are as patient as they were.
            Some(recorded) => (*recorded, patience.unwrap_or(self.timeout)),
            None => {
                let (session, turn) = turn();
                let client = (session % CLIENTS) as u32;
                // A session column says who asks, not that a prompt holds the turns before it.
                let recorded = Recorded { profile: 0, client, session, turn, streaming: self.streaming, tail_key: 0 };
                (recorded, patience.map_or(self.timeout, |patience| self.timeout.min(patience)))
            }
        };
        RequestSpec {
            arrival,
            profile: recorded.profile,
            client: recorded.client,
            session: recorded.session,
            turn: recorded.turn,
            prompt_tokens: row.prompt_tokens,
            encoder_tokens: row.encoder_tokens,
            max_output_tokens,
            output_tokens: row.output_tokens.min(max_output_tokens),
            priority: row.priority,
            streaming: recorded.streaming,
            timeout,
            prefix: row.prefix,
            tail_key: recorded.tail_key,
        }
    }
}

impl RequestSource for TraceSource {
    fn next_request(&mut self) -> Option<RequestSpec> {
        if self.error().is_some() {
            return None;
        }
        let next = match &mut self.replay {
            Replay::Sessions(sessions) => sessions.next(),
            Replay::Clients { sent, limits, .. } if *sent == limits.requests => return None,
            Replay::Clients { clients, limits, rate_scale, sent } => {
                let next = clients.next().map(|(arrival, row)| (scaled(arrival.0, *rate_scale), row));
                Ok(next.filter(|(arrival, _)| *arrival < limits.end).map(|(arrival, row)| {
                    let session = *sent;
                    *sent += 1;
                    self.requests.spec(arrival, || (session, 0), row)
                }))
            }
            Replay::Rows { replayed, .. } if *replayed == self.facts.requests => return None,
            Replay::Rows { timeline, names, limits, replayed } => match timeline.next() {
                Ok(Some((arrival, row))) if arrival < limits.end => {
                    *replayed += 1;
                    let session = row.session;
                    Ok(Some(self.requests.spec(arrival, || names.turn(session), row)))
                }
                // The check found more requests within the limits.
                Ok(_) => Err(timeline.rows.changed()),
                Err(error) => Err(error),
            },
        };
        next.unwrap_or_else(|error| {
            self.facts.failure.set(error);
            None
        })
    }

    fn follow_ups(&mut self, spec: &RequestSpec, record: &RequestRecord, next: &mut Vec<RequestSpec>) {
        if let Replay::Sessions(sessions) = &mut self.replay {
            sessions.follow_ups(spec, record, next);
        }
    }

    fn promises(&self) -> Promises {
        let no_follow_ups = match &self.replay {
            Replay::Rows { .. } | Replay::Clients { .. } => true,
            Replay::Sessions(sessions) => sessions.all_are_timed(),
        };
        Promises { no_follow_ups, streams_only: self.facts.streams_only }
    }
}

/// Rows with their arrivals.
struct Timeline {
    rows: Shaped,
    rate_scale: f64,
    /// Time stamps of the first row and of the latest.
    span: Option<(i64, i64)>,
    /// It met a row that can only be understood as a part of its session.
    has_sessions: bool,
}

impl Timeline {
    fn new(rows: Shaped, rate_scale: f64) -> Self {
        Self { rows, rate_scale, span: None, has_sessions: false }
    }

    fn next(&mut self) -> Result<Option<(SimTime, Row)>, TraceError> {
        loop {
            let Some(row) = self.rows.next()? else {
                return Ok(None);
            };
            let time = match row.start {
                Start::At(time) if !row.is_of_session() => time,
                _ => {
                    self.has_sessions = true;
                    return Ok(None);
                }
            };
            // A run's own requests keep its time.
            let origin = if row.recorded.is_some() && !self.rows.is_part() { 0 } else { time };
            let (first, latest) = self.span.unwrap_or((origin, origin));
            if time < latest {
                let error = self.rows.out_of_order(latest.abs_diff(time));
                self.rows.tolerate(error)?;
                continue;
            }
            self.span = Some((first, time));
            return Ok(Some((scaled(first.abs_diff(time), self.rate_scale), row)));
        }
    }
}

/// When what was recorded so long after the first request is sent.
fn scaled(since_first_ns: u64, rate_scale: f64) -> SimTime {
    if rate_scale == 1.0 {
        return SimTime(since_first_ns);
    }
    // `as` saturates.
    SimTime((since_first_ns as f64 / rate_scale).round() as u64)
}

/// What is to be expected of clients whose requests are drawn.
fn facts_of_clients(clients: &ServeGen, workload: &TraceWorkload, limits: Limits) -> TraceFacts {
    let end = scaled(clients.end.0, workload.rate_scale);
    let share = if end > limits.end { limits.end.as_secs_f64() / end.as_secs_f64() } else { 1.0 };
    let requests = (clients.expected_requests * share).round() as u64;
    TraceFacts {
        rows: requests,
        requests: requests.min(limits.requests),
        last_arrival: end.min(limits.end),
        prompt_tokens: 0,
        output_tokens: 0,
        encoder_tokens: 0,
        profiles: Vec::new(),
        streams_only: workload.streaming,
        remarks: Vec::new(),
        digest: None,
        unsent: Unsent::default(),
        failure: Failure::default(),
    }
}

/// A trace at its beginning.
enum Checked {
    /// Every row can be replayed by itself; what they hold.
    Rows(TraceFacts, Timeline),
    /// Some are parts of sessions: nothing has been checked yet.
    Sessions(Shaped),
}

/// Reads the file to its end, or to the first row that is a part of a session; `by_session`, all of them are.
fn check(mut timeline: Timeline, limits: Limits, streaming: bool, by_session: bool) -> Result<Checked, TraceError> {
    if by_session {
        return Ok(Checked::Sessions(timeline.rows));
    }
    let mut facts = TraceFacts {
        rows: 0,
        requests: 0,
        last_arrival: SimTime::ZERO,
        prompt_tokens: 0,
        output_tokens: 0,
        encoder_tokens: 0,
        profiles: Vec::new(),
        streams_only: true,
        remarks: Vec::new(),
        digest: None,
        unsent: Unsent::default(),
        failure: Failure::default(),
    };
    while let Some((arrival, row)) = timeline.next()? {
        facts.rows += 1;
        if arrival < limits.end && facts.requests < limits.requests {
            facts.requests += 1;
            facts.last_arrival = arrival;
            facts.prompt_tokens += u64::from(row.prompt_tokens);
            facts.output_tokens += u64::from(row.output_tokens);
            facts.encoder_tokens += u64::from(row.encoder_tokens);
            facts.streams_only &= row.recorded.map_or(streaming, |recorded| recorded.streaming);
        } else if timeline.rows.is_repeating() {
            break;
        }
    }
    if timeline.has_sessions {
        return Ok(Checked::Sessions(timeline.rows.rewind()?));
    }
    if facts.rows == 0 {
        return Err(timeline.rows.nothing_left());
    }
    facts.profiles = timeline.rows.profiles();
    facts.remarks = timeline.rows.remarks();
    let rows = timeline.rows.rewind()?;
    Ok(Checked::Rows(facts, Timeline::new(rows, timeline.rate_scale)))
}

/// Numbers sessions in the order of their first turns, and the turns within them.
#[derive(Default)]
struct SessionNames {
    count: u64,
    /// By hash of the trace's own name: number, and turns so far.
    named: HashMap<u64, (u64, u32)>,
}

impl SessionNames {
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
