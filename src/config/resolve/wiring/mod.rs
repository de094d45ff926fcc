//! Which links an engine uses: the rings of its stages, what is known of them, the way from stage to stage, to the ranks
//! that share its experts, to the client and back.

pub(super) mod catalog_links;
pub(super) mod front_end;
pub(super) mod pools;

use oracle_components::collectives::GroupFabric;
use oracle_components::scenario::{ExpertParallel, LinkSpec, Path};

use crate::catalog::{Catalog, CatalogDevice, LinkKind};
use crate::config::diagnostic::{Diagnostics, Severity};
use crate::config::resolve::devices::Hardware;
use crate::config::resolve::frameworks::experts;
use crate::config::resolve::plan::{FrameworkPlan, Layout};
use crate::config::resolve::topology::{CLIENT, ENTRY, Ring, Topology, proposed_link};

/// The link that a message proposes: NVLink of an A100, in bits per second, and its latency.
const PROPOSED_BANDWIDTH_BPS: f64 = 2.4e12;
const PROPOSED_LATENCY_S: f64 = 1e-6;

/// The paths of an engine.
#[derive(Debug)]
pub(super) struct Wiring {
    pub(super) rings: Vec<Vec<Path>>,
    pub(super) fabrics: Vec<Option<GroupFabric>>,
    pub(super) stage_paths: Vec<Path>,
    pub(super) expert_parallel: Option<ExpertParallel>,
    pub(super) ingress: Path,
    pub(super) egress: Path,
}

/// The paths of each engine of a framework; `None` if a link is missing between ranks, which has been reported.
pub(super) fn resolve(
    plan: &FrameworkPlan<'_>,
    layout: &Layout,
    hardware: &Hardware,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Wiring>> {
    let topology = &hardware.topology;
    let peer_to_peer = reach_each_other(layout, hardware);
    let custom_all_reduce = plan.config.disable_custom_all_reduce.value != Some(true) && peer_to_peer;
    let severity = plan.severity();
    let mut ranks = Ranks { layout, topology, custom_all_reduce, peer_to_peer, severity, diagnostics, is_whole: true };
    let all = if layout.data_parallel > 1 { ranks.ring(&layout.gpu_ids) } else { ranks.ring(&[]) };
    let engines = (0..layout.data_parallel).map(|number| {
        let own = layout.engine(number);
        let stages = layout.pipeline_parallel;
        let rings = (0..stages).map(|stage| ranks.ring(own.stage(stage)));
        let (rings, fabrics) = rings.map(|ring| (ring.hops, ring.fabric)).unzip();
        let stage_paths = (1..stages).map(|stage| ranks.hop(&own.stage(stage - 1)[0], &own.stage(stage)[0])).collect();
        let expert_parallel = experts::spread(plan.config, layout, number, &all);
        let (ingress, egress) = client_paths(plan, &own, topology, ranks.diagnostics);
        Wiring { rings, fabrics, stage_paths, expert_parallel, ingress, egress }
    });
    let engines = engines.collect();
    ranks.is_whole.then_some(engines)
}

/// Whether the GPUs may read each other's memory over the links by which they are joined: as the configuration says, else
/// as their driver lets them.
fn reach_each_other(layout: &Layout, hardware: &Hardware) -> bool {
    let catalog = |id: &String| hardware.device(id).and_then(|device| device.catalog);
    let mut devices = layout.gpu_ids.iter().filter_map(catalog);
    let by_driver = || devices.all(CatalogDevice::reaches_peers);
    hardware.peer_to_peer.unwrap_or_else(by_driver)
}

struct Ranks<'a> {
    layout: &'a Layout,
    topology: &'a Topology,
    custom_all_reduce: bool,
    peer_to_peer: bool,
    severity: Severity,
    diagnostics: &'a mut Diagnostics,
    is_whole: bool,
}

impl Ranks<'_> {
    /// No hops for a single rank.
    fn ring(&mut self, ids: &[String]) -> Ring {
        if ids.len() < 2 {
            return Ring { hops: Vec::new(), fabric: None };
        }
        let hops: Vec<Path> = (0..ids.len()).map(|rank| self.hop(&ids[rank], &ids[(rank + 1) % ids.len()])).collect();
        let fabric = if self.is_whole { self.fabric(&hops) } else { None };
        Ring { hops, fabric }
    }

    /// What is known of links that are of one kind within nodes, and of InfiniBand between them. A hop that crosses
    /// InfiniBand leads to another node.
    fn fabric(&self, hops: &[Path]) -> Option<GroupFabric> {
        let links = hops.iter().flatten().map(|&link| Some((self.topology.kind(link)?, self.topology.link(link))));
        let links: Vec<(LinkKind, &LinkSpec)> = links.collect::<Option<_>>()?;
        let slowest = |kind: LinkKind| {
            let of_kind = links.iter().filter(|(other, _)| *other == kind).map(|(_, link)| link.bytes_per_s);
            let fabric = |bytes_per_s| Catalog::builtin().fabric(kind, bytes_per_s, self.peer_to_peer);
            of_kind.min_by(f64::total_cmp).and_then(fabric)
        };
        let within = links.iter().map(|(kind, _)| *kind).find(|kind| *kind != LinkKind::Infiniband);
        if links.iter().any(|(kind, _)| *kind != LinkKind::Infiniband && Some(*kind) != within) {
            return None;
        }
        let crosses = |hop: &&Path| hop.iter().any(|&link| self.topology.kind(link) == Some(LinkKind::Infiniband));
        let nodes = u32::try_from(hops.iter().filter(crosses).count()).unwrap_or(u32::MAX);
        let across = slowest(LinkKind::Infiniband);
        let local = within.map_or_else(|| across.clone(), slowest)?;
        let across = if nodes > 0 { Some((nodes, across?)) } else { None };
        Some(GroupFabric { local, custom_all_reduce: self.custom_all_reduce, across })
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

/// To the engine's first GPU and back. A missing one is no error: the network then takes no time.
fn client_paths(
    plan: &FrameworkPlan<'_>,
    layout: &Layout,
    topology: &Topology,
    diagnostics: &mut Diagnostics,
) -> (Path, Path) {
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
