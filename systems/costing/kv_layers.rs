//! How layers that keep different things of a sequence share the blocks of a pool (`get_kv_cache_groups` of vLLM).
//!
//! Layers of a kind are divided into groups of as many layers, the fewest that a kind has (or the most, where that is less than half
//! as many again); a block is what one group keeps of so many tokens. All blocks are of one size: a group whose layers keep less
//! of a token has more tokens in a block, or room to spare.

use oracle_components::kv_groups::{KvGroup, KvKind};
use oracle_components::model::ModelArchitecture;

use super::parts::{caches, state_bytes};

/// More tokens than any context has: a state that is not kept within a sequence is one block of it.
pub const WHOLE_CONTEXT_TOKENS: u32 = 1 << 30;

/// Tokens a block of a model with states is a multiple of.
const STATE_BLOCK_STEP_TOKENS: u32 = 16;

/// Layers that keep the same of a sequence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KvLayers {
    /// What.
    pub kind: KvKind,
    /// How many.
    pub layers: u32,
    /// Bytes that each of them keeps on a rank: of a token, or if it is a state, of a sequence.
    pub bytes: f64,
}

/// A pool that they share.
#[derive(Clone, Debug, PartialEq)]
pub struct SharedPool {
    /// Groups of layers.
    pub groups: Vec<KvGroup>,
    /// Layers of each.
    pub layers: u32,
    /// Bytes that a block has for each layer, on a rank.
    pub page_bytes: f64,
}

/// What the layers of a model keep on each of so many ranks, in the order of the first of each kind.
#[must_use]
pub fn kv_layers(model: &ModelArchitecture, tensor_parallel: u32) -> Vec<KvLayers> {
    let tensor = f64::from(tensor_parallel.max(1));
    let mut kept: Vec<KvLayers> = Vec::new();
    for (part, layers) in model.layers.parts() {
        let state = (KvKind::State, state_bytes(part, model, tensor));
        for (kind, bytes) in caches(part, model, tensor).into_iter().chain([state]).filter(|(_, bytes)| *bytes > 0.0) {
            match kept.iter_mut().find(|kept| kept.kind == kind && kept.bytes == bytes) {
                Some(known) => known.layers += layers,
                None => kept.push(KvLayers { kind, layers, bytes }),
            }
        }
    }
    kept
}

/// How layers share a pool with blocks of `block_tokens`; `keeps_states` within a sequence, for others to find.
#[must_use]
pub fn share_pool(layers: &[KvLayers], block_tokens: u32, keeps_states: bool) -> SharedPool {
    let of_tokens = || layers.iter().filter(|layers| layers.kind != KvKind::State);
    let state_bytes =
        layers.iter().filter(|layers| layers.kind == KvKind::State).map(|layers| layers.bytes).fold(0.0, f64::max);
    let widest = of_tokens().map(|layers| layers.bytes).fold(0.0, f64::max);
    let block_tokens = if state_bytes > widest * f64::from(block_tokens) && widest > 0.0 {
        // Until a block of tokens has room for a state.
        let step = f64::from(STATE_BLOCK_STEP_TOKENS);
        ((state_bytes / (widest * step)).ceil() * step) as u32
    } else {
        block_tokens
    };
    let page_bytes = state_bytes.max(widest * f64::from(block_tokens));
    let group = |layers: &KvLayers| {
        let tokens = match layers.kind {
            KvKind::State if keeps_states => block_tokens,
            KvKind::State => WHOLE_CONTEXT_TOKENS,
            _ => {
                let times = page_bytes / (layers.bytes * f64::from(block_tokens));
                if times.fract() == 0.0 { block_tokens * times as u32 } else { block_tokens }
            }
        };
        KvGroup { kind: layers.kind, block_tokens: tokens }
    };
    let (fewest, most) =
        (layers.iter().map(|layers| layers.layers).min(), layers.iter().map(|layers| layers.layers).max());
    let (fewest, most) = (fewest.unwrap_or(0).max(1), most.unwrap_or(0).max(1));
    let size = if f64::from(most) < 1.5 * f64::from(fewest) { most } else { fewest };
    let groups = layers.iter().flat_map(|layers| {
        let count = layers.layers.div_ceil(size) as usize;
        std::iter::repeat_n(group(layers), count)
    });
    SharedPool { groups: groups.collect(), layers: size, page_bytes }
}
