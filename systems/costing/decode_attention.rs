//! Decode attention in seconds: a roofline of the summed context, at constant efficiency or by curve.
//!
//! By curve, a step with prompts may compute a decode as a whole tile of query rows, each query head by itself: kernels
//! that take prompts and decodes in one call do so unless the heads of a group share a tile, and lay out their grid for the
//! longest chunk.

use oracle_components::efficiency::DecodeAttentionCurve;
use oracle_components::model::{Attention, Dtype};
use oracle_components::scenario::EngineSpec;

use super::curves::{self, DecodeAttentionLine};
use super::layers::DecodeAttention;
use super::rates::Rates;
use super::shape::{Feature, Features};
use super::weights::kv_heads_per_rank;

/// Decode attention of a layer on a stage's GPUs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct DecodeAttentionCost {
    compute_s_per_context_token: f64,
    memory_s_per_context_token: f64,
    memory_s_per_sequence: f64,
    curve: Option<DecodeByCurve>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct DecodeByCurve {
    curve: DecodeAttentionCurve,
    bytes_per_s: f64,
    kv_heads: f64,
    query_heads: f64,
    is_kv_narrow: bool,
    /// Compute per context token in a step with prompts, over that without.
    mixed_compute: f64,
}

/// A batch's decode attention in a layer: `floor_s + max(compute, memory)`, both of the context and memory of the
/// sequences too.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DecodeAttentionSeconds {
    pub(crate) floor_s: f64,
    pub(crate) compute_s_per_context_token: f64,
    pub(crate) memory_s_per_context_token: f64,
    pub(crate) memory_s: f64,
}

impl DecodeAttentionCost {
    pub(crate) fn new(engine: &EngineSpec, work: &DecodeAttention, rates: &Rates) -> Self {
        let curve = rates.curves.as_ref().map(|curves| {
            let (model, ranks) = (&engine.model, f64::from(engine.tensor_parallel.max(1)));
            let query_heads = f64::from(model.heads) / ranks;
            let kv_heads = match model.attention {
                Attention::Grouped => kv_heads_per_rank(model, ranks),
                Attention::Latent { .. } => 1.0,
            };
            let all = &curves.all;
            let is_grouped = kv_heads < query_heads;
            let curve = if is_grouped { all.decode_attention } else { all.decode_attention_multi_head };
            let share = curves::compute_share(&all.prefill_attention, f64::from(model.head_dim));
            DecodeByCurve {
                curve,
                bytes_per_s: rates.bytes_per_s,
                kv_heads,
                query_heads,
                is_kv_narrow: matches!(model.kv_dtype, Dtype::Fp8 | Dtype::Int8),
                mixed_compute: (curve.mixed_rows / share).max(1.0),
            }
        });
        Self {
            compute_s_per_context_token: work.flops_per_context_token / rates.activation_flops_per_s,
            memory_s_per_context_token: work.bytes_per_context_token / rates.bytes_per_s,
            memory_s_per_sequence: work.bytes_per_sequence / rates.bytes_per_s,
            curve,
        }
    }

    /// Of one of `microbatches` equal parts of a batch, the context being that of the whole.
    #[inline]
    pub(crate) fn of_batch(&self, features: &Features, microbatches: f64) -> DecodeAttentionSeconds {
        let sequences = features.get(Feature::DecodeSequences);
        let mut seconds = DecodeAttentionSeconds {
            floor_s: 0.0,
            compute_s_per_context_token: self.compute_s_per_context_token / microbatches,
            memory_s_per_context_token: self.memory_s_per_context_token * (1.0 / microbatches),
            memory_s: self.memory_s_per_sequence * sequences,
        };
        let Some(by) = self.curve.as_ref().filter(|_| sequences > 0.0) else { return seconds };
        let work = curves::DecodeAttention {
            sequences,
            kv_heads: by.kv_heads,
            query_heads: by.query_heads,
            is_kv_narrow: by.is_kv_narrow,
        };
        let DecodeAttentionLine { floor_s, s_per_byte } = curves::decode_attention(&by.curve, by.bytes_per_s, &work);
        let slower = s_per_byte * by.bytes_per_s;
        seconds.floor_s = floor_s;
        seconds.memory_s_per_context_token *= slower;
        seconds.memory_s *= slower;
        if features.get(Feature::PrefillPass) > 0.0 {
            seconds.compute_s_per_context_token *= by.mixed_compute;
            let chunk_tokens = features.get(Feature::PrefillTokens).min(features.get(Feature::PrefillLongestContext));
            seconds.floor_s += curves::idle_blocks_s(&by.curve, &work, chunk_tokens);
        }
        seconds
    }
}
