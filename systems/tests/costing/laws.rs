//! What holds of every price: it lies above both roofs, more takes longer, two ways to it agree.

use oracle_components::model::Dtype;
use oracle_components::scenario::LevelOfDetail;
use oracle_components::transformer::{LatentWidths, MixtureOfExperts, SlidingWindow, Transformer};
use oracle_systems::costing::StepShape;
use proptest::prelude::*;

use crate::{BYTES_PER_S, LINK_BYTES_PER_S, cost, llama, prepare, scenario, seconds};

pub(super) fn models() -> impl Strategy<Value = Transformer> {
    let dtypes = prop::sample::select(vec![Dtype::Fp16, Dtype::Int8, Dtype::Fp8, Dtype::Int4]);
    let experts = (1..64_u32, 1..8_u32, 0..2_u32, 0..5_u32);
    let sizes = (1..40_u32, 1..16_u32, 1..8_u32, 256..8192_u32, 1000..100_000_u32);
    (sizes, experts, dtypes, any::<[bool; 5]>()).prop_map(
        |(sizes, experts, dtype, [moe, latent, gated, window, norm])| {
            let (layers, kv_heads, group, intermediate, vocab) = sizes;
            let (experts, per_token, shared, dense_layers) = experts;
            let heads = kv_heads * group;
            let mut model = llama(layers, heads * 64, heads, kv_heads, intermediate, vocab);
            model.weight_dtype = dtype;
            model.gated_mlp = gated;
            model.qk_norm = norm;
            model.moe = moe.then_some(MixtureOfExperts {
                experts,
                experts_per_token: per_token.min(experts),
                expert_intermediate: intermediate,
                shared_intermediate: shared * 512,
                expert_dtype: norm.then_some(Dtype::Mxfp4),
                dense_layers,
            });
            model.sliding_window = window.then_some(SlidingWindow {
                window_tokens: 128,
                layers: layers / 2,
                chunked: false,
                begins_full: false,
            });
            if latent {
                model.latent = Some(LatentWidths {
                    kv_lora_rank: 128,
                    q_lora_rank: gated.then_some(256),
                    rope_head_dim: 32,
                    nope_head_dim: 64,
                    value_head_dim: 64,
                });
            }
            model
        },
    )
}

pub(super) fn shapes() -> impl Strategy<Value = StepShape> {
    (0..300_u32, 0..4000_u32, 1..8_u32, 0..5000_u64, 0..8_u32, 0..2000_u64).prop_map(
        |(decodes, tokens, chunks, context, completed, images)| {
            let chunks = chunks.min(tokens);
            let tokens_u64 = u64::from(tokens);
            StepShape {
                decode_sequences: decodes,
                prefill_tokens: tokens,
                prefill_sequences: chunks,
                prefill_pairs: tokens_u64 * context + tokens_u64 * (tokens_u64 + 1) / 2,
                prefill_context_tokens: u64::from(chunks) * context + tokens_u64,
                prefill_longest_context: if tokens > 0 { context as u32 + tokens } else { 0 },
                encoder_tokens: if tokens > 0 { images } else { 0 },
                sampled_rows: decodes + completed.min(chunks),
            }
        },
    )
}

/// The shape with each field in turn raised by `amount`.
fn larger(shape: StepShape, amount: u32) -> [StepShape; 7] {
    let mut shapes = [shape; 7];
    shapes[0].decode_sequences += amount;
    shapes[1].prefill_tokens += amount;
    shapes[2].prefill_sequences += amount;
    shapes[3].prefill_pairs += u64::from(amount);
    shapes[4].prefill_context_tokens += u64::from(amount);
    shapes[5].sampled_rows += amount;
    shapes[6].encoder_tokens += u64::from(amount);
    shapes
}

proptest! {
    #[test]
    fn no_price_is_below_a_roof(
        model in models(), shape in shapes(), context in 0..1_000_000_u64,
        (tensor, pipeline, microbatches) in (1..9_u32, 1..9_u32, 1..9_u32),
    ) {
        let step = prepare(model, tensor, pipeline, microbatches, &shape);
        let work = step.work(context);
        let nanosecond = 1e-9;
        let took = seconds(&step, context) + nanosecond;
        // 624e12 is the device's highest peak.
        prop_assert!(took >= work.flops_per_gpu / (624e12 * 0.5));
        prop_assert!(took >= work.memory_bytes_per_gpu / BYTES_PER_S);
        prop_assert!(took >= work.ring_bytes / LINK_BYTES_PER_S);
        prop_assert!(took >= work.stage_bytes / LINK_BYTES_PER_S || pipeline == 1);
    }

    #[test]
    fn more_takes_longer(
        model in models(), shape in shapes(), context in 0..1_000_000_u64, amount in 1..1000_u32,
        (tensor, pipeline) in (1..5_u32, 1..5_u32),
    ) {
        let cost = cost(&scenario(model, tensor, pipeline, 1));
        let base = cost.prepare(&shape);
        // A step with prompts is not cut, one without into as many as there are stages and sequences.
        let microbatches = |shape: &StepShape| if shape.prefill_tokens > 0 { 1 } else {
            pipeline.min(shape.decode_sequences + shape.prefill_sequences).max(1)
        };
        for more in larger(shape, amount).into_iter().filter(|more| microbatches(more) == microbatches(&shape)) {
            let step = cost.prepare(&more);
            // Sums of rounded terms: a nanosecond of slack.
            prop_assert!(step.duration(context).0 + 1 >= base.duration(context).0, "{more:?} after {shape:?}");
        }
        prop_assert!(base.duration(context + u64::from(amount)) >= base.duration(context));
    }

    #[test]
    fn prompts_alone_are_cut_as_prompts_are(
        model in models(), decodes in 1..300_u32, context in 0..1_000_000_u64,
        (pipeline, microbatches) in (1..5_u32, 1..5_u32),
    ) {
        let decode = |microbatches| seconds(&prepare(model.clone(), 1, pipeline, microbatches, &crate::decode(decodes)), context);
        prop_assert_eq!(decode(microbatches), decode(pipeline));
    }

    #[test]
    fn levels_of_detail_agree_where_nothing_is_shared(
        model in models(), shape in shapes(), context in 0..1_000_000_u64,
        (tensor, pipeline, microbatches) in (1..5_u32, 1..5_u32, 1..5_u32),
    ) {
        let high = scenario(model, tensor, pipeline, microbatches);
        let mut medium = high.clone();
        medium.level_of_detail = LevelOfDetail::Medium;
        let (high, medium) = (cost(&high).prepare(&shape), cost(&medium).prepare(&shape));
        prop_assert_eq!(high.duration(context), medium.duration(context));
        prop_assert_eq!(high.work(context), medium.work(context));
    }

    #[test]
    fn work_of_steps_is_the_sum_of_their_work(
        model in models(), shape in shapes(), contexts in prop::collection::vec(0..1_000_000_u64, 1..20),
    ) {
        let model = Transformer { sliding_window: None, ..model };
        let step = prepare(model, 2, 2, 2, &shape);
        let over = step.work_over(contexts.len() as u64, contexts.iter().sum());
        let flops: f64 = contexts.iter().map(|&context| step.work(context).flops_per_gpu).sum();
        let bytes: f64 = contexts.iter().map(|&context| step.work(context).memory_bytes_per_gpu).sum();
        prop_assert!((over.flops_per_gpu - flops).abs() <= 1e-9 * flops);
        prop_assert!((over.memory_bytes_per_gpu - bytes).abs() <= 1e-9 * bytes);
    }

    #[test]
    fn work_of_an_epoch_is_the_sum_of_its_steps_with_sliding_windows_too(
        sequences in 1..50_u32, first in 0..20_000_u64, steps in 0..300_u64,
    ) {
        let window = SlidingWindow { window_tokens: 128, layers: 3, chunked: false, begins_full: false };
        let model = Transformer { sliding_window: Some(window), ..llama(7, 512, 8, 2, 1024, 1000) };
        let step = prepare(model, 1, 1, 1, &crate::decode(sequences));
        let contexts: Vec<u64> = (0..steps).map(|i| first + i * u64::from(sequences)).collect();
        let over = step.work_over(steps, contexts.iter().sum());
        let bytes: f64 = contexts.iter().map(|&context| step.work(context).memory_bytes_per_gpu).sum();
        prop_assert!((over.memory_bytes_per_gpu - bytes).abs() <= 1e-9 * bytes);
    }
}
