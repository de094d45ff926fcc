//! A model's architecture from its Hugging Face `config.json`.
//!
//! - `fields`: the keys, with an account of which were read; `keys`: which have several names, and which change nothing;
//! - `family`, `families/*.yaml`: what a `model_type` implies;
//! - `layers`: layers by the rules of a family; `hybrids`, `recurrent`: those with a state; `special`: those that no rule describes;
//! - `context`: the longest context; `quantised`: element types.
//!
//! A file is read whole or refused: a `model_type` or kind of layer that is not known is an error, and so is a key that nothing
//! is known of but that its name and value are of a model's shape.

mod context;
mod family;
mod fields;
mod hybrids;
mod keys;
mod layers;
mod quantised;
mod recurrent;
mod special;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use oracle_components::layers::{Layer, Stack};
use oracle_components::model::{Dtype, ModelArchitecture};
use oracle_components::weight_format::WeightFormat;
use serde_json::{Map, Value};

use super::findings::Findings;
use super::json_file::shown;
use super::nearest::did_you_mean;
use super::{Catalog, CatalogError, Finding, json_file, shape};
use family::{Builder, Family};
use fields::{Fields, text_part};
use quantised::Beside;

/// No `config.json` is longer, in bytes.
const LARGEST_CONFIG_BYTES: u64 = 4 << 20;

/// A model as its `config.json` has it.
#[derive(Clone, Debug)]
pub struct HfModel {
    /// The architecture, named after its folder or file.
    pub architecture: ModelArchitecture,
    /// The `model_type` that it was read as.
    pub model_type: String,
    /// Keys that were not used, of which nothing is known.
    pub unused_keys: Vec<String>,
    /// What of the model is left out, such as a vision encoder.
    pub not_counted: Vec<String>,
    /// What was assumed where the file is silent or strange.
    pub warnings: Vec<Finding>,
}

/// Reads a Hugging Face `config.json`, or the one in a folder. A key that is missing, wrong or not understood is an error, and
/// the error names all of them.
pub fn load_hf_config(path: &Path) -> Result<HfModel, CatalogError> {
    load_hf_config_by(path, &HfReading::default())
}

/// What a file is taken for, whatever it says itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HfReading {
    /// The `model_type`.
    pub assumed: Option<String>,
    /// How its weights are stored.
    pub weights: Option<WeightFormat>,
}

/// The same of a file that is taken for something else.
pub fn load_hf_config_by(path: &Path, reading: &HfReading) -> Result<HfModel, CatalogError> {
    let file = if path.is_dir() { path.join("config.json") } else { path.to_owned() };
    let holds = "the object of a Hugging Face config.json";
    let json = json_file::read(&file, LARGEST_CONFIG_BYTES, holds).map_err(|error| with_hint(error, path))?;
    let beside = Beside::of(&file)?;
    let findings = Findings::new(&file, &json.lines);
    read(&json.object, name_of(&file), reading, beside.as_ref(), findings)
}

/// Reads the keys of a catalog model's `config.json`, which tests know to be whole.
pub(super) fn architecture_of(name: &str, config: &Map<String, Value>) -> Result<ModelArchitecture, CatalogError> {
    let (file, lines) = (Path::new(name), json_file::KeyLines::none());
    read(config, name.to_owned(), &HfReading::default(), None, Findings::new(file, &lines))
        .map(|model| model.architecture)
}

fn read(
    whole: &Map<String, Value>,
    name: String,
    reading: &HfReading,
    beside: Option<&Beside>,
    mut findings: Findings<'_>,
) -> Result<HfModel, CatalogError> {
    let assumed = reading.assumed.as_deref();
    let Some((model_type, family)) = family(whole, assumed, &mut findings) else {
        return Err(CatalogError::Rejected { findings: findings.into_vec() });
    };
    let mut fields = Fields::new(whole, family, findings);
    let dtype = quantised::activation(&mut fields);
    let quantization = quantised::quantization(&mut fields, dtype, beside, reading.weights);
    let architecture = architecture(&mut fields, name, dtype);
    if !quantization.is_of(&architecture, &model_type) {
        quantised::refuse_strange_names(&mut fields);
    }
    let architecture = quantization.apply(architecture, &model_type);
    let architecture = ModelArchitecture { model_type: model_type.clone(), ..architecture };
    let unused_keys = account(&mut fields, &model_type, assumed.is_some());
    // What stands in for a missing number contradicts the others.
    if fields.findings.errors() == 0 {
        for sentence in shape::contradictions(&architecture) {
            fields.findings.error("", sentence);
        }
    }
    let not_counted = not_counted(&fields);
    let rejected = fields.findings.errors() > 0;
    let findings = fields.findings.into_vec();
    if rejected {
        return Err(CatalogError::Rejected { findings });
    }
    Ok(HfModel { architecture, model_type, unused_keys, not_counted, warnings: findings })
}

/// What a user can do about a file that is not understood.
const WAY_OUT: &str = "if its layers are those of another family, --assume with its model_type reads it so (--assume llama: a plain \
                       transformer), without what that family does not know";

/// The family that a file is read as, by its `model_type` or by what is assumed.
fn family(
    whole: &Map<String, Value>,
    assumed: Option<&str>,
    findings: &mut Findings<'_>,
) -> Option<(String, &'static Family)> {
    let (text, path) = text_part(whole);
    let word = |map: &Map<String, Value>, key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
    let own = word(text, "model_type").or_else(|| word(whole, "model_type")).or_else(|| by_class(text, whole));
    if let Some(assumed) = assumed {
        let Some(family) = Family::of(assumed).filter(|family| family.refused.is_none()) else {
            let hint = did_you_mean(assumed, Family::known_types());
            findings.error("model_type", format!("--assume {assumed}: is no model_type that is known{hint}"));
            return None;
        };
        let own = own.unwrap_or_else(|| "a file without model_type".to_owned());
        findings.warn(
            "model_type",
            format!("{own} is read as {assumed}, since --assume says so: every figure rests on that"),
        );
        return Some((assumed.to_owned(), family));
    }
    let outer = word(whole, "model_type");
    for (at, name) in [("model_type".to_owned(), outer), (format!("{path}model_type"), own.clone())] {
        let Some(reason) = name.as_deref().and_then(Family::of).and_then(|family| family.refused.as_deref()) else {
            continue;
        };
        findings.error(&at, format!("{} {reason}", name.unwrap_or_default()));
        return None;
    }
    let Some(model_type) = own else {
        findings.error("model_type", format!("is missing, and no architectures tell it; {WAY_OUT}"));
        return None;
    };
    match Family::of(&model_type) {
        Some(family) => Some((model_type, family)),
        None => {
            let hint = did_you_mean(&model_type, Family::known_types());
            findings.error(&format!("{path}model_type"), format!("{model_type} is not known{hint}; {WAY_OUT}"));
            None
        }
    }
}

/// The `model_type` of a file that has none, by the class that runs it: LlamaForCausalLM.
fn by_class(text: &Map<String, Value>, whole: &Map<String, Value>) -> Option<String> {
    let classes = text.get("architectures").or_else(|| whole.get("architectures"))?;
    let class = classes.get(0)?.as_str()?;
    let squeezed = |name: &str| name.replace(['_', '-'], "").to_lowercase();
    let stem = squeezed(class.strip_suffix("ForCausalLM")?);
    Family::known_types().find(|name| squeezed(name) == stem).map(str::to_owned)
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
    let family = fields.family;
    let hidden = fields.required("hidden_size");
    let (layers, mut other_elements) = stack(fields);
    let layers = layers.into_iter().collect::<Stack>();
    let embedding_width = fields.number("word_embed_proj_dim").filter(|width| *width != hidden);
    other_elements += embedding_width.map_or(0, |width| 2 * u64::from(width) * u64::from(hidden));
    if fields.is_on("exit_gate") {
        other_elements += u64::from(hidden) + 1;
    }
    if fields.is_on("embedding_norm") {
        other_elements += 2 * u64::from(hidden);
    }
    let max_position_embeddings = context::stated_tokens(fields);
    let position_rows = family.positions.as_deref().map_or(0, |key| match fields.is_on("alibi_positions") {
        true => 0,
        false => fields.required(key) + family.further_positions,
    });
    let is_without_final_norm = family.no_final_norm || fields.flag("do_layer_norm_before") == Some(false);
    ModelArchitecture {
        name,
        model_type: String::new(),
        hidden,
        vocab: fields.required("vocab_size"),
        layers,
        tied_embeddings: fields.is_on("tie_word_embeddings"),
        embedding_width,
        final_norms: u32::from(!is_without_final_norm),
        norm_bias: layers::is_on(fields, &family.norm_bias),
        head_bias: layers::is_on(fields, &family.head_bias),
        position_rows,
        other_elements,
        max_position_embeddings,
        rope_scaling: context::rope_scaling(fields),
        weight_format: WeightFormat::wide(dtype),
        head_format: None,
        activation_dtype: dtype,
        kv_dtype: dtype,
    }
}

/// The layers, and the parameters that stand beside them.
fn stack(fields: &mut Fields<'_>) -> (Vec<Layer>, u64) {
    match fields.family.builder {
        Builder::Transformer => (layers::transformer(fields), 0),
        builder if builder.is_special() => special::layers(fields, builder),
        builder => (hybrids::layers(fields, builder), 0),
    }
}

/// Keys of which nothing is known. One whose name and value are of a model's shape is an error, unless another family is assumed.
fn account(fields: &mut Fields<'_>, model_type: &str, is_assumed: bool) -> Vec<String> {
    let used: BTreeSet<String> = fields.used.borrow().clone();
    let mut unused = Vec::new();
    let mut parts = vec![(fields.text, fields.text_path.clone())];
    if !fields.text_path.is_empty() {
        parts.push((fields.whole, String::new()));
    }
    for (map, path) in parts {
        for (key, value) in map {
            let at = format!("{path}{key}");
            let is_read = used.contains(&at) || used.iter().any(|used| used.starts_with(&format!("{at}.")));
            let is_known = is_read || keys::is_without_effect(key) || fields.family.ignored.contains(key);
            // What the whole of a multimodal file says of encoders is not counted.
            let is_elsewhere = path.is_empty() && !fields.text_path.is_empty();
            let is_empty =
                value.is_null() || value == &Value::Bool(false) || value.as_array().is_some_and(Vec::is_empty);
            if !is_known && !is_elsewhere && !is_empty {
                unused.push((at, value));
            }
        }
    }
    let is_of_shape = |(at, value): &&(String, &Value)| {
        (value.is_array() || value.is_object()) && keys::sounds_like_shape(at) && !is_assumed
    };
    let of_shape: Vec<_> = unused.iter().filter(is_of_shape).cloned().collect();
    for (at, value) in of_shape {
        let message =
            format!("{} that is not understood of {model_type}, and may change its layers; {WAY_OUT}", shown(value));
        fields.findings.error(&at, message);
    }
    unused.into_iter().map(|(at, _)| at).collect()
}

/// What of a multimodal model is left out, by the keys that describe it, and drafts.
fn not_counted(fields: &Fields<'_>) -> Vec<String> {
    let towers = [
        "vision_config",
        "visual",
        "audio_config",
        "vision_tower_config",
        "thinker_config",
        "talker_config",
        "code2wav_config",
    ];
    let is_outside = |key: &&str| !fields.text_path.starts_with(*key);
    let named =
        towers.into_iter().filter(|key| fields.whole.get(*key).is_some_and(Value::is_object)).filter(is_outside);
    let mut left_out: Vec<String> = named.map(str::to_owned).collect();
    let drafts = ["num_nextn_predict_layers", "num_mtp_modules", "mtp_num_hidden_layers"];
    let has_drafts = |key: &&str| fields.text.get(*key).and_then(Value::as_u64).is_some_and(|count| count > 0);
    left_out.extend(drafts.into_iter().find(has_drafts).map(|key| format!("{key} (multi-token prediction)")));
    left_out
}
