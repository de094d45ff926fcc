//! What the summary needs of the requests, kept as they end. Requests that arrived during the warm-up do not count but for
//! what was completed when, and how many there were.

use oracle_components::SimTime;
use oracle_components::record::{PrefixEvent, Reason, RequestRecord, Status};

use super::backlog::Backlog;
use super::distribution::Distribution;
use super::goodput::SloCounts;
use super::offered::Completions;
use super::request_columns::queue_time;
use crate::workload::{Judgement, Slo, is_met};

/// Latencies of successful requests.
#[derive(Debug)]
pub(super) struct Latencies {
    pub(super) ttft: Distribution,
    pub(super) tpot: Distribution,
    pub(super) e2e: Distribution,
    pub(super) queue: Distribution,
}

impl Latencies {
    fn new() -> Self {
        Self {
            ttft: Distribution::new(),
            tpot: Distribution::new(),
            e2e: Distribution::new(),
            queue: Distribution::new(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.ttft.add(&other.ttft);
        self.tpot.add(&other.tpot);
        self.e2e.add(&other.e2e);
        self.queue.add(&other.queue);
    }

    fn record(&mut self, record: &RequestRecord) {
        if let Some(ttft) = record.ttft() {
            self.ttft.record(ttft);
        }
        if let Some(tpot_ms) = record.tpot_ms() {
            self.tpot.record(SimTime::from_secs_f64(tpot_ms / 1e3));
        }
        self.e2e.record(record.e2e());
        if let Some(queue) = queue_time(record) {
            self.queue.record(queue);
        }
    }
}

/// Counts and latencies of a group of requests.
#[derive(Debug)]
pub(super) struct GroupStatistics {
    /// By status, in the order of [`Status::ALL`].
    pub(super) by_status: [u64; Status::ALL.len()],
    pub(super) latencies: Latencies,
    pub(super) slo: SloCounts,
}

impl GroupStatistics {
    fn new() -> Self {
        Self { by_status: [0; Status::ALL.len()], latencies: Latencies::new(), slo: SloCounts::default() }
    }

    fn add(&mut self, other: &Self) {
        for (sum, count) in self.by_status.iter_mut().zip(other.by_status) {
            *sum += count;
        }
        self.latencies.add(&other.latencies);
        self.slo.add(&other.slo);
    }

    fn record(&mut self, record: &RequestRecord) {
        self.by_status[record.status as usize] += 1;
        if record.status == Status::Success {
            self.latencies.record(record);
        }
    }

    /// Requests of a status.
    pub(super) fn ended(&self, status: Status) -> u64 {
        self.by_status[status as usize]
    }

    /// All requests.
    pub(super) fn total(&self) -> u64 {
        self.by_status.iter().sum()
    }
}

/// What the prefix cache did, over all requests.
#[derive(Debug, Default)]
pub(super) struct PrefixStatistics {
    /// By event, in the order of [`PrefixEvent::ALL`].
    pub(super) events: [u64; PrefixEvent::ALL.len()],
    /// Requests with an event that are later turns of a session.
    pub(super) follow_ups: u64,
    /// Follow-ups that found tokens of their session.
    pub(super) follow_up_hits: u64,
    /// Requests with an event that are first turns.
    pub(super) first_turns: u64,
    /// First turns that found tokens of other requests.
    pub(super) first_turn_hits: u64,
    /// Prompt tokens of the requests with an event.
    pub(super) prompt_tokens: u64,
    /// Prompt tokens found in the cache.
    pub(super) cached_tokens: u64,
    /// Tokens computed in prefill, of all requests.
    pub(super) prefilled_tokens: u64,
}

impl PrefixStatistics {
    fn record(&mut self, record: &RequestRecord) {
        let event = record.prefix_event;
        self.events[event as usize] += 1;
        self.prefilled_tokens += u64::from(record.prefilled_tokens);
        if event == PrefixEvent::None {
            return;
        }
        self.prompt_tokens += u64::from(record.prompt_tokens);
        self.cached_tokens += u64::from(record.cached_tokens);
        // A full hit is one on the session for a later turn, and on others for a first.
        let full = event == PrefixEvent::FullHit;
        if record.turn > 0 {
            self.follow_ups += 1;
            self.follow_up_hits += u64::from(full || event == PrefixEvent::ConversationalHit);
        } else {
            self.first_turns += 1;
            self.first_turn_hits += u64::from(full || event == PrefixEvent::CrossRequestHit);
        }
    }
}

/// What the summary tells of requests.
#[derive(Debug)]
pub(super) struct RequestStatistics {
    warm_up: SimTime,
    /// By profile.
    pub(super) profiles: Vec<GroupStatistics>,
    /// In the order of [`Reason::ALL`].
    pub(super) by_reason: [u64; Reason::ALL.len()],
    pub(super) prefix: PrefixStatistics,
    pub(super) completions: Completions,
    pub(super) backlog: Backlog,
}

impl RequestStatistics {
    pub(super) fn new(warm_up: SimTime, profiles: usize, records_aborts: bool) -> Self {
        Self {
            warm_up,
            profiles: (0..profiles).map(|_| GroupStatistics::new()).collect(),
            by_reason: [0; Reason::ALL.len()],
            prefix: PrefixStatistics::default(),
            completions: Completions::new(warm_up, profiles, records_aborts),
            backlog: Backlog::new(),
        }
    }

    /// Counts a request, of whose clients `slo` is expected and which kept to it as `judgement` says.
    pub(super) fn record(&mut self, record: &RequestRecord, slo: &Slo, judgement: Option<Judgement>) {
        self.completions.record(record, judgement.as_ref().is_some_and(is_met));
        self.backlog.record(record.arrival, record.completion);
        if record.arrival < self.warm_up {
            return;
        }
        let profile = &mut self.profiles[usize::from(record.profile)];
        profile.record(record);
        if slo.is_set() {
            profile.slo.record(record, judgement);
        }
        self.by_reason[record.reason as usize] += 1;
        self.prefix.record(record);
    }

    /// The profiles together.
    pub(super) fn all(&self) -> GroupStatistics {
        let mut all = GroupStatistics::new();
        self.profiles.iter().for_each(|profile| all.add(profile));
        all
    }
}
