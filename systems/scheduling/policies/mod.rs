//! Who is in the batch: a policy an engine kind, a file each.
//!
//! The loop owns time, queues, KV blocks, decodes, prices, links and records; a policy decides who is in the batch, by the verbs
//! of a [`Boundary`]. The loop runs an engine many steps ahead of what the policy has seen, so a policy promises:
//!
//! 1. **Stationary**: while nothing of its [`Standing`] and no event of the loop happens, `form` at each of the next boundaries
//!    would choose the same sequences with the same tokens.
//! 2. **Idempotent**: a boundary too many changes nothing. Arrivals and the number of steps computed ahead cut epochs anywhere.
//! 3. **Composable**: `advance(a + b)` is `advance(a)`, then `advance(b)`, exactly; hence a memory of whole numbers.
//! 4. **A lower bound is enough**: `steps` and `until` may be early, never late. A policy that cannot tell says one step, and is
//!    slow but right.
//! 5. **The order among decodes does not change while they decode**: whom a policy preempts first is told by keys that shift
//!    alike (the last admitted, a priority), so nobody has to look.
//! 6. **Local and undrawn**: nothing of other engines, nothing random that depends on how often it was asked.
//!
//! `tests/stutter/` checks a policy without a second engine: epochs of one step, and cut at random boundaries, must leave every
//! record as it is. It fails on a policy that breaks any of the six; `wrong.rs` there has one for each.

mod vllm;

use std::sync::Arc;

use bevy_ecs::prelude::Component;
use oracle_components::engine::{AdmissionLimits, Standing};
use oracle_components::record::Reason;
use oracle_components::request::RequestSpec;

use super::boundary::Boundary;
use crate::kv;

pub use vllm::Vllm;

/// Who is in the batch. The promises are at the top of this module.
pub trait BatchPolicy: Send + Sync + 'static {
    /// What an engine keeps between boundaries, in whole numbers.
    type Memory: Default + Send + Sync;

    /// Why a request is refused on arrival, if it is. `target_tokens` is what it would generate within `max_model_len`. Whatever a
    /// policy adds, a request must find a context and a KV pool that hold it.
    fn refusal(&self, request: &RequestSpec, target_tokens: u32, limits: &AdmissionLimits) -> Option<Reason> {
        exceeds_context(request, limits).or_else(|| exceeds_pool(request, target_tokens, limits))
    }

    /// The batch from this boundary on, by the verbs of `boundary`; and for how long it stands. Every decode is in it:
    /// [`Boundary::decode_all`] is called once. On an engine of a decode pool, queued heads that are to load
    /// ([`Boundary::start_load`]) and those that have ([`Boundary::admit_loaded`]) wait until they are asked in.
    fn form(&self, memory: &mut Self::Memory, boundary: &mut Boundary<'_, '_>) -> Standing;

    /// So many steps of the last batch have run. In closed form: steps are many.
    fn advance(&self, memory: &mut Self::Memory, steps: u64) {
        let _ = (memory, steps);
    }
}

/// Why a prompt does not fit `max_model_len`, if it does not.
#[must_use]
pub fn exceeds_context(request: &RequestSpec, limits: &AdmissionLimits) -> Option<Reason> {
    (request.prompt_tokens >= limits.scheduler.max_model_len).then_some(Reason::PromptTooLong)
}

/// Why a request does not fit the KV pool, if it does not: it could never end.
#[must_use]
pub fn exceeds_pool(request: &RequestSpec, target_tokens: u32, limits: &AdmissionLimits) -> Option<Reason> {
    let blocks = |tokens: u64| match &limits.kv_groups {
        Some(groups) => kv::groups::most_blocks(groups, &limits.scheduler, tokens),
        None => tokens.div_ceil(u64::from(limits.scheduler.block_tokens)),
    };
    let prompt = u64::from(request.prompt_tokens);
    let exceeds = blocks(prompt + u64::from(target_tokens) - 1) > limits.answer_kv_blocks
        || limits.prompt_kv_blocks.is_some_and(|held| blocks(prompt) > held);
    exceeds.then_some(Reason::ExceedsKvCache)
}

/// The policy of an engine by its scheduler's configuration.
pub(crate) fn shipped() -> Arc<dyn Rules> {
    Arc::new(Vllm)
}

/// A policy whose memory is nobody else's business.
pub(crate) trait Rules: Send + Sync {
    /// See [`BatchPolicy::refusal`].
    fn refusal(&self, request: &RequestSpec, target_tokens: u32, limits: &AdmissionLimits) -> Option<Reason>;

    /// The policy at work on an engine on which nothing has happened.
    fn at_work(self: Arc<Self>) -> EnginePolicy;
}

impl<P: BatchPolicy> Rules for P {
    fn refusal(&self, request: &RequestSpec, target_tokens: u32, limits: &AdmissionLimits) -> Option<Reason> {
        BatchPolicy::refusal(self, request, target_tokens, limits)
    }

    fn at_work(self: Arc<Self>) -> EnginePolicy {
        EnginePolicy(Box::new(WithMemory { policy: self, memory: P::Memory::default() }))
    }
}

/// The policy of an engine, with what it keeps. A call through it costs a boundary some ten instructions of a thousand.
#[derive(Component)]
pub struct EnginePolicy(Box<dyn AtWork>);

impl EnginePolicy {
    /// See [`BatchPolicy::form`].
    pub fn form(&mut self, boundary: &mut Boundary<'_, '_>) -> Standing {
        self.0.form(boundary)
    }

    /// See [`BatchPolicy::advance`].
    pub fn advance(&mut self, steps: u64) {
        self.0.advance(steps);
    }
}

trait AtWork: Send + Sync {
    fn form(&mut self, boundary: &mut Boundary<'_, '_>) -> Standing;
    fn advance(&mut self, steps: u64);
}

struct WithMemory<P: BatchPolicy> {
    policy: Arc<P>,
    memory: P::Memory,
}

impl<P: BatchPolicy> AtWork for WithMemory<P> {
    fn form(&mut self, boundary: &mut Boundary<'_, '_>) -> Standing {
        self.policy.form(&mut self.memory, boundary)
    }

    fn advance(&mut self, steps: u64) {
        self.policy.advance(&mut self.memory, steps);
    }
}
