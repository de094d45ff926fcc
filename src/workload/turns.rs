//! All requests of a source in order of arrival, those too that only come of answers: these are taken to come at once and
//! whole, so a turn that waits for one arrives after its pause alone.
//!
//! Memory is that of the follow-ups that are due later than the source's next request.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use oracle_components::SimTime;
use oracle_components::record::{PrefixEvent, Reason, RequestRecord, Status};
use oracle_components::request::RequestSpec;
use oracle_systems::ports::RequestSource;

/// Requests that may come at one moment before time is taken to stand still: where answers come at once, a closed loop
/// never ends.
const MOST_AT_ONCE: u64 = 10_000_000;

/// A request, and what it waits for.
#[derive(Clone, Debug)]
pub struct Turn {
    /// The request; its arrival is where answers that it waits for come at once.
    pub spec: RequestSpec,
    /// For a request that comes of an answer: how long after it.
    pub pause: Option<SimTime>,
}

/// A load without an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TurnsError {
    /// Requests that wait for answers alone.
    #[error(
        "this load has no times of its own ({MOST_AT_ONCE} requests come at one moment where answers come at once): a fixed \
         concurrency sends as fast as answers come; limit it with --requests N, or give a rate"
    )]
    StandsStill,
}

/// Iterates over all requests of a source.
pub struct Turns {
    source: Box<dyn RequestSource>,
    /// The source's next request, once it has been asked for.
    ahead: Option<Option<RequestSpec>>,
    /// Follow-ups by arrival, then in the order in which they came to be.
    due: BinaryHeap<Reverse<Due>>,
    made: u64,
    now: SimTime,
    at_once: u64,
    next: Vec<RequestSpec>,
}

struct Due {
    arrival: SimTime,
    number: u64,
    turn: Turn,
}

impl Turns {
    /// All requests of `source`.
    #[must_use]
    pub fn new(source: Box<dyn RequestSource>) -> Self {
        Self { source, ahead: None, due: BinaryHeap::new(), made: 0, now: SimTime::ZERO, at_once: 0, next: Vec::new() }
    }

    fn take(&mut self) -> Option<Turn> {
        let ahead = self.ahead.get_or_insert_with(|| self.source.next_request());
        let follow_up_first = match (&*ahead, self.due.peek()) {
            (Some(spec), Some(Reverse(due))) => due.arrival < spec.arrival,
            (spec, due) => spec.is_none() && due.is_some(),
        };
        if follow_up_first {
            return self.due.pop().map(|Reverse(due)| due.turn);
        }
        let spec = self.ahead.take().flatten();
        if spec.is_none() {
            // Not asked again: it has ended.
            self.ahead = Some(None);
        }
        spec.map(|spec| Turn { spec, pause: None })
    }
}

impl Iterator for Turns {
    type Item = Result<Turn, TurnsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let turn = self.take()?;
        let arrival = turn.spec.arrival;
        self.at_once = if arrival > self.now { 1 } else { self.at_once + 1 };
        self.now = arrival.max(self.now);
        if self.at_once > MOST_AT_ONCE && turn.pause.is_some() {
            return Some(Err(TurnsError::StandsStill));
        }
        self.source.follow_ups(&turn.spec, &answered_at_once(&turn.spec), &mut self.next);
        for spec in self.next.drain(..) {
            let pause = spec.arrival - arrival;
            let due = Due { arrival: spec.arrival, number: self.made, turn: Turn { spec, pause: Some(pause) } };
            self.made += 1;
            self.due.push(Reverse(due));
        }
        Some(Ok(turn))
    }
}

/// The record of a request whose whole answer comes as it is sent.
pub(super) fn answered_at_once(spec: &RequestSpec) -> RequestRecord {
    let at = spec.arrival;
    RequestRecord {
        request: 0,
        profile: spec.profile,
        client: spec.client,
        session: spec.session,
        turn: spec.turn,
        engine: 0,
        prefill: None,
        prompt_tokens: spec.prompt_tokens,
        encoder_tokens: spec.encoder_tokens,
        max_output_tokens: spec.max_output_tokens,
        output_tokens: spec.output_tokens,
        priority: spec.priority,
        streaming: spec.streaming,
        arrival: at,
        delivered: Some(at),
        scheduled: Some(at),
        first_token: Some(at),
        last_token: Some(at),
        completion: at,
        status: Status::Success,
        reason: Reason::Finished,
        prefix_event: PrefixEvent::None,
        cached_tokens: 0,
        prefilled_tokens: spec.prompt_tokens,
        recomputed_tokens: 0,
        preemptions: 0,
        longest_gap: None,
        target_output_tokens: spec.output_tokens,
        timeout: spec.timeout,
        prefix: spec.prefix.clone(),
        tail_key: spec.tail_key,
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.arrival, self.number).cmp(&(other.arrival, other.number))
    }
}
