//! A model's architecture from its Hugging Face `config.json`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use oracle_components::model::{Dtype, ModelArchitecture, RopeScaling};
use oracle_components::transformer::{LatentWidths, MixtureOfExperts, SlidingWindow, Transformer};
use oracle_components::weight_format::WeightFormat;
use serde_json::Value;

use super::findings::Findings;
use super::hf_families::{Family, KNOWN_TYPES, WindowRule};
use super::hf_fields::{Fields, shown};
use super::hf_quantization::Beside;
use super::nearest::did_you_mean;
use super::{Catalog, CatalogError, Finding, hf_quantization, json_file, shape};

/// No `config.json` is longer, in bytes.
const LARGEST_CONFIG_BYTES: u64 = 4 << 20;

/// A model as its `config.json` has it.
#[derive(Clone, Debug)]
pub struct HfModel {
    /// The architecture, named after its folder or file.
    pub architecture: ModelArchitecture,
    /// What was assumed where the file is silent or strange.
    pub warnings: Vec<Finding>,
}

/// Reads a Hugging Face `config.json`, or the one in a folder. A file of an unknown `model_type` is read as Llama's, with
/// a warning; a key that is missing or wrong is an error, and the error names all of them.
pub fn load_hf_config(path: &Path) -> Result<HfModel, CatalogError> {
    load_hf_config_stored(path, None)
}

/// The same, but where `weights` says how the weights are stored, whatever the files say of it.
pub(crate) fn load_hf_config_stored(path: &Path, weights: Option<WeightFormat>) -> Result<HfModel, CatalogError> {
    let file = if path.is_dir() { path.join("config.json") } else { path.to_owned() };
    let holds = "the object of a Hugging Face config.json";
    let json = json_file::read(&file, LARGEST_CONFIG_BYTES, holds).map_err(|error| with_hint(error, path))?;
    let beside = Beside::of(&file)?;
    let mut fields = Fields::new(&json.object, Findings::new(&file, &json.lines));
    let dtype = hf_quantization::activation(&mut fields);
    let quantization = hf_quantization::quantization(&mut fields, dtype, beside.as_ref(), weights);
    let architecture = architecture(&mut fields, name_of(&file), dtype);
    let model_type = fields.model_type().unwrap_or_default();
    if !quantization.is_of(&architecture, model_type) {
        hf_quantization::refuse_strange_names(&mut fields);
    }
    let architecture = quantization.apply(architecture, model_type);
    // What stands in for a missing number contradicts the others.
    if fields.findings.errors() == 0 {
        for sentence in shape::contradictions(&architecture) {
            fields.findings.error("", sentence);
        }
    }
    let rejected = fields.findings.errors() > 0;
    let findings = fields.findings.into_vec();
    if rejected {
        return Err(CatalogError::Rejected { findings });
    }
    Ok(HfModel { architecture, warnings: findings })
}

/// A path that does not exist may be meant as the name of a catalog model.
fn with_hint(error: CatalogError, asked: &Path) -> CatalogError {
    let (path, cause) = match error {
        CatalogError::Unreadable { path, cause, .. } if cause.kind() == ErrorKind::NotFound => (path, cause),
        _ => return error,
    };
    let last = asked.file_name().unwrap_or_default().to_string_lossy();
    let hint = match Catalog::builtin().nearest_models(&last, 2).as_slice() {
        [] => "; expected a Hugging Face config.json or a folder that holds one".to_owned(),
        names => format!("; did you mean the catalog's {}?", names.join(" or ")),
    };
    CatalogError::Unreadable { path, cause, hint }
}

/// The contexts that a model was trained on, before it was stretched.
const ORIGINAL_TOKENS: &str = "original_max_position_embeddings";
/// The most that rotary embeddings are stretched.
const MOST_STRETCHED: f64 = 1024.0;

/// The folder of a `config.json`, else the file without its extension. A folder of the Hugging Face cache
/// (`models--owner--name/snapshots/<commit>`) gives `owner/name`.
fn name_of(file: &Path) -> String {
    if file.file_name().is_some_and(|name| name != "config.json") {
        return file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    }
    let absolute: PathBuf = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let folders =
        absolute.ancestors().skip(1).filter_map(|folder| folder.file_name()).map(|name| name.to_string_lossy());
    let mut nearest = None;
    for folder in folders.take(3) {
        if let Some(cached) = folder.strip_prefix("models--") {
            return cached.replace("--", "/");
        }
        nearest.get_or_insert(folder);
    }
    nearest.map_or_else(|| "config.json".to_owned(), |name| name.into_owned())
}

fn architecture(fields: &mut Fields<'_>, name: String, dtype: Dtype) -> ModelArchitecture {
    let family = family(fields);
    let layers = fields.required(&["num_hidden_layers", "n_layer", "num_layers"]);
    let hidden = fields.required(&["hidden_size", "n_embd", "d_model"]);
    let heads = required_or(fields, family, &["num_attention_heads", "n_head"]);
    let kv_heads = kv_heads(fields, family, heads);
    let latent = latent(fields);
    let head_dim = head_dim(fields, family, latent, hidden, heads);
    let moe = mixture(fields, layers);
    let max_position_embeddings =
        required_or(fields, family, &["max_position_embeddings", "n_positions", "seq_length", "max_sequence_length"]);
    let transformer = Transformer {
        name,
        layers,
        hidden,
        heads,
        kv_heads,
        head_dim,
        intermediate: intermediate(fields, moe, hidden),
        vocab: required_or(fields, family, &["vocab_size"]),
        gated_mlp: family.gated_mlp,
        latent,
        sliding_window: sliding_window(fields, family, layers, max_position_embeddings),
        moe,
        tied_embeddings: fields.flag("tie_word_embeddings").unwrap_or(family.tied_embeddings),
        learned_positions: family.learned_positions,
        qkv_bias: fields.flag("attention_bias").unwrap_or(family.qkv_bias) && !family.all_biases,
        all_biases: family.all_biases,
        qk_norm: fields.flag("use_qk_norm").unwrap_or(family.qk_norm),
        norms_per_layer: family.norms_per_layer,
        max_position_embeddings,
        weight_dtype: dtype,
        weight_block: None,
        activation_dtype: dtype,
        kv_dtype: dtype,
    };
    ModelArchitecture { rope_scaling: rope_scaling(fields), ..transformer.architecture() }
}

/// What the file says of its rotary embeddings, by vLLM's reading (`_get_and_verify_max_len` in `vllm/config/model.py`).
fn rope_scaling(fields: &mut Fields<'_>) -> RopeScaling {
    // Gemma 3 states contexts that are stretched already.
    if fields.model_type().is_some_and(|model_type| model_type.contains("gemma3")) {
        return RopeScaling::None;
    }
    let Some((key, rope)) = ["rope_scaling", "rope_parameters"].iter().find_map(|&key| Some((key, fields.value(key)?)))
    else {
        return RopeScaling::None;
    };
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
    let original = original.into_iter().flatten().find_map(serde_json::Value::as_u64);
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

fn family(fields: &mut Fields<'_>) -> Family {
    let Some(model_type) = fields.model_type() else {
        fields.warn("model_type", "is missing; read as llama");
        return Family::llama();
    };
    Family::of(model_type).unwrap_or_else(|| {
        let hint = did_you_mean(model_type, KNOWN_TYPES.iter().copied());
        fields.warn("model_type", format!("{model_type} is not known; read as llama{hint}"));
        Family::llama()
    })
}

fn required_or(fields: &mut Fields<'_>, family: Family, names: &[&str]) -> u32 {
    match family.default_of(names[0]) {
        Some(default) => fields.number(names).unwrap_or(default),
        None => fields.required(names),
    }
}

fn kv_heads(fields: &mut Fields<'_>, family: Family, heads: u32) -> u32 {
    let shared = fields.flag("multi_query").unwrap_or(false);
    let absent = if shared { 1 } else { family.default_of("num_key_value_heads").unwrap_or(heads) };
    fields.number(&["num_key_value_heads", "num_kv_heads"]).unwrap_or(absent)
}

/// Latent attention shows in its keys, whatever the family is called.
fn latent(fields: &mut Fields<'_>) -> Option<LatentWidths> {
    let kv_lora_rank = fields.number(&["kv_lora_rank"])?;
    Some(LatentWidths {
        kv_lora_rank,
        q_lora_rank: fields.number(&["q_lora_rank"]),
        rope_head_dim: fields.required(&["qk_rope_head_dim"]),
        nope_head_dim: fields.required(&["qk_nope_head_dim"]),
        value_head_dim: fields.required(&["v_head_dim"]),
    })
}

/// Of latent attention, the width of a head's query and key: both parts.
fn head_dim(fields: &mut Fields<'_>, family: Family, latent: Option<LatentWidths>, hidden: u32, heads: u32) -> u32 {
    match latent {
        Some(latent) => latent.rope_head_dim + latent.nope_head_dim,
        None => {
            let absent = family.default_of("head_dim").unwrap_or(hidden / heads);
            fields.number(&["head_dim"]).unwrap_or(absent)
        }
    }
}

fn intermediate(fields: &mut Fields<'_>, moe: Option<MixtureOfExperts>, hidden: u32) -> u32 {
    const NAMES: [&str; 4] = ["intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"];
    match (fields.number(&NAMES), moe) {
        (Some(width), _) => width,
        // A model of experts alone has no dense MLP.
        (None, Some(moe)) => moe.expert_intermediate,
        // GPT-2 leaves it out for four times the hidden width.
        (None, None) if fields.value("n_embd").is_some() => 4 * hidden,
        (None, None) => fields.required(&NAMES),
    }
}

fn mixture(fields: &mut Fields<'_>, layers: u32) -> Option<MixtureOfExperts> {
    let experts = fields.count(&["num_local_experts", "num_experts", "n_routed_experts"]);
    if experts == 0 {
        return None;
    }
    let expert_intermediate = match fields.number(&["moe_intermediate_size", "expert_ffn_hidden_size"]) {
        Some(width) => width,
        None => fields.required(&["intermediate_size"]),
    };
    let shared_experts = fields.count(&["n_shared_experts", "num_shared_experts"]);
    let shared_width = fields.count(&["shared_expert_intermediate_size"]);
    Some(MixtureOfExperts {
        experts,
        experts_per_token: fields.required(&["num_experts_per_tok", "experts_per_token", "num_selected_experts"]),
        expert_intermediate,
        shared_intermediate: shared_width.max(shared_experts.saturating_mul(expert_intermediate)),
        dense_layers: dense_layers(fields, layers),
        expert_dtype: None,
    })
}

/// Layers without experts, wherever they are: leading ones, listed ones, and those that `decoder_sparse_step` skips.
fn dense_layers(fields: &mut Fields<'_>, layers: u32) -> u32 {
    let leading = fields.count(&["first_k_dense_replace"]);
    let listed = fields.value("mlp_only_layers").and_then(Value::as_array).map_or(0, Vec::len);
    let step = fields.number(&["decoder_sparse_step"]).unwrap_or(1);
    leading.saturating_add(u32::try_from(listed).unwrap_or(u32::MAX)).saturating_add(layers - layers / step)
}

fn sliding_window(fields: &mut Fields<'_>, family: Family, layers: u32, context: u32) -> Option<SlidingWindow> {
    let switched_off = fields.flag("use_sliding_window") == Some(false);
    let window_tokens = fields.number(&["sliding_window"]).or_else(|| family.default_of("sliding_window"))?;
    // A window as long as the context restricts nothing.
    if switched_off || window_tokens >= context {
        return None;
    }
    let (windowed, begins_full) = match listed_windows(fields) {
        Some(listed) => listed,
        // Those of Qwen begin further on.
        None => {
            (windows_by_rule(fields, family.window, layers), matches!(family.window, WindowRule::FromMaxWindowLayers))
        }
    };
    let begins_full = begins_full && windowed < layers;
    (windowed > 0).then_some(SlidingWindow { window_tokens, layers: windowed, chunked: false, begins_full })
}

/// How many layers `layer_types` calls sliding, and whether the first is another.
fn listed_windows(fields: &mut Fields<'_>) -> Option<(u32, bool)> {
    let value = fields.value("layer_types")?;
    let Value::Array(types) = value else {
        let (path, message) = (fields.path("layer_types"), format!("must be a list, not {}", shown(value)));
        fields.findings.error(&path, message);
        return None;
    };
    let is_sliding = |kind: &&Value| kind.as_str() == Some("sliding_attention");
    let sliding = types.iter().filter(is_sliding).count();
    Some((u32::try_from(sliding).unwrap_or(u32::MAX), types.first().is_some_and(|first| !is_sliding(&first))))
}

fn windows_by_rule(fields: &mut Fields<'_>, rule: WindowRule, layers: u32) -> u32 {
    let every = match (fields.number(&["sliding_window_pattern", "_sliding_window_pattern"]), rule) {
        (Some(pattern), _) => pattern,
        (None, WindowRule::AllButEvery(every)) => every,
        (None, WindowRule::All) => return layers,
        (None, WindowRule::FromMaxWindowLayers) => {
            let on = fields.flag("use_sliding_window").unwrap_or(false);
            return if on { layers.saturating_sub(fields.count(&["max_window_layers"])) } else { 0 };
        }
    };
    layers - layers / every
}
