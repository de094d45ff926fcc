//! A server, or several joined by a network: the YAML of `configs/topologies`.

use serde::Deserialize;

use super::device_file::LinkKind;

/// A kind of server that the catalog knows: its GPUs, each joined to a switch, and the switches to a network.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogTopology {
    /// Its name.
    pub name: String,
    /// Other names.
    pub aliases: Vec<String>,
    /// Where its figures are from.
    pub source: String,
    /// The GPU, a name of the catalog's; `None` where any may be in it.
    pub device: Option<String>,
    /// Most GPUs of a node, and how many there are unless said otherwise.
    pub gpus_per_node: u32,
    /// From a GPU to its node's switch, and back.
    pub within: SwitchLink,
    /// From a node's switch to the network, and back.
    pub between: NetworkLink,
}

/// A GPU's link to the switch of its node.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchLink {
    /// What it is.
    pub kind: LinkKind,
    /// What the switch is called, before the node's number.
    pub switch: String,
    /// Gigabytes a second, each way.
    pub gb_per_s: f64,
    /// Microseconds from one end to the other.
    pub latency_us: f64,
}

/// A node's link to the network: that of all its adapters together.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkLink {
    /// Adapters of a node.
    pub adapters_per_node: u32,
    /// How fast each is.
    pub generation: InfinibandGeneration,
    /// Microseconds from one end to the other.
    pub latency_us: f64,
}

/// InfiniBand over four lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum InfinibandGeneration {
    /// 200 Gb/s.
    Hdr,
    /// 400 Gb/s.
    Ndr,
    /// 800 Gb/s.
    Xdr,
}

impl InfinibandGeneration {
    /// Bytes a second of an adapter, each way.
    #[must_use]
    pub fn bytes_per_s(self) -> f64 {
        match self {
            Self::Hdr => 25e9,
            Self::Ndr => 50e9,
            Self::Xdr => 100e9,
        }
    }
}

/// Reads one file of `configs/topologies`.
pub(super) fn parse(text: &str) -> Result<CatalogTopology, serde_saphyr::Error> {
    serde_saphyr::from_str(text)
}
