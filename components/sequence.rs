//! The Sequence entity: one decoding stream of a request.

use bevy_ecs::prelude::*;

use crate::record::{PrefixEvent, RemotePrefill};
use crate::request::RequestId;
use crate::scenario::EngineIndex;
use crate::time::{MaybeTime, SimTime};

/// Where a sequence is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// In transit to the engine or in its waiting queue; holds no KV blocks.
    Waiting,
    /// Between a prefill engine, which has computed its prompt, and a slot on a decode engine, where it holds blocks
    /// once it has started to load its KV cache.
    Loading,
    /// Running, with known tokens not yet in the KV cache.
    Prefill,
    /// Running, one token a step, counted with the other decodes.
    Decode,
    /// Running, its next token alone to be computed, but apart from the other decodes: a step left it out, or its end is known.
    Paused,
    /// Has its last token, and keeps its slot and blocks until the next batch is formed.
    Leaving,
    /// Its request has ended: the entity is free, or will be once completion has written the record.
    Ended,
}

/// A sequence's progress. While it decodes, `computed` and `generated` are those at its entry into decode; each step of
/// the engine since then adds one to both, so nothing has to touch it until it leaves.
#[derive(Component, Clone, Debug)]
pub struct Sequence {
    /// Its request's entity.
    pub request: Entity,
    /// Its request's number, which breaks ties.
    pub id: RequestId,
    /// The engine it is on.
    pub engine: EngineIndex,
    /// Where it is in its life.
    pub phase: Phase,
    /// Tokens in the prompt.
    pub prompt_tokens: u32,
    /// Tokens it will generate: what the request asks for, within `max_model_len`.
    pub target_tokens: u32,
    /// The request asks for more than `max_model_len` leaves room for.
    pub length_limited: bool,
    /// Tokens generated.
    pub generated: u32,
    /// Tokens in the KV cache.
    pub computed: u32,
    /// The engine's step count at the entry into decode; of a paused or leaving one, at the end of the last step in which it decoded.
    pub entered_step: u64,
    /// The most tokens that were ever in the KV cache before a preemption.
    pub high_water: u32,
    /// Position in the engine's order of admission.
    pub admission: u64,
    /// Order among waiting sequences under the priority policy.
    pub priority: i32,
    /// Arrival of the request.
    pub arrival: SimTime,
    /// When the client gives up.
    pub deadline: SimTime,
    /// The response is streamed.
    pub streaming: bool,
    /// Start of the first step that computed a token of it.
    pub scheduled: MaybeTime,
    /// First token, as the record has it.
    pub first_token: MaybeTime,
    /// End of the step in which it last emitted, before the current residence.
    pub last_emission: MaybeTime,
    /// Last token before the current residence, as the record has it.
    pub last_token: MaybeTime,
    /// The longest gap between tokens as the client receives them, up to `last_emission`, if it has two.
    pub longest_gap: MaybeTime,
    /// Where its prompt was computed, if that was another engine.
    pub prefill: Option<Box<RemotePrefill>>,
    /// What the prefix cache did at the first admission.
    pub prefix_event: PrefixEvent,
    /// Prompt tokens found in the cache at the first admission.
    pub cached_tokens: u32,
    /// Tokens computed in prefill steps.
    pub prefilled_tokens: u32,
    /// Tokens computed again after preemptions.
    pub recomputed_tokens: u32,
    /// Times it was preempted.
    pub preemptions: u32,
}

/// Every request in flight has one: what only some need goes behind one `Option<Box<_>>`.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Sequence>() == 144);
