//! Tokens on their way to experts that are on other engines' ranks, and results on their way back.
//!
//! `D` engines of `N` ranks share a layer's experts, which are whole on one of `R = D·N` ranks each. A step of one engine
//! is taken to go with equal steps of `T` tokens of the others. A vector has `h` bytes. A layer takes, beside the
//! all-reduces among an engine's own ranks:
//! - by all-gather (vLLM's default): an all-gather to `D·T·h` bytes among the `D` engines, and a reduce-scatter of as many;
//! - by all-to-all (DeepEP): each rank sends its `T/N` tokens to the ranks that have their experts, once a rank. `k` experts
//!   of uniform routing are on `R·(1 − (1 − 1/R)^k)` ranks, the own among them. As many vectors come back. The last
//!   all-reduce among an engine's ranks is then an all-gather, and no slower, so it is left as it is.

use oracle_components::scenario::{EngineSpec, ExpertExchange, ExpertParallel, Scenario};

use super::collectives::Ring;
use super::shape::Feature;
use super::timing::{Collective, Contention, GroupTimings, Timing};
use super::traffic::hidden_bytes;

/// The ranks that share the experts, those of other engines among them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ExpertGroup {
    there: Timing,
    back: Timing,
    bytes_per_token: f64,
    /// Bytes that leave a rank in a layer, there and back, for each token of its engine.
    sent_bytes_per_token: f64,
}

impl ExpertGroup {
    /// `None` where no other engine has experts of this one.
    pub(crate) fn of_engine(engine: &EngineSpec, scenario: &Scenario) -> Option<Self> {
        let experts = engine.expert_parallel.as_ref().filter(|experts| experts.data_parallel > 1)?;
        let engines = f64::from(experts.data_parallel);
        let ranks = engines * f64::from(engine.tensor_parallel.max(1));
        Some(match experts.exchange {
            ExpertExchange::AllGather => {
                // Each of an engine's ranks gathers from its like on the others, all over the same adapters.
                let groups = ranks / engines;
                let timings = timings(experts, experts.data_parallel, groups, scenario);
                let bytes_per_token = engines * hidden_bytes(engine);
                Self {
                    there: timings.all_gather,
                    back: timings.reduce_scatter,
                    bytes_per_token,
                    sent_bytes_per_token: 2.0 * bytes_per_token * (engines - 1.0) / engines,
                }
            }
            ExpertExchange::AllToAll => {
                let timings = timings(experts, ranks as u32, 1.0, scenario);
                let chosen = engine.model.experts().map_or(0, |experts| experts.per_token);
                let reached = ranks * (1.0 - (1.0 - 1.0 / ranks).powi(chosen as i32));
                let own_tokens = engines / ranks;
                let bytes_per_token = own_tokens * reached * hidden_bytes(engine);
                Self {
                    there: timings.all_to_all,
                    back: timings.all_to_all,
                    bytes_per_token,
                    sent_bytes_per_token: 2.0 * bytes_per_token * (ranks - 1.0) / ranks,
                }
            }
        })
    }

    /// Bytes that leave each of an engine's ranks in a layer with experts, for each token of the engine.
    pub(crate) fn sent_bytes_per_token(&self) -> f64 {
        self.sent_bytes_per_token
    }
}

fn timings(experts: &ExpertParallel, ranks: u32, groups: f64, scenario: &Scenario) -> GroupTimings {
    let ring = Ring::of_hops(ranks, &experts.hops, scenario);
    match &experts.fabric {
        Some(fabric) => GroupTimings::of_fabric(fabric, &ring, Contention { within: 1.0, between: groups }),
        None => GroupTimings::of_ring(&ring),
    }
}

/// There and back, in each of `layers` layers.
pub(crate) fn expert_exchange(group: &ExpertGroup, layers: f64) -> [Collective; 2] {
    [group.there, group.back].map(|timing| Collective {
        times: layers,
        timing,
        rows: Feature::Tokens,
        bytes_per_row: group.bytes_per_token,
    })
}
