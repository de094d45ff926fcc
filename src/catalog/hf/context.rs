//! The longest context that a file states, and how its rotary embeddings are stretched to longer ones.

use oracle_components::model::RopeScaling;
use serde_json::Value;

use super::fields::Fields;
use super::keys::CONTEXTS;

/// The contexts that a model was trained on, before it was stretched.
const ORIGINAL_TOKENS: &str = "original_max_position_embeddings";
/// The most that rotary embeddings are stretched.
const MOST_STRETCHED: f64 = 1024.0;

/// Tokens that a file states, before they are stretched (`_get_and_verify_max_len` in `vllm/config/model.py`).
pub(super) fn stated_tokens(fields: &mut Fields<'_>) -> u32 {
    // Command-R's, which is above the other.
    if let Some(tokens) = fields.number("model_max_length") {
        return tokens;
    }
    let stated = CONTEXTS.iter().filter(|key| fields.text.contains_key(**key)).copied().collect::<Vec<_>>();
    let least = stated.into_iter().filter_map(|key| fields.number(key)).min();
    least.unwrap_or_else(|| fields.required("max_position_embeddings"))
}

/// What the file says of its rotary embeddings, by vLLM's reading (`_get_and_verify_max_len` in `vllm/config/model.py`).
pub(super) fn rope_scaling(fields: &mut Fields<'_>) -> RopeScaling {
    // Gemma 3 states contexts that are stretched already.
    if fields.word("model_type").is_some_and(|model_type| model_type.contains("gemma3")) {
        return RopeScaling::None;
    }
    let Some((key, rope)) = ["rope_scaling", "rope_parameters"].iter().find_map(|&key| Some((key, fields.value(key)?)))
    else {
        return RopeScaling::None;
    };
    // Some files have one for each kind of layers.
    let rope = rope.get("full_attention").filter(|own| own.is_object()).unwrap_or(rope);
    let Some(kind) = ["rope_type", "type"].iter().find_map(|&key| rope.get(key)?.as_str()) else {
        return RopeScaling::None;
    };
    let path = fields.path(key);
    let beside = fields.value(ORIGINAL_TOKENS);
    let mut factor = || {
        let value = rope.get("factor").filter(|value| !value.is_null())?;
        let factor = value.as_f64().filter(|factor| (1.0..=MOST_STRETCHED).contains(factor));
        if factor.is_none() {
            let message = format!("must be a number from 1 to {MOST_STRETCHED}, not {value}");
            fields.findings.error(&format!("{path}.factor"), message);
        }
        factor
    };
    let original = [rope.get(ORIGINAL_TOKENS), beside];
    let original = original.into_iter().flatten().find_map(Value::as_u64);
    let original = original.and_then(|tokens| u32::try_from(tokens).ok());
    match (kind, original) {
        ("yarn" | "deepseek_yarn", Some(original_tokens)) => {
            factor().map_or(RopeScaling::None, |factor| RopeScaling::Yarn { original_tokens, factor })
        }
        ("su" | "longrope", Some(original_tokens)) => RopeScaling::Long { original_tokens },
        (
            "default" | "mrope" | "llama3" | "deepseek_llama_scaling" | "yarn" | "deepseek_yarn" | "su" | "longrope",
            _,
        ) => RopeScaling::None,
        _ => factor().map_or(RopeScaling::None, RopeScaling::Factor),
    }
}
