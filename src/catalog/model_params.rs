//! The predecessor's model database, `model_params.json`.
//!
//! Of an entry, only the shape counts: layers, widths, heads, vocabulary, experts. Its FLOP, byte and KV figures are
//! checked and superseded, for many are wrong: decode there never reads the weights, and the KV cache of most grouped-query
//! models is four times too large. An entry that is a catalog model by name and shape is that model.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oracle_components::layers::Part;
use oracle_components::model::{Dtype, ModelArchitecture};
use oracle_components::transformer::{DenseShape, MixtureOfExperts, Transformer};
use oracle_systems::costing::weights::parameters;
use oracle_systems::memory::kv_bytes_per_token;

use super::finding::Severity;
use super::findings::Findings;
use super::model_params_rules::{StatedShape, check};
use super::{Catalog, CatalogError, CatalogModel, Finding, did_you_mean, json_file, shape};

/// No database is longer, in bytes.
const LARGEST_DATABASE_BYTES: u64 = 16 << 20;
/// No database has more models; what is said of each takes some kilobytes.
const MOST_MODELS: usize = 10_000;
/// Context of a model whose entry states none.
const CONTEXT_TOKENS: u32 = 131_072;
/// Vocabularies this close are one: some files round, or leave out reserved tokens.
const VOCAB_TOLERANCE: f64 = 0.05;
/// Stated and derived parameters may differ by this share before it is worth a warning.
const PARAMETERS_TOLERANCE: f64 = 0.1;
/// KV figures may differ by this share.
const KV_TOLERANCE: f64 = 0.01;

/// A model database as it was read.
#[derive(Clone, Debug)]
pub struct ModelParams {
    /// The file.
    pub file: PathBuf,
    /// Its usable entries, by name.
    pub models: Vec<ModelParamsEntry>,
    /// Everything there is to say about it, errors too: an entry with one is not among `models`.
    pub findings: Vec<Finding>,
}

/// A usable entry.
#[derive(Clone, Debug)]
pub struct ModelParamsEntry {
    /// Its name in the file.
    pub name: String,
    /// Its line, from 1.
    pub line: Option<usize>,
    /// What it is made of.
    pub architecture: Arc<ModelArchitecture>,
    /// Where the architecture is from.
    pub origin: EntryOrigin,
    /// Parameters that the entry states.
    pub stated_parameters: f64,
}

/// Where an entry's architecture is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryOrigin {
    /// The catalog has a model of this name and shape.
    Catalog,
    /// The entry's own shape.
    Entry,
}

impl ModelParams {
    /// The entry of a name; case does not matter if no entry has the very name.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<&ModelParamsEntry> {
        let exact = self.models.iter().find(|entry| entry.name == name);
        exact.or_else(|| self.models.iter().find(|entry| entry.name.eq_ignore_ascii_case(name)))
    }

    /// Findings of one severity.
    pub fn of_severity(&self, severity: Severity) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.severity == severity)
    }
}

/// Reads a database and checks every entry. Only a file that is no database at all is an `Err`.
pub fn load_model_params(path: &Path) -> Result<ModelParams, CatalogError> {
    let holds = "an object with an entry for each model, as in model_params.json";
    let json = json_file::read(path, LARGEST_DATABASE_BYTES, holds).map_err(|error| with_hint(error, path))?;
    if json.object.contains_key("model_type") {
        let message = format!("looks like a Hugging Face config.json; expected {holds}");
        return Err(CatalogError::WrongShape { path: path.into(), message });
    }
    if json.object.len() > MOST_MODELS {
        let message = format!("has {} models; at most {MOST_MODELS} are possible", json.object.len());
        return Err(CatalogError::WrongShape { path: path.into(), message });
    }
    let mut findings = Findings::new(path, &json.lines);
    if json.object.is_empty() {
        findings.warn("", "has no models");
    }
    for key in &json.lines.duplicates {
        findings.warn(key, "stands twice in the file; the last one counts");
    }
    let mut models = Vec::with_capacity(json.object.len());
    for (name, entry) in &json.object {
        let Some(stated) = check(name, entry, &mut findings) else {
            continue;
        };
        if let Some((architecture, origin)) = architecture(name, &stated, &mut findings) {
            let (line, stated_parameters) = (json.lines.line(name), stated.parameters);
            models.push(ModelParamsEntry { name: name.clone(), line, architecture, origin, stated_parameters });
        }
    }
    Ok(ModelParams { file: path.into(), models, findings: findings.into_vec() })
}

/// The path in a config is relative to the folder that the program runs in, or to the config.
fn with_hint(error: CatalogError, asked: &Path) -> CatalogError {
    let (path, cause) = match error {
        CatalogError::Unreadable { path, cause, .. } if cause.kind() == ErrorKind::NotFound => (path, cause),
        _ => return error,
    };
    let wanted = asked.file_name().unwrap_or_default().to_string_lossy();
    let folder = asked.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let found = did_you_mean(&wanted, names.iter().map(String::as_str).filter(|name| *name != wanted));
    let hint = if found.is_empty() {
        "; expected a model_params.json. Models of the catalog need none: `llmperforacle models` lists them".to_owned()
    } else {
        found
    };
    CatalogError::Unreadable { path, cause, hint }
}

fn architecture(
    name: &str,
    stated: &StatedShape,
    findings: &mut Findings<'_>,
) -> Option<(Arc<ModelArchitecture>, EntryOrigin)> {
    if let Some(model) = Catalog::builtin().model(name) {
        let differences = differences(stated, &model.architecture);
        if differences.is_empty() {
            compare_figures(name, stated, model, findings);
            return Some((Arc::clone(&model.architecture), EntryOrigin::Catalog));
        }
        let message = format!("differs from the catalog's {name} ({}); its own shape is used", differences.join(", "));
        findings.warn(name, message);
    }
    let own = from_shape(name, stated);
    let contradictions = shape::contradictions(&own);
    for sentence in &contradictions {
        findings.error(name, sentence.clone());
    }
    if !contradictions.is_empty() {
        return None;
    }
    note_superseded(name, findings);
    compare_kv(name, stated, &own, findings);
    compare_parameters(name, stated, parameters(&own) as f64, findings);
    Some((Arc::new(own), EntryOrigin::Entry))
}

/// In what an entry's shape differs from an architecture's.
fn differences(stated: &StatedShape, model: &ModelArchitecture) -> Vec<String> {
    let widths = model.layers.parts().filter_map(|(part, _)| match part {
        Part::Mlp(mlp) => Some(mlp.width),
        Part::Experts(experts) => Some(experts.expert.width),
        _ => None,
    });
    let widths: Vec<u32> = widths.collect();
    let intermediate = widths.iter().copied().find(|width| *width == stated.intermediate).or(widths.first().copied());
    let (heads, kv_heads) = heads(model);
    let (experts, chosen) = model.experts().map_or((0, 0), |experts| (experts.count, experts.per_token));
    let numbers = [
        ("num_layers", stated.layers, model.layers.len()),
        ("hidden_size", stated.hidden, model.hidden),
        ("num_attention_heads", stated.heads, heads),
        ("num_kv_heads", stated.kv_heads, kv_heads),
        ("intermediate_size", stated.intermediate, intermediate.unwrap_or(0)),
        ("num_experts", stated.experts.unwrap_or(0), experts),
        ("num_experts_per_tok", stated.experts_per_token.unwrap_or(chosen), chosen),
        ("vocab_size", stated.vocab, close_vocab(stated.vocab, model.vocab)),
    ];
    let differ = numbers.iter().filter(|(_, own, catalog)| own != catalog);
    differ.map(|(key, own, catalog)| format!("{key} {own}, not {catalog}")).collect()
}

/// Query and KV heads of a model; those of latent attention have keys and values of their own once they are expanded.
fn heads(model: &ModelArchitecture) -> (u32, u32) {
    let heads = model.layers.parts().find_map(|(part, _)| match part {
        Part::Attention(attention) => Some((attention.heads, attention.kv_heads)),
        Part::Latent(latent) => Some((latent.heads, latent.heads)),
        _ => None,
    });
    heads.unwrap_or_default()
}

/// The stated vocabulary if it is near enough to the published one, else the published one.
fn close_vocab(stated: u32, published: u32) -> u32 {
    let near = f64::from(stated.abs_diff(published)) <= VOCAB_TOLERANCE * f64::from(published);
    if near { stated } else { published }
}

/// What an entry states beside its shape, against the catalog's model.
fn compare_figures(name: &str, stated: &StatedShape, model: &CatalogModel, findings: &mut Findings<'_>) {
    note_superseded(name, findings);
    let published = model.architecture.vocab;
    if stated.vocab != published {
        let message = format!("is {}; the published model has {published}, which is used", stated.vocab);
        findings.warn(&format!("{name}.vocab_size"), message);
    }
    compare_kv(name, stated, &model.architecture, findings);
    compare_parameters(name, stated, model.published_parameters.count as f64, findings);
}

fn note_superseded(name: &str, findings: &mut Findings<'_>) {
    findings.add(
        Severity::Note,
        name,
        "its FLOP and byte figures are superseded by what follows from the architecture",
    );
}

fn compare_kv(name: &str, stated: &StatedShape, model: &ModelArchitecture, findings: &mut Findings<'_>) {
    let Some(figure) = stated.kv_bytes_per_token_per_layer else {
        return;
    };
    let derived = kv_bytes_per_token(model) / f64::from(model.layers.len().max(1));
    if (figure - derived).abs() > KV_TOLERANCE * derived {
        let message = format!("is {figure}, but the architecture stores {derived} bytes, which are used");
        findings.warn(&format!("{name}.kv_cache_bytes_per_token_per_layer"), message);
    }
}

fn compare_parameters(name: &str, stated: &StatedShape, derived: f64, findings: &mut Findings<'_>) {
    if (stated.parameters - derived).abs() > PARAMETERS_TOLERANCE * derived {
        let message = format!("is {}, but the architecture has {derived}, which are used", stated.parameters);
        findings.warn(&format!("{name}.parameters"), message);
    }
}

/// A model of the stated shape. Whether the MLP is gated and the embeddings are shared is not stated: of the four
/// combinations, the one whose parameters are nearest to the stated number.
fn from_shape(name: &str, stated: &StatedShape) -> ModelArchitecture {
    let moe = stated.experts.map(|experts| MixtureOfExperts {
        experts,
        experts_per_token: stated.experts_per_token.unwrap_or(1),
        expert_intermediate: stated.intermediate,
        shared_intermediate: 0,
        dense_layers: 0,
        expert_dtype: None,
    });
    let shape = DenseShape {
        layers: stated.layers,
        hidden: stated.hidden,
        heads: stated.heads,
        kv_heads: stated.kv_heads,
        intermediate: stated.intermediate,
        vocab: stated.vocab,
    };
    let usual = Transformer {
        moe,
        max_position_embeddings: stated.max_position_embeddings.unwrap_or(CONTEXT_TOKENS),
        weight_dtype: Dtype::Fp16,
        activation_dtype: Dtype::Fp16,
        kv_dtype: Dtype::Fp16,
        ..Transformer::llama_like(name, shape)
    };
    let combinations = [(true, false), (true, true), (false, false), (false, true)];
    let variants =
        combinations.map(|(gated_mlp, tied_embeddings)| Transformer { gated_mlp, tied_embeddings, ..usual.clone() });
    let distance = |model: &Transformer| (shape_parameters(model) - stated.parameters).abs();
    variants.into_iter().min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(usual).architecture()
}

/// Parameters in the matrices of a model with grouped attention: near enough to tell the variants apart.
fn shape_parameters(model: &Transformer) -> f64 {
    let (hidden, head_dim) = (f64::from(model.hidden), f64::from(model.head_dim));
    let attention = 2.0 * hidden * head_dim * (f64::from(model.heads) + f64::from(model.kv_heads));
    let matrices = if model.gated_mlp { 3.0 } else { 2.0 };
    let experts = model.moe.map_or(1.0, |moe| f64::from(moe.experts));
    let mlp = experts * matrices * hidden * f64::from(model.intermediate);
    let embeddings = if model.tied_embeddings { 1.0 } else { 2.0 };
    f64::from(model.layers) * (attention + mlp) + embeddings * hidden * f64::from(model.vocab)
}
