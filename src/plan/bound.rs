//! The roofline on a load: fewer replicas than this cannot compute its prompts in time, whatever the scheduler does.
//!
//! A target on the time to the first token leaves so many requests that have theirs within its limit (`Tally` counts how many may miss
//! it). Their prompts are computed between the first arrival and the last one plus the limit, on GPUs that do no more than their peak
//! FLOP/s; the least work is that of the shortest prompts, without attention. It is a bound, not an estimate: it says no to a number of
//! replicas only where every simulation would.

use oracle_components::scenario::Role;
use oracle_systems::costing::{StepCost, StepShape, gpu_peak_flops};

use super::load::SharedLoad;
use super::tally::most_beyond;
use super::target::Target;
use crate::config::Resolved;
use crate::workload::SloMetric;

/// Prompt tokens whose FLOPs are looked at: they are proportional.
const SAMPLE_TOKENS: u32 = 1 << 20;

/// Replicas of the one in `resolved` that computes prompts, of which the load needs so many at the least.
pub(super) fn least_replicas(resolved: &Resolved, load: &SharedLoad, targets: &[Target]) -> u32 {
    let Some((first, last)) = load.span() else { return 1 };
    // What a cache finds is not computed.
    let all_is_computed =
        load.kept().is_some_and(|specs| specs.iter().all(|spec| spec.prefix.is_empty() && spec.tail_key == 0));
    let mut engines = resolved.scenario.engines.iter().filter(|engine| engine.role != Role::Decode);
    let (Some(engine), None) = (engines.next(), engines.next()) else { return 1 };
    if !all_is_computed || resolved.output.warm_up.0 > 0 {
        return 1;
    }
    let shape = StepShape { prefill_tokens: SAMPLE_TOKENS, prefill_sequences: 1, ..StepShape::default() };
    let work = StepCost::new(engine, &resolved.scenario).prepare(&shape).work(0);
    let flops_per_token = work.flops_per_gpu / f64::from(SAMPLE_TOKENS);
    let peaks = gpu_peak_flops(&resolved.scenario);
    let peak = engine.gpus.iter().map(|&gpu| peaks[gpu as usize]).fold(0.0, f64::max);
    let mut prompts: Vec<u64> = load.kept().into_iter().flatten().map(|spec| u64::from(spec.prompt_tokens)).collect();
    prompts.sort_unstable();
    let needed = |target: &Target| {
        let limit_ms = match target {
            Target::Latency { metric: SloMetric::Ttft | SloMetric::E2e, limit_ms, .. } => *limit_ms,
            Target::Attainment { slo, .. } => slo.objective_ms(SloMetric::Ttft).or(slo.objective_ms(SloMetric::E2e))?,
            Target::Latency { .. } => return None,
        };
        let served = prompts.len().saturating_sub(most_beyond(target, prompts.len() as u64)? as usize);
        let tokens: u64 = prompts[..served].iter().sum();
        let seconds = (last - first).as_secs_f64() + limit_ms / 1e3;
        Some(tokens as f64 * flops_per_token / (peak * seconds))
    };
    let replicas = targets.iter().filter_map(needed).fold(0.0, f64::max);
    // Not one more for a rounding of the quotient.
    ((replicas * (1.0 - 1e-9)).ceil() as u32).max(1)
}
