//! The catalog: models by architecture and devices by data sheet, embedded in the binary; and the readers of a user's own
//! model files, a Hugging Face `config.json` or the `model_params.json` of the predecessor.
//!
//! It owns the numbers and their sources. It derives nothing from them: weights, FLOPs and bytes are the business of
//! `oracle-systems::costing`. Whatever a user's file holds, reading it gives a model or an error, never a panic.

mod curve_file;
mod device_file;
mod embedded;
mod fabric_file;
mod fabric_fit;
mod finding;
mod findings;
mod hf;
pub(crate) mod json_file;
mod model_file;
mod model_params;
mod model_params_rules;
pub mod nearest;
mod price_file;
mod quantization;
mod shape;
mod shelf;
mod topology_file;
mod uncertain;

use std::sync::{Arc, LazyLock, OnceLock};

use oracle_components::collectives::Fabric;
use oracle_components::model::{Dtype, ModelArchitecture};
use oracle_components::weight_format::WeightFormat;

pub use curve_file::{CurveFile, FitError, TakenOver};
pub use device_file::{CatalogDevice, ConstantUse, DeviceCurves, DeviceLink, LinkKind};
pub use fabric_file::CatalogFabric;
pub use fabric_fit::{MeasuredCollective, fit_protocols};
pub(crate) use finding::write_at;
pub use finding::{CatalogError, Finding, Severity};
pub use hf::{HfModel, HfReading, load_hf_config, load_hf_config_by};
pub use model_file::{CatalogModel, PublishedActive, PublishedParameters};
pub use model_params::{EntryOrigin, ModelParams, ModelParamsEntry, load_model_params};
pub use nearest::{did_you_mean, nearest, question};
pub use price_file::PriceList;
pub use topology_file::{CatalogTopology, InfinibandGeneration};
pub use uncertain::{Figure, Uncertain};

use shelf::{Shelf, key};

/// Every model and device that the binary knows.
#[derive(Debug)]
pub struct Catalog {
    models: Shelf<CatalogModel>,
    devices: Shelf<CatalogDevice>,
    fabrics: Shelf<CatalogFabric>,
    topologies: Shelf<CatalogTopology>,
    curves: Shelf<CurveFile>,
}

impl Catalog {
    /// The embedded catalog; a file of it is read when first asked for.
    pub fn builtin() -> &'static Self {
        static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog {
            models: Shelf::of(embedded::MODELS, |text| model_file::parse(text).map_err(|error| error.to_string())),
            devices: Shelf::of(embedded::DEVICES, |text| {
                device_file::parse(text, |name| Catalog::builtin().curve(name))
            }),
            fabrics: Shelf::of(embedded::FABRICS, |text| fabric_file::parse(text).map_err(|error| error.to_string())),
            topologies: Shelf::of(embedded::TOPOLOGIES, |text| {
                topology_file::parse(text).map_err(|error| error.to_string())
            }),
            curves: Shelf::of(embedded::CURVES, CurveFile::parse),
        });
        &CATALOG
    }

    /// The model of a name: the catalog's, a Hugging Face id, or that id without its owner. Case does not matter.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<&CatalogModel> {
        self.models.get(name)
    }

    /// The architecture of a name: a model's, or that of its checkpoint with weights of the type that the name ends in, such
    /// as `Qwen/Qwen3-8B-FP8` or `Qwen2.5-72B-Instruct-AWQ`.
    #[must_use]
    pub fn architecture(&self, name: &str) -> Option<Arc<ModelArchitecture>> {
        if let Some(model) = self.model(name) {
            return Some(Arc::clone(&model.architecture));
        }
        let (base, dtype) = quantised_name(name)?;
        let format =
            if is_of_blocks(name) { WeightFormat::fp8_in_blocks(WEIGHT_BLOCK) } else { WeightFormat::usual(dtype) };
        let mut architecture = ModelArchitecture::clone(&self.model(&base)?.architecture).with_weights(format);
        let name = name.trim();
        architecture.name = name.rsplit_once('/').map_or(name, |(_, name)| name).to_owned();
        Some(Arc::new(architecture))
    }

    /// The device of a name or alias, with or without its maker's name. Case does not matter.
    #[must_use]
    pub fn device(&self, name: &str) -> Option<&CatalogDevice> {
        let key = key(name);
        let bare = MAKERS.iter().fold(key.as_str(), |key, maker| key.strip_prefix(maker).unwrap_or(key));
        self.devices.get(bare)
    }

    /// What an hour of the devices costs, as far as the embedded lists say; the first that names a device counts.
    pub fn prices(&self) -> &'static [PriceList] {
        static PRICES: OnceLock<Vec<PriceList>> = OnceLock::new();
        PRICES.get_or_init(|| {
            PriceList::parse_all(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/configs/prices.yaml")))
                .unwrap_or_else(|error| panic!("configs/prices.yaml, as tests read it: {error}"))
        })
    }

    /// All models, by name.
    pub fn models(&self) -> impl Iterator<Item = &CatalogModel> + Clone {
        self.models.iter()
    }

    /// All devices, by name.
    pub fn devices(&self) -> impl Iterator<Item = &CatalogDevice> + Clone {
        self.devices.iter()
    }

    /// Collectives over links of a kind, as measured on those of the nearest bandwidth; `None` for kinds that were not.
    /// Where GPUs may not read each other's memory (`peer_to_peer`), those through the host's, of kinds that lead there; where they
    /// may, these are there beside the others.
    #[must_use]
    pub fn fabric(&self, kind: LinkKind, bytes_per_s: f64, peer_to_peer: bool) -> Option<Arc<Fabric>> {
        let distance = |fabric: &&CatalogFabric| (fabric.bytes_per_s / bytes_per_s).ln().abs();
        let of_kind = || self.fabrics.iter().filter(|fabric| fabric.kind == kind);
        let by_host = of_kind().find(|fabric| !fabric.peer_to_peer);
        if let Some(by_host) = by_host.filter(|_| !peer_to_peer) {
            return Some(by_host.over(bytes_per_s, None));
        }
        let among_peers = of_kind().filter(|fabric| fabric.peer_to_peer);
        let nearest = among_peers.min_by(|a, b| distance(a).total_cmp(&distance(b)))?;
        Some(nearest.over(bytes_per_s, by_host))
    }

    /// Everything that is known of collectives.
    pub fn fabrics(&self) -> impl Iterator<Item = &CatalogFabric> {
        self.fabrics.iter()
    }

    /// The kind of server of a name or alias. Case does not matter.
    #[must_use]
    pub fn topology(&self, name: &str) -> Option<&CatalogTopology> {
        self.topologies.get(name)
    }

    /// The names of all kinds of server.
    pub fn topology_names(&self) -> impl Iterator<Item = &str> {
        self.topologies.names()
    }

    /// The efficiency curve of this name.
    #[must_use]
    pub fn curve(&self, name: &str) -> Option<&CurveFile> {
        self.curves.get(name)
    }

    /// All efficiency curves, by name.
    pub fn curves(&self) -> impl Iterator<Item = &CurveFile> {
        self.curves.iter()
    }

    /// The names of all efficiency curves.
    pub fn curve_names(&self) -> impl Iterator<Item = &str> {
        self.curves.names()
    }

    /// The names of all models, to offer the nearest for one that is unknown.
    pub fn model_names(&self) -> impl Iterator<Item = &str> {
        self.models.names()
    }

    /// What models are called beside their names.
    pub fn model_aliases(&self) -> impl Iterator<Item = &str> {
        self.models.aliases()
    }

    /// The names of all devices.
    pub fn device_names(&self) -> impl Iterator<Item = &str> {
        self.devices.names()
    }

    /// Catalog names of the `n` models whose names or aliases are nearest to an unknown one.
    #[must_use]
    pub fn nearest_models(&self, unknown: &str, n: usize) -> Vec<&str> {
        self.models.nearest(unknown, n)
    }

    /// Catalog names of the `n` devices whose names or aliases are nearest to an unknown one.
    #[must_use]
    pub fn nearest_devices(&self, unknown: &str, n: usize) -> Vec<&str> {
        self.devices.nearest(unknown, n)
    }

    /// The embedded files, by name, of each folder of `configs` that holds some.
    #[must_use]
    pub fn embedded_files() -> [(&'static str, Vec<&'static str>); 5] {
        let names = |files: &[embedded::EmbeddedFile]| files.iter().map(|(name, _)| *name).collect();
        [
            ("models", names(embedded::MODELS)),
            ("hardware", names(embedded::DEVICES)),
            ("collectives", names(embedded::FABRICS)),
            ("topologies", names(embedded::TOPOLOGIES)),
            ("efficiency", names(embedded::CURVES)),
        ]
    }
}

/// What people write before a device's name, in the order in which it is taken off.
const MAKERS: [&str; 9] =
    ["nvidia-", "amd-", "intel-", "google-", "aws-", "amazon-", "geforce-", "tesla-", "instinct-"];

/// Side of the blocks of the weights that Qwen quantises to fp8 itself, as of DeepSeek's.
const WEIGHT_BLOCK: u32 = 128;

/// Whether a checkpoint's fp8 weights have a scale a block: Qwen 3's by its makers. Others' have one a row.
fn is_of_blocks(name: &str) -> bool {
    let key = key(name);
    let (owner, name) = key.rsplit_once('/').unwrap_or(("qwen", &key));
    owner == "qwen" && name.starts_with("qwen3") && name.ends_with("-fp8")
}

/// How checkpoints with quantised weights are named, longest endings first.
const QUANTISED: [(&str, Dtype); 16] = [
    ("-quantized.w8a8", Dtype::Int8),
    ("-quantized.w4a16", Dtype::Int4),
    ("-fp8-kv", Dtype::Fp8),
    ("-fp8-dynamic", Dtype::Fp8),
    ("-gptq-int8", Dtype::Int8),
    ("-gptq-int4", Dtype::Int4),
    ("-awq-int4", Dtype::Int4),
    ("-bnb-4bit", Dtype::Int4),
    ("-nvfp4", Dtype::Nvfp4),
    ("-mxfp4", Dtype::Mxfp4),
    ("-fp4", Dtype::Nvfp4),
    ("-fp8", Dtype::Fp8),
    ("-int8", Dtype::Int8),
    ("-int4", Dtype::Int4),
    ("-awq", Dtype::Int4),
    ("-gptq", Dtype::Int4),
];

/// The name without what it says of quantised weights, and their type.
fn quantised_name(name: &str) -> Option<(String, Dtype)> {
    let key = key(name);
    QUANTISED.iter().find_map(|(ending, dtype)| Some((key.strip_suffix(ending)?.to_owned(), *dtype)))
}
