//! A model of the catalog: the YAML of `configs/models`, with what most models share as defaults.

use std::sync::Arc;

use oracle_components::model::{Dtype, ModelArchitecture};
use oracle_components::transformer::{LatentWidths, MixtureOfExperts, SlidingWindow, Transformer};
use serde::Deserialize;

/// A model that the catalog knows.
#[derive(Clone, Debug)]
pub struct CatalogModel {
    /// What it is made of; its `name` is the catalog's.
    pub architecture: Arc<ModelArchitecture>,
    /// Other names: Hugging Face ids.
    pub aliases: Vec<String>,
    /// What its makers say it holds.
    pub published_parameters: PublishedParameters,
    /// Where the architecture is published.
    pub source: String,
}

/// A published number of parameters.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedParameters {
    /// Parameters, all experts counted.
    pub count: u64,
    /// Where the number is stated.
    pub stated_in: String,
    /// Those that a token uses, of a mixture of experts.
    pub active: Option<PublishedActive>,
}

/// A published number of parameters that a token uses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedActive {
    /// Parameters; makers give two or three digits.
    pub count: u64,
    /// Where the number is stated.
    pub stated_in: String,
    /// Whether the input embedding is counted, of which a token uses a row.
    #[serde(default = "yes")]
    pub embedding: bool,
}

/// The file's keys.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelFile {
    name: String,
    aliases: Vec<String>,
    source: String,
    published_parameters: PublishedParameters,
    layers: u32,
    hidden: u32,
    heads: u32,
    kv_heads: u32,
    /// `hidden / heads` if left out.
    head_dim: Option<u32>,
    intermediate: u32,
    vocab: u32,
    context_tokens: u32,
    sliding_window: Option<SlidingWindow>,
    latent_attention: Option<LatentWidths>,
    moe: Option<MixtureOfExperts>,
    #[serde(default = "yes")]
    gated_mlp: bool,
    #[serde(default)]
    tied_embeddings: bool,
    #[serde(default)]
    learned_positions: bool,
    #[serde(default)]
    qkv_bias: bool,
    #[serde(default)]
    all_biases: bool,
    #[serde(default)]
    qk_norm: bool,
    #[serde(default = "two")]
    norms_per_layer: u32,
    #[serde(default = "bf16")]
    weight_dtype: Dtype,
    weight_block: Option<u32>,
    #[serde(default = "bf16")]
    activation_dtype: Dtype,
    /// The activations' if left out.
    kv_dtype: Option<Dtype>,
}

const fn yes() -> bool {
    true
}

const fn two() -> u32 {
    2
}

const fn bf16() -> Dtype {
    Dtype::Bf16
}

/// Reads one file of `configs/models`.
pub(super) fn parse(text: &str) -> Result<CatalogModel, serde_saphyr::Error> {
    let file: ModelFile = serde_saphyr::from_str(text)?;
    let transformer = Transformer {
        name: file.name,
        layers: file.layers,
        hidden: file.hidden,
        heads: file.heads,
        kv_heads: file.kv_heads,
        head_dim: file.head_dim.unwrap_or(file.hidden / file.heads.max(1)),
        intermediate: file.intermediate,
        vocab: file.vocab,
        gated_mlp: file.gated_mlp,
        latent: file.latent_attention,
        sliding_window: file.sliding_window,
        moe: file.moe,
        tied_embeddings: file.tied_embeddings,
        learned_positions: file.learned_positions,
        qkv_bias: file.qkv_bias,
        all_biases: file.all_biases,
        qk_norm: file.qk_norm,
        norms_per_layer: file.norms_per_layer,
        max_position_embeddings: file.context_tokens,
        weight_dtype: file.weight_dtype,
        weight_block: file.weight_block,
        activation_dtype: file.activation_dtype,
        kv_dtype: file.kv_dtype.unwrap_or(file.activation_dtype),
    };
    Ok(CatalogModel {
        architecture: Arc::new(transformer.architecture()),
        aliases: file.aliases,
        published_parameters: file.published_parameters,
        source: file.source,
    })
}
