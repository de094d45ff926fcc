//! The stutter test: epochs of one step, and cut at random boundaries, leave every record, gap and total as epochs that run as far
//! as they can. It checks a batch policy without a second engine.

use std::cell::Cell;

use oracle_components::SimTime;
use oracle_systems::{BatchPolicy, Boundary, EpochCuts, Simulation, Standing, Vllm};
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

use crate::alike::{Ledger, same};
use crate::naive::cases::Case;
use crate::naive::strategy::case;
use crate::{SMALL, run};

/// How many cases run three times.
const CASES: u32 = 300;

/// Whether the runs of a case agree under a policy.
fn stutters_alike<P: BatchPolicy + Copy>(case: &Case, policy: P) -> Result<(), TestCaseError> {
    let simulation = |cuts| {
        let simulation = Simulation::new(case.scenario(), Box::new(case.source()), Ledger::default());
        run(simulation.with_batch_policy(policy).with_epoch_cuts(cuts))
    };
    let (outcome, whole) = simulation(EpochCuts::AsNeeded);
    for cuts in [EpochCuts::EveryStep, EpochCuts::AtRandom(1), EpochCuts::AtRandom(2)] {
        let (cut_outcome, cut) = simulation(cuts);
        same("records, with cut epochs", &whole.records, &cut.records)?;
        same("gaps, with cut epochs", &whole.gaps, &cut.gaps)?;
        same("engines, with cut epochs", &outcome.engines, &cut_outcome.engines)?;
        same("end, with cut epochs", &outcome.end, &cut_outcome.end)?;
    }
    Ok(())
}

fn runner() -> TestRunner {
    let config = Config { cases: CASES, rng_seed: RngSeed::Fixed(5), failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
}

#[test]
fn vllm_stutters_alike() {
    runner().run(&case(SMALL), |case| stutters_alike(&case, Vllm)).unwrap_or_else(|error| panic!("{error}"));
}

/// Says that a batch stands for longer than it does.
#[derive(Clone, Copy)]
struct Late;

impl BatchPolicy for Late {
    type Memory = ();

    fn form(&self, memory: &mut (), boundary: &mut Boundary<'_, '_>) -> Standing {
        let _ = Vllm.form(memory, boundary);
        Standing { steps: u64::MAX, until: SimTime::NEVER, sees_deliveries: false }
    }
}

#[test]
fn a_policy_that_says_too_late_when_its_batch_may_change_stutters() {
    let differing = Cell::new(0);
    let outcome = runner().run(&case(SMALL), |case| {
        differing.set(differing.get() + u32::from(stutters_alike(&case, Late).is_err()));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(differing.get() > 0, "no case of {CASES} tells");
}
