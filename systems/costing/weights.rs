//! What a model weighs: parameters, bytes by stage and rank, and the KV cache of a token.
//!
//! Counts are those of the published checkpoints: matrices by the shapes of the architecture, norms as one vector (two with
//! `all_biases`), biases where the architecture has them. `weight_dtype` is the width of the linear layers, and
//! `expert_dtype`, where given, that of the routed experts' matrices; embeddings, language-model head, router, norms and
//! biases stay in the activations' type, as quantised checkpoints (8 bits and fewer) keep them.
//!
//! On `tensor_parallel` ranks matrices are divided, and so are routed experts, sliced or whole, among the ranks that share
//! them; norms, the router, MLA's down projections and, where there are more ranks than KV heads, those heads are
//! replicated. Everything here is a whole number far below 2^53 when one rank holds
//! it all, so `f64` is exact.

use std::ops::{Add, Mul};

use oracle_components::kernel_times::Heads;
use oracle_components::model::{Attention, Dtype, MixtureOfExperts, ModelArchitecture};
use oracle_components::scenario::EngineSpec;

/// Numbers of elements by the width they are stored in.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Elements {
    /// In the model's weight type.
    matrices: f64,
    /// Matrices of routed experts, in their own type where they have one.
    experts: f64,
    /// Never quantised.
    wide: f64,
}

impl Elements {
    fn total(self) -> f64 {
        self.matrices + self.experts + self.wide
    }

    fn bytes(self, model: &ModelArchitecture) -> f64 {
        self.matrices * model.weight_dtype.bytes()
            + self.experts * expert_dtype(model).bytes()
            + self.wide * wide_dtype(model).bytes()
    }
}

impl Add for Elements {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            matrices: self.matrices + other.matrices,
            experts: self.experts + other.experts,
            wide: self.wide + other.wide,
        }
    }
}

impl Mul<f64> for Elements {
    type Output = Self;
    fn mul(self, times: f64) -> Self {
        Self { matrices: self.matrices * times, experts: self.experts * times, wide: self.wide * times }
    }
}

/// Element type of what quantisation leaves alone: that of the activations, or 16 bits where those are narrower.
pub(crate) fn wide_dtype(model: &ModelArchitecture) -> Dtype {
    match model.activation_dtype {
        wide @ (Dtype::Fp32 | Dtype::Bf16 | Dtype::Fp16) => wide,
        _ => Dtype::Bf16,
    }
}

/// Element type of the routed experts' matrices.
pub(crate) fn expert_dtype(model: &ModelArchitecture) -> Dtype {
    model.moe.and_then(|moe| moe.expert_dtype).unwrap_or(model.weight_dtype)
}

/// All parameters.
#[must_use]
pub fn parameters(model: &ModelArchitecture) -> u64 {
    whole_model(model).total() as u64
}

/// Parameters that a token's forward pass uses: all of them but the routed experts that it is not sent to.
#[must_use]
pub fn active_parameters(model: &ModelArchitecture) -> u64 {
    let idle = model.moe.map_or(0.0, |moe| {
        let layers = model.layers.saturating_sub(moe.dense_layers);
        let experts = moe.experts.saturating_sub(moe.experts_per_token);
        f64::from(layers) * f64::from(experts) * mlp(model, moe.expert_intermediate, 1.0).total()
    });
    (whole_model(model).total() - idle) as u64
}

/// Bytes of all weights.
#[must_use]
pub fn weight_bytes(model: &ModelArchitecture) -> u64 {
    whole_model(model).bytes(model).ceil() as u64
}

/// Bytes of weights on each rank of `stage`: the embedding on the first stage, the head and the last norm on the last.
#[must_use]
pub fn stage_weight_bytes(model: &ModelArchitecture, tensor_parallel: u32, pipeline_parallel: u32, stage: u32) -> u64 {
    stage_weight_bytes_with_experts(model, tensor_parallel, pipeline_parallel, stage, 1)
}

/// The same where `expert_engines` of `tensor_parallel` ranks each share the routed experts.
#[must_use]
pub fn stage_weight_bytes_with_experts(
    model: &ModelArchitecture,
    tensor_parallel: u32,
    pipeline_parallel: u32,
    stage: u32,
    expert_engines: u32,
) -> u64 {
    let tensor = f64::from(tensor_parallel.max(1));
    let experts = tensor * f64::from(expert_engines.max(1));
    stage_elements(model, tensor, experts, pipeline_parallel.max(1), stage).bytes(model).ceil() as u64
}

/// Bytes that a token takes in the KV cache of one layer, all KV heads together.
#[must_use]
pub fn kv_bytes_per_token_per_layer(model: &ModelArchitecture) -> f64 {
    kv_bytes_per_token_per_layer_and_rank(model, 1)
}

/// Bytes that a token takes in the KV cache of one layer on one of `tensor_parallel` ranks. KV heads are divided, down to
/// one a rank; a latent vector (MLA) has no heads and is whole on every rank.
#[must_use]
pub fn kv_bytes_per_token_per_layer_and_rank(model: &ModelArchitecture, tensor_parallel: u32) -> f64 {
    let elements = match model.attention {
        Attention::Grouped => {
            2.0 * kv_heads_per_rank(model, f64::from(tensor_parallel.max(1))) * f64::from(model.head_dim)
        }
        Attention::Latent { kv_lora_rank, rope_head_dim, .. } => f64::from(kv_lora_rank) + f64::from(rope_head_dim),
    };
    elements * model.kv_dtype.bytes()
}

/// Layers `(first, count)` of a stage: an even split, with the remainder on the last stage.
#[must_use]
pub fn stage_layers(layers: u32, pipeline_parallel: u32, stage: u32) -> (u32, u32) {
    let each = layers / pipeline_parallel;
    let last = stage + 1 == pipeline_parallel;
    (stage * each, if last { layers - stage * each } else { each })
}

/// KV heads on a rank: divided down to one, then replicated.
pub(crate) fn kv_heads_per_rank(model: &ModelArchitecture, tensor: f64) -> f64 {
    (f64::from(model.kv_heads) / tensor).max(1.0)
}

/// Attention heads of a rank; latent attention has one of keys and values, whatever the rank.
pub(crate) fn heads_of_rank(engine: &EngineSpec) -> Heads {
    let (model, ranks) = (&engine.model, f64::from(engine.tensor_parallel.max(1)));
    Heads {
        query: f64::from(model.heads) / ranks,
        kv: match model.attention {
            Attention::Grouped => kv_heads_per_rank(model, ranks),
            Attention::Latent { .. } => 1.0,
        },
        width: f64::from(model.head_dim),
        is_kv_narrow: matches!(model.kv_dtype, Dtype::Fp8 | Dtype::Int8),
    }
}

/// Matrices that widen the residual stream in an MLP: gate and up, or up alone.
pub(crate) fn mlp_in_matrices(model: &ModelArchitecture) -> f64 {
    if model.gated_mlp { 2.0 } else { 1.0 }
}

fn whole_model(model: &ModelArchitecture) -> Elements {
    stage_elements(model, 1.0, 1.0, 1, 0)
}

fn stage_elements(model: &ModelArchitecture, tensor: f64, expert_ranks: f64, stages: u32, stage: u32) -> Elements {
    let (first_layer, layers) = stage_layers(model.layers, stages, stage);
    let hidden = f64::from(model.hidden);
    let dense_until = model.moe.map_or(model.layers, |moe| moe.dense_layers);
    let dense = dense_until.saturating_sub(first_layer).min(layers);
    let norms = f64::from(model.norms_per_layer) * norm(model, hidden);
    let mut sum = (attention(model, tensor) + Elements { wide: norms, ..Elements::default() }) * f64::from(layers)
        + mlp(model, model.intermediate, tensor) * f64::from(dense);
    if let Some(moe) = &model.moe {
        sum = sum + experts(model, moe, tensor, expert_ranks) * f64::from(layers - dense);
    }
    let vocabulary = f64::from(model.vocab) * hidden / tensor;
    let (first, last) = (stage == 0, stage + 1 == stages);
    if first {
        sum.wide += vocabulary;
        if model.learned_positions {
            sum.wide += f64::from(model.max_position_embeddings) * hidden;
        }
    }
    if last {
        sum.wide += norm(model, hidden);
        if !model.tied_embeddings {
            sum.wide += vocabulary;
            if model.all_biases {
                sum.wide += f64::from(model.vocab) / tensor;
            }
        } else if !first {
            sum.wide += vocabulary;
        }
    }
    sum
}

fn norm(model: &ModelArchitecture, width: f64) -> f64 {
    if model.all_biases { 2.0 * width } else { width }
}

fn attention(model: &ModelArchitecture, tensor: f64) -> Elements {
    let hidden = f64::from(model.hidden);
    let heads = f64::from(model.heads) / tensor;
    let head_dim = f64::from(model.head_dim);
    match model.attention {
        Attention::Grouped => {
            let qkv = (heads + 2.0 * kv_heads_per_rank(model, tensor)) * head_dim;
            let mut wide = 0.0;
            if model.qkv_bias || model.all_biases {
                wide += qkv;
            }
            if model.all_biases {
                wide += hidden;
            }
            if model.qk_norm {
                wide += 2.0 * head_dim;
            }
            Elements { matrices: hidden * qkv + heads * head_dim * hidden, wide, ..Elements::default() }
        }
        Attention::Latent { kv_lora_rank, q_lora_rank, rope_head_dim, nope_head_dim, value_head_dim } => {
            let (latent, rope) = (f64::from(kv_lora_rank), f64::from(rope_head_dim));
            let (nope, value) = (f64::from(nope_head_dim), f64::from(value_head_dim));
            let query_width = heads * (nope + rope);
            let query_lora = q_lora_rank.map_or(0.0, f64::from);
            let query = if q_lora_rank.is_some() {
                hidden * query_lora + query_lora * query_width
            } else {
                hidden * query_width
            };
            let key_value = hidden * (latent + rope) + latent * heads * (nope + value);
            let matrices = query + key_value + heads * value * hidden;
            Elements { matrices, wide: query_lora + latent, ..Elements::default() }
        }
    }
}

fn mlp(model: &ModelArchitecture, intermediate: u32, tensor: f64) -> Elements {
    let (hidden, width) = (f64::from(model.hidden), f64::from(intermediate) / tensor);
    let inward = mlp_in_matrices(model);
    let wide = if model.all_biases { inward * width + hidden } else { 0.0 };
    Elements { matrices: (inward + 1.0) * hidden * width, wide, ..Elements::default() }
}

fn experts(model: &ModelArchitecture, moe: &MixtureOfExperts, tensor: f64, expert_ranks: f64) -> Elements {
    let bias = if model.all_biases { f64::from(moe.experts) } else { 0.0 };
    let router = Elements { wide: f64::from(model.hidden) * f64::from(moe.experts) + bias, ..Elements::default() };
    let Elements { matrices, wide, .. } = mlp(model, moe.expert_intermediate, expert_ranks) * f64::from(moe.experts);
    let routed = Elements { matrices: 0.0, experts: matrices, wide };
    let shared =
        if moe.shared_intermediate == 0 { Elements::default() } else { mlp(model, moe.shared_intermediate, tensor) };
    router + routed + shared
}
