//! Bytes that cross between the ranks of an engine, and how often: what collectives and sends are priced by.

use oracle_components::layers::Part;
use oracle_components::scenario::EngineSpec;

use super::layers::StageLayers;

/// Bytes of what ranks sum of a token's queries and keys to norm them: a number of 32 bits each.
pub(crate) const NORM_SUMS_BYTES: f64 = 8.0;

/// All-reduces a pass through a stage.
pub(crate) fn all_reduces(layers: &StageLayers) -> f64 {
    layers.parts + f64::from(u8::from(layers.first))
}

/// Bytes of a decoded token's queries that are gathered, and of partial outputs that are reduced and scattered, among the
/// ranks that share the cache: those of the heads of all of them, in the first of the layers that have a cache.
pub(crate) fn cache_exchange(engine: &EngineSpec) -> (f64, f64) {
    let model = &engine.model;
    let widths = model.layers.parts().find_map(|(part, _)| match part {
        Part::Attention(attention) => Some((attention.heads, attention.key_width, attention.value_width)),
        Part::Latent(latent) => Some((latent.heads, latent.kv_lora_rank + latent.rope_head_dim, latent.kv_lora_rank)),
        Part::Compressed(own) => Some((own.heads, own.width, own.width)),
        Part::Recurrent(_) | Part::Mlp(_) | Part::Experts(_) => None,
    });
    let (heads, query, output) = widths.unwrap_or_default();
    let heads = f64::from(heads) / f64::from(engine.tensor_parallel.max(1));
    let gathered = heads * f64::from(engine.decode_context_parallel) * model.activation_dtype.bytes();
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
