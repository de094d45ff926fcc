//! The router: where a policy decides against the naive one, where chance decides by the laws of chance.

use oracle_components::scenario::{EngineIndex, Role, Routing, Scenario};
use oracle_systems::routing::Router;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::naive::routing::{NaiveRouter, decide};
use crate::naive::scenes::{ROOMY, Ranks, add_engine, empty_scenario};

/// Draws that a share is counted over.
const DRAWS: u32 = 20_000;
/// A share is off by more than this many standard deviations once in millions of times; the seeds are fixed.
const DEVIATIONS: f64 = 5.0;

/// A scenario of engines with these roles and weights, and one policy for both routers.
fn scenario(engines: &[(Role, f64)], policy: Routing, seed: u64) -> Scenario {
    let mut scenario = Scenario { routing: policy, decode_routing: policy, seed, ..empty_scenario() };
    for &(role, weight) in engines {
        let engine = add_engine(&mut scenario, ROOMY, 10, Ranks::ONE);
        engine.role = role;
        engine.weight = weight;
    }
    scenario
}

/// Where the router of arrivals sends so many requests, and where that of handoffs does.
fn draws(scenario: &Scenario, times: u32) -> [Vec<EngineIndex>; 2] {
    let loads = vec![0; scenario.engines.len()];
    [Router::of_arrivals(scenario), Router::of_handoffs(scenario)]
        .map(|mut router| (0..times).map(|_| decide(&mut router, 0, &loads)).collect())
}

fn assert_share(chosen: &[EngineIndex], engine: EngineIndex, share: f64) {
    let (count, all) = (chosen.iter().filter(|&&one| one == engine).count() as f64, chosen.len() as f64);
    let deviation = (all * share * (1.0 - share)).sqrt();
    let off = (count - all * share).abs();
    assert!(off <= DEVIATIONS * deviation, "engine {engine}: {count} of {all}, expected a share of {share}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// Both routers, over any engines and whatever their loads.
    #[test]
    fn policies_that_decide_go_where_the_naive_ones_do(
        policy in select(vec![Routing::RoundRobin, Routing::LeastLoaded, Routing::SessionAffinity]),
        others in vec(select(vec![Role::Both, Role::Prefill, Role::Decode]), 0..=4),
        decode_first in any::<bool>(),
        requests in vec((0..12_u64, prop::array::uniform6(0..4_u32)), 1..=40),
    ) {
        let mut engines: Vec<_> = [Role::Prefill, Role::Decode].into_iter().chain(others).map(|role| (role, 1.0)).collect();
        if decode_first {
            engines.swap(0, 1);
        }
        let scenario = scenario(&engines, policy, 1);
        let mut arrivals = (NaiveRouter::of_arrivals(&scenario), Router::of_arrivals(&scenario));
        let mut handoffs = (NaiveRouter::of_handoffs(&scenario), Router::of_handoffs(&scenario));
        for (session, loads) in requests {
            let loads = &loads[..engines.len()];
            prop_assert_eq!(arrivals.0.route(session, loads), decide(&mut arrivals.1, session, loads));
            prop_assert_eq!(handoffs.0.route(session, loads), decide(&mut handoffs.1, session, loads));
        }
    }
}

/// Of prefill, decode and other engines: each that takes arrivals gets an equal share of them, and none of the others any; the same of
/// handoffs.
#[test]
fn random_gives_equal_shares_to_those_who_take_part() {
    let roles = [Role::Decode, Role::Prefill, Role::Both, Role::Decode, Role::Prefill].map(|role| (role, 1.0));
    let [arrivals, handoffs] = draws(&scenario(&roles, Routing::Random, 1), DRAWS);
    for engine in [1, 2, 4] {
        assert_share(&arrivals, engine, 1.0 / 3.0);
    }
    for engine in [0, 3] {
        assert_share(&handoffs, engine, 1.0 / 2.0);
    }
}

/// Shares are as the weights of those who take part, whatever these sum up to.
#[test]
fn weighted_random_gives_shares_by_weight() {
    let both = |weight| (Role::Both, weight);
    for unit in [0.001, 1.0, 70.0] {
        let engines = [both(1.0 * unit), (Role::Decode, 9.0 * unit), both(3.0 * unit), both(4.0 * unit)];
        let [arrivals, handoffs] = draws(&scenario(&engines, Routing::WeightedRandom, 2), DRAWS);
        for (engine, weight) in [(0, 1.0), (2, 3.0), (3, 4.0)] {
            assert_share(&arrivals, engine, weight / 8.0);
        }
        assert!(handoffs.iter().all(|&engine| engine == 1), "the only one that decodes");
    }
}

/// A draw tells nothing of the next: pairs come as often as their shares say.
#[test]
fn draws_are_independent_of_each_other() {
    let engines = [(Role::Both, 1.0), (Role::Both, 2.0), (Role::Decode, 1.0)];
    for (policy, first) in [(Routing::Random, 1.0 / 2.0), (Routing::WeightedRandom, 1.0 / 3.0)] {
        let [arrivals, _] = draws(&scenario(&engines, policy, 3), DRAWS);
        let pairs: Vec<EngineIndex> = arrivals.chunks_exact(2).map(|pair| 2 * pair[0] + pair[1]).collect();
        let shares = [first * first, first * (1.0 - first), (1.0 - first) * first, (1.0 - first) * (1.0 - first)];
        for (pair, share) in (0..).zip(shares) {
            assert_share(&pairs, pair, share);
        }
    }
}

/// Draws depend on the seed, on each bit of it, and on nothing else; those of arrivals and of handoffs are not the
/// same.
#[test]
fn draws_are_streams_of_their_own() {
    let engines = [(Role::Prefill, 1.0), (Role::Prefill, 1.0), (Role::Decode, 1.0), (Role::Decode, 1.0)];
    let of_seed = |seed| {
        let scenario = scenario(&engines, Routing::Random, seed);
        draws(&scenario, 64)
    };
    let [arrivals, handoffs] = of_seed(0);
    assert_eq!([arrivals.clone(), handoffs.clone()], of_seed(0));
    for bit in 0..64 {
        let [other_arrivals, other_handoffs] = of_seed(1 << bit);
        assert_ne!(arrivals, other_arrivals, "bit {bit}");
        assert_ne!(handoffs, other_handoffs, "bit {bit}");
        let places = |engines: &[EngineIndex]| engines.iter().map(|engine| engine % 2).collect::<Vec<_>>();
        assert_ne!(places(&other_arrivals), places(&other_handoffs), "seed 2^{bit}");
    }
    let mut quiet = Router::of_arrivals(&scenario(&engines, Routing::Random, 0));
    let among_others: Vec<EngineIndex> = (0..64).map(|at| decide(&mut quiet, at, &[at as u32, 7, 0, 1])).collect();
    assert_eq!(arrivals, among_others);
}
