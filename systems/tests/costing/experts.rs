//! Prices of routed experts by curve: laws of any coefficients, and the padding of sizes that nobody tuned.

use std::sync::Arc;

use oracle_components::device::DeviceSpec;
use oracle_components::efficiency::{EfficiencyCurves, ExpertFamily, ExpertsCurve};
use oracle_components::layers::{self, Layer, Part};
use oracle_components::model::{Dtype, ModelArchitecture};
use oracle_components::transformer::{MixtureOfExperts, Transformer};
use oracle_systems::costing::curves::{Experts, Gemm, Peaks, experts_s, wide_gemm_s};
use proptest::prelude::*;

use crate::curves::{by_curve, curves, expert_curves};
use crate::tables::some_curves;
use crate::{assert_near, cost, decode, mixtral_8x7b, prefill, scenario, seconds};

const PEAKS: Peaks = Peaks { flops_per_s: 312e12, bytes_per_s: 2e12, processors: 108.0 };
/// Every share is all, nothing is launched, and activations find room in L2.
const PRODUCTS_ALONE: ExpertsCurve = ExpertsCurve {
    compute_share: 1.0,
    memory_share: 1.0,
    overlap_exponent: 1.0,
    launch_us: 0.0,
    routing_share: 1.0,
    vector_ps: 0.0,
    expert_ns: 0.0,
    held_expert_ns: 0.0,
    width_multiple: 0.0,
    hidden_multiple: 0.0,
    untuned_factor: 1.0,
    cached_mb: 1e6,
    uncached_slowdown: 1.0,
};
const EXPERTS: f64 = 64.0;
const HIDDEN: f64 = 2048.0;

/// `tokens` that go to `per_token` of the experts, uniformly.
fn layer(tokens: f64, per_token: f64, inner: f64, is_tuned: bool) -> Experts {
    let distinct = EXPERTS * (1.0 - (1.0 - per_token / EXPERTS).powf(tokens));
    let pairs = tokens * per_token;
    let elements = 3.0 * HIDDEN * inner;
    Experts {
        flops: 2.0 * pairs * elements,
        weight_bytes: 2.0 * distinct * elements,
        experts: EXPERTS,
        distinct,
        tokens,
        pairs,
        pairs_elsewhere: 0.0,
        hidden: HIDDEN,
        inner,
        is_tuned,
    }
}

proptest! {
    #[test]
    fn experts_grow_with_their_tokens_their_choices_and_their_width(
        curve in expert_curves(), tokens in 1..40_000_u32, per_token in 1..9_u32, inner in 16..15_000_u32, is_tuned: bool,
    ) {
        let time = |tokens: u32, per_token: u32, inner: u32| {
            experts_s(&curve, &PEAKS, &layer(tokens.into(), per_token.into(), inner.into(), is_tuned))
        };
        let here = layer(tokens.into(), per_token.into(), inner.into(), is_tuned);
        let base = experts_s(&curve, &PEAKS, &here) * (1.0 - 1e-12);
        prop_assert!(time(tokens + 1, per_token, inner) >= base);
        prop_assert!(time(tokens, per_token + 1, inner) >= base);
        prop_assert!(time(tokens, per_token, inner + 1) >= base);
        let with_others = Experts { pairs_elsewhere: 1e4, ..here };
        prop_assert!(experts_s(&curve, &PEAKS, &with_others) >= base);
    }

    #[test]
    fn experts_take_their_roofs_at_least(
        curve in expert_curves(), tokens in 1..40_000_u32, per_token in 1..9_u32, inner in 16..15_000_u32, is_tuned: bool,
    ) {
        let work = layer(tokens.into(), per_token.into(), inner.into(), is_tuned);
        let took_s = experts_s(&curve, &PEAKS, &work);
        prop_assert!(took_s >= work.flops / (PEAKS.flops_per_s * curve.compute_share) * (1.0 - 1e-12));
        prop_assert!(took_s >= work.weight_bytes / (PEAKS.bytes_per_s * curve.memory_share) * (1.0 - 1e-12));
    }

    /// Those that are as wide as activations; by their number and width on a rank.
    #[test]
    fn experts_depend_on_whether_their_size_is_tuned(
        curves in curves(), untuned_factor in 1.0..3.0_f64, tokens in 1..4000_u32,
    ) {
        let curves = EfficiencyCurves { experts: ExpertsCurve { untuned_factor, ..curves.experts }, ..curves };
        let time = |weights: Dtype, tuned: &[[u32; 2]]| {
            let model = mixtral_8x7b();
            let moe = model.moe.map(|moe| MixtureOfExperts { expert_dtype: Some(weights), ..moe });
            let curves = EfficiencyCurves { tuned_experts: tuned.to_vec(), ..curves.clone() };
            let scenario = by_curve(scenario(Transformer { moe, ..model }, 2, 1, 1), curves);
            seconds(&cost(&scenario).prepare(&prefill(tokens)), 0)
        };
        prop_assert_eq!(time(Dtype::Fp16, &[[8, 14336], [16, 7168]]), time(Dtype::Fp16, &[]));
        prop_assert!(time(Dtype::Fp16, &[[8, 7168]]) != time(Dtype::Fp16, &[]));
        prop_assert_eq!(time(Dtype::Int4, &[[8, 7168]]), time(Dtype::Int4, &[]));
    }
}

/// Products and weights add up, and nothing else counts.
#[test]
fn eight_bit_experts_multiply_at_their_own_rate_by_curve() {
    let experts = ExpertsCurve { untuned_factor: 0.0, cached_mb: 0.0, uncached_slowdown: 0.0, ..PRODUCTS_ALONE };
    let curves = EfficiencyCurves { experts, experts_8bit: experts, ..EfficiencyCurves::clone(&some_curves()) };
    let time = |weights: Dtype| {
        let model = mixtral_8x7b();
        let moe = model.moe.map(|moe| MixtureOfExperts { expert_dtype: Some(weights), ..moe });
        let scenario = by_curve(scenario(Transformer { moe, ..model }, 1, 1, 1), curves.clone());
        seconds(&cost(&scenario).prepare(&prefill(8192)), 0)
    };
    // Two of eight experts of 3 matrices a token, all of which are read.
    let expert = 3.0 * 4096.0 * 14336.0;
    let flops = 2.0 * 8192.0 * 2.0 * expert;
    let saved_s = flops / 312e12 - flops / 624e12 + 8.0 * expert / 2039e9;
    assert_near(time(Dtype::Fp16) - time(Dtype::Int8), 32.0 * saved_s, 1e-6);
}

/// Products alone count, and activations find room in L2.
#[test]
fn tokens_of_an_expert_are_padded_to_tiles_of_16_rows_and_of_64_once_they_are_more_than_experts() {
    let curve = PRODUCTS_ALONE;
    let rows = |curve: &ExpertsCurve, tokens: f64| {
        let work = Experts { weight_bytes: 0.0, ..layer(tokens, 1.0, 768.0, false) };
        experts_s(curve, &PEAKS, &work) * PEAKS.flops_per_s / (2.0 * 3.0 * HIDDEN * 768.0)
    };
    let distinct = |tokens| layer(tokens, 1.0, 768.0, false).distinct;
    assert_near(rows(&curve, 1.0), 16.0, 1e-6);
    assert_near(rows(&curve, 64.0), 16.0 * distinct(64.0), 1e-4);
    assert_near(rows(&curve, 65.0), 64.0 * distinct(65.0), 1e-4);
    // Half of a tile is idle for each of the experts where they have many.
    assert_near(rows(&curve, 64_000.0), 64_000.0 + 32.0 * EXPERTS, 1e-3);
    // 10,000 tokens are 41 MB: half of them come from memory.
    let half = ExpertsCurve { cached_mb: 20.48, ..curve };
    assert_near(rows(&half, 10_000.0), 1.5 * rows(&curve, 10_000.0), 1e-9);
}

/// The first family that was measured for the weights, in vLLM's order; where there is none, the curve of their width.
/// By hand: 2,048 as 3,072 wide is half as much again to read and to multiply, and no more of the tokens' own vectors; 96 as 128
/// within an expert is a third, and of these too.
#[test]
fn widths_are_padded_as_kernels_pad_them() {
    let work = layer(100.0, 4.0, 96.0, true);
    let products_s = work.flops / PEAKS.flops_per_s + work.weight_bytes / PEAKS.bytes_per_s;
    let took_s = |width_multiple: f64, hidden_multiple: f64| {
        experts_s(&ExpertsCurve { width_multiple, hidden_multiple, ..PRODUCTS_ALONE }, &PEAKS, &work)
    };
    let plain_s = took_s(0.0, 0.0);
    assert_near(took_s(32.0, 2048.0), plain_s, 1e-12);
    assert_near(took_s(0.0, 1536.0) - plain_s, 0.5 * products_s, 1e-9);
    assert_near(took_s(128.0, 1536.0) - took_s(128.0, 0.0), 0.5 * 128.0 / 96.0 * products_s, 1e-9);
}

#[test]
fn experts_take_the_kernels_that_vllm_takes_for_their_weights() {
    let launching = |launch_us: f64| ExpertsCurve { launch_us, ..PRODUCTS_ALONE };
    let families = |of: &[(ExpertFamily, f64)]| of.iter().map(|(family, us)| (*family, launching(*us))).collect();
    let time = |weights: Dtype, kernels: &[(&str, &[(ExpertFamily, f64)])]| {
        let model = mixtral_8x7b();
        let moe = model.moe.map(|moe| MixtureOfExperts { expert_dtype: Some(weights), ..moe });
        let expert_kernels = kernels.iter().map(|(name, of)| ((*name).to_owned(), families(of))).collect();
        let curves =
            EfficiencyCurves { experts: launching(0.0), expert_kernels, ..EfficiencyCurves::clone(&some_curves()) };
        let scenario = by_curve(scenario(Transformer { moe, ..model }, 1, 1, 1), curves);
        seconds(&cost(&scenario).prepare(&prefill(1000)), 0)
    };
    let all: &[(&str, &[(ExpertFamily, f64)])] = &[
        (
            "bfloat16",
            &[(ExpertFamily::Cutlass, 9000.0), (ExpertFamily::Triton, 5000.0), (ExpertFamily::Trtllm, 1000.0)],
        ),
        ("w4a16_mxfp4", &[(ExpertFamily::Marlin, 3000.0)]),
    ];
    for (weights, launch_us) in [(Dtype::Fp16, 1000.0), (Dtype::Mxfp4, 3000.0), (Dtype::Int4, 0.0)] {
        let more_s = time(weights, all) - time(weights, &[]);
        assert!((more_s - 32.0 * launch_us * 1e-6).abs() < 1e-9, "{weights:?}: {more_s} s");
    }
}

/// A family that is asked for counts before those that come first; mxfp4 that meets 8 bits has kernels of its own.
#[test]
fn experts_take_the_kernels_that_are_asked_for() {
    let launching = |launch_us: f64| ExpertsCurve { launch_us, ..PRODUCTS_ALONE };
    let families = |of: &[(ExpertFamily, f64)]| of.iter().map(|(family, us)| (*family, launching(*us))).collect();
    let time = |asked: Option<ExpertFamily>, activations: Option<Dtype>, is_measured: bool| {
        let model = mixtral_8x7b();
        let moe = model.moe.map(|moe| MixtureOfExperts { expert_dtype: Some(Dtype::Mxfp4), ..moe });
        let model = ModelArchitecture::from(Transformer { moe, ..model }).with_expert_activations(activations);
        let wide: &[_] = &[(ExpertFamily::Trtllm, 1000.0), (ExpertFamily::Marlin, 3000.0)];
        let kernels: [(&str, &[_]); 2] =
            [("w4a16_mxfp4", wide), ("w4a8_mxfp4_mxfp8", &[(ExpertFamily::Trtllm, 7000.0)])];
        let kernels = kernels.into_iter().filter(|_| is_measured);
        let expert_kernels = kernels.map(|(name, of)| (name.to_owned(), families(of))).collect();
        let (experts, experts_8bit) = (launching(0.0), launching(0.0));
        let curves =
            EfficiencyCurves { experts, experts_8bit, expert_kernels, ..EfficiencyCurves::clone(&some_curves()) };
        let mut scenario = by_curve(scenario(model, 1, 1, 1), curves);
        let gpu = &mut scenario.gpus[0];
        let mut device = DeviceSpec::clone(&gpu.device);
        device.peak_flops.fp8 = Some(624e12);
        gpu.device = Arc::new(device);
        scenario.engines[0].expert_kernels = asked;
        seconds(&cost(&scenario).prepare(&prefill(1000)), 0)
    };
    let (marlin, eight_bits) = (Some(ExpertFamily::Marlin), Some(Dtype::Fp8));
    for (asked, activations, launch_us) in [
        (None, None, 1000.0),
        (marlin, None, 3000.0),
        // Nobody has measured it: the first counts.
        (Some(ExpertFamily::Cutlass), None, 1000.0),
        (None, eight_bits, 7000.0),
    ] {
        let more_s = time(asked, activations, true) - time(asked, activations, false);
        assert!((more_s - 32.0 * launch_us * 1e-6).abs() < 1e-9, "{asked:?}, {activations:?}: {more_s} s");
    }
}

/// What was published of a router's product in 32 bits on a GB200 (vLLM pull 47973): rows, microseconds.
const WIDE_ROUTER_US: [(f64, f64); 11] = [
    (4.0, 20.2),
    (8.0, 16.7),
    (16.0, 22.3),
    (32.0, 63.2),
    (48.0, 63.4),
    (64.0, 63.3),
    (96.0, 64.1),
    (128.0, 69.3),
    (256.0, 77.8),
    (512.0, 96.8),
    (1024.0, 111.0),
];

#[test]
fn a_product_in_32_bits_takes_what_was_published() {
    let peaks = Peaks { flops_per_s: 2500e12, bytes_per_s: 8e12, processors: 152.0 };
    for (rows, us) in WIDE_ROUTER_US {
        let gemm = Gemm { rows, depth: 6144.0, columns: 256.0, bytes: 0.0 };
        assert_near(wide_gemm_s(&peaks, &gemm) * 1e6, us, 0.25);
    }
}

/// Routers in 32 bits are as fast as others for few tokens since they have a kernel of their own, and else a product without
/// matrix units.
#[test]
fn a_router_in_32_bits_is_a_product_of_its_own_kind() {
    let time = |wide_router: bool, is_fused: bool, sequences: u32| {
        let mut model = ModelArchitecture::from(mixtral_8x7b());
        let widened = |part: &Part| match part {
            Part::Experts(experts) => Part::Experts(layers::Experts { wide_router, ..*experts }),
            other => other.clone(),
        };
        let widen = |layer: &Layer| Layer { parts: layer.parts.iter().map(widened).collect(), ..layer.clone() };
        model.layers = model.layers.map(widen);
        let mut scenario = by_curve(scenario(model, 1, 1, 1), EfficiencyCurves::clone(&some_curves()));
        scenario.engines[0].fused_norms_and_routers = is_fused;
        seconds(&cost(&scenario).prepare(&decode(sequences)), 0)
    };
    for sequences in [1, 32] {
        assert_near(time(true, true, sequences), time(false, true, sequences), 1e-3);
        assert_ne!(time(true, false, sequences).to_bits(), time(true, true, sequences).to_bits());
    }
    assert_eq!(time(true, false, 64).to_bits(), time(true, true, 64).to_bits());
    assert_ne!(time(true, true, 64).to_bits(), time(false, true, 64).to_bits());
}
