//! Pipelines and groups of ranks that are not all alike: who is the slowest, what crosses which links, and what is a mean over
//! stages.

use std::sync::Arc;

use oracle_components::collectives::{Fabric, GroupFabric, Protocol, RankProtocols};
use oracle_components::device::{DeviceSpec, Efficiency};
use oracle_components::efficiency::EfficiencyCurves;
use oracle_components::scenario::{ExpertExchange, ExpertParallel, KernelLaunch, Scenario};
use oracle_systems::costing::{Operation, StepShape, collective_seconds};

use crate::parallel::fabric;
use crate::tables::some_curves;
use crate::{
    LINK_BYTES_PER_S, LINK_LATENCY_S, assert_near, cost, decode, llama2_13b, mixtral_8x7b, prefill, scenario, seconds,
};

/// More stages than kinds of them that are told apart.
const STAGES: u32 = 8;
/// The one that the others wait for.
const SLOWEST: usize = 3;

fn took(scenario: &Scenario, shape: &StepShape) -> f64 {
    seconds(&cost(scenario).prepare(shape), 1000)
}

fn protocols(ranks: u32, latency_us: f64) -> RankProtocols {
    let protocol = Protocol { latency_s: latency_us * 1e-6, s_per_byte: 1.0 / 100e9 };
    RankProtocols { ranks, protocols: vec![protocol], up_to_bytes: f64::INFINITY }
}

/// Every collective by one protocol, measured among `ranks`.
fn plain_fabric(ranks: u32, latency_us: f64) -> Fabric {
    let table = || vec![protocols(ranks, latency_us)];
    Fabric {
        name: "plain".into(),
        all_reduce: table(),
        all_gather: table(),
        reduce_scatter: table(),
        all_to_all: table(),
        custom_all_reduce: Vec::new(),
        by_host: None,
    }
}

fn local(fabric: Fabric) -> GroupFabric {
    GroupFabric { local: Arc::new(fabric), custom_all_reduce: false, across: None }
}

fn across(local: Fabric, nodes: u32, between: Fabric) -> GroupFabric {
    GroupFabric { local: Arc::new(local), custom_all_reduce: false, across: Some((nodes, Arc::new(between))) }
}

/// Nothing takes time on these links.
fn instant(mut scenario: Scenario) -> Scenario {
    for link in &mut scenario.links {
        (link.latency_s, link.bytes_per_s) = (0.0, f64::INFINITY);
    }
    scenario
}

/// Stages that differ from each other in something, the slowest in the middle, take as long as if all were like the slowest.
fn the_slowest_counts(change: impl Fn(&mut Scenario, usize, f64)) {
    let pipeline = |slowness: &dyn Fn(usize) -> f64| {
        let mut pipeline = scenario(llama2_13b(), 2, STAGES, 1);
        (0..STAGES as usize).for_each(|stage| change(&mut pipeline, stage, slowness(stage)));
        pipeline
    };
    let unlike = pipeline(&|stage| if stage == SLOWEST { 3.0 } else { 1.0 + 0.01 * stage as f64 });
    let slowest = pipeline(&|_| 3.0);
    for shape in [decode(5), prefill(300)] {
        assert_eq!(
            cost(&unlike).prepare(&shape).duration(1000),
            cost(&slowest).prepare(&shape).duration(1000),
            "{shape:?}"
        );
    }
}

#[test]
fn with_too_many_kinds_of_stages_the_slowest_ring_counts_for_all() {
    the_slowest_counts(|scenario, stage, slowness| {
        for link in &mut scenario.links[2 * stage..2 * stage + 2] {
            link.bytes_per_s /= slowness;
            link.latency_s *= slowness;
        }
    });
}

#[test]
fn with_too_many_kinds_of_stages_the_slowest_measured_links_count_for_all() {
    for sequence_parallel in [false, true] {
        the_slowest_counts(|scenario, _, slowness| {
            scenario.engines[0].sequence_parallel = sequence_parallel;
            scenario.engines[0].fabrics.push(Some(local(plain_fabric(2, 10.0 * slowness))));
        });
    }
}

/// A slower memory's curves stand for all of the device.
#[test]
fn with_too_many_kinds_of_stages_the_curves_of_the_slowest_memory_count_for_all() {
    let curves = some_curves();
    the_slowest_counts(|scenario, stage, slowness| {
        for gpu in &mut scenario.gpus[2 * stage..2 * stage + 2] {
            let memory_bytes_per_s = gpu.device.memory_bytes_per_s / slowness;
            gpu.device = Arc::new(DeviceSpec { memory_bytes_per_s, ..DeviceSpec::clone(&gpu.device) });
            let mut own = EfficiencyCurves::clone(&curves);
            // Not the slower ones: of curves nobody can say which are.
            own.gemm.launch_us = 20.0 / slowness;
            gpu.efficiency = Efficiency::Curve(Arc::new(own));
        }
    });
}

#[test]
fn a_stage_is_as_slow_as_its_own_gpus() {
    let time = |slow_gpus: &[usize]| {
        let mut pipeline = instant(scenario(llama2_13b(), 2, 2, 1));
        for &gpu in slow_gpus {
            pipeline.gpus[gpu].efficiency = Efficiency::Constant { mfu: 0.25, mbu: 0.4 };
        }
        took(&pipeline, &decode(1))
    };
    assert_near(time(&[1]), 1.5 * time(&[]), 0.02);
    assert_near(time(&[2]), 1.5 * time(&[]), 0.02);
    assert_near(time(&[0, 3]), 2.0 * time(&[]), 0.02);
}

#[test]
fn stages_send_over_their_own_links_however_their_ranks_are_joined() {
    let shape = prefill(512);
    for fabrics in [Vec::new(), vec![Some(local(plain_fabric(2, 10.0))); 2]] {
        let mut wired = scenario(llama2_13b(), 2, 2, 1);
        wired.engines[0].fabrics = fabrics;
        let mut instant = wired.clone();
        let send = wired.engines[0].stage_paths[0][0] as usize;
        (instant.links[send].latency_s, instant.links[send].bytes_per_s) = (0.0, f64::INFINITY);
        let expected = LINK_LATENCY_S + 512.0 * 5120.0 * 2.0 / LINK_BYTES_PER_S;
        assert_near(took(&wired, &shape) - took(&instant, &shape), expected, 1e-3);
        // Nobody sends nothing.
        assert_eq!(cost(&wired).prepare(&StepShape::default()).duration(0).0, 1);
    }
}

#[test]
fn work_is_a_mean_over_stages() {
    let mixed = StepShape { decode_sequences: 40, sampled_rows: 41, ..prefill(500) };
    let of_experts = |pipeline| {
        let mut scenario = scenario(mixtral_8x7b(), 2, pipeline, 1);
        let hops = vec![vec![0], vec![1]];
        let exchange = ExpertExchange::AllGather;
        scenario.engines[0].expert_parallel =
            Some(ExpertParallel { data_parallel: 4, exchange, imbalance: None, hops, fabric: None });
        scenario
    };
    let of_caches = |pipeline| {
        let mut scenario = scenario(mixtral_8x7b(), 16, pipeline, 1);
        scenario.engines[0].decode_context_parallel = 2;
        scenario
    };
    for scenario in [&of_experts as &dyn Fn(u32) -> Scenario, &of_caches] {
        let [whole, staged] = [1, 4].map(|stages| cost(&scenario(stages)).prepare(&mixed).work(50_000));
        assert_near(4.0 * staged.flops_per_gpu, whole.flops_per_gpu, 1e-9);
        assert_near(4.0 * staged.memory_bytes_per_gpu, whole.memory_bytes_per_gpu, 1e-9);
        assert_near(4.0 * staged.ring_bytes, whole.ring_bytes, 1e-9);
        assert_near(4.0 * staged.exchange_bytes + 1.0, whole.exchange_bytes + 1.0, 1e-9);
    }
}

#[test]
fn measured_links_take_what_was_measured_where_nothing_is_known_of_a_ring() {
    let joined = |rings| {
        let mut scenario = scenario(llama2_13b(), 2, 1, 1);
        scenario.engines[0].fabrics = vec![Some(local(fabric()))];
        scenario.engines[0].rings = rings;
        scenario
    };
    let shape = prefill(512);
    assert_eq!(took(&joined(vec![vec![]]), &shape), took(&joined(vec![vec![vec![0], vec![1]]]), &shape));
}

#[test]
fn no_measurement_beats_the_links_of_a_ring() {
    let mut slow = scenario(llama2_13b(), 4, 1, 1);
    slow.engines[0].fabrics = vec![Some(local(fabric()))];
    slow.links.iter_mut().for_each(|link| link.bytes_per_s = 1e9);
    let step = cost(&slow).prepare(&prefill(100));
    assert!(seconds(&step, 0) >= step.work(0).ring_bytes / 1e9);
}

#[test]
fn collectives_take_the_measurements_around_their_ranks() {
    let of_four = local(Fabric { all_gather: vec![protocols(4, 10.0), protocols(8, 20.0)], ..plain_fabric(2, 1.0) });
    let took_us = |ranks| 1e6 * collective_seconds(Operation::AllGather, &of_four, ranks, 0.0_f64.next_up());
    // Fewer than were measured take no less.
    for (ranks, expected) in [(2, 10.0), (4, 10.0), (6, 15.0), (8, 20.0)] {
        assert_near(took_us(ranks), expected, 1e-9);
    }
}

#[test]
fn an_engines_own_all_reduce_goes_as_far_as_it_was_measured() {
    let own = |ranks, up_to_bytes| RankProtocols { up_to_bytes, ..protocols(ranks, 1.0) };
    let custom_all_reduce = vec![own(2, 1e5), own(8, 1e6)];
    let group = GroupFabric {
        custom_all_reduce: true,
        ..local(Fabric {
            custom_all_reduce,
            all_reduce: vec![protocols(2, 10.0), protocols(8, 10.0)],
            ..plain_fabric(2, 1.0)
        })
    };
    let is_own =
        |ranks, bytes: f64| collective_seconds(Operation::AllReduce, &group, ranks, bytes) < 9e-6 + bytes / 100e9;
    assert!(is_own(2, 0.9e5) && !is_own(2, 5e5));
    assert!(is_own(8, 0.9e5) && is_own(8, 5e5) && !is_own(8, 2e6));
    // Between two, the lower limit.
    assert!(is_own(4, 0.9e5) && !is_own(4, 5e5));
}

#[test]
fn ranks_of_different_nodes_take_what_is_between_the_nodes() {
    let bytes = 1e6;
    let group = |nodes| across(plain_fabric(2, 10.0), nodes, plain_fabric(2, 100.0));
    let took = |ranks, nodes| collective_seconds(Operation::AllGather, &group(nodes), ranks, bytes);
    assert_near(took(2, 2), 100e-6 + bytes / 100e9, 1e-9);
    assert_near(took(4, 2), 110e-6 + 2.0 * bytes / 100e9, 1e-9);
}

/// Each of two ranks gathers from its like on the other node, both over the same adapter.
#[test]
fn ranks_that_gather_for_their_experts_share_an_adapter() {
    let tokens = 64.0;
    let shared = |tensor: u32, fabric: Option<GroupFabric>| {
        let mut scenario = instant(scenario(mixtral_8x7b(), tensor, 1, 1));
        let hops = (0..tensor).map(|rank| vec![rank]).collect();
        let exchange = ExpertExchange::AllGather;
        scenario.engines[0].expert_parallel =
            Some(ExpertParallel { data_parallel: 2, exchange, imbalance: Some(1.0), hops, fabric });
        took(&scenario, &decode(tokens as u32))
    };
    let bytes = 2.0 * tokens * 4096.0 * 2.0;
    for tensor in [1, 2, 4] {
        let measured = across(plain_fabric(2, 10.0), 2, plain_fabric(2, 100.0));
        // There and back in 32 layers; nothing within a node.
        let expected = 2.0 * 32.0 * (100e-6 + f64::from(tensor) * bytes / 100e9);
        assert_near(shared(tensor, Some(measured)) - shared(tensor, None), expected, 1e-6);
    }
}

/// What is left of a cache's exchange when links take no time.
#[test]
fn ranks_that_share_a_cache_exchange_what_they_attend_to() {
    let sharing = |ranks: u32| {
        let mut scenario = scenario(mixtral_8x7b(), 32, 1, 1);
        scenario.engines[0].decode_context_parallel = ranks;
        scenario
    };
    let shape = decode(32);
    let on_links = |ranks| took(&sharing(ranks), &shape) - took(&instant(sharing(ranks)), &shape);
    for ranks in [2, 4] {
        let others = f64::from(ranks - 1);
        // A head of each rank, 128 wide, at 2 bytes; queries there, outputs back.
        let crossed = 32.0 * 128.0 * 2.0 * others;
        let expected = 2.0 * 32.0 * (others * LINK_LATENCY_S + crossed / LINK_BYTES_PER_S);
        assert_near(on_links(ranks) - on_links(1), expected, 1e-4);
    }
}

#[test]
fn ranks_that_share_a_cache_are_on_one_node() {
    let exchange = |fabric: &GroupFabric| {
        let [with, without] = [2, 1].map(|ranks| {
            let mut scenario = scenario(mixtral_8x7b(), 16, 1, 1);
            scenario.engines[0].decode_context_parallel = ranks;
            scenario.engines[0].fabrics = vec![Some(fabric.clone())];
            took(&scenario, &decode(32))
        });
        with - without
    };
    let within = exchange(&local(plain_fabric(2, 10.0)));
    assert_near(exchange(&across(plain_fabric(2, 10.0), 2, plain_fabric(2, 1000.0))), within, 1e-4);
}

#[test]
fn experts_launched_one_by_one_are_seven_kernels_a_layer() {
    let mut eager = scenario(mixtral_8x7b(), 1, 1, 1);
    eager.engines[0].kernel_launch = KernelLaunch::Eager { launch_s: 1e-3 };
    // A layer: 2 products, 2 norms, rotary embedding, KV write, attention, router, 7 of experts; the embedding; head and sampler.
    let kernels = 32 * (2 + 4 + 1 + 1 + 7) + 1 + 1 + 8;
    assert_near(took(&eager, &decode(1)), f64::from(kernels) * 1e-3, 1e-9);
}

/// Two all-reduces a layer and one of the embeddings, or as many pairs where sequences are parallel; the logits are gathered.
#[test]
fn collectives_are_launched_as_kernels_are() {
    let took_s = |ranks: u32, sequence_parallel: bool| {
        let mut eager = scenario(llama2_13b(), ranks, 1, 1);
        eager.engines[0].sequence_parallel = sequence_parallel;
        eager.engines[0].kernel_launch = KernelLaunch::Eager { launch_s: 1e-3 };
        took(&eager, &decode(1))
    };
    assert_near(took_s(4, false) - took_s(1, false), f64::from(2 * 40 + 1 + 1) * 1e-3, 1e-9);
    assert_near(took_s(4, true) - took_s(1, false), f64::from(2 * (2 * 40 + 1) + 1) * 1e-3, 1e-9);
}

/// The encoder runs on the first stage: its time adds to a step that this stage holds up, and is no part of the FLOPs and bytes.
#[test]
fn images_take_their_time_on_the_first_stage() {
    for (stages, microbatches) in [(1, 1), (2, 2), (4, 2)] {
        let mut scenario = instant(scenario(llama2_13b(), 1, stages, microbatches));
        scenario.engines[0].encoder_s_per_token = 2e-5;
        let plain = prefill(1000);
        let with_images = StepShape { encoder_tokens: 5000, ..plain };
        let [without_s, with_s] = [plain, with_images].map(|shape| took(&scenario, &shape));
        let cost = cost(&scenario);
        let [without, with] = [plain, with_images].map(|shape| cost.prepare(&shape).work(0));
        assert_eq!(without, with);
        match stages {
            1 => assert_near(with_s - without_s, 5000.0 * 2e-5, 1e-6),
            // What the other stages take longer than the first, if they do, is hidden behind it.
            _ => assert!(
                with_s - without_s <= 5000.0 * 2e-5
                    && with_s - without_s > 0.9 * 5000.0 * 2e-5 / f64::from(microbatches)
            ),
        }
    }
}
