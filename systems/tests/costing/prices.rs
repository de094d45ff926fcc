//! Prices worked out by hand, for Llama-2-13B in fp16 (40 layers, hidden 5120, 40 heads of 128, intermediate 13824,
//! vocabulary 32000) on an A100 80 GB: 312 TFLOP/s and 2039 GB/s, at mfu 0.5 and mbu 0.8 → 156 TFLOP/s, 1631.2 GB/s.

use oracle_components::SimTime;
use oracle_components::device::Efficiency;
use oracle_components::model::Dtype;
use oracle_components::scenario::LevelOfDetail;
use oracle_components::transformer::{SlidingWindow, Transformer};
use oracle_systems::costing::StepShape;

use crate::scenario_by_sequences;
use crate::{
    BYTES_PER_S, FLOPS_PER_S, LINK_BYTES_PER_S, LINK_LATENCY_S, assert_near, cost, decode, llama2_13b, mixtral_8x7b,
    prefill, prepare, scenario, seconds,
};

#[test]
fn decode_of_one_sequence_streams_weights_and_cache() {
    // All weights but the embedding table (of which one row is read), 2 · (13,015,864,320 − 163,840,000) B
    // = 25.704 GB → 15.758 ms; the cache of 1024 tokens, 1024 · 819,200 B → 0.514 ms; activations some 0.01 ms.
    let step = prepare(llama2_13b(), 1, 1, 1, &decode(1));
    let floor = (2.0 * (13_015_864_320.0 - 163_840_000.0) + 1024.0 * 819_200.0) / BYTES_PER_S;
    assert_near(floor, 16.272e-3, 1e-4);
    assert!(seconds(&step, 1024) >= floor);
    assert_near(seconds(&step, 1024), floor, 0.002);
    assert!(seconds(&step, 1024) > 15.9e-3);
    // Batching is nearly free while the weights dominate.
    let batch = prepare(llama2_13b(), 1, 1, 1, &decode(32));
    assert!(seconds(&batch, 32) < 1.05 * seconds(&step, 1));
}

#[test]
fn prefill_of_a_prompt_is_bound_by_compute() {
    // Products: 40 layers · 2 · 2048 tokens · (4 · 5120² + 3 · 5120 · 13824) = 5.197e13 FLOPs → 0.33314 s.
    // Attention: 40 · 4 · 2,098,176 pairs · 5120 = 1.7188e12 FLOPs → 0.01102 s (bytes: 84 MB a layer, less).
    // Elementwise, 2048 tokens · 4 · 2 · 5120 · 2 B … → 40 · 0.29 ms; head 0.33 GB → 0.2 ms.
    let step = prepare(llama2_13b(), 1, 1, 1, &prefill(2048));
    let products = 40.0 * 2.0 * 2048.0 * (4.0 * 5120.0_f64.powi(2) + 3.0 * 5120.0 * 13824.0) / FLOPS_PER_S;
    let attention = 40.0 * 4.0 * 2_098_176.0 * 5120.0 / FLOPS_PER_S;
    assert_near(products, 0.33314, 1e-3);
    assert_near(attention, 0.01102, 1e-3);
    assert!(seconds(&step, 0) > products + attention);
    assert_near(seconds(&step, 0), products + attention, 0.04);
}

#[test]
fn all_reduces_take_what_the_ring_formula_says() {
    // On 4 ranks, 2048 tokens: 2·3·2 µs + 2·3/4 · 2048·5120·2 B / 300 GB/s = 12 µs + 104.86 µs = 116.86 µs; two a layer and
    // one for the embedding: 81 → 9.4655 ms. The logits' gather: 3·2 µs + 3/4·64,000 B / 300 GB/s = 6.16 µs.
    let shape = prefill(2048);
    let wired = scenario(llama2_13b(), 4, 1, 1);
    let mut instant = wired.clone();
    for link in &mut instant.links {
        (link.latency_s, link.bytes_per_s) = (0.0, f64::INFINITY);
    }
    let network = seconds(&cost(&wired).prepare(&shape), 0) - seconds(&cost(&instant).prepare(&shape), 0);
    assert_near(network, 81.0 * 116.8576e-6 + 6.16e-6, 1e-5);
    let ring_bytes = cost(&wired).prepare(&shape).work(0).ring_bytes;
    assert_near(ring_bytes, 81.0 * 1.5 * 2048.0 * 10240.0 + 0.75 * 64_000.0, 1e-9);
}

#[test]
fn tensor_parallel_divides_the_products() {
    let shape = prefill(8192);
    let one = prepare(llama2_13b(), 1, 1, 1, &shape).work(0).flops_per_gpu;
    let two = prepare(llama2_13b(), 2, 1, 1, &shape).work(0).flops_per_gpu;
    assert_near(two, one / 2.0, 1e-12);
    let mut free = scenario(llama2_13b(), 2, 1, 1);
    for link in &mut free.links {
        (link.latency_s, link.bytes_per_s) = (0.0, f64::INFINITY);
    }
    let halved = seconds(&cost(&free).prepare(&decode(1)), 1024);
    // Norms and sampling are not divided.
    assert_near(halved, seconds(&prepare(llama2_13b(), 1, 1, 1, &decode(1)), 1024) / 2.0, 0.002);
}

#[test]
fn a_pipeline_stays_full() {
    // 4 stages of 10 layers, sends of 2 µs + a few kB. One sequence is one micro-batch: the sum of the stages, all weights
    // once. Sixty-four are four: the weights are read four times, stages overlap, so a step lasts as long as the slowest
    // stage takes for four.
    let model = llama2_13b;
    let sends = |tokens: f64| 3.0 * (LINK_LATENCY_S + tokens * 10240.0 / LINK_BYTES_PER_S);
    let single = seconds(&prepare(model(), 1, 1, 1, &decode(1)), 1000);
    let staged = scenario_by_sequences(model(), 4);
    let one = seconds(&cost(&staged).prepare(&decode(1)), 1000);
    assert!((one - single - sends(1.0)).abs() < 2e-9, "{one} {single}");
    let four = seconds(&cost(&staged).prepare(&decode(64)), 64_000);
    // The last stage, with the head: its weights four times, and its share of the cache once.
    let weights = (10.0 * (4.0 * 5120.0 * 5120.0 + 3.0 * 5120.0 * 13824.0) + 5120.0 * 32000.0) * 2.0;
    let slowest = (4.0 * weights + 64_000.0 * 204_800.0) / BYTES_PER_S;
    assert!(four >= slowest);
    assert_near(four, slowest, 0.01);
    // A prompt alone is not split, unless micro-batches are asked for: then weights are read for each.
    let whole = seconds(&cost(&staged).prepare(&prefill(64)), 0);
    let unstaged = seconds(&prepare(model(), 1, 1, 1, &prefill(64)), 0);
    assert!((whole - unstaged - sends(64.0)).abs() < 2e-9, "{whole} {unstaged}");
    let split = seconds(&prepare(model(), 1, 4, 8, &prefill(64)), 0);
    assert_near(split, 8.0 * weights / BYTES_PER_S, 0.02);
}

#[test]
fn a_shared_link_gives_each_ring_its_part() {
    let mut shared = scenario(llama2_13b(), 2, 1, 1);
    // Both hops over one link: half the bandwidth each.
    shared.engines[0].rings = vec![vec![vec![0], vec![0]]];
    let mut halved = scenario(llama2_13b(), 2, 1, 1);
    halved.links.iter_mut().for_each(|link| link.bytes_per_s /= 2.0);
    let shape = prefill(512);
    assert_eq!(cost(&shared).prepare(&shape).duration(0), cost(&halved).prepare(&shape).duration(0));
    // A second engine on the same links does the same.
    let mut two = scenario(llama2_13b(), 2, 1, 1);
    two.engines.push(two.engines[0].clone());
    assert_eq!(cost(&two).prepare(&shape).duration(0), cost(&halved).prepare(&shape).duration(0));
    two.level_of_detail = LevelOfDetail::Medium;
    let alone = prepare(llama2_13b(), 2, 1, 1, &shape);
    assert_eq!(cost(&two).prepare(&shape).duration(0), alone.duration(0));
}

#[test]
fn a_hop_of_several_links_adds_latency_and_takes_the_least_bandwidth() {
    let mut far = scenario(llama2_13b(), 2, 1, 1);
    far.links[1].bytes_per_s = 100e9;
    far.engines[0].rings = vec![vec![vec![0, 1], vec![2]]];
    let mut near = scenario(llama2_13b(), 2, 1, 1);
    near.links.iter_mut().for_each(|link| (link.bytes_per_s, link.latency_s) = (100e9, 2.0 * LINK_LATENCY_S));
    assert_eq!(cost(&far).prepare(&prefill(64)).duration(0), cost(&near).prepare(&prefill(64)).duration(0));
}

#[test]
fn the_slowest_rank_the_share_and_the_overhead_count() {
    let mut half = scenario(llama2_13b(), 1, 1, 1);
    half.engines[0].gpu_share = 0.5;
    let whole = seconds(&prepare(llama2_13b(), 1, 1, 1, &decode(8)), 800);
    assert_near(seconds(&cost(&half).prepare(&decode(8)), 800), 2.0 * whole, 1e-6);
    let mut uneven = scenario(llama2_13b(), 2, 1, 1);
    let mut even = uneven.clone();
    uneven.gpus[1].efficiency = Efficiency::Constant { mfu: 0.25, mbu: 0.4 };
    even.engines[0].efficiency = Some(Efficiency::Constant { mfu: 0.25, mbu: 0.4 });
    assert_eq!(cost(&uneven).prepare(&decode(8)).duration(9), cost(&even).prepare(&decode(8)).duration(9));
    let mut idle = scenario(llama2_13b(), 1, 1, 1);
    assert_eq!(cost(&idle).prepare(&StepShape::default()).duration(0), SimTime(1));
    assert_eq!(prepare(llama2_13b(), 2, 1, 1, &StepShape::default()).duration(0), SimTime(1));
    idle.engines[0].step_overhead_s = 1e-3;
    assert_eq!(cost(&idle).prepare(&StepShape::default()).duration(0), SimTime(1_000_000));
}

#[test]
fn unlike_stages_keep_their_own_speed_up_to_six_kinds() {
    let time = |stages: u32, slow_stages: u32| {
        let mut pipeline = scenario(llama2_13b(), 1, stages, 1);
        for (stage, gpu) in (0..slow_stages).zip(&mut pipeline.gpus) {
            // Each a little different: as many kinds as slow stages.
            gpu.efficiency = Efficiency::Constant { mfu: 0.25, mbu: 0.4 + 1e-6 * f64::from(stage) };
        }
        seconds(&cost(&pipeline).prepare(&decode(1)), 100)
    };
    // Half of the layers at half the speed.
    assert_near(time(2, 1), 1.5 * time(2, 0), 0.01);
    // Beyond, the slowest counts for all.
    assert_near(time(10, 9), 2.0 * time(10, 0), 0.01);
}

#[test]
fn eight_bit_weights_run_at_their_own_rate_and_narrower_ones_at_the_activations() {
    let shape = prefill(8192);
    let time = |dtype| {
        let model = Transformer { weight_dtype: dtype, ..llama2_13b() };
        seconds(&prepare(model, 1, 1, 1, &shape), 0)
    };
    // 624 TOP/s int8: products take half, attention and elementwise stay. The device has no fp8.
    assert!(time(Dtype::Int8) < 0.65 * time(Dtype::Fp16));
    assert_near(time(Dtype::Fp8), time(Dtype::Fp16), 1e-3);
    assert_near(time(Dtype::Int4), time(Dtype::Fp16), 1e-3);
}

#[test]
fn experts_are_read_as_far_as_tokens_reach_them() {
    // 1 token reaches 2 of 8 experts; 64 tokens all of them (8 · (1 − 0.75^64) = 8).
    let bytes = |tokens| prepare(mixtral_8x7b(), 1, 1, 1, &decode(tokens)).work(0).memory_bytes_per_gpu;
    let expert = 3.0 * 4096.0 * 14336.0 * 2.0;
    let activations = 63.0 * (bytes(201) - bytes(200));
    assert_near(bytes(64) - bytes(1) - activations, 6.0 * 32.0 * expert, 1e-6);
}

#[test]
fn a_sliding_window_bounds_the_cache_that_is_read() {
    let window = SlidingWindow { window_tokens: 100, layers: 20, chunked: false, begins_full: false };
    let model = Transformer { sliding_window: Some(window), ..llama2_13b() };
    let step = prepare(model, 1, 1, 1, &decode(2));
    // Half of the layers see all 2000 tokens, half of them 2 · 100.
    let bytes = step.work(2000).memory_bytes_per_gpu - step.work(0).memory_bytes_per_gpu;
    assert_eq!(bytes, 20.0 * 20_480.0 * (2000.0 + 200.0));
}

/// Each step of three decodes attends to three more tokens than the one before, and each of them to its last hundred in half
/// of the layers.
#[test]
fn work_of_many_steps_is_the_sum_of_the_steps_however_many_are_within_the_window() {
    let window = SlidingWindow { window_tokens: 100, layers: 20, chunked: false, begins_full: false };
    let model = Transformer { sliding_window: Some(window), ..llama2_13b() };
    let step = prepare(model.clone(), 1, 1, 1, &decode(3));
    for first in [200, 240, 271, 273, 297, 300, 301, 500] {
        let contexts = || (0..20).map(|at| first + 3 * at);
        let attended: u64 = contexts().map(|context| context + context.min(3 * 100)).sum();
        let at_once =
            step.work_over(20, contexts().sum()).memory_bytes_per_gpu - 20.0 * step.work(0).memory_bytes_per_gpu;
        assert_near(at_once, 20.0 * 20_480.0 * attended as f64, 1e-9);
    }
    // Without decodes or steps there is nothing to attend to.
    let prompt = prepare(model, 1, 1, 1, &prefill(500));
    assert_eq!(prompt.work_over(3, 0).flops_per_gpu, 3.0 * prompt.work(0).flops_per_gpu);
    assert!(prompt.work(0).flops_per_gpu > 0.0);
    assert_eq!(step.work_over(0, 0).flops_per_gpu, 0.0);
}
