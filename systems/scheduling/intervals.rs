//! What an epoch's steps did, by intervals of the time series, so that it does not show where epochs begin and end.

use crate::kv;
use crate::running::{blocks_over, summed_context};
use crate::series::IntervalSums;
use crate::world::{EngineView, Ports};
use oracle_components::SimTime;
use oracle_components::work::{StepSpan, StepWork};
use std::ops::Range;
/// Posts the steps of the epoch by intervals of the time series: those that end in one together, one that crosses the
/// end of one alone, evenly. So it does not show where an epoch began and ended. The last of these spans is left to be
/// posted.
pub fn post_past_intervals(parts: &mut EngineView<'_>, ports: &mut Ports) -> IntervalSums {
    let steps = parts.epoch.steps;
    let preempted = parts.ledger.0.preemptions;
    let mut preemptions = (preempted - parts.series.preemptions_posted) as f64;
    parts.series.preemptions_posted = preempted;
    let mut done = 0;
    loop {
        let from = start_of(parts, done);
        let ends = &parts.epoch.step_ends[done..steps];
        let interval_end = parts.series.interval_end(from);
        let whole = if ends[ends.len() - 1] <= interval_end {
            ends.len()
        } else {
            ends.partition_point(|&end| end <= interval_end)
        };
        let next = done + whole.max(1);
        let (mut sums, work) = of_steps(parts, done..next);
        sums.preemptions = std::mem::take(&mut preemptions);
        if next == steps {
            parts.step_output.from = from;
            parts.step_output.steps = (next - done) as u64;
            parts.step_output.work = Some(work);
            return sums;
        }
        let to = parts.epoch.step_ends[next - 1];
        parts.series.post(from, to, sums, parts.hardware, &mut ports.rows);
        parts.step_output.past.push(StepSpan { from, to, steps: (next - done) as u64, work });
        done = next;
    }
}

/// Posts the preemptions of a boundary after which the engine is idle: no step will.
#[cold]
pub fn post_preemptions(parts: &mut EngineView<'_>, now: SimTime, ports: &mut Ports) {
    let preempted = parts.ledger.0.preemptions - parts.series.preemptions_posted;
    if preempted > 0 {
        parts.series.preemptions_posted += preempted;
        let sums = IntervalSums { preemptions: preempted as f64, ..IntervalSums::default() };
        parts.series.post(now, now, sums, parts.hardware, &mut ports.rows);
    }
}

/// When a step of the epoch begins, counted from 0.
fn start_of(parts: &EngineView<'_>, step: usize) -> SimTime {
    if step == 0 { parts.clock.boundary } else { parts.epoch.step_ends[step - 1] }
}

/// What happens in some steps of an epoch that is still to be brought to its end, and the work in it.
fn of_steps(parts: &EngineView<'_>, steps: Range<usize>) -> (IntervalSums, StepWork) {
    let (from, to) = (start_of(parts, steps.start), start_of(parts, steps.end));
    let (first, count, until) = (steps.start as u64, steps.len() as u64, steps.end as u64);
    let taken = |steps: u64| blocks_over(parts.running, parts.clock.steps + 1, steps);
    let held = match &parts.pool.grouped {
        None => kv::held_blocks(parts.pool) as f64 + (taken(first) + taken(until - 1)) as f64 / 2.0,
        Some(grouped) => grouped.held[steps].iter().sum::<u64>() as f64 / count as f64,
    };
    // Epochs with sequences apart are single steps.
    let apart = if first == 0 { parts.batch.decode_context_apart() } else { 0 };
    let context = summed_context(parts.running, until) - summed_context(parts.running, first) + apart;
    let work = parts.cost.price().work_over(count, context);
    let span_s = to.since(from).as_secs_f64();
    // Those that were delivered while the steps ran wait too, though only the boundary sees them.
    let delivered =
        parts.queues.in_transit.iter().map(|&(delivered, _)| delivered).take_while(|&delivered| delivered <= to);
    let delivered_s: f64 = delivered.map(|delivered| to.since(delivered.max(from)).as_secs_f64()).sum();
    let mut sums = IntervalSums {
        running_s: f64::from(parts.running.count) * span_s,
        waiting_s: f64::from(parts.waiting_or_loading()) * span_s + delivered_s,
        kv_use_s: held / parts.pool.total as f64 * span_s,
        steps: count as f64,
        output_tokens: f64::from(parts.running.decodes) * count as f64,
        busy_s: span_s,
        ..IntervalSums::default()
    };
    sums.add_work(&work);
    (sums, work)
}
