//! How do I route requests by a rule of my own?
//!
//! Implement [`RoutingPolicy`] and give it to [`Simulation::with_routing_policy`]. This is the power of two choices
//! (Mitzenmacher, 2001): of two replicas drawn at random, the one with fewer requests in flight. It asks to know how many are in
//! flight, and says how late it learns of those that have ended.
//!
//! ```text
//! cargo run --example my_router
//! ```

use std::ops::ControlFlow;
use std::path::Path;

use llmperforacle::config::{Overrides, load};
use oracle_components::SimTime;
use oracle_components::record::RequestRecord;
use oracle_components::request::RequestSpec;
use oracle_systems::Simulation;
use oracle_systems::routing::{FleetView, LeastLoaded, RoundRobin, RoutingPolicy, Wants};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// The lesser of two.
pub struct TwoChoices {
    random: Xoshiro256PlusPlus,
    late: SimTime,
}

impl TwoChoices {
    /// Learns so late of what has ended; what was sent where it knows itself.
    pub fn new(late: SimTime) -> Self {
        Self { random: Xoshiro256PlusPlus::seed_from_u64(1), late }
    }
}

impl RoutingPolicy for TwoChoices {
    fn wants(&self) -> Wants {
        Wants { in_flight: Some(self.late), ..Wants::default() }
    }

    fn choose(&mut self, _: &RequestSpec, fleet: &FleetView<'_>) -> usize {
        let [one, other] = [(); 2].map(|()| self.random.random_range(0..fleet.len()));
        if fleet.in_flight(other) < fleet.in_flight(one) { other } else { one }
    }
}

/// Time to first token of a run, in milliseconds.
pub struct Ttft {
    /// By which policy requests were routed.
    pub policy: &'static str,
    /// Half of the requests wait no longer.
    pub p50_ms: f64,
    /// 99 % of them wait no longer.
    pub p99_ms: f64,
}

/// Runs a scenario of this repository with eight replicas of 16 slots each, nine tenths of which are taken on average.
fn run(policy: &'static str, routing: impl RoutingPolicy + 'static) -> Ttft {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/scenarios/million-64-replicas.yaml");
    let set = [
        "workload.total_requests_to_generate=10_000",
        "workload.client_profiles[0].inter_arrival_time_dist_config.rate=120",
        "frameworks_to_test[0].replicas=8",
        "frameworks_to_test[0].config.max_num_seqs=16",
    ];
    let overrides = Overrides { set: set.map(String::from).into(), ..Overrides::default() };
    let resolved = load(&file, &overrides).expect("the scenario is right");
    let (requests, _) = resolved.workload.open().expect("its requests are drawn, not read");
    let mut simulation = Simulation::new(resolved.scenario, requests, Vec::new()).with_routing_policy(routing);
    simulation.run(|_| ControlFlow::Continue(()));
    let records = simulation.into_sink();
    let mut ttft: Vec<SimTime> = records.iter().filter_map(RequestRecord::ttft).collect();
    ttft.sort_unstable();
    let percentile = |percent: usize| ttft[ttft.len() * percent / 100].as_millis_f64();
    Ttft { policy, p50_ms: percentile(50), p99_ms: percentile(99) }
}

/// Shipped policies, and one's own.
///
/// A replica that is full makes its next request wait though others have slots. In turn, that happens often; to look at two replicas
/// helps nearly as much as to look at all, and 50 ms do not matter where an answer takes a second. What is known 5 s late, several
/// answers after, still tells who was given too much, but hardly who is done with it.
pub fn compare() -> Vec<Ttft> {
    vec![
        run("round robin", RoundRobin::default()),
        run("least loaded", LeastLoaded),
        run("two choices", TwoChoices::new(SimTime::ZERO)),
        run("two choices, 50 ms late", TwoChoices::new(SimTime(50_000_000))),
        run("two choices, 5 s late", TwoChoices::new(SimTime(5_000_000_000))),
    ]
}

fn main() {
    println!("{:<24}{:>13}{:>13}", "", "TTFT p50 ms", "TTFT p99 ms");
    for Ttft { policy, p50_ms, p99_ms } in compare() {
        println!("{policy:<24}{p50_ms:>13.1}{p99_ms:>13.1}");
    }
}
