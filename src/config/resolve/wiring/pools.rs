//! Prefill and decode pools: what their frameworks must agree in, and the links that KV caches go over.

use std::collections::HashSet;

use oracle_components::scenario::{EngineIndex, EngineSpec, GpuSpec, KvPaths, LinkIndex, LinkSpec, Role};

use crate::config::diagnostic::{Diagnostics, number};
use crate::config::keys::Workload;
use crate::config::resolve::fleet::replicas::copy_name;
use crate::config::resolve::plan::{Draft, FrameworkPlan};
use crate::config::resolve::topology::{CLIENT, ENTRY, Topology, proposed_link};

/// Most paths between prefill and decode engines: each may bring a link.
const MOST_KV_PATHS: usize = 100_000;

/// The link that a message proposes: InfiniBand at 400 Gb/s, in bits per second, and its latency.
const PROPOSED_KV_BANDWIDTH_BPS: f64 = 4e11;
const PROPOSED_KV_LATENCY_S: f64 = 5e-6;

/// An engine of a framework.
#[derive(Clone, Copy)]
pub(in crate::config::resolve) struct Member<'a> {
    pub(in crate::config::resolve) plan: &'a FrameworkPlan<'a>,
    pub(in crate::config::resolve) engine: EngineIndex,
}

fn of_role<'a, 'b>(plans: &'a [FrameworkPlan<'b>], role: Role) -> impl Iterator<Item = &'a FrameworkPlan<'b>> {
    plans.iter().filter(move |plan| plan.role() == Some(role))
}

/// Reports pools that lack their counterpart, or do not go with it.
pub(in crate::config::resolve) fn check(
    plans: &[FrameworkPlan<'_>],
    workload: &Workload,
    diagnostics: &mut Diagnostics,
) {
    if plans.iter().any(|plan| plan.keys.role.given && plan.keys.role.value.is_none()) {
        return;
    }
    let first = |role| of_role(plans, role).next();
    match (first(Role::Prefill), first(Role::Decode)) {
        (None, None) => {
            let strategy = &workload.decode_balancing_strategy;
            if strategy.given {
                diagnostics.warn(&strategy.at, "has no effect: no framework has role: decode");
            }
        }
        (Some(prefill), None) => {
            let message = "no framework decodes what this one prefills";
            diagnostics.error_with(&prefill.keys.role.at, message, "set role: decode for another, or role: both here");
        }
        (None, Some(decode)) => {
            let message = "no framework prefills for this one";
            diagnostics.error_with(&decode.keys.role.at, message, "set role: prefill for another, or role: both here");
        }
        (Some(prefill), Some(_)) => {
            let others = of_role(plans, Role::Prefill).chain(of_role(plans, Role::Decode));
            others.for_each(|other| check_pair(prefill, other, diagnostics));
        }
    }
}

/// Ids of the GPUs between which KV caches go, source and destination, first copies only.
pub(super) fn kv_transfer_pairs(plans: &[FrameworkPlan<'_>]) -> Vec<(String, String)> {
    let engines = |role| {
        let layouts = of_role(plans, role).filter_map(|plan| plan.layout.as_ref());
        layouts.flat_map(|layout| (0..layout.data_parallel).map(|number| layout.engine(number)))
    };
    let mut pairs = Vec::new();
    for from in engines(Role::Prefill) {
        for to in engines(Role::Decode) {
            let flows = flows(from.gpu_ids.len(), to.gpu_ids.len());
            pairs.extend(flows.map(|(a, b)| (from.gpu_ids[a].clone(), to.gpu_ids[b].clone())));
        }
    }
    pairs
}

/// How many GPUs the pools have, all copies together.
pub(super) fn gpus(plans: &[FrameworkPlan<'_>]) -> usize {
    let pools = of_role(plans, Role::Prefill).chain(of_role(plans, Role::Decode));
    let sizes = pools.filter_map(|plan| Some(plan.layout.as_ref()?.gpu_ids.len() * plan.keys.replicas.value as usize));
    sizes.sum()
}

/// KV caches of both must look alike.
fn check_pair(one: &FrameworkPlan<'_>, other: &FrameworkPlan<'_>, diagnostics: &mut Diagnostics) {
    let (name, block_size) = (&one.name, one.config.block_size.value);
    if other.config.block_size.value != block_size {
        let message = format!("{} and {name} exchange KV blocks, which must be of one size", other.name);
        diagnostics.error_with(&other.config.block_size.at, message, format!("set block_size: {block_size}"));
    }
    let (Some(model), Some(other_model)) = (&one.model, &other.model) else { return };
    if model.name != other_model.name {
        let message = format!(
            "{} serves {}, but {name}, with which it shares requests, {}",
            other.name, other_model.name, model.name
        );
        diagnostics.error(&other.config.model_profile_id.at, message);
    } else if model.kv_dtype != other_model.kv_dtype {
        let at = if other.config.kv_cache_dtype.given { &other.config.kv_cache_dtype.at } else { &other.config.at };
        let message = format!("{} and {name} exchange KV blocks, whose elements must be of one type", other.name);
        diagnostics.error_with(at, message, "set kv_cache_dtype alike");
    }
}

/// No prompt is computed that leaves no room for an answer where it is decoded.
pub(in crate::config::resolve) fn hold_prompts_to_contexts(drafts: &mut [Draft<'_>], diagnostics: &mut Diagnostics) {
    let engines = drafts.iter().flat_map(|draft| &draft.engines).filter(|engine| engine.role == Role::Decode);
    let Some(longest) = engines.map(|engine| engine.scheduler.max_model_len).min() else { return };
    for Draft { plan, engines, .. } in drafts.iter_mut().filter(|draft| draft.plan.role() == Some(Role::Prefill)) {
        for engine in engines {
            let own = &mut engine.scheduler.max_model_len;
            if plan.config.max_model_len.given && *own > longest {
                let message =
                    format!("{own} is more than the {longest} tokens of a framework that decodes, which count");
                diagnostics.warn(&plan.config.max_model_len.at, message);
            }
            *own = longest.min(*own);
        }
    }
}

/// The paths of KV caches, from every prefill to every decode engine; `None` if one is missing, which has been reported.
/// Links between the GPUs of two frameworks get a clone for every pair of copies.
pub(in crate::config::resolve) fn connect(
    members: &[Member<'_>],
    (engines, gpus): (&[EngineSpec], &[GpuSpec]),
    topology: &mut Topology,
    diagnostics: &mut Diagnostics,
) -> Option<KvPaths> {
    let instances = |role| {
        let members = members.iter().filter(move |member| member.plan.role() == Some(role));
        members.map(|&member| Instance::new(member, engines, gpus)).collect::<Vec<_>>()
    };
    let (prefill, decode) = (instances(Role::Prefill), instances(Role::Decode));
    let pairs = prefill.iter().flat_map(|from| decode.iter().map(move |to| (from, to)));
    let paths: usize = pairs.map(|(from, to)| flows(from.gpus.len(), to.gpus.len()).count()).sum();
    if paths > MOST_KV_PATHS {
        let message = format!("{paths} paths lead from GPUs that prefill to GPUs that decode");
        let at = &prefill[0].plan.keys.role.at;
        diagnostics.error_with(at, message, format!("at most {} are possible", number(MOST_KV_PATHS as f64)));
        return None;
    }
    clone_links(&prefill, &decode, topology);
    let mut kv_paths = KvPaths::new();
    let mut reported = HashSet::new();
    for from in &prefill {
        for (gpu, source) in from.gpus.iter().enumerate() {
            let leaving: Vec<_> = decode.iter().flat_map(|to| to.flows_from(from, gpu)).collect();
            let destinations: Vec<&str> = leaving.iter().map(|&(_, destination)| destination).collect();
            let found = topology.paths(source, &destinations, &[CLIENT, ENTRY]);
            for ((to, destination), path) in leaving.into_iter().zip(found) {
                // GPUs in order, and for each its flows in order: so the list is in the order of the flows.
                let paths = kv_paths.entry((from.engine, to.engine)).or_default();
                match path {
                    Some(path) => paths.push(path),
                    None if reported.insert((&from.plan.name, &to.plan.name)) => {
                        report_missing((from, to), source, destination, diagnostics);
                    }
                    None => {}
                }
            }
        }
    }
    reported.is_empty().then_some(kv_paths)
}

/// An engine with the ids of its GPUs.
struct Instance<'a> {
    plan: &'a FrameworkPlan<'a>,
    engine: EngineIndex,
    gpus: Vec<&'a str>,
}

impl<'a> Instance<'a> {
    fn new(member: Member<'a>, engines: &[EngineSpec], gpus: &'a [GpuSpec]) -> Self {
        let own = &engines[member.engine as usize].gpus;
        let gpus = own.iter().map(|&gpu| gpus[gpu as usize].id.as_str()).collect();
        Self { plan: member.plan, engine: member.engine, gpus }
    }

    /// The flows from a GPU of a prefill engine: this engine, and the GPU of it that each goes to.
    fn flows_from(&self, from: &Instance<'_>, gpu: usize) -> impl Iterator<Item = (&Self, &'a str)> {
        let flows = flows(from.gpus.len(), self.gpus.len()).filter(move |way| way.0 == gpu);
        flows.map(move |way| (self, self.gpus[way.1]))
    }
}

/// Where the flows of a KV cache go between engines of so many GPUs, by their positions: each GPU of the larger one has one.
fn flows(from: usize, to: usize) -> impl Iterator<Item = (usize, usize)> {
    let flows = from.max(to);
    (0..flows).map(move |flow| (flow * from / flows, flow * to / flows))
}

/// Links between the GPUs of two frameworks, either way.
fn links_between<'a>(
    from: &FrameworkPlan<'_>,
    to: &FrameworkPlan<'_>,
    topology: &'a Topology,
) -> impl Iterator<Item = (LinkIndex, &'a LinkSpec)> {
    let ids =
        |plan: &FrameworkPlan<'_>| plan.layout.iter().flat_map(|layout| layout.gpu_ids.clone()).collect::<HashSet<_>>();
    let (from, to) = (ids(from), ids(to));
    let links = topology.touching(&from.iter().map(String::as_str).collect());
    let links = links.into_iter().map(|link| (link, topology.link(link)));
    links.filter(move |(_, link)| to.contains(&link.source) || to.contains(&link.destination))
}

/// Links between GPUs of different pools: those get a clone for every pair of copies, which [`connect`] makes.
pub(in crate::config::resolve) fn links_between_pools(
    plans: &[FrameworkPlan<'_>],
    topology: &Topology,
) -> HashSet<LinkIndex> {
    let pairs = of_role(plans, Role::Prefill).flat_map(|from| of_role(plans, Role::Decode).map(move |to| (from, to)));
    pairs.flat_map(|(from, to)| links_between(from, to, topology).map(|(index, _)| index)).collect()
}

/// Gives every pair of copies but the first ones the links between these.
fn clone_links(prefill: &[Instance<'_>], decode: &[Instance<'_>], topology: &mut Topology) {
    for from in frameworks(prefill) {
        for to in frameworks(decode) {
            let links: Vec<LinkSpec> = links_between(from, to, topology).map(|(_, link)| link.clone()).collect();
            let copies = |plan: &FrameworkPlan<'_>| 0..plan.keys.replicas.value;
            let pairs = copies(from).flat_map(|from| copies(to).map(move |to| (from, to)));
            for (from_copy, to_copy) in pairs.filter(|&pair| pair != (0, 0)) {
                let moved = |id: &str| copy_name(id, if has_gpu(from, id) { from_copy } else { to_copy });
                for link in &links {
                    let id = format!("{}#r{from_copy}-r{to_copy}", link.id);
                    let (source, destination) = (moved(&link.source), moved(&link.destination));
                    topology.add(LinkSpec { id, source, destination, ..link.clone() });
                }
            }
        }
    }
}

fn has_gpu(plan: &FrameworkPlan<'_>, id: &str) -> bool {
    plan.layout.iter().flat_map(|layout| &layout.gpu_ids).any(|own| own == id)
}

/// The frameworks of engines, each once.
fn frameworks<'a>(instances: &[Instance<'a>]) -> Vec<&'a FrameworkPlan<'a>> {
    let mut seen = HashSet::new();
    instances.iter().map(|instance| instance.plan).filter(|plan| seen.insert(&plan.name)).collect()
}

fn report_missing(
    (from, to): (&Instance<'_>, &Instance<'_>),
    source: &str,
    destination: &str,
    diagnostics: &mut Diagnostics,
) {
    let (prefill, decode) = (&from.plan.name, &to.plan.name);
    let message =
        format!("missing link between {source} and {destination}, over which KV caches go from {prefill} to {decode}");
    let suggestion = proposed_link(source, destination, PROPOSED_KV_BANDWIDTH_BPS, PROPOSED_KV_LATENCY_S);
    diagnostics.error_with(&to.plan.keys.role.at, message, suggestion);
}
