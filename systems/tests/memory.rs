//! KV pools against those that vLLM measured, and models that do not fit.

use oracle_components::model::{Dtype, ModelArchitecture};
use oracle_components::transformer::{DenseShape, Transformer};
use oracle_systems::memory::{DoesNotFit, KvPool, PoolRequest, SAMPLER_BYTES_PER_LOGIT, kv_pool};

const GIB: u64 = 1 << 30;

fn llama() -> Transformer {
    Transformer::llama_like(
        "Llama-3.1-8B",
        DenseShape { layers: 32, hidden: 4096, heads: 32, kv_heads: 8, intermediate: 14336, vocab: 128_256 },
    )
}

fn llama31_8b() -> ModelArchitecture {
    llama().architecture()
}

fn qwen3_14b() -> ModelArchitecture {
    Transformer {
        name: "Qwen3-14B".into(),
        layers: 40,
        hidden: 5120,
        heads: 40,
        intermediate: 17408,
        vocab: 151_936,
        qk_norm: true,
        max_position_embeddings: 40_960,
        ..llama()
    }
    .architecture()
}

fn pool(model: &ModelArchitecture, memory: u64, tensor: u32, pipeline: u32) -> Result<KvPool, DoesNotFit> {
    kv_pool(model, &PoolRequest { tensor_parallel: tensor, pipeline_parallel: pipeline, ..request(memory) })
}

/// vLLM's defaults.
fn request(memory_bytes: u64) -> PoolRequest {
    PoolRequest {
        memory_bytes,
        tensor_parallel: 1,
        pipeline_parallel: 1,
        gpu_memory_utilization: 0.9,
        block_tokens: 16,
        max_num_batched_tokens: 2048,
        max_num_seqs: 256,
        gpu_share: 1.0,
        expert_engines: 1,
        decode_context_parallel: 1,
        group: None,
    }
}

#[track_caller]
fn assert_near(got: u64, measured: u64, relative: f64) {
    let error = got as f64 / measured as f64 - 1.0;
    assert!(error.abs() <= relative, "{got} against {measured}: {:+.1} %", 100.0 * error);
}

#[test]
fn pools_are_near_those_that_vllm_measured() {
    // RTX 4090, 25,250,627,584 B by the driver, vLLM 0.19 at utilization 0.9: 2588 blocks.
    assert_near(pool(&llama31_8b(), 25_250_627_584, 1, 1).unwrap().blocks, 2588, 0.01);
    // The sheet's 24 GiB are more than the driver gives.
    assert_near(pool(&llama31_8b(), 24 * GIB, 1, 1).unwrap().blocks, 2588, 0.09);
    // RTX A6000, 48 GiB on the sheet, eager, 128 sequences: 13,844 blocks.
    let a6000 = PoolRequest { max_num_seqs: 128, ..request(48 * GIB) };
    assert_near(kv_pool(&llama31_8b(), &a6000).unwrap().blocks, 13_844, 0.02);
    // H100, 80 GiB on the sheet, vLLM 0.23, whose default utilization is 0.92: 18,038 blocks.
    let h100 = PoolRequest { gpu_memory_utilization: 0.92, max_num_batched_tokens: 8192, ..request(80 * GIB) };
    let h100 = kv_pool(&qwen3_14b(), &h100).unwrap();
    assert_near(h100.blocks, 18_038, 0.03);
}

#[test]
fn a_block_holds_its_layers_and_heads() {
    let model = llama31_8b();
    // 16 tokens · 32 layers · 2 · 8 heads · 128 · 2 B.
    assert_eq!(pool(&model, 80 * GIB, 1, 1).unwrap().block_bytes, 2 << 20);
    assert_eq!(pool(&model, 80 * GIB, 4, 1).unwrap().block_bytes, 512 << 10);
    // One of 8 KV heads a rank, however many ranks.
    assert_eq!(pool(&model, 80 * GIB, 16, 1).unwrap().block_bytes, 256 << 10);
    assert_eq!(pool(&model, 80 * GIB, 1, 2).unwrap().block_bytes, 1 << 20);
}

/// vLLM's `TritonAttentionBackend.customize_spec`: a 32-bit scale a token and head beside the elements, of keys and of values.
#[test]
fn caches_of_integers_have_scales() {
    let bytes = |kv_dtype| {
        let model = ModelArchitecture { kv_dtype, ..llama31_8b() };
        pool(&model, 80 * GIB, 1, 1).unwrap().block_bytes as f64
    };
    let of_16_bits = bytes(Dtype::Bf16);
    for (dtype, times) in [(Dtype::Fp8, 2.0), (Dtype::Int8, 512.0 / 264.0), (Dtype::Int4, 512.0 / 136.0)] {
        assert!((of_16_bits / bytes(dtype) / times - 1.0).abs() < 1e-6, "{dtype:?}");
    }
}

#[test]
fn parallelism_and_memory_make_room_and_a_smaller_share_takes_it() {
    let model = llama31_8b();
    let blocks = |memory, tensor, pipeline| pool(&model, memory, tensor, pipeline).unwrap().blocks;
    assert!(blocks(24 * GIB, 2, 1) > 2 * blocks(24 * GIB, 1, 1));
    assert!(blocks(24 * GIB, 1, 2) > 2 * blocks(24 * GIB, 1, 1));
    assert!(blocks(48 * GIB, 1, 1) > 2 * blocks(24 * GIB, 1, 1));
    let halved = kv_pool(&model, &PoolRequest { gpu_share: 0.5, ..request(48 * GIB) }).unwrap();
    assert_eq!(halved, pool(&model, 24 * GIB, 1, 1).unwrap());
}

#[test]
fn the_sampler_of_many_sequences_takes_memory() {
    let pool = |max_num_seqs, max_num_batched_tokens| {
        kv_pool(&llama31_8b(), &PoolRequest { max_num_seqs, max_num_batched_tokens, ..request(80 * GIB) }).unwrap()
    };
    // 128,256 logits of 22 B a row: more than any layer holds of 2,048 tokens.
    let rows = |rows: f64| (rows * 128_256.0 * SAMPLER_BYTES_PER_LOGIT) as u64;
    assert_eq!(pool(1024, 2048).activation_bytes - pool(256, 2048).activation_bytes, rows(1024.0 - 256.0));
    // The trial pass has no more requests than tokens.
    assert_eq!(pool(1024, 512), pool(512, 512));
    // One sequence: the MLP of 2,048 tokens is the widest, (2 · 4096 + 3 · 14,336) · 2 B each.
    assert_eq!(pool(1, 2048).activation_bytes, (1 << 29) + 2048 * (2 * 4096 + 3 * 14_336) * 2);
}

#[test]
fn the_pool_and_all_else_stay_within_the_budget() {
    for memory in (20..100).map(|gib| gib * GIB) {
        let pool = pool(&llama31_8b(), memory, 1, 1).unwrap();
        let used = pool.weight_bytes + pool.activation_bytes + pool.blocks * pool.block_bytes;
        let budget = (memory as f64 * 0.9) as u64;
        assert!(used <= budget && used + pool.block_bytes > budget);
    }
}

#[test]
fn a_model_that_does_not_fit_says_what_is_missing() {
    let error = pool(&llama31_8b(), 16 * GIB, 1, 1).unwrap_err();
    assert_eq!(error.weight_bytes, 16_060_522_496);
    let needed = error.weight_bytes + error.activation_bytes + error.block_bytes;
    assert_eq!(error.missing_bytes, needed - error.budget_bytes);
    let text = error.to_string();
    for part in [
        "Llama-3.1-8B does not fit",
        "14.96 GiB (16,060,522,496 bytes) of weights",
        "activation peak",
        "16.00 GiB",
        "utilization 0.9",
        "missing",
        "quantise",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
    assert!(pool(&llama31_8b(), 16 * GIB, 2, 1).is_ok());
}

#[test]
fn a_shared_cache_has_room_for_more_tokens() {
    let pool = |ranks| {
        let request = PoolRequest { tensor_parallel: 16, decode_context_parallel: ranks, ..request(80 * GIB) };
        kv_pool(&llama31_8b(), &request).unwrap()
    };
    assert_eq!(pool(2).block_bytes * 2, pool(1).block_bytes);
    assert_eq!(pool(2).blocks / 2, pool(1).blocks);
}

/// Only a pool that lacks a byte is too small; a stage without layers has room for any number of blocks.
#[test]
fn the_last_byte_counts() {
    let model = llama31_8b();
    let whole = PoolRequest { gpu_memory_utilization: 1.0, ..request(80 * GIB) };
    let needed =
        kv_pool(&model, &whole).map(|pool| pool.weight_bytes + pool.activation_bytes + pool.block_bytes).unwrap();
    assert_eq!(kv_pool(&model, &PoolRequest { memory_bytes: needed, ..whole }).unwrap().blocks, 1);
    let missing = kv_pool(&model, &PoolRequest { memory_bytes: needed - 1, ..whole }).unwrap_err();
    assert_eq!(missing.missing_bytes, 1);

    let one_layer = Transformer { layers: 1, ..llama() }.architecture();
    let stages = kv_pool(&one_layer, &PoolRequest { pipeline_parallel: 2, ..whole }).unwrap();
    assert!(stages.block_bytes > 0 && stages.blocks < u64::MAX, "{stages:?}");
}

#[test]
fn what_is_missing_is_said_with_the_share_of_the_gpu_and_in_digits_that_can_be_read() {
    let small = Transformer { layers: 1, ..llama() }.architecture();
    let whole = PoolRequest { gpu_memory_utilization: 1.0, ..request(123_456) };
    let text = kv_pool(&small, &whole).unwrap_err().to_string();
    assert!(text.contains("(123,456 bytes)") && !text.contains("share"), "{text}");
    let halved = PoolRequest { gpu_share: 0.5, ..whole };
    let text = kv_pool(&small, &halved).unwrap_err().to_string();
    assert!(text.contains(" × share 0.5 of the GPU"), "{text}");
}
