//! Expert, sequence and context parallelism, and collectives over measured links: by hand and by law.

use std::sync::Arc;

use oracle_components::collectives::{Fabric, GroupFabric, Protocol, RankProtocols};
use oracle_components::efficiency::EfficiencyCurves;
use oracle_components::layers::{Attention, Layer, Part};
use oracle_components::model::ModelArchitecture;
use oracle_components::scenario::{ExpertExchange, ExpertParallel, Scenario};
use oracle_systems::costing::weights::{stage_weight_bytes, stage_weight_bytes_with_experts};
use oracle_systems::costing::{Operation, StepShape, collective_seconds};
use proptest::prelude::*;

use crate::curves::by_curve;
use crate::tables::some_curves;
use crate::{
    LINK_BYTES_PER_S, LINK_LATENCY_S, assert_near, cost, decode, deepseek_v3, llama2_13b, mixtral_8x7b, prefill,
    scenario, seconds,
};

const HIDDEN: f64 = 4096.0;
const LAYERS: f64 = 32.0;

/// Mixtral on one of `engines` engines of `tensor` ranks that share the experts, each rank with a link of its own.
fn shared_experts(tensor: u32, engines: u32, exchange: ExpertExchange, imbalance: Option<f64>) -> Scenario {
    let mut scenario = scenario(mixtral_8x7b(), tensor, 1, 1);
    let hops = if engines > 1 { (0..tensor).map(|rank| vec![rank]).collect() } else { vec![] };
    scenario.engines[0].expert_parallel =
        Some(ExpertParallel { data_parallel: engines, exchange, imbalance, hops, fabric: None });
    scenario
}

/// Two protocols for 2 ranks and for 8; half the latency for small all-reduces.
pub(super) fn fabric() -> Fabric {
    let table = |latency_us: f64| {
        let entry = |ranks: u32, share: f64| RankProtocols {
            ranks,
            protocols: vec![
                Protocol { latency_s: latency_us * 1e-6, s_per_byte: share / 20e9 },
                Protocol { latency_s: 3.0 * latency_us * 1e-6, s_per_byte: share / 200e9 },
            ],
            up_to_bytes: f64::INFINITY,
        };
        vec![entry(2, 1.0), entry(8, 1.75)]
    };
    let custom = |entry: RankProtocols| RankProtocols { up_to_bytes: 1e6, ..entry };
    Fabric {
        name: "test".into(),
        all_reduce: table(10.0),
        all_gather: table(8.0),
        reduce_scatter: table(8.0),
        all_to_all: table(9.0),
        custom_all_reduce: table(5.0).into_iter().map(custom).collect(),
        by_host: None,
    }
}

fn group(custom_all_reduce: bool) -> GroupFabric {
    GroupFabric { local: Arc::new(fabric()), custom_all_reduce, across: None }
}

fn measured(tensor: u32, custom_all_reduce: bool) -> Scenario {
    let mut scenario = scenario(llama2_13b(), tensor, 1, 1);
    scenario.engines[0].fabrics = vec![Some(group(custom_all_reduce))];
    scenario
}

#[test]
fn engines_that_share_experts_hold_a_part_of_each() {
    let model = mixtral_8x7b().architecture();
    // 8 experts of 3 · 4096 · 14336 at 2 bytes in 32 layers.
    let experts = 8 * 3 * 4096 * 14336 * 2 * 32;
    for (tensor, engines) in [(1, 2), (1, 8), (2, 4)] {
        let alone = stage_weight_bytes(&model, tensor, 1, 0);
        let shared = stage_weight_bytes_with_experts(&model, tensor, 1, 0, engines);
        let ranks = u64::from(tensor * engines);
        assert_eq!(alone - shared, experts / u64::from(tensor) - experts / ranks);
    }
    let dense = llama2_13b().architecture();
    assert_eq!(stage_weight_bytes_with_experts(&dense, 2, 1, 0, 4), stage_weight_bytes(&dense, 2, 1, 0));
    // DeepSeek-V3 in 16 bits: 1.3 TB that 32 ranks with 21 GB of experts each hold, beside attention and shared experts.
    let deepseek = stage_weight_bytes_with_experts(&deepseek_v3().architecture(), 1, 1, 0, 32) as f64;
    assert_near(deepseek, 256.0 * 3.0 * 7168.0 * 2048.0 * 2.0 * 58.0 / 32.0 + 34.8e9, 0.02);
}

#[test]
fn whole_experts_do_the_work_of_slices() {
    for shape in [decode(64), prefill(1000)] {
        let sliced = cost(&scenario(mixtral_8x7b(), 4, 1, 1)).prepare(&shape).work(0);
        let whole = cost(&shared_experts(4, 1, ExpertExchange::AllGather, None)).prepare(&shape).work(0);
        assert_near(whole.flops_per_gpu, sliced.flops_per_gpu, 1e-12);
        assert_near(whole.ring_bytes, sliced.ring_bytes, 1e-12);
        assert_eq!(whole.exchange_bytes, 0.0);
    }
    // Engines with the same batches do together what one does with all of them.
    let alone = cost(&shared_experts(1, 1, ExpertExchange::AllGather, None)).prepare(&decode(32)).work(0);
    let one_of_eight = cost(&shared_experts(1, 8, ExpertExchange::AllGather, None)).prepare(&decode(32)).work(0);
    assert_near(one_of_eight.flops_per_gpu, alone.flops_per_gpu, 1e-12);
    assert!(one_of_eight.memory_bytes_per_gpu < alone.memory_bytes_per_gpu / 4.0);
}

#[test]
fn tokens_are_gathered_and_results_scattered() {
    let shape = decode(100);
    let shared = |engines| shared_experts(1, engines, ExpertExchange::AllGather, Some(1.0));
    let work = cost(&shared(4)).prepare(&shape).work(0);
    // There and back, 3/4 of the tokens of 4 engines, at 2 bytes.
    assert_near(work.exchange_bytes, 2.0 * 0.75 * 4.0 * 100.0 * HIDDEN * 2.0 * LAYERS, 1e-12);
    let mut instant = shared(4);
    for link in &mut instant.links {
        link.bytes_per_s = 1e30;
        link.latency_s = 0.0;
    }
    let took = seconds(&cost(&shared(4)).prepare(&shape), 0) - seconds(&cost(&instant).prepare(&shape), 0);
    let steps = 2.0 * LAYERS * 3.0 * LINK_LATENCY_S;
    assert_near(took, steps + work.exchange_bytes / LINK_BYTES_PER_S, 1e-3);
}

#[test]
fn a_token_goes_once_to_each_rank_that_has_experts_of_it() {
    let work = |tensor, engines| {
        let shared = shared_experts(tensor, engines, ExpertExchange::AllToAll, None);
        cost(&shared).prepare(&decode(64)).work(0).exchange_bytes
    };
    // Two of eight experts on 8 ranks: 8·(1 − (7/8)²) = 1.875 ranks, of which 7/8 are others.
    assert_near(work(1, 8), 2.0 * 64.0 * 1.875 * 0.875 * HIDDEN * 2.0 * LAYERS, 1e-12);
    // Each of two ranks of an engine sends half of its tokens.
    assert_near(work(2, 4), work(1, 8) / 2.0, 1e-12);
    assert_eq!(work(8, 1), 0.0);
}

#[test]
fn the_busiest_rank_counts() {
    let took = |imbalance| {
        let cost = cost(&shared_experts(8, 1, ExpertExchange::AllGather, imbalance));
        [8, 256, 4096].map(|tokens| seconds(&cost.prepare(&decode(tokens)), 0))
    };
    let (even, expected, all) = (took(Some(1.0)), took(None), took(Some(8.0)));
    for tokens in 0..3 {
        assert!(even[tokens] < expected[tokens] && expected[tokens] < all[tokens]);
    }
    // With many tokens the loads even out.
    assert!(expected[2] / even[2] < 1.1 && expected[2] / even[2] < expected[0] / even[0]);
}

#[test]
fn small_all_reduces_are_the_engines_own_and_large_ones_the_librarys() {
    let took = |custom, ranks, bytes| collective_seconds(Operation::AllReduce, &group(custom), ranks, bytes);
    assert_near(took(true, 2, 1000.0), 5e-6 + 1000.0 / 20e9, 1e-12);
    assert_near(took(true, 2, 1e6), 15e-6 + 1e6 / 200e9, 1e-12);
    assert_near(took(true, 2, 2e6), 30e-6 + 2e6 / 200e9, 1e-12);
    assert_near(took(false, 2, 1000.0), 10e-6 + 1000.0 / 20e9, 1e-12);
    // Half way between the 2 and 8 ranks that were measured; 3 ranks have no all-reduce of their own, and 16 are a ring.
    assert_near(took(true, 5, 4e6), 30e-6 + 1.375 * 4e6 / 200e9, 1e-12);
    assert_near(took(true, 3, 1000.0), 10e-6 + 1.125 * 1000.0 / 20e9, 1e-12);
    let (latency, share) = ((1.0 + 0.2 * 14.0) / (1.0 + 0.2 * 6.0), (15.0 / 16.0) / (7.0 / 8.0));
    assert_near(took(true, 16, 1e9), 30e-6 * latency + share * 1.75 * 1e9 / 200e9, 1e-12);
}

#[test]
fn measured_all_reduces_take_the_place_of_the_ring() {
    let shape = decode(16);
    let work = |scenario: &Scenario| seconds(&cost(scenario).prepare(&shape), 0);
    let ring = scenario(llama2_13b(), 2, 1, 1);
    let (reduced, gathered) = (16.0 * 5120.0 * 2.0, 16.0 * 32_000.0 * 2.0);
    let by_ring =
        81.0 * (2.0 * LINK_LATENCY_S + reduced / LINK_BYTES_PER_S) + LINK_LATENCY_S + 0.5 * gathered / LINK_BYTES_PER_S;
    let by_fabric = 81.0 * collective_seconds(Operation::AllReduce, &group(true), 2, reduced)
        + collective_seconds(Operation::AllGather, &group(true), 2, gathered);
    assert_near(work(&measured(2, true)) - work(&ring), by_fabric - by_ring, 1e-6);
    assert!(work(&measured(2, false)) > work(&measured(2, true)));
}

#[test]
fn sequence_parallelism_moves_as_many_bytes_and_spares_norms() {
    let plain = scenario(llama2_13b(), 4, 1, 1);
    let mut split = plain.clone();
    split.engines[0].sequence_parallel = true;
    let (plain, split) = (cost(&plain).prepare(&prefill(2000)), cost(&split).prepare(&prefill(2000)));
    assert_near(split.work(0).ring_bytes, plain.work(0).ring_bytes, 1e-12);
    // Two norms of 4 vectors a layer, of which 3/4 are spared.
    let spared = 2000.0 * 0.75 * 2.0 * 4.0 * 5120.0 * 2.0 * 40.0;
    assert_near(plain.work(0).memory_bytes_per_gpu - split.work(0).memory_bytes_per_gpu, spared, 1e-9);
    assert!(seconds(&split, 0) < seconds(&plain, 0));
}

#[test]
fn ranks_that_would_hold_copies_of_a_cache_share_its_tokens() {
    let shared = |ranks| {
        let mut scenario = scenario(mixtral_8x7b(), 16, 1, 1);
        scenario.engines[0].decode_context_parallel = ranks;
        scenario
    };
    let bytes = |ranks, context| cost(&shared(ranks)).prepare(&decode(32)).work(context).memory_bytes_per_gpu;
    // One of eight KV heads a rank: keys and values of 128 at 2 bytes in 32 layers, or half of that.
    let context_bytes = |ranks| bytes(ranks, 100_000) - bytes(ranks, 0);
    assert_near(context_bytes(1), 100_000.0 * 2.0 * 128.0 * 2.0 * LAYERS, 1e-9);
    assert_near(context_bytes(2), context_bytes(1) / 2.0, 1e-9);
    let work = |ranks, shape: &StepShape| cost(&shared(ranks)).prepare(shape).work(100_000);
    assert_near(work(2, &decode(32)).flops_per_gpu, work(1, &decode(32)).flops_per_gpu, 1e-12);
    // Queries there and outputs back, two heads of each of two ranks, half of which is on the other rank.
    let crossed = work(2, &decode(32)).ring_bytes - work(1, &decode(32)).ring_bytes;
    assert_near(crossed, 32.0 * 2.0 * 0.5 * (2.0 * 2.0 * 128.0) * 2.0 * LAYERS, 1e-9);
    assert_near(work(2, &prefill(500)).ring_bytes, work(1, &prefill(500)).ring_bytes, 1e-12);
    let took = |ranks, context| seconds(&cost(&shared(ranks)).prepare(&decode(32)), context);
    assert!(took(2, 0) > took(1, 0) && took(2, 10_000_000) < took(1, 10_000_000));
}

proptest! {
    #[test]
    fn no_collective_beats_its_links(tensor in 2..17_u32, tokens in 1..5000_u32, custom in any::<bool>()) {
        let cost = cost(&measured(tensor, custom));
        let step = cost.prepare(&prefill(tokens));
        prop_assert!(seconds(&step, 0) >= step.work(0).ring_bytes / LINK_BYTES_PER_S);
    }

    #[test]
    fn more_tokens_take_longer_with_shared_experts(
        tensor in prop::sample::select(vec![1_u32, 2]), engines in 1..5_u32, all_to_all in any::<bool>(),
        (decodes, more) in (1..500_u32, 1..50_u32),
    ) {
        let exchange = if all_to_all { ExpertExchange::AllToAll } else { ExpertExchange::AllGather };
        let cost = cost(&shared_experts(tensor, engines, exchange, None));
        let took = |shape: &StepShape| seconds(&cost.prepare(shape), 1000);
        prop_assert!(took(&decode(decodes)) <= took(&decode(decodes + more)));
    }
}

/// Norms on queries and keys over the heads of all ranks: an all-reduce of two numbers a token and layer, among ranks alone, and
/// until they were one kernel with it three kernels more.
#[test]
fn norms_over_the_heads_of_all_ranks_take_an_all_reduce() {
    const LAYERS_13B: f64 = 40.0;
    let of_tensor = |tensor: u32, norm_sums: u32, is_fused: bool| {
        let mut scenario = if tensor > 1 { measured(tensor, true) } else { scenario(llama2_13b(), 1, 1, 1) };
        let mut model = ModelArchitecture::clone(&scenario.engines[0].model);
        let summed = |part: &Part| match part {
            Part::Attention(attention) => Part::Attention(Attention { norm_sums, ..*attention }),
            other => other.clone(),
        };
        let sum = |layer: &Layer| Layer { parts: layer.parts.iter().map(summed).collect(), ..layer.clone() };
        model.layers = model.layers.map(sum);
        scenario.engines[0].model = Arc::new(model);
        scenario.engines[0].fused_norms_and_routers = is_fused;
        scenario
    };
    let time = |scenario: &Scenario| seconds(&cost(scenario).prepare(&decode(64)), 0);
    let more_s = |tensor| time(&of_tensor(tensor, 2, true)) - time(&of_tensor(tensor, 0, true));
    assert_near(more_s(8), LAYERS_13B * collective_seconds(Operation::AllReduce, &group(true), 8, 64.0 * 8.0), 1e-6);
    assert!(more_s(1).abs() < 1e-12, "{}", more_s(1));
    let curves = some_curves();
    let by_curve = |tensor, is_fused| time(&by_curve(of_tensor(tensor, 2, is_fused), EfficiencyCurves::clone(&curves)));
    assert!(by_curve(8, false) > by_curve(8, true) + LAYERS_13B * 1e-9);
    assert_near(by_curve(1, false), by_curve(1, true), 1e-12);
}
