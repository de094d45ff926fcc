//! Collectives over a kind of link: the YAML of `configs/collectives`.

use std::sync::Arc;

use oracle_components::collectives::{Fabric, MOST_PROTOCOLS, Protocol, RankProtocols};
use serde::Deserialize;
use serde::de::Error as _;

use super::device_file::LinkKind;

/// Collectives that were measured, or derived, over a kind of link.
#[derive(Clone, Debug)]
pub struct CatalogFabric {
    /// How long they take.
    pub fabric: Arc<Fabric>,
    /// Over which links.
    pub kind: LinkKind,
    /// Bytes a second that a rank sends over them by the data sheet.
    pub bytes_per_s: f64,
    /// Whether ranks read each other's memory; else all goes through the host's, which is what limits it.
    pub peer_to_peer: bool,
    /// Where the figures are from.
    pub source: String,
    /// What they were fitted to, and how far off they are on what they were not fitted to.
    pub fit: String,
}

impl CatalogFabric {
    /// The same over links of the same kind of another bandwidth: latencies stay, bandwidths follow, but for the host's.
    /// `by_host` is the way through the host's memory that there is beside these links.
    pub(super) fn over(&self, bytes_per_s: f64, by_host: Option<&Self>) -> Arc<Fabric> {
        let ratio = self.bytes_per_s / bytes_per_s;
        if !self.peer_to_peer || by_host.is_none() && (ratio - 1.0).abs() < 1e-9 {
            return Arc::clone(&self.fabric);
        }
        let by_host = by_host.map(|host| Arc::clone(&host.fabric));
        let mut fabric = Fabric { by_host, ..Fabric::clone(&self.fabric) };
        let tables = [
            &mut fabric.all_reduce,
            &mut fabric.all_gather,
            &mut fabric.reduce_scatter,
            &mut fabric.all_to_all,
            &mut fabric.custom_all_reduce,
        ];
        for protocol in tables.into_iter().flatten().flat_map(|entry| &mut entry.protocols) {
            protocol.s_per_byte *= ratio;
        }
        Arc::new(fabric)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FabricFile {
    name: String,
    kind: LinkKind,
    gb_per_s: f64,
    #[serde(default = "yes")]
    peer_to_peer: bool,
    source: String,
    fit: String,
    #[serde(default)]
    custom_all_reduce: Vec<RanksFile>,
    all_reduce: Vec<RanksFile>,
    all_gather: Vec<RanksFile>,
    reduce_scatter: Vec<RanksFile>,
    all_to_all: Vec<RanksFile>,
}

const fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RanksFile {
    ranks: u32,
    up_to_bytes: Option<f64>,
    /// Latency in µs and tensor bytes a second in GB/s, protocol by protocol.
    us_and_gb_per_s: Vec<(f64, f64)>,
}

/// Reads one file of `configs/collectives`.
pub(super) fn parse(text: &str) -> Result<CatalogFabric, serde_saphyr::Error> {
    let file: FabricFile = serde_saphyr::from_str(text)?;
    Ok(CatalogFabric {
        fabric: Arc::new(Fabric {
            name: file.name,
            all_reduce: table(file.all_reduce)?,
            all_gather: table(file.all_gather)?,
            reduce_scatter: table(file.reduce_scatter)?,
            all_to_all: table(file.all_to_all)?,
            custom_all_reduce: table(file.custom_all_reduce)?,
            by_host: None,
        }),
        kind: file.kind,
        bytes_per_s: file.gb_per_s * 1e9,
        peer_to_peer: file.peer_to_peer,
        source: file.source,
        fit: file.fit,
    })
}

fn table(entries: Vec<RanksFile>) -> Result<Vec<RankProtocols>, serde_saphyr::Error> {
    if !entries.is_sorted_by(|a, b| a.ranks < b.ranks) {
        return Err(serde_saphyr::Error::custom("ranks must rise"));
    }
    entries.into_iter().map(ranks).collect()
}

fn ranks(entry: RanksFile) -> Result<RankProtocols, serde_saphyr::Error> {
    if !(1..=MOST_PROTOCOLS).contains(&entry.us_and_gb_per_s.len()) || entry.ranks < 2 {
        let message = format!("2 ranks or more, and 1 to {MOST_PROTOCOLS} protocols, must be given");
        return Err(serde_saphyr::Error::custom(message));
    }
    let protocol = |(us, gb_per_s): (f64, f64)| Protocol { latency_s: us * 1e-6, s_per_byte: 1.0 / (gb_per_s * 1e9) };
    Ok(RankProtocols {
        ranks: entry.ranks,
        protocols: entry.us_and_gb_per_s.into_iter().map(protocol).collect(),
        up_to_bytes: entry.up_to_bytes.unwrap_or(f64::INFINITY),
    })
}
