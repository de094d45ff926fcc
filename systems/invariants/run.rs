//! What holds of every run that has ended.

use super::about;
use crate::costing::gpu_peak_flops;
use oracle_components::SimTime;
use oracle_components::record::{EngineTotals, Outcome};
use oracle_components::scenario::{EngineSpec, Scenario};
/// What does not hold of a run that has ended, in words; nothing, if all is well.
#[must_use]
pub fn violations(scenario: &Scenario, outcome: &Outcome) -> Vec<String> {
    let mut found = Findings::default();
    let ended: u64 = outcome.ended.iter().sum();
    found.expect(outcome.arrived == ended, || format!("{} requests arrived, {ended} ended", outcome.arrived));
    let all_alike = [scenario.engines.len(), scenario.gpus.len(), scenario.links.len()]
        == [outcome.engines.len(), outcome.gpus.len(), outcome.links.len()];
    found.expect(all_alike, || "engines, GPUs or links without totals".to_owned());
    for (spec, totals) in scenario.engines.iter().zip(&outcome.engines) {
        check_engine_totals(spec, totals, outcome.end, &mut found);
    }
    check_gpu_totals(scenario, outcome, &mut found);
    check_link_totals(scenario, outcome, &mut found);
    found.0
}

/// Collects what does not hold.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn expect(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.0.push(otherwise());
        }
    }
}

fn check_engine_totals(spec: &EngineSpec, totals: &EngineTotals, end: SimTime, found: &mut Findings) {
    let (name, scheduler) = (&spec.name, &spec.scheduler);
    found.expect(totals.blocks_allocated == totals.blocks_freed, || {
        format!("{name}: {} blocks given, {} taken back", totals.blocks_allocated, totals.blocks_freed)
    });
    found.expect(totals.busy <= end, || format!("{name}: busy for {} of {end}", totals.busy));
    let (prefill, decode) = (&totals.prefill, &totals.decode);
    found.expect((prefill.steps + decode.steps, prefill.busy + decode.busy) == (totals.steps, totals.busy), || {
        format!("{name}: steps with prompts and without are {} and {} of {}", prefill.steps, decode.steps, totals.steps)
    });
    let held = totals.held.iter().fold(SimTime::ZERO, |sum, &held| sum + held);
    found.expect(held <= totals.busy, || format!("{name}: the queue held back for {held} of {}", totals.busy));
    let budget = u64::from(scheduler.max_num_batched_tokens);
    let most = [
        ("blocks at once", totals.blocks_peak, spec.kv_blocks),
        ("running at once", totals.running_peak, u64::from(scheduler.max_num_seqs)),
        ("prompt tokens", totals.prefill_tokens, totals.steps.saturating_mul(budget)),
        ("output tokens", totals.output_tokens, totals.steps.saturating_mul(u64::from(scheduler.max_num_seqs))),
    ];
    for (what, count, most) in most {
        found.expect(count <= most, || format!("{name}: {count} {what}, {most} are possible"));
    }
}

/// No GPU is busy for longer than the run, or does more than its peaks allow in it.
fn check_gpu_totals(scenario: &Scenario, outcome: &Outcome, found: &mut Findings) {
    let end_s = outcome.end.as_secs_f64();
    let rounded = 1.0 + 1e-9;
    let peaks = gpu_peak_flops(scenario);
    for ((spec, totals), peak_flops) in scenario.gpus.iter().zip(&outcome.gpus).zip(peaks) {
        let id = &spec.id;
        found
            .expect(totals.busy <= about(outcome.end), || format!("{id}: busy for {} of {}", totals.busy, outcome.end));
        let most = peak_flops * end_s * rounded;
        found.expect(totals.flops <= most, || format!("{id}: {:e} FLOPs, {most:e} are possible", totals.flops));
        let most = spec.device.memory_bytes_per_s * end_s * rounded;
        found.expect(totals.bytes <= most, || format!("{id}: {:e} bytes, {most:e} are possible", totals.bytes));
    }
}

/// No link carries for longer than the run.
fn check_link_totals(scenario: &Scenario, outcome: &Outcome, found: &mut Findings) {
    for (spec, totals) in scenario.links.iter().zip(&outcome.links) {
        let most = about(outcome.end);
        found.expect(totals.busy <= most, || format!("{}: carried for {} of {most}", spec.id, totals.busy));
    }
}
