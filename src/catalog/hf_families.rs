//! What a Hugging Face `model_type` implies beyond the keys of its `config.json`: the defaults of its configuration class
//! and the parts that its modelling code always has.

/// Which layers have the sliding window if the file names one but no `layer_types`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WindowRule {
    /// Every layer.
    All,
    /// All but every n-th layer; `sliding_window_pattern` overrides n.
    AllButEvery(u32),
    /// The layers from `max_window_layers` on, and only with `use_sliding_window` (Qwen).
    FromMaxWindowLayers,
}

/// A model family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    /// Three matrices in the MLP rather than two.
    pub(super) gated_mlp: bool,
    /// `tie_word_embeddings` where the file leaves it out.
    pub(super) tied_embeddings: bool,
    pub(super) learned_positions: bool,
    pub(super) qkv_bias: bool,
    pub(super) all_biases: bool,
    pub(super) qk_norm: bool,
    pub(super) norms_per_layer: u32,
    pub(super) window: WindowRule,
    /// Values of keys that files of the family leave out.
    pub(super) defaults: &'static [(&'static str, u32)],
}

/// Llama and the many that differ from it only in the keys of their files.
const LLAMA: Family = Family {
    gated_mlp: true,
    tied_embeddings: false,
    learned_positions: false,
    qkv_bias: false,
    all_biases: false,
    qk_norm: false,
    norms_per_layer: 2,
    window: WindowRule::All,
    defaults: &[],
};

/// GPT-2 and its kin: two matrices, biases everywhere, learned positions.
const GPT2: Family =
    Family { gated_mlp: false, tied_embeddings: true, learned_positions: true, all_biases: true, ..LLAMA };

/// Defaults of `Gemma3TextConfig`, on which the files of Gemma 3 4B rely.
const GEMMA3_DEFAULTS: &[(&str, u32)] = &[
    ("num_attention_heads", 8),
    ("num_key_value_heads", 4),
    ("head_dim", 256),
    ("vocab_size", 262_208),
    ("max_position_embeddings", 131_072),
    ("sliding_window", 4096),
];

/// Every `model_type` that is known, to offer the nearest.
pub(super) const KNOWN_TYPES: &[&str] = &[
    "llama",
    "mistral",
    "mixtral",
    "phi3",
    "deepseek_v2",
    "deepseek_v3",
    "phimoe",
    "olmoe",
    "granite",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3_text",
    "gpt_oss",
    "phi",
    "gpt2",
    "gpt_bigcode",
    "gpt_neox",
    "opt",
    "starcoder2",
];

impl Family {
    /// Family of a `model_type`; `None` for one that is not known.
    pub(super) fn of(model_type: &str) -> Option<Self> {
        let family = match model_type {
            "llama" | "mixtral" | "phi3" | "deepseek_v2" | "deepseek_v3" | "phimoe" | "granite" => LLAMA,
            "olmoe" => Self { qk_norm: true, ..LLAMA },
            "mistral" => Self { defaults: &[("num_key_value_heads", 8)], ..LLAMA },
            "qwen2" | "qwen2_moe" => Self { qkv_bias: true, window: WindowRule::FromMaxWindowLayers, ..LLAMA },
            "qwen3" | "qwen3_moe" => Self { qk_norm: true, window: WindowRule::FromMaxWindowLayers, ..LLAMA },
            "gemma" => Self { tied_embeddings: true, defaults: &[("head_dim", 256)], ..LLAMA },
            "gemma2" => Self {
                tied_embeddings: true,
                norms_per_layer: 4,
                window: WindowRule::AllButEvery(2),
                defaults: &[("head_dim", 256), ("sliding_window", 4096)],
                ..LLAMA
            },
            "gemma3" | "gemma3_text" => Self {
                tied_embeddings: true,
                norms_per_layer: 4,
                qk_norm: true,
                window: WindowRule::AllButEvery(6),
                defaults: GEMMA3_DEFAULTS,
                ..LLAMA
            },
            "gpt_oss" => Self { all_biases: true, window: WindowRule::AllButEvery(2), ..LLAMA },
            "phi" => Self { gated_mlp: false, all_biases: true, norms_per_layer: 1, ..LLAMA },
            "gpt2" | "gpt_bigcode" | "opt" => GPT2,
            "gpt_neox" => Self { tied_embeddings: false, learned_positions: false, ..GPT2 },
            "starcoder2" => Self { learned_positions: false, ..GPT2 },
            _ => return None,
        };
        Some(family)
    }

    /// The family of a type that is not known.
    pub(super) fn llama() -> Self {
        LLAMA
    }

    /// What the family's configuration class has for a key that the file leaves out.
    pub(super) fn default_of(&self, key: &str) -> Option<u32> {
        self.defaults.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_is_offered_has_a_family() {
        assert!(KNOWN_TYPES.iter().all(|name| Family::of(name).is_some()));
    }
}
