//! Engines out of frameworks: what GPUs share, memory, paths, and the copies of all that.

mod kernel_launch;
mod kv_groups;
mod limits;
mod moe_backend;
pub(super) mod replicas;

use std::collections::HashMap;
use std::sync::Arc;

use oracle_components::device::Efficiency;
use oracle_components::scenario::{
    EngineIndex, EngineSpec, GpuSpec, KvPaths, LinkSpec, PrefixCaching, Role, Routing, SchedulerSpec,
};

use crate::config::declare::Placed;
use crate::config::diagnostic::{Diagnostics, number};
use crate::config::keys::Workload;
use crate::config::resolve::devices::{Device, Hardware, MOST_GPUS};
use crate::config::resolve::frameworks::defaults;
use crate::config::resolve::frameworks::scheduler::vllm;
use crate::config::resolve::hardware::efficiency;
use crate::config::resolve::ledger::Ledger;
use crate::config::resolve::plan::{Draft, FrameworkPlan, Layout};
use crate::config::resolve::wiring::{self, Wiring, catalog_links, front_end, pools};
use crate::config::versions::since;
use crate::output::TakenDefault;
pub(crate) use kernel_launch::capture_sizes;
use limits::{Pool, gpu_share, kv_blocks, max_model_len, tenants};
use replicas::Replicas;

/// Most links, those of replicas included.
const MOST_LINKS: usize = 20 * MOST_GPUS;

/// The engines and what they run on.
#[derive(Debug)]
pub(super) struct Engines {
    pub(super) gpus: Vec<GpuSpec>,
    pub(super) links: Vec<LinkSpec>,
    pub(super) engines: Vec<EngineSpec>,
    pub(super) kv_paths: KvPaths,
    pub(super) defaults: Vec<TakenDefault>,
}

/// Builds the engines. What they need and lack is reported; the result counts only without errors.
pub(super) fn build(
    plans: Vec<FrameworkPlan<'_>>,
    mut hardware: Hardware,
    workload: &Workload,
    diagnostics: &mut Diagnostics,
) -> Option<Engines> {
    check_weights(&plans, workload, diagnostics);
    pools::check(&plans, workload, diagnostics);
    catalog_links::add(&mut hardware, &plans, diagnostics);
    let tenants = tenants(&plans);
    let mut drafts = Vec::new();
    for plan in &plans {
        let draft = draft(plan, &hardware, &tenants, workload, diagnostics);
        drafts.extend(draft.filter(|_| plan.keys.is_target_for_workload.value));
    }
    if diagnostics.has_errors() {
        return None;
    }
    check_size(&drafts, &hardware, diagnostics)?;
    pools::hold_prompts_to_contexts(&mut drafts, diagnostics);
    let mut topology = std::mem::take(&mut hardware.topology);
    let prompt_bytes_per_token = workload.bytes_per_token_estimate_for_network.value;
    for Draft { plan, engines, front_end, .. } in &mut drafts {
        for engine in engines {
            front_end::attach(plan, *front_end, engine, prompt_bytes_per_token, &mut topology);
        }
    }
    let links_between_pools = pools::links_between_pools(&plans, &topology);
    let mut replicas = Replicas::new(&hardware, topology, links_between_pools);
    let (mut members, mut defaults) = (Vec::new(), Vec::new());
    for Draft { plan, engines, defaults: of_draft, .. } in drafts {
        defaults.extend(of_draft);
        let first = replicas.engines.len();
        replicas.add(plan, &engines);
        let engines = first..replicas.engines.len();
        members.extend(engines.map(|engine| pools::Member { plan, engine: engine as EngineIndex }));
    }
    let kv_paths = pools::connect(&members, (&replicas.engines, &replicas.gpus), &mut replicas.topology, diagnostics)?;
    let (gpus, links, engines) = (replicas.gpus, replicas.topology.into_links(), replicas.engines);
    Some(Engines { gpus, links, engines, kv_paths, defaults })
}

/// GPUs and links, copies included, must fit in memory. `None` if they do not, which has been reported.
fn check_size(drafts: &[Draft<'_>], hardware: &Hardware, diagnostics: &mut Diagnostics) -> Option<()> {
    let (mut gpus, mut links) = (hardware.devices.len(), hardware.topology.len());
    for Draft { plan, .. } in drafts {
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

fn check_weights(plans: &[FrameworkPlan<'_>], workload: &Workload, diagnostics: &mut Diagnostics) {
    let weights = &workload.framework_weights;
    let names = || plans.iter().map(|plan| plan.name.as_str());
    for (name, Placed { at, .. }) in &weights.value {
        if !names().any(|known| known == name) {
            diagnostics.unknown(at, format!("no framework is called {name:?}"), name, names());
        }
    }
    let strategy = workload.load_balancing_strategy.value;
    let decode_strategy = workload.decode_balancing_strategy.value.unwrap_or(strategy);
    for (strategy, decodes) in [(strategy, false), (decode_strategy, true)] {
        let choices = plans.iter().filter(|plan| plan.role().is_some_and(|role| (role == Role::Decode) == decodes));
        let mut weights =
            choices.map(|plan| weights.value.get(&plan.name).map_or(1.0, |weight| weight.value)).peekable();
        let has_choice = weights.peek().is_some();
        if strategy == Routing::WeightedRandom && has_choice && !weights.any(|weight| weight > 0.0) {
            let who = if decodes { "framework that decodes" } else { "target framework" };
            diagnostics.error(&workload.framework_weights.at, format!("one {who} at least must have a weight above 0"));
        }
    }
}

/// The engines of the first copy of a framework. `None` if something is wrong with it, which has been reported.
fn draft<'a>(
    plan: &'a FrameworkPlan<'a>,
    hardware: &Hardware,
    tenants: &HashMap<String, u32>,
    workload: &Workload,
    diagnostics: &mut Diagnostics,
) -> Option<Draft<'a>> {
    let config = plan.config;
    let limits = vllm::scheduler(plan, diagnostics);
    let layout = plan.layout.as_ref()?;
    let has_data_sheets = devices(layout, hardware).is_some();
    // Without links and with a catalog device that is unknown, the links that it would bring are not missing.
    let is_wired = has_data_sheets || !hardware.topology.is_empty();
    let wiring = is_wired.then(|| wiring::resolve(plan, layout, hardware, diagnostics)).flatten();
    if !has_data_sheets && !diagnostics.has_errors() {
        // A GPU without a data sheet has been reported where it stands; a CPU has not.
        diagnostics
            .error(&layout.at, "a CPU needs peak_tflops, memory_capacity_bytes and memory_gbps to serve a model");
    }
    let devices = devices(layout, hardware)?;
    let gpu_share = gpu_share(plan, layout, tenants, diagnostics);
    let mut ledger = Ledger::of(&plan.name);
    let settings = defaults::settle(plan, &devices, gpu_share, &mut ledger);
    let settings = vllm::check_settings(plan, settings, diagnostics);
    let model = Arc::clone(plan.model.as_ref()?);
    let role = plan.role().unwrap_or_default();
    let prefix_caching = if role == Role::Decode { PrefixCaching::Off } else { limits.prefix_caching };
    let kv_groups = kv_groups::kv_groups(plan, layout, prefix_caching, diagnostics);
    let pool = Pool { devices: &devices, settings, gpu_share, groups: kv_groups.as_deref() };
    let kv_blocks = kv_blocks(plan, layout, &pool, diagnostics)?;
    let block_tokens = match &kv_groups {
        Some(groups) => oracle_systems::kv_groups::alignment(groups, prefix_caching),
        None => limits.block_tokens,
    };
    let scheduler = SchedulerSpec { block_tokens, prefix_caching, ..limits };
    let scheduler = vllm::within(scheduler, plan, &settings, kv_blocks);
    defaults::note_cache(plan, &scheduler, &mut ledger);
    let max_model_len = max_model_len(plan, kv_blocks, (kv_groups.as_deref(), &scheduler), diagnostics);
    vllm::check_context(plan, max_model_len, settings.max_num_batched_tokens, diagnostics);
    defaults::note_context(plan, max_model_len, &mut ledger);
    let weight = workload.framework_weights.value.get(&plan.name).map_or(1.0, |weight| weight.value);
    let sequence_parallel = config.parallelism.value.as_ref().and_then(|keys| keys.sequence_parallel.value);
    let efficiency = efficiency(plan, devices[0]);
    let is_by_curve = !matches!(efficiency.as_ref().unwrap_or(&devices[0].efficiency), Efficiency::Constant { .. });
    moe_backend::check(plan, &devices, efficiency.as_ref(), diagnostics);
    let expert_kernels = moe_backend::family(plan, &devices, efficiency.as_ref());
    let device = devices[0].spec.as_deref()?;
    let kernel_launch = kernel_launch::kernel_launch(plan, device, &settings, is_by_curve, (&mut ledger, diagnostics));
    front_end::note(plan, settings.front_end, &mut ledger);
    let engine = |(number, wiring): (u32, Wiring)| EngineSpec {
        name: if number == 0 { plan.name.clone() } else { format!("{}#dp{number}", plan.name) },
        role,
        model: Arc::clone(&model),
        gpus: Vec::new(),
        tensor_parallel: layout.tensor_parallel,
        pipeline_parallel: layout.pipeline_parallel,
        prompt_microbatches: layout.prompt_microbatches,
        rings: wiring.rings,
        stage_paths: wiring.stage_paths,
        efficiency: efficiency.clone(),
        gpu_share,
        scheduler: SchedulerSpec { max_model_len, ..scheduler },
        kv_blocks,
        kv_groups: kv_groups.clone(),
        kernel_launch: kernel_launch.clone(),
        step_overhead_s: settings.step_overhead_s,
        sequence_overhead_s: settings.sequence_overhead_s,
        encoder_s_per_token: settings.encoder_token_s,
        ingress: wiring.ingress,
        egress: wiring.egress,
        response_bytes_per_token: config.bytes_per_token_estimate_for_network.value,
        weight: weight / f64::from(plan.keys.replicas.value) / f64::from(layout.data_parallel),
        fabrics: wiring.fabrics,
        expert_parallel: wiring.expert_parallel,
        expert_kernels,
        fused_norms_and_routers: plan.version().has(since::FUSED_NORMS_AND_ROUTERS),
        sequence_parallel: sequence_parallel == Some(true) && layout.tensor_parallel > 1,
        decode_context_parallel: layout.decode_context_parallel,
    };
    let engines = (0..).zip(wiring?).map(engine).collect();
    Some(Draft { plan, engines, front_end: settings.front_end, defaults: ledger.into_taken() })
}

/// The devices of an engine, if all have a data sheet.
fn devices<'a>(layout: &Layout, hardware: &'a Hardware) -> Option<Vec<&'a Device>> {
    let devices = layout.gpu_ids.iter().map(|id| hardware.device(id).filter(|device| device.spec.is_some()));
    devices.collect()
}

/// The framework's own figures, the first GPU's where it sets one of two.
fn efficiency(plan: &FrameworkPlan<'_>, first: &Device) -> Option<Efficiency> {
    let (mfu, mbu) = (plan.config.mfu.value, plan.config.mbu.value);
    match first.efficiency {
        Efficiency::Constant { mfu: first_mfu, mbu: first_mbu } if mfu.is_some() || mbu.is_some() => {
            efficiency::constant(mfu.or(Some(first_mfu)), mbu.or(Some(first_mbu)))
        }
        _ => efficiency::constant(mfu, mbu),
    }
}
