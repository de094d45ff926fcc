//! The forward pass of a pipeline stage as a short list of operators, on one rank.
//!
//! Operators are listed once for each kind of layer with how many layers are of that kind, so the list is as long for 1
//! layer as for 100. Of each matrix a rank holds `1/tp`, but for what `weights` names as replicated.
//!
//! - grouped attention: qkv and o products; prefill `4·pairs·heads·head_dim` FLOPs; decode the same of the context; the
//!   KV cache is read once for all query heads.
//! - latent attention (MLA; DeepSeek-V2, arXiv 2405.04434): low-rank q, latent k/v. Prefill expands the latents of the
//!   whole context to heads; decode absorbs the expansion into the query and attends over the latents, read once for all
//!   heads.
//! - MLP: gate and up in one product, then down; a mixture of experts: router, each token's `k` experts, weights of the
//!   distinct experts that the tokens are expected to reach, shared experts. A rank has a slice of every expert, or with
//!   expert parallelism whole ones, and then the busiest rank counts.
//! - elementwise: norms with the residual (4 vectors of the hidden width each), rotary embedding, KV write, activation.

use oracle_components::model::{Attention, Dtype, MixtureOfExperts, ModelArchitecture};
use oracle_components::scenario::EngineSpec;

use super::operator::{KernelKind, Operator, Precision, Term};
use super::shape::Feature;
use super::weights::{
    expert_dtype, kv_bytes_per_token_per_layer_and_rank, kv_heads_per_rank, mlp_in_matrices, wide_dtype,
};

/// Kernels around the attention of a layer that are priced as one stream: two norms (with the residual), rotary embedding,
/// KV write.
pub const ATTENTION_STREAM_KERNELS: f64 = 4.0;
const ATTENTION_STREAMS: KernelKind = KernelKind::Stream { kernels: ATTENTION_STREAM_KERNELS, kv_writes: 1.0 };
/// The same with latent attention, whose write no measured attention holds.
const LATENT_ATTENTION_STREAMS: KernelKind = KernelKind::Stream { kernels: ATTENTION_STREAM_KERNELS, kv_writes: 0.0 };

/// What of the model a stage holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct StageLayers {
    /// Layers with a dense MLP.
    pub(crate) dense: f64,
    /// Layers with a mixture of experts.
    pub(crate) moe: f64,
    /// Layers that attend to the whole context.
    pub(crate) full: f64,
    /// Layers with a sliding window.
    pub(crate) window: f64,
    /// The embedding is here.
    pub(crate) first: bool,
    /// The language-model head is here.
    pub(crate) last: bool,
}

impl StageLayers {
    pub(crate) fn layers(&self) -> f64 {
        self.dense + self.moe
    }
}

/// Decode attention of one layer on one rank.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct DecodeAttention {
    pub(crate) flops_per_context_token: f64,
    pub(crate) bytes_per_context_token: f64,
    /// Query in, output out.
    pub(crate) bytes_per_sequence: f64,
}

/// Which of the ranks that hold whole experts is looked at: one that does its share, or the one that the others wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExpertLoad {
    Mean,
    Busiest,
}

/// Whole experts on ranks.
#[derive(Clone, Copy)]
struct WholeExperts {
    ranks: f64,
    engines: f64,
    load: ExpertLoad,
}

/// A model on one of `tensor` ranks.
#[derive(Clone, Copy)]
pub(crate) struct ModelRank<'a> {
    model: &'a ModelArchitecture,
    tensor: f64,
    whole_experts: Option<WholeExperts>,
    /// Ranks that share the tokens of norms: all with sequence parallelism, else each has all tokens.
    norm_ranks: f64,
    /// Bytes of an element of an activation.
    activation: f64,
    /// Bytes of an element of a matrix that is never quantised.
    wide: f64,
    hidden: f64,
    heads: f64,
    kv_bytes: f64,
    /// Ranks that share the cache's tokens.
    kv_ranks: f64,
}

impl<'a> ModelRank<'a> {
    pub(crate) fn new(engine: &'a EngineSpec, load: ExpertLoad) -> Self {
        let (model, tensor_parallel) = (&*engine.model, engine.tensor_parallel);
        let tensor = f64::from(tensor_parallel.max(1));
        let whole_experts = engine.expert_parallel.as_ref().map(|experts| {
            let engines = f64::from(experts.data_parallel);
            WholeExperts { ranks: tensor * engines, engines, load }
        });
        Self {
            model,
            tensor,
            whole_experts,
            norm_ranks: if engine.sequence_parallel { tensor } else { 1.0 },
            activation: model.activation_dtype.bytes(),
            wide: wide_dtype(model).bytes(),
            hidden: f64::from(model.hidden),
            heads: f64::from(model.heads) / tensor,
            kv_bytes: kv_bytes_per_token_per_layer_and_rank(model, tensor_parallel),
            kv_ranks: f64::from(engine.decode_context_parallel.max(1)),
        }
    }

    /// Every operator of a stage but decode attention.
    pub(crate) fn operators(&self, stage: &StageLayers) -> Vec<Operator> {
        let mut operators = Vec::with_capacity(20);
        let mut add = |layers: f64, kind: Vec<Operator>| {
            operators.extend(kind.into_iter().filter(|_| layers > 0.0).map(|operator| operator.in_layers(layers)));
        };
        add(stage.layers(), self.attention_products());
        add(stage.full, vec![self.prefill_attention(Feature::PrefillPairs, Feature::PrefillContext)]);
        add(stage.window, vec![self.prefill_attention(Feature::WindowPrefillPairs, Feature::WindowPrefillContext)]);
        add(stage.dense, self.mlp(self.model.intermediate));
        if let Some(moe) = &self.model.moe {
            add(stage.moe, self.mixture(moe));
        }
        if stage.first {
            add(1.0, vec![self.embedding()]);
        }
        if stage.last {
            add(1.0, self.head());
        }
        operators
    }

    /// Decode attention of a layer; see the module's formulas. Ranks that share the cache's tokens attend with the heads of
    /// all of them, each to its part.
    pub(crate) fn decode_attention(&self) -> DecodeAttention {
        let (flops, elements) = match self.model.attention {
            Attention::Grouped => {
                let width = self.heads * f64::from(self.model.head_dim);
                (4.0 * width, 2.0 * width)
            }
            Attention::Latent { kv_lora_rank, rope_head_dim, .. } => {
                let (latent, rope) = (f64::from(kv_lora_rank), f64::from(rope_head_dim));
                (2.0 * self.heads * (2.0 * latent + rope), self.heads * (2.0 * latent + rope))
            }
        };
        DecodeAttention {
            flops_per_context_token: flops,
            bytes_per_context_token: self.kv_bytes / self.kv_ranks,
            bytes_per_sequence: elements * self.activation * self.kv_ranks,
        }
    }

    fn gemm(&self, rows: Feature, inner: f64, outer: f64) -> Operator {
        let weight = self.model.weight_dtype.bytes();
        Operator::gemm(Precision::Weights, rows, (inner, outer), weight, self.activation)
    }

    fn wide_gemm(&self, rows: Feature, inner: f64, outer: f64) -> Operator {
        Operator::gemm(Precision::Activations, rows, (inner, outer), self.wide, self.activation)
    }

    fn attention_products(&self) -> Vec<Operator> {
        let Self { model, hidden, heads, activation, .. } = *self;
        let norms = 4.0 * f64::from(model.norms_per_layer) * hidden / self.norm_ranks;
        match model.attention {
            Attention::Grouped => {
                let head_dim = f64::from(model.head_dim);
                let kv_width = kv_heads_per_rank(model, self.tensor) * head_dim;
                let rotated = heads * head_dim + kv_width;
                // Rotary embedding reads and writes q and k, and so does a norm on them.
                let passes = if model.qk_norm { 4.0 } else { 2.0 };
                let bytes = (norms + passes * rotated + 2.0 * kv_width) * activation + self.kv_bytes;
                vec![
                    self.gemm(Feature::Tokens, hidden, heads * head_dim + 2.0 * kv_width),
                    self.gemm(Feature::Tokens, heads * head_dim, hidden),
                    Operator::elementwise(Feature::Tokens, bytes).of_kind(ATTENTION_STREAMS),
                ]
            }
            Attention::Latent { kv_lora_rank, q_lora_rank, rope_head_dim, nope_head_dim, value_head_dim } => {
                let (latent, rope) = (f64::from(kv_lora_rank), f64::from(rope_head_dim));
                let (nope, value) = (f64::from(nope_head_dim), f64::from(value_head_dim));
                let query_width = heads * (nope + rope);
                let mut operators = match q_lora_rank.map(f64::from) {
                    Some(rank) => {
                        vec![self.gemm(Feature::Tokens, hidden, rank), self.gemm(Feature::Tokens, rank, query_width)]
                    }
                    None => vec![self.gemm(Feature::Tokens, hidden, query_width)],
                };
                let rotated = (heads + 1.0) * rope;
                let bytes = (norms + 2.0 * rotated + latent + rope) * activation + self.kv_bytes;
                operators.extend([
                    self.gemm(Feature::Tokens, hidden, latent + rope),
                    self.gemm(Feature::PrefillContext, latent, heads * (nope + value)),
                    self.absorbed_products(latent, nope, value),
                    self.gemm(Feature::Tokens, heads * value, hidden),
                    Operator::elementwise(Feature::Tokens, bytes).of_kind(LATENT_ATTENTION_STREAMS),
                ]);
                operators
            }
        }
    }

    /// Queries into the latent space and outputs back, head by head: the same matrices as the expansion in prefill.
    fn absorbed_products(&self, latent: f64, nope: f64, value: f64) -> Operator {
        let mut product = self.gemm(Feature::DecodeSequences, latent, self.heads * (nope + value));
        let elements = self.heads * (nope + latent + latent + value);
        product.bytes[1] = Term::new(Feature::DecodeSequences, elements * self.activation);
        product
    }

    fn prefill_attention(&self, pairs: Feature, context: Feature) -> Operator {
        let (query_key, value) = match self.model.attention {
            Attention::Grouped => (f64::from(self.model.head_dim), f64::from(self.model.head_dim)),
            Attention::Latent { rope_head_dim, nope_head_dim, value_head_dim, .. } => {
                (f64::from(nope_head_dim) + f64::from(rope_head_dim), f64::from(value_head_dim))
            }
        };
        let (kv_bytes, key_width) = match self.model.attention {
            Attention::Grouped => (self.kv_bytes, kv_heads_per_rank(self.model, self.tensor) * query_key),
            Attention::Latent { .. } => (self.heads * (query_key + value) * self.activation, 0.0),
        };
        Operator {
            layers: 1.0,
            kind: KernelKind::PrefillAttention { head_width: 0.5 * (query_key + value), key_width },
            precision: Precision::Activations,
            flops: Term::new(pairs, 2.0 * self.heads * (query_key + value)),
            bytes: [
                Term::new(context, kv_bytes),
                Term::new(Feature::PrefillTokens, self.heads * (query_key + value) * self.activation),
                Term::ZERO,
            ],
        }
    }

    fn mlp(&self, intermediate: u32) -> Vec<Operator> {
        let width = f64::from(intermediate) / self.tensor;
        self.mlp_of(width, Precision::Weights, self.model.weight_dtype)
    }

    fn mlp_of(&self, width: f64, precision: Precision, dtype: Dtype) -> Vec<Operator> {
        let inward = mlp_in_matrices(self.model) * width;
        let gemm =
            |inner, outer| Operator::gemm(precision, Feature::Tokens, (inner, outer), dtype.bytes(), self.activation);
        vec![
            gemm(self.hidden, inward),
            gemm(width, self.hidden),
            Operator::elementwise(Feature::Tokens, (inward + width) * self.activation),
        ]
    }

    fn mixture(&self, moe: &MixtureOfExperts) -> Vec<Operator> {
        let per_token = f64::from(moe.experts_per_token);
        // Each token's vector is copied to its experts and their outputs are summed.
        let permute = per_token * 2.0 * 2.0 * self.hidden * self.activation;
        let width = f64::from(moe.expert_intermediate);
        let all = f64::from(moe.experts);
        let (experts, inner) =
            self.whole_experts.map_or((all, width / self.tensor), |whole| (all / whole.ranks, width));
        let matrices = mlp_in_matrices(self.model) + 1.0;
        let kind = KernelKind::Experts { experts, hidden: self.hidden, inner, matrices };
        let mut operators = vec![
            self.wide_gemm(Feature::Tokens, self.hidden, all),
            Operator::elementwise(Feature::Tokens, permute).of_kind(kind),
        ];
        operators.extend(self.routed(moe, kind));
        if moe.shared_intermediate > 0 {
            operators.extend(self.mlp(moe.shared_intermediate));
        }
        operators
    }

    /// The routed experts: a slice of each on every rank, or whole ones.
    fn routed(&self, moe: &MixtureOfExperts, kind: KernelKind) -> impl Iterator<Item = Operator> {
        let width = f64::from(moe.expert_intermediate);
        let (width, tokens, token_share, experts, expert_share) = match self.whole_experts {
            None => (width / self.tensor, Feature::Tokens, 1.0, Feature::Experts, 1.0),
            Some(WholeExperts { ranks, engines, load: ExpertLoad::Mean }) => {
                (width, Feature::Tokens, engines / ranks, Feature::Experts, 1.0 / ranks)
            }
            Some(WholeExperts { load: ExpertLoad::Busiest, .. }) => {
                (width, Feature::BusiestTokens, 1.0, Feature::BusiestExperts, 1.0)
            }
        };
        let times = f64::from(moe.experts_per_token) * token_share;
        let operators = self.mlp_of(width, Precision::Experts, expert_dtype(self.model));
        operators.into_iter().map(move |mut expert| {
            expert.flops = Term::new(tokens, expert.flops.amount * times);
            expert.bytes = expert.bytes.map(|term| match term.feature {
                Feature::Pass => Term::new(experts, term.amount * expert_share),
                _ => Term::new(tokens, term.amount * times),
            });
            expert.kind = kind;
            expert
        })
    }

    /// A row of the table (and one of positions) in, a vector out.
    fn embedding(&self) -> Operator {
        let tables = if self.model.learned_positions { 2.0 } else { 1.0 };
        Operator::elementwise(Feature::Tokens, self.hidden * (tables * self.wide + self.activation))
    }

    /// The last norm and the head on sampled rows, then the sampler: logits of the whole vocabulary to 32 bits (read,
    /// written) and read once more.
    fn head(&self) -> Vec<Operator> {
        let vocab = f64::from(self.model.vocab);
        let norm = 4.0 * self.hidden * self.activation;
        vec![
            self.wide_gemm(Feature::SampledRows, self.hidden, vocab / self.tensor),
            Operator::elementwise(Feature::SampledRows, norm + vocab * (self.activation + 4.0 + 4.0))
                .of_kind(KernelKind::Sampler),
        ]
    }
}
