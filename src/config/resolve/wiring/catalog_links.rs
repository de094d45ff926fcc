//! Links that no configuration has declared, by the data sheets of the catalog's devices.

use oracle_components::scenario::{LinkSpec, Role};

use super::pools;
use crate::catalog::{CatalogDevice, DeviceLink, LinkKind};
use crate::config::diagnostic::Diagnostics;
use crate::config::resolve::devices::Hardware;
use crate::config::resolve::plan::{FrameworkPlan, Layout};
use crate::config::resolve::topology::{CLIENT, CLIENT_LINK_BYTES_PER_S, CLIENT_LINK_LATENCY_S};

/// Devices that a bridge joins; what joins more is a switch or a mesh.
const BRIDGED_DEVICES: u32 = 2;

/// Where the config has no links at all, devices of the catalog are joined as their data sheets say: each rank to the next
/// of its ring, stages to stages, prefill to decode engines, and the client to the first GPU of each framework.
pub(in crate::config::resolve) fn add(
    hardware: &mut Hardware,
    plans: &[FrameworkPlan<'_>],
    diagnostics: &mut Diagnostics,
) {
    if !hardware.topology.is_empty() {
        return;
    }
    for layout in plans.iter().filter_map(|plan| plan.layout.as_ref()) {
        let devices = layout.gpu_ids.len();
        for engine in (0..layout.data_parallel).map(|number| layout.engine(number)) {
            add_engine_links(hardware, &engine, devices);
        }
        if layout.data_parallel > 1 {
            add_ring_links(hardware, &layout.gpu_ids, devices);
        }
        warn_of_many(hardware, layout, devices, diagnostics);
    }
    let devices = pools::gpus(plans);
    let prefill = plans.iter().find(|plan| plan.role() == Some(Role::Prefill));
    if let Some(layout) = prefill.and_then(|plan| plan.layout.as_ref()) {
        warn_of_many(hardware, layout, devices, diagnostics);
    }
    for (a, b) in pools::kv_transfer_pairs(plans) {
        add_peer_link(hardware, &a, &b, devices);
    }
}

fn add_engine_links(hardware: &mut Hardware, layout: &Layout, devices: usize) {
    for stage in 0..layout.pipeline_parallel {
        add_ring_links(hardware, layout.stage(stage), devices);
    }
    for stage in 1..layout.pipeline_parallel {
        add_peer_links(hardware, &layout.stage(stage - 1)[0], &layout.stage(stage)[0], devices);
    }
    let first = &layout.gpu_ids[0];
    if hardware.device(first).is_some_and(|device| device.catalog.is_some()) {
        add_link(hardware, CLIENT, first, (CLIENT_LINK_BYTES_PER_S, CLIENT_LINK_LATENCY_S), None);
        add_link(hardware, first, CLIENT, (CLIENT_LINK_BYTES_PER_S, CLIENT_LINK_LATENCY_S), None);
    }
}

fn add_ring_links(hardware: &mut Hardware, ids: &[String], devices: usize) {
    for rank in 0..ids.len() {
        add_peer_links(hardware, &ids[rank], &ids[(rank + 1) % ids.len()], devices);
    }
}

fn add_peer_links(hardware: &mut Hardware, a: &str, b: &str, devices: usize) {
    add_peer_link(hardware, a, b, devices);
    add_peer_link(hardware, b, a, devices);
}

/// What joins a device to others of so many: its own link, but for bridges of a pair, which more of them do not have.
fn peer_link(device: &CatalogDevice, devices: usize) -> DeviceLink {
    let is_joined = |link: &DeviceLink| link.devices > BRIDGED_DEVICES || devices <= link.devices as usize;
    device.peer_link.filter(is_joined).unwrap_or(device.host_link)
}

/// Data sheets join a server's devices; how more of them are joined is an assumption.
fn warn_of_many(hardware: &Hardware, layout: &Layout, devices: usize, diagnostics: &mut Diagnostics) {
    let Some(device) = hardware.device(&layout.gpu_ids[0]).and_then(|device| device.catalog) else {
        return;
    };
    if let Some(own) = device.peer_link.filter(|link| devices > link.devices as usize) {
        let assumed = peer_link(device, devices).kind;
        let message = format!(
            "{devices} devices, of which {} joins {}; all are taken as joined by {assumed}",
            own.kind, own.devices
        );
        diagnostics.warn_with(&layout.at, message, "declare hardware_profile.network_links");
    }
}

fn add_peer_link(hardware: &mut Hardware, source: &str, destination: &str, devices: usize) {
    let catalog = |id| hardware.device(id).and_then(|device| device.catalog);
    let (Some(from), Some(to)) = (catalog(source), catalog(destination)) else {
        return;
    };
    let links = [from, to].map(|device| peer_link(device, devices));
    let bytes_per_s = links[0].bytes_per_s_per_peer.min(links[1].bytes_per_s_per_peer);
    let kind = (links[0].kind == links[1].kind).then_some(links[0].kind);
    add_link(hardware, source, destination, (bytes_per_s, links[0].latency_s.max(links[1].latency_s)), kind);
}

fn add_link(
    hardware: &mut Hardware,
    source: &str,
    destination: &str,
    (bytes_per_s, latency_s): (f64, f64),
    kind: Option<LinkKind>,
) {
    if source == destination || hardware.topology.is_linked(source, destination) {
        return;
    }
    let id = format!("{source}_to_{destination}");
    let (source, destination) = (source.to_owned(), destination.to_owned());
    let link = LinkSpec { id, source, destination, bytes_per_s, latency_s };
    match kind {
        Some(kind) => hardware.topology.add_of_kind(link, kind),
        None => hardware.topology.add(link),
    };
}
