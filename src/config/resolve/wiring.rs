//! Which links an engine uses: the rings of its stages, the way from stage to stage, to the client and back.

use oracle_components::scenario::{LinkSpec, Path, Role};

use super::frameworks::{Layout, Plan};
use super::hardware::Hardware;
use super::pools;
use super::topology::{CLIENT, ENTRY, Topology};
use crate::config::diagnostic::{Diagnostics, Severity, number};

/// Client link of a deployment of catalog devices without links: 10 Gb/s, 100 µs, as in the predecessor's examples.
const CLIENT_LINK_BYTES_PER_S: f64 = 10e9 / 8.0;
const CLIENT_LINK_LATENCY_S: f64 = 100e-6;
/// The link that a message proposes: NVLink of an A100, in bits per second, and its latency.
const PROPOSED_BANDWIDTH_BPS: f64 = 2.4e12;
const PROPOSED_LATENCY_S: f64 = 1e-6;

/// The paths of an engine.
#[derive(Debug)]
pub(super) struct Wiring {
    pub(super) rings: Vec<Vec<Path>>,
    pub(super) stage_paths: Vec<Path>,
    pub(super) ingress: Path,
    pub(super) egress: Path,
}

/// The paths of an engine; `None` if a link is missing between its ranks, which has been reported.
pub(super) fn resolve(
    plan: &Plan<'_>,
    layout: &Layout,
    topology: &Topology,
    diagnostics: &mut Diagnostics,
) -> Option<Wiring> {
    let mut ranks = Ranks { layout, topology, severity: plan.severity(), diagnostics, is_whole: true };
    let rings = (0..layout.pipeline_parallel).map(|stage| ranks.ring(layout.stage(stage))).collect();
    let stages = layout.pipeline_parallel;
    let stage_paths =
        (1..stages).map(|stage| ranks.hop(&layout.stage(stage - 1)[0], &layout.stage(stage)[0])).collect();
    let is_whole = ranks.is_whole;
    let (ingress, egress) = client_paths(plan, layout, topology, diagnostics);
    is_whole.then_some(Wiring { rings, stage_paths, ingress, egress })
}

struct Ranks<'a> {
    layout: &'a Layout,
    topology: &'a Topology,
    severity: Severity,
    diagnostics: &'a mut Diagnostics,
    is_whole: bool,
}

impl Ranks<'_> {
    /// From each rank to the next, and from the last to the first; no hops for a single rank.
    fn ring(&mut self, ids: &[String]) -> Vec<Path> {
        if ids.len() < 2 {
            return Vec::new();
        }
        (0..ids.len()).map(|rank| self.hop(&ids[rank], &ids[(rank + 1) % ids.len()])).collect()
    }

    fn hop(&mut self, source: &str, destination: &str) -> Path {
        if let Some(path) = self.topology.path(source, destination, &[CLIENT, ENTRY]) {
            return path;
        }
        self.is_whole = false;
        let message = format!("missing link between ranks {source} and {destination}");
        let suggestion = proposed_link(source, destination, PROPOSED_BANDWIDTH_BPS, PROPOSED_LATENCY_S);
        self.diagnostics.report(self.severity, &self.layout.at, message, Some(suggestion));
        Path::new()
    }
}

/// The link that is missing, as it could be written.
pub(super) fn proposed_link(source: &str, destination: &str, bandwidth_bps: f64, latency_s: f64) -> String {
    format!(
        "add to hardware_profile.network_links: - {{link_id: {source}_to_{destination}, source_id: {source}, \
         dest_id: {destination}, bandwidth_bps: {}, latency_s: {latency_s}}}",
        number(bandwidth_bps)
    )
}

/// To the engine's first GPU and back. A missing one is no error: the network then takes no time.
fn client_paths(plan: &Plan<'_>, layout: &Layout, topology: &Topology, diagnostics: &mut Diagnostics) -> (Path, Path) {
    let first = layout.gpu_ids[0].as_str();
    let to = |node| topology.path(CLIENT, node, &[]);
    let from = |node| topology.path(node, CLIENT, &[]);
    let ingress = to(first).or_else(|| to(ENTRY));
    let egress = from(first).or_else(|| from(ENTRY));
    let is_target = plan.keys.is_target_for_workload.value;
    if is_target && ingress.is_none() {
        let (topic, message) = if topology.leaves(CLIENT) {
            (
                plan.name.as_str(),
                format!("no link from the client to {first} or {ENTRY}: network taken as instantaneous"),
            )
        } else {
            ("client", "no link from the client: network taken as instantaneous".to_owned())
        };
        diagnostics.warn_once(topic, &layout.at, message);
    } else if is_target && egress.is_none() {
        let message = format!("no link from {first} or {ENTRY} to the client: answers take no time");
        diagnostics.warn(&layout.at, message);
    }
    (ingress.unwrap_or_default(), egress.unwrap_or_default())
}

/// Where the config has no links at all, devices of the catalog are joined as their data sheets say: each rank to the
/// next
/// of its ring, stages to stages, prefill to decode engines, and the client to the first GPU of each framework.
pub(super) fn add_catalog_links(hardware: &mut Hardware, plans: &[Plan<'_>], diagnostics: &mut Diagnostics) {
    if !hardware.topology.is_empty() {
        return;
    }
    for layout in plans.iter().filter_map(|plan| plan.layout.as_ref()) {
        let stages = (0..layout.pipeline_parallel).map(|stage| layout.stage(stage));
        let rings = stages.flat_map(|ids| (0..ids.len()).map(move |rank| (&ids[rank], &ids[(rank + 1) % ids.len()])));
        let between = (1..layout.pipeline_parallel).map(|stage| (&layout.stage(stage - 1)[0], &layout.stage(stage)[0]));
        for (a, b) in rings.chain(between) {
            add_peer_link(hardware, a, b);
            add_peer_link(hardware, b, a);
        }
        let first = &layout.gpu_ids[0];
        warn_of_many(hardware, layout, layout.gpu_ids.len(), diagnostics);
        if hardware.device(first).is_some_and(|device| device.catalog.is_some()) {
            add_link(hardware, CLIENT, first, CLIENT_LINK_BYTES_PER_S, CLIENT_LINK_LATENCY_S);
            add_link(hardware, first, CLIENT, CLIENT_LINK_BYTES_PER_S, CLIENT_LINK_LATENCY_S);
        }
    }
    let prefill = plans.iter().find(|plan| plan.role() == Some(Role::Prefill));
    if let Some(layout) = prefill.and_then(|plan| plan.layout.as_ref()) {
        warn_of_many(hardware, layout, pools::gpus(plans), diagnostics);
    }
    for (a, b) in pools::ways(plans) {
        add_peer_link(hardware, a, b);
    }
}

/// Data sheets join a server's devices; that more of them are joined the same way is an assumption.
fn warn_of_many(hardware: &Hardware, layout: &Layout, devices: usize, diagnostics: &mut Diagnostics) {
    let catalog = hardware.device(&layout.gpu_ids[0]).and_then(|device| device.catalog);
    let Some(link) = catalog.and_then(|device| device.peer_link) else {
        return;
    };
    if devices > link.devices as usize {
        let message =
            format!("{devices} devices, of which {} joins {}; all are taken as joined by it", link.kind, link.devices);
        diagnostics.warn_with(&layout.at, message, "declare hardware_profile.network_links");
    }
}

fn add_peer_link(hardware: &mut Hardware, source: &str, destination: &str) {
    let catalog = |id| hardware.device(id).and_then(|device| device.catalog);
    let (Some(from), Some(to)) = (catalog(source), catalog(destination)) else {
        return;
    };
    let links = [from, to].map(|device| device.peer_link.unwrap_or(device.host_link));
    let bytes_per_s = links[0].bytes_per_s_per_peer.min(links[1].bytes_per_s_per_peer);
    add_link(hardware, source, destination, bytes_per_s, links[0].latency_s.max(links[1].latency_s));
}

fn add_link(hardware: &mut Hardware, source: &str, destination: &str, bytes_per_s: f64, latency_s: f64) {
    if source != destination && !hardware.topology.is_linked(source, destination) {
        let id = format!("{source}_to_{destination}");
        let (source, destination) = (source.to_owned(), destination.to_owned());
        hardware.topology.add(LinkSpec { id, source, destination, bytes_per_s, latency_s });
    }
}
