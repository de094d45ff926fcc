//! A closed loop: so many clients, each of which sends its next request when it has the answer to the last.

use oracle_components::SimTime;
use oracle_components::record::RequestRecord;
use oracle_components::request::RequestSpec;
use oracle_systems::ports::{Promises, RequestSource};

/// Clients that keep so many requests in flight, with no text in common.
pub(super) struct ClosedLoop {
    /// Clients that have not sent yet.
    idle: u32,
    sent: u64,
    /// Tokens of the prompts and answers that are still to be sent.
    lengths: std::vec::IntoIter<(u32, u32)>,
}

impl ClosedLoop {
    /// `clients` that send requests of these prompt and answer tokens in order; the first ones together at second 0.
    pub(super) fn new(clients: u32, lengths: Vec<(u32, u32)>) -> Self {
        Self { idle: clients, sent: 0, lengths: lengths.into_iter() }
    }

    fn send(&mut self, arrival: SimTime) -> Option<RequestSpec> {
        let (prompt_tokens, output_tokens) = self.lengths.next()?;
        let session = self.sent;
        self.sent += 1;
        Some(RequestSpec {
            arrival,
            profile: 0,
            client: 0,
            session,
            turn: 0,
            prompt_tokens,
            max_output_tokens: output_tokens,
            output_tokens,
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

    fn follow_ups(&mut self, _spec: &RequestSpec, record: &RequestRecord, next: &mut Vec<RequestSpec>) {
        next.extend(self.send(record.completion));
    }

    fn promises(&self) -> Promises {
        Promises { no_follow_ups: false, streams_only: true }
    }
}
