//! Work of steps, on its way onto GPUs and links: kept with the engine until its interval of the time series is over.

use bevy_ecs::prelude::Query;
use oracle_components::SimTime;
use oracle_components::engine::Engine;
use oracle_components::hardware::{EngineHardware, Gpu};
use oracle_components::work::{Accrued, LinkUsage, StepOutput, StepSpan, StepWork};
/// Accrues what the steps that ended did until their interval is over. False if they go beyond it, or beyond that of
/// what has accrued already: then transfer has to post it.
#[inline]
pub fn accrue(step_output: &mut StepOutput, engine: &Engine, interval: SimTime) -> bool {
    let Some(work) = step_output.work else { return true };
    if !step_output.past.is_empty() {
        return false;
    }
    let flows = flows(step_output, step_output.steps);
    let accrued = &mut step_output.accrued;
    if is_empty(accrued) {
        accrued.from = step_output.from;
        accrued.to = step_output.from;
        accrued.until = SimTime(step_output.from.0 - step_output.from.0 % interval.0).saturating_add(interval);
    }
    if step_output.to > accrued.until {
        return false;
    }
    add(accrued, step_output.to, work, flows, engine);
    step_output.work = None;
    true
}

/// Bytes and number of the flows that so many of the steps sent.
fn flows(step_output: &StepOutput, steps: u64) -> (f64, u64) {
    (step_output.flow_bytes, if step_output.streams { steps } else { 0 })
}

fn is_empty(accrued: &Accrued) -> bool {
    accrued.from == accrued.to
}

/// Adds what steps did to what is kept.
#[inline]
fn add(accrued: &mut Accrued, to: SimTime, work: StepWork, (flow_bytes, flows): (f64, u64), engine: &Engine) {
    accrued.to = to;
    accrued.work += work;
    if flows == 0 {
        return;
    }
    accrued.streamed_bytes += flow_bytes * flows as f64;
    accrued.streaming.resize(engine.egress_rates.len(), SimTime::ZERO);
    for (busy, &(bytes_per_s, _)) in accrued.streaming.iter_mut().zip(&engine.egress_rates) {
        let flow = SimTime::from_secs_f64(flow_bytes / bytes_per_s);
        *busy += SimTime(flow.0.saturating_mul(flows));
    }
}

/// Posts all that an engine's steps did to its GPUs, and notes their traffic.
pub fn post(
    step_output: &mut StepOutput,
    engine: &Engine,
    hardware: &EngineHardware,
    gpus: &mut Query<&mut Gpu>,
    traffic: &mut Vec<LinkUsage>,
) {
    post_accrued(&mut step_output.accrued, engine, hardware, gpus, traffic);
    let Some(work) = step_output.work.take() else { return };
    let last = StepSpan { from: step_output.from, to: step_output.to, steps: step_output.steps, work };
    let mut past = std::mem::take(&mut step_output.past);
    for StepSpan { from, to, steps, work } in past.drain(..).chain([last]) {
        let flows = flows(step_output, steps);
        step_output.accrued.from = from;
        add(&mut step_output.accrued, to, work, flows, engine);
        post_accrued(&mut step_output.accrued, engine, hardware, gpus, traffic);
    }
    step_output.past = past;
}

fn post_accrued(
    accrued: &mut Accrued,
    engine: &Engine,
    hardware: &EngineHardware,
    gpus: &mut Query<&mut Gpu>,
    traffic: &mut Vec<LinkUsage>,
) {
    if is_empty(accrued) {
        return;
    }
    let span = (accrued.from, accrued.to);
    let work = std::mem::take(&mut accrued.work);
    let busy_s = span.1.since(span.0).as_secs_f64() * hardware.gpu_share;
    for gpu in &hardware.gpus {
        let mut gpu = gpus.get_mut(gpu.entity).expect("GPUs live as long as the world");
        gpu.totals.busy += SimTime::from_secs_f64(busy_s);
        gpu.totals.flops += work.flops_per_gpu;
        gpu.totals.bytes += work.memory_bytes_per_gpu;
    }
    let streamed_bytes = std::mem::take(&mut accrued.streamed_bytes);
    if streamed_bytes > 0.0 {
        for (&link, busy) in engine.egress.iter().zip(&mut accrued.streaming) {
            traffic.push(LinkUsage { link, span, busy: std::mem::take(busy), bytes: streamed_bytes });
        }
    }
    for (path, bytes) in [
        (&hardware.ring_links, work.ring_bytes),
        (&hardware.stage_links, work.stage_bytes),
        (&hardware.exchange_links, work.exchange_bytes),
    ] {
        let path = path.iter().filter(|_| bytes > 0.0);
        traffic.extend(path.map(|&(link, bytes_per_s)| {
            let busy = SimTime::from_secs_f64(bytes / bytes_per_s);
            LinkUsage { link, span, busy, bytes }
        }));
    }
    accrued.from = accrued.to;
}
