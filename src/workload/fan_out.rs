//! Requests that an answer starts side by side, and the turn that waits for all of them.
//!
//! The law: while a session waits, all that is in flight of it was started by the answer it waits after. Memory is that of the
//! sessions that wait.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use oracle_components::SimTime;
use oracle_components::record::RequestRecord;
use oracle_components::request::RequestSpec;

/// The sessions that wait for their sub-agents.
#[derive(Default)]
pub(super) struct FanOuts {
    waiting: HashMap<u64, Join>,
}

/// A session that waits.
pub(super) struct Join {
    /// The turn whose answer started them.
    pub spec: RequestSpec,
    /// Tokens of that answer.
    pub output_tokens: u32,
    /// Tokens of the answers so far.
    pub gathered_tokens: u32,
    /// When the latest of them ended.
    pub completion: SimTime,
    in_flight: u32,
}

/// What the end of a request is for its session.
pub(super) enum Ended {
    /// A turn of its own.
    Turn,
    /// A sub-agent, and others are still at work.
    NotTheLast,
    /// The last sub-agent.
    All(Box<Join>),
}

impl FanOuts {
    /// The session of `spec`, answered by `record`, waits for so many requests.
    pub fn wait(&mut self, spec: &RequestSpec, record: &RequestRecord, in_flight: u32) {
        let join = Join {
            spec: spec.clone(),
            output_tokens: record.output_tokens,
            gathered_tokens: 0,
            completion: record.completion,
            in_flight,
        };
        self.waiting.insert(spec.session, join);
    }

    /// A request of the session has ended, however it did.
    #[inline]
    pub fn end(&mut self, record: &RequestRecord) -> Ended {
        if self.waiting.is_empty() {
            return Ended::Turn;
        }
        let Entry::Occupied(mut entry) = self.waiting.entry(record.session) else { return Ended::Turn };
        let join = entry.get_mut();
        join.in_flight -= 1;
        join.completion = join.completion.max(record.completion);
        join.gathered_tokens = join.gathered_tokens.saturating_add(record.output_tokens);
        if join.in_flight > 0 { Ended::NotTheLast } else { Ended::All(Box::new(entry.remove())) }
    }
}
