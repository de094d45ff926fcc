//! What fits in a GPU: weights, activation peak, and the KV pool that is left.
//!
//! As vLLM's start-up does it: `blocks = ⌊(capacity × utilization × share − weights − activation peak) / block bytes⌋` on
//! each rank, and the pipeline stage with the fewest blocks decides for all.
//!
//! vLLM measures the activation peak in a trial pass. Here it is the largest of three moments of that pass, plus
//! [`RUNTIME_RESERVE_BYTES`]:
//! - the MLP of a layer: hidden and residual, gate and up, and their product, for `max_num_batched_tokens`;
//! - its attention: hidden and residual, q, k, v and the output, for as many;
//! - the sampler: logits of a row for each of the pass's `min(max_num_seqs, max_num_batched_tokens)` requests, at
//!   [`SAMPLER_BYTES_PER_LOGIT`].
//!
//! `memory_bytes` is what the driver reports, which is 1 to 2 % less than the sheet says. Blocks against vLLM's own counts:
//! 8B on an RTX 4090 of 25,250,627,584 bytes at utilization 0.9: 2,577 (measured 2,588; taking the sheet's 24 GiB, 2,800);
//! 8B on an RTX A6000 of 48 GiB by the sheet, 128 sequences: 14,031 (13,844, eager); Qwen3-14B on an H100 of 80 GiB by the
//! sheet at 0.92, the default of that vLLM: 18,284 (18,038; the utilization was not recorded).
//!
//! Where layers of several kinds share the pool ([`super::kv_layers`]), a block has room for the layers of one group; else for all, and
//! every layer keeps the KV of the whole context, sliding windows too (vLLM without its hybrid KV manager).

use oracle_components::layers::{Attention, LatentAttention, Mlp, Part};
use oracle_components::model::ModelArchitecture;
use oracle_components::scenario::EngineSpec;

use super::parts::{cached_widths, expert_input, matrices_in};
use super::weights::{kv_bytes_per_token_and_rank, layers_kv_bytes, stage_layers, stage_weight_bytes_with_experts};

/// What CUDA's workspaces, the communicator and captured graphs take besides tensors: half a GiB, a round figure above the
/// 0.4 to 0.5 GB that those three runs leave once weights, KV pool and the tensors above are taken off.
pub const RUNTIME_RESERVE_BYTES: u64 = 1 << 29;

/// Bytes that the sampler holds for each logit: 16-bit logits, 32-bit logits, 32-bit sorted logits and probabilities,
/// 64-bit indices of the sort.
pub const SAMPLER_BYTES_PER_LOGIT: f64 = 2.0 + 4.0 + 4.0 + 4.0 + 8.0;

/// The KV pool of an engine, per rank of the stage that has the fewest blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvPool {
    /// Blocks in the pool.
    pub blocks: u64,
    /// Bytes of a block on a rank.
    pub block_bytes: u64,
    /// Bytes of weights on a rank.
    pub weight_bytes: u64,
    /// Bytes of the activation peak on a rank, with the runtime's reserve.
    pub activation_bytes: u64,
}

/// A model leaves no room for a single KV block.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "{model} does not fit: a rank of stage {stage} needs {} of weights, {} at the activation peak and {} for one KV block, \
     but may use {} ({} of memory × utilization {utilization}{}); {} are missing. \
     Use more tensor or pipeline parallelism, quantise the weights, or take a device with more memory",
    Bytes(*.weight_bytes), Bytes(*.activation_bytes), Bytes(*.block_bytes), Bytes(*.budget_bytes),
    Bytes(*.capacity_bytes), Share(*.gpu_share), Bytes(*.missing_bytes)
)]
pub struct DoesNotFit {
    /// The model's name.
    pub model: String,
    /// The pipeline stage, from 0.
    pub stage: u32,
    /// Bytes of weights on a rank.
    pub weight_bytes: u64,
    /// Bytes of the activation peak on a rank, with the runtime's reserve.
    pub activation_bytes: u64,
    /// Bytes of one KV block on a rank.
    pub block_bytes: u64,
    /// Memory of the smallest rank, in bytes.
    pub capacity_bytes: u64,
    /// Share of the memory that the engine may use.
    pub utilization: f64,
    /// The engine's share of its GPUs.
    pub gpu_share: f64,
    /// What the engine may use, in bytes.
    pub budget_bytes: u64,
    /// Bytes missing for the first block.
    pub missing_bytes: u64,
}

/// What an engine has and is asked to do, as far as its KV pool depends on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoolRequest {
    /// Memory of the smallest rank, in bytes.
    pub memory_bytes: u64,
    /// Ranks that share every layer.
    pub tensor_parallel: u32,
    /// Stages that share the layers.
    pub pipeline_parallel: u32,
    /// Share of the memory that the engine may use.
    pub gpu_memory_utilization: f64,
    /// Tokens a KV block.
    pub block_tokens: u32,
    /// Tokens a step.
    pub max_num_batched_tokens: u32,
    /// Sequences that run at once.
    pub max_num_seqs: u32,
    /// The engine's share of its GPUs.
    pub gpu_share: f64,
    /// Engines that share the routed experts.
    pub expert_engines: u32,
    /// Ranks that share the tokens of the KV cache.
    pub decode_context_parallel: u32,
    /// Where layers of several kinds share the pool: the layers that a block is for, and its bytes for each.
    pub group: Option<(u32, u64)>,
}

/// The KV pool that is left beside the weights and the activation peak.
///
/// # Errors
/// [`DoesNotFit`] if there is no room for one block on some stage.
pub fn kv_pool(model: &ModelArchitecture, request: &PoolRequest) -> Result<KvPool, DoesNotFit> {
    let PoolRequest { memory_bytes, gpu_memory_utilization, gpu_share, .. } = *request;
    let budget_bytes = (memory_bytes as f64 * gpu_memory_utilization * gpu_share).floor() as u64;
    let mut fullest: Option<KvPool> = None;
    for stage in 0..request.pipeline_parallel.max(1) {
        let RankMemory { weight_bytes, activation_bytes, block_bytes } = rank_memory(model, request, stage);
        let needed_bytes = weight_bytes + activation_bytes + block_bytes;
        if needed_bytes > budget_bytes {
            return Err(DoesNotFit {
                model: model.name.clone(),
                stage,
                weight_bytes,
                activation_bytes,
                block_bytes,
                capacity_bytes: memory_bytes,
                utilization: gpu_memory_utilization,
                gpu_share,
                budget_bytes,
                missing_bytes: needed_bytes - budget_bytes,
            });
        }
        let blocks = match block_bytes {
            0 => u64::MAX,
            _ => (budget_bytes - weight_bytes - activation_bytes) / block_bytes,
        };
        if fullest.is_none_or(|pool| blocks < pool.blocks) {
            fullest = Some(KvPool { blocks, block_bytes, weight_bytes, activation_bytes });
        }
    }
    Ok(fullest.expect("there is at least one stage"))
}

/// What is in the memory of a rank of a stage, whatever the size of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankMemory {
    /// Bytes of weights.
    pub weight_bytes: u64,
    /// Bytes of the activation peak, with the runtime's reserve.
    pub activation_bytes: u64,
    /// Bytes of a KV block. A stage without layers has none, but its weights must fit.
    pub block_bytes: u64,
}

fn rank_memory(model: &ModelArchitecture, request: &PoolRequest, stage: u32) -> RankMemory {
    let (tensor_parallel, stages) = (request.tensor_parallel.max(1), request.pipeline_parallel.max(1));
    let kv_ranks = f64::from(request.decode_context_parallel.max(1));
    let rows = request.max_num_seqs.min(request.max_num_batched_tokens);
    let rows = if stage + 1 == stages { rows } else { 0 };
    let (first, layers) = stage_layers(model.layers.len(), stages, stage);
    let block_bytes = match request.group {
        None => layers_kv_bytes(model, tensor_parallel, first, layers) / kv_ranks * f64::from(request.block_tokens),
        // The layers of a group are spread over the stages as all are.
        Some((of_group, page_bytes)) => {
            let of_stage = (of_group * layers).div_ceil(model.layers.len().max(1));
            page_bytes as f64 * f64::from(of_stage)
        }
    };
    RankMemory {
        weight_bytes: stage_weight_bytes_with_experts(model, tensor_parallel, stages, stage, request.expert_engines),
        activation_bytes: activation_peak_bytes(model, tensor_parallel, request.max_num_batched_tokens, rows)
            + RUNTIME_RESERVE_BYTES,
        block_bytes: block_bytes.ceil() as u64,
    }
}

/// What is in the memory of the fullest rank of an engine.
///
/// # Panics
/// Never: an engine has a stage.
#[must_use]
pub fn fullest_rank(engine: &EngineSpec) -> RankMemory {
    let request = PoolRequest {
        memory_bytes: 0,
        gpu_memory_utilization: 0.0,
        tensor_parallel: engine.tensor_parallel,
        pipeline_parallel: engine.pipeline_parallel,
        block_tokens: engine.scheduler.block_tokens,
        max_num_batched_tokens: engine.scheduler.max_num_batched_tokens,
        max_num_seqs: engine.scheduler.max_num_seqs,
        gpu_share: engine.gpu_share,
        expert_engines: engine.expert_parallel.as_ref().map_or(1, |experts| experts.data_parallel),
        decode_context_parallel: engine.decode_context_parallel,
        group: engine.kv_groups.as_ref().map(|groups| (groups.layers, groups.page_bytes)),
    };
    let ranks = (0..engine.pipeline_parallel.max(1)).map(|stage| rank_memory(&engine.model, &request, stage));
    let held = |rank: &RankMemory| {
        rank.weight_bytes + rank.activation_bytes + rank.block_bytes.saturating_mul(engine.kv_blocks)
    };
    ranks.max_by_key(held).expect("an engine has a stage")
}

/// Bytes that a token takes in the KV cache of all layers, on all ranks together.
#[must_use]
pub fn kv_bytes_per_token(model: &ModelArchitecture) -> f64 {
    kv_bytes_per_token_and_rank(model, 1)
}

/// Bytes of tensors at the peak of a pass with `tokens` tokens on one rank that samples `rows` of them.
#[must_use]
pub fn activation_peak_bytes(model: &ModelArchitecture, tensor_parallel: u32, tokens: u32, rows: u32) -> u64 {
    let tensor = f64::from(tensor_parallel.max(1));
    let stream = 2.0 * f64::from(model.hidden);
    let parts = model.layers.kinds().iter().flat_map(|layer| &layer.parts);
    let widest = parts.map(|part| part_elements(part, f64::from(model.hidden), tensor)).fold(0.0, f64::max);
    let layer = f64::from(tokens) * (stream + widest) * model.activation_dtype.bytes();
    let sampler = f64::from(rows) * f64::from(model.vocab) * SAMPLER_BYTES_PER_LOGIT;
    layer.max(sampler).ceil() as u64
}

/// Elements a token holds while a part runs.
fn part_elements(part: &Part, hidden: f64, tensor: f64) -> f64 {
    match part {
        Part::Attention(attention) => attention_elements(attention, tensor),
        Part::Latent(latent) => latent_elements(latent, tensor),
        Part::Compressed(attention) => 2.0 * f64::from(attention.heads) * f64::from(attention.width) / tensor,
        Part::Recurrent(recurrent) => recurrent.scan_elements as f64 / tensor,
        Part::Mlp(mlp) => mlp_elements(*mlp, tensor),
        // Those of each expert that the token goes to and the vector each gives back.
        Part::Experts(experts) => {
            let routed = mlp_elements(experts.expert, tensor) + expert_input(experts, hidden);
            f64::from(experts.per_token) * routed + mlp_elements(experts.shared, tensor)
        }
    }
}

/// q, k, v and the output.
fn attention_elements(attention: &Attention, tensor: f64) -> f64 {
    let (keys, values) = cached_widths(attention, tensor);
    let heads = f64::from(attention.heads) / tensor;
    heads * (f64::from(attention.key_width) + f64::from(attention.value_width)) + keys + values
}

/// The same with keys and values expanded to heads.
fn latent_elements(latent: &LatentAttention, tensor: f64) -> f64 {
    let heads = f64::from(latent.heads) / tensor;
    let query_key = f64::from(latent.nope_head_dim) + f64::from(latent.rope_head_dim);
    heads * 2.0 * (query_key + f64::from(latent.value_head_dim))
}

/// Gate and up, their product.
fn mlp_elements(mlp: Mlp, tensor: f64) -> f64 {
    (matrices_in(mlp) + 1.0) * f64::from(mlp.width) / tensor
}

/// Bytes as a person reads them: `14.96 GiB (16,060,522,496 bytes)`.
struct Bytes(u64);

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = self.0.to_string();
        let mut grouped = String::with_capacity(digits.len() * 4 / 3);
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        write!(f, "{:.2} GiB ({grouped} bytes)", self.0 as f64 / (1_u64 << 30) as f64)
    }
}

/// An engine's share of its GPUs, where it does not have them alone.
struct Share(f64);

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == 1.0 { Ok(()) } else { write!(f, " × share {} of the GPU", self.0) }
    }
}
