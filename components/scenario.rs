//! A resolved scenario: everything a simulation needs, checked, in SI units and by index. `src/config` builds it from
//! files and flags; `oracle-systems` builds the world from it.

use std::sync::Arc;

use crate::device::{DeviceSpec, Efficiency};
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
    /// KV blocks in the pool, of `scheduler.block_tokens` each.
    pub kv_blocks: u64,
    /// How kernels get to the GPU.
    pub kernel_launch: KernelLaunch,
    /// Host time a step that the GPU waits for, in seconds.
    pub step_overhead_s: f64,
    /// From the client to the engine.
    pub ingress: Path,
    /// From the engine to the client.
    pub egress: Path,
    /// Bytes of a streamed token on the response links.
    pub response_bytes_per_token: f64,
    /// Weight under `weighted_random`.
    pub weight: f64,
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
    /// Most prompt tokens of one sequence a step, if limited.
    pub long_prefill_token_threshold: Option<u32>,
    /// Order of the waiting queue, and who is preempted.
    pub policy: QueuePolicy,
    /// Longest context, prompt and output together.
    pub max_model_len: u32,
    /// Prefix caching.
    pub prefix_caching: PrefixCaching,
    /// Cached prefixes of requests that are not follow-up turns count only from this length on, in tokens.
    pub min_cached_prefix_tokens: u32,
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
