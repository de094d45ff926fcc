//! Prefill and decode pools: what their frameworks must agree in, and the links that KV caches go over.

use std::collections::HashSet;

use oracle_components::scenario::{EngineIndex, EngineSpec, KvPaths, LinkIndex, LinkSpec, Role};

use super::engines::copy_name;
use super::frameworks::Plan;
use super::topology::{CLIENT, ENTRY, Topology};
use super::wiring::proposed_link;
use crate::config::diagnostic::{Diagnostics, number};
use crate::config::keys::Workload;

/// Most paths between prefill and decode engines: each may bring a link.
const MOST_KV_PATHS: usize = 100_000;

/// The link that a message proposes: InfiniBand at 400 Gb/s, in bits per second, and its latency.
const PROPOSED_KV_BANDWIDTH_BPS: f64 = 4e11;
const PROPOSED_KV_LATENCY_S: f64 = 5e-6;

/// An engine as a copy of a framework.
#[derive(Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) plan: &'a Plan<'a>,
    pub(super) engine: EngineIndex,
    /// Which copy it is, from 0.
    pub(super) copy: u32,
}

fn of_role<'a, 'b>(plans: &'a [Plan<'b>], role: Role) -> impl Iterator<Item = &'a Plan<'b>> {
    plans.iter().filter(move |plan| plan.role() == Some(role))
}

/// Reports pools that lack their counterpart, or do not go with it.
pub(super) fn check(plans: &[Plan<'_>], workload: &Workload, diagnostics: &mut Diagnostics) {
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
pub(super) fn ways<'a>(plans: &'a [Plan<'_>]) -> Vec<(&'a str, &'a str)> {
    let layouts = |role| of_role(plans, role).filter_map(|plan| plan.layout.as_ref());
    let mut ways = Vec::new();
    for from in layouts(Role::Prefill) {
        for to in layouts(Role::Decode) {
            let flows = flows(from.gpu_ids.len(), to.gpu_ids.len());
            ways.extend(flows.map(|(a, b)| (from.gpu_ids[a].as_str(), to.gpu_ids[b].as_str())));
        }
    }
    ways
}

/// How many GPUs the pools have, all copies together.
pub(super) fn gpus(plans: &[Plan<'_>]) -> usize {
    let pools = of_role(plans, Role::Prefill).chain(of_role(plans, Role::Decode));
    let sizes = pools.filter_map(|plan| Some(plan.layout.as_ref()?.gpu_ids.len() * plan.keys.replicas.value as usize));
    sizes.sum()
}

/// KV caches of both must look alike.
fn check_pair(one: &Plan<'_>, other: &Plan<'_>, diagnostics: &mut Diagnostics) {
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
pub(super) fn hold_prompts_to_contexts(drafts: &mut [(&Plan<'_>, EngineSpec)], diagnostics: &mut Diagnostics) {
    let decode = drafts.iter().filter(|(_, engine)| engine.role == Role::Decode);
    let Some(longest) = decode.map(|(_, engine)| engine.scheduler.max_model_len).min() else { return };
    for (plan, engine) in drafts.iter_mut().filter(|(_, engine)| engine.role == Role::Prefill) {
        let own = &mut engine.scheduler.max_model_len;
        if plan.config.max_model_len.given && *own > longest {
            let message = format!("{own} is more than the {longest} tokens of a framework that decodes, which count");
            diagnostics.warn(&plan.config.max_model_len.at, message);
        }
        *own = longest.min(*own);
    }
}

/// The paths of KV caches, from every prefill to every decode engine; `None` if one is missing, which has been reported.
/// Links between the GPUs of two frameworks get a clone for every pair of copies.
pub(super) fn connect(
    members: &[Member<'_>],
    topology: &mut Topology,
    diagnostics: &mut Diagnostics,
) -> Option<KvPaths> {
    let of_role = |role| members.iter().filter(move |member| member.plan.role() == Some(role));
    let prefill: Vec<Instance<'_>> = of_role(Role::Prefill).map(Instance::new).collect();
    let decode: Vec<Instance<'_>> = of_role(Role::Decode).map(Instance::new).collect();
    let pairs = || prefill.iter().flat_map(|from| decode.iter().map(move |to| (from, to)));
    let paths: usize = pairs().map(|(from, to)| flows(from.gpus.len(), to.gpus.len()).count()).sum();
    if paths > MOST_KV_PATHS {
        let message = format!("{paths} paths lead from GPUs that prefill to GPUs that decode");
        let at = &prefill[0].plan.keys.role.at;
        diagnostics.error_with(at, message, format!("at most {} are possible", number(MOST_KV_PATHS as f64)));
        return None;
    }
    for (from, to) in pairs().filter(|(from, to)| from.copy == 0 && to.copy == 0) {
        let links: Vec<LinkSpec> = links_between(from.plan, to.plan, topology).map(|(_, link)| link.clone()).collect();
        for from in prefill.iter().filter(|copy| copy.plan.name == from.plan.name) {
            for to in decode.iter().filter(|copy| copy.plan.name == to.plan.name) {
                clone_links(&links, from, to, topology);
            }
        }
    }
    let mut kv_paths = KvPaths::new();
    let mut reported = HashSet::new();
    for from in &prefill {
        for (gpu, source) in from.gpus.iter().enumerate() {
            let leaving = decode.iter().flat_map(|to| {
                flows(from.gpus.len(), to.gpus.len()).filter(|way| way.0 == gpu).map(move |way| (to, way.1))
            });
            let leaving: Vec<_> = leaving.collect();
            let destinations: Vec<&str> = leaving.iter().map(|(to, gpu)| to.gpus[*gpu].as_str()).collect();
            let found = topology.paths(source, &destinations, &[CLIENT, ENTRY]);
            for (((to, _), destination), path) in leaving.iter().zip(destinations).zip(found) {
                // GPUs in order, and for each the flows in order: so the list is in the order of the flows.
                let paths = kv_paths.entry((from.engine, to.engine)).or_default();
                match path {
                    Some(path) => paths.push(path),
                    None if reported.insert((&from.plan.name, &to.plan.name)) => {
                        report_missing(from, to, source, destination, diagnostics);
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
    plan: &'a Plan<'a>,
    engine: EngineIndex,
    copy: u32,
    gpus: Vec<String>,
}

impl<'a> Instance<'a> {
    fn new(member: &Member<'a>) -> Self {
        let ids = member.plan.layout.iter().flat_map(|layout| &layout.gpu_ids);
        let gpus = ids.map(|id| copy_name(id, member.copy)).collect();
        Self { plan: member.plan, engine: member.engine, copy: member.copy, gpus }
    }

    /// The id of a GPU of the first copy, moved to this one; `None` for what is no GPU of the framework's.
    fn moved(&self, id: &str) -> Option<String> {
        let own = self.plan.layout.as_ref()?.gpu_ids.iter().any(|own| own == id);
        own.then(|| copy_name(id, self.copy))
    }
}

/// Where the flows of a KV cache go between engines of so many GPUs, by their positions: each GPU of the larger one has one.
fn flows(from: usize, to: usize) -> impl Iterator<Item = (usize, usize)> {
    let flows = from.max(to);
    (0..flows).map(move |flow| (flow * from / flows, flow * to / flows))
}

/// Links between the GPUs of two frameworks, either way.
fn links_between<'a>(
    from: &Plan<'_>,
    to: &Plan<'_>,
    topology: &'a Topology,
) -> impl Iterator<Item = (LinkIndex, &'a LinkSpec)> {
    let ids = |plan: &Plan<'_>| plan.layout.iter().flat_map(|layout| layout.gpu_ids.clone()).collect::<HashSet<_>>();
    let (from, to) = (ids(from), ids(to));
    let links = topology.touching(&from.iter().map(String::as_str).collect());
    let links = links.into_iter().map(|link| (link, topology.link(link)));
    links.filter(move |(_, link)| to.contains(&link.source) || to.contains(&link.destination))
}

/// Links between GPUs of different pools: those get a clone for every pair of copies, which [`connect`] makes.
pub(super) fn links_between_pools(plans: &[Plan<'_>], topology: &Topology) -> HashSet<LinkIndex> {
    let pairs = of_role(plans, Role::Prefill).flat_map(|from| of_role(plans, Role::Decode).map(move |to| (from, to)));
    pairs.flat_map(|(from, to)| links_between(from, to, topology).map(|(index, _)| index)).collect()
}

/// Gives two copies that are not both the first the links of the first ones.
fn clone_links(links: &[LinkSpec], from: &Instance<'_>, to: &Instance<'_>, topology: &mut Topology) {
    if from.copy == 0 && to.copy == 0 {
        return;
    }
    let moved = |id: &String| from.moved(id).or_else(|| to.moved(id)).expect("the link is between their GPUs");
    for link in links {
        let id = format!("{}#r{}-r{}", link.id, from.copy, to.copy);
        let (source, destination) = (moved(&link.source), moved(&link.destination));
        topology.add(LinkSpec { id, source, destination, ..link.clone() });
    }
}

fn report_missing(
    from: &Instance<'_>,
    to: &Instance<'_>,
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
