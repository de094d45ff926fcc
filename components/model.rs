//! A model as its architecture: the numbers of a Hugging Face `config.json` from which weights, KV cache, FLOPs and
//! bytes follow. What follows from them is in `oracle-systems::costing`.

use serde::{Deserialize, Serialize};

use crate::layers::{Attention, Experts, Layer, Part, Role, Stack};
pub use crate::weight_format::Dtype;
use crate::weight_format::WeightFormat;

/// A decoder-only model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelArchitecture {
    /// Catalog or Hugging Face name.
    pub name: String,
    /// The `model_type` of its `config.json`; empty where it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model_type: String,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Vocabulary.
    pub vocab: u32,
    /// Its layers.
    pub layers: Stack,
    /// Input and output embeddings share one matrix.
    pub tied_embeddings: bool,
    /// Width of the embeddings, where they are projected to that of the residual stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding_width: Option<u32>,
    /// Norms before the head.
    pub final_norms: u32,
    /// Norms have a bias vector beside their weights.
    pub norm_bias: bool,
    /// The language-model head has a bias vector.
    pub head_bias: bool,
    /// Rows of learned absolute position embeddings (GPT-3), 0 without.
    pub position_rows: u32,
    /// Parameters beside layers, embeddings and the last norm.
    #[serde(default)]
    pub other_elements: u64,
    /// Longest context the model takes, in tokens, but for `rope_scaling`.
    pub max_position_embeddings: u32,
    /// How its rotary embeddings are stretched to longer ones.
    #[serde(default, skip_serializing_if = "RopeScaling::is_none")]
    pub rope_scaling: RopeScaling,
    /// How the matrices of layers are stored, but for those of layers and of experts that say otherwise.
    pub weight_format: WeightFormat,
    /// How the language-model head is stored, where it is quantised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_format: Option<WeightFormat>,
    /// Element type of activations, in which GEMMs run when weights are narrower integers.
    pub activation_dtype: Dtype,
    /// Element type of the KV cache.
    pub kv_dtype: Dtype,
}

impl ModelArchitecture {
    /// The attention over keys and values that most layers have.
    #[must_use]
    pub fn attention(&self) -> Option<&Attention> {
        let attentions = self.layers.parts().filter_map(|(part, count)| match part {
            Part::Attention(attention) => Some((attention, count)),
            _ => None,
        });
        most_frequent(attentions)
    }

    /// The mixture of experts that most layers have.
    #[must_use]
    pub fn experts(&self) -> Option<&Experts> {
        let mixtures = self.layers.parts().filter_map(|(part, count)| match part {
            Part::Experts(experts) => Some((experts, count)),
            _ => None,
        });
        most_frequent(mixtures)
    }

    /// Longest context, with what its rotary embeddings are stretched to. vLLM takes YaRN's factor times what a model was trained on up
    /// to 0.29, and what the file states since; of the two the longer one. LongRoPE's is asked for by `max_model_len` alone.
    #[must_use]
    pub fn context_tokens(&self) -> u32 {
        let stated = self.max_position_embeddings;
        match self.rope_scaling {
            RopeScaling::Factor(factor) => (f64::from(stated) * factor) as u32,
            RopeScaling::Yarn { original_tokens, factor } => stated.max((f64::from(original_tokens) * factor) as u32),
            RopeScaling::Long { original_tokens } => original_tokens,
            RopeScaling::None => stated,
        }
    }

    /// How the matrices of the routed experts that most layers have are stored.
    #[must_use]
    pub fn expert_format(&self) -> WeightFormat {
        self.experts().map_or(self.weight_format, |experts| self.format_of_experts(experts))
    }

    /// How the matrices of routed experts are stored.
    #[must_use]
    pub fn format_of_experts(&self, experts: &Experts) -> WeightFormat {
        experts.format.unwrap_or(self.weight_format)
    }

    /// The same model with the activations of its routed experts quantised to this type, or left as they are.
    #[must_use]
    pub fn with_expert_activations(self, activations: Option<Dtype>) -> Self {
        let weight_format = self.weight_format;
        let met = |part: &Part| match part {
            Part::Experts(experts) => {
                let format = experts.format.unwrap_or(weight_format).met_by(activations);
                Part::Experts(Experts { format: Some(format), ..*experts })
            }
            other => other.clone(),
        };
        let layers = self.layers.map(|layer| Layer {
            parts: layer.parts.iter().map(met).collect(),
            shared_parts: layer.shared_parts.iter().map(met).collect(),
            ..layer.clone()
        });
        Self { layers, ..self }
    }

    /// How a matrix of a layer is stored that is no routed expert's.
    #[must_use]
    pub fn format_of(&self, layer: &Layer, role: Role) -> WeightFormat {
        layer.formats.map_or(self.weight_format, |formats| formats.of(role))
    }

    /// The same model with all that may be quantised stored in this format, but for experts that have a format of their own.
    #[must_use]
    pub fn with_weights(self, format: WeightFormat) -> Self {
        let layers = self.layers.map(|layer| Layer { formats: None, ..layer.clone() });
        Self { weight_format: format, head_format: None, layers, ..self }
    }

    /// All attention over keys and values.
    pub fn attentions(&self) -> impl Iterator<Item = &Attention> {
        self.layers.parts().filter_map(|(part, _)| match part {
            Part::Attention(attention) => Some(attention),
            _ => None,
        })
    }
}

/// The first of those that are in most layers.
fn most_frequent<T>(counted: impl Iterator<Item = (T, u32)>) -> Option<T> {
    let first_of_most = |most: (T, u32), next: (T, u32)| if next.1 > most.1 { next } else { most };
    counted.reduce(first_of_most).map(|(part, _)| part)
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
