//! The layers of a model under vLLM, by vLLM's names of them, as matrix products and streams.

use std::path::Path;

use oracle_components::layers::{Attention, Mlp, Part};
use oracle_components::model::ModelArchitecture;

use super::MeasuredError;

/// Bytes of a 16-bit element.
const ELEMENT_BYTES: f64 = 2.0;

/// A model whose layers were measured on one of so many ranks.
pub(crate) struct Profile<'a> {
    pub(crate) model: &'a ModelArchitecture,
    pub(crate) attention: &'a Attention,
    /// That of its dense layers.
    mlp: Option<&'a Mlp>,
    pub(crate) ranks: u32,
}

impl<'a> Profile<'a> {
    /// Of the layers in a folder.
    pub(crate) fn new(model: &'a ModelArchitecture, ranks: u32, folder: &Path) -> Result<Self, MeasuredError> {
        let attention = model
            .attention()
            .ok_or_else(|| MeasuredError::OtherLayers { path: folder.to_owned(), model: model.name.clone() })?;
        let mlp = model.layers.parts().find_map(|(part, _)| match part {
            Part::Mlp(mlp) => Some(mlp),
            _ => None,
        });
        Ok(Self { model, attention, mlp, ranks })
    }

    /// What a rank has of a width that is divided.
    pub(crate) fn width(&self, whole: u32) -> u32 {
        whole / self.ranks
    }

    /// Query heads of a rank.
    pub(crate) fn heads(&self) -> u32 {
        self.width(self.attention.heads)
    }

    /// KV heads of a rank: replicated where there are fewer than ranks.
    pub(crate) fn kv_heads(&self) -> u32 {
        self.width(self.attention.kv_heads).max(1)
    }

    /// Whether the MLP has a gate.
    pub(crate) fn is_gated(&self) -> bool {
        self.mlp.is_some_and(|mlp| mlp.gated)
    }

    /// Norms of a layer.
    pub(crate) fn norms(&self) -> u32 {
        self.model.layers.kinds().first().map_or(0, |layer| layer.norms)
    }

    /// Columns and depth of a product, by vLLM's name of it.
    pub(crate) fn product(&self, layer: &str) -> Option<(u32, u32)> {
        let (model, head_dim) = (self.model, self.attention.key_width);
        let (heads, kv_heads) = (self.heads(), self.kv_heads());
        Some(match layer {
            "qkv_proj" => ((heads + 2 * kv_heads) * head_dim, model.hidden),
            "o_proj" => (model.hidden, heads * head_dim),
            "gate_up_proj" => (2 * self.width(self.mlp?.width), model.hidden),
            "down_proj" => (model.hidden, self.width(self.mlp?.width)),
            "lm_head" => (self.width(model.vocab), model.hidden),
            _ => return None,
        })
    }

    /// Bytes of a token in a stream, by its name.
    pub(crate) fn stream_bytes(&self, layer: &str) -> Option<f64> {
        let model = self.model;
        let elements = match layer {
            "layernorm" | "final_layernorm" => 4 * model.hidden,
            "act_fn" => 3 * self.width(self.mlp?.width),
            "rotary_emb" => 2 * self.rotated(),
            _ => return None,
        };
        Some(f64::from(elements) * ELEMENT_BYTES)
    }

    /// Elements of a token's queries and keys.
    pub(crate) fn rotated(&self) -> u32 {
        (self.heads() + self.kv_heads()) * self.attention.key_width
    }
}
