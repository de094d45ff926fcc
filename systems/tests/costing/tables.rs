//! What holds of prices by measured kernels: at measured shapes they are the measurements, between them they go on growing,
//! nowhere do they beat a peak, and measurements that agree with the curve change nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use oracle_components::device::Efficiency;
use oracle_components::efficiency::{EfficiencyCurves, ProductShares};
use oracle_components::kernel_times::{
    DecodeLines, Heads, KernelTimes, Line, PrefillTimes, Prompts, RowKernel, RowTimes,
};
use oracle_components::scenario::Scenario;
use oracle_components::transformer::Transformer;
use oracle_systems::costing::curves::{
    DecodeAttention, Gemm, Peaks, PrefillAttention, decode_attention, gemm_s, prefill_attention_s,
};
use oracle_systems::costing::{StepShape, measured_product_s, table_gaps};
use proptest::prelude::*;

use crate::curves::{BYTES_PER_S, by_curve, curves};
use crate::laws::{models, shapes};
use crate::{assert_near, cost, decode, llama, prefill, scenario, seconds};

/// Of 16-bit products.
pub(super) const FLOPS_PER_S: f64 = 312e12;
/// Of 8-bit ones, which no price beats either.
const FASTEST_FLOPS_PER_S: f64 = 624e12;
const ROWS: [u32; 7] = [1, 8, 100, 128, 512, 2000, 4096];

pub(super) fn by_table(mut scenario: Scenario, curves: &Arc<EfficiencyCurves>, times: KernelTimes) -> Scenario {
    let efficiency = Efficiency::Table(Arc::clone(curves), Arc::new(times));
    for gpu in &mut scenario.gpus {
        gpu.efficiency = efficiency.clone();
    }
    scenario
}

/// Curves of a device whose FLOP/s last, so that a formula is told its peaks.
fn lasting(curves: EfficiencyCurves) -> Arc<EfficiencyCurves> {
    Arc::new(EfficiencyCurves { sustained: ProductShares::default(), ..curves })
}

pub(super) fn small() -> Transformer {
    llama(2, 2048, 16, 4, 5632, 32000)
}

/// Columns and depth of the model's products, each once a layer.
fn products(model: &Transformer) -> [(u32, u32); 4] {
    let (queries, keys) = (model.heads * model.head_dim, model.kv_heads * model.head_dim);
    let inward = if model.gated_mlp { 2 } else { 1 } * model.intermediate;
    [
        (queries + 2 * keys, model.hidden),
        (model.hidden, queries),
        (inward, model.hidden),
        (model.hidden, model.intermediate),
    ]
}

/// Columns and depth of the language-model head.
fn head(model: &Transformer) -> (u32, u32) {
    (model.vocab, model.hidden)
}

pub(super) fn product(weight_bytes: f64, (columns, depth): (u32, u32), seconds: Vec<(u32, f64)>) -> RowTimes {
    RowTimes { kernel: RowKernel::Product { columns: columns.into(), depth: depth.into(), weight_bytes }, seconds }
}

fn heads(model: &Transformer) -> Heads {
    let [query, kv, width] = [model.heads, model.kv_heads, model.head_dim].map(f64::from);
    Heads { query, kv, width, is_kv_narrow: false }
}

pub(super) fn curve_gemm_s(curves: &EfficiencyCurves, (columns, depth): (u32, u32), rows: u32) -> f64 {
    let peaks = Peaks { flops_per_s: FLOPS_PER_S, bytes_per_s: BYTES_PER_S, processors: curves.processors };
    let [rows, columns, depth] = [rows, columns, depth].map(f64::from);
    let bytes = 2.0 * (columns * depth + rows * (columns + depth));
    let roof_s = (2.0 * rows * columns * depth / FLOPS_PER_S).max(bytes / BYTES_PER_S);
    gemm_s(&curves.gemm, &peaks, &Gemm { rows, depth, columns, bytes }).max(roof_s)
}

fn curve_prefill_s(curves: &EfficiencyCurves, heads: &Heads, (chunk, context): (u32, u32)) -> f64 {
    let peaks = Peaks { flops_per_s: FLOPS_PER_S, bytes_per_s: BYTES_PER_S, processors: curves.processors };
    let [tokens, context] = [chunk, context].map(f64::from);
    let work = PrefillAttention {
        pairs: tokens * context + tokens * (tokens + 1.0) / 2.0,
        tokens,
        longest_context: tokens + context,
        flops_per_pair: 4.0 * heads.query * heads.width,
        head_width: heads.width,
        key_width: heads.kv * heads.width,
        query_bytes: 4.0 * tokens * heads.query * heads.width,
        kv_bytes: 4.0 * (tokens + context) * heads.kv * heads.width,
    };
    let roof_s = (work.flops_per_pair * work.pairs / FLOPS_PER_S).max((work.query_bytes + work.kv_bytes) / BYTES_PER_S);
    prefill_attention_s(&curves.prefill_attention, &peaks, &work).max(roof_s)
}

fn curve_line(curves: &EfficiencyCurves, heads: &Heads, sequences: u32) -> Line {
    let work = DecodeAttention {
        sequences: sequences.into(),
        kv_heads: heads.kv,
        query_heads: heads.query,
        is_kv_narrow: heads.is_kv_narrow,
    };
    let peaks = Peaks { flops_per_s: FLOPS_PER_S, bytes_per_s: BYTES_PER_S, processors: curves.processors };
    let line = decode_attention(&curves.decode_attention, &peaks, &work);
    Line { floor_s: line.floor_s, s_per_byte: line.s_per_byte }
}

/// Times at `ROWS` that nowhere fall, and often stay as they are, as among rows that are in one tile.
fn ascending_times() -> impl Strategy<Value = Vec<(u32, f64)>> {
    let steps_us = prop::collection::vec(prop_oneof![Just(0.0), 0.0..100.0_f64], ROWS.len());
    (1.0..50.0_f64, steps_us).prop_map(|(start_us, steps_us)| {
        let sums = steps_us.into_iter().scan(start_us, |sum_us, step_us| {
            *sum_us += step_us;
            Some(*sum_us * 1e-6)
        });
        ROWS.into_iter().zip(sums).collect()
    })
}

/// A side of a product's weights.
fn side() -> impl Strategy<Value = u32> {
    1000..4000_u32
}

/// Any times of a model's kernels, impossible ones among them.
pub(super) fn any_times(model: &Transformer, scale: &[f64]) -> KernelTimes {
    let seconds = |rows: u32, at: usize| scale[at % scale.len()] * 1e-6 * f64::from(rows);
    let by_rows = products(model)
        .iter()
        .enumerate()
        .map(|(at, shape)| {
            let times = ROWS.iter().enumerate().map(|(index, rows)| (*rows, seconds(*rows, at + index)));
            product(model.weight_dtype.bytes(), *shape, times.collect())
        })
        .collect();
    let prompts = [16, 512, 2048].into_iter().flat_map(|chunk_tokens| {
        [0, 1000].map(|context_tokens| Prompts { sequences: 1, chunk_tokens, context_tokens })
    });
    let line = |at: usize| Line { floor_s: seconds(10, at), s_per_byte: scale[at % scale.len()] / BYTES_PER_S };
    let lines = |prompts: &[Prompts]| prompts.iter().enumerate().map(|(at, prompts)| (*prompts, line(at))).collect();
    let prompts: Vec<Prompts> = prompts.collect();
    KernelTimes {
        fastest_flops_per_s: [None; 2],
        by_rows,
        prefill_attention: vec![PrefillTimes {
            heads: heads(model),
            seconds: prompts.iter().enumerate().map(|(at, prompts)| (*prompts, seconds(50, at))).collect(),
        }],
        decode_attention: vec![DecodeLines {
            heads: heads(model),
            alone: [1, 16, 256].iter().enumerate().map(|(at, sequences)| (*sequences, line(at))).collect(),
            with_prompts: vec![(1, lines(&prompts)), (64, lines(&prompts[2..]))],
        }],
    }
}

proptest! {
    #[test]
    fn no_price_beats_a_peak_whatever_was_measured(
        model in models(), shape in shapes(), context in 0..1_000_000_u64, curves in curves(),
        scale in prop::collection::vec(1e-6..10.0_f64, 1..20), tensor in 1..5_u32,
    ) {
        let times = any_times(&model, &scale);
        let step = cost(&by_table(scenario(model, tensor, 1, 1), &Arc::new(curves), times)).prepare(&shape);
        let work = step.work(context);
        let took = seconds(&step, context) + 1e-9;
        prop_assert!(took.is_finite());
        prop_assert!(took >= work.flops_per_gpu / FASTEST_FLOPS_PER_S);
        prop_assert!(took >= work.memory_bytes_per_gpu / BYTES_PER_S * (1.0 - 1e-12));
    }

    #[test]
    fn more_tokens_take_longer_where_they_were_measured_to(
        curves in curves(), measured in prop::collection::vec(any::<bool>(), 5),
        times in prop::collection::vec(ascending_times(), 5), (first, second) in (1..5000_u32, 1..5000_u32),
    ) {
        let curves = lasting(curves);
        let shapes = products(&small()).into_iter().chain([head(&small())]).zip(times).zip(measured);
        let shapes = shapes.filter_map(|(shape, is_measured)| is_measured.then_some(shape));
        let by_rows = shapes.map(|(shape, seconds)| product(2.0, shape, seconds)).collect();
        let cost = cost(&by_table(scenario(small(), 1, 1, 1), &curves, KernelTimes { by_rows, ..KernelTimes::default() }));
        let took = |tokens| cost.prepare(&decode(tokens)).duration(0).0;
        let (few, many) = (first.min(second), first.max(second));
        prop_assert!(took(few) <= took(many) + 1, "{few} and {many} tokens: {} and {} ns", took(few), took(many));
    }

    #[test]
    fn a_product_near_measured_ones_takes_longer_with_more_rows(
        curves in curves(), near in prop::collection::vec((side(), side(), ascending_times()), 1..6),
        (columns, depth) in (side(), side()), (first, second) in (1..5000_u32, 1..5000_u32),
    ) {
        let by_rows = near.into_iter().map(|(columns, depth, seconds)| product(2.0, (columns, depth), seconds)).collect();
        let times = Arc::new(KernelTimes { by_rows, ..KernelTimes::default() });
        let peaks = Peaks { flops_per_s: FLOPS_PER_S, bytes_per_s: BYTES_PER_S, processors: curves.processors };
        let shape = (columns.into(), depth.into(), 2.0);
        let took_s = |rows| measured_product_s(&times, (&curves.gemm, &peaks), shape, rows);
        let (few_s, many_s) = (took_s(first.min(second)), took_s(first.max(second)));
        prop_assert!(few_s <= many_s * (1.0 + 1e-12), "{first} and {second} rows: {few_s} and {many_s} s");
    }

    #[test]
    fn measurements_that_agree_with_the_curve_change_nothing(
        shape in shapes(), context in 0..300_000_u64, curves in curves(), tensor in 1..3_u32,
    ) {
        let (model, curves) = (small(), lasting(curves));
        let times = KernelTimes {
            fastest_flops_per_s: [None; 2],
            // One product and one batch size of many: the rest is corrected by what these are off by, nothing.
            by_rows: vec![product(2.0, (4096, 2048), ROWS.map(|rows| (rows, curve_gemm_s(&curves, (4096, 2048), rows))).to_vec())],
            prefill_attention: vec![PrefillTimes {
                heads: heads(&model),
                seconds: [(16, 0), (300, 0), (300, 900), (2048, 64)]
                    .map(|(chunk_tokens, context_tokens)| {
                        let took_s = curve_prefill_s(&curves, &heads(&model), (chunk_tokens, context_tokens));
                        (Prompts { sequences: 1, chunk_tokens, context_tokens }, took_s)
                    })
                    .to_vec(),
            }],
            decode_attention: vec![DecodeLines {
                heads: heads(&model),
                alone: [1, 64].map(|sequences| (sequences, curve_line(&curves, &heads(&model), sequences))).to_vec(),
                with_prompts: Vec::new(),
            }],
        };
        let plain = cost(&by_curve(scenario(model.clone(), tensor, 1, 1), (*curves).clone())).prepare(&shape);
        let table = cost(&by_table(scenario(model, tensor, 1, 1), &curves, times)).prepare(&shape);
        assert_near(seconds(&table, context) + 1e-6, seconds(&plain, context) + 1e-6, 1e-6);
    }
}

/// Curves whose coefficients do not matter.
pub(super) fn some_curves() -> Arc<EfficiencyCurves> {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    lasting(curves().new_tree(&mut TestRunner::deterministic()).expect("there are curves").current())
}

#[test]
fn at_measured_rows_the_measurement_is_the_price() {
    let (model, curves) = (small(), some_curves());
    let shape = products(&model)[0];
    let slow = |rows: u32| 3.0 * curve_gemm_s(&curves, shape, rows);
    let by_rows = vec![product(2.0, shape, ROWS.map(|rows| (rows, slow(rows))).to_vec())];
    // Neighbours would be corrected too; these are left as the curve has them.
    let [_, output, inward, outward] = products(&model);
    let others = [output, inward, outward, (32000, 2048)]
        .map(|shape| product(2.0, shape, (1..=4096).map(|rows| (rows, curve_gemm_s(&curves, shape, rows))).collect()));
    let times = KernelTimes { by_rows: by_rows.into_iter().chain(others).collect(), ..KernelTimes::default() };
    let plain = cost(&by_curve(scenario(model.clone(), 1, 1, 1), (*curves).clone()));
    let table = cost(&by_table(scenario(model, 1, 1, 1), &curves, times));
    for rows in ROWS {
        let [with, without] = [&table, &plain].map(|cost| seconds(&cost.prepare(&prefill(rows)), 0));
        assert_near(with - without, 2.0 * (slow(rows) - curve_gemm_s(&curves, shape, rows)), 1e-3);
    }
}

#[test]
fn attention_is_the_measurement_at_measured_prompts_and_the_line_at_measured_batches() {
    let (model, curves) = (small(), some_curves());
    let heads = heads(&model);
    let prompts = [(128, 0), (1024, 0), (1024, 3000)];
    let slow_s = |prompt| 4.0 * curve_prefill_s(&curves, &heads, prompt);
    let line = |floor_us: f64, times: f64| Line { floor_s: floor_us * 1e-6, s_per_byte: times / BYTES_PER_S };
    let of = |(chunk_tokens, context_tokens): (u32, u32)| Prompts { sequences: 1, chunk_tokens, context_tokens };
    let times = KernelTimes {
        fastest_flops_per_s: [None; 2],
        by_rows: Vec::new(),
        prefill_attention: vec![PrefillTimes {
            heads,
            seconds: prompts.map(|prompt| (of(prompt), slow_s(prompt))).to_vec(),
        }],
        decode_attention: vec![DecodeLines {
            heads,
            alone: vec![(1, line(10.0, 3.0)), (64, line(30.0, 2.0))],
            with_prompts: vec![(64, prompts.map(|prompt| (of(prompt), line(50.0, 5.0))).to_vec())],
        }],
    };
    let plain = cost(&by_curve(scenario(model.clone(), 1, 1, 1), (*curves).clone()));
    let table = cost(&by_table(scenario(model, 1, 1, 1), &curves, times));
    let gain_s =
        |shape: &StepShape, context| seconds(&table.prepare(shape), context) - seconds(&plain.prepare(shape), context);
    for (chunk, context) in prompts {
        let (tokens, before) = (u64::from(chunk), u64::from(context));
        let shape = StepShape {
            prefill_pairs: tokens * before + tokens * (tokens + 1) / 2,
            prefill_context_tokens: tokens + before,
            prefill_longest_context: chunk + context,
            ..prefill(chunk)
        };
        assert_near(gain_s(&shape, 0), 2.0 * 0.75 * slow_s((chunk, context)), 1e-3);
        // With decodes beside, the context's slope is the one of such batches.
        let mixed = StepShape { decode_sequences: 64, sampled_rows: 65, ..shape };
        let slope_s = seconds(&table.prepare(&mixed), 200_000) - seconds(&table.prepare(&mixed), 100_000);
        assert_near(slope_s, 2.0 * 100_000.0 * 4.0 * heads.kv * heads.width * 5.0 / BYTES_PER_S, 1e-3);
    }
    let slope_s = seconds(&table.prepare(&decode(64)), 200_000) - seconds(&table.prepare(&decode(64)), 100_000);
    assert_near(slope_s, 2.0 * 100_000.0 * 4.0 * heads.kv * heads.width * 2.0 / BYTES_PER_S, 1e-3);
    // Whatever it is called with, a step of an epoch is a line over its context.
    let step = table.prepare(&decode(17));
    let [near, middle, far] = [100_000, 200_000, 300_000].map(|context| seconds(&step, context));
    assert!(((far - middle) - (middle - near)).abs() <= 1e-6 * far);
}

#[test]
fn each_kernel_is_priced_at_its_roof_where_it_was_measured_to_beat_it() {
    let (model, curves) = (small(), some_curves());
    let heads = heads(&model);
    let prompt = Prompts { sequences: 1, chunk_tokens: 1024, context_tokens: 0 };
    let instant = Line { floor_s: 0.0, s_per_byte: 1e-30 };
    let plain = cost(&by_curve(scenario(model.clone(), 1, 1, 1), (*curves).clone()));
    let with = |times: KernelTimes| cost(&by_table(scenario(model.clone(), 1, 1, 1), &curves, times));
    let loss_s = |times: KernelTimes, shape: &StepShape| {
        seconds(&plain.prepare(shape), 0) - seconds(&with(times).prepare(shape), 0)
    };
    let [shape, others @ ..] = products(&model);
    let by_curve = |shape| product(2.0, shape, vec![(1024, curve_gemm_s(&curves, shape, 1024))]);
    let by_rows = others.into_iter().chain([(32000, 2048)]).map(by_curve);
    let by_rows = by_rows.chain([product(2.0, shape, vec![(1024, 1e-12)])]).collect();
    let roof_s = 2.0 * 1024.0 * f64::from(shape.0) * f64::from(shape.1) / FLOPS_PER_S;
    let expected_s = 2.0 * (curve_gemm_s(&curves, shape, 1024) - roof_s);
    let times = KernelTimes { by_rows, ..KernelTimes::default() };
    assert_near(loss_s(times, &StepShape { sampled_rows: 1024, ..prefill(1024) }), expected_s, 1e-3);

    let prefill_attention = vec![PrefillTimes { heads, seconds: vec![(prompt, 1e-12)] }];
    let tokens = 1024.0;
    let roof_s = (4.0 * heads.query * heads.width * tokens * (tokens + 1.0) / 2.0 / FLOPS_PER_S)
        .max(4.0 * tokens * heads.width * (heads.query + heads.kv) / BYTES_PER_S);
    let expected_s = 2.0 * (curve_prefill_s(&curves, &heads, (1024, 0)) - roof_s);
    let times = KernelTimes { prefill_attention, ..KernelTimes::default() };
    assert_near(loss_s(times, &prefill(1024)), expected_s, 1e-3);

    let lines = DecodeLines { heads, alone: vec![(8, instant)], with_prompts: vec![(8, vec![(prompt, instant)])] };
    let cost = with(KernelTimes { decode_attention: vec![lines], ..KernelTimes::default() });
    for shape in [decode(8), StepShape { decode_sequences: 8, sampled_rows: 9, ..prefill(1024) }] {
        let slope_s = seconds(&cost.prepare(&shape), 200_000) - seconds(&cost.prepare(&shape), 100_000);
        assert_near(slope_s, 2.0 * 100_000.0 * 4.0 * heads.kv * heads.width / BYTES_PER_S, 1e-3);
    }
}

#[test]
fn an_engine_with_half_of_a_gpu_takes_twice_the_measured_time() {
    let (model, curves) = (small(), some_curves());
    let times = any_times(&model, &[50.0, 70.0, 90.0]);
    let whole = by_table(scenario(model, 1, 1, 1), &curves, times);
    let mut half = whole.clone();
    half.engines[0].gpu_share = 0.5;
    // Products by their measurements are most of it; what is priced by curve keeps its launches.
    let [whole, half] = [&whole, &half].map(|scenario| seconds(&cost(scenario).prepare(&prefill(512)), 0));
    assert!((1.9..=2.001).contains(&(half / whole)), "{half} s and {whole} s");
}

#[test]
fn a_product_near_a_measured_one_is_corrected_as_that_is_and_one_far_off_is_not() {
    let (model, curves) = (small(), some_curves());
    let plain = cost(&by_curve(scenario(model.clone(), 1, 1, 1), (*curves).clone()));
    let gain = |shape| {
        let times = ROWS.map(|rows| (rows, 2.0 * curve_gemm_s(&curves, shape, rows)));
        let times = KernelTimes { by_rows: vec![product(2.0, shape, times.to_vec())], ..KernelTimes::default() };
        let table = cost(&by_table(scenario(model.clone(), 1, 1, 1), &curves, times));
        seconds(&table.prepare(&decode(128)), 0) - seconds(&plain.prepare(&decode(128)), 0)
    };
    // All four products of a layer, and not the head, which is 32,000 wide.
    let all: f64 = products(&model).iter().map(|shape| 2.0 * curve_gemm_s(&curves, *shape, 128)).sum();
    assert_near(gain((4000, 2100)), all, 1e-3);
    assert_eq!(gain((64, 64)), 0.0);
}

#[test]
fn what_was_not_measured_is_named() {
    let (model, curves) = (small(), some_curves());
    let names = |times: KernelTimes| {
        let scenario = by_table(scenario(model.clone(), 1, 1, 1), &curves, times);
        table_gaps(&scenario.engines[0], &scenario)
    };
    let all = names(KernelTimes::default());
    assert!(all.contains("sampler") && all.contains("decode attention beside prompts"), "{all:?}");
    assert!(all.contains("products 32000 wide and 2048 deep"), "{all:?}");
    let most = names(any_times(&model, &[1.0]));
    let left = ["activation or embedding", "norms and rotary embedding", "sampler"].map(str::to_owned);
    // The head is near enough to what was measured.
    let head = "products 32000 wide and 2048 deep (corrected as products near them are)".to_owned();
    assert_eq!(most, left.into_iter().chain([head]).collect::<BTreeSet<_>>());
    let plain = by_curve(scenario(model.clone(), 1, 1, 1), (*curves).clone());
    assert!(table_gaps(&plain.engines[0], &plain).is_empty());
}

/// Products that a table has from a burst take as much longer as the curve does at what lasts; those that were as slow do not.
#[test]
fn a_table_of_a_burst_is_taken_at_what_lasts() {
    let model = small();
    let curves = EfficiencyCurves {
        sustained: ProductShares { gemm_share: 0.8, gemm_8bit_share: 0.8 },
        ..EfficiencyCurves::clone(&some_curves())
    };
    let (shape, rows) = ((11_264, 2048), 8192);
    let took_s = 2.0 * 8192.0 * 11_264.0 * 2048.0 / (0.9 * FLOPS_PER_S);
    let step_s = |reached: f64| {
        let fastest_flops_per_s = [Some(reached * FLOPS_PER_S), None];
        let by_rows = vec![product(2.0, shape, vec![(rows, took_s)])];
        let times = KernelTimes { by_rows, fastest_flops_per_s, ..KernelTimes::default() };
        seconds(
            &cost(&by_table(scenario(model.clone(), 1, 1, 1), &Arc::new(curves.clone()), times))
                .prepare(&prefill(rows)),
            0,
        )
    };
    let (lasting_s, burst_s) = (step_s(0.8), step_s(1.0));
    assert!(products(&model).contains(&shape) && burst_s > lasting_s, "{burst_s} and {lasting_s} s");
    // All of this product's layers, and of those it is a neighbour of.
    assert!(burst_s < lasting_s / 0.8, "{burst_s} and {lasting_s} s");
}
