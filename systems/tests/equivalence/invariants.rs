//! What `violations` finds: nothing in a run at its limits, and whatever is beyond one of them.

use std::ops::ControlFlow;

use oracle_components::SimTime;
use oracle_components::record::{Outcome, Stop};
use oracle_components::scenario::Scenario;
use oracle_systems::Simulation;
use oracle_systems::costing::gpu_peak_flops;
use oracle_systems::invariants::violations;

use crate::alike::Ledger;
use crate::naive::hand_worked::{List, request};
use crate::naive::scenes::{ROOMY, Ranks, add_engine, empty_scenario, link};

/// Two GPUs with a ring of two links, between a link from the client and one to it; one request has been served.
fn served() -> (Scenario, Outcome) {
    let mut scenario = empty_scenario();
    let ranks = Ranks { tensor: 2, ..Ranks::ONE };
    let engine = add_engine(&mut scenario, ROOMY, 10, ranks);
    (engine.ingress, engine.egress) = (vec![2], vec![3]);
    scenario.links.extend([link("in", 1e3, 0.5), link("out", 1e3, 0.5)]);
    let source = List::new(vec![request(SimTime::ZERO, 10, 3)]);
    let mut simulation = Simulation::new(scenario.clone(), Box::new(source), Ledger::default());
    let outcome = simulation.run(|_| ControlFlow::Continue(()));
    assert_eq!((outcome.stop, outcome.arrived), (Stop::Drained, 1));
    (scenario, outcome)
}

/// What rounding may add to the time of a GPU or a link: 1 µs and 1 ns a second.
fn slack(time: SimTime) -> SimTime {
    SimTime(1_000 + time.0 / 1_000_000_000)
}

#[test]
fn a_run_at_its_limits_violates_nothing_and_one_beyond_any_does() {
    let (scenario, mut at_limits) = served();
    assert_eq!(violations(&scenario, &at_limits), Vec::<String>::new());
    at_limits.end = SimTime(10_000_000_000);
    let end = at_limits.end;
    let end_s = end.as_secs_f64();
    let peaks = gpu_peak_flops(&scenario);
    let engine = &mut at_limits.engines[0];
    (engine.blocks_allocated, engine.blocks_freed, engine.blocks_peak) = (7, 7, 10);
    (engine.busy, engine.steps, engine.running_peak) = (end, 3, 64);
    (engine.prefill.busy, engine.decode.busy, engine.held) = (SimTime::ZERO, end, [SimTime::ZERO, SimTime::ZERO, end]);
    (engine.prefill_tokens, engine.output_tokens) = (3 * 512, 3 * 64);
    let rounded_up = 1.0 + 0.9e-9;
    for (gpu, peak) in at_limits.gpus.iter_mut().zip(&peaks) {
        gpu.busy = end + slack(end);
        (gpu.flops, gpu.bytes) = (peak * end_s * rounded_up, 2e9 * end_s * rounded_up);
    }
    for link in &mut at_limits.links {
        link.busy = end + slack(end);
    }
    assert_eq!(violations(&scenario, &at_limits), Vec::<String>::new());

    type Excess = fn(&mut Outcome);
    let excesses: [(&str, Excess); 20] = [
        ("a request that has not ended", |outcome| outcome.arrived += 1),
        ("a request that never arrived", |outcome| outcome.ended[0] += 1),
        ("an engine without totals", |outcome| outcome.engines.clear()),
        ("a GPU without totals", |outcome| outcome.gpus.truncate(1)),
        ("a link without totals", |outcome| outcome.links.truncate(3)),
        ("a block that is not given back", |outcome| outcome.engines[0].blocks_allocated += 1),
        ("a block that was not given", |outcome| outcome.engines[0].blocks_freed += 1),
        ("an engine that is busy for too long", |outcome| {
            outcome.engines[0].busy += SimTime(1);
            outcome.engines[0].decode.busy += SimTime(1);
        }),
        ("a step of no kind", |outcome| outcome.engines[0].decode.steps -= 1),
        ("a queue that is held back for too long", |outcome| outcome.engines[0].held[0] += SimTime(1)),
        ("a block that does not exist", |outcome| outcome.engines[0].blocks_peak += 1),
        ("a sequence without a seat", |outcome| outcome.engines[0].running_peak += 1),
        ("a prompt's token beyond the budgets", |outcome| outcome.engines[0].prefill_tokens += 1),
        ("an output token beyond the seats", |outcome| outcome.engines[0].output_tokens += 1),
        ("a GPU that is busy for too long", |outcome| outcome.gpus[1].busy += SimTime(1)),
        ("more FLOPs than the peak allows", |outcome| outcome.gpus[1].flops *= 1.0 + 3e-9),
        ("more bytes than the bandwidth allows", |outcome| outcome.gpus[1].bytes *= 1.0 + 3e-9),
        ("a hop that carries for too long", |outcome| outcome.links[1].busy += SimTime(1)),
        ("a way in that carries for too long", |outcome| outcome.links[2].busy += SimTime(1)),
        ("a way out that carries for too long", |outcome| outcome.links[3].busy += SimTime(1)),
    ];
    for (what, exceed) in excesses {
        let mut beyond = at_limits.clone();
        exceed(&mut beyond);
        assert_eq!(violations(&scenario, &beyond).len(), 1, "{what}");
    }
}
