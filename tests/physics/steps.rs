//! One step at a time, by hand.

use llmperforacle::catalog::Catalog;
use oracle_systems::costing::weights::weight_bytes;

use crate::{Setup, assert_near, assert_same_time, constant, e2e_s, link, tpot_s, ttft_s};

/// What kernels reach of an A100's 312 TFLOP/s and 2039 GB/s.
const FLOPS_PER_S: f64 = 312e12 * 0.5;
const BYTES_PER_S: f64 = 2039e9 * 0.8;

// Llama 2 13B: 40 layers of hidden width 5120, 40 heads of 128, intermediate 13,824, vocabulary 32,000; 16 bits.
const LAYERS: f64 = 40.0;
/// q, k, v and o of 5120 × 5120; gate, up and down of 5120 × 13,824.
const LAYER_ELEMENTS: f64 = 4.0 * 5120.0 * 5120.0 + 3.0 * 5120.0 * 13_824.0;
const HEAD_ELEMENTS: f64 = 5120.0 * 32_000.0;
/// Keys and values of a token in all layers.
const KV_BYTES: f64 = 2.0 * 5120.0 * 2.0 * LAYERS;
/// What a step reads of the weights: all but the embedding table and the norms.
const WEIGHT_BYTES: f64 = 2.0 * (LAYERS * LAYER_ELEMENTS + HEAD_ELEMENTS);
/// A token's way through a layer between the products: two norms with the residual (4 vectors each), rotary embedding of
/// q and k (read, written), k and v into the cache (read, written), gate and up in and their product out.
const ELEMENTWISE_BYTES: f64 = 2.0 * (2.0 * 4.0 * 5120.0 + 2.0 * 2.0 * 5120.0 + 2.0 * 2.0 * 5120.0 + 3.0 * 13_824.0);
/// Into and out of the products of a layer: qkv, o, gate and up, down; the query and the output of attention.
const PRODUCT_BYTES: f64 =
    2.0 * ((5120.0 + 3.0 * 5120.0) + 2.0 * 5120.0 + (5120.0 + 2.0 * 13_824.0) + (13_824.0 + 5120.0) + 2.0 * 5120.0);
/// Embedding in and out; last norm; the head's vectors; logits at 16 bits, to 32, read again.
const ENDS_BYTES: f64 = 4.0 * 5120.0 + 8.0 * 5120.0 + 2.0 * (5120.0 + 32_000.0) + 32_000.0 * 10.0;

/// A decode step of `sequences` at a mean context of `context` tokens, bound by memory throughout.
fn decode_step_s(sequences: f64, context: f64) -> f64 {
    let token = LAYERS * (ELEMENTWISE_BYTES + PRODUCT_BYTES) + ENDS_BYTES;
    (WEIGHT_BYTES + sequences * (context * KV_BYTES + token)) / BYTES_PER_S
}

#[test]
fn a_lone_decode_streams_the_weights() {
    let run = Setup::default().run();
    // 25.703 GB / 1631.2 GB/s = 15.757 ms; the 100 steps attend to 101 … 200 tokens, 150.5 on average: 123.3 MB, 0.076 ms;
    // 17.7 MB of activations, 0.011 ms.
    let weights_s = WEIGHT_BYTES / BYTES_PER_S;
    assert_near(weights_s, 15.757e-3, 1e-4);
    let tpot = tpot_s(run.only());
    assert!(tpot >= 15.7e-3, "{tpot}");
    assert_near(tpot, weights_s + 150.5 * KV_BYTES / BYTES_PER_S, 0.02);
    assert_near(tpot, decode_step_s(1.0, 150.5), 1e-4);
}

#[test]
fn a_batch_shares_the_weights_and_not_the_cache() {
    let framework = "enable_prefix_caching: false, max_num_batched_tokens: 8192".replace(", ", "\n      ");
    let run = Setup { requests: 32, framework, ..Setup::default() }.run();
    // 15.757 ms of weights; 32 · 123.3 MB = 3.945 GB, 2.419 ms; 32 · 17.7 MB, 0.348 ms: 18.52 ms, and 32 tokens each time.
    let expected = decode_step_s(32.0, 150.5);
    assert_near(expected, 18.52e-3, 1e-3);
    for record in &run.records {
        assert_near(tpot_s(record), expected, 1e-4);
    }
}

#[test]
fn eight_bit_weights_are_half_as_long_and_twice_as_fast() {
    let framework = "enable_prefix_caching: false\n      weight_dtype: fp8".to_owned();
    let setup = Setup { prompt: constant(2048.0), output: constant(2.0), framework, ..Setup::default() };
    let run = setup.run();
    // Layers at a byte an element, the head at two: 12.69 + 0.33 GB, 7.98 ms; and the cache of 2,049 tokens.
    let expected = (LAYERS * LAYER_ELEMENTS + 2.0 * HEAD_ELEMENTS + 2049.0 * KV_BYTES) / BYTES_PER_S;
    assert_near(tpot_s(run.only()), expected, 0.002);
    // Products at 312 TFLOP/s, attention at 156 as before; what lies between them and the head as before.
    let pairs = 2048.0 * 2049.0 / 2.0;
    let products_s = LAYERS * 2.0 * 2048.0 * LAYER_ELEMENTS / (2.0 * FLOPS_PER_S);
    let attention_s = LAYERS * 4.0 * pairs * 5120.0 / FLOPS_PER_S;
    let bytes = 2048.0 * (LAYERS * ELEMENTWISE_BYTES + 4.0 * 5120.0) + 2.0 * HEAD_ELEMENTS;
    assert_near(ttft_s(run.only()), products_s + attention_s + bytes / BYTES_PER_S, 1e-3);
}

#[test]
fn a_lone_decode_streams_the_experts_it_is_sent_to() {
    let tpot = tpot_s(Setup { model: "gpt-oss-20B", ..Setup::default() }.run().only());
    // 24 layers: 4 of 32 experts of 3 · 2880² at 17/32 B (1.269 GB); q, k, v and o of (64 + 8 + 8 + 64) heads · 64 · 2880 at
    // 2 B (1.274 GB); the router; the head of 201,088 · 2880 (1.158 GB).
    let experts = 24.0 * 4.0 * 3.0 * 2880.0 * 2880.0 * 17.0 / 32.0;
    let rest = 24.0 * (144.0 * 64.0 * 2880.0 + 32.0 * 2880.0) + 201_088.0 * 2880.0;
    let weights_s = (experts + 2.0 * rest) / BYTES_PER_S;
    assert_near(weights_s, 2.272e-3, 1e-3);
    // The cache of 150 tokens, 8 heads of 64, is 7 MB, and activations are no more.
    assert!(tpot > weights_s);
    assert_near(tpot, weights_s, 0.01);
}

#[test]
fn a_prompt_takes_its_flops() {
    let framework = "enable_prefix_caching: false\n      max_num_batched_tokens: 2048".to_owned();
    let run = Setup { prompt: constant(2048.0), output: constant(2.0), framework, ..Setup::default() }.run();
    // Products: 2 · 2048 · 40 · 317.2 M = 51.97 TFLOP; attention: 4 · 2048 · 2049 / 2 · 5120 · 40 = 1.72 TFLOP; at 156
    // TFLOP/s 344.1 ms. What lies between them moves 2048 · 40 · 246.8 kB = 20.2 GB: 12.4 ms. The head of one row: 0.2 ms.
    let pairs = 2048.0 * 2049.0 / 2.0;
    let flops = LAYERS * (2.0 * 2048.0 * LAYER_ELEMENTS + 4.0 * pairs * 5120.0);
    let bytes = 2048.0 * (LAYERS * ELEMENTWISE_BYTES + 4.0 * 5120.0) + 2.0 * HEAD_ELEMENTS;
    let expected = flops / FLOPS_PER_S + bytes / BYTES_PER_S;
    assert_near(expected, 356.7e-3, 1e-3);
    assert_near(ttft_s(run.only()), expected, 1e-3);
}

#[test]
fn weights_and_activations_take_memory_from_the_pool() {
    let run = Setup::default().run();
    let memory = 80_000_000_000_u64 * 9 / 10;
    // 13,015,864,320 parameters at 2 B.
    let weights = 2 * 13_015_864_320_u64;
    // 2,048 tokens at 2 · 5120 + 3 · 13,824 numbers: 212 MB, more than 256 rows of logits at 22 B;
    // and half a GiB for the runtime.
    let activations = 2048 * (2 * 5120 + 3 * 13_824) * 2_u64 + (1 << 29);
    let block = 16 * 819_200_u64;
    let blocks = (memory - weights - activations) / block;
    assert_eq!(blocks, 3449);
    let engine = run.summary.engines.get("vllm").expect("it is in the summary");
    // One is vLLM's null block.
    assert_eq!(engine.kv_blocks_total, blocks - 1);
    // The predecessor's pool, without weights, held 5493.
    assert_eq!(memory / block, 5493);
}

#[test]
fn more_sequences_leave_less_of_the_pool() {
    let blocks = |max_num_seqs: u32| {
        let framework = format!("max_num_seqs: {max_num_seqs}");
        Setup { framework, ..Setup::default() }.run().engine.kv_blocks
    };
    // 1,024 rows of 32,000 logits at 22 B instead of 2,048 tokens at 103,424 B.
    let more = 1024 * 32_000 * 22 - 2048 * 103_424_u64;
    let fewer = blocks(256) - blocks(1024);
    assert!(fewer.abs_diff(more / (16 * 819_200)) <= 1, "{fewer}");
}

/// The last bit of bandwidth there is, and no latency.
const NO_LINK: (f64, f64) = (1e18, 0.0);

#[test]
fn tensor_parallel_pays_for_its_rings() {
    let alone = tpot_s(Setup::default().run().only());
    for ranks in [2, 4] {
        let setup = Setup { tensor: ranks, ..Setup::default() };
        let tpot = tpot_s(setup.run().only());
        let free = tpot_s(Setup { peer_link: NO_LINK, ..setup }.run().only());
        let n = f64::from(ranks);
        // Two all-reduces a layer and one of the embedding, of 5120 · 2 B; one all-gather of 32,000 · 2 B of logits; 300 GB/s
        // and 2 µs a hop. TP2: 81 · (2 · 2 µs + 10,240 / 300e9) + 2 µs + … = 329 µs.
        let all_reduce = 2.0 * (n - 1.0) * 2e-6 + 2.0 * (n - 1.0) / n * 10_240.0 / 300e9;
        let all_gather = (n - 1.0) * 2e-6 + (n - 1.0) / n * 64_000.0 / 300e9;
        let collectives = 81.0 * all_reduce + all_gather;
        assert!((tpot - free - collectives).abs() < 3e-9, "TP{ranks}: {} against {collectives}", tpot - free);
        // Norms and residuals are not divided: even without links, less than the degree.
        assert!(tpot < alone && free > alone / n, "TP{ranks}: {alone} → {free}");
        assert!(free < 1.001 * alone / n, "TP{ranks}: {alone} → {free}");
    }
}

#[test]
fn a_pipeline_is_as_fast_as_its_stages_and_their_sends() {
    let alone = Setup::default().run();
    let staged = Setup { pipeline: 2, ..Setup::default() }.run();
    // Both halves one after the other, and 5120 · 2 B to the second at 300 GB/s and 2 µs.
    let send = 10_240.0 / 300e9 + 2e-6;
    assert!((tpot_s(staged.only()) - tpot_s(alone.only()) - send).abs() < 3e-9);
    // A prompt of 100 tokens is one sequence, so one piece; it sends a hundred such vectors.
    let send = 100.0 * 10_240.0 / 300e9 + 2e-6;
    assert_same_time(ttft_s(staged.only()), ttft_s(alone.only()) + send);
    // Split in four by request, it reads the weights of each stage four times: four turns of half of the model each.
    let split = Setup { pipeline: 2, microbatches: Some(4), ..Setup::default() }.run();
    assert_near(ttft_s(split.only()), 2.0 * WEIGHT_BYTES / BYTES_PER_S, 0.05);
}

#[test]
fn the_network_adds_what_it_takes() {
    let short = Setup { prompt: constant(1000.0), output: constant(50.0), ..Setup::default() };
    let alone = short.run();
    // 1,000 tokens at 2 B over 1 Mbit/s: 16 ms, and 50 ms of latency.
    let upload = link("client_node_0", "gpu0", 1e6, 0.05);
    let uploaded = Setup { links: upload.clone(), ..short.clone() }.run();
    assert_same_time(ttft_s(uploaded.only()), ttft_s(alone.only()) + 0.066);
    assert_same_time(e2e_s(uploaded.only()), e2e_s(alone.only()) + 0.066);
    // The first token back: 2 B over 0.5 Mbit/s, 32 µs, and 20 ms.
    let both = format!("{upload}, {}", link("gpu0", "client_node_0", 5e5, 0.02));
    let streamed = Setup { links: both.clone(), ..short.clone() }.run();
    assert_same_time(ttft_s(streamed.only()), ttft_s(alone.only()) + 0.066 + 0.020_032);
    assert_same_time(tpot_s(streamed.only()), tpot_s(alone.only()));
    // The whole answer: 50 tokens, 100 B, 1.6 ms, and 20 ms.
    let whole = Setup { links: both, streaming: 0.0, ..short }.run();
    assert_same_time(e2e_s(whole.only()), e2e_s(alone.only()) + 0.066 + 0.021_6);
}

/// GiB of the checkpoint of a model of the catalog.
fn gib(model: &str) -> f64 {
    let model = Catalog::builtin().model(model).unwrap_or_else(|| panic!("{model} is in the catalog"));
    weight_bytes(&model.architecture) as f64 / f64::from(1 << 30)
}

#[test]
fn mixed_checkpoints_weigh_what_their_files_do() {
    // Sums of the safetensors files.
    assert_near(gib("gpt-oss-120B"), 60.8, 0.005);
    assert_near(gib("gpt-oss-20B"), 12.8, 0.005);
    // 641 GiB are 688.6 GB with the multi-token prediction module, which is not simulated (some 14 GB).
    let deepseek_gb = gib("DeepSeek-V3") * 1.073_741_824;
    assert!((665.0..689.0).contains(&deepseek_gb), "{deepseek_gb}");
}
