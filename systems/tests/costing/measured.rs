//! Which measurement is of which kernel, what a single product takes by them, and which engines have prices in common.

use std::collections::BTreeSet;
use std::sync::Arc;

use oracle_components::efficiency::EfficiencyCurves;
use oracle_components::kernel_times::{Heads, KernelTimes, PrefillTimes, Prompts, RowKernel, RowTimes};
use oracle_components::scenario::Scenario;
use oracle_components::transformer::Transformer;
use oracle_systems::costing::curves::Peaks;
use oracle_systems::costing::{Prices, measured_product_s, table_gaps};

use crate::curves::{BYTES_PER_S, by_curve};
use crate::tables::{FLOPS_PER_S, any_times, by_table, curve_gemm_s, product, small, some_curves};
use crate::{assert_near, cost, mixtral_8x7b, scenario};

/// What is not measured of a model on one GPU, where one kernel is.
fn gaps(model: &Transformer, kernels: &[RowKernel]) -> BTreeSet<String> {
    let by_rows = kernels.iter().map(|kernel| RowTimes { kernel: *kernel, seconds: vec![(1, 1e-3)] }).collect();
    let times = KernelTimes { by_rows, ..KernelTimes::default() };
    let scenario = by_table(scenario(model.clone(), 1, 1, 1), &some_curves(), times);
    table_gaps(&scenario.engines[0], &scenario)
}

/// What the measurement of a kernel takes out of the gaps.
fn fills(model: &Transformer, kernels: &[RowKernel]) -> Vec<String> {
    gaps(model, &[]).difference(&gaps(model, kernels)).cloned().collect()
}

#[test]
fn streams_and_samplers_are_known_by_their_bytes_and_kernels() {
    let model = small();
    let none = Vec::<String>::new();
    let stream = |kernels, bytes_per_row| RowKernel::Stream { kernels, bytes_per_row };
    // Two norms of 4 vectors of 2048, q and k of (16 + 4) · 128 rotated, k and v of 4 · 128 written, at 2 bytes; the cache.
    let norms = (2.0 * 4.0 * 2048.0 + 2.0 * 2560.0 + 2.0 * 512.0) * 2.0 + 2.0 * 512.0 * 2.0;
    assert_eq!(fills(&model, &[stream(4.0, norms)]), ["norms and rotary embedding"]);
    assert_eq!(fills(&model, &[stream(3.0, norms)]), none);
    assert_eq!(fills(&model, &[stream(4.0, norms + 1.0)]), none);
    // The activation, two vectors in and one out; the embedding, a row in and one out.
    let (activation, embedding) = (stream(1.0, 3.0 * 5632.0 * 2.0), stream(1.0, 2.0 * 2048.0 * 2.0));
    assert_eq!(fills(&model, &[activation, embedding]), ["activation or embedding"]);
    assert_eq!(fills(&model, &[activation]), none);
    // A norm of 4 vectors of 2048, and 32,000 logits that are read, written at 32 bits and read again.
    let sampler = |bytes_per_row| RowKernel::Sampler { bytes_per_row };
    let bytes = 4.0 * 2048.0 * 2.0 + 32_000.0 * (2.0 + 4.0 + 4.0);
    assert_eq!(fills(&model, &[sampler(bytes)]), ["sampler"]);
    assert_eq!(fills(&model, &[sampler(bytes + 1.0)]), none);
    // What is one figure up to rounding is one.
    assert_eq!(fills(&model, &[sampler(bytes * (1.0 + 5e-10))]), ["sampler"]);
}

#[test]
fn experts_are_known_by_each_of_their_sizes() {
    let model = mixtral_8x7b();
    let experts = |[hidden, inner, experts, per_token, weight_bytes]: [f64; 5]| RowKernel::Experts {
        hidden,
        inner,
        experts,
        per_token,
        weight_bytes,
    };
    let sizes = [4096.0, 14336.0, 8.0, 2.0, 2.0];
    assert_eq!(fills(&model, &[experts(sizes)]), ["experts"]);
    for size in 0..sizes.len() {
        let mut other = sizes;
        other[size] *= 1.25;
        assert_eq!(fills(&model, &[experts(other)]), Vec::<String>::new(), "size {size}");
    }
    // Of another width, though a token's products and the weights come to as much.
    for width in 0..2 {
        let mut other = sizes.map(|size| size / 1.25);
        (other[2], other[1 - width], other[width]) = (sizes[2], sizes[1 - width], 1.25 * sizes[width]);
        assert_eq!(fills(&model, &[experts(other)]), Vec::<String>::new(), "width {width}");
    }
    // Those that are measured have a gate.
    let plain = Transformer { gated_mlp: false, ..model };
    for per_token in [2.0, 2.0 * 2.0 / 3.0] {
        for weight_bytes in [2.0, 2.0 * 2.0 / 3.0] {
            let sizes = [4096.0, 14336.0, 8.0, per_token, weight_bytes];
            assert_eq!(fills(&plain, &[experts(sizes)]), Vec::<String>::new());
        }
    }
}

#[test]
fn attention_is_corrected_as_with_the_nearest_heads() {
    let times = |query, kv| PrefillTimes {
        heads: Heads { query, kv, width: 128.0, is_kv_narrow: false },
        seconds: vec![(Prompts { sequences: 1, chunk_tokens: 128, context_tokens: 0 }, 1e-3)],
    };
    let name = |measured: Vec<PrefillTimes>| {
        let times = KernelTimes { prefill_attention: measured, ..KernelTimes::default() };
        let scenario = by_table(scenario(small(), 1, 1, 1), &some_curves(), times);
        let gaps = table_gaps(&scenario.engines[0], &scenario);
        gaps.into_iter().find(|gap| gap.starts_with("prefill attention"))
    };
    let corrected = |as_with: &str| Some(format!("prefill attention (corrected as with {as_with} heads)"));
    assert_eq!(name(Vec::new()).as_deref(), Some("prefill attention"));
    // Of 16 query and 4 KV heads: half of each is nearer than as many query heads and eight times the KV heads.
    assert_eq!(name(vec![times(16.0, 32.0), times(8.0, 2.0)]), corrected("8 and 2"));
    assert_eq!(name(vec![times(8.0, 2.0), times(128.0, 4.0)]), corrected("8 and 2"));
    assert_eq!(name(vec![times(8.0, 2.0), times(16.0, 8.0)]), corrected("16 and 8"));
    assert_eq!(name(vec![times(8.0, 2.0), times(16.0, 4.0)]), None);
}

/// By measurements of a product of `shape`, as many times the curve as it was measured to take; by the curve, where there are
/// none.
#[test]
fn a_single_product_takes_what_was_measured_of_it_the_curve_elsewhere_and_no_less_than_its_roofs() {
    let curves = some_curves();
    let (columns, depth) = (4096, 2048);
    let peaks = Peaks { flops_per_s: FLOPS_PER_S, bytes_per_s: BYTES_PER_S, processors: curves.processors };
    let by_curve_s = |rows| curve_gemm_s(&curves, (columns, depth), rows);
    let took_s = |seconds: Vec<(u32, f64)>, rows| {
        let by_rows = if seconds.is_empty() { Vec::new() } else { vec![product(2.0, (columns, depth), seconds)] };
        let times = Arc::new(KernelTimes { by_rows, ..KernelTimes::default() });
        measured_product_s(&times, (&curves.gemm, &peaks), (columns.into(), depth.into(), 2.0), rows)
    };
    for rows in [1, 16, 333, 4096, 50_000] {
        assert_near(took_s(Vec::new(), rows), by_curve_s(rows), 1e-12);
        assert_near(took_s(vec![(rows, 7e-3)], rows), 7e-3, 1e-12);
        assert_near(took_s(vec![(100, 3.0 * by_curve_s(100))], rows), 3.0 * by_curve_s(rows), 1e-9);
        let [count, columns, depth] = [rows, columns, depth].map(f64::from);
        let bytes = 2.0 * (columns * depth + count * (columns + depth));
        let roof_s = (2.0 * count * columns * depth / FLOPS_PER_S).max(bytes / BYTES_PER_S);
        assert_near(took_s(vec![(rows, 1e-12)], rows), roof_s, 1e-12);
    }
}

#[test]
fn engines_cost_the_same_if_their_measurements_and_curves_say_the_same() {
    let (model, curves) = (small(), some_curves());
    let measured = |scale: f64| by_table(scenario(model.clone(), 1, 1, 1), &curves, any_times(&model, &[scale]));
    // Two tables with the same figures in them are the same.
    assert!(cost(&measured(50.0)) == cost(&measured(50.0)));
    assert!(cost(&measured(50.0)) != cost(&measured(60.0)));
    let product_alone = |columns: u32| {
        let by_rows = vec![product(2.0, (columns, 2048), vec![(128, 1e-3)])];
        by_table(scenario(model.clone(), 1, 1, 1), &curves, KernelTimes { by_rows, ..KernelTimes::default() })
    };
    assert!(cost(&product_alone(4096)) == cost(&product_alone(4096)));
    assert!(cost(&product_alone(4096)) != cost(&product_alone(4097)));
    // Curves of products alone, of which attention knows nothing.
    let of_curves = |launch_us: f64| -> Scenario {
        let mut curves = EfficiencyCurves::clone(&curves);
        curves.gemm.launch_us = launch_us;
        by_curve(scenario(model.clone(), 1, 1, 1), curves)
    };
    assert!(cost(&of_curves(3.0)) == cost(&of_curves(3.0)));
    assert!(cost(&of_curves(3.0)) != cost(&of_curves(4.0)));
}

#[test]
fn prices_are_kept_for_whoever_costs_the_same_with_no_larger_batches() {
    let [one, other] = [1, 2].map(|tensor| scenario(small(), tensor, 1, 1));
    let prices = Prices::new(cost(&one), 8);
    assert!(prices.are_of(&cost(&one), 8) && prices.are_of(&cost(&one), 3));
    assert!(!prices.are_of(&cost(&one), 9) && !prices.are_of(&cost(&other), 8));
}
