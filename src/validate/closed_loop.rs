//! A closed loop: so many clients, each of which sends its next request when it has the answer to the last.

use oracle_components::SimTime;
use oracle_components::record::RequestRecord;
use oracle_components::request::RequestSpec;
use oracle_systems::ports::{Promises, RequestSource};

/// Clients that keep so many requests in flight, all alike, with no text in common.
pub(super) struct ClosedLoop {
    /// Clients that have not sent yet.
    idle: u32,
    /// Requests that are still to be sent.
    left: u32,
    sent: u64,
    prompt_tokens: u32,
    output_tokens: u32,
}

impl ClosedLoop {
    /// `clients` that send `requests` in all; the first ones together at second 0.
    pub(super) fn new(clients: u32, requests: u32, prompt_tokens: u32, output_tokens: u32) -> Self {
        Self { idle: clients, left: requests, sent: 0, prompt_tokens, output_tokens }
    }

    fn send(&mut self, arrival: SimTime) -> Option<RequestSpec> {
        self.left = self.left.checked_sub(1)?;
        let session = self.sent;
        self.sent += 1;
        Some(RequestSpec {
            arrival,
            profile: 0,
            client: 0,
            session,
            turn: 0,
            prompt_tokens: self.prompt_tokens,
            max_output_tokens: self.output_tokens,
            output_tokens: self.output_tokens,
            priority: 0,
            streaming: true,
            timeout: SimTime::NEVER,
            prefix: Vec::new(),
            tail_key: 0,
        })
    }
}

impl RequestSource for ClosedLoop {
    fn next_request(&mut self) -> Option<RequestSpec> {
        self.idle = self.idle.checked_sub(1)?;
        self.send(SimTime::ZERO)
    }

    fn follow_up(&mut self, _spec: &RequestSpec, record: &RequestRecord) -> Option<RequestSpec> {
        self.send(record.completion)
    }

    fn promises(&self) -> Promises {
        Promises { no_follow_ups: false, streams_only: true }
    }
}
