//! The naive engine against queueing theory.

use oracle_components::SimTime;
use oracle_components::request::RequestSpec;
use oracle_components::scenario::SchedulerSpec;
use oracle_systems::ports::RequestSource;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::run;
use super::scenes::{ROOMY, Ranks, add_engine, empty_scenario};

/// Requests of a Poisson process, each of one token in and one out.
struct Poisson {
    left: u32,
    clock: f64,
    mean_gap_ns: f64,
    random: Xoshiro256PlusPlus,
}

impl RequestSource for Poisson {
    fn next_request(&mut self) -> Option<RequestSpec> {
        self.left = self.left.checked_sub(1)?;
        let uniform: f64 = self.random.random();
        self.clock -= (1.0 - uniform).ln() * self.mean_gap_ns;
        Some(RequestSpec {
            arrival: SimTime(self.clock as u64),
            profile: 0,
            client: 0,
            session: u64::from(self.left),
            turn: 0,
            prompt_tokens: 1,
            encoder_tokens: 0,
            max_output_tokens: 1,
            output_tokens: 1,
            priority: 0,
            streaming: false,
            timeout: SimTime::NEVER,
            prefix: Vec::new(),
            tail_key: 0,
        })
    }
}

/// One slot and equal steps make an engine an M/D/1 queue: the mean wait is ρ/(2(1 − ρ)) services (Pollaczek,
/// Khinchine).
#[test]
fn one_seat_waits_as_pollaczek_and_khinchine_say() {
    let mut scenario = empty_scenario();
    let scheduler = SchedulerSpec { max_num_seqs: 1, ..ROOMY };
    add_engine(&mut scenario, scheduler, 1, Ranks::ONE);
    for (seed, load) in [(1, 0.3), (2, 0.6)] {
        let mut alone = Poisson { left: 1, clock: 0.0, mean_gap_ns: 1.0, random: Xoshiro256PlusPlus::seed_from_u64(0) };
        let service = run(&scenario, &mut alone).engines[0].busy.0 as f64;
        let mut source = Poisson {
            left: 100_000,
            clock: 0.0,
            mean_gap_ns: service / load,
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
        };
        let outcome = run(&scenario, &mut source);
        let waits = outcome.records.iter().map(|record| {
            let scheduled = record.scheduled.expect("all are served");
            scheduled.since(record.arrival).0 as f64
        });
        let mean = waits.sum::<f64>() / outcome.records.len() as f64;
        let expected = service * load / (2.0 * (1.0 - load));
        assert!((mean / expected - 1.0).abs() < 0.05, "load {load}: mean wait {mean} ns, expected {expected} ns");
    }
}
