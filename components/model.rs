//! A model as its architecture: the numbers of a Hugging Face `config.json` from which weights, KV cache, FLOPs and
//! bytes follow. What follows from them is in `oracle-systems::costing`.

use serde::{Deserialize, Serialize};

use crate::weight_format::WeightFormat;

/// Element type of weights, activations or KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit float.
    Fp32,
    /// 16-bit brain float.
    Bf16,
    /// 16-bit IEEE float.
    Fp16,
    /// 8-bit float (e4m3 or e5m2).
    Fp8,
    /// 8-bit integer.
    Int8,
    /// 6-bit float (e3m2 or e2m3) in microscaling groups.
    Fp6,
    /// 6-bit integer.
    Int6,
    /// 5-bit integer.
    Int5,
    /// 4-bit integer.
    Int4,
    /// 4-bit microscaling float: 32 elements share an 8-bit scale.
    Mxfp4,
    /// NVIDIA's 4-bit float: 16 elements share an 8-bit scale, and a matrix has another.
    Nvfp4,
    /// One of 16 values of a table (bitsandbytes' nf4 and fp4).
    Nf4,
    /// 3-bit integer.
    Int3,
    /// 2-bit integer.
    Int2,
    /// −1, 0 or 1 (BitNet), four to a byte.
    Ternary,
}

impl Dtype {
    /// All of them, widest first.
    pub const ALL: [Self; 15] = [
        Self::Fp32,
        Self::Bf16,
        Self::Fp16,
        Self::Fp8,
        Self::Int8,
        Self::Fp6,
        Self::Int6,
        Self::Int5,
        Self::Int4,
        Self::Mxfp4,
        Self::Nvfp4,
        Self::Nf4,
        Self::Int3,
        Self::Int2,
        Self::Ternary,
    ];

    /// Bits of an element alone.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Fp32 => 32,
            Self::Bf16 | Self::Fp16 => 16,
            Self::Fp8 | Self::Int8 => 8,
            Self::Fp6 | Self::Int6 => 6,
            Self::Int5 => 5,
            Self::Int4 | Self::Mxfp4 | Self::Nvfp4 | Self::Nf4 => 4,
            Self::Int3 => 3,
            Self::Int2 | Self::Ternary => 2,
        }
    }

    /// Bytes an element takes, scales of the type's usual format included.
    #[must_use]
    pub fn bytes(self) -> f64 {
        WeightFormat::usual(self).bytes_per_parameter()
    }
}

/// How attention stores keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attention {
    /// Multi-head (kv_heads = heads), grouped-query or multi-query (kv_heads = 1) attention.
    Grouped,
    /// Multi-head latent attention (DeepSeek V2/V3): one compressed vector a token and layer.
    Latent {
        /// Width of the compressed KV vector.
        kv_lora_rank: u32,
        /// Width of the compressed query, if queries are compressed.
        q_lora_rank: Option<u32>,
        /// Rotary part of a head's key, stored once a token.
        rope_head_dim: u32,
        /// Non-rotary part of a head's query and key.
        nope_head_dim: u32,
        /// Width of a head's value.
        value_head_dim: u32,
    },
}

/// Layers that attend only to the last `window_tokens` tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlidingWindow {
    /// Window, in tokens.
    pub window_tokens: u32,
    /// How many of the layers have the window; the others see the whole context.
    pub layers: u32,
    /// It is not a window that slides: the context is cut into chunks of so many tokens, and a token sees its own (Llama 4).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chunked: bool,
    /// The first of the layers is one that sees the whole context.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub begins_full: bool,
}

/// A mixture of experts in place of the dense MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MixtureOfExperts {
    /// Routed experts a layer.
    pub experts: u32,
    /// Experts each token is sent to.
    pub experts_per_token: u32,
    /// Intermediate width of one routed expert.
    pub expert_intermediate: u32,
    /// Intermediate width of the shared experts together, 0 without.
    pub shared_intermediate: u32,
    /// Leading layers with a dense MLP of the model's `intermediate` width instead.
    pub dense_layers: u32,
    /// Element type of the routed experts' weights where it differs from the model's `weight_dtype` (gpt-oss: mxfp4).
    pub expert_dtype: Option<Dtype>,
}

/// A decoder-only transformer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelArchitecture {
    /// Catalog or Hugging Face name.
    pub name: String,
    /// Transformer layers.
    pub layers: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Query heads.
    pub heads: u32,
    /// Key/value heads.
    pub kv_heads: u32,
    /// Width of a head (queries, keys and values of grouped attention).
    pub head_dim: u32,
    /// Intermediate width of the dense MLP.
    pub intermediate: u32,
    /// Vocabulary.
    pub vocab: u32,
    /// Gated MLP (gate, up, down: three matrices) rather than up and down alone.
    pub gated_mlp: bool,
    /// How keys and values are stored.
    pub attention: Attention,
    /// Sliding-window layers, if any.
    pub sliding_window: Option<SlidingWindow>,
    /// Mixture of experts, if any.
    pub moe: Option<MixtureOfExperts>,
    /// Input and output embeddings share one matrix.
    pub tied_embeddings: bool,
    /// Learned absolute position embeddings (GPT-3), counted among the parameters.
    pub learned_positions: bool,
    /// Bias vectors on the q, k and v projections (Qwen 2.5).
    pub qkv_bias: bool,
    /// Bias vectors on every projection and norm (GPT-3, Phi-2).
    pub all_biases: bool,
    /// Per-head norms on queries and keys (Qwen 3, Gemma 3).
    pub qk_norm: bool,
    /// Norms a layer: 2, or 4 with norms after attention and MLP too (Gemma 2 and 3).
    pub norms_per_layer: u32,
    /// Longest context the model takes, in tokens, but for `rope_scaling`.
    pub max_position_embeddings: u32,
    /// How its rotary embeddings are stretched to longer ones.
    #[serde(default, skip_serializing_if = "RopeScaling::is_none")]
    pub rope_scaling: RopeScaling,
    /// Element type of the weights.
    pub weight_dtype: Dtype,
    /// Side of the square blocks of weights that share a scale, of checkpoints quantised by blocks.
    pub weight_block: Option<u32>,
    /// Element type of activations, in which GEMMs run when weights are narrower integers.
    pub activation_dtype: Dtype,
    /// Element type of the KV cache.
    pub kv_dtype: Dtype,
}

/// How rotary embeddings are stretched to contexts that the model was not trained on, as far as the longest context depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RopeScaling {
    /// Not at all, or so that `max_position_embeddings` holds.
    #[default]
    None,
    /// To so many times `max_position_embeddings`.
    Factor(f64),
    /// By YaRN, to so many times what it was trained on, which `max_position_embeddings` may state already or not.
    Yarn {
        /// Tokens that it was trained on.
        original_tokens: u32,
        /// So many times.
        factor: f64,
    },
    /// By LongRoPE, to `max_position_embeddings`; short contexts suffer from it.
    Long {
        /// Tokens that it was trained on.
        original_tokens: u32,
    },
}

impl RopeScaling {
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// The sizes of a dense model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DenseShape {
    /// Transformer layers.
    pub layers: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Query heads.
    pub heads: u32,
    /// Key/value heads.
    pub kv_heads: u32,
    /// Intermediate width of the MLP.
    pub intermediate: u32,
    /// Vocabulary.
    pub vocab: u32,
}

impl ModelArchitecture {
    /// A dense model built as Llama is, of these sizes: gated MLP, grouped attention with heads of `hidden / heads`, two norms
    /// a layer, no biases, embeddings of their own at both ends, all in bf16, 131,072 tokens of context.
    #[must_use]
    pub fn llama_like(name: impl Into<String>, shape: DenseShape) -> Self {
        Self {
            name: name.into(),
            layers: shape.layers,
            hidden: shape.hidden,
            heads: shape.heads,
            kv_heads: shape.kv_heads,
            head_dim: shape.hidden / shape.heads,
            intermediate: shape.intermediate,
            vocab: shape.vocab,
            gated_mlp: true,
            attention: Attention::Grouped,
            sliding_window: None,
            moe: None,
            tied_embeddings: false,
            learned_positions: false,
            qkv_bias: false,
            all_biases: false,
            qk_norm: false,
            norms_per_layer: 2,
            max_position_embeddings: 131_072,
            rope_scaling: RopeScaling::None,
            weight_dtype: Dtype::Bf16,
            weight_block: None,
            activation_dtype: Dtype::Bf16,
            kv_dtype: Dtype::Bf16,
        }
    }
}
