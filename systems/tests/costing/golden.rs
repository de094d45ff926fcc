//! Golden prices: what steps of some 200 engines take and do, in `golden.txt`, which was written by this test. A figure may change with
//! the model, and the laws in the files beside this one may not; so a change of prices shows as a diff, and no formula changes
//! unseen. `GOLDEN_UPDATE=1 cargo test -p oracle-systems --test costing golden` takes what comes: read the diff before you commit it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use oracle_components::collectives::GroupFabric;
use oracle_components::device::Efficiency;
use oracle_components::efficiency::{
    DecodeAttentionCurve, EfficiencyCurves, ExpertsCurve, GemmCurve, PrefillAttentionCurve, ProductShares, StreamCurve,
    Tiling,
};
use oracle_components::kernel_times::KernelTimes;
use oracle_components::model::Dtype;
use oracle_components::scenario::{ExpertExchange, ExpertParallel, KernelLaunch, LevelOfDetail, Scenario};
use oracle_components::transformer::{LatentWidths, MixtureOfExperts, SlidingWindow, Transformer};
use oracle_systems::costing::weights::{active_parameters, parameters, stage_weight_bytes, weight_bytes};
use oracle_systems::costing::{Operation, StepCost, StepShape, collective_seconds, peak_flops, table_gaps};
use oracle_systems::memory::{PoolRequest, activation_peak_bytes, kv_bytes_per_token, kv_pool};

use crate::parallel::fabric;
use crate::tables::{any_times, by_table};
use crate::{cost, llama, scenario};

/// Figures of another machine's `libm` may differ in their last digits, of which nine are kept, and nanoseconds in the way they are rounded.
const LAST_DIGITS: f64 = 2e-8;
/// Engines; each list of options goes round at a pace of its own.
const ENGINES: usize = 198;

fn moe(experts: u32, per_token: u32, width: u32, shared: u32, dense_layers: u32) -> MixtureOfExperts {
    MixtureOfExperts {
        experts,
        experts_per_token: per_token,
        expert_intermediate: width,
        shared_intermediate: shared,
        expert_dtype: None,
        dense_layers,
    }
}

/// Small models, no two sizes of one equal, of every kind.
fn models() -> [Transformer; 11] {
    let latent = |q_lora_rank| {
        Some(LatentWidths { kv_lora_rank: 192, q_lora_rank, rope_head_dim: 32, nope_head_dim: 64, value_head_dim: 80 })
    };
    let window =
        |window_tokens, layers| Some(SlidingWindow { window_tokens, layers, chunked: false, begins_full: false });
    let base = llama(7, 1536, 24, 8, 4000, 30_000);
    let multi_head = llama(6, 1280, 20, 20, 3500, 20_000);
    [
        base.clone(),
        Transformer { weight_dtype: Dtype::Int8, gated_mlp: false, qkv_bias: true, ..base.clone() },
        Transformer {
            weight_dtype: Dtype::Fp8,
            kv_dtype: Dtype::Fp8,
            qk_norm: true,
            norms_per_layer: 4,
            tied_embeddings: true,
            ..base.clone()
        },
        Transformer { weight_dtype: Dtype::Int4, sliding_window: window(300, 3), ..base.clone() },
        Transformer { latent: latent(Some(500)), moe: Some(moe(24, 3, 700, 900, 2)), ..base.clone() },
        Transformer {
            moe: Some(MixtureOfExperts { expert_dtype: Some(Dtype::Mxfp4), ..moe(16, 4, 1100, 0, 0) }),
            ..base.clone()
        },
        Transformer { weight_dtype: Dtype::Fp8, moe: Some(moe(40, 5, 600, 0, 1)), ..base.clone() },
        Transformer { learned_positions: true, all_biases: true, gated_mlp: false, ..multi_head.clone() },
        Transformer { latent: latent(None), weight_dtype: Dtype::Int8, ..base.clone() },
        Transformer { sliding_window: window(128, 4), moe: Some(moe(8, 2, 3000, 500, 0)), ..base },
        Transformer { kv_dtype: Dtype::Fp8, ..multi_head },
    ]
}

fn searched() -> EfficiencyCurves {
    let gemm = GemmCurve {
        tiling: Tiling::Searched,
        compute_share: 0.83,
        halved_tile_share: 0.91,
        whole_wave_share: 0.7,
        memory_share: 0.86,
        reread_passes: 0.13,
        overlap_exponent: 3.1,
        launch_us: 4.3,
        depth_ns: 0.31,
        tile_start_depth: 110.0,
        split_us: 1.7,
        split_passes: 0.6,
        quantise_passes: 1.9,
        quantise_row_ns: 2.3,
        host_us: 0.0,
        long_slowdown: 0.12,
    };
    let experts = ExpertsCurve {
        compute_share: 0.62,
        memory_share: 0.81,
        overlap_exponent: 2.3,
        launch_us: 31.0,
        routing_share: 0.85,
        vector_ps: 4.7,
        expert_ns: 0.0,
        held_expert_ns: 0.0,
        width_multiple: 0.0,
        hidden_multiple: 0.0,
        untuned_factor: 1.6,
        cached_mb: 3.0,
        uncached_slowdown: 0.5,
    };
    let decode_attention = DecodeAttentionCurve {
        memory_share: 0.9,
        narrow_kv_share: 0.8,
        narrow_kv_spread: false,
        narrow_kv_launch_us: 2.1,
        narrow_kv_head_ns: 11.0,
        processor_bandwidth: 1.2,
        spread_heads: 1.6,
        half_bandwidth_heads: 3.3,
        half_bandwidth_exponent: 0.8,
        launch_us: 12.0,
        kv_head_ns: 10.0,
        query_head_ns: 1.3,
        mixed_rows: 64.0,
        mixed_block_ns: 4.4,
        mixed_head_ns: 33.0,
        mixed_walk_ns: 21.0,
        mixed_kept_mb: 0.5,
    };
    EfficiencyCurves {
        processors: 108.0,
        fastest: ProductShares { gemm_share: 0.95, gemm_8bit_share: 0.92 },
        sustained: ProductShares { gemm_share: 0.8, gemm_8bit_share: 0.9 },
        gemm,
        gemm_8bit: GemmCurve { tiling: Tiling::ByRows, launch_us: 6.1, compute_share: 0.7, ..gemm },
        experts,
        experts_8bit: ExpertsCurve { launch_us: 43.0, untuned_factor: 0.0, ..experts },
        gemm_8bit_block: None,
        gemm_4bit: None,
        corrections: BTreeMap::new(),
        expert_kernels: BTreeMap::new(),
        tuned_experts: vec![[16, 1100], [24, 350]],
        prefill_attention: PrefillAttentionCurve {
            compute_share: 0.61,
            head_width_exponent: 0.3,
            memory_share: 0.6,
            kv_passes: 2.1,
            launch_us: 10.0,
            longest_context_ns: 50.0,
            critical_path_ns: 90.0,
            kv_write_ns: 3.0,
        },
        decode_attention,
        decode_attention_multi_head: DecodeAttentionCurve {
            processor_bandwidth: 0.0,
            spread_heads: 0.0,
            launch_us: 15.0,
            ..decode_attention
        },
        elementwise: StreamCurve { launch_us: 2.2, memory_share: 0.9 },
        sampler: StreamCurve { launch_us: 25.0, memory_share: 0.85 },
    }
}

/// The other way round: tiles by rows, contexts in no rounds, no time for what is optional.
fn by_rows() -> EfficiencyCurves {
    let curves = searched();
    let prefill_attention = PrefillAttentionCurve { kv_write_ns: 0.0, ..curves.prefill_attention };
    EfficiencyCurves {
        processors: 80.0,
        fastest: ProductShares::default(),
        sustained: ProductShares::default(),
        gemm: curves.gemm_8bit,
        gemm_8bit: curves.gemm,
        experts: curves.experts_8bit,
        experts_8bit: ExpertsCurve { routing_share: 1.0, ..curves.experts },
        tuned_experts: Vec::new(),
        prefill_attention,
        decode_attention: curves.decode_attention_multi_head,
        decode_attention_multi_head: curves.decode_attention,
        ..curves
    }
}

/// Measured kernels, far enough from the roofs to show: of the whole model's heads, and of others that are sometimes nearer.
fn times(model: &Transformer, scale: &[f64]) -> KernelTimes {
    let mut times = any_times(model, scale);
    for (prompts, seconds) in &mut times.prefill_attention[0].seconds {
        let (tokens, before) = (f64::from(prompts.chunk_tokens), f64::from(prompts.context_tokens));
        *seconds *= 0.4 + 1e-5 * tokens * (before + tokens);
    }
    for (_, line) in &mut times.decode_attention[0].alone {
        line.floor_s *= 5.0;
    }
    let (mut prefill, mut decode) = (times.prefill_attention[0].clone(), times.decode_attention[0].clone());
    (prefill.heads.query, prefill.heads.kv) = (3.0, 2.0);
    (decode.heads.query, decode.heads.kv) = (5.0, 1.0);
    prefill.seconds.iter_mut().for_each(|(_, seconds)| *seconds *= 0.3);
    decode.alone.iter_mut().for_each(|(_, line)| line.floor_s *= 0.3);
    times.prefill_attention.push(prefill);
    times.decode_attention.push(decode);
    times
}

/// How GPUs are priced: constants, curves, measurements.
fn efficient(model: &Transformer, scenario: Scenario, way: usize) -> (&'static str, Scenario) {
    let with = |efficiency: Efficiency| {
        let mut scenario = scenario.clone();
        scenario.gpus.iter_mut().for_each(|gpu| gpu.efficiency = efficiency.clone());
        scenario
    };
    let measured = |scale: &[f64], curves| {
        let times = times(model, scale);
        by_table(scenario.clone(), &Arc::new(curves), times)
    };
    match way {
        0 => ("constant", scenario),
        1 => ("searched", with(Efficiency::Curve(Arc::new(searched())))),
        2 => ("by rows", with(Efficiency::Curve(Arc::new(by_rows())))),
        3 => ("measured", measured(&[1.3, 0.7, 2.0, 0.9, 1.1], searched())),
        _ => ("measured slow", measured(&[7.0, 9.0, 8.0], by_rows())),
    }
}

/// Tensor and pipeline ranks of a layout.
const RANKS: [(u32, u32); 9] = [(1, 1), (2, 1), (4, 1), (1, 3), (2, 2), (2, 7), (1, 8), (8, 1), (4, 1)];

/// What is peculiar to a layout.
fn laid_out(scenario: &mut Scenario, layout: usize) {
    let (tensor, pipeline) = RANKS[layout];
    let hops: Vec<Vec<u32>> = (0..tensor).map(|rank| vec![rank]).collect();
    let experts = |data_parallel, exchange, imbalance, fabric| {
        Some(ExpertParallel { data_parallel, exchange, imbalance, hops: hops.clone(), fabric })
    };
    let local = |custom_all_reduce| GroupFabric { local: Arc::new(fabric()), custom_all_reduce, across: None };
    let has_experts = scenario.engines[0].model.experts().is_some();
    let engine = &mut scenario.engines[0];
    match layout {
        1 => {
            engine.fabrics = vec![Some(local(true))];
            engine.expert_parallel = experts(3, ExpertExchange::AllToAll, Some(2.0), None).filter(|_| has_experts);
        }
        2 => {
            engine.sequence_parallel = true;
            engine.expert_parallel = experts(1, ExpertExchange::AllGather, None, None).filter(|_| has_experts);
        }
        3 => scenario.gpus[1].efficiency = Efficiency::Constant { mfu: 0.3, mbu: 0.6 },
        4 => {
            // Both rings over one link, with a detour.
            engine.rings = vec![vec![vec![0], vec![1, 2]], vec![vec![0], vec![2]]];
            engine.gpu_share = 0.5;
        }
        // Seven kinds of stages are levelled to the slowest.
        5 => (0..pipeline).for_each(|stage| scenario.links[stage as usize + 1].bytes_per_s *= f64::from(stage + 2)),
        7 => {
            engine.fabrics = vec![Some(GroupFabric { across: Some((2, Arc::new(fabric()))), ..local(false) })];
            engine.rings = vec![(0..tensor).map(|rank| vec![rank % 3]).collect()];
            engine.expert_parallel =
                experts(2, ExpertExchange::AllGather, None, Some(local(false))).filter(|_| has_experts);
        }
        8 => {
            engine.decode_context_parallel = 2;
            engine.fabrics = vec![Some(GroupFabric { across: Some((2, Arc::new(fabric()))), ..local(true) })];
        }
        _ => {}
    }
}

fn engine(at: usize) -> (String, Scenario) {
    let models = models();
    let (model, layout, way) = (at % models.len(), at % RANKS.len(), at / 7 % 5);
    let (tensor, pipeline) = RANKS[layout];
    let microbatches = 1 + at as u32 % 3;
    let (way, mut scenario) =
        efficient(&models[model], scenario(models[model].clone(), tensor, pipeline, microbatches), way);
    if at % 4 == 3 {
        scenario.engines[0].prompt_microbatches = None;
    }
    if at.is_multiple_of(5) {
        scenario.level_of_detail = LevelOfDetail::Medium;
    }
    // A slow device, on which floors matter little.
    if at % 3 == 1 {
        for gpu in &mut scenario.gpus {
            let mut device = (*gpu.device).clone();
            let peaks = &mut device.peak_flops;
            [&mut peaks.fp16, &mut peaks.bf16, &mut peaks.int8].into_iter().flatten().for_each(|peak| *peak /= 50.0);
            device.memory_bytes_per_s /= 40.0;
            gpu.device = Arc::new(device);
        }
    }
    let engine = &mut scenario.engines[0];
    engine.kernel_launch = match at % 4 {
        0 => KernelLaunch::Graphs([1, 2, 4, 8, 16, 32, 64, 128, 256].into()),
        1 => KernelLaunch::Eager { launch_s: 6e-6 },
        _ => KernelLaunch::Free,
    };
    (engine.step_overhead_s, engine.sequence_overhead_s) = (3e-5, 2e-7);
    engine.scheduler.async_scheduling = at % 6 == 5;
    if way.starts_with("measured") && at.is_multiple_of(2) {
        engine.gpu_share = 0.5;
    }
    laid_out(&mut scenario, layout);
    (format!("{at:3} model {model:2} {way:13} layout {layout}"), scenario)
}

/// Decodes of a summed context; prompts of (tokens computed before, tokens), of which `complete` end.
fn step(decodes: u32, prompts: &[(u32, u32)], complete: u32) -> StepShape {
    let tokens = |&(before, new): &(u32, u32)| (u64::from(before), u64::from(new));
    let pairs = prompts.iter().map(tokens).map(|(before, new)| new * before + new * (new + 1) / 2);
    StepShape {
        decode_sequences: decodes,
        prefill_tokens: prompts.iter().map(|(_, new)| new).sum(),
        prefill_sequences: prompts.len() as u32,
        prefill_pairs: pairs.sum(),
        prefill_context_tokens: prompts.iter().map(tokens).map(|(before, new)| before + new).sum(),
        prefill_longest_context: prompts.iter().map(|(before, new)| before + new).max().unwrap_or(0),
        encoder_tokens: 0,
        sampled_rows: decodes + complete,
    }
}

/// Steps with their summed decode contexts.
fn steps() -> [(StepShape, u64); 9] {
    [
        (step(1, &[], 0), 900),
        (step(7, &[], 0), 1_000),
        (step(60, &[], 0), 200_000),
        (step(200, &[], 0), 1_500_000),
        (step(0, &[(0, 33)], 1), 0),
        (step(0, &[(0, 1900), (700, 148)], 1), 0),
        (step(0, &[(3000, 5000)], 0), 0),
        (step(9, &[(0, 119)], 1), 30_000),
        (step(150, &[(512, 512), (0, 300), (10, 1000)], 2), 300_000),
    ]
}

/// Nine digits of a figure.
fn digits(figure: f64) -> String {
    if figure == 0.0 { "0".to_owned() } else { format!("{figure:.8e}") }
}

fn prices() -> String {
    let mut text = String::new();
    for at in 0..ENGINES {
        let (name, scenario) = engine(at);
        let cost = cost(&scenario);
        assert!(StepCost::of_all(&scenario).eq([cost.clone()]), "one engine's cost, whichever way");
        let prepared = steps().map(|(shape, context)| (cost.prepare(&shape), context));
        let took = prepared.iter().map(|(step, context)| step.duration(*context).0.to_string());
        writeln!(text, "{name} ns {}", took.collect::<Vec<_>>().join(" ")).expect("text");
        // The work of ten steps of decodes, and of one with all there is.
        let ((decodes, context), (mixed, mixed_context)) = (&prepared[2], &prepared[8]);
        for work in [decodes.work_over(10, 10 * context + 60 * 45), mixed.work(*mixed_context)] {
            let figures = [work.flops_per_gpu, work.memory_bytes_per_gpu, work.ring_bytes];
            let figures = figures.into_iter().chain([work.stage_bytes, work.exchange_bytes]);
            let figures = figures.map(digits);
            writeln!(text, "    work {}", figures.collect::<Vec<_>>().join(" ")).expect("text");
        }
        for gap in table_gaps(&scenario.engines[0], &scenario) {
            writeln!(text, "    by curve: {gap}").expect("text");
        }
    }
    text
}

fn sizes() -> String {
    let mut text = String::new();
    for (index, transformer) in models().iter().enumerate() {
        let model = &transformer.architecture();
        let device = &scenario(model.clone(), 1, 1, 1).gpus[0].device;
        let figures = [parameters(model), active_parameters(model), weight_bytes(model)];
        let per_token = kv_bytes_per_token(model);
        writeln!(text, "model {index:2} {figures:?} {per_token} {}", digits(peak_flops(device, model))).expect("text");
        // Attention is the widest where MLPs are narrow, and the dense MLP where experts are.
        let narrow = Transformer { intermediate: 8, moe: None, ..transformer.clone() };
        let dense = Transformer { intermediate: 40_000, ..transformer.clone() };
        let widest = [narrow, dense]
            .map(|model| [1, 2, 8].map(|tensor| activation_peak_bytes(&model.architecture(), tensor, 500, 0)));
        writeln!(text, "    widest {widest:?}").expect("text");
        for (tensor, pipeline, tokens, rows) in [(1, 1, 2048, 256), (2, 3, 100, 100), (8, 1, 8192, 30)] {
            let request = PoolRequest {
                memory_bytes: 8 << 30,
                tensor_parallel: tensor,
                pipeline_parallel: pipeline,
                gpu_memory_utilization: 0.9,
                block_tokens: 16,
                max_num_batched_tokens: tokens,
                max_num_seqs: rows,
                gpu_share: 1.0,
                expert_engines: tensor,
                decode_context_parallel: 1,
                group: None,
            };
            let pool = kv_pool(model, &request).expect("8 GiB hold any of them");
            let stages = (0..pipeline).map(|stage| stage_weight_bytes(model, tensor, pipeline, stage));
            let stages: Vec<_> = stages.collect();
            let peak = activation_peak_bytes(model, tensor, tokens, rows);
            writeln!(text, "    {tensor} {pipeline} {pool:?} {stages:?} {peak}").expect("text");
        }
    }
    let operations = [Operation::AllReduce, Operation::AllGather, Operation::ReduceScatter, Operation::AllToAll];
    let across = Some((2, Arc::new(fabric())));
    for (index, operation) in operations.into_iter().enumerate() {
        for (ranks, custom_all_reduce, across) in [(2, false, None), (4, true, None), (16, true, across.clone())] {
            let group = GroupFabric { local: Arc::new(fabric()), custom_all_reduce, across };
            let took = [1e3, 1e5, 3e6, 1e9].map(|bytes| digits(collective_seconds(operation, &group, ranks, bytes)));
            writeln!(text, "collective {index} {ranks} {}", took.join(" ")).expect("text");
        }
    }
    text
}

/// Whether two lines say the same but for the last digits of their figures.
fn alike(one: &str, other: &str) -> bool {
    let is_separator = |c: char| c.is_whitespace() || "[](){},:".contains(c);
    let (one, other): (Vec<_>, Vec<_>) = (one.split(is_separator).collect(), other.split(is_separator).collect());
    let rounding = if one.contains(&"ns") { 1.0 } else { 0.0 };
    let near = |one: &str, other: &str| match (one.parse::<f64>(), other.parse::<f64>()) {
        (Ok(one), Ok(other)) => (one - other).abs() <= LAST_DIGITS * one.abs() + rounding,
        _ => one == other,
    };
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| near(one, other))
}

#[test]
fn golden_prices_are_as_they_were() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/costing/golden.txt");
    let now = sizes() + &prices();
    if std::env::var_os("GOLDEN_UPDATE").is_some() {
        std::fs::write(path, &now).expect("the file can be written");
    }
    let before = std::fs::read_to_string(path).expect("the file is there");
    assert_eq!(before.lines().count(), now.lines().count(), "lines");
    let changed = before.lines().zip(now.lines()).filter(|(before, now)| !alike(before, now));
    let changed: Vec<_> = changed.map(|(before, now)| format!("was {before}\nis  {now}")).collect();
    let shown = changed[..changed.len().min(5)].join("\n");
    assert!(changed.is_empty(), "{} of {} lines have changed:\n{shown}", changed.len(), now.lines().count());
}
