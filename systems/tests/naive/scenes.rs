//! Made-up scenarios: a tiny model on a slow device, so that a step takes about as long as the gap between arrivals.

use std::collections::BTreeMap;
use std::sync::Arc;

use oracle_components::SimTime;
use oracle_components::device::{DeviceSpec, Efficiency, PeakFlops};
use oracle_components::efficiency::{
    DecodeAttentionCurve, EfficiencyCurves, ExpertsCurve, GemmCurve, PrefillAttentionCurve, ProductShares, StreamCurve,
    Tiling,
};
use oracle_components::model::ModelArchitecture;
use oracle_components::scenario::{
    EngineSpec, GpuSpec, KernelLaunch, KvPaths, LevelOfDetail, LinkSpec, PrefixCaching, QueuePolicy, Role, Routing,
    Scenario, SchedulerRules, SchedulerSpec,
};
use oracle_components::transformer::{DenseShape, MixtureOfExperts, Transformer};

/// Two layers, 64 wide.
fn tiny() -> Transformer {
    Transformer {
        max_position_embeddings: 1 << 20,
        ..Transformer::llama_like(
            "tiny",
            DenseShape { layers: 2, hidden: 64, heads: 4, kv_heads: 2, intermediate: 128, vocab: 256 },
        )
    }
}

/// The same with six experts in its second layer.
pub fn tiny_experts() -> ModelArchitecture {
    let moe = MixtureOfExperts {
        experts: 6,
        experts_per_token: 2,
        expert_intermediate: 64,
        shared_intermediate: 32,
        dense_layers: 1,
        expert_dtype: None,
    };
    Transformer { moe: Some(moe), ..tiny() }.architecture()
}

/// A device on which a step of the tiny model takes a few tenths of a millisecond.
fn slow_gpu(id: usize, speed: f64) -> GpuSpec {
    GpuSpec {
        id: format!("gpu{id}"),
        device: Arc::new(DeviceSpec {
            name: "slow".into(),
            peak_flops: PeakFlops { bf16: Some(2e10 * speed), ..PeakFlops::default() },
            memory_bytes: 1 << 30,
            memory_bytes_per_s: 2e9 * speed,
            power: None,
            price_per_hour_usd: None,
        }),
        efficiency: Efficiency::PREDECESSOR,
    }
}

/// Curves that matter on such a device.
pub fn made_up_curves() -> EfficiencyCurves {
    let gemm = GemmCurve {
        tiling: Tiling::Searched,
        compute_share: 0.8,
        halved_tile_share: 0.9,
        whole_wave_share: 0.7,
        memory_share: 0.8,
        reread_passes: 0.1,
        overlap_exponent: 3.0,
        launch_us: 4.0,
        depth_ns: 0.3,
        tile_start_depth: 100.0,
        split_us: 1.0,
        split_passes: 0.5,
        quantise_passes: 0.0,
        quantise_row_ns: 0.0,
        host_us: 0.0,
        long_slowdown: 0.1,
    };
    let experts = ExpertsCurve {
        compute_share: 0.6,
        memory_share: 0.8,
        overlap_exponent: 2.0,
        launch_us: 30.0,
        routing_share: 0.8,
        vector_ps: 4.0,
        expert_ns: 0.0,
        held_expert_ns: 0.0,
        width_multiple: 0.0,
        hidden_multiple: 0.0,
        untuned_factor: 1.5,
        cached_mb: 0.1,
        uncached_slowdown: 0.5,
    };
    let decode_attention = DecodeAttentionCurve {
        memory_share: 0.9,
        narrow_kv_share: 0.8,
        narrow_kv_spread: false,
        narrow_kv_launch_us: 2.0,
        narrow_kv_head_ns: 10.0,
        processor_bandwidth: 1.2,
        spread_heads: 1.6,
        half_bandwidth_heads: 3.0,
        half_bandwidth_exponent: 0.8,
        launch_us: 12.0,
        kv_head_ns: 10.0,
        query_head_ns: 1.0,
        mixed_rows: 64.0,
        mixed_block_ns: 4.0,
        mixed_head_ns: 30.0,
        mixed_walk_ns: 20.0,
        mixed_kept_mb: 0.5,
    };
    EfficiencyCurves {
        processors: 4.0,
        fastest: ProductShares::default(),
        sustained: ProductShares { gemm_share: 0.8, gemm_8bit_share: 0.9 },
        gemm,
        gemm_8bit: gemm,
        gemm_8bit_block: None,
        gemm_4bit: None,
        corrections: BTreeMap::new(),
        expert_kernels: BTreeMap::new(),
        experts,
        experts_8bit: experts,
        tuned_experts: Vec::new(),
        prefill_attention: PrefillAttentionCurve {
            compute_share: 0.6,
            head_width_exponent: 0.3,
            memory_share: 0.6,
            kv_passes: 2.0,
            launch_us: 10.0,
            longest_context_ns: 500.0,
            critical_path_ns: 900.0,
            kv_write_ns: 3.0,
        },
        decode_attention,
        decode_attention_multi_head: decode_attention,
        elementwise: StreamCurve { launch_us: 2.0, memory_share: 0.9 },
        sampler: StreamCurve { launch_us: 25.0, memory_share: 0.9 },
    }
}

/// A link between nowhere and nowhere.
pub fn link(id: &str, bytes_per_s: f64, latency_s: f64) -> LinkSpec {
    LinkSpec { id: id.into(), source: format!("{id}:from"), destination: format!("{id}:to"), bytes_per_s, latency_s }
}

/// Limits that limit nothing, without caching: a start for tests to change.
pub const ROOMY: SchedulerSpec = SchedulerSpec {
    max_num_seqs: 64,
    max_num_batched_tokens: 512,
    block_tokens: 16,
    chunked_prefill: true,
    reserve_full_prompt: true,
    long_prefill_token_threshold: None,
    threshold_share_tokens: None,
    watermark_blocks: 0,
    prefill_schedule_interval: 1,
    rules: SchedulerRules::NEWEST,
    policy: QueuePolicy::Fcfs,
    max_model_len: 1 << 20,
    prefix_caching: PrefixCaching::Off,
    min_cached_prefix_tokens: 0,
    async_scheduling: false,
    stream_interval: 1,
    max_num_queued_reqs: None,
    kv_transfer: None,
};

/// A scenario without engines and links.
pub fn empty_scenario() -> Scenario {
    Scenario {
        horizon: None,
        seed: 1,
        level_of_detail: LevelOfDetail::Medium,
        gpus: Vec::new(),
        links: Vec::new(),
        engines: Vec::new(),
        routing: Routing::RoundRobin,
        decode_routing: Routing::RoundRobin,
        kv_paths: KvPaths::default(),
        prompt_bytes_per_token: 4.0,
        series_interval: SimTime(1_000_000_000),
    }
}

/// Ranks of an engine and how fast its GPUs are, in slow devices.
#[derive(Clone, Copy)]
pub struct Ranks {
    /// Ranks that share a layer.
    pub tensor: u32,
    /// Stages.
    pub pipeline: u32,
    /// Micro-batches of a step with prompts, if set.
    pub prompt_microbatches: Option<u32>,
    /// Speed of each GPU.
    pub speed: f64,
}

impl Ranks {
    /// One slow GPU.
    pub const ONE: Self = Self { tensor: 1, pipeline: 1, prompt_microbatches: None, speed: 1.0 };
}

/// Adds an engine with GPUs, rings and stage links of its own, and no links to the client.
pub fn add_engine(scenario: &mut Scenario, scheduler: SchedulerSpec, kv_blocks: u64, ranks: Ranks) -> &mut EngineSpec {
    let mut gpus = Vec::new();
    for _ in 0..ranks.tensor * ranks.pipeline {
        gpus.push(scenario.gpus.len() as u32);
        scenario.gpus.push(slow_gpu(scenario.gpus.len(), ranks.speed));
    }
    let mut new_path = |kind: &str| {
        let index = scenario.links.len() as u32;
        scenario.links.push(link(&format!("{kind}{index}"), 1e9, 2e-6));
        vec![index]
    };
    let hops = if ranks.tensor > 1 { ranks.tensor } else { 0 };
    let rings = (0..ranks.pipeline).map(|_| (0..hops).map(|_| new_path("ring")).collect()).collect();
    let stage_paths = (1..ranks.pipeline).map(|_| new_path("stage")).collect();
    scenario.engines.push(EngineSpec {
        name: "made-up".into(),
        role: Role::Both,
        model: Arc::new(tiny().architecture()),
        gpus,
        tensor_parallel: ranks.tensor,
        pipeline_parallel: ranks.pipeline,
        prompt_microbatches: ranks.prompt_microbatches,
        rings,
        stage_paths,
        efficiency: None,
        gpu_share: 1.0,
        scheduler,
        kv_blocks,
        kv_groups: None,
        kernel_launch: KernelLaunch::Free,
        step_overhead_s: 0.0,
        sequence_overhead_s: 0.0,
        encoder_s_per_token: 0.0,
        ingress: Vec::new(),
        egress: Vec::new(),
        response_bytes_per_token: 0.0,
        weight: 1.0,
        fabrics: Vec::new(),
        expert_parallel: None,
        sequence_parallel: false,
        decode_context_parallel: 1,
        expert_kernels: None,
        fused_norms_and_routers: true,
    });
    scenario.engines.last_mut().expect("just added")
}
