//! What a boundary does on engines of prefill and decode pools beside the rest: prompts that are computed leave, holds end,
//! KV caches start to load, and what is loaded gets a slot.
//!
//! What passes between engines is done by `handoff`, once all that are due have been here.

use bevy_ecs::prelude::*;
use oracle_components::SimTime;
use oracle_components::disaggregation::{Handoffs, Hold};
use oracle_components::record::{PromptComputed, RemotePrefill};
use oracle_components::request::{Request, RequestId};
use oracle_components::scenario::{PrefixCaching, QueuePolicy};
use oracle_components::sequence::{Phase, Sequence};

use super::queue;
use crate::kv::{self, BlockKeys, Held, block_keys};
use crate::running;
use crate::world::EngineView;

/// What an engine does at an instant, others see this much later at the earliest.
pub const NEXT_INSTANT: SimTime = SimTime(1);

/// Lets the sequences go whose prompts are computed.
pub fn let_go_of_computed(parts: &mut EngineView<'_>, sequences: &mut Query<&mut Sequence>, now: SimTime) {
    let Some(handoffs) = &mut parts.handoffs else { return };
    handoffs.computed.sort_unstable();
    for &(_, entity) in &handoffs.computed {
        let mut sequence = sequences.get_mut(entity).expect("a computed sequence lives");
        running::forget(parts.running, &sequence, parts.engine.scheduler.policy);
        sequence.phase = Phase::Loading;
        sequence.computed = 0;
        let computed = Some(PromptComputed { engine: parts.hardware.engine, end: now });
        sequence.prefill = Some(Box::new(RemotePrefill { computed, load_started: None, loaded: None }));
    }
}

/// Releases what need not be held any longer: whether there was anything.
pub fn end_holds(parts: &mut EngineView<'_>, now: SimTime) -> bool {
    let Some(handoffs) = &mut parts.handoffs else { return false };
    let scheduler = &parts.engine.scheduler;
    let block_tokens = scheduler.block_tokens;
    let mut any = false;
    while let Some(first) = handoffs.holds.first_entry().filter(|first| first.key().0 <= now) {
        let ((_, id), hold) = first.remove_entry();
        any = true;
        if scheduler.prefix_caching == PrefixCaching::Off {
            kv::release_empty(parts.pool, u64::from(hold.tokens.div_ceil(block_tokens)));
        } else {
            let keys = BlockKeys { segments: &hold.prefix, tail_key: hold.tail_key, block_tokens, holder: id };
            let unnamed_first = scheduler.rules.unnamed_blocks_first;
            kv::release(parts.pool, &keys, Held { tokens: hold.tokens, named: hold.tokens, unnamed_first });
        }
    }
    any
}

/// When a sequence's KV cache is loaded, if that is booked.
pub fn loaded_here(sequence: &Sequence) -> Option<SimTime> {
    sequence.prefill.as_ref().and_then(|prefill| prefill.loaded)
}

/// Whether it has started to load its KV cache.
pub fn loads_here(sequence: &Sequence) -> bool {
    sequence.prefill.as_ref().is_some_and(|prefill| prefill.load_started.is_some())
}

/// Whether a sequence that loads may expire, listed for `listed`: not before it is loaded, and as if its deadline were then.
pub fn may_expire(sequence: &Sequence, listed: SimTime) -> bool {
    loaded_here(sequence).is_some_and(|loaded| loaded <= listed)
}

/// Notes that a waiting sequence ends without having loaded its KV cache, if a prefill engine holds that.
pub fn abandon(parts: &mut EngineView<'_>, sequence: &Sequence, entity: Entity) {
    let is_held = is_to_load(sequence) && sequence.prefill.as_ref().is_some_and(|prefill| prefill.computed.is_some());
    if let Some(handoffs) = parts.handoffs.as_mut().filter(|_| is_held) {
        handoffs.abandoned.push(entity);
    }
}

/// A loaded sequence that never had a slot gives its blocks back.
pub fn drop_loaded(parts: &mut EngineView<'_>, sequence: &Sequence) {
    let loaded = loaded_here(sequence).expect("only what is loaded is dropped");
    let handoffs = parts.handoffs.as_mut().expect("only decode engines load");
    handoffs.loading.remove(&(loaded, sequence.id));
    kv::release_empty(parts.pool, load_blocks(sequence, parts.engine.scheduler.block_tokens));
}

/// Whether a waiting sequence's KV cache lies elsewhere.
pub fn is_to_load(sequence: &Sequence) -> bool {
    sequence.prefill.as_ref().is_some_and(|prefill| prefill.load_started.is_none())
}

/// Blocks that a KV cache is loaded into.
pub fn load_blocks(sequence: &Sequence, block_tokens: u32) -> u64 {
    u64::from(sequence.prompt_tokens.div_ceil(block_tokens))
}

/// The head of the queue takes its blocks and starts to load its KV cache.
pub fn start_to_load(parts: &mut EngineView<'_>, sequences: &mut Query<&mut Sequence>, head: Entity) {
    let mut sequence = sequences.get_mut(head).expect("the head of the queue lives");
    let scheduler = &parts.engine.scheduler;
    let now = parts.clock.boundary;
    kv::allocate(parts.pool, load_blocks(&sequence, scheduler.block_tokens));
    queue::pop_head(parts.queues);
    sequence.phase = Phase::Loading;
    let handoffs = parts.handoffs.as_mut().expect("only who answers prompts of others loads");
    let id = sequence.id;
    let prefill = sequence.prefill.as_mut().expect("its prompt was computed elsewhere");
    prefill.load_started = Some(now);
    match scheduler.load_time() {
        Some(time) => {
            let loaded = after(now, time);
            prefill.loaded = Some(loaded);
            handoffs.loading.insert((loaded, id), head);
        }
        None => handoffs.started.push(head),
    }
}

/// What takes so long is over, in the next instant at the earliest.
fn after(now: SimTime, time: SimTime) -> SimTime {
    now.saturating_add(time).max(now + NEXT_INSTANT)
}

/// The blocks of a sequence that has finished stay held, if its engine keeps them: whether it does.
pub fn hold(parts: &mut EngineView<'_>, sequence: &Sequence, request: &Request) -> bool {
    let scheduler = &parts.engine.scheduler;
    let has_finished = sequence.generated >= sequence.target_tokens;
    let Some(time) = scheduler.hold_time().filter(|_| has_finished) else { return false };
    let handoffs = parts.handoffs.as_mut().expect("who keeps blocks can hold them");
    let keys = block_keys(request, scheduler.prefix_caching, scheduler.block_tokens);
    let (prefix, tail_key) = (keys.segments.to_vec(), keys.tail_key);
    let until = after(parts.clock.boundary, time);
    handoffs.holds.insert((until, sequence.id), Hold { tokens: sequence.computed, prefix, tail_key });
    true
}

/// Whether it has something for engines of the other role.
pub fn is_to_be_handed_off(parts: &EngineView<'_>) -> bool {
    let Some(handoffs) = &parts.handoffs else { return false };
    !(handoffs.computed.is_empty() && handoffs.started.is_empty() && handoffs.abandoned.is_empty())
}

/// Gives slots to `most` loaded sequences, or as many as there are: how many. Their next step computes the last token
/// of the prompt, whose block they have.
pub fn admit_loaded(parts: &mut EngineView<'_>, sequences: &mut Query<&mut Sequence>, seen: SimTime, most: u32) -> u32 {
    let scheduler = &parts.engine.scheduler;
    let Some(handoffs) = &mut parts.handoffs else { return 0 };
    let mut admitted = 0;
    while admitted < most {
        let leaves_watermark =
            parts.running.count == 0 || u64::from(scheduler.watermark_blocks) <= kv::free_blocks(parts.pool);
        let next = next_ready(handoffs, sequences, scheduler.policy, seen).filter(|_| leaves_watermark);
        let Some(key) = next else { break };
        let entity = handoffs.loading.remove(&key).expect("it was found there");
        let mut sequence = sequences.get_mut(entity).expect("a loaded sequence lives");
        sequence.computed = sequence.prompt_tokens - 1;
        if !sequence.scheduled.is_some() {
            sequence.scheduled.set(parts.clock.boundary);
            sequence.cached_tokens = sequence.computed;
        }
        running::enter(parts.running, &mut sequence, entity, scheduler.policy);
        running::start_decoding(parts.running, parts.pool, parts.clock, &mut sequence, entity);
        handoffs.first_step.push(entity);
        admitted += 1;
    }
    admitted
}

/// Which of the sequences that are loaded by `seen` is the next to get a slot.
fn next_ready(
    handoffs: &Handoffs,
    sequences: &Query<&mut Sequence>,
    policy: QueuePolicy,
    seen: SimTime,
) -> Option<(SimTime, RequestId)> {
    let mut ready = handoffs.loading.range(..=(seen, RequestId::MAX));
    let next = match policy {
        QueuePolicy::Fcfs => ready.next(),
        QueuePolicy::Priority => ready.min_by_key(|&(&(_, id), &entity)| {
            let sequence = sequences.get(entity).expect("a loaded sequence lives");
            (sequence.priority, sequence.arrival, id)
        }),
    };
    next.map(|(&key, _)| key)
}

/// The next step brings no first token of a sequence: whether it would have.
pub fn forget_first_step(parts: &mut EngineView<'_>, entity: Entity) -> bool {
    let Some(handoffs) = &mut parts.handoffs else { return false };
    let at = handoffs.first_step.iter().position(|&first| first == entity);
    at.map(|at| handoffs.first_step.remove(at)).is_some()
}

/// The step that has ended brought the first tokens of those that were admitted before it.
pub fn emit_first_tokens(parts: &mut EngineView<'_>, sequences: &mut Query<&mut Sequence>) {
    let Some(handoffs) = &mut parts.handoffs else { return };
    for entity in handoffs.first_step.drain(..) {
        let mut sequence = sequences.get_mut(entity).expect("an admitted sequence lives");
        let clock = &parts.clock;
        let first_token = if sequence.streaming { clock.flow_received } else { clock.boundary };
        sequence.first_token.set(first_token);
        sequence.last_emission.set(clock.boundary);
    }
}
