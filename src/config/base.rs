//! A configuration of which parts are varied: read once, changed in its tree, resolved as any other.
//!
//! What is varied is refused where the file says more of it than the change could keep true: a data sheet under another device, links
//! between GPUs under another number of them.

use std::collections::HashSet;

use super::declare::{Decode, Key, required};
use super::diagnostic::{At, Diagnostic, Diagnostics, Mark};
use super::keys::{self, Framework, FrameworkConfig, Strategy};
use super::resolve::RunContext;
use super::tree::{Entry, Node, Value};
use super::{Overrides, Resolved, load_tree, presets};
use crate::catalog::Catalog;

/// Keys of a device that hold under another name of it.
const KEYS_OF_ANY_DEVICE: [&str; 5] = ["device_id", "device", "device_type", "count", PRICE];
const PRICE: &str = "price_per_gpu_hour_usd";
/// Sections of the hardware that make GPUs, and the key of their price.
const PRICE_KEYS: [(&str, &str); 2] = [
    ("compute_devices", "hardware_profile.compute_devices[*].price_per_gpu_hour_usd"),
    ("topology", "hardware_profile.topology.price_per_gpu_hour_usd"),
];
/// Keys of `parallelism` that say which GPUs there are.
const KEYS_OF_RANKS: [&str; 4] = ["strategy", "tp_degree", "pp_stages", "gpu_ids"];
/// Ends of links that are no GPUs.
const CLIENT_AND_ENTRY: [&str; 2] = ["client_node_0", "framework_entry_0"];

/// A configuration file, read and not yet resolved.
#[derive(Clone, Debug)]
pub struct BaseFile {
    root: Node,
    /// What messages call it.
    pub file: String,
    context: RunContext,
}

/// What a configuration says of its deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct BaseFacts {
    /// Models, each once.
    pub models: Vec<String>,
    /// Devices, each once.
    pub devices: Vec<String>,
    /// Ranks and stages of the first framework.
    pub ranks: (u32, u32),
    /// Engines of a copy of it, which share experts.
    pub data_parallel: u32,
    /// Frameworks that take requests.
    pub frameworks: usize,
    /// Some compute prompts for others.
    pub has_pools: bool,
    /// Copies of all frameworks.
    pub replicas: u32,
    /// GPUs of all of these.
    pub gpus: u32,
    /// Dollars an hour of a GPU, if the file says the same of all.
    pub price_usd: Option<f64>,
    /// Of the simulation.
    pub seed: u64,
    /// Where it would stop, with requests in flight.
    pub stops_at_s: Option<f64>,
    /// When the last request is sent, at the latest.
    pub duration_s: Option<f64>,
    /// Times the load's own rate.
    pub rate_scale: f64,
    /// The load has a rate, which may be another: it is no closed loop, does not come all at once, and nobody holds it back.
    pub has_rate: bool,
    /// The load is a trace at its own times.
    pub is_replayed: bool,
}

/// What is varied; `None` is as the file says.
#[derive(Clone, Debug, Default)]
pub struct Variation {
    /// The model of every framework.
    pub model: Option<String>,
    /// The device of every GPU.
    pub device: Option<String>,
    /// Tensor-parallel ranks and pipeline stages of the one framework.
    pub ranks: Option<(u32, u32)>,
    /// Its replicas.
    pub replicas: Option<u32>,
}

impl BaseFile {
    pub(super) fn new(root: Node, file: &str, context: RunContext) -> Self {
        Self { root, file: file.to_owned(), context }
    }

    /// What it says, with what flags change in it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn facts(&self, overrides: &Overrides) -> Result<BaseFacts, Vec<Diagnostic>> {
        static ROOT: Key = required();
        let mut diagnostics = Diagnostics::new(&self.file);
        let mut root = self.root.clone();
        let preset = presets::expand(&mut root, None, &mut diagnostics);
        overrides.apply(&mut root, &mut diagnostics);
        presets::expand(&mut root, preset, &mut diagnostics);
        let config = keys::Config::decode(&root, &ROOT, &At::root(root.mark), &mut diagnostics);
        let facts = config.filter(|_| !diagnostics.has_errors()).and_then(|config| facts_of(&config));
        match facts {
            Some(facts) => Ok(facts),
            // All that is wrong, and not with the keys alone.
            None => {
                let resolved = self.resolve(&Variation::default(), overrides, None);
                if !diagnostics.has_errors() {
                    let at = At::root(root.mark).key("frameworks_to_test", root.mark);
                    diagnostics.error(&at, "no framework takes requests: there is nothing to plan");
                }
                Err(resolved.err().unwrap_or_else(|| diagnostics.into_sorted()))
            }
        }
    }

    /// Resolves a variation of it. With `facts`, every request is simulated to its end, however long that takes: what is in flight at
    /// `max_simulation_time` would count as failed.
    ///
    /// # Errors
    /// Everything that is wrong with it; warnings too.
    pub fn resolve(
        &self,
        variation: &Variation,
        overrides: &Overrides,
        facts: Option<&BaseFacts>,
    ) -> Result<Resolved, Vec<Diagnostic>> {
        let mut diagnostics = Diagnostics::new(&self.file);
        let mut root = self.root.clone();
        if let Some(model) = &variation.model {
            let mark = Mark::flag("--model");
            for config in targets(&mut root).filter_map(|framework| framework.get_mut("config")) {
                config.set("model_profile_id", Node::text(model, mark));
            }
        }
        if let Some(device) = &variation.device {
            set_device(&mut root, device, &mut diagnostics);
        }
        if let (Some(ranks), Some(facts)) = (variation.ranks, facts) {
            set_ranks(&mut root, ranks, facts.data_parallel, &mut diagnostics);
        }
        if let Some(replicas) = variation.replicas {
            let value = Node::new(Value::Integer(replicas.into()), Mark::flag("--replicas"));
            targets(&mut root).for_each(|framework| framework.set("replicas", value.clone()));
        }
        let stop = facts.and_then(|facts| Some((facts.stops_at_s?, facts.duration_s)));
        if let (Some(workload), Some((stop, duration))) = (root.get_mut("workload"), stop) {
            let end = Node::new(Value::Number(duration.map_or(stop, |end| end.min(stop))), Mark::flag("plan"));
            workload.set("total_duration", end);
        }
        if let (Some(simulation), Some(_)) = (root.get_mut("simulation"), stop) {
            simulation.remove("max_simulation_time");
            simulation.set("drain", Node::new(Value::Flag(true), Mark::flag("plan")));
        }
        if diagnostics.has_errors() {
            return Err(diagnostics.into_sorted());
        }
        load_tree(root, &self.context, overrides, diagnostics)
    }

    /// Whether its devices are listed.
    pub fn lists_devices(&self) -> bool {
        self.has_hardware("compute_devices")
    }

    /// The keys that hold the price of a GPU.
    pub(crate) fn price_keys(&self) -> impl Iterator<Item = &'static str> {
        let keys = PRICE_KEYS.into_iter().filter(|(section, _)| self.has_hardware(section));
        keys.map(|(_, key)| key)
    }

    fn has_hardware(&self, section: &str) -> bool {
        self.root.get("hardware_profile").is_some_and(|hardware| hardware.get(section).is_some())
    }
}

fn facts_of(config: &keys::Config) -> Option<BaseFacts> {
    let frameworks = config.frameworks_to_test.value.as_ref()?;
    let targets: Vec<&Framework> =
        frameworks.iter().filter(|framework| framework.is_target_for_workload.value).collect();
    let configs: Vec<&FrameworkConfig> =
        targets.iter().filter_map(|framework| framework.config.value.as_ref()).collect();
    let (first, workload) = (*configs.first()?, config.workload.value.as_ref()?);
    let (tensor, pipeline, data_parallel) = ranks_of(first);
    // Frameworks may share the GPUs that they name; copies are on clones of these.
    let mut named = HashSet::new();
    let gpus = targets.iter().zip(&configs).map(|(framework, config)| {
        let (tensor, pipeline, data) = ranks_of(config);
        let count = tensor * pipeline * data;
        let own = gpu_ids(config).take(count as usize).filter(|id| named.insert(id.to_owned())).count() as u32;
        own + (framework.replicas.value - 1) * count
    });
    let mut models: Vec<String> = Vec::new();
    for model in configs.iter().filter_map(|config| config.model_profile_id.value.as_ref()) {
        if !models.contains(model) {
            models.push(model.clone());
        }
    }
    let hardware = config.hardware_profile.value.as_ref()?;
    let simulation = config.simulation.value.as_ref()?;
    let load = workload.load.value.as_ref();
    let has_no_rate = load.is_some_and(|load| {
        let is_closed = load.concurrency.given || load.users.given;
        is_closed || load.max_in_flight.given || load.process.value == Some(keys::Process::AtOnce)
    });
    Some(BaseFacts {
        models,
        devices: devices_of(hardware),
        ranks: (tensor, pipeline),
        data_parallel,
        frameworks: targets.len(),
        has_pools: targets
            .iter()
            .any(|framework| framework.role.value.is_some_and(|role| role != oracle_components::scenario::Role::Both)),
        replicas: targets.iter().map(|framework| framework.replicas.value).sum(),
        gpus: gpus.sum(),
        price_usd: price_of(hardware),
        seed: simulation.random_seed.value.or(workload.random_seed.value).unwrap_or(0),
        stops_at_s: simulation.max_simulation_time.value.filter(|_| !simulation.drain.value),
        duration_s: workload.total_duration.value,
        rate_scale: workload.rate_scale.value.unwrap_or(1.0),
        has_rate: !has_no_rate,
        is_replayed: workload.trace.given && load.is_none_or(|load| !load.rate.given) && !has_no_rate,
    })
}

/// Ranks, stages, and engines that share experts.
fn ranks_of(config: &FrameworkConfig) -> (u32, u32, u32) {
    let Some(keys) = &config.parallelism.value else { return (1, 1, 1) };
    let data = keys.dp_degree.value.unwrap_or(1);
    match keys.strategy.value {
        None | Some(Strategy::None | Strategy::Data) if data == 1 => (1, 1, 1),
        Some(Strategy::Pipeline) => (1, keys.pp_stages.value, data),
        Some(Strategy::TensorPipeline) => (keys.tp_degree.value, keys.pp_stages.value, data),
        _ => (keys.tp_degree.value, 1, data),
    }
}

/// The GPUs that a framework names.
fn gpu_ids(config: &FrameworkConfig) -> impl Iterator<Item = &str> {
    let listed = config.parallelism.value.iter().flat_map(|keys| &keys.gpu_ids.value).map(|id| id.value.as_str());
    let single = config.gpu_id.value.as_deref().filter(|_| ranks_of(config) == (1, 1, 1));
    single.into_iter().chain(listed)
}

fn is_cpu(kind: Option<&str>) -> bool {
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case("cpu"))
}

fn devices_of(hardware: &keys::HardwareProfile) -> Vec<String> {
    let listed = hardware.compute_devices.value.iter().flatten();
    let listed = listed.filter(|device| !is_cpu(device.device_type.value.as_deref()));
    let listed = listed.filter_map(|device| device.device.value.clone().or_else(|| device.device_id.value.clone()));
    let of_servers = hardware.topology.value.as_ref().and_then(|servers| {
        let preset = || Catalog::builtin().topology(servers.preset.value.as_deref()?)?.device.clone();
        servers.device.value.clone().or_else(preset)
    });
    let mut devices: Vec<String> = Vec::new();
    for device in listed.chain(of_servers) {
        if !devices.contains(&device) {
            devices.push(device);
        }
    }
    devices
}

/// What the file says an hour of each GPU costs.
fn price_of(hardware: &keys::HardwareProfile) -> Option<f64> {
    let listed = hardware.compute_devices.value.iter().flatten();
    let mut prices = listed
        .filter(|device| !is_cpu(device.device_type.value.as_deref()))
        .map(|device| device.price_per_gpu_hour_usd.value)
        .chain(hardware.topology.value.as_ref().map(|servers| servers.price_per_gpu_hour_usd.value));
    let first = prices.next()??;
    prices.all(|price| price == Some(first)).then_some(first)
}

/// The frameworks that take requests.
fn targets(root: &mut Node) -> impl Iterator<Item = &mut Node> {
    let takes_requests = |framework: &&mut Node| {
        framework.get("is_target_for_workload").is_none_or(|node| node.value != Value::Flag(false))
    };
    root.get_mut("frameworks_to_test").into_iter().flat_map(Node::items_mut).filter(takes_requests)
}

fn is_gpu(device: &Node) -> bool {
    !is_cpu(device.get("device_type").and_then(Node::as_text))
}

/// The listed GPUs.
fn gpus(root: &mut Node) -> impl Iterator<Item = &mut Node> {
    let devices = root.get_mut("hardware_profile").and_then(|hardware| hardware.get_mut("compute_devices"));
    devices.into_iter().flat_map(Node::items_mut).filter(|device| is_gpu(device))
}

fn set_device(root: &mut Node, device: &str, diagnostics: &mut Diagnostics) {
    let mark = Mark::flag("--device");
    for (index, gpu) in gpus(root).enumerate() {
        if let Some(entry) = gpu.entries().iter().find(|entry| !KEYS_OF_ANY_DEVICE.contains(&entry.key.as_str())) {
            let at =
                At::root(Mark::default()).key("hardware_profile.compute_devices", entry.mark).item(index, entry.mark);
            diagnostics.error_with(
                &at.key(&entry.key, entry.mark),
                "is the device's of the file, and --device names another",
                "take it out of the file, or leave --device out",
            );
        }
        gpu.set("device", Node::text(device, mark));
        // Its price is that of the device which the file has.
        gpu.remove(PRICE);
    }
    if let Some(servers) = root.get_mut("hardware_profile").and_then(|hardware| hardware.get_mut("topology")) {
        servers.set("device", Node::text(device, mark));
        servers.remove(PRICE);
    }
}

fn set_ranks(root: &mut Node, (tensor, pipeline): (u32, u32), data: u32, diagnostics: &mut Diagnostics) {
    let (mark, stages) = (Mark::flag("--tensor-parallel"), Mark::flag("--pipeline-parallel"));
    let count = tensor * pipeline * data;
    match root.get("hardware_profile").and_then(|hardware| hardware.get("topology")) {
        Some(servers) => check_servers(servers, count, diagnostics),
        None => {
            refuse_links_of_gpus(root, count, diagnostics);
            set_gpu_count(root, count, diagnostics);
        }
    }
    let ids: Vec<Node> = (0..count).map(|number| Node::text(&format!("gpu{number}"), mark)).collect();
    for framework in targets(root) {
        let Some(config) = framework.get_mut("config") else { continue };
        let others: Vec<Entry> = config.get("parallelism").map_or_else(Vec::new, |parallelism| {
            let entries = parallelism.entries().iter();
            entries.filter(|entry| !KEYS_OF_RANKS.contains(&entry.key.as_str())).cloned().collect()
        });
        config.remove("gpu_id");
        config.remove("parallelism");
        if count == 1 && others.is_empty() {
            config.set("gpu_id", ids[0].clone());
            framework.set("type", Node::text("VLLM", mark));
            continue;
        }
        let mut parallelism = Node::new(Value::Mapping(others), mark);
        parallelism.set("strategy", Node::text("TP_PP", mark));
        parallelism.set("tp_degree", Node::new(Value::Integer(tensor.into()), mark));
        parallelism.set("pp_stages", Node::new(Value::Integer(pipeline.into()), stages));
        parallelism.set("gpu_ids", Node::new(Value::Sequence(ids.clone()), mark));
        config.set("parallelism", parallelism);
        framework.set("type", Node::text("ParallelVLLM", mark));
    }
}

/// Servers have as many GPUs as the file says.
fn check_servers(servers: &Node, count: u32, diagnostics: &mut Diagnostics) {
    let number = |key: &str| match servers.get(key).map(|node| &node.value) {
        Some(Value::Integer(number)) => u32::try_from(*number).ok(),
        _ => None,
    };
    let preset = servers.get("preset").and_then(Node::as_text).and_then(|name| Catalog::builtin().topology(name));
    let of_each = number("gpus_per_node").or(preset.map(|preset| preset.gpus_per_node));
    let nodes = number("nodes").unwrap_or(1);
    if let Some(gpus) = of_each.map(|gpus| gpus * nodes).filter(|&gpus| gpus < count) {
        let at = At::root(servers.mark).key("hardware_profile.topology", servers.mark);
        let message =
            format!("has {gpus} GPUs, and a replica of the ranks and stages that flags ask for takes {count}");
        diagnostics.error_with(&at, message, "raise gpus_per_node or nodes, or leave out what takes more");
    }
}

/// Links between GPUs are of as many GPUs as the file has, and without any there are none for more.
fn refuse_links_of_gpus(root: &mut Node, count: u32, diagnostics: &mut Diagnostics) {
    let names: HashSet<String> =
        targets(root).filter_map(|framework| framework.get("name")?.as_text().map(str::to_owned)).collect();
    let links = root.get("hardware_profile").and_then(|hardware| hardware.get("network_links"));
    if let (Some(links), true) = (links.filter(|links| !links.items().is_empty()), count > 1) {
        let at = At::root(links.mark).key("hardware_profile.network_links", links.mark);
        diagnostics.error_with(
            &at,
            format!("are all the links that there are, and {count} ranks want links between their GPUs"),
            "leave network_links out, and GPUs are joined as their data sheets say; or write topology: {preset: …} in place of devices",
        );
        return;
    }
    for (index, link) in links.into_iter().flat_map(Node::items).enumerate() {
        let mut ends = ["source_id", "dest_id"].into_iter().filter_map(|end| link.get(end)?.as_text());
        if ends.all(|end| CLIENT_AND_ENTRY.contains(&end) || names.contains(end)) {
            continue;
        }
        let at = At::root(Mark::default()).key("hardware_profile.network_links", link.mark).item(index, link.mark);
        diagnostics.error_with(
            &at,
            "is a link of GPUs, of which --tensor-parallel and --pipeline-parallel change the number",
            "write topology: {preset: …} in place of devices and links, or plan a file for each number",
        );
    }
}

/// One entry of so many GPUs in place of those that there are, if these are alike.
fn set_gpu_count(root: &mut Node, count: u32, diagnostics: &mut Diagnostics) {
    let all: Vec<Node> = gpus(root).map(|gpu| gpu.clone()).collect();
    let alike = |one: &Node, other: &Node| {
        let of = |gpu: &Node| {
            let mut gpu = gpu.clone();
            ["device_id", "count"].iter().for_each(|key| gpu.remove(key));
            gpu
        };
        of(one).says_as(&of(other))
    };
    let Some(first) = all.first() else { return };
    if let Some(other) = all.iter().find(|other| !alike(first, other)) {
        let at = At::root(Mark::default()).key("hardware_profile.compute_devices", other.mark);
        diagnostics.error_with(
            &at,
            "the GPUs of the file are of several kinds: with --tensor-parallel or --pipeline-parallel nobody knows of which there are more",
            "leave GPUs of one kind in the file",
        );
    }
    let mut kept = first.clone();
    kept.set("device_id", Node::text("gpu", Mark::flag("--tensor-parallel")));
    kept.set("count", Node::new(Value::Integer(count.into()), Mark::flag("--tensor-parallel")));
    let devices = root.get_mut("hardware_profile").and_then(|hardware| hardware.get_mut("compute_devices"));
    if let Some(Value::Sequence(items)) = devices.map(|devices| &mut devices.value) {
        items.retain(|device| !is_gpu(device));
        items.insert(0, kept);
    }
}
