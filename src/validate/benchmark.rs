//! The two benchmarks behind `AIConfigurator`'s serving points, and what each sets: lengths, server flags. The table names
//! neither; a point with a day and no version is taken for the second one's, whose grid of lengths and clients it has.
//!
//! - `AIConfigurator`'s own, by aiperf (`generator/rule_plugin/benchmark/vllm.rule`): every prompt and answer has the stated
//!   length.
//! - `InferenceMAX` (its `benchmarks/70b_fp8_h200_slurm.sh` and the like; `bench_serving/benchmark_serving.py`): lengths are
//!   uniform from 0.8 of the stated one to all of it; asynchronous scheduling, no prefix cache, steps of 8,192 tokens, and an
//!   8-bit KV cache with 8-bit weights.
//!
//! Both start `concurrency` clients at once, which send ten requests each, no text shared.

use rand_distr::{Distribution, Uniform};

use super::run_file::EngineFlags;
use crate::workload::streams::{Purpose, stream};

/// Requests of a client.
const ROUNDS: u32 = 10;
/// Tokens of a step beyond a prompt and a token of each client, and of a context beyond prompt and answer, that
/// `AIConfigurator` sets.
const TOKENS_BEYOND: u32 = 1500;
/// Tokens of a step that `InferenceMAX` sets.
const INFERENCE_MAX_STEP_TOKENS: u32 = 8192;
/// Shortest length that `InferenceMAX` draws, of the stated one (`RANDOM_RANGE_RATIO`).
const INFERENCE_MAX_LEAST_SHARE: f64 = 0.8;
/// The lengths that were drawn are not recorded; these are as good as any.
const SEED: u64 = 0;

/// Who measured a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Benchmark {
    AiConfigurator,
    InferenceMax,
}

/// A point's load: clients, and the stated lengths.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) concurrency: u32,
    pub(super) prompt_tokens: u32,
    pub(super) output_tokens: u32,
}

impl Benchmark {
    /// Flags of its server for a load.
    pub(super) fn engine(self, load: Load, are_weights_fp8: bool) -> EngineFlags {
        let Load { concurrency, prompt_tokens, output_tokens } = load;
        let common = EngineFlags {
            max_num_seqs: Some(concurrency),
            max_model_len: Some(prompt_tokens.saturating_add(output_tokens).saturating_add(TOKENS_BEYOND)),
            ..EngineFlags::default()
        };
        match self {
            Self::AiConfigurator => {
                let tokens = prompt_tokens.saturating_add(concurrency).saturating_add(TOKENS_BEYOND);
                EngineFlags { max_num_batched_tokens: Some(tokens), ..common }
            }
            Self::InferenceMax => EngineFlags {
                max_num_batched_tokens: Some(INFERENCE_MAX_STEP_TOKENS),
                enable_prefix_caching: Some(false),
                async_scheduling: Some(true),
                kv_cache_dtype: are_weights_fp8.then(|| "fp8".to_owned()),
                ..common
            },
        }
    }

    /// Tokens of prompts and answers, in the order in which they are sent.
    pub(super) fn lengths(self, load: Load) -> Vec<(u32, u32)> {
        let requests = load.concurrency.saturating_mul(ROUNDS) as usize;
        let draw = |stated: u32, purpose| -> Vec<u32> {
            let least = match self {
                Self::AiConfigurator => stated,
                Self::InferenceMax => (f64::from(stated) * INFERENCE_MAX_LEAST_SHARE) as u32,
            };
            let lengths = Uniform::new_inclusive(least.max(1), stated).expect("a share of a length is below it");
            lengths.sample_iter(stream(SEED, purpose)).take(requests).collect()
        };
        let prompts = draw(load.prompt_tokens, Purpose::PromptTokens);
        prompts.into_iter().zip(draw(load.output_tokens, Purpose::OutputTokens)).collect()
    }
}
