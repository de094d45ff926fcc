//! Parameters against the published checkpoints, bytes by hand.

use oracle_components::model::Dtype;
use oracle_components::transformer::{MixtureOfExperts, Transformer};
use oracle_systems::costing::weights;
use oracle_systems::costing::{gpu_peak_flops, peak_flops};

use crate::{
    FLOPS_PER_S, assert_near, decode, deepseek_v3, llama, llama2_13b, mixtral_8x7b, prefill, prepare, scenario, seconds,
};

fn parameters(model: &Transformer) -> u64 {
    weights::parameters(&model.architecture())
}

fn active_parameters(model: &Transformer) -> u64 {
    weights::active_parameters(&model.architecture())
}

fn weight_bytes(model: &Transformer) -> u64 {
    weights::weight_bytes(&model.architecture())
}

fn stage_weight_bytes(model: &Transformer, tensor: u32, pipeline: u32, stage: u32) -> u64 {
    weights::stage_weight_bytes(&model.architecture(), tensor, pipeline, stage)
}

fn kv_bytes(model: &Transformer, tensor: u32) -> f64 {
    weights::kv_bytes_per_token_and_rank(&model.architecture(), tensor)
}

#[test]
fn parameters_are_those_of_the_checkpoints() {
    assert_eq!(parameters(&llama(32, 4096, 32, 32, 11008, 32000)), 6_738_415_616);
    assert_eq!(parameters(&llama(32, 4096, 32, 8, 14336, 128_256)), 8_030_261_248);
    assert_eq!(parameters(&llama2_13b()), 13_015_864_320);
    assert_eq!(parameters(&mixtral_8x7b()), 46_702_792_704);
    let qwen = Transformer { qkv_bias: true, ..llama(28, 3584, 28, 4, 18944, 152_064) };
    assert_eq!(parameters(&qwen), 7_615_616_512);
    let phi2 =
        Transformer { gated_mlp: false, all_biases: true, norms_per_layer: 1, ..llama(32, 2560, 32, 32, 10240, 51200) };
    assert_eq!(parameters(&phi2), 2_779_683_840);
    assert_near(parameters(&deepseek_v3()) as f64, 671e9, 0.01);
    // "37B activated", with the embedding.
    assert_near(active_parameters(&deepseek_v3()) as f64, 37.5e9, 0.01);
    assert_eq!(active_parameters(&llama2_13b()), parameters(&llama2_13b()));
}

#[test]
fn kv_bytes_follow_the_heads_and_the_latent() {
    // 2 · 40 heads · 128 · 2 B = 20,480 a layer; × 40 layers = 819,200.
    assert_eq!(kv_bytes(&llama2_13b(), 1), 819_200.0);
    // 8 KV heads on 16 ranks: one each, 2 · 128 · 2 B.
    assert_eq!(kv_bytes(&mixtral_8x7b(), 16), 32.0 * 512.0);
    // (512 + 64) · 2 B, on every rank.
    assert_eq!(kv_bytes(&deepseek_v3(), 8), 61.0 * 1152.0);
}

#[test]
fn ranks_and_stages_share_the_weights() {
    let model = llama2_13b();
    assert_eq!(weight_bytes(&model), 2 * 13_015_864_320);
    let stages: u64 = (0..4).map(|stage| stage_weight_bytes(&model, 1, 4, stage)).sum();
    assert_eq!(stages, weight_bytes(&model));
    // Norms, 2 · 40 + 1 vectors of 5120, are on both ranks.
    let norms = 81 * 5120 * 2;
    assert_eq!(2 * stage_weight_bytes(&model, 2, 1, 0) - norms, weight_bytes(&model));
    let quantised = Transformer { weight_dtype: Dtype::Fp8, ..model };
    // Embedding, head and norms stay at 16 bits: (2 · 32000 + 81) · 5120 elements take a byte more.
    assert_eq!(weight_bytes(&quantised), 13_015_864_320 + (64_000 + 81) * 5120);
}

/// Bytes of weights that a large decode batch reads: what is left of its bytes when those of each token are taken off.
fn weight_bytes_read(model: &Transformer, tensor: u32) -> f64 {
    let bytes = |tokens| prepare(model.clone(), tensor, 1, 1, &decode(tokens)).work(0).memory_bytes_per_gpu;
    5001.0 * bytes(5000) - 5000.0 * bytes(5001)
}

#[test]
fn operators_read_the_weights_that_memory_holds() {
    // All but the embedding table and the norms: two of 5120 (4096) a layer and the last; with MLA those of the latents too.
    let unread = |hidden: u64, vocab: u64, tensor: u64, layers: u64, norms: u64| {
        2 * (vocab * hidden / tensor + layers * norms + hidden)
    };
    for tensor in [1, 2, 8] {
        let of = u64::from(tensor);
        let held = |model: &Transformer| stage_weight_bytes(model, tensor, 1, 0);
        let llama = llama2_13b();
        let expected = held(&llama) - unread(5120, 32_000, of, 40, 2 * 5120);
        assert_near(weight_bytes_read(&llama, tensor), expected as f64, 1e-6);
        let mixtral = mixtral_8x7b();
        let expected = held(&mixtral) - unread(4096, 32_000, of, 32, 2 * 4096);
        assert_near(weight_bytes_read(&mixtral, tensor), expected as f64, 1e-6);
        let deepseek = deepseek_v3();
        let expected = held(&deepseek) - unread(7168, 129_280, of, 61, 2 * 7168 + 1536 + 512);
        assert_near(weight_bytes_read(&deepseek, tensor), expected as f64, 1e-6);
    }
}

/// gpt-oss-20B: mxfp4 experts, bf16 for the rest.
fn gpt_oss_20b() -> Transformer {
    let moe = MixtureOfExperts {
        experts: 32,
        experts_per_token: 4,
        expert_intermediate: 2880,
        shared_intermediate: 0,
        dense_layers: 0,
        expert_dtype: Some(Dtype::Mxfp4),
    };
    Transformer { head_dim: 64, moe: Some(moe), ..llama(24, 2880, 64, 8, 2880, 201_088) }
}

#[test]
fn a_further_expert_has_a_row_of_the_router_and_its_own_biases() {
    let with = |experts, all_biases| {
        let model = mixtral_8x7b();
        let moe = model.moe.map(|moe| MixtureOfExperts { experts, ..moe });
        parameters(&Transformer { moe, all_biases, ..model })
    };
    let matrices = 32 * (4096 + 3 * 4096 * 14336);
    assert_eq!(with(9, false) - with(8, false), matrices);
    // A bias of the router's row, of gate, up and down.
    assert_eq!(with(9, true) - with(8, true), matrices + 32 * (1 + 2 * 14336 + 4096));
}

#[test]
fn experts_have_a_width_of_their_own() {
    let model = gpt_oss_20b();
    // 24 layers · 32 experts · 3 matrices of 2880² at 17/32 B; q, k, v and o of (64 + 8 + 8 + 64) heads · 64 · 2880, router,
    // two norms a layer and the last, two tables of 201,088 · 2880 at 2 B.
    let experts = 24 * 32 * 3 * 2880 * 2880 / 32 * 17;
    let rest = 24 * ((64 + 8 + 8 + 64) * 64 * 2880 + 32 * 2880 + 2 * 2880) + 2880 + 2 * 201_088 * 2880;
    assert_eq!(weight_bytes(&model), experts + 2 * rest);
    // A quarter of the ranks, a quarter of the experts.
    let norms_and_router = 2 * (24 * (32 * 2880 + 2 * 2880) + 2880);
    assert_eq!(4 * stage_weight_bytes(&model, 4, 1, 0) - 3 * norms_and_router, weight_bytes(&model));
    // What steps read: all but the embedding table and the norms.
    let unread = 2 * (201_088 * 2880 + 24 * 2 * 2880 + 2880);
    assert_near(weight_bytes_read(&model, 1), (weight_bytes(&model) - unread) as f64, 1e-6);
    // In the type of the rest they would weigh 64/17 times as much.
    let mut wide = model.clone();
    wide.moe.as_mut().expect("it has experts").expert_dtype = None;
    assert_eq!(weight_bytes(&wide) - weight_bytes(&model), experts / 17 * 64 - experts);
    assert_eq!(parameters(&wide), parameters(&model));
}

#[test]
fn experts_multiply_at_the_activations_peak_unless_they_are_8_bits_wide() {
    let compute_bound = |expert_dtype| {
        let mut model = gpt_oss_20b();
        model.moe.as_mut().expect("it has experts").expert_dtype = expert_dtype;
        seconds(&prepare(model, 1, 1, 1, &prefill(65_536)), 0)
    };
    // 4 of 32 experts a token: 2 · 65,536 · 4 · 3 · 2880² FLOPs a layer at 312 (int8: 624) TFLOP/s · 0.5.
    let routed = 24.0 * 2.0 * 65_536.0 * 4.0 * 3.0 * 2880.0 * 2880.0 / FLOPS_PER_S;
    let (wide, mxfp4, int8) =
        (compute_bound(None), compute_bound(Some(Dtype::Mxfp4)), compute_bound(Some(Dtype::Int8)));
    assert_near(mxfp4, wide, 1e-9);
    assert_near(wide - int8, routed / 2.0, 1e-6);
}

#[test]
fn what_quantisation_leaves_alone_has_the_activations_width() {
    let narrow = Transformer { weight_dtype: Dtype::Fp8, ..llama2_13b() };
    let full = Transformer { activation_dtype: Dtype::Fp32, ..narrow.clone() };
    assert_eq!(weight_bytes(&full) - weight_bytes(&narrow), 2 * (64_000 + 81) * 5120);
}

#[test]
fn utilisation_is_measured_against_the_fastest_type_in_use() {
    let scenario = scenario(llama2_13b(), 1, 1, 1);
    let device = &scenario.gpus[0].device;
    let of = |weight_dtype| peak_flops(device, &Transformer { weight_dtype, ..llama2_13b() }.architecture());
    assert_eq!([Dtype::Fp16, Dtype::Int8, Dtype::Int4].map(of), [312e12, 624e12, 312e12]);
    // The A100 does not multiply 8-bit floats.
    assert_eq!(of(Dtype::Fp8), 312e12);
    let mut model = gpt_oss_20b();
    assert_eq!(peak_flops(device, &model.architecture()), 312e12);
    model.moe.as_mut().expect("it has experts").expert_dtype = Some(Dtype::Int8);
    assert_eq!(peak_flops(device, &model.architecture()), 624e12);
    assert_eq!(gpu_peak_flops(&scenario)[0], 312e12);
}
