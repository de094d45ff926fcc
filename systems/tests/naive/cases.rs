//! Random scenarios with their requests, as small integers that shrink and print well.

use std::fmt;
use std::sync::Arc;

use oracle_components::SimTime;
use oracle_components::device::Efficiency;
use oracle_components::record::RequestRecord;
use oracle_components::request::{PrefixSegment, RequestSpec};
use oracle_components::scenario::{
    KernelLaunch, LevelOfDetail, PrefixCaching, QueuePolicy, Routing, Scenario, SchedulerSpec,
};
use oracle_systems::ports::{Promises, RequestSource};

use super::scenes::{Ranks, add_engine, empty_scenario, link, made_up_curves};

/// An engine of a case.
#[derive(Clone, Debug)]
pub struct EngineCase {
    pub seats: u32,
    pub budget: u32,
    pub block: u32,
    pub pool_tokens: u32,
    pub chunked: bool,
    pub threshold: Option<u32>,
    pub policy: QueuePolicy,
    pub caching: PrefixCaching,
    pub min_cached: u32,
    pub model_len: u32,
    pub tensor: u32,
    pub pipeline: u32,
    pub ingress: Vec<u32>,
    pub egress: Vec<u32>,
    pub response_bytes: u32,
    pub weight: u32,
    /// Priced by efficiency curves, with CUDA graphs.
    pub by_curve: bool,
}

/// One turn of a session.
#[derive(Clone, Debug)]
pub struct TurnCase {
    pub think: u64,
    pub new_tokens: u32,
    pub output: u32,
}

/// Which tail key the requests of a session carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// None.
    Nameless,
    /// The session's own.
    Own,
    /// That of every session with the same segments that says so too.
    Common,
}

/// A session of a case: its first turn comes on its own, the others when the one before has ended.
#[derive(Clone, Debug)]
pub struct SessionCase {
    pub gap: u64,
    pub path: Vec<u8>,
    pub tail: Tail,
    pub priority: i32,
    pub streaming: bool,
    pub timeout: Option<u64>,
    pub turns: Vec<TurnCase>,
}

/// A scenario and its requests. Times are in units of 0.1 ms.
#[derive(Clone, Debug)]
pub struct Case {
    pub seed: u64,
    pub routing: Routing,
    pub high_detail: bool,
    /// Every step takes a millisecond and all else happens at its multiples: everything coincides.
    pub clockwork: bool,
    pub horizon: Option<u64>,
    /// Bandwidth in bytes and latency in tenths of a millisecond of the links that the engines share.
    pub links: Vec<(u32, u32)>,
    /// Tokens of the segment that a choice at a depth of a path stands for.
    pub segment_tokens: [[u32; 2]; 3],
    pub engines: Vec<EngineCase>,
    pub sessions: Vec<SessionCase>,
}

impl Case {
    fn time(&self, tenths_of_ms: u64) -> SimTime {
        let unit = if self.clockwork { 1_000_000 } else { 100_000 };
        SimTime(tenths_of_ms * unit)
    }

    /// The scenario; the links that engines share come first.
    pub fn scenario(&self) -> Scenario {
        let mut scenario = empty_scenario();
        scenario.seed = self.seed;
        scenario.routing = self.routing;
        scenario.horizon = self.horizon.map(|horizon| self.time(horizon));
        if self.high_detail {
            scenario.level_of_detail = LevelOfDetail::High;
        }
        for (index, &(kilobytes_per_s, latency)) in self.links.iter().enumerate() {
            scenario.links.push(link(
                &format!("shared{index}"),
                f64::from(kilobytes_per_s) * 1e3,
                f64::from(latency) * 1e-4,
            ));
        }
        for engine in &self.engines {
            let ranks = Ranks {
                tensor: engine.tensor,
                pipeline: engine.pipeline,
                prompt_microbatches: None,
                speed: if self.clockwork { 1e9 } else { 1.0 },
            };
            let (scheduler, kv_blocks) = engine.scheduler();
            let spec = add_engine(&mut scenario, scheduler, kv_blocks, ranks);
            spec.ingress.clone_from(&engine.ingress);
            spec.egress.clone_from(&engine.egress);
            spec.response_bytes_per_token = f64::from(engine.response_bytes);
            spec.weight = f64::from(engine.weight);
            // Curves would put clocks out of step.
            if engine.by_curve && !self.clockwork {
                spec.efficiency = Some(Efficiency::Curve(Arc::new(made_up_curves())));
                spec.kernel_launch = KernelLaunch::Graphs([2, 8, 64].into());
            }
            spec.step_overhead_s = if self.clockwork { 1e-3 } else { 2e-5 };
        }
        scenario
    }

    /// Links that prompts and responses cross; those of rings and stages come after them.
    pub fn client_links(&self) -> usize {
        self.links.len()
    }

    /// Its requests.
    pub fn source(&self) -> CaseSource {
        CaseSource { case: self.clone(), next_session: 0, clock: SimTime::ZERO }
    }

    fn prefix(&self, path: &[u8]) -> Vec<PrefixSegment> {
        let mut key = 1;
        let segment = |(depth, &choice): (usize, &u8)| {
            // The key names the whole path from the root, so equal keys mean equal content.
            key = key * 2 + u64::from(choice);
            PrefixSegment { key: 1000 + key, tokens: self.segment_tokens[depth][choice as usize] }
        };
        path.iter().enumerate().map(segment).collect()
    }
}

/// A line for the world, one for each engine and one for each session.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let world = Self { engines: Vec::new(), sessions: Vec::new(), ..self.clone() };
        writeln!(f, "{world:?}")?;
        for engine in &self.engines {
            writeln!(f, "{engine:?}")?;
        }
        for session in &self.sessions {
            writeln!(f, "{session:?}")?;
        }
        Ok(())
    }
}

impl EngineCase {
    fn scheduler(&self) -> (SchedulerSpec, u64) {
        let scheduler = SchedulerSpec {
            max_num_seqs: self.seats.min(self.budget),
            max_num_batched_tokens: self.budget,
            block_tokens: self.block,
            chunked_prefill: self.chunked,
            long_prefill_token_threshold: self.threshold,
            policy: self.policy,
            max_model_len: self.model_len,
            prefix_caching: self.caching,
            min_cached_prefix_tokens: self.min_cached,
        };
        (scheduler, u64::from(self.pool_tokens.div_ceil(self.block)))
    }
}

impl Case {
    /// What its requests never do.
    pub fn promises(&self) -> Promises {
        Promises {
            no_follow_ups: self.sessions.iter().all(|session| session.turns.len() == 1),
            streams_only: self.sessions.iter().all(|session| session.streaming),
        }
    }

    /// Whether nothing but arrivals passes between its engines.
    pub fn is_loose(&self) -> bool {
        self.engines.len() > 1
            && self.routing != Routing::LeastLoaded
            && self.promises() == Promises { no_follow_ups: true, streams_only: true }
    }
}

/// The requests of a case.
pub struct CaseSource {
    case: Case,
    next_session: usize,
    clock: SimTime,
}

impl RequestSource for CaseSource {
    fn next_request(&mut self) -> Option<RequestSpec> {
        let index = self.next_session;
        let session = self.case.sessions.get(index)?;
        self.next_session += 1;
        self.clock += self.case.time(session.gap);
        let first = &session.turns[0];
        let prefix = self.case.prefix(&session.path);
        let shared: u32 = prefix.iter().map(|segment| segment.tokens).sum();
        let path_key = prefix.last().map_or(0, |segment| segment.key);
        Some(RequestSpec {
            arrival: self.clock,
            profile: 0,
            client: index as u32,
            session: index as u64,
            turn: 0,
            prompt_tokens: (shared + first.new_tokens).max(1),
            max_output_tokens: first.output + 1,
            output_tokens: first.output,
            priority: session.priority,
            streaming: session.streaming,
            timeout: match session.timeout {
                Some(timeout) => self.case.time(timeout),
                None => SimTime::NEVER,
            },
            prefix,
            tail_key: match session.tail {
                Tail::Nameless => 0,
                Tail::Own => 1_000_000 + index as u64,
                Tail::Common => 2_000_000 + path_key,
            },
        })
    }

    fn follow_up(&mut self, spec: &RequestSpec, record: &RequestRecord) -> Option<RequestSpec> {
        let session = &self.case.sessions[spec.session as usize];
        let next = session.turns.get(spec.turn as usize + 1)?;
        Some(RequestSpec {
            arrival: record.completion + self.case.time(next.think),
            turn: spec.turn + 1,
            prompt_tokens: spec.prompt_tokens + record.output_tokens + next.new_tokens,
            max_output_tokens: next.output,
            output_tokens: next.output,
            ..spec.clone()
        })
    }

    fn promises(&self) -> Promises {
        self.case.promises()
    }
}
