//! The layers of a model under vLLM, by vLLM's names of them, as matrix products and streams.

use oracle_components::model::ModelArchitecture;

/// Bytes of a 16-bit element.
const ELEMENT_BYTES: f64 = 2.0;

/// A model whose layers were measured on one of so many ranks.
pub(crate) struct Profile<'a> {
    pub(crate) model: &'a ModelArchitecture,
    pub(crate) ranks: u32,
}

impl Profile<'_> {
    /// What a rank has of a width that is divided.
    pub(crate) fn width(&self, whole: u32) -> u32 {
        whole / self.ranks
    }

    /// KV heads of a rank: replicated where there are fewer than ranks.
    pub(crate) fn kv_heads(&self) -> u32 {
        self.width(self.model.kv_heads).max(1)
    }

    /// Columns and depth of a product, by vLLM's name of it.
    pub(crate) fn product(&self, layer: &str) -> Option<(u32, u32)> {
        let model = self.model;
        let (heads, kv_heads) = (self.width(model.heads), self.kv_heads());
        Some(match layer {
            "qkv_proj" => ((heads + 2 * kv_heads) * model.head_dim, model.hidden),
            "o_proj" => (model.hidden, heads * model.head_dim),
            "gate_up_proj" => (2 * self.width(model.intermediate), model.hidden),
            "down_proj" => (model.hidden, self.width(model.intermediate)),
            "lm_head" => (self.width(model.vocab), model.hidden),
            _ => return None,
        })
    }

    /// Bytes of a token in a stream, by its name.
    pub(crate) fn stream_bytes(&self, layer: &str) -> Option<f64> {
        let model = self.model;
        let elements = match layer {
            "layernorm" | "final_layernorm" => 4 * model.hidden,
            "act_fn" => 3 * self.width(model.intermediate),
            "rotary_emb" => 2 * self.rotated(),
            _ => return None,
        };
        Some(f64::from(elements) * ELEMENT_BYTES)
    }

    /// Elements of a token's queries and keys.
    pub(crate) fn rotated(&self) -> u32 {
        (self.width(self.model.heads) + self.kv_heads()) * self.model.head_dim
    }
}
