//! Engines copy by copy: the first on the GPUs that its framework names, the others on clones of these and of their links.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use oracle_components::scenario::{EngineSpec, ExpertParallel, GpuIndex, GpuSpec, LinkIndex, LinkSpec, Path};

use crate::config::resolve::devices::Hardware;
use crate::config::resolve::plan::FrameworkPlan;
use crate::config::resolve::topology::{CLIENT, Topology};

/// GPUs, links and engines as they are laid out, copy by copy.
pub(super) struct Replicas {
    pub(super) gpus: Vec<GpuSpec>,
    gpu_by_id: HashMap<String, GpuIndex>,
    pub(super) topology: Topology,
    /// Links before any is cloned, which are the first.
    declared_links: usize,
    /// What pools clone for every pair of copies.
    links_between_pools: HashSet<LinkIndex>,
    pub(super) engines: Vec<EngineSpec>,
    cloned_links: HashMap<(LinkIndex, u32), LinkIndex>,
}

impl Replicas {
    /// The GPUs of the hardware and all links of first copies; no engine yet.
    pub(super) fn new(hardware: &Hardware, topology: Topology, links_between_pools: HashSet<LinkIndex>) -> Self {
        let mut replicas = Self {
            gpus: Vec::new(),
            gpu_by_id: HashMap::new(),
            declared_links: topology.len(),
            topology,
            links_between_pools,
            engines: Vec::new(),
            cloned_links: HashMap::new(),
        };
        for device in hardware.devices.iter().filter(|device| device.id != CLIENT) {
            if let Some(spec) = &device.spec {
                let gpu =
                    GpuSpec { id: device.id.clone(), device: Arc::clone(spec), efficiency: device.efficiency.clone() };
                replicas.gpu(gpu);
            }
        }
        replicas
    }

    fn gpu(&mut self, gpu: GpuSpec) -> GpuIndex {
        let next = GpuIndex::try_from(self.gpus.len()).expect("fewer than 2^32 GPUs fit in memory");
        if let Some(known) = self.gpu_by_id.get(&gpu.id) {
            return *known;
        }
        self.gpu_by_id.insert(gpu.id.clone(), next);
        self.gpus.push(gpu);
        next
    }

    /// Adds a framework: the engines on the GPUs it names, and their replicas on clones of them.
    pub(super) fn add(&mut self, plan: &FrameworkPlan<'_>, engines: &[EngineSpec]) {
        let Some(layout) = &plan.layout else { return };
        let own = layout.gpu_ids.iter().map(String::as_str).collect();
        let mut links = if plan.keys.replicas.value > 1 { self.topology.touching(&own) } else { Vec::new() };
        // A clone of a link of another framework's copy would lead nowhere.
        links.retain(|&link| (link as usize) < self.declared_links && !self.links_between_pools.contains(&link));
        for copy in 0..plan.keys.replicas.value {
            let moved = if copy == 0 { HashMap::new() } else { self.clone_links(&links, &own, copy) };
            let path = |path: &Path| path.iter().map(|link| *moved.get(link).unwrap_or(link)).collect::<Path>();
            for (number, engine) in (0..).zip(engines) {
                let gpus = layout.engine(number).gpu_ids.iter().map(|id| self.clone_gpu(id, copy)).collect();
                let expert_parallel = engine
                    .expert_parallel
                    .clone()
                    .map(|experts| ExpertParallel { hops: experts.hops.iter().map(path).collect(), ..experts });
                self.engines.push(EngineSpec {
                    name: copy_name(&engine.name, copy),
                    gpus,
                    rings: engine.rings.iter().map(|ring| ring.iter().map(path).collect()).collect(),
                    stage_paths: engine.stage_paths.iter().map(path).collect(),
                    ingress: path(&engine.ingress),
                    egress: path(&engine.egress),
                    expert_parallel,
                    ..engine.clone()
                });
            }
        }
    }

    fn clone_gpu(&mut self, id: &str, copy: u32) -> GpuIndex {
        let original = self.gpus[self.gpu_by_id[id] as usize].clone();
        self.gpu(GpuSpec { id: copy_name(id, copy), ..original })
    }

    /// Links that touch the engine's GPUs, with those ends moved to the copy's.
    fn clone_links(&mut self, links: &[LinkIndex], ids: &HashSet<&str>, copy: u32) -> HashMap<LinkIndex, LinkIndex> {
        let end = |id: &str| {
            if ids.contains(id) { copy_name(id, copy) } else { id.to_owned() }
        };
        let mut moved = HashMap::new();
        for &link in links {
            let clone = *self.cloned_links.entry((link, copy)).or_insert_with(|| {
                let original = self.topology.link(link).clone();
                self.topology.add(LinkSpec {
                    id: copy_name(&original.id, copy),
                    source: end(&original.source),
                    destination: end(&original.destination),
                    ..original
                })
            });
            moved.insert(link, clone);
        }
        moved
    }
}

/// `name` itself, then `name#r1`, `name#r2` and so on.
pub(in crate::config::resolve) fn copy_name(name: &str, copy: u32) -> String {
    if copy == 0 { name.to_owned() } else { format!("{name}#r{copy}") }
}
