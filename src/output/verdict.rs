//! Whether a deployment keeps up with its load, and what limits it.
//!
//! **Closed loops.** A client that sends when an answer came sends no more than is answered: whether that keeps up has no
//! meaning, and the verdict says what comes of it instead. So it is with a client that holds requests back, where it holds
//! back more than [`MOST_HELD_BACK`] of them: the queue that would grow is the client's own.
//!
//! **Keeps up.** Else the number of requests in the system is looked at (`backlog`); a client that gives up is a request that was
//! not served, however short the queue is. In this order:
//! 1. no request arrived: there is nothing to tell; clients gave up on more than [`MOST_GIVEN_UP`] of the requests, or engines refused as many (full, or too long for them): it does not;
//! 2. the number of requests grows: it does not, unless answers are so long ([`LONG_ANSWER`]) that the system was still filling;
//! 3. it returns to its mean, or the queue of no engine was held back for half of a load that is longer than a few answers, and no
//!    link was busy all the time: it does;
//! 4. else nobody can tell from a run of this length.
//!
//! **Limits.** Each engine's time is divided by what held its waiting queue back ([`Hold`]), and its steps by what bound them:
//! the roof nearest to which they came (compute, where the vision encoder takes most of the time), the host where its own work
//! does, else what is neither: launches, collectives, and the latency of small kernels.

use oracle_components::device::Efficiency;
use oracle_components::record::{EngineTotals, Hold, Outcome, StepTotals};
use oracle_components::scenario::{EngineSpec, Scenario};
use oracle_systems::costing::peak_flops;

use super::backlog::BacklogTrend;
use super::plan::PlacesPlan;
use crate::workload::HeldBackTotals;

/// The vision encoder bounds steps of which it takes more than this share.
const ENCODER_IN_STEPS: f64 = 0.5;

/// Clients that give up on more than this share of the requests say that a deployment does not keep up.
const MOST_GIVEN_UP: f64 = 0.01;
/// A client that holds back more than this share of the requests is at its limit.
const MOST_HELD_BACK: f64 = 0.01;
/// Share of the load's time that it takes to compute an answer, at which an empty system has not filled by half of it.
const LONG_ANSWER: f64 = 0.25;
/// Share of the load's time for which the queue of an engine may be held back without a further look.
const SELDOM: f64 = 0.5;
/// Share of the time for which a link that limits carries bytes.
const BUSY_LINK: f64 = 0.9;
/// Share of a step that is the host's where that binds it: beside the GPU's time, and in its shadow.
const HOST_BESIDE: f64 = 0.5;
const HOST_IN_SHADOW: f64 = 0.95;
/// Steps that come no nearer to a roof are bound by neither.
const FAR_FROM_ROOFS: f64 = 0.2;

/// What limits a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Nothing: no more requests came.
    ArrivalRate,
    /// What the clients of a closed loop, or a client with a limit, have in flight at most.
    Clients,
    /// `max_num_seqs`.
    Seats,
    /// `max_num_batched_tokens`.
    TokenBudget,
    /// The KV pool.
    KvCache,
    /// A link.
    Links,
    /// FLOP/s.
    Compute,
    /// Memory bandwidth.
    MemoryBandwidth,
    /// The host's own work.
    Host,
    /// Launches, collectives, small kernels.
    Latency,
    /// The engines' own limits on what they let in.
    Refusals,
    /// No step ran.
    Nothing,
}

impl Limit {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::ArrivalRate => "the arrival rate",
            Self::Clients => "what clients have in flight",
            Self::Seats => "seats (max_num_seqs)",
            Self::TokenBudget => "the token budget (max_num_batched_tokens)",
            Self::KvCache => "the KV cache",
            Self::Links => "a link",
            Self::Compute => "compute",
            Self::MemoryBandwidth => "memory bandwidth",
            Self::Host => "the host",
            Self::Latency => "launches and latencies",
            Self::Refusals => "what the engines refuse",
            Self::Nothing => "nothing that ran",
        }
    }
}

/// Why a verdict is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ground {
    /// The next request comes when one is answered, so that none comes too early.
    ClosedLoop,
    /// The client held requests back that the system might not have kept up with.
    ClientHeldBack,
    /// Clients gave up.
    ClientsGaveUp,
    /// Requests were refused: a full server (`max_num_queued_reqs`), or too long for the engine.
    Refused,
    /// The number of requests in the system grows.
    BacklogGrows,
    /// It grows, but the system was still filling.
    StillFilling,
    /// It returns to its mean.
    BacklogReturns,
    /// The queue was seldom held back.
    SeldomHeldBack,
    /// No request arrived, or none after the warm-up.
    NothingOffered,
    /// None of these.
    TooShort,
}

/// Whether a deployment keeps up, and what limits it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Verdict {
    /// `null` where the run does not tell.
    pub keeps_up: Option<bool>,
    /// Why.
    pub ground: Ground,
    /// All requests came at once, and were offered until the last was answered; absent if they did not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all_at_once: bool,
    /// Requests that arrived after the warm-up and while the load was offered, a second.
    pub offered_requests_per_s: f64,
    /// Requests that were completed in that time, a second.
    pub completed_requests_per_s: f64,
    /// Share of the requests whose clients gave up.
    pub gave_up: f64,
    /// Share of the requests that were refused; absent if none was.
    #[serde(skip_serializing_if = "is_zero")]
    pub refused: f64,
    /// What clients with a limit have in flight; absent without a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<InFlightSummary>,
    /// The number of requests in the system; absent if too few came, or all at once, or where clients limit it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog: Option<BacklogTrend>,
    /// What limits it.
    pub limited_by: Limit,
    /// What binds most of its steps.
    pub steps_bound_by: Limit,
    /// How the engines' time divides: means over engines, shares of the run.
    pub engine_time: EngineTime,
    /// The link that carried bytes for longest; absent without links.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busiest_link: Option<BusiestLink>,
}

/// Clients with a limit.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct InFlightSummary {
    /// Sessions that there are at once, at most.
    pub most_sessions: u32,
    /// Requests that were in flight while the load was offered, on average.
    pub mean_requests: f64,
    /// What was sent later than it was due, over the whole run; absent in a closed loop, where nothing is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBackSummary>,
}

/// Requests that a client held back. Those that it had not sent when the run ended are not among them.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct HeldBackSummary {
    /// Share of the requests that were sent.
    pub share: f64,
    /// For how long each, on average.
    pub mean_s: f64,
    /// At most.
    pub longest_s: f64,
}

impl InFlightSummary {
    pub(super) fn new(places: PlacesPlan, held: HeldBackTotals, mean_requests: f64) -> Self {
        let per = |part: f64, whole: u64| if whole > 0 { part / whole as f64 } else { 0.0 };
        let held_back = HeldBackSummary {
            share: per(held.requests as f64, held.sent),
            mean_s: per(held.seconds, held.requests),
            longest_s: held.longest_s,
        };
        Self { most_sessions: places.count, mean_requests, held_back: (!places.is_closed).then_some(held_back) }
    }

    /// Why that says nothing of whether a deployment keeps up, if it does not.
    fn ground(&self) -> Option<Ground> {
        match self.held_back {
            None => Some(Ground::ClosedLoop),
            Some(held) => (held.share > MOST_HELD_BACK).then_some(Ground::ClientHeldBack),
        }
    }
}

/// How the time of engines divides: `idle`, and steps, by what held the waiting queue back meanwhile; and the steps again, by
/// what bound them.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct EngineTime {
    /// No step ran.
    pub idle: f64,
    /// Nothing held the queue back.
    pub free: f64,
    /// As many sequences ran as may.
    pub seats: f64,
    /// The step's tokens were used up.
    pub token_budget: f64,
    /// There were no blocks for the head of the queue.
    pub kv_cache: f64,
    /// Steps bound by FLOP/s.
    pub compute: f64,
    /// Steps bound by memory bandwidth.
    pub memory_bandwidth: f64,
    /// Steps bound by the host.
    pub host: f64,
    /// Steps bound by neither.
    pub latency: f64,
    /// For how long the queue of the engine that was held back most was, as a share of the time in which the load was offered.
    pub most_held_back: f64,
}

/// A link and its share of the time.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct BusiestLink {
    /// Its name.
    pub name: String,
    /// Share of the run in which it carried bytes.
    pub busy: f64,
}

/// Steps of a kind, over the whole run.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct StepSummary {
    /// Steps that ended.
    pub steps: u64,
    /// Share of the run in which they ran.
    pub busy: f64,
    /// FLOPs done over what the engine's GPUs do at their peak in the time of these steps.
    pub mfu: f64,
    /// Bytes moved over what their memory moves in that time.
    pub mbu: f64,
}

fn is_zero(share: &f64) -> bool {
    *share == 0.0
}

/// What a verdict on a load needs to know of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoadFigures {
    /// Requests that arrived after the warm-up.
    pub(super) requests: u64,
    /// Share of the load's time for which the busiest link carried bytes: all of these, if it had not done by its end.
    pub(super) link_busy: f64,
    pub(super) at_once: bool,
    pub(super) offered_per_s: f64,
    pub(super) completed_per_s: f64,
    pub(super) gave_up: f64,
    pub(super) refused: f64,
    /// Time from the first computed token to the end of an answer, over that in which the load was offered.
    pub(super) answer_share: f64,
    pub(super) offered_s: f64,
}

/// The verdict on a run.
pub(super) fn verdict(
    scenario: &Scenario,
    outcome: &Outcome,
    load: LoadFigures,
    in_flight: Option<InFlightSummary>,
    backlog: Option<BacklogTrend>,
    busiest_link: Option<BusiestLink>,
) -> Verdict {
    let engine_time = engine_time(scenario, outcome, load.offered_s);
    let by_clients = in_flight.and_then(|in_flight| in_flight.ground());
    let (keeps_up, ground) = match (by_clients, keeps_up(&load, backlog.as_ref(), engine_time.most_held_back)) {
        // Who gives up or is refused was sent.
        (Some(_), lost @ (_, Ground::Refused)) => lost,
        (Some(Ground::ClientHeldBack), lost @ (_, Ground::ClientsGaveUp)) => lost,
        (Some(ground), _) => (None, ground),
        (None, told) => told,
    };
    let backlog = backlog.filter(|_| by_clients != Some(ground));
    let steps_bound_by = steps_bound_by(&engine_time);
    let holds = [engine_time.seats, engine_time.token_budget, engine_time.kv_cache];
    let holding = most([Limit::Seats, Limit::TokenBudget, Limit::KvCache], holds);
    // A closed loop sends the next request for each that is refused, as fast as links let it.
    let loops_by_refusals = by_clients.is_some() && ground == Ground::Refused;
    let limited_by = if loops_by_refusals {
        Limit::Refusals
    } else if load.link_busy >= BUSY_LINK {
        Limit::Links
    } else if engine_time.most_held_back >= SELDOM {
        // More tokens a step would make such steps as much longer.
        let is_of_no_use = (holding, steps_bound_by) == (Limit::TokenBudget, Limit::Compute);
        if is_of_no_use { Limit::Compute } else { holding }
    } else if ground == Ground::Refused {
        Limit::Refusals
    } else if keeps_up == Some(false) {
        steps_bound_by
    } else if by_clients.is_some() {
        Limit::Clients
    } else {
        Limit::ArrivalRate
    };
    Verdict {
        keeps_up,
        ground,
        all_at_once: load.at_once,
        offered_requests_per_s: load.offered_per_s,
        completed_requests_per_s: load.completed_per_s,
        gave_up: load.gave_up,
        refused: load.refused,
        in_flight,
        backlog,
        limited_by,
        steps_bound_by,
        engine_time,
        busiest_link,
    }
}

fn keeps_up(load: &LoadFigures, backlog: Option<&BacklogTrend>, most_held_back: f64) -> (Option<bool>, Ground) {
    let is_seldom_held_back = most_held_back < SELDOM && load.link_busy < BUSY_LINK;
    let has_long_answers = load.answer_share > LONG_ANSWER;
    if load.requests == 0 {
        (None, Ground::NothingOffered)
    } else if load.gave_up > MOST_GIVEN_UP {
        (Some(false), Ground::ClientsGaveUp)
    } else if load.refused > MOST_GIVEN_UP {
        (Some(false), Ground::Refused)
    } else if backlog.is_some_and(BacklogTrend::grows) {
        if is_seldom_held_back && has_long_answers {
            (None, Ground::StillFilling)
        } else {
            (Some(false), Ground::BacklogGrows)
        }
    } else if backlog.is_some_and(BacklogTrend::returns) {
        (Some(true), Ground::BacklogReturns)
    } else if is_seldom_held_back && !load.at_once && (has_long_answers || load.completed_per_s == 0.0) {
        (None, Ground::StillFilling)
    } else if is_seldom_held_back {
        (Some(true), Ground::SeldomHeldBack)
    } else {
        (None, Ground::TooShort)
    }
}

fn steps_bound_by(time: &EngineTime) -> Limit {
    most(
        [Limit::Compute, Limit::MemoryBandwidth, Limit::Host, Limit::Latency],
        [time.compute, time.memory_bandwidth, time.host, time.latency],
    )
}

/// The first of those with the largest share.
fn most<const N: usize>(limits: [Limit; N], shares: [f64; N]) -> Limit {
    let largest = shares.iter().copied().fold(0.0, f64::max);
    let first = shares.iter().position(|&share| share >= largest).filter(|_| largest > 0.0);
    first.map_or(Limit::Nothing, |first| limits[first])
}

fn engine_time(scenario: &Scenario, outcome: &Outcome, offered_s: f64) -> EngineTime {
    let (engines, end_s) = (scenario.engines.len() as f64, outcome.end.as_secs_f64());
    let mut time = EngineTime::default();
    if end_s == 0.0 {
        return time;
    }
    for (engine, totals) in scenario.engines.iter().zip(&outcome.engines) {
        let share = |seconds: f64| seconds / end_s / engines;
        let held_s = totals.held.map(|held| held.as_secs_f64());
        let (busy_s, all_held_s) = (totals.busy.as_secs_f64(), held_s.iter().sum::<f64>());
        time.idle += share((end_s - busy_s).max(0.0));
        time.free += share((busy_s - all_held_s).max(0.0));
        time.seats += share(held_s[Hold::Seats as usize]);
        time.token_budget += share(held_s[Hold::TokenBudget as usize]);
        time.kv_cache += share(held_s[Hold::KvCache as usize]);
        if offered_s > 0.0 {
            time.most_held_back = time.most_held_back.max((all_held_s / offered_s).min(1.0));
        }
        let encoder_s = encoder_s(engine, totals);
        for (steps, encoder_s) in [(&totals.prefill, encoder_s), (&totals.decode, 0.0)] {
            let is_encoding = encoder_s > ENCODER_IN_STEPS * steps.busy.as_secs_f64();
            *match if is_encoding { Limit::Compute } else { bound(scenario, engine, totals, steps) } {
                Limit::Compute => &mut time.compute,
                Limit::MemoryBandwidth => &mut time.memory_bandwidth,
                Limit::Host => &mut time.host,
                _ => &mut time.latency,
            } += share(steps.busy.as_secs_f64());
        }
    }
    time
}

/// What bound the steps of a kind.
fn bound(scenario: &Scenario, engine: &EngineSpec, totals: &EngineTotals, steps: &StepTotals) -> Limit {
    let host_share = if engine.scheduler.async_scheduling { HOST_IN_SHADOW } else { HOST_BESIDE };
    if host_s(engine, totals) > host_share * totals.busy.as_secs_f64() {
        return Limit::Host;
    }
    let (mfu, mbu) = utilisation(scenario, engine, steps);
    if mfu.max(mbu) < FAR_FROM_ROOFS {
        return Limit::Latency;
    }
    let (most_mfu, most_mbu) = match efficiency(scenario, engine) {
        Efficiency::Constant { mfu, mbu } => (*mfu, *mbu),
        Efficiency::Curve(_) | Efficiency::Table(..) => (1.0, 1.0),
    };
    if mfu / most_mfu > mbu / most_mbu { Limit::Compute } else { Limit::MemoryBandwidth }
}

fn efficiency<'a>(scenario: &'a Scenario, engine: &'a EngineSpec) -> &'a Efficiency {
    engine.efficiency.as_ref().unwrap_or(&scenario.gpus[engine.gpus[0] as usize].efficiency)
}

/// The vision encoder's time in an engine's steps, which is in none of their FLOPs.
pub(super) fn encoder_s(engine: &EngineSpec, totals: &EngineTotals) -> f64 {
    engine.encoder_s_per_token * totals.encoder_tokens as f64
}

/// The host's time in an engine's steps, at least: a chunk that completes no prompt is a sequence more.
fn host_s(engine: &EngineSpec, totals: &EngineTotals) -> f64 {
    let sequences = totals.output_tokens.max(totals.prefill.steps) as f64;
    engine.step_overhead_s * totals.steps as f64 + engine.sequence_overhead_s * sequences
}

/// Share of the FLOP/s and of the bandwidth that an engine has, in its steps of a kind: those of its slowest GPU.
fn utilisation(scenario: &Scenario, engine: &EngineSpec, steps: &StepTotals) -> (f64, f64) {
    let devices = || engine.gpus.iter().map(|&gpu| &scenario.gpus[gpu as usize].device);
    let flops = devices().map(|device| peak_flops(device, &engine.model)).fold(f64::INFINITY, f64::min);
    let bytes = devices().map(|device| device.memory_bytes_per_s).fold(f64::INFINITY, f64::min);
    let seconds = steps.busy.as_secs_f64() * engine.gpu_share;
    if seconds == 0.0 { (0.0, 0.0) } else { (steps.flops / (flops * seconds), steps.bytes / (bytes * seconds)) }
}

/// Steps of a kind of an engine in a run that ended at `end_s`.
pub(super) fn step_summary(scenario: &Scenario, engine: &EngineSpec, steps: &StepTotals, end_s: f64) -> StepSummary {
    let (mfu, mbu) = utilisation(scenario, engine, steps);
    let busy = if end_s > 0.0 { steps.busy.as_secs_f64() / end_s } else { 0.0 };
    StepSummary { steps: steps.steps, busy, mfu, mbu }
}
