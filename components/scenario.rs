//! A resolved scenario: everything a simulation needs, checked, in SI units and by index. `src/config` builds it from
//! files and flags; `oracle-systems` builds the world from it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::collectives::GroupFabric;
use crate::device::{DeviceSpec, Efficiency};
use crate::efficiency::ExpertFamily;
use crate::kv_groups::KvGroups;
use crate::model::ModelArchitecture;
use crate::time::SimTime;

/// Index of a GPU in [`Scenario::gpus`].
pub type GpuIndex = u32;
/// Index of a directed link in [`Scenario::links`].
pub type LinkIndex = u32;
/// Index of an engine in [`Scenario::engines`].
pub type EngineIndex = u32;
/// Links from one place to another in the order of travel; empty where both are one place.
pub type Path = Vec<LinkIndex>;
/// The paths of the flows that carry a KV cache from a prefill engine to a decode engine, each an equal share of it.
pub type KvPaths = BTreeMap<(EngineIndex, EngineIndex), Vec<Path>>;

/// A deployment, ready to simulate.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The simulation stops here; what is still in flight is INCOMPLETE. `None`: until the last request has ended.
    pub horizon: Option<SimTime>,
    /// Seed of the router's draws; workloads hold their own.
    pub seed: u64,
    /// Level of detail of costs.
    pub level_of_detail: LevelOfDetail,
    /// Every GPU.
    pub gpus: Vec<GpuSpec>,
    /// Every directed link.
    pub links: Vec<LinkSpec>,
    /// Every engine that takes requests.
    pub engines: Vec<EngineSpec>,
    /// How requests are spread over the engines.
    pub routing: Routing,
    /// How requests whose prompts are computed are spread over the decode engines.
    pub decode_routing: Routing,
    /// From each prefill engine to each decode engine; empty without such.
    pub kv_paths: KvPaths,
    /// Bytes of a prompt token on the ingress links.
    pub prompt_bytes_per_token: f64,
    /// Width of a row of the time series.
    pub series_interval: SimTime,
}

/// Level of detail of the cost of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LevelOfDetail {
    /// Layer by layer; engines whose collectives cross the same link share its bandwidth.
    High,
    /// Kinds of layers in aggregate, links uncontended.
    Medium,
}

/// A GPU of the deployment.
#[derive(Clone, Debug)]
pub struct GpuSpec {
    /// Id in the config.
    pub id: String,
    /// Its data sheet.
    pub device: Arc<DeviceSpec>,
    /// Efficiency of its kernels.
    pub efficiency: Efficiency,
}

/// A directed link.
#[derive(Clone, Debug)]
pub struct LinkSpec {
    /// Id in the config; the reverse of a bidirectional link has `:reverse` appended.
    pub id: String,
    /// Id of the source node.
    pub source: String,
    /// Id of the destination node.
    pub destination: String,
    /// Bandwidth, in bytes per second.
    pub bytes_per_s: f64,
    /// Latency, in seconds.
    pub latency_s: f64,
}

/// An instance of a serving framework.
#[derive(Clone, Debug)]
pub struct EngineSpec {
    /// Name of the framework in the config.
    pub name: String,
    /// What of a request's life it serves.
    pub role: Role,
    /// The model it serves.
    pub model: Arc<ModelArchitecture>,
    /// Its GPUs, stage by stage, `tensor_parallel` of them a stage.
    pub gpus: Vec<GpuIndex>,
    /// Ranks that share every layer.
    pub tensor_parallel: u32,
    /// Stages that share the layers.
    pub pipeline_parallel: u32,
    /// Micro-batches that a step with prompts is cut into on its way through the stages, prompts split as need be. `None`:
    /// as many as there are stages, of whole sequences, which is what vLLM keeps in flight.
    pub prompt_microbatches: Option<u32>,
    /// For each stage, the path of each hop of its ring: rank i to rank i + 1, the last to the first. Empty hops
    /// without tensor parallelism.
    pub rings: Vec<Vec<Path>>,
    /// The path from each stage to the next.
    pub stage_paths: Vec<Path>,
    /// Efficiency where the framework sets its own; else each GPU's counts.
    pub efficiency: Option<Efficiency>,
    /// What of each GPU's peak and bandwidth this engine has: 1 / (engines on the GPU).
    pub gpu_share: f64,
    /// The scheduler.
    pub scheduler: SchedulerSpec,
    /// KV blocks in the pool, of `scheduler.block_tokens` each where there are no groups.
    pub kv_blocks: u64,
    /// How layers of several kinds share the pool, if they do; hits end at multiples of `scheduler.block_tokens`. Only with
    /// [`Role::Both`] and without [`SchedulerSpec::kv_transfer`].
    pub kv_groups: Option<Arc<KvGroups>>,
    /// How kernels get to the GPU.
    pub kernel_launch: KernelLaunch,
    /// Host time a step, in seconds. The GPU waits for it, or for what exceeds its own time under
    /// [`SchedulerSpec::async_scheduling`].
    pub step_overhead_s: f64,
    /// More of it for each sequence in the step.
    pub sequence_overhead_s: f64,
    /// GPU time of a token in the vision encoder, in seconds.
    pub encoder_s_per_token: f64,
    /// From the client to the engine.
    pub ingress: Path,
    /// From the engine to the client.
    pub egress: Path,
    /// Bytes of a streamed token on the response links.
    pub response_bytes_per_token: f64,
    /// Weight under `weighted_random`.
    pub weight: f64,
    /// For each stage, the links among its ranks where they are of a kind that was measured; else, and where the list is
    /// shorter, collectives are rings over the links' bandwidths and latencies.
    pub fabrics: Vec<Option<GroupFabric>>,
    /// How routed experts are spread over ranks, where each is whole on one. `None`: every rank has a slice of every expert.
    pub expert_parallel: Option<ExpertParallel>,
    /// Family of kernels for routed experts that was asked for. `None`: the first that vLLM has for device and weights.
    pub expert_kernels: Option<ExpertFamily>,
    /// Norms over the heads of all ranks are one kernel with what the ranks exchange, and routers in 32 bits have a kernel of
    /// their own for few tokens.
    pub fused_norms_and_routers: bool,
    /// Reduce-scatter and all-gather in place of all-reduce, and norms on `1 / tensor_parallel` of the tokens.
    pub sequence_parallel: bool,
    /// Ranks that share the tokens of a KV cache which they would otherwise hold alike; 1 without. They decode together.
    pub decode_context_parallel: u32,
}

/// Whole experts on ranks: the engine's own and those of the engines that share the experts with it.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpertParallel {
    /// Engines that share the experts, this one among them: each has attention, cache and batch of its own.
    pub data_parallel: u32,
    /// How tokens reach the experts on other engines, if there are any.
    pub exchange: ExpertExchange,
    /// Load of the busiest rank over the mean of all. `None`: what is expected of uniform routing.
    pub imbalance: Option<f64>,
    /// From each of the engine's ranks to the next of all that share the experts; empty if there is no other engine.
    pub hops: Vec<Path>,
    /// The links among all that share the experts, where measured.
    pub fabric: Option<GroupFabric>,
}

/// How tokens reach experts on other ranks, and results come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpertExchange {
    /// Every engine gathers the tokens of all, and partial results are reduced and scattered (vLLM's default).
    AllGather,
    /// Each token's vector goes to the ranks that have its experts, and a vector comes back from each (DeepEP, PPLX).
    AllToAll,
}

/// What of a request's life an engine serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// All of it.
    #[default]
    Both,
    /// The prompt. The KV cache goes to a decode engine of the same model and block size, whose `max_model_len` is no less.
    Prefill,
    /// The answer, from the KV cache of a prompt that a prefill engine has computed. Caches no prefixes.
    Decode,
}

/// How kernels get to the GPU.
#[derive(Clone, Debug, PartialEq)]
pub enum KernelLaunch {
    /// At no cost, and as they are.
    Free,
    /// As CUDA graphs of these numbers of tokens, ascending: a batch runs with as many tokens as the next of them has.
    Graphs(Arc<[u32]>),
    /// One by one.
    Eager {
        /// What each takes on the host, in seconds.
        launch_s: f64,
    },
}

/// The scheduler's limits and policies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SchedulerSpec {
    /// Sequences that run at once; at most `max_num_batched_tokens`.
    pub max_num_seqs: u32,
    /// Tokens a step.
    pub max_num_batched_tokens: u32,
    /// Tokens a KV block.
    pub block_tokens: u32,
    /// Whether a prompt may be computed over several steps.
    pub chunked_prefill: bool,
    /// Whether a sequence is admitted only where all that is known of it finds blocks, not its first chunk alone.
    pub reserve_full_prompt: bool,
    /// Most prompt tokens of one sequence a step, if limited.
    pub long_prefill_token_threshold: Option<u32>,
    /// The threshold is no less than so many tokens over the number of running and waiting requests.
    pub threshold_share_tokens: Option<u32>,
    /// Blocks that stay free when a request is admitted beside others.
    pub watermark_blocks: u32,
    /// Prompts are computed in one of so many steps at most while others decode; 1: in any.
    pub prefill_schedule_interval: u32,
    /// What differs between versions of the engine.
    pub rules: SchedulerRules,
    /// Order of the waiting queue, and who is preempted.
    pub policy: QueuePolicy,
    /// Longest context, prompt and output together.
    pub max_model_len: u32,
    /// Prefix caching.
    pub prefix_caching: PrefixCaching,
    /// Cached prefixes of requests that are not follow-up turns count only from this length on, in tokens.
    pub min_cached_prefix_tokens: u32,
    /// The next step is scheduled when this one starts, not when it ends: the host works while the GPU does, and a new
    /// request waits a step longer.
    pub async_scheduling: bool,
    /// A streamed answer is sent in chunks of so many tokens, but for the first token, which is sent at once; 1: each token.
    pub stream_interval: u32,
    /// Requests that are let in and not answered yet, at most; more are refused.
    pub max_num_queued_reqs: Option<u32>,
    /// What passes to and from engines that are not simulated; only where the role is [`Role::Both`].
    pub kv_transfer: Option<KvTransfer>,
}

/// A side of disaggregated serving whose other side is not simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvTransfer {
    /// Which.
    pub side: KvSide,
    /// What the KV cache of a prompt takes from one side to the other.
    pub time: SimTime,
}

/// The sides of a KV transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvSide {
    /// Answers requests whose prompts were computed elsewhere. Caches no prefixes.
    Consumer,
    /// Computes prompts, with a token each, and keeps their blocks until they are elsewhere.
    Producer,
}

impl SchedulerSpec {
    /// What it takes to load a prompt that was computed elsewhere, if all are.
    #[must_use]
    pub fn load_time(&self) -> Option<SimTime> {
        self.kv_transfer.filter(|transfer| transfer.side == KvSide::Consumer).map(|transfer| transfer.time)
    }

    /// For how long the blocks of a request that has finished are kept, if they are.
    #[must_use]
    pub fn hold_time(&self) -> Option<SimTime> {
        self.kv_transfer.filter(|transfer| transfer.side == KvSide::Producer).map(|transfer| transfer.time)
    }
}

/// Rules of vLLM's scheduler that came with a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedulerRules {
    /// A request that is alone is not held to `long_prefill_token_threshold`.
    pub lone_request_is_unlimited: bool,
    /// Blocks that nobody can find, a partly filled one for example, are the next to be allocated, not the last.
    pub unnamed_blocks_first: bool,
    /// Under the priority policy a sequence that has preempted itself is passed over; without this rule the step ends with it.
    pub self_preempted_is_passed_over: bool,
    /// A KV cache is loaded only where running prompts find blocks for all of them beside it.
    pub loads_leave_room_for_prompts: bool,
}

impl SchedulerRules {
    /// Those of the newest version that is known, vLLM 0.33.
    pub const NEWEST: Self = Self {
        lone_request_is_unlimited: true,
        unnamed_blocks_first: true,
        self_preempted_is_passed_over: true,
        loads_leave_room_for_prompts: true,
    };
}

/// Order of the waiting queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueuePolicy {
    /// First come, first served; the last admitted is preempted.
    Fcfs,
    /// The lowest priority number first, then first come; the highest number is preempted.
    Priority,
}

/// Which prefixes are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixCaching {
    /// None.
    Off,
    /// Those of a session's own earlier turns.
    Conversational,
    /// Those of any earlier request.
    Full,
}

/// How requests are spread over the engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// In turn.
    RoundRobin,
    /// Uniformly at random.
    Random,
    /// At random by [`EngineSpec::weight`].
    WeightedRandom,
    /// To the engine with the fewest requests in transit, waiting and running; the first of equals.
    LeastLoaded,
    /// A session's first turn in turn, its later turns to the same engine.
    SessionAffinity,
}

impl Routing {
    /// All of them, with their names in configurations.
    pub const NAMED: [(&'static str, Self); 5] = [
        ("round_robin", Self::RoundRobin),
        ("random", Self::Random),
        ("weighted_random", Self::WeightedRandom),
        ("least_loaded", Self::LeastLoaded),
        ("session_affinity", Self::SessionAffinity),
    ];
}
