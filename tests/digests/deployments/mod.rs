//! Hardware and the frameworks on it: every way in which the program lets a model be deployed.

mod several;
pub mod single;
mod spread;

use crate::draw::Draw;
use crate::mapping::{Mapping, lines, list};

/// What serves, and how much of it there is.
#[derive(Default)]
pub struct Deployment {
    pub hardware: Mapping,
    pub frameworks: Vec<Mapping>,
    /// Files that it names.
    pub files: Vec<(String, String)>,
    /// A database of models, if it is given one.
    pub database: Option<&'static str>,
    /// Engines, roughly, by which the load is multiplied.
    pub engines: u64,
}

/// Each kind is drawn as often as the others.
const KINDS: [fn(&mut Draw) -> Deployment; 10] = [
    single::of_catalog,
    single::written_out,
    spread::tensor,
    spread::pipeline,
    spread::experts,
    spread::data_parallel_attention,
    spread::context_parallel,
    several::pools,
    several::fleet,
    several::different,
];

/// The deployment of a case.
pub fn deployment(draw: &mut Draw, number: u64) -> Deployment {
    KINDS[number as usize % KINDS.len()](draw)
}

/// A framework of one engine or several copies.
fn framework(name: &str, copies: u64, config: &Mapping) -> Mapping {
    let kind = if config.get("parallelism").is_some() { "ParallelVLLM" } else { "VLLM" };
    Mapping::default().with("name", name).with("type", kind).with("replicas", copies).with("config", config)
}

/// Devices `gpu0`, `gpu1` and so on.
fn devices(device: &str, count: u64) -> Mapping {
    Mapping::default().with("device_id", "gpu").with("device", device).with("count", count)
}

fn gpu_ids(gpus: std::ops::Range<u64>) -> String {
    list(&gpus.map(|gpu| format!("gpu{gpu}")).collect::<Vec<_>>())
}

fn hardware(draw: &mut Draw, devices: &[Mapping], links: &[Mapping]) -> Mapping {
    let mut keys = Mapping::default().with("compute_devices", lines(devices));
    if !links.is_empty() {
        keys.set("network_links", lines(links));
    }
    keys.maybe(draw, 15, "host_power_w", &["0", "800"]);
    keys.maybe(draw, 15, "gpus_per_host", &["1", "4"]);
    keys
}

fn link(id: &str, ends: (&str, &str), bandwidth_bps: &str, latency_s: &str) -> Mapping {
    let (source, destination) = ends;
    let keys = Mapping::default().with("link_id", id).with("source_id", source).with("dest_id", destination);
    keys.with("bandwidth_bps", bandwidth_bps).with("latency_s", latency_s)
}

/// Bandwidths of the client's link.
const FAST_AND_SLOW_BPS: [&str; 7] =
    ["10_000_000_000", "10_000_000_000", "1_000_000_000", "100_000_000", "10_000_000", "2_000_000", "300_000"];

/// The client's link, at times so slow that requests and answers queue for it.
fn client_link(draw: &mut Draw) -> Mapping {
    let bandwidth_bps = draw.one_of(&FAST_AND_SLOW_BPS);
    let latency_s = draw.one_of(&["0", "0.0001", "0.02"]);
    let mut keys = link("client", ("client_node_0", "framework_entry_0"), bandwidth_bps, latency_s);
    keys.maybe(draw, 30, "bidirectional", &["true", "false"]);
    keys
}
