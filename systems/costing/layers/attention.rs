//! Attention: its streams, that of prompts as operators, that of decodes by how far they look back.

use oracle_components::kernel_times::Heads;
use oracle_components::layers::{Attention, Index, Keeps, LatentAttention, Layer, Part, Role};
use oracle_components::model::{Dtype, ModelArchitecture};

use super::{INDEX_KERNELS, ModelRank, Place, StageLayers};
use crate::costing::operator::{KernelKind, Operator, Precision, Term};
use crate::costing::parts::{Matrix, cached_widths, kv_heads_per_rank};
use crate::costing::shape::Feature;

/// Decode attention of the layers of a stage on one rank that look back as far as each other.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct DecodeAttention {
    pub(crate) layers: f64,
    /// Of the heads that most of them have.
    pub(crate) heads: Heads,
    /// They are of a kind that is measured.
    pub(crate) is_measured: bool,
    /// Of a layer.
    pub(crate) flops_per_context_token: f64,
    pub(crate) bytes_per_context_token: f64,
    /// Query in, output out.
    pub(crate) bytes_per_sequence: f64,
}

impl DecodeAttention {
    /// With the layers of another: means a layer, and the heads of those that are more.
    fn and(self, other: Self) -> Self {
        let (more, fewer) = if other.layers > self.layers { (other, self) } else { (self, other) };
        if fewer.layers == 0.0 || more == (Self { layers: more.layers, ..fewer }) {
            return Self { layers: self.layers + other.layers, ..more };
        }
        let layers = self.layers + other.layers;
        let mean = |of: fn(&Self) -> f64| (of(&self) * self.layers + of(&other) * other.layers) / layers;
        Self {
            layers,
            flops_per_context_token: mean(|attention| attention.flops_per_context_token),
            bytes_per_context_token: mean(|attention| attention.bytes_per_context_token),
            bytes_per_sequence: mean(|attention| attention.bytes_per_sequence),
            ..more
        }
    }
}

impl ModelRank<'_> {
    /// Bytes a token of norms, rotary embedding and the write to the cache.
    pub(super) fn attention_stream(&self, attention: &Attention, norms: Option<f64>) -> f64 {
        let (keys, values) = cached_widths(attention, self.tensor);
        let queries = f64::from(attention.heads) / self.tensor * f64::from(attention.key_width);
        let written = if attention.keeps == Keeps::Nothing { 0.0 } else { keys + values };
        let rotated = if attention.keeps == Keeps::Nothing { queries } else { queries + keys };
        // Rotary embedding reads and writes q and k, and so does a norm on them.
        let passes = if attention.norm_elements > 0 { 4.0 } else { 2.0 };
        let elements = norms.unwrap_or(0.0) + passes * rotated + written;
        elements * self.activation + self.cached_bytes(&Part::Attention(*attention))
    }

    pub(super) fn latent_stream(&self, latent: &LatentAttention, norms: Option<f64>) -> f64 {
        let rope = f64::from(latent.rope_head_dim);
        let rotated = (f64::from(latent.heads) / self.tensor + 1.0) * rope;
        let elements = norms.unwrap_or(0.0) + 2.0 * rotated + f64::from(latent.kv_lora_rank) + rope;
        elements * self.activation + self.cached_bytes(&Part::Latent(*latent))
    }

    /// The products of latent attention, with those that a decode has: queries into the latent space and outputs back, head by
    /// head, by the same matrices as the expansion in prefill.
    pub(super) fn with_absorbed(
        &self,
        layer: &Layer,
        latent: &LatentAttention,
        mut products: Vec<Operator>,
    ) -> Vec<Operator> {
        let heads = f64::from(latent.heads) / self.tensor;
        let width = f64::from(latent.kv_lora_rank);
        let (nope, value) = (f64::from(latent.nope_head_dim), f64::from(latent.value_head_dim));
        let (rows, outer) = (Feature::DecodeSequences, heads * (nope + value));
        let matrix = Matrix { role: Some(Role::Up), rows, inner: width, outer };
        let mut absorbed = self.gemm(self.model.format_of(layer, Role::Up), matrix);
        let elements = heads * (nope + width + width + value);
        absorbed.bytes[1] = Term::new(Feature::DecodeSequences, elements * self.activation);
        let expansion = products.iter().position(|product| product.flops.feature == Feature::PrefillContext);
        products.insert(expansion.map_or(0, |place| place + 1), absorbed);
        products
    }

    /// Attention of prompts, and the scores of its index.
    pub(super) fn prefill(&self, part: &Part) -> Vec<Place> {
        let (heads, query_key, value, kv_bytes, key_width) = match part {
            Part::Attention(attention) => (
                f64::from(attention.heads) / self.tensor,
                f64::from(attention.key_width),
                f64::from(attention.value_width),
                self.kept_bytes(part),
                cached_widths(attention, self.tensor).0,
            ),
            Part::Latent(latent) => {
                let heads = f64::from(latent.heads) / self.tensor;
                let query_key = f64::from(latent.nope_head_dim) + f64::from(latent.rope_head_dim);
                let value = f64::from(latent.value_head_dim);
                (heads, query_key, value, heads * (query_key + value) * self.activation, 0.0)
            }
            Part::Compressed(_) => return self.sights(part).iter().map(|sight| self.prefill_like(sight)).collect(),
            Part::Recurrent(_) | Part::Mlp(_) | Part::Experts(_) => return Vec::new(),
        };
        let (class, share) = self.seen(seen_tokens(part));
        let (place, pairs, context) = prefill_features(class);
        let attention = Operator {
            layers: 1.0,
            kind: KernelKind::PrefillAttention { head_width: 0.5 * (query_key + value), key_width },
            precision: Precision::Activations,
            flops: Term::new(pairs, 2.0 * heads * (query_key + value) * share),
            bytes: [
                Term::new(context, kv_bytes * share),
                Term::new(Feature::PrefillTokens, heads * (query_key + value) * self.activation),
                Term::ZERO,
            ],
        };
        let scores = scoring_index(part).map(|index| (1, prefill_scores(index)));
        std::iter::once((place, attention)).chain(scores).collect()
    }

    /// What an index does of each token beside its products and its scores: norms and rotary embedding of its queries and its key. The
    /// launches of all its kernels are here, for they are there in every step, with decodes as with prompts.
    pub(super) fn index_stream(&self, part: &Part) -> Option<Place> {
        let index = match part {
            Part::Compressed(attention) => attention.index.as_ref().filter(|index| index.heads > 0),
            _ => scoring_index(part),
        }?;
        let rotated = (f64::from(index.heads) + 1.0) * f64::from(index.width);
        let stream = Operator::elementwise(Feature::Tokens, 2.0 * rotated * self.activation);
        Some((0, stream.of_kind(KernelKind::Stream { kernels: INDEX_KERNELS, kv_writes: 0.0 })))
    }

    /// Attention of prompts that does what that of decodes does of each pair of tokens.
    fn prefill_like(&self, (limit, decode): &(Option<f64>, DecodeAttention)) -> Place {
        let (class, share) = self.seen(*limit);
        let (place, pairs, context) = prefill_features(class);
        let kind = match decode.heads.query > 0.0 {
            true => KernelKind::PrefillAttention { head_width: decode.heads.width, key_width: 0.0 },
            false => SCORES,
        };
        let operator = Operator {
            layers: 1.0,
            kind,
            precision: Precision::Activations,
            flops: Term::new(pairs, decode.flops_per_context_token * share),
            bytes: [
                Term::new(context, decode.bytes_per_context_token * share),
                Term::new(Feature::PrefillTokens, decode.bytes_per_sequence),
                Term::ZERO,
            ],
        };
        (place, operator)
    }

    /// Bytes that attention reads of a token of context: what it keeps, or what a layer before it does, without its index.
    fn kept_bytes(&self, part: &Part) -> f64 {
        match part {
            Part::Attention(attention) => {
                let kept = Attention { keeps: Keeps::KeysAndValues, index: None, ..*attention };
                self.cached_bytes(&Part::Attention(kept))
            }
            Part::Latent(latent) => self.cached_bytes(&Part::Latent(LatentAttention { index: None, ..*latent })),
            Part::Compressed(_) | Part::Recurrent(_) | Part::Mlp(_) | Part::Experts(_) => 0.0,
        }
    }

    /// Decode attention of the layers of a stage: of those that see the whole context, and of those that do not. What sees
    /// another number of tokens than most of these is taken to read the more or the less of it.
    pub(crate) fn decode_attention(&self, stage: &StageLayers) -> [DecodeAttention; 2] {
        let mut all = [DecodeAttention::default(); 2];
        for (layer, &layers) in self.model.layers.kinds().iter().zip(&stage.counts) {
            for (limit, attention) in layer.all_parts().flat_map(|part| self.sights(part)) {
                let (class, share) = self.seen(limit);
                all[class] = all[class].and(DecodeAttention { layers, ..attention.of_share(share) });
            }
        }
        all
    }

    /// What a part looks back on: so many tokens at most, and with what effort.
    fn sights(&self, part: &Part) -> Vec<(Option<f64>, DecodeAttention)> {
        let Part::Compressed(attention) = part else {
            let scores = scoring_index(part).map(|index| (None, decode_scores(index)));
            return self.decode(part).map(|decode| (seen_tokens(part), decode)).into_iter().chain(scores).collect();
        };
        let query = f64::from(attention.heads) / self.tensor;
        let width = f64::from(attention.width);
        let ratio = f64::from(attention.ratio.max(1));
        let last = DecodeAttention {
            layers: 1.0,
            heads: Heads { query, kv: 1.0, width, is_kv_narrow: true },
            is_measured: false,
            flops_per_context_token: 4.0 * query * width,
            bytes_per_context_token: f64::from(attention.bytes_per_entry),
            bytes_per_sequence: 2.0 * query * width * self.activation,
        };
        let entries = DecodeAttention { bytes_per_sequence: 0.0, ..last.of_share(1.0 / ratio) };
        let mut sights = vec![(Some(f64::from(attention.window)), last)];
        match &attention.index {
            _ if attention.ratio == 0 => {}
            None => sights.push((None, entries)),
            Some(index) => {
                sights.push((Some(f64::from(index.top_tokens) * ratio), entries));
                sights.push((None, decode_scores(index).of_share(1.0 / ratio)));
            }
        }
        sights
    }

    /// Whether attention sees the whole context, 0, or not, 1, and how many times what most of those see that do not.
    fn seen(&self, limit: Option<f64>) -> (usize, f64) {
        match limit {
            None => (0, 1.0),
            Some(limit) if limit == self.limit_tokens => (1, 1.0),
            Some(limit) => (1, limit / self.limit_tokens),
        }
    }

    /// Decode attention of a layer; see the module's formulas. Ranks that share the cache's tokens attend with the heads of
    /// all of them, each to its part.
    fn decode(&self, part: &Part) -> Option<DecodeAttention> {
        let is_kv_narrow = matches!(self.model.kv_dtype, Dtype::Fp8 | Dtype::Int8);
        let (flops, elements, heads, is_measured) = match part {
            Part::Attention(attention) => {
                let query = f64::from(attention.heads) / self.tensor;
                let width = query * (f64::from(attention.key_width) + f64::from(attention.value_width));
                let kv = kv_heads_per_rank(attention.kv_heads, self.tensor);
                let heads = Heads { query, kv, width: f64::from(attention.key_width), is_kv_narrow };
                (2.0 * width, width, heads, true)
            }
            Part::Latent(latent) => {
                let query = f64::from(latent.heads) / self.tensor;
                let (width, rope) = (f64::from(latent.kv_lora_rank), f64::from(latent.rope_head_dim));
                let head = f64::from(latent.nope_head_dim) + rope;
                let heads = Heads { query, kv: 1.0, width: head, is_kv_narrow };
                (2.0 * query * (2.0 * width + rope), query * (2.0 * width + rope), heads, false)
            }
            Part::Compressed(_) | Part::Recurrent(_) | Part::Mlp(_) | Part::Experts(_) => return None,
        };
        Some(DecodeAttention {
            layers: 1.0,
            heads,
            is_measured,
            flops_per_context_token: flops,
            bytes_per_context_token: self.kept_bytes(part) / self.kv_ranks,
            bytes_per_sequence: elements * self.activation * self.kv_ranks,
        })
    }
}

impl DecodeAttention {
    /// Of so much of what it reads.
    fn of_share(self, share: f64) -> Self {
        Self {
            flops_per_context_token: self.flops_per_context_token * share,
            bytes_per_context_token: self.bytes_per_context_token * share,
            ..self
        }
    }
}

/// The most tokens that layers see which do not see the whole context: of those that most of them are; infinite without.
pub(crate) fn limit_tokens(model: &ModelArchitecture) -> f64 {
    let limits = model.layers.parts().filter_map(|(part, layers)| Some((seen_tokens(part)?, layers)));
    let most = limits.reduce(|most, next| if next.1 > most.1 { next } else { most });
    most.map_or(f64::INFINITY, |(limit, _)| limit)
}

/// Tokens that attention sees at most, if that is limited.
fn seen_tokens(part: &Part) -> Option<f64> {
    let (reach, index) = match part {
        Part::Attention(attention) => (attention.reach.limit(), attention.index),
        Part::Latent(latent) => (None, latent.index),
        Part::Compressed(attention) => (Some(attention.window), None),
        Part::Recurrent(_) | Part::Mlp(_) | Part::Experts(_) => (None, None),
    };
    reach.or(index.map(|index| index.top_tokens)).map(f64::from)
}

/// Where attention of prompts stands in the list, and what it grows with.
fn prefill_features(class: usize) -> (u8, Feature, Feature) {
    match class {
        0 => (1, Feature::PrefillPairs, Feature::PrefillContext),
        _ => (2, Feature::WindowPrefillPairs, Feature::WindowPrefillContext),
    }
}

/// The index of attention, if it does not take the choice of a layer before it.
fn scoring_index(part: &Part) -> Option<&Index> {
    let index = match part {
        Part::Attention(attention) => attention.index.as_ref(),
        Part::Latent(latent) => latent.index.as_ref(),
        Part::Compressed(_) | Part::Recurrent(_) | Part::Mlp(_) | Part::Experts(_) => None,
    };
    index.filter(|index| index.heads > 0)
}

/// Scores of an index, whose launch is with its other kernels'.
const SCORES: KernelKind = KernelKind::Stream { kernels: 0.0, kv_writes: 0.0 };

/// Scores of prompts' tokens for every token before them.
fn prefill_scores(index: &Index) -> Operator {
    let flops = 2.0 * f64::from(index.heads) * f64::from(index.width);
    Operator {
        layers: 1.0,
        kind: SCORES,
        precision: Precision::Weights,
        flops: Term::new(Feature::PrefillPairs, flops),
        bytes: [Term::new(Feature::PrefillContext, f64::from(index.bytes_per_token)), Term::ZERO, Term::ZERO],
    }
}

/// Scores of a decode for every token of its context.
fn decode_scores(index: &Index) -> DecodeAttention {
    DecodeAttention {
        layers: 1.0,
        flops_per_context_token: 2.0 * f64::from(index.heads) * f64::from(index.width),
        bytes_per_context_token: f64::from(index.bytes_per_token),
        ..DecodeAttention::default()
    }
}
