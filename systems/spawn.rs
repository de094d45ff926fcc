//! The entities that a world begins with: GPUs, links and engines.

use std::sync::Arc;

use bevy_ecs::prelude::*;
use oracle_components::SimTime;
use oracle_components::engine::{Admission, Engine, EngineLedger, Plan, StepClock};
use oracle_components::hardware::{Gpu, Link};
use oracle_components::pools::Remote;
use oracle_components::record::{GpuTotals, LinkTotals};
use oracle_components::scenario::{EngineSpec, GpuIndex, LinkIndex, Role, Scenario};

use crate::costing::{StepCost, peak_flops};
use crate::epoch::no_epoch;
use crate::kv;
use crate::scheduling::{empty_queues, nothing_running};
use crate::series::{EngineSeries, LinkSeries};
use crate::world::{Brought, CostModel, EngineGpu, EngineHardware, Hub, PricedBatch, Prices};

/// Hardware entities, by index.
#[derive(Debug)]
pub struct Directory {
    /// GPUs.
    pub gpus: Vec<Entity>,
    /// Links.
    pub links: Vec<Entity>,
}

/// Spawns what a scenario describes.
pub fn populate(world: &mut World, scenario: &Scenario) -> Directory {
    let gpus =
        scenario.gpus.iter().map(|gpu| world.spawn(Gpu { spec: gpu.clone(), totals: GpuTotals::default() }).id());
    let gpus = gpus.collect();
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
    let links = links.collect();
    let directory = Directory { gpus, links };
    let mut prices: Vec<Arc<Prices>> = Vec::new();
    let engines = scenario.engines.iter().zip(0..).zip(StepCost::of_all(scenario));
    let engines = engines.map(|((engine, index), step)| {
        let seats = engine.scheduler.max_num_seqs;
        let known = prices.iter().find(|prices| prices.are_of(&step, seats)).cloned();
        let known = known.unwrap_or_else(|| {
            prices.push(Arc::new(Prices::new(step, seats)));
            Arc::clone(&prices[prices.len() - 1])
        });
        spawn_engine(world, scenario, engine, index, &directory, known)
    });
    let engines = engines.collect();
    world.resource_mut::<Hub>().timeline.engines = engines;
    directory
}

/// Spawns an engine.
fn spawn_engine(
    world: &mut World,
    scenario: &Scenario,
    spec: &EngineSpec,
    index: u32,
    directory: &Directory,
    prices: Arc<Prices>,
) -> Entity {
    let links = |path: &[LinkIndex]| path.iter().map(|&link| directory.links[link as usize]).collect::<Vec<_>>();
    let rate = |&link: &LinkIndex| {
        let link = &scenario.links[link as usize];
        (link.bytes_per_s, SimTime::from_secs_f64(link.latency_s))
    };
    let decode = scenario.engines.iter().filter(|other| other.role == Role::Decode);
    let answer_kv_blocks = match spec.role {
        Role::Prefill => decode.map(|other| other.kv_blocks).min().expect("a prompt is answered somewhere"),
        Role::Both | Role::Decode => spec.kv_blocks,
    };
    let engine = Engine {
        role: spec.role,
        scheduler: spec.scheduler,
        ingress: links(&spec.ingress),
        egress: links(&spec.egress),
        egress_rates: spec.egress.iter().map(rate).collect(),
        kv_blocks: spec.kv_blocks,
        answer_kv_blocks,
        response_bytes_per_token: spec.response_bytes_per_token,
    };
    let clock = StepClock {
        boundary: SimTime::ZERO,
        last_step: SimTime::ZERO,
        steps: 0,
        lane_free: SimTime::ZERO,
        flow_received: SimTime::ZERO,
    };
    let gpu = |&index: &GpuIndex| {
        let device = &scenario.gpus[index as usize].device;
        EngineGpu {
            entity: directory.gpus[index as usize],
            index,
            peak_flops: peak_flops(device, &spec.model),
            peak_bytes_per_s: device.memory_bytes_per_s,
        }
    };
    let hardware = EngineHardware {
        engine: index,
        gpus: spec.gpus.iter().map(gpu).collect(),
        gpu_share: spec.gpu_share,
        ring_links: spec.rings.iter().flatten().flat_map(|path| links(path)).collect(),
        stage_links: spec.stage_paths.iter().flat_map(|path| links(path)).collect(),
    };
    let entity = world.spawn((
        engine,
        clock,
        empty_queues(spec.scheduler.policy),
        nothing_running(spec.scheduler.block_tokens),
        kv::new_pool(spec.kv_blocks),
        Plan { chunks: Vec::new(), admission: Admission::Settled },
        no_epoch(),
        EngineLedger::default(),
        EngineSeries::new(scenario.series_interval),
        CostModel { prices, batch: PricedBatch::DecodeOnly(0) },
        Brought::default(),
        hardware,
    ));
    let entity = entity.id();
    if spec.role != Role::Both {
        world.entity_mut(entity).insert(Remote::default());
    }
    entity
}
