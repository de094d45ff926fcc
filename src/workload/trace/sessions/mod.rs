//! Recorded sessions and agents: requests that are sent when others are answered.
//!
//! The file is read once ([`gather`]), and its rows are kept by session in a temporary file; a session is read from there when its first
//! request is due, and freed with the end of its last. So memory is that of the open sessions, and 40 bytes for each that is not. The
//! rate scale divides the times at which requests are recorded; a pause between an answer and what follows belongs to a user or a tool
//! and stays as it is.
//!
//! Prompts share what they hold in common by keys: where the file names blocks, by these; where a turn's prompt goes on where the
//! answer before it ended, by a tail (`systems/kv/prefix`) that all turns of that stretch have, behind the named blocks of its first.

mod gather;
mod graph;
mod store;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use oracle_components::SimTime;
use oracle_components::record::{RequestRecord, Status};
use oracle_components::request::RequestSpec;
use smallvec::SmallVec;

use super::error::TraceError;
use super::{Limits, Requests};
use crate::workload::facts::{Failure, TraceFacts, Unsent};
use crate::workload::shaping::Shaped;
use crate::workload::spec::TraceOptions;
use crate::workload::streams::combine;
use gather::{Gathered, Kept, KeptStart, Session};
use graph::Graph;

/// Keeps tails apart from other keys.
const TAILS: u64 = 0x7365_7373_696f_6e73;

/// Requests of sessions, in the order in which they are due.
pub(super) struct Sessions {
    gathered: Gathered,
    requests: Requests,
    limits: Limits,
    rate_scale: f64,
    /// Sessions opened.
    opened: usize,
    /// Requests handed out.
    sent: u64,
    open: HashMap<u64, Open>,
    /// Requests of open sessions that are sent at a time of their own: when, and which of which session.
    due: BinaryHeap<Reverse<(SimTime, u64, u32)>>,
    unsent: Unsent,
}

/// A session under way.
struct Open {
    graph: Graph,
    /// What has not been sent.
    waiting: Vec<Option<RequestSpec>>,
    /// When its first request was sent: whoever sends may hold a session back, and its later times with it.
    begun: SimTime,
    /// No earlier than so long after its beginning; empty: whenever the answer is there.
    not_before: Vec<SimTime>,
}

impl Sessions {
    /// Reads all that is left of `rows`.
    ///
    /// # Errors
    /// What [`gather`] says.
    pub fn new(
        mut rows: Shaped,
        options: &TraceOptions,
        rate_scale: f64,
        limits: Limits,
        requests: Requests,
    ) -> Result<Self, TraceError> {
        Ok(Self {
            gathered: gather::gather(&mut rows, options)?,
            requests,
            limits,
            rate_scale,
            opened: 0,
            sent: 0,
            open: HashMap::new(),
            due: BinaryHeap::new(),
            unsent: Unsent::default(),
        })
    }

    /// What the file holds. How many requests come before the end is not known where they wait for answers.
    pub fn facts(&self) -> TraceFacts {
        let all = &self.gathered;
        TraceFacts {
            rows: all.requests,
            requests: all.requests.min(self.limits.requests),
            last_arrival: self.arrival(all.last_ns),
            prompt_tokens: all.prompt_tokens,
            output_tokens: all.output_tokens,
            encoder_tokens: all.encoder_tokens,
            profiles: Vec::new(),
            streams_only: self.requests.streaming,
            remarks: all.remarks.clone(),
            digest: None,
            unsent: self.unsent.clone(),
            failure: Failure::default(),
        }
    }

    /// Whether no request waits for another.
    pub fn all_are_timed(&self) -> bool {
        self.gathered.timed == self.gathered.requests
    }

    /// The next request that is sent at a time of its own.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    pub fn next(&mut self) -> Result<Option<RequestSpec>, TraceError> {
        if self.sent == self.limits.requests {
            return Ok(None);
        }
        while let Some(&session) = self.gathered.sessions.get(self.opened) {
            let first = self.arrival(session.first_ns);
            if first >= self.limits.end || self.due.peek().is_some_and(|&Reverse((due, ..))| due < first) {
                break;
            }
            self.open_next(session)?;
        }
        let Some(Reverse((arrival, session, request))) = self.due.pop() else { return Ok(None) };
        if arrival >= self.limits.end {
            // All that are behind it come later still.
            self.due.clear();
            return Ok(None);
        }
        self.sent += 1;
        let open = self.open.get_mut(&session).expect("a session with requests that are due is open");
        let mut spec = open.waiting[request as usize].take().expect("it is sent once");
        spec.arrival = arrival;
        Ok(Some(spec))
    }

    /// What follows from the end of a request.
    pub fn follow_ups(&mut self, spec: &RequestSpec, record: &RequestRecord, next: &mut Vec<RequestSpec>) {
        let Some(open) = self.open.get_mut(&spec.session) else { return };
        if spec.turn == 0 {
            open.begun = spec.arrival;
        }
        if record.status == Status::Success {
            let mut follow: SmallVec<[(u32, SimTime); 4]> = SmallVec::new();
            open.graph.answered(spec.turn, record.completion, |request, at| follow.push((request, at)));
            for (request, at) in follow {
                let own = open.not_before.get(request as usize).map_or(SimTime::ZERO, |&after| open.begun + after);
                let arrival = at.max(own);
                if arrival >= self.limits.end || self.sent == self.limits.requests {
                    open.graph.dropped();
                    continue;
                }
                self.sent += 1;
                let mut spec = open.waiting[request as usize].take().expect("it is sent once");
                spec.arrival = arrival;
                next.push(spec);
            }
        } else {
            self.unsent.add(open.graph.failed());
        }
        if open.graph.is_over() {
            self.open.remove(&spec.session);
        }
    }

    fn open_next(&mut self, session: Session) -> Result<(), TraceError> {
        let (kept, waits) = self.gathered.read(session).map_err(|source| TraceError::Kept { source })?;
        let number = self.opened as u64;
        self.opened += 1;
        let begins = self.arrival(session.first_ns);
        let mut not_before = Vec::new();
        for (request, index) in kept.iter().zip(0..) {
            match request.start {
                KeptStart::At(ns) => self.due.push(Reverse((self.arrival(ns), number, index))),
                KeptStart::Next { not_before: Some(ns), .. } => {
                    not_before.resize(kept.len(), SimTime::ZERO);
                    not_before[index as usize] = SimTime(self.arrival(ns).0.saturating_sub(begins.0));
                }
                _ => {}
            }
        }
        let waiting = specs(&kept, number, &self.requests);
        self.open.insert(number, Open { graph: Graph::new(&waits), waiting, begun: begins, not_before });
        Ok(())
    }

    fn arrival(&self, time_ns: i64) -> SimTime {
        super::scaled(self.gathered.first_ns.abs_diff(time_ns), self.rate_scale)
    }
}

/// The requests of a session.
fn specs(kept: &[Kept], number: u64, requests: &Requests) -> Vec<Option<RequestSpec>> {
    let mut specs: Vec<Option<RequestSpec>> = Vec::with_capacity(kept.len());
    // By name, the session's last request so far.
    let mut last: SmallVec<[(Option<u64>, usize); 1]> = SmallVec::new();
    for (request, index) in kept.iter().zip(0..) {
        let mut spec = requests.spec(SimTime::ZERO, || (number, index as u32), request.row());
        let before = last.iter_mut().find(|(name, _)| *name == request.session);
        if request.continues {
            let &(_, before) = before.as_deref().expect("it goes on from the one before it");
            let before = specs[before].as_mut().expect("none has been sent");
            if before.tail_key == 0 {
                before.tail_key = combine(combine(TAILS, number), u64::from(before.turn)).max(1);
            }
            spec.tail_key = before.tail_key;
            spec.prefix = before.prefix.clone();
        }
        match before {
            Some((_, last)) => *last = index,
            None => last.push((request.session, index)),
        }
        specs.push(Some(spec));
    }
    specs
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;
    use crate::workload::shaping::Shaping;
    use crate::workload::slo::Slo;
    use crate::workload::spec::{TraceFormat, TraceWorkload};
    use crate::workload::turns::answered_at_once;

    fn sessions(text: &str) -> Sessions {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("agents.jsonl");
        std::fs::write(&path, text).expect("it can be written");
        let workload = TraceWorkload {
            path,
            format: TraceFormat::DETECT,
            rate_scale: 1.0,
            duration: None,
            total_requests: None,
            streaming: true,
            timeout_s: None,
            slo: Slo::default(),
            seed: 0,
            load: crate::workload::Load::default(),
            options: TraceOptions::default(),
            shaping: Shaping::default(),
        };
        let limits = Limits { end: SimTime::NEVER, requests: u64::MAX };
        let requests = Requests { streaming: true, timeout: SimTime::NEVER };
        let rows = crate::workload::trace::rows::Rows::open(&workload).expect("a trace");
        let rows = Shaped::new(rows, &workload.shaping).expect("as it is");
        Sessions::new(rows, &workload.options, 1.0, limits, requests).expect("a sound trace")
    }

    fn record(spec: &RequestSpec, completion: SimTime, status: Status) -> RequestRecord {
        RequestRecord { completion, status, ..answered_at_once(spec) }
    }

    proptest! {
        /// Requests of several agents in whatever order in the file: each is sent once, not before those it waits for and its pause,
        /// and what is kept in memory are the sessions in which something is in flight.
        #[test]
        fn agents_are_sent_whole_and_forgotten(
            nodes in prop::collection::vec((0_usize..4, prop::collection::vec(any::<prop::sample::Index>(), 0..3), 0_u64..9), 1..40),
            order in any::<u64>(),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 40),
            failing in prop::collection::vec(prop::bool::weighted(0.1), 40),
        ) {
            let mut waits: Vec<Vec<usize>> = Vec::new();
            let mut lines = Vec::new();
            for (at, (agent, others, pause)) in nodes.iter().enumerate() {
                let of_agent: Vec<usize> = (0..at).filter(|&other| nodes[other].0 == *agent).collect();
                let mut own: Vec<usize> = Vec::new();
                if !of_agent.is_empty() {
                    own.extend(others.iter().map(|other| of_agent[other.index(of_agent.len())]));
                }
                own.sort_unstable();
                own.dedup();
                let ids: Vec<String> = own.iter().map(|other| format!("\"{other}\"")).collect();
                let mut line = String::new();
                let time = at * 10;
                write!(line, r#"{{"request_id": "{at}", "wait_for": [{}], "delay": {pause}, "timestamp": {time}, "input_length": {}, "output_length": 1}}"#, ids.join(", "), at + 1).expect("a string");
                lines.push((crate::workload::streams::combine(order, at as u64), line));
                waits.push(own);
            }
            lines.sort_unstable();
            let text: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
            let mut source = sessions(&text.join("\n"));
            let (mut in_flight, mut sent, mut ends) = (Vec::new(), vec![None; nodes.len()], vec![None; nodes.len()]);
            let first_ns = waits.iter().position(Vec::is_empty).map_or(0, |root| root as u64 * 10_000_000);
            let mut picks = picks.into_iter().zip(failing);
            let mut failed = std::collections::HashSet::new();
            let mut latest = SimTime::ZERO;
            loop {
                // What has a time of its own goes first, as if it were always the next event.
                if let Some(spec) = source.next().expect("it is kept") {
                    prop_assert!(spec.arrival >= latest);
                    latest = spec.arrival;
                    in_flight.push(spec);
                    continue;
                }
                let open: std::collections::HashSet<u64> = in_flight.iter().map(|spec| spec.session).collect();
                prop_assert_eq!(open.len(), source.open.len());
                let Some((pick, fails)) = picks.next().filter(|_| !in_flight.is_empty()) else { break };
                let spec = in_flight.swap_remove(pick.index(in_flight.len()));
                let node = spec.prompt_tokens as usize - 1;
                let end = spec.arrival + SimTime(7);
                prop_assert_eq!(sent[node].replace(spec.arrival), None);
                if waits[node].is_empty() {
                    prop_assert_eq!(spec.arrival.0, node as u64 * 10_000_000 - first_ns);
                } else {
                    let last: Option<Vec<SimTime>> = waits[node].iter().map(|&other| ends[other]).collect();
                    let last = last.expect("all are answered").into_iter().max().expect("there is one");
                    prop_assert_eq!(spec.arrival, last + SimTime(nodes[node].2 * 1_000_000));
                }
                let status = if fails { Status::Failed } else { Status::Success };
                if fails {
                    failed.insert(spec.session);
                } else {
                    ends[node] = Some(end);
                }
                let mut next = Vec::new();
                source.follow_ups(&spec, &record(&spec, end, status), &mut next);
                prop_assert!(next.is_empty() || !failed.contains(&spec.session));
                in_flight.extend(next);
            }
            prop_assert!(in_flight.is_empty());
            prop_assert!(source.open.is_empty() && source.due.is_empty());
            let (_, never) = source.unsent.get();
            prop_assert_eq!(sent.iter().flatten().count() as u64 + never, nodes.len() as u64);
        }
    }
}
