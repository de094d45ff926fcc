//! Links as a directed graph, paths and rings over it, and how a missing link could be written.
//!
//! A path has the fewest hops, then the least latency, then the links declared first: the same file gives the same
//! paths.
//! Nothing is routed through the client.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use oracle_components::collectives::GroupFabric;
use oracle_components::scenario::{LinkIndex, LinkSpec, Path};

use crate::catalog::LinkKind;
use crate::config::diagnostic::number;

/// The node that requests come from.
pub(super) const CLIENT: &str = "client_node_0";
/// The node that stands for every framework without a client link of its own.
pub(super) const ENTRY: &str = "framework_entry_0";
/// Client link of a deployment of catalog devices without links: 10 Gb/s, 100 µs, as in the predecessor's examples.
pub(super) const CLIENT_LINK_BYTES_PER_S: f64 = 10e9 / 8.0;
pub(super) const CLIENT_LINK_LATENCY_S: f64 = 100e-6;

/// Links by their ends.
#[derive(Debug, Default)]
pub(super) struct Topology {
    links: Vec<LinkSpec>,
    /// What a link is, where collectives over it are to be those that were measured.
    kinds: HashMap<LinkIndex, LinkKind>,
    nodes: HashMap<String, usize>,
    /// For each node, its outgoing links and where they lead.
    outgoing: Vec<Vec<(LinkIndex, usize)>>,
}

impl Topology {
    /// Adds a link.
    pub(super) fn add(&mut self, link: LinkSpec) -> LinkIndex {
        let index = LinkIndex::try_from(self.links.len()).expect("fewer than 2^32 links fit in memory");
        let (source, destination) = (self.node(&link.source), self.node(&link.destination));
        self.outgoing[source].push((index, destination));
        self.links.push(link);
        index
    }

    /// Adds a link over which collectives are to be those that were measured on links of its kind.
    pub(super) fn add_of_kind(&mut self, link: LinkSpec, kind: LinkKind) -> LinkIndex {
        let index = self.add(link);
        self.kinds.insert(index, kind);
        index
    }

    /// What a link is, where that is known.
    pub(super) fn kind(&self, index: LinkIndex) -> Option<LinkKind> {
        self.kinds.get(&index).copied()
    }

    /// Whether any link begins or ends there.
    pub(super) fn has(&self, node: &str) -> bool {
        self.nodes.contains_key(node)
    }

    /// Whether a link leads directly from one node to another.
    pub(super) fn is_linked(&self, source: &str, destination: &str) -> bool {
        let (Some(source), Some(destination)) = (self.nodes.get(source), self.nodes.get(destination)) else {
            return false;
        };
        self.outgoing[*source].iter().any(|(_, to)| to == destination)
    }

    /// A link.
    pub(super) fn link(&self, index: LinkIndex) -> &LinkSpec {
        &self.links[index as usize]
    }

    /// How many links there are.
    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether there are links at all.
    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Whether any link leaves a node.
    pub(super) fn leaves(&self, node: &str) -> bool {
        self.nodes.get(node).is_some_and(|node| !self.outgoing[*node].is_empty())
    }

    /// Links that touch one of the nodes.
    pub(super) fn touching(&self, nodes: &HashSet<&str>) -> Vec<LinkIndex> {
        let touches =
            |link: &LinkSpec| nodes.contains(link.source.as_str()) || nodes.contains(link.destination.as_str());
        (0..).zip(&self.links).filter(|(_, link)| touches(link)).map(|(index, _)| index).collect()
    }

    /// Every link.
    pub(super) fn into_links(self) -> Vec<LinkSpec> {
        self.links
    }

    /// The best path that passes through none of `barred`; empty from a node to itself.
    pub(super) fn path(&self, source: &str, destination: &str, barred: &[&str]) -> Option<Path> {
        if source == destination {
            return Some(Path::new());
        }
        let (source, destination) = (*self.nodes.get(source)?, *self.nodes.get(destination)?);
        // Most paths are a link, and the client has one to every framework: searching them for each takes their square.
        let links = self.outgoing[source].iter().filter(|(_, to)| *to == destination);
        let costs = links.map(|&(link, _)| Cost::default().after(link, self.links[link as usize].latency_s));
        if let Some(best) = costs.min() {
            return Some(vec![best.last_link]);
        }
        let arrived_by = self.search(source, Some(destination), barred);
        arrived_by.contains_key(&destination).then(|| self.walk_back(destination, &arrived_by))
    }

    /// The best paths to each of `destinations` that pass through none of `barred`, as [`Topology::path`] finds them.
    pub(super) fn paths(&self, source: &str, destinations: &[&str], barred: &[&str]) -> Vec<Option<Path>> {
        let arrived_by = self.nodes.get(source).map(|&source| self.search(source, None, barred)).unwrap_or_default();
        let path = |destination: &&str| {
            if *destination == source {
                return Some(Path::new());
            }
            let node = *self.nodes.get(*destination)?;
            arrived_by.contains_key(&node).then(|| self.walk_back(node, &arrived_by))
        };
        destinations.iter().map(path).collect()
    }

    /// By which link the best path from `source` comes to each node, or to those no farther than `until`.
    fn search(&self, source: usize, until: Option<usize>, barred: &[&str]) -> HashMap<usize, Option<LinkIndex>> {
        let barred: Vec<usize> = barred.iter().filter_map(|node| self.nodes.get(*node)).copied().collect();
        let mut arrived_by: HashMap<usize, Option<LinkIndex>> = HashMap::new();
        let mut frontier = BinaryHeap::from([Reverse((Cost::default(), source, None))]);
        while let Some(Reverse((cost, node, link))) = frontier.pop() {
            if arrived_by.contains_key(&node) {
                continue;
            }
            arrived_by.insert(node, link);
            if until == Some(node) {
                break;
            }
            if node != source && barred.contains(&node) {
                continue;
            }
            for &(link, to) in &self.outgoing[node] {
                let next = cost.after(link, self.links[link as usize].latency_s);
                frontier.push(Reverse((next, to, Some(link))));
            }
        }
        arrived_by
    }

    fn walk_back(&self, destination: usize, arrived_by: &HashMap<usize, Option<LinkIndex>>) -> Path {
        let mut path = Path::new();
        let mut node = destination;
        while let Some(Some(link)) = arrived_by.get(&node) {
            path.push(*link);
            node = self.nodes[&self.links[*link as usize].source];
        }
        path.reverse();
        path
    }

    fn node(&mut self, name: &str) -> usize {
        if let Some(node) = self.nodes.get(name) {
            return *node;
        }
        self.outgoing.push(Vec::new());
        self.nodes.insert(name.to_owned(), self.outgoing.len() - 1);
        self.outgoing.len() - 1
    }
}

/// What a path costs so far. Latency in integers, so that it orders totally.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    hops: u32,
    latency_ps: u64,
    last_link: LinkIndex,
}

impl Cost {
    fn after(self, link: LinkIndex, latency_s: f64) -> Self {
        let latency_ps = self.latency_ps.saturating_add((latency_s * 1e12) as u64);
        Self { hops: self.hops + 1, latency_ps, last_link: link }
    }
}

/// From each of several ranks to the next, and from the last to the first.
#[derive(Debug)]
pub(super) struct Ring {
    pub(super) hops: Vec<Path>,
    /// The links where they are of kinds that were measured.
    pub(super) fabric: Option<GroupFabric>,
}

/// The link that is missing, as it could be written.
pub(super) fn proposed_link(source: &str, destination: &str, bandwidth_bps: f64, latency_s: f64) -> String {
    format!(
        "add to hardware_profile.network_links: - {{link_id: {source}_to_{destination}, source_id: {source}, \
         dest_id: {destination}, bandwidth_bps: {}, latency_s: {latency_s}}}",
        number(bandwidth_bps)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(links: &[(&str, &str, f64)]) -> Topology {
        let mut topology = Topology::default();
        for (source, destination, latency_s) in links {
            topology.add(LinkSpec {
                id: format!("{source}-{destination}"),
                source: (*source).to_owned(),
                destination: (*destination).to_owned(),
                bytes_per_s: 1e9,
                latency_s: *latency_s,
            });
        }
        topology
    }

    #[test]
    fn fewest_hops_come_before_latency_and_latency_before_order() {
        let topology =
            topology(&[("a", "b", 1e-6), ("b", "d", 1e-6), ("a", "d", 1.0), ("a", "d", 0.5), ("a", "d", 0.5)]);
        assert_eq!(topology.path("a", "d", &[]), Some(vec![3]));
        assert_eq!(topology.path("a", "a", &[]), Some(vec![]));
        assert_eq!(topology.path("d", "a", &[]), None);
        assert_eq!(topology.path("a", "nowhere", &[]), None);
    }

    #[test]
    fn no_path_leads_through_a_barred_node() {
        let topology =
            topology(&[("a", CLIENT, 0.0), (CLIENT, "b", 0.0), ("a", "c", 0.0), ("c", "d", 0.0), ("d", "b", 0.0)]);
        assert_eq!(topology.path("a", "b", &[]), Some(vec![0, 1]));
        assert_eq!(topology.path("a", "b", &[CLIENT]), Some(vec![2, 3, 4]));
        assert_eq!(topology.path(CLIENT, "b", &[CLIENT]), Some(vec![1]));
    }
}
