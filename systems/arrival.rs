//! Arrival: requests that are due come in, are routed to an engine, and start on its ingress links.
//!
//! Owns the order of arrivals and the requests' numbers. May touch an engine's inbox, and cut its epoch at the end of the
//! step that runs when the prompt gets there. Moves the clock: past the arrivals, to the next boundary.

use bevy_ecs::prelude::*;
use oracle_components::SimTime;
use oracle_components::engine::{Admission, Engine, Epoch, Plan, Queues, Running, Waiting};
use oracle_components::kv::KvPool;
use oracle_components::record::{PrefixEvent, Reason, Status};
use oracle_components::request::{Request, RequestId, RequestSpec};
use oracle_components::resources::Timeline;
use oracle_components::scenario::SchedulerSpec;
use oracle_components::sequence::{Phase, Sequence};

use crate::clock::{advance, next_arrival, next_boundary, wake_at};
use crate::retire::{End, Retirement};
use crate::transfer::Network;
use crate::world::Doors;

/// What an arrival sees of an engine.
type ArrivalParts =
    (&'static Engine, &'static mut Queues, &'static Running, &'static Plan, &'static mut Epoch, &'static KvPool);

/// Takes in the requests that arrive up to the next boundary, and moves the clock there.
pub fn arrive(mut desk: Retirement, mut network: Network, mut engines: Query<ArrivalParts>) {
    loop {
        let at = next_arrival(&desk.timeline);
        if at == SimTime::NEVER || at > desk.timeline.horizon || at > next_boundary(&mut desk.timeline) {
            break;
        }
        desk.timeline.now = at;
        let desk = &mut desk;
        let spec = take_next(&mut desk.timeline, &mut desk.doors);
        take_in(spec, desk, &mut network, &mut engines);
    }
    advance(&mut desk.timeline);
}

/// Takes in one request at the present.
fn take_in(spec: RequestSpec, desk: &mut Retirement, network: &mut Network, engines: &mut Query<ArrivalParts>) {
    let id = desk.timeline.next_id;
    desk.timeline.next_id += 1;
    let index = desk.doors.router.route(spec.session, &desk.timeline.loads);
    let entity = desk.timeline.engines[index as usize];
    let (engine, mut queues, running, plan, mut epoch, pool) =
        engines.get_mut(entity).expect("engines live as long as the world");
    let bytes = f64::from(spec.prompt_tokens) * desk.doors.prompt_bytes_per_token;
    let delivered = network.send(&engine.ingress, bytes, spec.arrival, &mut desk.doors.rows);
    let target = spec.output_tokens.min(engine.scheduler.max_model_len.saturating_sub(spec.prompt_tokens));
    if let Some(reason) = refusal(&spec, target, &engine.scheduler, pool.total) {
        desk.refuse(id, &spec, index, End { completion: delivered, status: Status::Failed, reason });
        return;
    }
    desk.timeline.loads[index as usize] += 1;
    let deadline = spec.arrival.saturating_add(spec.timeout);
    let request = Request { id, spec, engine: index, delivered };
    let sequence = new_sequence(id, &request, target, deadline);
    let request = desk.commands.spawn(request).id();
    let sequence = desk.commands.spawn(Sequence { request, ..sequence }).id();
    queues.inbox.push_back((delivered, sequence));
    let wake = if epoch.steps > 0 {
        cut(&mut epoch, plan, running, &queues, engine, delivered, deadline);
        epoch.step_ends[epoch.steps - 1]
    } else {
        desk.timeline.wakes[index as usize].min(delivered)
    };
    wake_at(&mut desk.timeline, index, wake);
}

/// The next arrival: of the open-loop workload before a follow-up at the same time.
fn take_next(timeline: &mut Timeline, doors: &mut Doors) -> RequestSpec {
    let follow_up_first = match (&timeline.next_request, timeline.follow_ups.peek()) {
        (Some(next), Some(follow_up)) => follow_up.0.spec.arrival < next.arrival,
        (None, _) => true,
        (Some(_), None) => false,
    };
    if follow_up_first {
        return timeline.follow_ups.pop().expect("something arrives").0.spec;
    }
    let following = doors.source.next_request();
    std::mem::replace(&mut timeline.next_request, following).expect("something arrives")
}

/// Why an engine will not take a request, if it will not.
fn refusal(spec: &RequestSpec, target: u32, scheduler: &SchedulerSpec, kv_blocks: u64) -> Option<Reason> {
    if spec.prompt_tokens >= scheduler.max_model_len {
        return Some(Reason::PromptTooLong);
    }
    if !scheduler.chunked_prefill && spec.prompt_tokens > scheduler.max_num_batched_tokens {
        return Some(Reason::PromptExceedsTokenBudget);
    }
    let tokens = u64::from(spec.prompt_tokens) + u64::from(target) - 1;
    (tokens.div_ceil(u64::from(scheduler.block_tokens)) > kv_blocks).then_some(Reason::ExceedsKvCache)
}

/// A sequence that has just set out. Its request's entity is filled in by the caller.
fn new_sequence(id: RequestId, request: &Request, target_tokens: u32, deadline: SimTime) -> Sequence {
    Sequence {
        request: Entity::PLACEHOLDER,
        id,
        engine: request.engine,
        phase: Phase::Waiting,
        prompt_tokens: request.spec.prompt_tokens,
        target_tokens,
        length_limited: target_tokens < request.spec.output_tokens,
        generated: 0,
        computed: 0,
        entered_step: 0,
        high_water: 0,
        admission: 0,
        priority: request.spec.priority,
        arrival: request.spec.arrival,
        deadline,
        streaming: request.spec.streaming,
        scheduled: None,
        first_token: None,
        last_emission: None,
        last_token: None,
        prefix_event: PrefixEvent::None,
        cached_tokens: 0,
        prefilled_tokens: 0,
        recomputed_tokens: 0,
        preemptions: 0,
    }
}

/// Ends an epoch at the first boundary that has to see a new request: the first after its delivery if it could be
/// admitted there, else the first after its deadline.
fn cut(
    epoch: &mut Epoch,
    plan: &Plan,
    running: &Running,
    queues: &Queues,
    engine: &Engine,
    delivered: SimTime,
    deadline: SimTime,
) {
    let seats_left = running.count < engine.scheduler.max_num_seqs;
    let queue_jumper = matches!(queues.waiting, Waiting::Priority(_));
    let admissible = seats_left && (queues.waiting_count == 0 || queue_jumper);
    let at = if admissible || plan.admission == Admission::Open { delivered } else { deadline.max(delivered) };
    let boundary = epoch.step_ends[..epoch.steps].partition_point(|&end| end < at);
    epoch.steps = epoch.steps.min(boundary + 1);
}
