//! The entities that a world begins with: GPUs, links and engines.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;

use bevy_ecs::prelude::*;
use oracle_components::SimTime;
use oracle_components::disaggregation::Handoffs;
use oracle_components::engine::{AdmissionLimits, Batch, Engine, EngineLedger, EpochCuts, Standing, StepClock};
use oracle_components::hardware::{EngineGpu, EngineHardware, Gpu, Link};
use oracle_components::record::{GpuTotals, LinkTotals};
use oracle_components::scenario::{EngineIndex, EngineSpec, GpuIndex, LinkIndex, Role, Scenario};
use oracle_components::work::StepOutput;

use crate::costing::{CostModel, PricedBatch, Prices, StepCost, peak_flops};
use crate::decode_classes;
use crate::epoch::no_epoch;
use crate::kv;
use crate::running::nothing_running;
use crate::scheduling::{Rules, empty_queues};
use crate::series::{EngineSeries, LinkSeries};
use crate::world::{Entrance, Unanswered};

/// An engine that has had no boundary looks at the first delivery.
const NOTHING_STANDS: Standing = Standing { steps: u64::MAX, until: SimTime::NEVER, sees_deliveries: true };

/// What worlds are built from.
pub struct Blueprint {
    /// What is simulated.
    pub scenario: Scenario,
    /// Prices of the engines.
    pub prices: Vec<Arc<Prices>>,
    /// The batch policy of the engines.
    pub rules: Arc<dyn Rules>,
    /// Where epochs are cut though they need not be.
    pub epoch_cuts: EpochCuts,
    /// Arrivals of a window of windowed engines, if it is not for them to say.
    pub window_arrivals: Option<NonZeroUsize>,
    /// Whether the time that phases take is kept.
    pub profiled: bool,
}

/// Prices of the engines of a scenario, shared by those that cost the same.
pub fn prices(scenario: &Scenario) -> Vec<Arc<Prices>> {
    let mut known: Vec<Arc<Prices>> = Vec::new();
    let engines = scenario.engines.iter().zip(StepCost::of_all(scenario));
    engines
        .map(|(engine, step)| {
            let slots = engine.scheduler.max_num_seqs;
            if let Some(prices) = known.iter().find(|prices| prices.are_of(&step, slots)) {
                return Arc::clone(prices);
            }
            known.push(Arc::new(Prices::new(step, slots)));
            Arc::clone(&known[known.len() - 1])
        })
        .collect()
}

/// Spawns the links of a scenario: their entities, by index.
pub fn spawn_links(world: &mut World, scenario: &Scenario) -> Vec<Entity> {
    let links = scenario.links.iter().zip(0..).map(|(link, index)| {
        let series = LinkSeries::new(index, scenario.series_interval);
        let link = Link {
            bytes_per_s: link.bytes_per_s,
            latency: SimTime::from_secs_f64(link.latency_s),
            busy_until: SimTime::ZERO,
            totals: LinkTotals::default(),
        };
        world.spawn((link, series)).id()
    });
    links.collect()
}

/// Spawns some engines of a scenario, with the GPUs that they run on: the engines' entities, and the GPUs' by index.
pub fn spawn_engines(
    world: &mut World,
    blueprint: &Blueprint,
    engines: Range<usize>,
) -> (Vec<Entity>, BTreeMap<GpuIndex, Entity>) {
    let scenario = &blueprint.scenario;
    let used = scenario.engines[engines.clone()].iter().flat_map(|engine| &engine.gpus);
    let mut gpus = BTreeMap::new();
    for &index in used {
        gpus.entry(index).or_insert_with(|| {
            let spec = scenario.gpus[index as usize].clone();
            world.spawn(Gpu { spec, totals: GpuTotals::default() }).id()
        });
    }
    let engines = engines.map(|index| spawn_engine(world, blueprint, index, &gpus));
    (engines.collect(), gpus)
}

/// The ways in to the engines of a scenario.
pub fn entrances(blueprint: &Blueprint) -> Vec<Entrance> {
    let engines = &blueprint.scenario.engines;
    let smallest = engines.iter().filter(|engine| engine.role == Role::Decode).map(|engine| engine.kv_blocks).min();
    let entrance = |spec: &EngineSpec| {
        let (answer_kv_blocks, prompt_kv_blocks) = match spec.role {
            Role::Prefill => (smallest.expect("a prompt is answered somewhere"), Some(spec.kv_blocks)),
            Role::Both | Role::Decode => (spec.kv_blocks, None),
        };
        let rules = Arc::clone(&blueprint.rules);
        Entrance {
            limits: AdmissionLimits {
                scheduler: spec.scheduler,
                answer_kv_blocks,
                prompt_kv_blocks,
                kv_groups: spec.kv_groups.clone(),
            },
            refusal: Arc::new(move |request, target, limits| rules.refusal(request, target, limits)),
            ingress: spec.ingress.clone(),
            unanswered: spec.scheduler.max_num_queued_reqs.map(Unanswered::at_most),
        }
    };
    engines.iter().map(entrance).collect()
}

/// Spawns an engine.
fn spawn_engine(world: &mut World, blueprint: &Blueprint, index: usize, gpus: &BTreeMap<GpuIndex, Entity>) -> Entity {
    let scenario = &blueprint.scenario;
    let prices = Arc::clone(&blueprint.prices[index]);
    let spec = &scenario.engines[index];
    let rate = |&link: &LinkIndex| {
        let link = &scenario.links[link as usize];
        (link.bytes_per_s, SimTime::from_secs_f64(link.latency_s))
    };
    let with_rate = |&link: &LinkIndex| (link, scenario.links[link as usize].bytes_per_s);
    let engine = Engine {
        role: spec.role,
        scheduler: spec.scheduler,
        egress: spec.egress.clone(),
        egress_rates: spec.egress.iter().map(rate).collect(),
        response_bytes_per_token: spec.response_bytes_per_token,
    };
    let clock = StepClock {
        boundary: SimTime::ZERO,
        last_step: SimTime::ZERO,
        steps: 0,
        lane_free: SimTime::ZERO,
        flow_received: SimTime::ZERO,
        scheduled_ahead: false,
    };
    let gpu = |&index: &GpuIndex| {
        let device = &scenario.gpus[index as usize].device;
        EngineGpu {
            entity: gpus[&index],
            index,
            peak_flops: peak_flops(device, &spec.model),
            peak_bytes_per_s: device.memory_bytes_per_s,
        }
    };
    let hardware = EngineHardware {
        engine: index as EngineIndex,
        gpus: spec.gpus.iter().map(gpu).collect(),
        gpu_share: spec.gpu_share,
        ring_links: spec.rings.iter().flatten().flatten().map(with_rate).collect(),
        stage_links: spec.stage_paths.iter().flatten().map(with_rate).collect(),
        exchange_links: spec.expert_parallel.iter().flat_map(|e| &e.hops).flatten().map(with_rate).collect(),
    };
    // What a step sends under `stream_interval` is not what the next does.
    let in_chunks = spec.scheduler.stream_interval > 1;
    let epoch_cuts = if in_chunks { EpochCuts::EveryStep } else { blueprint.epoch_cuts };
    let mut running = nothing_running(spec.scheduler.block_tokens, spec.scheduler.stream_interval);
    let pool = match &spec.kv_groups {
        Some(groups) => {
            running.by_blocks = Some(Box::new(decode_classes::no_decodes(groups, &spec.scheduler)));
            kv::groups::new_pool(spec.kv_blocks, groups, &spec.scheduler)
        }
        None => kv::new_pool(spec.kv_blocks),
    };
    let entity = world.spawn((
        engine,
        clock,
        empty_queues(spec.scheduler.policy),
        running,
        pool,
        Batch { chunks: Vec::new(), orphans: Vec::new(), standing: NOTHING_STANDS, hold: None },
        no_epoch(epoch_cuts),
        Arc::clone(&blueprint.rules).at_work(),
        EngineLedger::default(),
        EngineSeries::new(scenario.series_interval),
        CostModel { prices, batch: PricedBatch::DecodeOnly(0) },
        StepOutput::default(),
        hardware,
    ));
    let entity = entity.id();
    if spec.role != Role::Both || spec.scheduler.kv_transfer.is_some() {
        world.entity_mut(entity).insert(Handoffs::default());
    }
    entity
}
