//! Servers of a known kind: the devices and links that `topology` stands for.
//!
//! Each GPU has a link to its node's switch and one back, each switch to the network and one back, so that what is between
//! two GPUs is a path over two links within a node and four between nodes. A node's adapters are one link of their
//! bandwidth together, as collectives use all of them at once; what a single GPU sends elsewhere is not held to its own.

use std::sync::Arc;

use oracle_components::device::DeviceSpec;
use oracle_components::scenario::LinkSpec;

use crate::catalog::{Catalog, CatalogDevice, CatalogTopology, LinkKind};
use crate::config::diagnostic::{Diagnostics, did_you_mean, number};
use crate::config::keys::{NetworkLink, ServerTopology};
use crate::config::resolve::devices::{Device, Hardware, MOST_GPUS, named_device};
use crate::config::resolve::topology::{CLIENT, CLIENT_LINK_BYTES_PER_S, CLIENT_LINK_LATENCY_S, ENTRY};

/// The node that joins the switches of several servers.
const NETWORK: &str = "infiniband";

/// Adds the devices and links. `None` if some are missing, which has been reported.
pub(super) fn add(
    hardware: &mut Hardware,
    keys: &ServerTopology,
    declared: &[NetworkLink],
    diagnostics: &mut Diagnostics,
) -> Option<()> {
    let preset = preset(keys, diagnostics)?;
    let device = device(keys, preset, diagnostics)?;
    let (nodes, gpus) = (keys.nodes.value.unwrap_or(1), keys.gpus_per_node.value.unwrap_or(preset.gpus_per_node));
    if gpus > preset.gpus_per_node {
        let message = format!("{gpus} GPUs a node: a {} has {}", preset.name, preset.gpus_per_node);
        diagnostics.error_with(&keys.gpus_per_node.at, message, "use more nodes");
        return None;
    }
    if hardware.devices.len() + nodes as usize * gpus as usize > MOST_GPUS {
        diagnostics.error(&keys.at, format!("makes more than {} devices", number(MOST_GPUS as f64)));
        return None;
    }
    let spec = match keys.price_per_gpu_hour_usd.value {
        Some(price) => Arc::new(DeviceSpec { price_per_hour_usd: Some(price), ..(*device.spec).clone() }),
        None => Arc::clone(&device.spec),
    };
    for node in 0..nodes {
        let switch = format!("{}{node}", preset.within.switch);
        for gpu in node * gpus..(node + 1) * gpus {
            let id = format!("gpu{gpu}");
            if hardware.device(&id).is_some() {
                diagnostics.error_with(
                    &keys.at,
                    format!("duplicate device_id {id}"),
                    "name devices beside it otherwise",
                );
                return None;
            }
            add_gpu(hardware, preset, (device, &spec), &id, &switch);
        }
        if nodes > 1 {
            let generation = keys.network.value.unwrap_or(preset.between.generation);
            let bytes_per_s = f64::from(preset.between.adapters_per_node) * generation.bytes_per_s();
            let speed = (bytes_per_s, preset.between.latency_us * 1e-6);
            add_both_ways(hardware, &switch, NETWORK, speed, Some(LinkKind::Infiniband));
        }
    }
    let touches_client =
        |link: &NetworkLink| [&link.source_id, &link.dest_id].iter().any(|end| end.value.as_deref() == Some(CLIENT));
    if !declared.iter().any(touches_client) {
        add_both_ways(hardware, CLIENT, ENTRY, (CLIENT_LINK_BYTES_PER_S, CLIENT_LINK_LATENCY_S), None);
    }
    Some(())
}

fn preset(keys: &ServerTopology, diagnostics: &mut Diagnostics) -> Option<&'static CatalogTopology> {
    let name = keys.preset.value.as_deref()?;
    let found = Catalog::builtin().topology(name);
    if found.is_none() {
        let names = || Catalog::builtin().topology_names();
        let known = names().collect::<Vec<_>>().join(", ");
        let suggestion = did_you_mean(name, names()).filter(|text| text.starts_with("did"));
        let message = format!("no servers are called {name:?}");
        diagnostics.error_with(&keys.preset.at, message, suggestion.unwrap_or(format!("known: {known}")));
    }
    found
}

fn device(
    keys: &ServerTopology,
    preset: &CatalogTopology,
    diagnostics: &mut Diagnostics,
) -> Option<&'static CatalogDevice> {
    let Some(name) = keys.device.value.as_deref().or(preset.device.as_deref()) else {
        if !keys.device.given {
            let message = format!("missing required key device: any may be in a {} server", preset.name);
            diagnostics.error_with(&keys.at, message, "such as device: RTX-PRO-6000");
        }
        return None;
    };
    named_device(name, &keys.device.at, diagnostics)
}

fn add_gpu(
    hardware: &mut Hardware,
    preset: &CatalogTopology,
    (device, spec): (&'static CatalogDevice, &Arc<DeviceSpec>),
    id: &str,
    switch: &str,
) {
    hardware.push(Device {
        id: id.to_owned(),
        spec: Some(Arc::clone(spec)),
        efficiency: device.efficiency(),
        catalog: Some(device),
    });
    let within = &preset.within;
    add_both_ways(hardware, id, switch, (within.gb_per_s * 1e9, within.latency_us * 1e-6), Some(within.kind));
}

fn add_both_ways(hardware: &mut Hardware, a: &str, b: &str, speed: (f64, f64), kind: Option<LinkKind>) {
    for (source, destination) in [(a, b), (b, a)] {
        let link = LinkSpec {
            id: format!("{source}_to_{destination}"),
            source: source.to_owned(),
            destination: destination.to_owned(),
            bytes_per_s: speed.0,
            latency_s: speed.1,
        };
        match kind {
            Some(kind) => hardware.topology.add_of_kind(link, kind),
            None => hardware.topology.add(link),
        };
    }
}
