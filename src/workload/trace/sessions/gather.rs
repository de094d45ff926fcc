//! The check of a trace with sessions: all rows are read once and kept by session in a [`Store`]; whatever is wrong with them is
//! said here, before anything runs.
//!
//! Requests that wait for each other, or are of one session, are kept and opened together: as a session, then, counts whatever
//! hangs together. Memory while it reads: some 60 bytes a session, 24 for each name of a session or of a request. Afterwards 40
//! bytes a session.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::io;

use oracle_components::request::PrefixSegment;
use serde::{Deserialize, Serialize};

use super::graph::{Wait, cycle};
use super::store::{Chain, Records, Store};
use crate::workload::distribution::MAX_TOKENS;
use crate::workload::shaping::Shaped;
use crate::workload::spec::{MessageMode, SessionTimes, TraceOptions};
use crate::workload::trace::error::TraceError;
use crate::workload::trace::row::{Context, Problem, Row, Start};

/// A request as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Its number in the file, and the line it is on.
    number: u64,
    line: u64,
    pub start: KeptStart,
    id: Option<u64>,
    /// The session's name.
    pub session: Option<u64>,
    /// Its prompt goes on where the request before it in its session ended.
    pub continues: bool,
    prompt_tokens: u32,
    encoder_tokens: u32,
    output_tokens: u32,
    max_output_tokens: Option<u32>,
    priority: i32,
    patience_ns: Option<u64>,
    prefix: Vec<(u64, u32)>,
}

/// When a request is sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum KeptStart {
    /// At this time stamp.
    At(i64),
    /// So long after the last of those is answered.
    After { requests: Vec<u64>, pause_ns: u64 },
    /// So long after the one before it in its session is answered, and not before that time stamp.
    Next { pause_ns: u64, not_before: Option<i64> },
}

impl Kept {
    /// The row that it was, but for when it is sent and what it holds.
    pub fn row(&self) -> Row {
        Row {
            prompt_tokens: self.prompt_tokens,
            encoder_tokens: self.encoder_tokens,
            output_tokens: self.output_tokens,
            max_output_tokens: self.max_output_tokens,
            priority: self.priority,
            patience_ns: self.patience_ns,
            prefix: self.prefix.iter().map(|&(key, tokens)| PrefixSegment { key, tokens }).collect(),
            ..Row::default()
        }
    }
}

/// A session to be opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    /// Its first request's time stamp.
    pub first_ns: i64,
    first_number: u64,
    chain: Chain,
}

/// All sessions of a trace, in the order in which they begin.
pub(super) struct Gathered {
    pub sessions: Vec<Session>,
    records: Records,
    /// The first time stamp of all.
    pub first_ns: i64,
    pub requests: u64,
    pub prompt_tokens: u64,
    pub output_tokens: u64,
    pub encoder_tokens: u64,
    /// Sent at a time of their own.
    pub timed: u64,
    /// The last of their time stamps.
    pub last_ns: i64,
    /// What a user should know of how it was read.
    pub remarks: Vec<String>,
}

/// Reads all that is left of `rows`.
///
/// # Errors
/// A line is no request, names what is not there, or waits for itself.
pub(super) fn gather(rows: &mut Shaped, options: &TraceOptions) -> Result<Gathered, TraceError> {
    let unkept = |rows: &Shaped, source| TraceError::Read { path: rows.path().to_owned(), source };
    let mut gathering = Gathering::new(options).map_err(|source| unkept(rows, source))?;
    while let Some(row) = rows.next()? {
        let line = rows.line();
        match gathering.take(row, line) {
            Ok(()) => {}
            Err(Fault::Problem(problem)) => {
                let error = rows.line_error(problem);
                rows.tolerate(error)?;
            }
            Err(Fault::Store(source)) => return Err(unkept(rows, source)),
        }
    }
    if gathering.number == 0 {
        return Err(rows.nothing_left());
    }
    let graph = |(line, problem)| TraceError::Unfit { path: rows.path().to_owned(), line, problem };
    gathering.all_are_there().map_err(graph)?;
    let has_forward = gathering.groups.iter().any(|group| group.forward);
    let mut gathered = gathering.finish().map_err(|source| unkept(rows, source))?;
    gathered.remarks = rows.remarks();
    if has_forward {
        gathered.check_cycles().map_err(|fault| match fault {
            CycleFault::At(line) => {
                graph((line, "it waits, by way of others, for itself; take one of the waits out".to_owned()))
            }
            CycleFault::Store(source) => unkept(rows, source),
        })?;
    }
    Ok(gathered)
}

enum Fault {
    Problem(Problem),
    Store(io::Error),
}

enum CycleFault {
    At(u64),
    Store(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Store(error)
    }
}

/// Rows that hang together.
struct Group {
    chain: Chain,
    first_ns: Option<i64>,
    first_number: u64,
    /// The group that this one is a part of; itself, if of none.
    within: u32,
    /// Some wait for one further down.
    forward: bool,
}

/// A session's name, as far as it has been read.
struct Named {
    group: u32,
    /// Tokens of the last prompt and its answer.
    held: u64,
    time_ns: Option<i64>,
}

/// A request's name: of a line, or of a line that waits for it.
struct Id {
    group: u32,
    line: u64,
    is_there: bool,
}

struct Gathering {
    times: Option<SessionTimes>,
    mode: Option<MessageMode>,
    store: Store,
    groups: Vec<Group>,
    sessions: HashMap<u64, Named>,
    ids: HashMap<u64, Id>,
    number: u64,
    prompt_tokens: u64,
    output_tokens: u64,
    encoder_tokens: u64,
    timed: u64,
    span: Option<(i64, i64)>,
}

impl Gathering {
    fn new(options: &TraceOptions) -> io::Result<Self> {
        Ok(Self {
            times: options.sessions,
            mode: options.message_mode,
            store: Store::new()?,
            groups: Vec::new(),
            sessions: HashMap::new(),
            ids: HashMap::new(),
            number: 0,
            prompt_tokens: 0,
            output_tokens: 0,
            encoder_tokens: 0,
            timed: 0,
            span: None,
        })
    }

    fn take(&mut self, row: Row, line: u64) -> Result<(), Fault> {
        if row.recorded.is_some() {
            let problem = "a run's own requests are replayed as they were; leave sessions and message_mode out";
            return Err(Fault::Problem(problem.to_owned()));
        }
        let group = self.group_of(&row, line)?;
        let before = row.session.and_then(|name| self.sessions.get(&name)).filter(|named| named.held > 0);
        let context = match self.mode {
            Some(MessageMode::History) if row.session.is_some() => Context::History,
            Some(MessageMode::Delta) if row.session.is_some() => Context::Delta,
            _ => row.context,
        };
        let (prompt_tokens, continues) =
            prompt(context, row.prompt_tokens, before.map(|named| named.held)).map_err(Fault::Problem)?;
        let start = self.start(row.start, before).map_err(Fault::Problem)?;
        let time_ns = match start {
            KeptStart::At(ns) => {
                self.timed += 1;
                let (first, last) = self.span.unwrap_or((ns, ns));
                self.span = Some((first.min(ns), last.max(ns)));
                Some(ns)
            }
            KeptStart::Next { not_before, .. } => not_before,
            KeptStart::After { .. } => None,
        };
        if let Some(name) = row.session {
            let held = u64::from(prompt_tokens) + u64::from(row.output_tokens);
            self.sessions.insert(name, Named { group, held, time_ns });
        }
        let number = self.number;
        self.number += 1;
        self.prompt_tokens += u64::from(prompt_tokens);
        self.output_tokens += u64::from(row.output_tokens);
        self.encoder_tokens += u64::from(row.encoder_tokens);
        let kept = Kept {
            number,
            line,
            continues,
            prompt_tokens,
            encoder_tokens: row.encoder_tokens,
            id: row.id,
            session: row.session,
            output_tokens: row.output_tokens,
            max_output_tokens: row.max_output_tokens,
            priority: row.priority,
            patience_ns: row.patience_ns,
            prefix: row.prefix.iter().map(|segment| (segment.key, segment.tokens)).collect(),
            start,
        };
        let of_group = &mut self.groups[group as usize];
        if let KeptStart::At(ns) = kept.start
            && of_group.first_ns.is_none_or(|first| ns < first)
        {
            of_group.first_ns = Some(ns);
        }
        of_group.first_number = of_group.first_number.min(number);
        Ok(self.store.append(&mut of_group.chain, &kept)?)
    }

    /// When a request is sent, `before` being what is known of its session.
    fn start(&self, start: Start, before: Option<&Named>) -> Result<KeptStart, Problem> {
        match (start, before) {
            (Start::At(ns), Some(named)) if self.times == Some(SessionTimes::Closed) => {
                if let Some(earlier) = named.time_ns.filter(|&before| ns < before) {
                    return Err(format!(
                        "it comes {} s before the turn above it in its session; sort the file",
                        earlier.abs_diff(ns) as f64 / 1e9
                    ));
                }
                Ok(KeptStart::Next { pause_ns: 0, not_before: Some(ns) })
            }
            (Start::At(ns), _) => Ok(KeptStart::At(ns)),
            (Start::After { .. }, _) if self.times == Some(SessionTimes::Open) => {
                Err("sessions: open sends requests at recorded times, and it has none; leave that key out".to_owned())
            }
            (Start::After { requests, pause_ns }, None) if requests.is_empty() => Err(format!(
                "its session has no request before it, so it needs a time of its own{}",
                if pause_ns > 0 { ", not a delay" } else { "" }
            )),
            (Start::After { requests, pause_ns }, _) if requests.is_empty() => {
                Ok(KeptStart::Next { pause_ns, not_before: None })
            }
            (Start::After { requests, pause_ns }, _) => Ok(KeptStart::After { requests, pause_ns }),
        }
    }

    /// The group of a row: that of its session, of its name and of all that it waits for, which become one.
    fn group_of(&mut self, row: &Row, line: u64) -> Result<u32, Fault> {
        let mut group = row.session.and_then(|name| self.sessions.get(&name)).map(|named| named.group);
        if let Some(id) = row.id {
            if let Some(known) = self.ids.get(&id).filter(|known| known.is_there) {
                let problem = format!("its name is that of the request on line {}; names must differ", known.line);
                return Err(Fault::Problem(problem));
            }
            group = self.joined(group, self.ids.get(&id).map(|waited_for| waited_for.group))?;
        }
        let others: &[u64] = if let Start::After { requests, .. } = &row.start { requests } else { &[] };
        for other in others {
            group = self.joined(group, self.ids.get(other).map(|known| known.group))?;
        }
        let group = match group {
            Some(group) => self.root(group),
            None => self.new_group(),
        };
        for &other in others {
            if let Slot::Vacant(unknown) = self.ids.entry(other) {
                unknown.insert(Id { group, line, is_there: false });
            }
            self.groups[group as usize].forward |= !self.ids[&other].is_there;
        }
        if let Some(id) = row.id {
            self.ids.insert(id, Id { group, line, is_there: true });
        }
        Ok(group)
    }

    fn new_group(&mut self) -> u32 {
        let group = self.groups.len() as u32;
        self.groups.push(Group {
            chain: Chain::default(),
            first_ns: None,
            first_number: u64::MAX,
            within: group,
            forward: false,
        });
        group
    }

    fn root(&mut self, mut group: u32) -> u32 {
        while self.groups[group as usize].within != group {
            let above = self.groups[group as usize].within;
            self.groups[group as usize].within = self.groups[above as usize].within;
            group = above;
        }
        group
    }

    /// One group of two that may be there.
    fn joined(&mut self, one: Option<u32>, other: Option<u32>) -> Result<Option<u32>, Fault> {
        let (Some(one), Some(other)) = (one, other) else { return Ok(one.or(other)) };
        let (into, from) = (self.root(one), self.root(other));
        if into != from {
            let gone = &mut self.groups[from as usize];
            gone.within = into;
            let (chain, first_ns, first_number, forward) =
                (std::mem::take(&mut gone.chain), gone.first_ns.take(), gone.first_number, gone.forward);
            let group = &mut self.groups[into as usize];
            self.store.join(&mut group.chain, chain)?;
            group.first_ns = group.first_ns.into_iter().chain(first_ns).min();
            group.first_number = group.first_number.min(first_number);
            group.forward |= forward;
        }
        Ok(Some(into))
    }

    /// Whether every request that is waited for is in the file; else the line that waits.
    fn all_are_there(&self) -> Result<(), (u64, Problem)> {
        let missing = self.ids.values().filter(|id| !id.is_there).map(|id| id.line).min();
        missing.map_or(Ok(()), |line| {
            Err((line, "it waits for a request that is not in the file; add that, or take the wait out".to_owned()))
        })
    }

    fn finish(self) -> io::Result<Gathered> {
        let groups = self.groups.into_iter().zip(0..).filter(|(group, at)| group.within == *at);
        // Without a time of its own a group is a cycle, which is said as soon as it is read.
        let session = |(group, _): (Group, u32)| Session {
            first_ns: group.first_ns.unwrap_or(i64::MIN),
            first_number: group.first_number,
            chain: group.chain,
        };
        let mut sessions: Vec<Session> = groups.map(session).collect();
        sessions.sort_unstable_by_key(|session| (session.first_ns, session.first_number));
        let (first_ns, last_ns) = self.span.unwrap_or_default();
        Ok(Gathered {
            sessions,
            records: self.store.finish()?,
            first_ns,
            last_ns,
            requests: self.number,
            prompt_tokens: self.prompt_tokens,
            output_tokens: self.output_tokens,
            encoder_tokens: self.encoder_tokens,
            timed: self.timed,
            remarks: Vec::new(),
        })
    }
}

/// The tokens of a prompt, and whether it goes on where the request before it ended: `held` tokens are its prompt and answer.
fn prompt(context: Context, tokens: u32, held: Option<u64>) -> Result<(u32, bool), Problem> {
    match (context, held) {
        (Context::Own, _) | (_, None) => Ok((tokens, false)),
        // What is shorter than the conversation so far does not hold it.
        (Context::History, Some(held)) => Ok((tokens, u64::from(tokens) >= held)),
        (Context::Delta, Some(held)) => {
            let prompt = held + u64::from(tokens);
            let whole = u32::try_from(prompt).ok().filter(|&whole| whole <= MAX_TOKENS);
            let whole = whole.ok_or_else(|| {
                format!(
                    "with the conversation so far its prompt has {prompt} tokens; at most {MAX_TOKENS} are possible"
                )
            })?;
            Ok((whole, true))
        }
        (Context::Unsaid, Some(held)) if u64::from(tokens) < held => Err(format!(
            "its prompt of {tokens} tokens is shorter than the conversation so far ({held}); say whether prompts hold that: \
             message_mode: delta where each turn has its new tokens only, history where it has the whole prompt"
        )),
        (Context::Unsaid, Some(_)) => Ok((tokens, true)),
    }
}

impl Gathered {
    /// The requests of a session in the order of the file, and for which each waits.
    pub fn read(&mut self, session: Session) -> io::Result<(Vec<Kept>, Vec<Wait>)> {
        let mut requests: Vec<Kept> = Vec::new();
        self.records.read(session.chain, |kept| requests.push(kept))?;
        requests.reverse();
        if !requests.is_sorted_by_key(|kept| kept.number) {
            requests.sort_unstable_by_key(|kept| kept.number);
        }
        let waits = waits(&requests);
        Ok((requests, waits))
    }

    fn check_cycles(&mut self) -> Result<(), CycleFault> {
        for at in 0..self.sessions.len() {
            let (requests, waits) = self.read(self.sessions[at]).map_err(CycleFault::Store)?;
            if let Some(request) = cycle(&waits) {
                return Err(CycleFault::At(requests[request as usize].line));
            }
        }
        Ok(())
    }
}

/// Names become numbers within the session.
fn waits(requests: &[Kept]) -> Vec<Wait> {
    let ids: HashMap<u64, u32> = requests.iter().zip(0..).filter_map(|(kept, at)| Some((kept.id?, at))).collect();
    let mut last: HashMap<u64, u32> = HashMap::new();
    let mut waits = Vec::with_capacity(requests.len());
    for (kept, at) in requests.iter().zip(0..) {
        let before = kept.session.and_then(|name| last.insert(name, at));
        waits.push(match &kept.start {
            KeptStart::At(_) => Wait::default(),
            KeptStart::Next { pause_ns, .. } => {
                Wait { requests: before.into_iter().collect(), pause: oracle_components::SimTime(*pause_ns) }
            }
            KeptStart::After { requests, pause_ns } => {
                let mut numbers: smallvec::SmallVec<[u32; 2]> =
                    requests.iter().map(|other| *ids.get(other).expect("all are there")).collect();
                numbers.sort_unstable();
                numbers.dedup();
                Wait { requests: numbers, pause: oracle_components::SimTime(*pause_ns) }
            }
        });
    }
    waits
}
