//! What a step costs, by hand (`prices`, `weights`) by law (`laws`), and what of it ranks share (`parallel`).

mod curves;
mod experts;
mod formats;
mod golden;
mod laws;
mod measured;
mod parallel;
mod prices;
mod stages;
mod tables;
mod weights;

use std::sync::Arc;

use oracle_components::SimTime;
use oracle_components::device::{DeviceSpec, Efficiency, PeakFlops};
use oracle_components::model::{Dtype, ModelArchitecture};
use oracle_components::scenario::{
    EngineSpec, GpuSpec, KernelLaunch, KvPaths, LevelOfDetail, LinkSpec, PrefixCaching, QueuePolicy, Role, Routing,
    Scenario, SchedulerRules, SchedulerSpec,
};
use oracle_components::transformer::{DenseShape, LatentWidths, MixtureOfExperts, Transformer};
use oracle_systems::costing::{PreparedStep, StepCost, StepShape};

const FLOPS_PER_S: f64 = 312e12 * 0.5;
const BYTES_PER_S: f64 = 2039e9 * 0.8;
const LINK_BYTES_PER_S: f64 = 300e9;
const LINK_LATENCY_S: f64 = 2e-6;

fn llama(layers: u32, hidden: u32, heads: u32, kv_heads: u32, intermediate: u32, vocab: u32) -> Transformer {
    Transformer {
        max_position_embeddings: 4096,
        weight_dtype: Dtype::Fp16,
        activation_dtype: Dtype::Fp16,
        kv_dtype: Dtype::Fp16,
        ..Transformer::llama_like("llama", DenseShape { layers, hidden, heads, kv_heads, intermediate, vocab })
    }
}

fn llama2_13b() -> Transformer {
    llama(40, 5120, 40, 40, 13824, 32000)
}

fn mixtral_8x7b() -> Transformer {
    let moe = MixtureOfExperts {
        experts: 8,
        experts_per_token: 2,
        expert_intermediate: 14336,
        shared_intermediate: 0,
        expert_dtype: None,
        dense_layers: 0,
    };
    Transformer { moe: Some(moe), ..llama(32, 4096, 32, 8, 14336, 32000) }
}

fn deepseek_v3() -> Transformer {
    Transformer {
        latent: Some(LatentWidths {
            kv_lora_rank: 512,
            q_lora_rank: Some(1536),
            rope_head_dim: 64,
            nope_head_dim: 128,
            value_head_dim: 128,
        }),
        moe: Some(MixtureOfExperts {
            experts: 256,
            experts_per_token: 8,
            expert_intermediate: 2048,
            shared_intermediate: 2048,
            expert_dtype: None,
            dense_layers: 3,
        }),
        ..llama(61, 7168, 128, 128, 18432, 129_280)
    }
}

/// `tensor × pipeline` A100s; every ring hop and every stage send has a link of its own.
fn scenario(model: impl Into<ModelArchitecture>, tensor: u32, pipeline: u32, microbatches: u32) -> Scenario {
    let ranks = tensor * pipeline;
    let device = Arc::new(DeviceSpec {
        name: "A100".into(),
        peak_flops: PeakFlops { fp16: Some(312e12), bf16: Some(312e12), int8: Some(624e12), ..PeakFlops::default() },
        memory_bytes: 80 << 30,
        memory_bytes_per_s: 2039e9,
        power: None,
        price_per_hour_usd: None,
    });
    let gpu = |id: u32| GpuSpec { id: id.to_string(), device: device.clone(), efficiency: Efficiency::PREDECESSOR };
    let link = |id: u32| LinkSpec {
        id: id.to_string(),
        source: String::new(),
        destination: String::new(),
        bytes_per_s: LINK_BYTES_PER_S,
        latency_s: LINK_LATENCY_S,
    };
    let hops = |stage: u32| {
        if tensor > 1 { (0..tensor).map(|rank| vec![stage * tensor + rank]).collect() } else { vec![] }
    };
    let engine = EngineSpec {
        name: "engine".into(),
        role: Role::Both,
        model: Arc::new(model.into()),
        gpus: (0..ranks).collect(),
        tensor_parallel: tensor,
        pipeline_parallel: pipeline,
        prompt_microbatches: Some(microbatches),
        rings: (0..pipeline).map(hops).collect(),
        stage_paths: (1..pipeline).map(|stage| vec![ranks + stage]).collect(),
        efficiency: None,
        gpu_share: 1.0,
        scheduler: SchedulerSpec {
            max_num_seqs: 256,
            max_num_batched_tokens: 8192,
            block_tokens: 16,
            chunked_prefill: true,
            reserve_full_prompt: true,
            long_prefill_token_threshold: None,
            threshold_share_tokens: None,
            watermark_blocks: 0,
            prefill_schedule_interval: 1,
            rules: SchedulerRules::NEWEST,
            policy: QueuePolicy::Fcfs,
            max_model_len: 4096,
            prefix_caching: PrefixCaching::Off,
            min_cached_prefix_tokens: 0,
            async_scheduling: false,
            stream_interval: 1,
            max_num_queued_reqs: None,
            kv_transfer: None,
        },
        kv_blocks: 1000,
        kv_groups: None,
        kernel_launch: KernelLaunch::Free,
        step_overhead_s: 0.0,
        sequence_overhead_s: 0.0,
        encoder_s_per_token: 1e-6,
        ingress: vec![],
        egress: vec![],
        response_bytes_per_token: 2.0,
        weight: 1.0,
        fabrics: Vec::new(),
        expert_parallel: None,
        sequence_parallel: false,
        decode_context_parallel: 1,
        expert_kernels: None,
        fused_norms_and_routers: true,
    };
    Scenario {
        horizon: None,
        seed: 0,
        level_of_detail: LevelOfDetail::High,
        gpus: (0..ranks).map(gpu).collect(),
        links: (0..ranks + pipeline).map(link).collect(),
        engines: vec![engine],
        routing: Routing::RoundRobin,
        decode_routing: Routing::RoundRobin,
        kv_paths: KvPaths::default(),
        prompt_bytes_per_token: 2.0,
        series_interval: SimTime(1_000_000_000),
    }
}

fn cost(scenario: &Scenario) -> StepCost {
    StepCost::new(&scenario.engines[0], scenario)
}

/// The same without `prompt_microbatches`: whole sequences, as many micro-batches as stages.
fn scenario_by_sequences(model: impl Into<ModelArchitecture>, pipeline: u32) -> Scenario {
    let mut scenario = scenario(model, 1, pipeline, 1);
    scenario.engines[0].prompt_microbatches = None;
    scenario
}

fn prepare(
    model: impl Into<ModelArchitecture>,
    tensor: u32,
    pipeline: u32,
    microbatches: u32,
    shape: &StepShape,
) -> PreparedStep {
    cost(&scenario(model, tensor, pipeline, microbatches)).prepare(shape)
}

fn decode(sequences: u32) -> StepShape {
    StepShape { decode_sequences: sequences, sampled_rows: sequences, ..StepShape::default() }
}

/// One whole prompt.
fn prefill(tokens: u32) -> StepShape {
    let count = u64::from(tokens);
    StepShape {
        prefill_tokens: tokens,
        prefill_sequences: 1,
        prefill_pairs: count * (count + 1) / 2,
        prefill_context_tokens: count,
        prefill_longest_context: tokens,
        sampled_rows: 1,
        ..StepShape::default()
    }
}

fn seconds(step: &PreparedStep, context: u64) -> f64 {
    step.duration(context).as_secs_f64()
}

#[track_caller]
fn assert_near(got: f64, expected: f64, relative: f64) {
    assert!((got / expected - 1.0).abs() <= relative, "got {got}, expected {expected} within {relative}");
}
