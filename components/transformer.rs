//! A transformer in a few numbers: layers that are alike but for what they look back on and whether they have experts.

use serde::{Deserialize, Serialize};

use crate::layers::{Attention, Experts, LatentAttention, Layer, Mlp, Part, Reach, Stack};
use crate::model::{Dtype, ModelArchitecture, RopeScaling};
use crate::weight_format::WeightFormat;

/// Layers that attend only to the last `window_tokens` tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlidingWindow {
    /// Window, in tokens.
    pub window_tokens: u32,
    /// How many of the layers have the window; the others, spread evenly, see the whole context.
    pub layers: u32,
    /// It is not a window that slides: the context is cut into chunks of so many tokens, and a token sees its own (Llama 4).
    #[serde(default)]
    pub chunked: bool,
    /// The first of the layers is one that sees the whole context.
    #[serde(default)]
    pub begins_full: bool,
}

/// A mixture of experts in place of the dense MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixtureOfExperts {
    /// Routed experts a layer.
    pub experts: u32,
    /// Experts each token is sent to.
    pub experts_per_token: u32,
    /// Intermediate width of one routed expert.
    pub expert_intermediate: u32,
    /// Intermediate width of the shared experts together, 0 without.
    #[serde(default)]
    pub shared_intermediate: u32,
    /// Leading layers with a dense MLP of the model's `intermediate` width instead.
    #[serde(default)]
    pub dense_layers: u32,
    /// Element type of the routed experts' weights where it differs from the model's `weight_dtype` (gpt-oss: mxfp4).
    pub expert_dtype: Option<Dtype>,
}

/// Widths of latent attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatentWidths {
    /// Width of the compressed KV vector.
    pub kv_lora_rank: u32,
    /// Width of the compressed query, if queries are compressed.
    pub q_lora_rank: Option<u32>,
    /// Rotary part of a head's key, stored once a token.
    pub rope_head_dim: u32,
    /// Non-rotary part of a head's query and key.
    pub nope_head_dim: u32,
    /// Width of a head's value.
    pub value_head_dim: u32,
}

/// A transformer; [`Transformer::architecture`] is the model that it describes.
#[derive(Clone, Debug, PartialEq)]
pub struct Transformer {
    /// Catalog or Hugging Face name.
    pub name: String,
    /// Layers.
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
    /// Latent attention, if it is not grouped.
    pub latent: Option<LatentWidths>,
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
    /// Longest context the model takes, in tokens.
    pub max_position_embeddings: u32,
    /// Element type of the weights.
    pub weight_dtype: Dtype,
    /// Side of the square blocks of weights that share a scale.
    pub weight_block: Option<u32>,
    /// Element type of activations.
    pub activation_dtype: Dtype,
    /// Element type of the KV cache.
    pub kv_dtype: Dtype,
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

impl Transformer {
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
            latent: None,
            sliding_window: None,
            moe: None,
            tied_embeddings: false,
            learned_positions: false,
            qkv_bias: false,
            all_biases: false,
            qk_norm: false,
            norms_per_layer: 2,
            max_position_embeddings: 131_072,
            weight_dtype: Dtype::Bf16,
            weight_block: None,
            activation_dtype: Dtype::Bf16,
            kv_dtype: Dtype::Bf16,
        }
    }

    /// The model.
    #[must_use]
    pub fn architecture(&self) -> ModelArchitecture {
        let layer = |index| Layer {
            parts: vec![self.mixer(index), self.feed_forward(index)],
            norms: self.norms_per_layer,
            ..Layer::default()
        };
        ModelArchitecture {
            name: self.name.clone(),
            model_type: String::new(),
            hidden: self.hidden,
            vocab: self.vocab,
            layers: (0..self.layers).map(layer).collect::<Stack>(),
            tied_embeddings: self.tied_embeddings,
            embedding_width: None,
            final_norms: 1,
            norm_bias: self.all_biases,
            head_bias: self.all_biases && !self.tied_embeddings,
            position_rows: if self.learned_positions { self.max_position_embeddings } else { 0 },
            other_elements: 0,
            max_position_embeddings: self.max_position_embeddings,
            rope_scaling: RopeScaling::None,
            weight_format: self.weight_format(),
            head_format: None,
            activation_dtype: self.activation_dtype,
            kv_dtype: self.kv_dtype,
        }
    }

    fn weight_format(&self) -> WeightFormat {
        match self.weight_block {
            Some(side) if self.weight_dtype == Dtype::Fp8 => WeightFormat::fp8_in_blocks(side),
            _ => WeightFormat::usual(self.weight_dtype),
        }
    }

    fn mixer(&self, index: u32) -> Part {
        if let Some(LatentWidths { kv_lora_rank, q_lora_rank, rope_head_dim, nope_head_dim, value_head_dim }) =
            self.latent
        {
            return Part::Latent(LatentAttention {
                heads: self.heads,
                kv_lora_rank,
                q_lora_rank,
                rope_head_dim,
                nope_head_dim,
                value_head_dim,
                gate_width: 0,
                is_expanded: false,
                bias: false,
                index: None,
            });
        }
        Part::Attention(Attention {
            reach: self.reach(index),
            qkv_bias: self.qkv_bias || self.all_biases,
            output_bias: self.all_biases,
            norm_elements: if self.qk_norm { 2 * self.head_dim } else { 0 },
            norm_sums: 0,
            ..Attention::grouped(self.heads, self.kv_heads, self.head_dim)
        })
    }

    fn reach(&self, index: u32) -> Reach {
        let Some(window) = self.sliding_window.filter(|window| window.layers > 0) else { return Reach::Full };
        let (windowed, layers) = (u64::from(window.layers.min(self.layers)), u64::from(self.layers));
        // The full ones as far apart from each other as they may be, the last of each run or the first.
        let full = layers - windowed;
        let before = |layer: u64| (layer * full + if window.begins_full { layers - 1 } else { 0 }) / layers;
        if before(u64::from(index) + 1) > before(u64::from(index)) {
            return Reach::Full;
        }
        if window.chunked { Reach::Chunk(window.window_tokens) } else { Reach::Window(window.window_tokens) }
    }

    fn feed_forward(&self, index: u32) -> Part {
        let mlp = |width| Mlp { width, gated: self.gated_mlp, bias: self.all_biases };
        match self.moe.filter(|moe| index >= moe.dense_layers) {
            None => Part::Mlp(mlp(self.intermediate)),
            Some(moe) => Part::Experts(Experts {
                count: moe.experts,
                per_token: moe.experts_per_token,
                expert: mlp(moe.expert_intermediate),
                shared: mlp(moe.shared_intermediate),
                shared_gate: false,
                router_bias: self.all_biases,
                wide_router: false,
                latent_width: None,
                format: moe.expert_dtype.map(WeightFormat::usual),
            }),
        }
    }
}

impl From<Transformer> for ModelArchitecture {
    fn from(transformer: Transformer) -> Self {
        transformer.architecture()
    }
}
