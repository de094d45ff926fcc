//! Bytes that cross between the ranks of an engine, and how often: what collectives and sends are priced by.

use oracle_components::model::Attention;
use oracle_components::scenario::EngineSpec;

use super::layers::StageLayers;

/// All-reduces a pass through a stage.
pub(crate) fn all_reduces(layers: &StageLayers) -> f64 {
    2.0 * layers.layers() + f64::from(u8::from(layers.first))
}

/// Bytes of a decoded token's queries that are gathered, and of partial outputs that are reduced and scattered, among the
/// ranks that share the cache: those of the heads of all of them.
pub(crate) fn cache_exchange(engine: &EngineSpec) -> (f64, f64) {
    let model = &engine.model;
    let heads = f64::from(model.heads) / f64::from(engine.tensor_parallel.max(1));
    let gathered = heads * f64::from(engine.decode_context_parallel) * model.activation_dtype.bytes();
    let (query, output) = match model.attention {
        Attention::Grouped => (model.head_dim, model.head_dim),
        Attention::Latent { kv_lora_rank, rope_head_dim, .. } => (kv_lora_rank + rope_head_dim, kv_lora_rank),
    };
    (gathered * f64::from(query), gathered * f64::from(output))
}

/// Bytes of a token's hidden vector.
pub(crate) fn hidden_bytes(engine: &EngineSpec) -> f64 {
    f64::from(engine.model.hidden) * engine.model.activation_dtype.bytes()
}

/// Bytes of a row of logits.
pub(crate) fn logit_bytes(engine: &EngineSpec) -> f64 {
    f64::from(engine.model.vocab) * engine.model.activation_dtype.bytes()
}
