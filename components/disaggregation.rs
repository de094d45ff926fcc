//! What is between a prefill or decode engine and those of the other role. Engines that serve whole requests have none of it.

use std::collections::BTreeMap;

use bevy_ecs::prelude::*;

use crate::request::{PrefixSegment, RequestId};
use crate::time::SimTime;

/// Blocks of a prompt that a prefill engine has computed and holds: what names them, since the request may have ended by the
/// time they are released.
#[derive(Clone, Debug)]
pub struct Hold {
    /// Tokens in it.
    pub tokens: u32,
    /// Shared segments at the beginning of the prompt, as far as the engine looks at them.
    pub prefix: Vec<PrefixSegment>,
    /// Key of what follows; 0 if nobody can ask for it.
    pub tail_key: u64,
}

/// What is between an engine and those of the other role.
#[derive(Component, Clone, Debug, Default)]
pub struct Handoffs {
    /// Prefill: sequences whose prompts were computed by the present boundary, in the order of ids.
    pub computed: Vec<(RequestId, Entity)>,
    /// Prefill: holds whose ends are known, by (end, id): when the KV cache has been loaded, or been abandoned.
    pub holds: BTreeMap<(SimTime, RequestId), Hold>,
    /// Decode: loads that were started at the present boundary, in order.
    pub started: Vec<Entity>,
    /// Decode: sequences that ended at the present boundary without having been loaded.
    pub abandoned: Vec<Entity>,
    /// Decode: sequences that hold blocks and have no slot, by (end of the load, id).
    pub loading: BTreeMap<(SimTime, RequestId), Entity>,
    /// Decode: sequences that were given a slot at the present boundary; the next step brings their first tokens.
    pub first_step: Vec<Entity>,
}
