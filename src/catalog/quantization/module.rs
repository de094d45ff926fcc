//! A module by its path in the checkpoint: which kind of matrix it is, and its name without what only wraps it.

/// What a module is to a method of quantisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A linear layer of attention, MLP, recurrent mixer or shared expert.
    Linear,
    /// A routed expert's.
    Expert,
    /// What weighs experts.
    Router,
    /// The language-model head.
    Head,
    /// Token or position embeddings.
    Embedding,
    /// Norms, convolutions, towers for other modalities: never quantised by a rule for all.
    Other,
}

/// All linear layers but the head.
pub(super) const LAYERS: &[Kind] = &[Kind::Linear, Kind::Expert];
/// All linear layers.
pub(super) const LINEAR: &[Kind] = &[Kind::Linear, Kind::Expert, Kind::Head];
/// Whatever a name may stand for.
pub(super) const ALL: &[Kind] = &[Kind::Linear, Kind::Expert, Kind::Router, Kind::Head, Kind::Embedding, Kind::Other];

/// What wraps the decoder in one checkpoint or another, longest first.
const WRAPPERS: [&str; 12] = [
    "thinker.language_model.model.",
    "model.language_model.model.",
    "language_model.model.",
    "model.language_model.",
    "thinker.model.",
    "model.text_model.",
    "llm.model.",
    "language_model.",
    "backbone.",
    "transformer.",
    "model.",
    "thinker.",
];

/// A path without what wraps the decoder.
pub(super) fn unwrapped(path: &str) -> &str {
    WRAPPERS.iter().find_map(|wrapper| path.strip_prefix(wrapper)).unwrap_or(path)
}

/// The paths that a module of the decoder has in one checkpoint or another.
pub(super) fn wrapped(unwrapped: &str) -> impl Iterator<Item = String> + '_ {
    WRAPPERS.iter().copied().chain([""]).map(move |wrapper| format!("{wrapper}{unwrapped}"))
}

/// What a matrix is called elsewhere: experts' by numbers or by what they do, and those that vLLM joins into one.
const SPELLINGS: [(&str, &[&str]); 16] = [
    ("w1", &["gate_proj", "gate_up_proj", "w13"]),
    ("w3", &["up_proj", "gate_up_proj", "w13"]),
    ("w2", &["down_proj"]),
    ("gate_proj", &["w1", "gate_up_proj"]),
    ("up_proj", &["w3", "gate_up_proj"]),
    ("down_proj", &["w2"]),
    ("q_proj", &["qkv_proj"]),
    ("k_proj", &["qkv_proj"]),
    ("v_proj", &["qkv_proj"]),
    ("wq_a", &["fused_wqa_wkv"]),
    ("wkv", &["fused_wqa_wkv"]),
    ("q_a_proj", &["fused_qkv_a_proj"]),
    ("kv_a_proj_with_mqa", &["fused_qkv_a_proj"]),
    ("in_proj_qkv", &["in_proj_qkvz"]),
    ("in_proj_z", &["in_proj_qkvz"]),
    ("in_proj_b", &["in_proj_ba"]),
];

/// A path and the others that it has where its matrix is called otherwise.
pub(super) fn respelt(path: &str) -> impl Iterator<Item = String> + '_ {
    let (parent, last) = path.rsplit_once('.').unwrap_or(("", path));
    let others = SPELLINGS.iter().find(|(name, _)| *name == last).map_or(&[][..], |(_, others)| others);
    [path.to_owned()].into_iter().chain(others.iter().map(move |other| format!("{parent}.{other}")))
}

impl Kind {
    pub(super) fn of(path: &str) -> Self {
        let parts: Vec<&str> = path.split('.').collect();
        let has = |names: &[&str]| parts.iter().any(|part| names.contains(part));
        let last = parts.last().copied().unwrap_or_default();
        if has(TOWERS) || last.contains("norm") || last.contains("conv1d") || has(&["compressor"]) {
            Self::Other
        } else if ROUTERS.contains(&last) || has(&["router"]) {
            Self::Router
        } else if HEADS.contains(&last) {
            Self::Head
        } else if EMBEDDINGS.contains(&last) {
            Self::Embedding
        } else if UNQUANTISED.contains(&last) {
            Self::Other
        } else if has(&["experts", "moe"]) {
            Self::Expert
        } else {
            Self::Linear
        }
    }
}

const TOWERS: &[&str] = &[
    "visual",
    "vision_tower",
    "vision_model",
    "vision_encoder",
    "vision_embed",
    "vision_embed_tokens",
    "audio_tower",
    "audio_model",
    "multi_modal_projector",
    "mm_projector",
    "embed_vision",
    "embed_audio",
];
const ROUTERS: &[&str] = &["gate", "router", "shared_expert_gate", "wg", "e_score_correction_bias"];
const HEADS: &[&str] = &["lm_head", "head", "embed_out", "output_layer"];
const EMBEDDINGS: &[&str] =
    &["embed_tokens", "embeddings", "wte", "wpe", "word_embeddings", "embed", "embed_in", "tok_embeddings"];
/// vLLM builds these without a quantisation: what weighs the indexer's heads, and what joins the two inputs of an MTP layer.
const UNQUANTISED: &[&str] = &["weights_proj", "indexers_proj", "eh_proj"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_tells_what_a_module_is() {
        let kinds = [
            ("model.layers.3.self_attn.q_proj", Kind::Linear),
            ("model.layers.3.mlp.gate_proj", Kind::Linear),
            ("model.layers.3.mlp.shared_experts.gate_proj", Kind::Linear),
            ("model.layers.3.mlp.experts.7.gate_proj", Kind::Expert),
            ("model.layers.3.block_sparse_moe.experts.7.w1", Kind::Expert),
            ("backbone.layers.3.mixer.in_proj", Kind::Linear),
            ("backbone.layers.3.mixer.conv1d", Kind::Other),
            ("model.layers.3.mlp.gate", Kind::Router),
            ("model.layers.3.mlp.router", Kind::Router),
            ("model.layers.3.mlp.shared_expert_gate", Kind::Router),
            ("model.layers.3.input_layernorm", Kind::Other),
            ("model.visual.blocks.3.attn.qkv", Kind::Other),
            ("language_model.lm_head", Kind::Head),
            ("model.embed_tokens", Kind::Embedding),
        ];
        for (path, kind) in kinds {
            assert_eq!(Kind::of(path), kind, "{path}");
        }
    }

    #[test]
    fn what_wraps_the_decoder_is_no_part_of_a_name() {
        for path in wrapped("layers.3.mlp") {
            assert_eq!(unwrapped(&path), "layers.3.mlp");
        }
        assert_eq!(unwrapped("mtp.layers.0.mlp"), "mtp.layers.0.mlp");
        assert_eq!(unwrapped("language_model.lm_head"), "lm_head");
    }
}
