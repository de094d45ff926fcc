//! What was simulated, in short: models, devices, ranks, replicas, and what is in the memory of a GPU.

use oracle_components::scenario::{EngineSpec, KvSide, Role, Scenario};
use oracle_systems::kv_groups::pool_tokens;
use oracle_systems::memory::{RankMemory, fullest_rank};

const BYTES_PER_GIB: f64 = (1_u64 << 30) as f64;

/// Engines that are alike.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct DeploymentSummary {
    /// Name of the first of them.
    pub engine: String,
    /// How many there are.
    pub replicas: u64,
    /// `both`, `prefill` or `decode`; of one side of a KV transfer alone its `kv_role`.
    pub role: &'static str,
    /// The model.
    pub model: String,
    /// Devices of the ranks, each once.
    pub device: String,
    /// GPUs of each of them.
    pub gpus: u64,
    /// What of each GPU it has: less than 1 where engines share GPUs.
    pub gpu_share: f64,
    /// Ranks that share every layer.
    pub tensor_parallel: u32,
    /// Stages that share the layers.
    pub pipeline_parallel: u32,
    /// Engines that share the routed experts.
    pub data_parallel: u32,
    /// Sequences that run at once.
    pub max_num_seqs: u32,
    /// Tokens a step.
    pub max_num_batched_tokens: u32,
    /// Tokens that the KV pool holds.
    pub kv_pool_tokens: u64,
    /// Of contexts of so many tokens, where it depends on their length: windows and states take the pool up otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_pool_context_tokens: Option<u32>,
    /// The pool's part of the fullest GPU's memory.
    pub kv_pool_gib_per_gpu: f64,
    /// The weights' part.
    pub weights_gib_per_gpu: f64,
    /// The activation peak's part, with what the runtime takes.
    pub activations_gib_per_gpu: f64,
}

/// The engines of a scenario, those that are alike together, in the order of the first of each.
pub(super) fn deployments(scenario: &Scenario, names: &[String]) -> Vec<DeploymentSummary> {
    let mut kinds: Vec<(&EngineSpec, Vec<&str>, DeploymentSummary)> = Vec::new();
    for (engine, name) in scenario.engines.iter().zip(names) {
        let devices = devices(scenario, engine);
        let known = kinds.iter_mut().find(|(other, others, _)| is_alike(other, engine) && *others == devices);
        match known {
            Some((_, _, summary)) => summary.replicas += 1,
            None => {
                let summary = deployment(engine, name, &devices);
                kinds.push((engine, devices, summary));
            }
        }
    }
    kinds.into_iter().map(|(_, _, summary)| summary).collect()
}

/// Names of the devices that an engine runs on, each once.
fn devices<'a>(scenario: &'a Scenario, engine: &EngineSpec) -> Vec<&'a str> {
    let names = engine.gpus.iter().map(|&gpu| scenario.gpus[gpu as usize].device.name.as_str());
    let mut names: Vec<&str> = names.collect();
    names.dedup();
    names
}

fn is_alike(one: &EngineSpec, other: &EngineSpec) -> bool {
    let figures = |engine: &EngineSpec| {
        let experts = engine.expert_parallel.as_ref().map(|experts| experts.data_parallel);
        (engine.role, engine.tensor_parallel, engine.pipeline_parallel, experts, engine.kv_blocks, engine.gpus.len())
    };
    let shares = |engine: &EngineSpec| (engine.scheduler, engine.gpu_share, engine.decode_context_parallel);
    figures(one) == figures(other) && shares(one) == shares(other) && one.model.name == other.model.name
}

fn deployment(engine: &EngineSpec, name: &str, devices: &[&str]) -> DeploymentSummary {
    let RankMemory { weight_bytes, activation_bytes, block_bytes } = fullest_rank(engine);
    let gib = |bytes: u64| bytes as f64 / BYTES_PER_GIB;
    let scheduler = &engine.scheduler;
    DeploymentSummary {
        engine: name.to_owned(),
        replicas: 1,
        role: match (engine.role, scheduler.kv_transfer.map(|transfer| transfer.side)) {
            (Role::Prefill, _) => "prefill",
            (Role::Decode, _) => "decode",
            (Role::Both, Some(KvSide::Consumer)) => "kv_consumer",
            (Role::Both, Some(KvSide::Producer)) => "kv_producer",
            (Role::Both, None) => "both",
        },
        model: engine.model.name.clone(),
        device: devices.join(", "),
        gpus: engine.gpus.len() as u64,
        gpu_share: engine.gpu_share,
        tensor_parallel: engine.tensor_parallel,
        pipeline_parallel: engine.pipeline_parallel,
        data_parallel: engine.expert_parallel.as_ref().map_or(1, |experts| experts.data_parallel),
        max_num_seqs: scheduler.max_num_seqs,
        max_num_batched_tokens: scheduler.max_num_batched_tokens,
        kv_pool_tokens: match &engine.kv_groups {
            Some(groups) => pool_tokens(groups, scheduler, engine.kv_blocks),
            None => engine.kv_blocks.saturating_mul(u64::from(scheduler.block_tokens)),
        },
        kv_pool_context_tokens: engine.kv_groups.as_ref().map(|_| scheduler.max_model_len),
        kv_pool_gib_per_gpu: gib(block_bytes.saturating_mul(engine.kv_blocks)),
        weights_gib_per_gpu: gib(weight_bytes),
        activations_gib_per_gpu: gib(activation_bytes),
    }
}
