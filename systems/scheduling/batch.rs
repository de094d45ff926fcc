//! One engine's next batch.

use bevy_ecs::prelude::*;
use oracle_components::SimTime;
use oracle_components::engine::{Chunk, Standing, Waiting};
use oracle_components::record::PrefixEvent;
use oracle_components::request::Request;
use oracle_components::scenario::{PrefixCaching, QueuePolicy, SchedulerSpec};
use oracle_components::sequence::{Phase, Sequence};

use super::remove::{Departure, leave};
use super::{queue, remote};
use crate::kv::{self, Hit, Names, names};
use crate::running;
use crate::running::blocks_needed;
use crate::world::EngineView;

/// The batch under construction.
struct Batch<'a, 'w> {
    parts: &'a mut EngineView<'w>,
    sequences: Query<'a, 'a, &'static mut Sequence>,
    requests: &'a Query<'a, 'a, &'static Request>,
    now: SimTime,
    /// Tokens that the step may still take.
    budget: u32,
    preempted: bool,
    /// Whether the head may find room though no sequence leaves.
    may_fit: bool,
}

/// Forms the batch of the step that starts at `now`.
pub fn form(
    parts: &mut EngineView<'_>,
    mut sequences: Query<'_, '_, &'static mut Sequence>,
    requests: &Query<'_, '_, &'static Request>,
    now: SimTime,
) {
    parts.clock.boundary = now;
    loop {
        parts.plan.chunks.clear();
        let budget = parts.engine.scheduler.max_num_batched_tokens;
        let mut batch = Batch {
            parts: &mut *parts,
            sequences: sequences.reborrow(),
            requests,
            now,
            budget,
            preempted: false,
            may_fit: false,
        };
        batch.take_decodes();
        batch.take_prefills();
        if !batch.preempted {
            if batch.parts.remote.is_some() {
                batch.budget -= remote::seat_loaded(batch.parts, &mut batch.sequences, now, batch.budget);
            }
            batch.admit();
        }
        let (preempted, may_fit, budget) = (batch.preempted, batch.may_fit, batch.budget);
        parts.plan.standing = standing(parts, preempted || may_fit, budget);
        let empty = parts.running.decodes == 0 && parts.plan.chunks.is_empty();
        // Empty although it preempted: the only prefill that could have run preempted itself. With its blocks back, others can.
        if !(empty && preempted) {
            break;
        }
    }
    let ledger = &mut parts.ledger.0;
    ledger.running_peak = ledger.running_peak.max(u64::from(parts.running.count));
}

/// How long the batch stands: until somebody leaves, unless the next boundary may admit.
fn standing(parts: &EngineView<'_>, may_admit: bool, budget: u32) -> Standing {
    let is_open = may_admit || (parts.waiting_or_loading() > 0 && budget == 0);
    let slots_left = parts.running.count < parts.engine.scheduler.max_num_seqs;
    let may_jump_the_queue = matches!(parts.queues.waiting, Waiting::Priority(_));
    Standing {
        steps: if is_open { 1 } else { u64::MAX },
        until: SimTime::NEVER,
        sees_deliveries: is_open || (slots_left && (parts.queues.waiting_count == 0 || may_jump_the_queue)),
    }
}

impl Batch<'_, '_> {
    fn scheduler(&self) -> SchedulerSpec {
        self.parts.engine.scheduler
    }

    /// One token of each decode, with a block where it starts one.
    fn take_decodes(&mut self) {
        let step = self.parts.clock.steps;
        while u64::from(blocks_needed(self.parts.running, step)) > kv::free_blocks(self.parts.pool) {
            let policy = self.scheduler().policy;
            let victim = running::victim(self.parts.running, policy);
            self.preempt(victim);
        }
        kv::allocate(self.parts.pool, u64::from(blocks_needed(self.parts.running, step)));
        self.budget -= self.parts.running.decodes;
    }

    /// The next chunk of each running prefill, in order of admission.
    fn take_prefills(&mut self) {
        let mut position = 0;
        while let Some(&entity) = self.parts.running.prefills.get(position) {
            let sequence = self.sequences.get(entity).expect("a running sequence lives");
            let known = sequence.prompt_tokens + sequence.generated;
            let tokens = (known - sequence.computed).min(self.limit(sequence)).min(self.budget);
            if tokens == 0 {
                return;
            }
            let computed = sequence.computed;
            let more = kv::further_blocks(computed, tokens, self.scheduler().block_tokens);
            while u64::from(more) > kv::free_blocks(self.parts.pool) {
                let victim = self.prefill_victim(position);
                self.preempt(victim);
                if victim == entity {
                    return;
                }
            }
            self.take_chunk(entity, tokens, computed + tokens == known);
            position += 1;
        }
    }

    /// The running prefill to preempt first among those from `position` on.
    fn prefill_victim(&self, position: usize) -> Entity {
        let candidates = &self.parts.running.prefills[position..];
        let victim = match self.scheduler().policy {
            QueuePolicy::Fcfs => candidates.last(),
            QueuePolicy::Priority => candidates.iter().max_by_key(|&&entity| {
                running::priority_key(self.sequences.get(entity).expect("a running sequence lives"))
            }),
        };
        *victim.expect("the prefill that asks is one of them")
    }

    /// Most tokens of one sequence a step.
    fn limit(&self, sequence: &Sequence) -> u32 {
        self.scheduler().long_prefill_token_threshold.filter(|_| self.may_chunk(sequence)).unwrap_or(u32::MAX)
    }

    /// Whether a sequence may be computed over several steps. Recomputation after a preemption always may.
    fn may_chunk(&self, sequence: &Sequence) -> bool {
        self.scheduler().chunked_prefill || sequence.preemptions > 0
    }

    /// Adds a chunk of a running prefill to the batch, with its KV blocks.
    fn take_chunk(&mut self, entity: Entity, tokens: u32, completes: bool) {
        let scheduler = self.scheduler();
        let sequence = self.sequences.get(entity).expect("a running sequence lives");
        if scheduler.prefix_caching == PrefixCaching::Off {
            let blocks = kv::further_blocks(sequence.computed, tokens, scheduler.block_tokens);
            kv::allocate(self.parts.pool, u64::from(blocks));
        } else {
            let request = self.requests.get(sequence.request).expect("a sequence's request lives as long as it does");
            let names = names(request, scheduler.prefix_caching, scheduler.block_tokens);
            kv::extend(self.parts.pool, &names, sequence.computed, tokens);
        }
        self.parts.plan.chunks.push(Chunk { sequence: entity, tokens, context: sequence.computed, completes });
        self.budget -= tokens;
    }

    /// Admits from the waiting queue for as long as budget, seats and blocks last.
    fn admit(&mut self) {
        let scheduler = self.scheduler();
        while self.budget > 0 && self.parts.running.count < scheduler.max_num_seqs {
            let Some(entity) = queue::head(self.parts.queues, &self.sequences) else {
                return;
            };
            let sequence = self.sequences.get(entity).expect("the head of the queue lives");
            if remote::is_to_load(sequence) {
                if !remote::start_to_load(self.parts, &mut self.sequences, entity) {
                    return;
                }
                continue;
            }
            let request = self.requests.get(sequence.request).expect("a sequence's request lives as long as it does");
            let mut names = names(request, scheduler.prefix_caching, scheduler.block_tokens);
            if sequence.preemptions > 0 {
                names = names.findable_by(sequence.id);
            }
            let known = sequence.prompt_tokens + sequence.generated;
            let hit = self.look_up(sequence, request.spec.turn, &names, known);
            let cached = hit.blocks() * scheduler.block_tokens;
            let mut tokens = (known - cached).min(self.limit(sequence));
            if tokens > self.budget && !self.may_chunk(sequence) {
                return;
            }
            tokens = tokens.min(self.budget);
            let reserved = if scheduler.reserve_full_prompt { known } else { cached + tokens };
            let blocks = u64::from(reserved.div_ceil(scheduler.block_tokens) - hit.blocks());
            if blocks + u64::from(hit.free_blocks) > kv::free_blocks(self.parts.pool) {
                // Decodes that evict from the hit may leave it too short to count: what is left of it is room for the chunk.
                let may_lapse = hit.blocks() > 0 && scheduler.min_cached_prefix_tokens > 0;
                self.may_fit = may_lapse && !scheduler.reserve_full_prompt;
                return;
            }
            if hit.blocks() > 0 {
                kv::take_hit(self.parts.pool, &names, hit);
            }
            queue::pop_head(self.parts.queues);
            let mut sequence = self.sequences.get_mut(entity).expect("the head of the queue lives");
            start_running(&mut sequence, request.spec.turn, cached, known, self.now, &scheduler);
            running::enter(self.parts.running, &mut sequence, entity, scheduler.policy);
            self.parts.running.prefills.push(entity);
            self.take_chunk(entity, tokens, cached + tokens == known);
        }
    }

    /// The cached prefix that counts for a sequence.
    fn look_up(&self, sequence: &Sequence, turn: u32, names: &Names<'_>, known: u32) -> Hit {
        let scheduler = self.scheduler();
        if scheduler.prefix_caching == PrefixCaching::Off {
            return Hit::default();
        }
        let hit = kv::look_up(self.parts.pool, names, known);
        let first = turn == 0 && sequence.preemptions == 0;
        let too_short = hit.blocks() * scheduler.block_tokens < scheduler.min_cached_prefix_tokens;
        if first && too_short { Hit::default() } else { hit }
    }

    /// Sends a running sequence back to the queue.
    fn preempt(&mut self, entity: Entity) {
        let mut sequence = self.sequences.get_mut(entity).expect("a running sequence lives");
        leave(self.parts, &mut sequence, entity, self.requests, Departure::Preempted);
        self.preempted = true;
    }
}

/// An admitted sequence's own books.
fn start_running(sequence: &mut Sequence, turn: u32, cached: u32, known: u32, now: SimTime, scheduler: &SchedulerSpec) {
    sequence.phase = Phase::Prefill;
    sequence.computed = cached;
    sequence.recomputed_tokens += sequence.high_water.saturating_sub(cached);
    if sequence.scheduled.is_some() {
        return;
    }
    sequence.scheduled = Some(now);
    sequence.cached_tokens = cached;
    sequence.prefix_event = match (scheduler.prefix_caching, cached) {
        (PrefixCaching::Off, _) => PrefixEvent::None,
        (_, 0) if turn > 0 => PrefixEvent::ConversationalMiss,
        (_, 0) => PrefixEvent::Miss,
        (_, cached) if cached == known - 1 => PrefixEvent::FullHit,
        _ if turn > 0 => PrefixEvent::ConversationalHit,
        _ => PrefixEvent::CrossRequestHit,
    };
}
