//! Arrival: requests that are due come in, are routed to an engine, and start on its ingress links.
//!
//! Owns the order of arrivals and the requests' numbers. May touch an engine's inbox, and cut its epoch at the end of the
//! step that runs when the prompt gets there. Moves the clock: past the arrivals, to the next boundary.

use bevy_ecs::prelude::*;
use bevy_ecs::query::QueryData;
use bevy_ecs::system::SystemParam;
use oracle_components::SimTime;
use oracle_components::engine::{Engine, Epoch, Plan, Queues, Running};
use oracle_components::record::{PrefixEvent, Reason, Status};
use oracle_components::request::{Request, RequestSpec};
use oracle_components::resources::{Coupling, Timeline};
use oracle_components::scenario::{EngineIndex, Role};
use oracle_components::sequence::{Phase, Sequence};

use crate::clock::{advance, advance_within_window, next_arrival, next_boundary, wake_at};
use crate::epoch::may_admit;
use crate::retire::End;
use crate::transfer::Network;
use crate::world::{Doors, Hub};

/// What an arrival sees of an engine.
#[derive(QueryData)]
#[query_data(mutable)]
pub struct ArrivalParts {
    /// Its limits and links.
    pub engine: &'static Engine,
    queues: &'static mut Queues,
    running: &'static Running,
    plan: &'static Plan,
    epoch: &'static mut Epoch,
}

impl ArrivalPartsItem<'_, '_> {
    /// Puts a sequence on its way to the engine with this index, and sees to it that the engine looks when it has to.
    pub fn send(
        &mut self,
        index: EngineIndex,
        sequence: Entity,
        (delivered, deadline): (SimTime, SimTime),
        timeline: &mut Timeline,
    ) {
        self.queues.inbox.push_back((delivered, sequence));
        self.queues.inbox_with_deadline += u32::from(deadline != SimTime::NEVER);
        // The first boundary after the delivery has to see it if it could be admitted there, else the first after its deadline.
        let admits = may_admit(self.engine, self.running, &self.queues, self.plan.admission);
        self.look_up_at(index, if admits { delivered } else { deadline.max(delivered) }, delivered, timeline);
    }

    /// Ends the engine's epoch at the first boundary from `at` on; if it is idle, wakes it at `wake`.
    pub fn look_up_at(&mut self, index: EngineIndex, at: SimTime, wake: SimTime, timeline: &mut Timeline) {
        let epoch = &mut *self.epoch;
        let wake = if epoch.steps > 0 {
            let boundary = epoch.step_ends[..epoch.steps].partition_point(|&end| end < at);
            epoch.steps = epoch.steps.min(boundary + 1);
            epoch.step_ends[epoch.steps - 1]
        } else {
            timeline.wakes[index as usize].min(wake)
        };
        wake_at(timeline, index, wake);
    }
}

/// Most arrivals of a tick, but for those of one instant.
const TICK_ARRIVALS: u32 = 1024;
/// As many arrivals a window and engine, if that is more: so that an engine has something to do in it.
const WINDOW_ARRIVALS_AN_ENGINE: u32 = 8;

/// What an arrival touches.
#[derive(SystemParam)]
pub struct Reception<'w, 's> {
    network: Network<'w, 's>,
    engines: Query<'w, 's, ArrivalParts>,
    sequences: Query<'w, 's, &'static mut Sequence>,
    requests: Query<'w, 's, &'static mut Request>,
    commands: Commands<'w, 's>,
}

/// Takes in requests for as long as they come before anything else, and lists the engines that are due then.
pub fn arrive(mut hub: ResMut<Hub>, mut reception: Reception) {
    let hub = &mut *hub;
    hub.timeline.due.clear();
    match hub.timeline.coupling {
        Coupling::Tight => {
            let mut arrivals = 0;
            while arrivals < TICK_ARRIVALS && next_arrival(&hub.timeline) <= next_boundary(&mut hub.timeline) {
                if !reception.take_in_next(hub) {
                    break;
                }
                arrivals += 1;
            }
            let boundary = next_boundary(&mut hub.timeline);
            if boundary < next_arrival(&hub.timeline) {
                advance(&mut hub.timeline);
            }
        }
        Coupling::Loose => {
            advance_within_window(&mut hub.timeline);
            if hub.timeline.due.is_empty() {
                hub.doors.hand_over_held();
                reception.open_window(hub);
                advance_within_window(&mut hub.timeline);
            }
        }
    }
    if hub.timeline.due.is_empty() {
        let next = next_arrival(&hub.timeline).min(next_boundary(&mut hub.timeline));
        hub.timeline.stopped = next == SimTime::NEVER || next > hub.timeline.horizon;
    }
}

impl Reception<'_, '_> {
    /// Takes in the next window of arrivals.
    fn open_window(&mut self, hub: &mut Hub) {
        let first = next_arrival(&hub.timeline).min(next_boundary(&mut hub.timeline));
        let last = first.saturating_add(hub.timeline.window_span);
        let most = TICK_ARRIVALS.max(hub.timeline.engines.len() as u32 * WINDOW_ARRIVALS_AN_ENGINE);
        let mut arrivals = 0;
        let mut instant = SimTime::ZERO;
        loop {
            let next = next_arrival(&hub.timeline);
            let in_time = arrivals < most || next == instant;
            if next > last || !in_time || !self.take_in_next(hub) {
                break;
            }
            arrivals += 1;
            instant = next;
        }
        // Arrivals of an instant come before its boundaries.
        let next = next_arrival(&hub.timeline);
        let window = if next > last { last } else { SimTime(next.0.saturating_sub(1)) };
        hub.timeline.window = window;
        hub.timeline.group = 0;
    }

    /// Takes in the next request, if there is one before the horizon.
    fn take_in_next(&mut self, hub: &mut Hub) -> bool {
        let at = next_arrival(&hub.timeline);
        if at == SimTime::NEVER || at > hub.timeline.horizon {
            return false;
        }
        hub.timeline.last_arrival = at;
        if hub.timeline.coupling == Coupling::Tight {
            hub.timeline.now = at;
        }
        let spec = take_next(&mut hub.timeline, &mut hub.doors);
        self.take_in(spec, hub);
        true
    }

    /// Takes in one request at the present.
    fn take_in(&mut self, spec: RequestSpec, hub: &mut Hub) {
        let id = hub.timeline.next_id;
        hub.timeline.next_id += 1;
        let index = hub.doors.router.route(spec.session, &hub.timeline.loads);
        let entity = hub.timeline.engines[index as usize];
        let mut parts = self.engines.get_mut(entity).expect("engines live as long as the world");
        let engine = parts.engine;
        let bytes = f64::from(spec.prompt_tokens) * hub.doors.prompt_bytes_per_token;
        let delivered = self.network.send(&engine.ingress, bytes, spec.arrival, &mut hub.doors.rows);
        let target = spec.output_tokens.min(engine.scheduler.max_model_len.saturating_sub(spec.prompt_tokens));
        if let Some(reason) = refusal(&spec, target, engine) {
            let end = End { completion: delivered, status: Status::Failed, reason, whole_response_tokens: None };
            hub.refuse(id, &spec, index, end);
            return;
        }
        hub.timeline.loads[index as usize] += 1;
        let request = Request { id, spec, engine: index, delivered };
        let sequence = new_sequence(&request, target);
        let deadline = sequence.deadline;
        let sequence = settle_in(
            request,
            sequence,
            &mut hub.vacant,
            (&mut self.requests, &mut self.sequences),
            &mut self.commands,
        );
        parts.send(index, sequence, (delivered, deadline), &mut hub.timeline);
    }
}

/// Puts a request and its sequence into vacant entities, or spawns them. Returns the sequence's.
fn settle_in(
    request: Request,
    sequence: Sequence,
    vacant: &mut Vec<Entity>,
    (requests, sequences): (&mut Query<&mut Request>, &mut Query<&mut Sequence>),
    commands: &mut Commands,
) -> Entity {
    let Some(entity) = vacant.pop() else {
        let request = commands.spawn(request).id();
        return commands.spawn(Sequence { request, ..sequence }).id();
    };
    let mut place = sequences.get_mut(entity).expect("sequences live as long as the world");
    *place = Sequence { request: place.request, ..sequence };
    *requests.get_mut(place.request).expect("a sequence's request lives as long as it does") = request;
    entity
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
fn refusal(spec: &RequestSpec, target: u32, engine: &Engine) -> Option<Reason> {
    let scheduler = &engine.scheduler;
    if spec.prompt_tokens >= scheduler.max_model_len {
        return Some(Reason::PromptTooLong);
    }
    if !scheduler.chunked_prefill && spec.prompt_tokens > scheduler.max_num_batched_tokens {
        return Some(Reason::PromptExceedsTokenBudget);
    }
    let blocks = |tokens: u64| tokens.div_ceil(u64::from(scheduler.block_tokens));
    let prompt = u64::from(spec.prompt_tokens);
    let exceeds = blocks(prompt + u64::from(target) - 1) > engine.answer_kv_blocks
        || (engine.role == Role::Prefill && blocks(prompt) > engine.kv_blocks);
    exceeds.then_some(Reason::ExceedsKvCache)
}

/// A sequence that has just set out. Its request's entity is filled in by the caller.
fn new_sequence(request: &Request, target_tokens: u32) -> Sequence {
    Sequence {
        request: Entity::PLACEHOLDER,
        id: request.id,
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
        deadline: request.deadline(),
        streaming: request.spec.streaming,
        scheduled: None,
        first_token: None,
        last_emission: None,
        last_token: None,
        prefill: None,
        prefix_event: PrefixEvent::None,
        cached_tokens: 0,
        prefilled_tokens: 0,
        recomputed_tokens: 0,
        preemptions: 0,
    }
}
