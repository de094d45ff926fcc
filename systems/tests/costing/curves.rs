//! What holds of every price by efficiency curve, whatever the coefficients; and how kernels are launched.

use std::collections::BTreeMap;
use std::sync::Arc;

use oracle_components::device::Efficiency;
use oracle_components::efficiency::{
    Correction, DecodeAttentionCurve, EfficiencyCurves, ExpertsCurve, GemmCurve, PrefillAttentionCurve, ProductShares,
    StreamCurve, Tiling,
};
use oracle_components::layers::{Index, LatentAttention, Layer, Part};
use oracle_components::model::ModelArchitecture;
use oracle_components::scenario::{KernelLaunch, Scenario};
use oracle_components::transformer::Transformer;
use oracle_systems::costing::StepShape;
use oracle_systems::costing::corrections::Corrected;
use oracle_systems::costing::curves::{
    DecodeAttention, Gemm, Peaks, decode_attention, gemm_s, mixed_decodes, routed_tokens,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::laws::{models, shapes};
use crate::{LINK_BYTES_PER_S, assert_near, cost, decode, deepseek_v3, llama2_13b, prefill, scenario, seconds};

/// A device's peaks, as `scenario` has them.
const FLOPS_PER_S: f64 = 624e12;
pub(super) const BYTES_PER_S: f64 = 2039e9;

fn gemm_curves() -> impl Strategy<Value = GemmCurve> {
    let shares = [0.3..1.0, 0.5..1.0, 0.01..1.0, 0.3..1.0, 0.0..1.0_f64];
    let tilings = prop_oneof![Just(Tiling::Searched), Just(Tiling::ByRows)];
    ((tilings, shares), 0.8..12.0_f64, 0.0..10.0_f64, 0.0..1.0_f64, 0.0..800.0_f64, 0.0..4.0_f64, 0.0..5.0_f64)
        .prop_map(
            |(
                (tiling, [compute_share, halved_tile_share, whole_wave_share, memory_share, reread_passes]),
                exponent,
                launch_us,
                depth_ns,
                start,
                split,
                passes,
            )| {
                GemmCurve {
                    tiling,
                    compute_share,
                    halved_tile_share,
                    whole_wave_share,
                    memory_share,
                    reread_passes,
                    overlap_exponent: exponent,
                    launch_us,
                    depth_ns,
                    tile_start_depth: start,
                    split_us: split,
                    split_passes: split,
                    quantise_passes: passes,
                    quantise_row_ns: passes,
                    host_us: 0.0,
                    long_slowdown: reread_passes,
                }
            },
        )
}

fn decode_curves() -> impl Strategy<Value = DecodeAttentionCurve> {
    let whole_contexts = prop_oneof![Just((0.0, 0.0)), (0.5..3.0_f64, 0.0..2.0_f64)];
    let costs = (0.0..20.0_f64, 0.0..30.0_f64, 0.0..128.0_f64);
    ([0.3..1.0, 0.5..1.0, 0.01..1.0_f64], 0.0..80.0_f64, costs, whole_contexts).prop_map(
        |(
            [memory_share, narrow_kv_share, half_bandwidth_exponent],
            half_bandwidth_heads,
            (launch_us, head_ns, mixed_rows),
            (processor_bandwidth, spread_heads),
        )| {
            DecodeAttentionCurve {
                memory_share,
                narrow_kv_share,
                narrow_kv_spread: false,
                narrow_kv_launch_us: 0.2 * launch_us,
                narrow_kv_head_ns: head_ns,
                processor_bandwidth,
                spread_heads,
                half_bandwidth_heads,
                half_bandwidth_exponent,
                launch_us,
                kv_head_ns: head_ns,
                query_head_ns: 0.1 * head_ns,
                mixed_rows,
                mixed_block_ns: 0.1 * mixed_rows,
                mixed_head_ns: head_ns,
                mixed_walk_ns: launch_us,
                mixed_kept_mb: 0.1 * mixed_rows,
            }
        },
    )
}

pub(super) fn expert_curves() -> impl Strategy<Value = ExpertsCurve> {
    let untuned = prop_oneof![Just((0.0, 0.0, 0.0)), (1.0..3.0_f64, 0.0..50.0_f64, 0.0..2.0_f64)];
    let coefficients = ([0.3..1.0, 0.3..1.0, 0.5..1.0_f64], 0.8..5.0_f64, 0.0..40.0_f64, 0.0..20.0_f64, untuned);
    coefficients.prop_map(
        |([compute_share, memory_share, routing_share], exponent, launch_us, element_ps, (slowdown, cached, delay))| {
            ExpertsCurve {
                compute_share,
                memory_share,
                overlap_exponent: exponent,
                launch_us,
                routing_share,
                vector_ps: element_ps,
                expert_ns: 0.0,
                held_expert_ns: 0.0,
                width_multiple: 0.0,
                hidden_multiple: 0.0,
                untuned_factor: slowdown,
                cached_mb: cached,
                uncached_slowdown: delay,
            }
        },
    )
}

pub(super) fn curves() -> impl Strategy<Value = EfficiencyCurves> {
    let prefill = ([0.3..1.0, 0.3..1.0_f64], 0.0..0.8_f64, 0.0..3.0_f64, 0.0..20.0_f64, 0.0..30.0_f64);
    let prefill = prefill.prop_map(|([compute_share, memory_share], exponent, kv_passes, launch_us, context_ns)| {
        PrefillAttentionCurve {
            compute_share,
            head_width_exponent: exponent,
            memory_share,
            kv_passes,
            launch_us,
            longest_context_ns: context_ns,
            critical_path_ns: 1.5 * context_ns,
            kv_write_ns: 0.2 * context_ns,
        }
    });
    let stream =
        || (0.0..30.0_f64, 0.3..1.0_f64).prop_map(|(launch_us, memory_share)| StreamCurve { launch_us, memory_share });
    let processors = prop::sample::select(vec![2.0, 80.0, 132.0]);
    (processors, [gemm_curves(), gemm_curves()], expert_curves(), prefill, [decode_curves(), decode_curves()], stream())
        .prop_map(|(processors, [gemm, gemm_8bit], experts, prefill_attention, [grouped, multi_head], stream)| {
            EfficiencyCurves {
                processors,
                fastest: ProductShares::default(),
                sustained: ProductShares { gemm_share: 0.8, gemm_8bit_share: 0.9 },
                gemm,
                gemm_8bit,
                gemm_8bit_block: None,
                gemm_4bit: None,
                corrections: BTreeMap::new(),
                expert_kernels: BTreeMap::new(),
                experts,
                experts_8bit: experts,
                tuned_experts: Vec::new(),
                prefill_attention,
                decode_attention: grouped,
                decode_attention_multi_head: multi_head,
                elementwise: stream,
                sampler: stream,
            }
        })
}

pub(super) fn by_curve(mut scenario: Scenario, curves: EfficiencyCurves) -> Scenario {
    let efficiency = Efficiency::Curve(Arc::new(curves));
    for gpu in &mut scenario.gpus {
        gpu.efficiency = efficiency.clone();
    }
    scenario
}

/// More of the same work: tokens at the end of a chunk, rows, decodes of the mean context.
fn more(shape: StepShape, context: u64, amount: u32) -> Vec<(StepShape, u64)> {
    let mut grown = vec![(StepShape { sampled_rows: shape.sampled_rows + amount, ..shape }, context)];
    if shape.prefill_tokens > 0 {
        let (tokens, longest) = (u64::from(amount), u64::from(shape.prefill_longest_context));
        grown.push((
            StepShape {
                prefill_tokens: shape.prefill_tokens + amount,
                prefill_pairs: shape.prefill_pairs + tokens * longest + tokens * (tokens + 1) / 2,
                prefill_context_tokens: shape.prefill_context_tokens + tokens,
                prefill_longest_context: shape.prefill_longest_context + amount,
                ..shape
            },
            context,
        ));
    }
    if shape.decode_sequences > 0 {
        let mean = context.div_ceil(u64::from(shape.decode_sequences));
        let decodes = StepShape { decode_sequences: shape.decode_sequences + amount, ..shape };
        grown.push((decodes, context + mean * u64::from(amount)));
        grown.push((shape, context + u64::from(amount)));
    }
    grown
}

proptest! {
    #[test]
    fn no_price_is_below_the_roof_of_a_peak(
        model in models(), shape in shapes(), context in 0..1_000_000_u64, curves in curves(),
        (tensor, pipeline, microbatches) in (1..9_u32, 1..9_u32, 1..9_u32),
    ) {
        let scenario = by_curve(scenario(model, tensor, pipeline, microbatches), curves);
        let step = cost(&scenario).prepare(&shape);
        let work = step.work(context);
        let took = seconds(&step, context) + 1e-9;
        prop_assert!(took >= work.flops_per_gpu / FLOPS_PER_S);
        prop_assert!(took >= work.memory_bytes_per_gpu / BYTES_PER_S);
        prop_assert!(took >= work.ring_bytes / LINK_BYTES_PER_S);
    }

    #[test]
    fn more_work_takes_longer(
        model in models(), shape in shapes(), context in 0..1_000_000_u64, curves in curves(), amount in 1..1000_u32,
    ) {
        let cost = cost(&by_curve(scenario(model, 1, 1, 1), curves));
        let base = cost.prepare(&shape).duration(context);
        for (grown, context) in more(shape, context, amount) {
            let took = cost.prepare(&grown).duration(context);
            prop_assert!(took.0 + 1 >= base.0, "{grown:?} at {context} after {shape:?}");
        }
    }

    #[test]
    fn a_step_is_a_convex_line_over_its_decode_context(
        model in models(), shape in shapes(), context in 0..300_000_u64, curves in curves(),
    ) {
        let model = Transformer { sliding_window: None, ..model };
        let step = cost(&by_curve(scenario(model, 1, 1, 1), curves)).prepare(&shape);
        let [near, middle, far] = [1, 2, 3].map(|times| step.duration(times * context).0);
        prop_assert!(far + near + 2 >= 2 * middle);
        // One roof bends into another twice at most, which the L2 cache's part of the contexts may put off for long; from there
        // on the line is straight.
        let far_out = |times: u64| step.duration(times * 100_000 * context.max(1_000)).as_secs_f64();
        let [near, middle, far] = [1, 2, 3].map(far_out);
        prop_assert!(((far - middle) - (middle - near)).abs() <= 1e-6 * far);
    }

    #[test]
    fn a_kept_price_is_the_price(
        model in models(), first in shapes(), second in shapes(), curves in curves(), microbatches in 1..5_u32,
    ) {
        let scenario = by_curve(scenario(model, 1, 4, microbatches), curves);
        let used = cost(&scenario);
        let _ = used.prepare(&second);
        let _ = used.prepare(&first);
        prop_assert_eq!(used.prepare(&first).duration(999), cost(&scenario).prepare(&first).duration(999));
        // What has been priced does not make two engines unlike.
        prop_assert!(used == cost(&scenario));
    }

    /// Of one token the launch is all.
    #[test]
    fn a_cache_that_attention_writes_is_not_written_once_more(curves in curves(), kv_write_ns in 0.1..30.0_f64) {
        let launch_us = 100.0;
        let time = |kv_write_ns: f64| {
            let mut curves = curves.clone();
            curves.elementwise.launch_us = launch_us;
            curves.prefill_attention.kv_write_ns = kv_write_ns;
            seconds(&cost(&by_curve(scenario(llama2_13b(), 1, 1, 1), curves)).prepare(&decode(1)), 100)
        };
        assert_near(time(0.0) - time(kv_write_ns), 40.0 * launch_us * 1e-6, 1e-2);
    }

    #[test]
    fn an_8_bit_cache_costs_as_much_on_top_beside_prompts_as_alone(
        curve in decode_curves(), (sequences, kv_heads, chunk) in (1..300_u32, 1..64_u32, 1..8192_u32),
        (launch_us, head_ns) in (0.0..20.0_f64, 0.0..20.0_f64),
    ) {
        let curve = DecodeAttentionCurve { narrow_kv_launch_us: launch_us, narrow_kv_head_ns: head_ns, ..curve };
        let peaks = Peaks { flops_per_s: 312e12, bytes_per_s: 2e12, processors: 108.0 };
        let [sequences, kv_heads] = [sequences, kv_heads].map(f64::from);
        let [wide, narrow] = [false, true].map(|is_kv_narrow| {
            let work = DecodeAttention { sequences, kv_heads, query_heads: 4.0 * kv_heads, is_kv_narrow };
            let alone = decode_attention(&curve, &peaks, &work);
            [alone.floor_s, mixed_decodes(&curve, &work, &alone, f64::from(chunk), peaks.processors).floor_s]
        });
        let more_s = launch_us * 1e-6 + head_ns * 1e-9 * sequences * kv_heads;
        prop_assert!((narrow[0] - wide[0] - more_s).abs() < 1e-12 && (narrow[1] - wide[1] - more_s).abs() < 1e-12);
    }

    /// Kernels whose decodes are tiles of their own have a floor of their own, and passes where a cache keeps what they read.
    #[test]
    fn decodes_beside_prompts_are_as_alone_unless_their_kernels_are_others(
        curve in decode_curves(), (sequences, kv_heads) in (1..300_u32, 1..64_u32), is_kv_narrow: bool,
    ) {
        let curve = DecodeAttentionCurve { mixed_head_ns: 0.0, mixed_block_ns: 0.0, mixed_kept_mb: 0.0, ..curve };
        let peaks = Peaks { flops_per_s: 312e12, bytes_per_s: 2e12, processors: 8.0 };
        let [sequences, kv_heads] = [sequences, kv_heads].map(f64::from);
        let work = DecodeAttention { sequences, kv_heads, query_heads: 4.0 * kv_heads, is_kv_narrow };
        let alone = decode_attention(&curve, &peaks, &work);
        let mixed = mixed_decodes(&curve, &work, &alone, 1000.0, peaks.processors);
        prop_assert_eq!((mixed.floor_s, mixed.passes), (alone.floor_s, 1.0));
        prop_assert_eq!(mixed.passes_s(1.0, alone.s_per_byte), 1.0);
    }

    /// The first token reaches its experts however the others are routed.
    #[test]
    fn tokens_count_for_no_more_than_they_are(share in 0.0..=1.0_f64, tokens in 0.0..1000.0_f64, few in 0.0..=1.0_f64) {
        prop_assert_eq!(routed_tokens(share, few), few);
        let counted = routed_tokens(share, tokens);
        prop_assert!(counted <= tokens && counted >= tokens.min(1.0));
    }

    #[test]
    fn a_product_grows_with_each_of_its_sides(
        curve in gemm_curves(), (m, n, k) in (1..5000_u32, 16..30_000_u32, 16..20_000_u32), processors in 1..200_u32,
    ) {
        let peaks = Peaks { flops_per_s: 312e12, bytes_per_s: 2e12, processors: f64::from(processors) };
        let time = |m: u32, n: u32, k: u32| {
            let (rows, columns, depth) = (f64::from(m), f64::from(n), f64::from(k));
            let bytes = 2.0 * (columns * depth + rows * (columns + depth));
            gemm_s(&curve, &peaks, &Gemm { rows, columns, depth, bytes })
        };
        let base = time(m, n, k) * (1.0 - 1e-12);
        prop_assert!(time(m + 1, n, k) >= base && time(m, n + 1, k) >= base && time(m, n, k + 1) >= base);
    }
}

/// Of the same context each: as many as there are multiprocessors walk side by side, then two on each share the memory, and
/// one too many waits for another walk.
#[test]
fn contexts_that_are_not_split_go_in_rounds() {
    let curve = DecodeAttentionCurve {
        memory_share: 1.0,
        half_bandwidth_heads: 0.0,
        processor_bandwidth: 1.25,
        ..curves().new_tree(&mut TestRunner::deterministic()).expect("there are curves").current().decode_attention
    };
    let peaks = Peaks { flops_per_s: FLOPS_PER_S, bytes_per_s: 1e12, processors: 100.0 };
    let walks = |spread_heads: f64, sequences: f64| {
        let work = DecodeAttention { sequences, kv_heads: 1.0, query_heads: 1.0, is_kv_narrow: false };
        let line = decode_attention(&DecodeAttentionCurve { spread_heads, ..curve }, &peaks, &work);
        // In walks of a context by one multiprocessor, at 1.25 of its hundredth of the bandwidth.
        line.s_per_byte * sequences * 1e12 * 1.25 / 100.0
    };
    for (sequences, expected) in [(1.0, 1.0), (64.0, 1.0), (100.0, 1.25), (101.0, 2.0), (200.0, 2.5), (201.0, 3.5)] {
        assert_near(walks(0.0, sequences), expected, 1e-9);
    }
    // Spread over all multiprocessors, a context takes its part of the memory.
    assert_near(walks(1.6, 64.0), 0.8, 1e-9);
    assert_near(walks(1.6, 160.0), 2.0, 1e-9);
}

#[test]
fn a_captured_batch_runs_with_as_many_tokens_as_the_next_graph_has() {
    let mut captured = scenario(llama2_13b(), 1, 1, 1);
    let free = cost(&captured);
    captured.engines[0].kernel_launch = KernelLaunch::Graphs([64, 512].into());
    let graphs = cost(&captured);
    let time = |cost: &oracle_systems::costing::StepCost, shape: &StepShape| seconds(&cost.prepare(shape), 0);
    // A size that is captured, and one above all, are as they are.
    for tokens in [64, 512, 513, 2048] {
        assert_eq!(time(&graphs, &prefill(tokens)), time(&free, &prefill(tokens)));
    }
    assert_eq!(time(&graphs, &StepShape::default()), time(&free, &StepShape::default()));
    // 300 tokens are multiplied as 512, and attend as 300.
    let padded = time(&graphs, &prefill(300));
    assert!(padded > 1.5 * time(&free, &prefill(300)) && padded < time(&free, &prefill(512)));
    assert_near(time(&graphs, &prefill(300)), time(&graphs, &prefill(301)), 1e-3);
}

#[test]
fn kernels_launched_one_by_one_take_what_the_host_takes() {
    let mut eager = scenario(llama2_13b(), 1, 1, 1);
    let free = cost(&eager);
    eager.engines[0].kernel_launch = KernelLaunch::Eager { launch_s: 1e-3 };
    // A layer: 4 products, 2 norms, rotary embedding, KV write, activation, attention; the embedding; head and sampler (8).
    let kernels = 40 * 10 + 1 + 1 + 8;
    assert_near(seconds(&cost(&eager).prepare(&decode(1)), 100), f64::from(kernels) * 1e-3, 1e-9);
    eager.engines[0].kernel_launch = KernelLaunch::Eager { launch_s: 1e-9 };
    assert_eq!(cost(&eager).prepare(&decode(1)).duration(100), free.prepare(&decode(1)).duration(100));
    assert_eq!(cost(&eager).prepare(&StepShape::default()).duration(0).0, 1);
}

/// Norm and rotary embedding, scores, choice, gathering: an index has them in each of its layers, in a step of decodes as in one of prompts.
#[test]
fn the_kernels_of_an_index_are_launched_in_every_step() {
    const LAUNCH_S: f64 = 1e-3;
    let curves = curves().new_tree(&mut TestRunner::deterministic()).expect("one is drawn").current();
    let time = |heads: u32, launch_s: f64, shape: &StepShape| {
        let index = Index {
            heads,
            width: 128,
            top_tokens: 2048,
            query_input: 1536,
            score_columns: 64,
            norm_elements: 256,
            bytes_per_token: 132,
        };
        let with_index = |part: &Part| match part {
            Part::Latent(latent) => Part::Latent(LatentAttention { index: Some(index), ..*latent }),
            other => other.clone(),
        };
        let model = ModelArchitecture::from(deepseek_v3());
        let layers =
            model.layers.map(|layer| Layer { parts: layer.parts.iter().map(with_index).collect(), ..layer.clone() });
        let elementwise = StreamCurve { launch_us: launch_s * 1e6, memory_share: 0.8 };
        let scenario = scenario(ModelArchitecture { layers, ..model }, 1, 1, 1);
        seconds(&cost(&by_curve(scenario, EfficiencyCurves { elementwise, ..curves.clone() })).prepare(shape), 100)
    };
    for shape in [decode(1), decode(8), prefill(32)] {
        let of_launches = |heads| time(heads, LAUNCH_S, &shape) - time(heads, 0.0, &shape);
        // A layer without heads of its own takes the choice of another.
        assert_near(of_launches(64) - of_launches(0), 61.0 * 4.0 * LAUNCH_S, 1e-2);
    }
}

/// What a curve is off by is a factor at the sizes of its grid; between those a product goes the way of the formula, and
/// never takes less with more rows.
#[test]
fn a_corrected_product_takes_its_factor_at_the_grid_and_grows_with_the_rows() {
    let curves = curves().new_tree(&mut TestRunner::deterministic()).expect("there are curves").current();
    let peaks = Peaks { flops_per_s: FLOPS_PER_S, bytes_per_s: BYTES_PER_S, processors: curves.processors };
    let (columns, depth) = (1024.0, 4096.0);
    let formula_s = |rows: f64| {
        let bytes = 2.0 * (columns * depth + rows * (columns + depth));
        gemm_s(&curves.gemm, &peaks, &Gemm { rows, depth, columns, bytes })
    };
    let count: usize = Correction::KNOTS.iter().product();
    let slower = Correction(vec![100.0 * 1.25_f64.ln(); count]);
    let of = |correction: &Correction| Corrected::new(correction, Correction::PRODUCTS, [columns, depth], formula_s);
    for rows in [1.0, 3.0, 64.0, 100.0, 1024.0, 50_000.0] {
        assert_near(of(&slower).seconds(rows, formula_s(rows)), 1.25 * formula_s(rows), 1e-9);
    }
    // Half as long at some sizes, twice as long at others.
    let uneven = Correction((0..count).map(|at| if at % 3 == 0 { -69.3 } else { 69.3 }).collect());
    let corrected = of(&uneven);
    let seconds: Vec<f64> =
        (1..3000).map(|rows| corrected.seconds(f64::from(rows), formula_s(f64::from(rows)))).collect();
    assert!(seconds.windows(2).all(|pair| pair[0] <= pair[1] * (1.0 + 1e-12)));
    assert!(!Correction(vec![0.0; count - 1]).is_whole() && !Correction(vec![f64::NAN; count]).is_whole());
}

#[test]
fn steps_with_corrected_curves_grow_with_their_tokens() {
    let mut curves = curves().new_tree(&mut TestRunner::deterministic()).expect("there are curves").current();
    let count: usize = Correction::KNOTS.iter().product();
    let uneven = Correction((0..count).map(|at| 40.0 * (at as f64).sin()).collect());
    curves.corrections.insert("gemm".to_owned(), uneven);
    let cost = cost(&by_curve(scenario(llama2_13b(), 1, 1, 1), curves));
    let took: Vec<f64> = (1..600).map(|count| seconds(&cost.prepare(&decode(count)), 0)).collect();
    assert!(took.windows(2).all(|pair| pair[0] <= pair[1] * (1.0 + 1e-9)), "a step of more decodes takes less");
}
