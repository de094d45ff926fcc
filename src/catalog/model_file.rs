//! A model of the catalog: the YAML of `configs/models`, around the keys of its `config.json`.

use std::sync::Arc;

use oracle_components::model::ModelArchitecture;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{CatalogError, hf};

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
    /// The keys of the checkpoint's `config.json` that say what the model is made of.
    config: Map<String, Value>,
}

const fn yes() -> bool {
    true
}

/// What is wrong with a file of `configs/models`.
#[derive(Debug, thiserror::Error)]
pub(super) enum ModelFileError {
    #[error("{0}")]
    Keys(#[from] serde_saphyr::Error),
    #[error("{0}")]
    Config(#[from] CatalogError),
}

/// Reads one file of `configs/models`.
pub(super) fn parse(text: &str) -> Result<CatalogModel, ModelFileError> {
    let file: ModelFile = serde_saphyr::from_str(text)?;
    Ok(CatalogModel {
        architecture: Arc::new(hf::architecture_of(&file.name, &file.config)?),
        aliases: file.aliases,
        published_parameters: file.published_parameters,
        source: file.source,
    })
}
