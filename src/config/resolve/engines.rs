//! Engines out of frameworks: what GPUs share, memory, paths, and replicas.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use oracle_components::device::Efficiency;
use oracle_components::scenario::{EngineSpec, GpuIndex, GpuSpec, LinkIndex, LinkSpec, Path, Routing, SchedulerSpec};
use oracle_systems::memory::{PoolRequest, kv_pool};

use super::efficiency;
use super::frameworks::{self, Layout, Plan};
use super::hardware::{Device, Hardware, MOST_GPUS};
use super::topology::{CLIENT, Topology};
use super::wiring::{self, Wiring};
use crate::config::declare::Placed;
use crate::config::diagnostic::{Diagnostics, Severity, number};
use crate::config::keys::Workload;

/// vLLM's default token budget on GPUs of the H100's size and on smaller ones.
const BATCHED_TOKENS_LARGE_GPU: u32 = 8192;
const BATCHED_TOKENS_SMALL_GPU: u32 = 2048;
/// vLLM's bound between the two.
const LARGE_GPU_BYTES: u64 = 70 << 30;
const LARGE_GPU_FP16_FLOPS: f64 = 500e12;

/// Most links, those of replicas included.
const MOST_LINKS: usize = 20 * MOST_GPUS;

/// The engines and what they run on.
#[derive(Debug)]
pub(super) struct Engines {
    pub(super) gpus: Vec<GpuSpec>,
    pub(super) links: Vec<LinkSpec>,
    pub(super) engines: Vec<EngineSpec>,
}

/// Builds the engines. What they need and lack is reported; the result counts only without errors.
pub(super) fn build(
    plans: Vec<Plan<'_>>,
    mut hardware: Hardware,
    workload: &Workload,
    diagnostics: &mut Diagnostics,
) -> Option<Engines> {
    check_weights(&plans, workload, diagnostics);
    wiring::add_catalog_links(&mut hardware, &plans, diagnostics);
    let tenants = tenants(&plans);
    let mut fleet = Fleet::new(&hardware);
    let mut drafts = Vec::new();
    for plan in &plans {
        let Some(engine) = draft(plan, &hardware, &tenants, workload, diagnostics) else {
            continue;
        };
        if plan.keys.is_target_for_workload.value {
            drafts.push((plan, engine));
        }
    }
    if diagnostics.has_errors() {
        return None;
    }
    check_size(&drafts, &hardware, diagnostics)?;
    let topology = std::mem::take(&mut hardware.topology);
    fleet.declared_links = topology.len();
    fleet.topology = topology;
    for (plan, engine) in drafts {
        fleet.add(plan, engine);
    }
    Some(Engines { gpus: fleet.gpus, links: fleet.topology.into_links(), engines: fleet.engines })
}

/// GPUs and links, copies included, must fit in memory. `None` if they do not, which has been reported.
fn check_size(drafts: &[(&Plan<'_>, EngineSpec)], hardware: &Hardware, diagnostics: &mut Diagnostics) -> Option<()> {
    let (mut gpus, mut links) = (hardware.devices.len(), hardware.topology.len());
    for (plan, _) in drafts {
        let Some(layout) = &plan.layout else { continue };
        let copies = plan.keys.replicas.value as usize - 1;
        if copies == 0 {
            continue;
        }
        let ids = layout.gpu_ids.iter().map(String::as_str).collect();
        gpus += copies * layout.gpu_ids.len();
        links += copies * hardware.topology.touching(&ids).len();
        let too_many = [(gpus, MOST_GPUS, "GPUs"), (links, MOST_LINKS, "links")];
        if let Some((count, most, what)) = too_many.into_iter().find(|(count, most, _)| count > most) {
            let message = format!("{} replicas make {count} {what} in all", plan.keys.replicas.value);
            let at = &plan.keys.replicas.at;
            diagnostics.error_with(at, message, format!("at most {} are possible", number(most as f64)));
            return None;
        }
    }
    Some(())
}

/// Target frameworks on each GPU.
fn tenants(plans: &[Plan<'_>]) -> HashMap<String, u32> {
    let mut tenants = HashMap::new();
    for plan in plans.iter().filter(|plan| plan.keys.is_target_for_workload.value) {
        for id in plan.layout.iter().flat_map(|layout| &layout.gpu_ids) {
            *tenants.entry(id.clone()).or_insert(0) += 1;
        }
    }
    tenants
}

fn check_weights(plans: &[Plan<'_>], workload: &Workload, diagnostics: &mut Diagnostics) {
    let weights = &workload.framework_weights;
    let names = || plans.iter().map(|plan| plan.name.as_str());
    for (name, Placed { at, .. }) in &weights.value {
        if !names().any(|known| known == name) {
            diagnostics.unknown(at, format!("no framework is called {name:?}"), name, names());
        }
    }
    let targets = || plans.iter().filter(|plan| plan.keys.is_target_for_workload.value);
    let has_weight = targets().any(|plan| weights.value.get(&plan.name).is_none_or(|weight| weight.value > 0.0));
    if workload.load_balancing_strategy.value == Routing::WeightedRandom && targets().count() > 0 && !has_weight {
        diagnostics.error(&weights.at, "one target framework at least must have a weight above 0");
    }
}

/// The first copy of a framework. `None` if something is wrong with it, which has been reported.
fn draft(
    plan: &Plan<'_>,
    hardware: &Hardware,
    tenants: &HashMap<String, u32>,
    workload: &Workload,
    diagnostics: &mut Diagnostics,
) -> Option<EngineSpec> {
    let config = plan.config;
    let limits = frameworks::scheduler(config, diagnostics);
    let step_overhead_s = frameworks::step_overhead_s(config, diagnostics);
    let layout = plan.layout.as_ref()?;
    let has_data_sheets = devices(layout, hardware).is_some();
    // Without links and with a catalog device that is unknown, the links that it would bring are not missing.
    let is_wired = has_data_sheets || !hardware.topology.is_empty();
    let wiring = is_wired.then(|| wiring::resolve(plan, layout, &hardware.topology, diagnostics)).flatten();
    if !has_data_sheets && !diagnostics.has_errors() {
        // A GPU without a data sheet has been reported where it stands; a CPU has not.
        diagnostics
            .error(&layout.at, "a CPU needs peak_tflops, memory_capacity_bytes and memory_gbps to serve a model");
    }
    let devices = devices(layout, hardware)?;
    let gpu_share = gpu_share(plan, layout, tenants, diagnostics);
    let (max_num_batched_tokens, max_num_seqs) = step_limits(plan, &devices, diagnostics);
    let model = Arc::clone(plan.model.as_ref()?);
    let kv_blocks = kv_blocks(plan, layout, &devices, (max_num_batched_tokens, max_num_seqs), gpu_share, diagnostics)?;
    let max_model_len = max_model_len(plan, kv_blocks, diagnostics);
    let Wiring { rings, stage_paths, ingress, egress } = wiring?;
    let weight = workload.framework_weights.value.get(&plan.name).map_or(1.0, |weight| weight.value);
    let efficiency = efficiency(plan, devices[0]);
    let is_by_curve = matches!(efficiency.as_ref().unwrap_or(&devices[0].efficiency), Efficiency::Curve(_));
    Some(EngineSpec {
        name: plan.name.clone(),
        model,
        gpus: Vec::new(),
        tensor_parallel: layout.tensor_parallel,
        pipeline_parallel: layout.pipeline_parallel,
        prompt_microbatches: layout.prompt_microbatches,
        rings,
        stage_paths,
        efficiency,
        gpu_share,
        scheduler: SchedulerSpec { max_num_seqs, max_num_batched_tokens, max_model_len, ..limits },
        kv_blocks,
        kernel_launch: efficiency::kernel_launch(config, is_by_curve, max_num_seqs),
        step_overhead_s,
        ingress,
        egress,
        response_bytes_per_token: config.bytes_per_token_estimate_for_network.value,
        weight: weight / f64::from(plan.keys.replicas.value),
    })
}

/// The devices of an engine, if all have a data sheet.
fn devices<'a>(layout: &Layout, hardware: &'a Hardware) -> Option<Vec<&'a Device>> {
    let devices = layout.gpu_ids.iter().map(|id| hardware.device(id).filter(|device| device.spec.is_some()));
    devices.collect()
}

/// The framework's own figures, the first GPU's where it sets one of two.
fn efficiency(plan: &Plan<'_>, first: &Device) -> Option<Efficiency> {
    let (mfu, mbu) = (plan.config.mfu.value, plan.config.mbu.value);
    match first.efficiency {
        Efficiency::Constant { mfu: first_mfu, mbu: first_mbu } if mfu.is_some() || mbu.is_some() => {
            efficiency::constant(mfu.or(Some(first_mfu)), mbu.or(Some(first_mbu)))
        }
        _ => efficiency::constant(mfu, mbu),
    }
}

fn gpu_share(plan: &Plan<'_>, layout: &Layout, tenants: &HashMap<String, u32>, diagnostics: &mut Diagnostics) -> f64 {
    let most =
        layout.gpu_ids.iter().map(|id| (tenants.get(id).copied().unwrap_or(1), id)).max_by_key(|(count, _)| *count);
    let Some((count, id)) = most.filter(|(count, _)| *count > 1 && plan.keys.is_target_for_workload.value) else {
        return 1.0;
    };
    let message = format!("{count} frameworks run on {id}; each has 1/{count} of its memory and speed");
    diagnostics.warn(&layout.at, message);
    1.0 / f64::from(count)
}

/// Tokens and sequences a step.
fn step_limits(plan: &Plan<'_>, devices: &[&Device], diagnostics: &mut Diagnostics) -> (u32, u32) {
    let specs = || devices.iter().filter_map(|device| device.spec.as_ref());
    let is_large = specs().all(|spec| {
        let flops = spec.peak_flops.fp16.or(spec.peak_flops.bf16).unwrap_or(0.0);
        spec.memory_bytes >= LARGE_GPU_BYTES && flops >= LARGE_GPU_FP16_FLOPS
    });
    let default = if is_large { BATCHED_TOKENS_LARGE_GPU } else { BATCHED_TOKENS_SMALL_GPU };
    let tokens = plan.config.max_num_batched_tokens.value.unwrap_or(default);
    let seqs = &plan.config.max_num_seqs;
    if seqs.value > tokens {
        let message = format!("{} is more than max_num_batched_tokens ({tokens}), which counts", seqs.value);
        diagnostics.warn(&seqs.at, message);
    }
    (tokens, seqs.value.min(tokens))
}

fn kv_blocks(
    plan: &Plan<'_>,
    layout: &Layout,
    devices: &[&Device],
    (max_num_batched_tokens, max_num_seqs): (u32, u32),
    gpu_share: f64,
    diagnostics: &mut Diagnostics,
) -> Option<u64> {
    let memory_bytes = devices.iter().filter_map(|device| device.spec.as_ref()).map(|spec| spec.memory_bytes).min()?;
    let request = PoolRequest {
        memory_bytes,
        tensor_parallel: layout.tensor_parallel,
        pipeline_parallel: layout.pipeline_parallel,
        gpu_memory_utilization: plan.config.gpu_memory_utilization.value,
        block_tokens: plan.config.block_size.value,
        max_num_batched_tokens,
        max_num_seqs,
        gpu_share,
    };
    let pool = kv_pool(plan.model.as_deref()?, &request);
    let given = plan.config.num_gpu_blocks_override.value;
    match (given, pool) {
        (Some(blocks), _) => Some(blocks),
        (None, Ok(pool)) => Some(pool.blocks),
        (None, Err(error)) => {
            let is_idle = plan.severity() == Severity::Warning;
            let note = is_idle.then(|| "it takes no requests, so it is not simulated".to_owned());
            diagnostics.report(plan.severity(), &plan.config.model_profile_id.at, error.to_string(), note);
            None
        }
    }
}

/// The model's longest context, held to what the pool can store for one sequence.
fn max_model_len(plan: &Plan<'_>, kv_blocks: u64, diagnostics: &mut Diagnostics) -> u32 {
    let model_tokens = plan.model.as_ref().map_or(u32::MAX, |model| model.max_position_embeddings).max(1);
    let pool_tokens = kv_blocks.saturating_mul(u64::from(plan.config.block_size.value));
    let pool_tokens = u32::try_from(pool_tokens).unwrap_or(u32::MAX);
    let key = &plan.config.max_model_len;
    let Some(tokens) = key.value else {
        return model_tokens.min(pool_tokens);
    };
    if tokens > pool_tokens {
        let message = format!("{tokens} tokens do not fit in the KV pool, which holds {pool_tokens}");
        diagnostics.report(
            plan.severity(),
            &key.at,
            message,
            Some("lower it, or raise gpu_memory_utilization".to_owned()),
        );
    }
    if tokens > model_tokens {
        diagnostics.warn(&key.at, format!("the model was made for {model_tokens} tokens"));
    }
    tokens
}

/// GPUs, links and engines as they are laid out, copy by copy.
struct Fleet {
    gpus: Vec<GpuSpec>,
    gpu_by_id: HashMap<String, GpuIndex>,
    topology: Topology,
    /// Links before any is cloned, which are the first.
    declared_links: usize,
    engines: Vec<EngineSpec>,
    cloned_links: HashMap<(LinkIndex, u32), LinkIndex>,
}

impl Fleet {
    fn new(hardware: &Hardware) -> Self {
        let mut fleet = Fleet {
            gpus: Vec::new(),
            gpu_by_id: HashMap::new(),
            topology: Topology::default(),
            declared_links: 0,
            engines: Vec::new(),
            cloned_links: HashMap::new(),
        };
        for device in hardware.devices.iter().filter(|device| device.id != CLIENT) {
            if let Some(spec) = &device.spec {
                let gpu =
                    GpuSpec { id: device.id.clone(), device: Arc::clone(spec), efficiency: device.efficiency.clone() };
                fleet.gpu(gpu);
            }
        }
        fleet
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

    /// Adds a framework: the engine on the GPUs it names, and its replicas on clones of them.
    fn add(&mut self, plan: &Plan<'_>, engine: EngineSpec) {
        let Some(layout) = &plan.layout else { return };
        let ids: Vec<&str> = layout.gpu_ids.iter().map(String::as_str).collect();
        let own = ids.iter().copied().collect();
        let mut links = if plan.keys.replicas.value > 1 { self.topology.touching(&own) } else { Vec::new() };
        // A clone of a link of another framework's copy would lead nowhere.
        links.retain(|&link| (link as usize) < self.declared_links);
        for copy in 0..plan.keys.replicas.value {
            let gpus = ids.iter().map(|id| self.clone_gpu(id, copy)).collect();
            let moved = if copy == 0 { HashMap::new() } else { self.clone_links(&links, &own, copy) };
            let path = |path: &Path| path.iter().map(|link| *moved.get(link).unwrap_or(link)).collect::<Path>();
            self.engines.push(EngineSpec {
                name: copy_name(&engine.name, copy),
                gpus,
                rings: engine.rings.iter().map(|ring| ring.iter().map(path).collect()).collect(),
                stage_paths: engine.stage_paths.iter().map(path).collect(),
                ingress: path(&engine.ingress),
                egress: path(&engine.egress),
                ..engine.clone()
            });
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
fn copy_name(name: &str, copy: u32) -> String {
    if copy == 0 { name.to_owned() } else { format!("{name}#r{copy}") }
}
