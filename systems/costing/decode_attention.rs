//! Decode attention in seconds: a roofline of the summed context, at constant efficiency or by curve.
//!
//! By curve, a step with prompts may compute a decode as a whole tile of query rows, each query head by itself: kernels
//! that take prompts and decodes in one call do so unless the heads of a group share a tile, and lay out their grid for the
//! longest chunk.

use std::sync::Arc;

use oracle_components::efficiency::DecodeAttentionCurve;
use oracle_components::kernel_times::Heads;

use super::attention_tables::DecodeCorrections;
use super::curves::{self, DecodeAttentionLine, Peaks};
use super::layers::DecodeAttention;
use super::rates::Rates;
use super::shape::{Feature, Features};

/// Decode attention of a layer on a stage's GPUs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DecodeAttentionCost {
    /// Layers of a stage that have it.
    pub(crate) layers: f64,
    compute_s_per_context_token: f64,
    memory_s_per_context_token: f64,
    memory_s_per_sequence: f64,
    curve: Option<DecodeByCurve>,
    /// What was measured of it.
    measured: Option<Arc<DecodeCorrections>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct DecodeByCurve {
    curve: DecodeAttentionCurve,
    peaks: Peaks,
    heads: Heads,
    /// Compute per context token in a step with prompts, over that without.
    mixed_compute: f64,
}

impl DecodeByCurve {
    #[inline]
    fn work(&self, sequences: f64) -> curves::DecodeAttention {
        let Heads { query, kv, is_kv_narrow, .. } = self.heads;
        curves::DecodeAttention { sequences, kv_heads: kv, query_heads: query, is_kv_narrow }
    }

    #[inline]
    fn line(&self, sequences: f64) -> DecodeAttentionLine {
        curves::decode_attention(&self.curve, &self.peaks, &self.work(sequences))
    }
}

/// A batch's decode attention in a layer: `floor_s + max(compute, memory, passes)`, all of the context, memory and passes of
/// the sequences too. Passes are memory that is read again, 0 where it is not.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DecodeAttentionSeconds {
    pub(crate) floor_s: f64,
    pub(crate) compute_s_per_context_token: f64,
    pub(crate) memory_s_per_context_token: f64,
    pub(crate) memory_s: f64,
    pub(crate) passes_s_per_context_token: f64,
    pub(crate) passes_s: f64,
}

impl DecodeAttentionCost {
    pub(crate) fn new(work: &DecodeAttention, rates: &Rates) -> Self {
        let heads = work.heads;
        let curve = rates.curves.as_ref().filter(|_| heads.query > 0.0).map(|curves| {
            let all = &curves.all;
            let is_grouped = heads.kv < heads.query;
            let curve = if is_grouped { all.decode_attention } else { all.decode_attention_multi_head };
            let share = curves::compute_share(&all.prefill_attention, heads.width);
            DecodeByCurve {
                curve,
                peaks: Peaks {
                    flops_per_s: rates.activation_flops_per_s,
                    bytes_per_s: rates.bytes_per_s,
                    processors: all.processors,
                },
                heads,
                mixed_compute: (curve.mixed_rows / share).max(1.0),
            }
        });
        let table = rates.curves.as_ref().and_then(|curves| curves.table.as_ref());
        let measured_heads = work.is_measured.then_some(heads);
        let measured = table.zip(measured_heads).zip(curve).and_then(|((table, heads), by)| {
            table.decode_corrections(&heads, |heads, sequences| {
                let like = DecodeByCurve { heads: *heads, ..by };
                like.line(sequences)
            })
        });
        Self {
            layers: work.layers,
            compute_s_per_context_token: work.flops_per_context_token / rates.activation_flops_per_s,
            memory_s_per_context_token: work.bytes_per_context_token / rates.bytes_per_s,
            memory_s_per_sequence: work.bytes_per_sequence / rates.bytes_per_s,
            curve,
            measured: measured.map(Arc::new),
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
            ..DecodeAttentionSeconds::default()
        };
        let Some(by) = self.curve.as_ref().filter(|_| sequences > 0.0) else { return seconds };
        let (mut line, mut is_mixed_measured) = (by.line(sequences), false);
        if let Some(measured) = &self.measured {
            line = measured.corrected(line, by.peaks.bytes_per_s, features);
            is_mixed_measured = measured.are_of_mixed_batches();
        }
        let slower = line.s_per_byte * by.peaks.bytes_per_s;
        seconds.floor_s = line.floor_s;
        seconds.memory_s_per_context_token *= slower;
        seconds.memory_s *= slower;
        if features.get(Feature::PrefillPass) > 0.0 && !is_mixed_measured {
            let chunk_tokens = features.get(Feature::PrefillTokens).min(features.get(Feature::PrefillLongestContext));
            let work = by.work(sequences);
            let mixed = curves::mixed_decodes(&by.curve, &work, &line, chunk_tokens, by.peaks.processors);
            seconds.floor_s = mixed.floor_s;
            seconds.compute_s_per_context_token = (seconds.compute_s_per_context_token * by.mixed_compute)
                .max(mixed.walk_s_per_context_token / microbatches);
            seconds.passes_s_per_context_token = mixed.passes * seconds.memory_s_per_context_token;
            seconds.passes_s = mixed.passes_s(seconds.memory_s, line.s_per_byte);
        }
        seconds
    }
}
