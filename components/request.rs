//! What a client asks for, and the Request entity.

use bevy_ecs::prelude::*;

use crate::scenario::EngineIndex;
use crate::time::SimTime;

/// Position of a request in the order of generation, from 0. The printed id is `req_<n>`.
pub type RequestId = u64;

/// A piece of a prompt that other requests may share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixSegment {
    /// Names the content of the prompt from its first token to the end of this segment (a rolling hash), so equal keys
    /// mean equal content at equal positions. Never 0.
    pub key: u64,
    /// Tokens in this segment, at least 1.
    pub tokens: u32,
}

/// A request as a workload source describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestSpec {
    /// When the client sends it.
    pub arrival: SimTime,
    /// Index into the source's profile names.
    pub profile: u16,
    /// Number of the client within its profile.
    pub client: u32,
    /// Session, from 0; every request has one. The printed id is `sess_<n>`.
    pub session: u64,
    /// Turn within the session, from 0.
    pub turn: u32,
    /// Tokens in the prompt, at least 1.
    pub prompt_tokens: u32,
    /// Tokens of its images in the vision encoder, images of earlier turns left out; 0 without any, or where that is not priced.
    pub encoder_tokens: u32,
    /// Most tokens that may be generated, at least 1.
    pub max_output_tokens: u32,
    /// Tokens that will be generated if nothing interferes, 1 ..= `max_output_tokens`.
    pub output_tokens: u32,
    /// Lower numbers are served first under the priority policy.
    pub priority: i32,
    /// The response is streamed token by token.
    pub streaming: bool,
    /// The client gives up this long after the arrival; [`SimTime::NEVER`] without a limit.
    pub timeout: SimTime,
    /// Shared segments that the prompt begins with, in order; together at most the prompt.
    pub prefix: Vec<PrefixSegment>,
    /// Names what follows the segments: the rest of the prompt and the output. A later turn of the session whose prompt
    /// continues that content carries the same key. 0: nobody will ever ask for it again.
    pub tail_key: u64,
}

impl RequestSpec {
    /// When the client gives up.
    #[must_use]
    pub fn deadline(&self) -> SimTime {
        self.arrival.saturating_add(self.timeout)
    }
}

/// Identity of a request: what was asked, by whom. Does not change while the request lives.
#[derive(Component, Clone, Debug)]
pub struct Request {
    /// Its number.
    pub id: RequestId,
    /// What was asked.
    pub spec: RequestSpec,
    /// Where the router sent it.
    pub engine: EngineIndex,
    /// When its last byte reached the engine.
    pub delivered: SimTime,
}

/// A request on its way to its engine.
#[derive(Debug)]
pub struct Routed {
    /// The request.
    pub request: Request,
    /// Output tokens within the engine's limit.
    pub target_tokens: u32,
}

/// Every request in flight has one: what only some need goes behind one `Option<Box<_>>`.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<RequestSpec>() == 88);
