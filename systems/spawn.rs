//! The entities that a world begins with: GPUs, links and engines.

use bevy_ecs::prelude::*;
use oracle_components::SimTime;
use oracle_components::engine::{Admission, Engine, EngineLedger, Plan, StepClock};
use oracle_components::hardware::{Gpu, Link};
use oracle_components::record::{GpuTotals, LinkTotals};
use oracle_components::resources::{Directory, Timeline};
use oracle_components::scenario::{EngineSpec, LinkIndex, Scenario};

use crate::costing::{StepCost, gpu_peak_flops, peak_flops};
use crate::epoch::no_epoch;
use crate::kv;
use crate::scheduling::{empty_queues, nothing_running};
use crate::series::{EngineSeries, LinkSeries};
use crate::world::{Brought, CostModel, EngineHardware, Priced};

/// Spawns what a scenario describes.
pub fn populate(world: &mut World, scenario: &Scenario) {
    let peaks = gpu_peak_flops(scenario);
    let gpus = scenario.gpus.iter().zip(0..).zip(peaks).map(|((gpu, index), peak_flops)| {
        let peak_bytes_per_s = gpu.device.memory_bytes_per_s;
        world.spawn(Gpu { index, peak_flops, peak_bytes_per_s, totals: GpuTotals::default() }).id()
    });
    let gpus = gpus.collect();
    let links = scenario.links.iter().zip(0..).map(|(link, index)| {
        let series = LinkSeries::new(index, scenario.series_interval);
        let link = Link {
            index,
            bytes_per_s: link.bytes_per_s,
            latency: SimTime::from_secs_f64(link.latency_s),
            busy_until: SimTime::ZERO,
            totals: LinkTotals::default(),
        };
        world.spawn((link, series)).id()
    });
    let links = links.collect();
    let directory = Directory { gpus, links };
    let engines = scenario.engines.iter().zip(0..);
    let engines = engines.map(|(engine, index)| spawn_engine(world, scenario, engine, index, &directory));
    let engines = engines.collect();
    world.resource_mut::<Timeline>().engines = engines;
    world.insert_resource(directory);
}

/// Spawns an engine.
fn spawn_engine(
    world: &mut World,
    scenario: &Scenario,
    spec: &EngineSpec,
    index: u32,
    directory: &Directory,
) -> Entity {
    let links = |path: &[LinkIndex]| path.iter().map(|&link| directory.links[link as usize]).collect::<Vec<_>>();
    let rate = |&link: &LinkIndex| {
        let link = &scenario.links[link as usize];
        (link.bytes_per_s, SimTime::from_secs_f64(link.latency_s))
    };
    let engine = Engine {
        index,
        scheduler: spec.scheduler,
        ingress: links(&spec.ingress),
        egress: links(&spec.egress),
        egress_rates: spec.egress.iter().map(rate).collect(),
        response_bytes_per_token: spec.response_bytes_per_token,
    };
    let clock = StepClock { boundary: SimTime::ZERO, steps: 0, lane_free: SimTime::ZERO, flow_received: SimTime::ZERO };
    let first_gpu = &scenario.gpus[spec.gpus[0] as usize].device;
    let hardware = EngineHardware {
        engine: index,
        gpus: spec.gpus.iter().map(|&gpu| directory.gpus[gpu as usize]).collect(),
        gpu_indices: spec.gpus.clone(),
        ring_links: spec.rings.iter().flatten().flat_map(|path| links(path)).collect(),
        stage_links: spec.stage_paths.iter().flat_map(|path| links(path)).collect(),
        peak_flops: peak_flops(first_gpu, &spec.model),
        peak_bytes_per_s: first_gpu.memory_bytes_per_s,
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
        CostModel { step: StepCost::new(spec, scenario), decode_only: Vec::new() },
        Priced(None),
        Brought::default(),
        hardware,
    ));
    entity.id()
}
