//! Requests that engines refuse for what they are: too long for a context, a step or the KV cache. More replicas let none of
//! them in.

use std::collections::BTreeMap;
use std::fmt;

use oracle_components::record::{Reason, RequestRecord};
use oracle_components::scenario::{EngineIndex, EngineSpec};
use serde::Serialize;

/// Those that were refused for one reason.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Refused {
    /// Why, as files of a run have it.
    pub reason: String,
    /// How many.
    pub requests: u64,
    /// Tokens of the longest, its answer with it where both must find room.
    pub longest_tokens: u64,
    /// What the engine has room for.
    pub limit_tokens: u64,
    /// What to do about it.
    pub way_out: String,
}

/// Those of one reason: how many, and the longest with the engine that it was sent to.
#[derive(Debug, Default)]
struct Alike {
    requests: u64,
    longest_tokens: u64,
    engine: EngineIndex,
}

/// All, by reason.
#[derive(Debug, Default)]
pub(super) struct Refusals(BTreeMap<Reason, Alike>);

/// Tokens of a request that is refused for its length.
fn tokens_of(record: &RequestRecord) -> Option<u64> {
    let prompt = u64::from(record.prompt_tokens);
    match record.reason {
        Reason::PromptTooLong | Reason::PromptExceedsTokenBudget => Some(prompt),
        Reason::ExceedsKvCache => Some(prompt + u64::from(record.target_output_tokens)),
        _ => None,
    }
}

impl Refusals {
    /// Counts a request if it is one; whether it is.
    pub(super) fn count(&mut self, record: &RequestRecord) -> bool {
        let Some(tokens) = tokens_of(record) else { return false };
        let alike = self.0.entry(record.reason).or_default();
        alike.requests += 1;
        if tokens > alike.longest_tokens {
            (alike.longest_tokens, alike.engine) = (tokens, record.engine);
        }
        true
    }

    /// With what would let them in, of these engines.
    pub(super) fn told(&self, engines: &[EngineSpec]) -> Vec<Refused> {
        let told = self.0.iter().map(|(&reason, &Alike { requests, longest_tokens, engine })| {
            let (limit_tokens, way_out) = way_out(reason, longest_tokens, &engines[engine as usize]);
            Refused { reason: reason.as_str().to_owned(), requests, longest_tokens, limit_tokens, way_out }
        });
        told.collect()
    }
}

const MORE_CACHE: &str =
    "give the KV cache more memory: more ranks (--tp), fewer bits (--quantization), a higher gpu_memory_utilization";

fn way_out(reason: Reason, longest: u64, engine: &EngineSpec) -> (u64, String) {
    let scheduler = &engine.scheduler;
    let pool_tokens = engine.kv_blocks * u64::from(scheduler.block_tokens);
    match reason {
        Reason::PromptTooLong => {
            let longest_context = engine.model.context_tokens().max(engine.model.max_position_embeddings);
            let way_out = if longest < u64::from(longest_context) && longest > pool_tokens {
                MORE_CACHE
            } else if longest < u64::from(longest_context) {
                "raise max_model_len (--set 'frameworks_to_test[*].config.max_model_len=N'), or cut the prompts"
            } else {
                "the model was not made for such contexts: take another one, or cut the prompts"
            };
            (u64::from(scheduler.max_model_len), way_out.to_owned())
        }
        Reason::PromptExceedsTokenBudget => (
            u64::from(scheduler.max_num_batched_tokens),
            "set enable_chunked_prefill: true, or raise max_num_batched_tokens".to_owned(),
        ),
        _ => (pool_tokens, MORE_CACHE.to_owned()),
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, requests, longest_tokens, limit_tokens, way_out } = self;
        write!(f, "{reason} {requests} (up to {longest_tokens} tokens, room for {limit_tokens}): {way_out}")
    }
}

/// Several of them, in a line.
#[must_use]
pub fn told_refused(refused: &[Refused]) -> String {
    refused.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
