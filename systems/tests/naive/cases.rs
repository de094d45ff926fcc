//! Random scenarios with their requests, as small integers that shrink and print well.

use std::fmt;
use std::sync::Arc;

use oracle_components::SimTime;
use oracle_components::device::Efficiency;
use oracle_components::kv_groups::{KvGroup, KvGroupRules, KvGroups, KvKind};
use oracle_components::request::PrefixSegment;
use oracle_components::scenario::{
    EngineSpec, ExpertExchange, ExpertParallel, KernelLaunch, KvSide, KvTransfer, LevelOfDetail, PrefixCaching,
    QueuePolicy, Role, Routing, Scenario, SchedulerRules, SchedulerSpec,
};
use oracle_systems::ports::Promises;
use oracle_systems::routing::Router;

use super::scenes::{Ranks, add_engine, empty_scenario, link, made_up_curves, tiny_experts};
use super::source::CaseSource;

/// An interval of the time series that lasts as long as some ten steps.
pub const SHORT_INTERVAL: SimTime = SimTime(7_000_000);

/// An engine of a case.
#[derive(Clone, Debug)]
pub struct EngineCase {
    pub slots: u32,
    pub budget: u32,
    pub block: u32,
    pub pool_tokens: u32,
    pub chunked: bool,
    pub reserve: bool,
    pub threshold: Option<u32>,
    pub adaptive: bool,
    pub watermark: u32,
    pub interval: u32,
    pub rules: SchedulerRules,
    pub policy: QueuePolicy,
    pub caching: PrefixCaching,
    pub min_cached: u32,
    pub asynchronous: bool,
    pub stream_interval: u32,
    pub max_queued: Option<u32>,
    pub model_len: u32,
    pub tensor: u32,
    pub pipeline: u32,
    pub sharing: Sharing,
    pub ingress: Vec<u32>,
    pub egress: Vec<u32>,
    pub response_bytes: u32,
    pub weight: u32,
    /// Priced by efficiency curves, with CUDA graphs.
    pub by_curve: bool,
    /// Has half of each GPU: those of the engine before, if that has halves of as many.
    pub halved: bool,
    /// One side of a KV transfer, which takes so long, outside of pools.
    pub transfer: Option<(KvSide, u64)>,
    /// Microseconds of a token in the vision encoder.
    pub encoder: u32,
    /// Layers of several kinds, where the engine serves whole requests.
    pub kinds: Option<KindsCase>,
}

/// Layers of several kinds.
#[derive(Clone, Debug)]
pub struct KindsCase {
    /// Kinds of layers with their blocks, in multiples of the engine's.
    pub groups: Vec<(KindCase, u32)>,
    /// In multiples of the alignment.
    pub retention: Option<u32>,
    pub rules: KvGroupRules,
}

/// A kind of layers; windows in tokens, chunks in blocks of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KindCase {
    Full,
    Window(u32),
    Chunk(u32),
    State,
}

/// What the ranks of an engine share beside the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Nothing.
    Plain,
    /// Norms and all that is done token by token.
    Sequence,
    /// The tokens of the KV cache.
    DecodeContext,
    /// Whole experts, with so many engines in all; the busiest rank's load in halves of the mean, if it is given.
    Experts { engines: u32, exchange: ExpertExchange, imbalance: Option<u32> },
}

/// One turn of a session.
#[derive(Clone, Debug, Default)]
pub struct TurnCase {
    /// Its user takes so long after all before it is there.
    pub think: u64,
    pub new_tokens: u32,
    /// Of its images in the vision encoder.
    pub encoder_tokens: u32,
    pub output: u32,
    /// What the next turn waits for: tools that run so long once the answer and all agents' are there.
    pub tools: u64,
    /// What it starts side by side when it has ended; the next turn waits for all of them.
    pub agents: Vec<AgentCase>,
}

/// A request that a turn starts.
#[derive(Clone, Debug)]
pub struct AgentCase {
    /// So long after the turn's end.
    pub after: u64,
    /// It begins with all that the turn knows, or with the segments of the session alone.
    pub knows_all: bool,
    pub new_tokens: u32,
    pub output: u32,
}

/// Sessions share places: who finds none free begins when another session ends.
#[derive(Clone, Copy, Debug)]
pub struct PlacesCase {
    pub count: u32,
    /// A closed loop: sessions have no times of their own, and a gap is a pause of the client between two of them.
    pub closed: bool,
}

/// Which tail key the requests of a session carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// None.
    Anonymous,
    /// The session's own.
    Own,
    /// That of every session with the same segments that says so too.
    Common,
}

/// A session of a case: its first turn comes on its own or when there is a place, the others when all before has ended.
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

/// Roles of the engines, and what passes between prefill and decode engines.
#[derive(Clone, Debug)]
pub struct PoolsCase {
    /// Of the engines, in order; the first two are a prefill and a decode engine.
    pub roles: [Role; 4],
    pub routing: Routing,
    /// Bandwidth in kilobytes and latency in tenths of a millisecond of links that client traffic does not cross.
    pub links: Vec<(u32, u32)>,
    /// Paths over the shared links and these; which flow takes which follows from its place.
    pub paths: Vec<Vec<u32>>,
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
    /// Intervals of the time series last as long as some ten steps.
    pub short_intervals: bool,
    /// Bandwidth in bytes and latency in tenths of a millisecond of the links that the engines share.
    pub links: Vec<(u32, u32)>,
    /// Tokens of the segment that a choice at a depth of a path stands for.
    pub segment_tokens: [[u32; 2]; 3],
    pub pools: Option<PoolsCase>,
    pub engines: Vec<EngineCase>,
    pub places: Option<PlacesCase>,
    pub sessions: Vec<SessionCase>,
}

impl Case {
    /// What is said of pools, if there are engines enough for any.
    pub fn pools(&self) -> Option<&PoolsCase> {
        self.pools.as_ref().filter(|_| self.engines.len() > 1)
    }

    /// How long the client of a session waits for an answer.
    pub fn timeout(&self, session: u64) -> SimTime {
        self.sessions[session as usize].timeout.map_or(SimTime::NEVER, |timeout| self.time(timeout))
    }

    /// A time of the case.
    pub fn time(&self, tenths_of_ms: u64) -> SimTime {
        let unit = if self.clockwork { 1_000_000 } else { 100_000 };
        SimTime(tenths_of_ms * unit)
    }

    /// The scenario; the links that engines share come first.
    pub fn scenario(&self) -> Scenario {
        let mut scenario = empty_scenario();
        scenario.seed = self.seed;
        scenario.routing = self.routing;
        scenario.horizon = self.horizon.map(|horizon| self.time(horizon));
        if self.short_intervals {
            scenario.series_interval = SHORT_INTERVAL;
        }
        if self.high_detail {
            scenario.level_of_detail = LevelOfDetail::High;
        }
        let between_pools = self.pools().map_or(&[][..], |pools| &pools.links);
        for (index, &(kilobytes_per_s, latency)) in self.links.iter().chain(between_pools).enumerate() {
            scenario.links.push(link(
                &format!("shared{index}"),
                f64::from(kilobytes_per_s) * 1e3,
                f64::from(latency) * 1e-4,
            ));
        }
        for engine in &self.engines {
            let (tensor, pipeline) = engine.degrees();
            let expert_parallel = engine.expert_parallel(tensor, &mut scenario);
            let ranks =
                Ranks { tensor, pipeline, prompt_microbatches: None, speed: if self.clockwork { 1e9 } else { 1.0 } };
            let (scheduler, kv_blocks) = engine.scheduler();
            let transfer = engine.transfer.map(|(side, time)| KvTransfer { side, time: self.time(time) });
            let kv_groups = engine.kinds.as_ref().filter(|_| transfer.is_none() && self.pools().is_none());
            let kv_groups = kv_groups.map(|kinds| kinds.groups(engine));
            let scheduler = SchedulerSpec { kv_transfer: transfer, ..scheduler };
            let scheduler = kv_groups.as_ref().map_or(scheduler, |groups| engine.in_groups(scheduler, groups));
            let spec = add_engine(&mut scenario, scheduler, kv_blocks, ranks);
            spec.kv_groups = kv_groups.map(Arc::new);
            if engine.halved {
                spec.gpu_share = 0.5;
            }
            if expert_parallel.is_some() {
                spec.model = Arc::new(tiny_experts());
            }
            spec.expert_parallel = expert_parallel;
            spec.sequence_parallel = engine.sharing == Sharing::Sequence;
            spec.decode_context_parallel = if engine.sharing == Sharing::DecodeContext { 2 } else { 1 };
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
            spec.encoder_s_per_token = if self.clockwork { 0.0 } else { f64::from(engine.encoder) * 1e-6 };
            spec.sequence_overhead_s = if self.clockwork { 0.0 } else { 1e-6 };
        }
        share_gpus(&mut scenario);
        if let Some(pools) = self.pools() {
            pools.set_up(&mut scenario);
        }
        scenario
    }

    /// Its requests.
    pub fn source(&self) -> CaseSource {
        CaseSource::new(self.clone())
    }

    /// The segments of a path.
    pub fn prefix(&self, path: &[u8]) -> Vec<PrefixSegment> {
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

/// Puts an engine that has halves of its GPUs on those of the engine before it, if these have another half to give.
fn share_gpus(scenario: &mut Scenario) {
    let mut taken = false;
    for second in 1..scenario.engines.len() {
        let [first, second] = &mut scenario.engines[second - 1..=second] else { unreachable!("two engines") };
        let fits = !taken && first.gpu_share < 1.0 && second.gpu_share < 1.0 && first.gpus.len() == second.gpus.len();
        if fits {
            second.gpus.clone_from(&first.gpus);
        }
        taken = fits;
    }
}

impl PoolsCase {
    fn set_up(&self, scenario: &mut Scenario) {
        scenario.decode_routing = self.routing;
        let block_tokens = scenario.engines[0].scheduler.block_tokens;
        for (engine, &role) in scenario.engines.iter_mut().zip(&self.roles) {
            engine.role = role;
            if role != Role::Both {
                engine.scheduler.kv_transfer = None;
            }
            engine.kv_blocks =
                (engine.kv_blocks * u64::from(engine.scheduler.block_tokens)).div_ceil(block_tokens.into());
            engine.scheduler.block_tokens = block_tokens;
            if role == Role::Decode {
                engine.scheduler.prefix_caching = PrefixCaching::Off;
                // Else a first chunk is admitted, preempts itself and is admitted again until a slow load is over.
                engine.scheduler.reserve_full_prompt = true;
            }
        }
        let engines = || (0_u32..).zip(&scenario.engines);
        let of_role = |role| move |(_, engine): &(u32, &EngineSpec)| engine.role == role;
        let decoding: Vec<_> = engines().filter(of_role(Role::Decode)).collect();
        for (prefill, from) in engines().filter(of_role(Role::Prefill)) {
            for &(decode, to) in &decoding {
                let flows = from.gpus.len().max(to.gpus.len());
                let first = prefill as usize * 3 + decode as usize;
                let paths = self.paths.iter().cycle().skip(first).take(flows);
                scenario.kv_paths.insert((prefill, decode), paths.cloned().collect());
            }
        }
        let longest = decoding.iter().map(|(_, engine)| engine.scheduler.max_model_len).min();
        let longest = longest.expect("one of the first two decodes");
        for engine in scenario.engines.iter_mut().filter(|engine| engine.role == Role::Prefill) {
            engine.scheduler.max_model_len = engine.scheduler.max_model_len.min(longest);
        }
    }
}

impl KindsCase {
    /// The groups of an engine.
    fn groups(&self, engine: &EngineCase) -> KvGroups {
        let group = |&(kind, blocks): &(KindCase, u32)| {
            let block_tokens = engine.block * blocks;
            match kind {
                KindCase::Full => KvGroup { kind: KvKind::Full, block_tokens },
                KindCase::Window(tokens) => KvGroup { kind: KvKind::Window { tokens }, block_tokens },
                KindCase::Chunk(blocks) => {
                    KvGroup { kind: KvKind::Chunk { tokens: blocks * engine.block }, block_tokens: engine.block }
                }
                KindCase::State if engine.caching == PrefixCaching::Off => {
                    KvGroup { kind: KvKind::State, block_tokens: 1 << 20 }
                }
                KindCase::State => KvGroup { kind: KvKind::State, block_tokens: engine.block },
            }
        };
        KvGroups {
            groups: self.groups.iter().map(group).collect(),
            layers: 1,
            page_bytes: 1,
            retention_interval: self.retention.map(|times| times * engine.block * self.alignment()),
            rules: self.rules,
        }
    }

    /// The least common multiple of the groups' blocks: they are of one of the engine's or two.
    fn alignment(&self) -> u32 {
        self.groups.iter().map(|&(_, blocks)| blocks).max().expect("there are groups")
    }

    /// Whether states are kept.
    pub fn has_states(&self) -> bool {
        self.groups.iter().any(|(kind, _)| *kind == KindCase::State)
    }
}

impl EngineCase {
    /// The scheduler with groups.
    fn in_groups(&self, scheduler: SchedulerSpec, groups: &KvGroups) -> SchedulerSpec {
        let kinds = self.kinds.as_ref().expect("it has groups");
        let block_tokens = self.block * kinds.alignment();
        // An old engine never computes a chunk that is shorter than a block of states.
        let needs_whole_blocks = kinds.has_states() && !groups.rules.states_are_kept_at_junctions;
        let threshold = scheduler.long_prefill_token_threshold;
        let threshold = if needs_whole_blocks { threshold.map(|tokens| tokens.max(block_tokens)) } else { threshold };
        let budget = scheduler.max_num_batched_tokens.max(if needs_whole_blocks { block_tokens } else { 0 });
        SchedulerSpec {
            block_tokens,
            long_prefill_token_threshold: threshold,
            max_num_batched_tokens: budget,
            // More than what is known of it may be needed of a prompt, so that two of one priority and arrival take turns for ever.
            policy: if kinds.has_states() { QueuePolicy::Fcfs } else { scheduler.policy },
            ..scheduler
        }
    }

    /// Ranks of a stage, and stages.
    fn degrees(&self) -> (u32, u32) {
        match self.sharing {
            Sharing::Plain => (self.tensor, self.pipeline),
            Sharing::Sequence => (2, self.pipeline),
            // Twice as many as the model has KV heads.
            Sharing::DecodeContext => (4, self.pipeline),
            Sharing::Experts { .. } => (self.tensor, 1),
        }
    }

    /// Experts on ranks, over links that are added.
    fn expert_parallel(&self, tensor: u32, scenario: &mut Scenario) -> Option<ExpertParallel> {
        let Sharing::Experts { engines, exchange, imbalance } = self.sharing else { return None };
        let ranks = if engines > 1 { tensor } else { 0 };
        let hops = (0..ranks).map(|_| {
            let index = scenario.links.len() as u32;
            scenario.links.push(link(&format!("exchange{index}"), 1e9, 2e-6));
            vec![index]
        });
        let hops = hops.collect();
        let imbalance = imbalance.map(|halves| f64::from(halves) / 2.0);
        Some(ExpertParallel { data_parallel: engines, exchange, imbalance, hops, fabric: None })
    }

    /// What the tests count of it.
    pub fn corner(&self) -> Option<&'static str> {
        match self.sharing {
            Sharing::Plain => None,
            Sharing::Sequence => Some("ranks share norms"),
            Sharing::DecodeContext => Some("ranks share a KV cache"),
            Sharing::Experts { engines: 1, .. } => Some("ranks have whole experts"),
            Sharing::Experts { .. } => Some("engines share experts"),
        }
    }

    fn loads(&self) -> bool {
        self.transfer.is_some_and(|(side, _)| side == KvSide::Consumer)
    }

    fn scheduler(&self) -> (SchedulerSpec, u64) {
        let scheduler = SchedulerSpec {
            max_num_seqs: self.slots.min(self.budget),
            max_num_batched_tokens: self.budget,
            block_tokens: self.block,
            chunked_prefill: self.chunked,
            // Prompts of one priority and arrival that are computed in chunks would preempt each other for ever, as in vLLM.
            // Without it a first chunk is admitted, preempts itself and is admitted again until a slow load is over.
            reserve_full_prompt: self.reserve
                || (self.policy == QueuePolicy::Priority && self.threshold.is_some())
                || self.loads(),
            long_prefill_token_threshold: self.threshold,
            threshold_share_tokens: self.adaptive.then_some(self.budget),
            watermark_blocks: self.watermark,
            prefill_schedule_interval: self.interval,
            rules: self.rules,
            policy: self.policy,
            max_model_len: self.model_len,
            prefix_caching: if self.loads() { PrefixCaching::Off } else { self.caching },
            min_cached_prefix_tokens: self.min_cached,
            async_scheduling: self.asynchronous,
            stream_interval: self.stream_interval,
            max_num_queued_reqs: self.max_queued,
            kv_transfer: None,
        };
        (scheduler, u64::from(self.pool_tokens.div_ceil(self.block)))
    }
}

impl SessionCase {
    fn is_one_request(&self) -> bool {
        matches!(&self.turns[..], [turn] if turn.agents.is_empty())
    }
}

impl Case {
    /// What its requests never do.
    pub fn promises(&self) -> Promises {
        Promises {
            no_follow_ups: self.places.is_none() && self.sessions.iter().all(SessionCase::is_one_request),
            streams_only: self.sessions.iter().all(|session| session.streaming),
        }
    }

    /// Whether nothing but arrivals passes between its engines.
    pub fn is_windowed(&self) -> bool {
        self.engines.len() > 1
            && self.pools().is_none()
            && self.engines.iter().all(|engine| engine.max_queued.is_none())
            && Router::of_arrivals(&self.scenario()).wants().lookahead() == SimTime::NEVER
            && self.promises() == Promises { no_follow_ups: true, streams_only: true }
    }
}
