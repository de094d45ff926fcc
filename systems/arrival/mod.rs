//! Arrival: requests that are due come in, are routed to an engine, and start on its ingress links.
//!
//! Owns the order of arrivals and the requests' numbers. May touch what is in transit to an engine, and cut its epoch
//! at the end of the step that runs when the prompt gets there. Moves the clock past the arrivals.

mod wake;

use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;
use oracle_components::calendar::{Calendar, Coupling};
use oracle_components::record::{Cargo, Ending, PrefixEvent, Reason, RemotePrefill, Status};
use oracle_components::request::{Request, RequestSpec, Routed};
use oracle_components::sequence::{Phase, Sequence};
use oracle_components::{MaybeTime, SimTime};

use crate::transfer::{Network, Parcel};
use crate::world::calendar::{next_arrival, next_boundary};
use crate::world::{Dispatch, Entrance, Ports, Shared};

pub use wake::ArrivalParts;

/// Most arrivals of a tick, but for those of one instant.
const TICK_ARRIVALS: u32 = 1024;

/// What became of the next arrival.
pub enum Arrival {
    /// There is none before the horizon.
    None,
    /// Its engine would not take it.
    Refused,
    /// It is on its way.
    Routed(Routed),
}

/// What an arrival touches.
#[derive(SystemParam)]
pub struct ArrivalParams<'w, 's> {
    engines: Query<'w, 's, ArrivalParts>,
    sequences: Query<'w, 's, &'static mut Sequence>,
    requests: Query<'w, 's, &'static mut Request>,
    commands: Commands<'w, 's>,
}

/// Whether something arrives before anything else happens.
pub fn is_next(shared: &mut Shared) -> bool {
    match shared.calendar.coupling {
        Coupling::Lockstep => next_arrival(&shared.calendar) <= next_boundary(&mut shared.calendar),
        Coupling::Windowed => !shared.routed.is_empty(),
    }
}

/// Takes in requests for as long as they come before anything else. In the schedule of a tick, but run only where [`is_next`].
pub fn arrive(mut shared: ResMut<Shared>, mut network: Network, mut params: ArrivalParams) {
    let shared = &mut *shared;
    match shared.calendar.coupling {
        Coupling::Lockstep => {
            let mut arrivals = 0;
            while arrivals < TICK_ARRIVALS && is_next(shared) {
                match route_next_arrival(shared, &mut network) {
                    Arrival::None => break,
                    Arrival::Refused => {}
                    Arrival::Routed(routed) => params.enter_transit(routed, shared),
                }
                arrivals += 1;
            }
        }
        Coupling::Windowed => {
            let mut routed = std::mem::take(&mut shared.routed);
            shared.calendar.next_id += routed.len() as u64;
            routed.drain(..).for_each(|routed| params.enter_transit(routed, shared));
            shared.routed = routed;
        }
    }
}

/// Numbers and routes the next request, if there is one before the horizon, and sends its prompt on its way.
pub fn route_next_arrival(shared: &mut Shared, network: &mut Network) -> Arrival {
    let at = next_arrival(&shared.calendar);
    if at == SimTime::NEVER || at > shared.calendar.horizon {
        return Arrival::None;
    }
    shared.calendar.last_arrival = at;
    shared.calendar.now = shared.calendar.now.max(at);
    let Shared { calendar, ports, dispatch, links, .. } = shared;
    let Dispatch { router, entrances, prompt_bytes_per_token } =
        dispatch.as_mut().expect("requests arrive where they are dispatched");
    let spec = take_next(calendar, ports);
    let id = calendar.next_id;
    calendar.next_id += 1;
    let engine = router.route(&spec, &calendar.loads, spec.arrival);
    let Entrance { limits, refusal, ingress, unanswered } = &mut entrances[engine as usize];
    let bytes = f64::from(spec.prompt_tokens) * *prompt_bytes_per_token;
    let delivered =
        network.send(ingress, links, Parcel { request: id, cargo: Cargo::Prompt, bytes }, spec.arrival, ports);
    let most = if limits.scheduler.hold_time().is_some() { 1 } else { u32::MAX };
    let room = limits.scheduler.max_model_len.saturating_sub(spec.prompt_tokens);
    let target_tokens = spec.output_tokens.min(room).min(most);
    let is_full = unanswered.as_mut().is_some_and(|unanswered| unanswered.is_full(at));
    let refused = is_full.then_some(Reason::QueueFull);
    if let Some(reason) = refused.or_else(|| refusal(&spec, target_tokens, limits)) {
        let end = Ending { completion: delivered, status: Status::Failed, reason, whole_response_tokens: None };
        shared.refuse(id, &spec, engine, end);
        return Arrival::Refused;
    }
    if let Some(unanswered) = unanswered {
        unanswered.let_in(spec.deadline(), id);
    }
    Arrival::Routed(Routed { request: Request { id, spec, engine, delivered }, target_tokens })
}

impl ArrivalParams<'_, '_> {
    /// Takes in a request that is on its way to an engine of this world.
    fn enter_transit(&mut self, routed: Routed, shared: &mut Shared) {
        let Routed { request, target_tokens } = routed;
        let delivered = request.delivered;
        let index = request.engine - shared.calendar.first_engine;
        let entity = shared.calendar.engines[index as usize];
        shared.calendar.loads[index as usize] += 1;
        let mut parts = self.engines.get_mut(entity).expect("engines live as long as the world");
        let loads = parts.engine.scheduler.load_time().is_some();
        let prefill = loads.then(|| Box::new(RemotePrefill { computed: None, load_started: None, loaded: None }));
        let sequence = Sequence { prefill, ..new_sequence(&request, target_tokens) };
        let deadline = sequence.deadline;
        let sequence = reuse_or_spawn(
            request,
            sequence,
            &mut shared.free_entities,
            (&mut self.requests, &mut self.sequences),
            &mut self.commands,
        );
        parts.send(index, sequence, (delivered, deadline), &mut shared.calendar);
    }
}

/// Puts a request and its sequence into free entities, or spawns them. Returns the sequence's.
fn reuse_or_spawn(
    request: Request,
    sequence: Sequence,
    free_entities: &mut Vec<Entity>,
    (requests, sequences): (&mut Query<&mut Request>, &mut Query<&mut Sequence>),
    commands: &mut Commands,
) -> Entity {
    let Some(entity) = free_entities.pop() else {
        let request = commands.spawn(request).id();
        return commands.spawn(Sequence { request, ..sequence }).id();
    };
    let mut place = sequences.get_mut(entity).expect("sequences live as long as the world");
    *place = Sequence { request: place.request, ..sequence };
    *requests.get_mut(place.request).expect("a sequence's request lives as long as it does") = request;
    entity
}

/// The next arrival: of the open-loop workload before a follow-up at the same time.
fn take_next(calendar: &mut Calendar, ports: &mut Ports) -> RequestSpec {
    let follow_up_first = match (&calendar.next_request, calendar.follow_ups.next_arrival()) {
        (Some(next), Some(follow_up)) => follow_up < next.arrival,
        (None, _) => true,
        (Some(_), None) => false,
    };
    if follow_up_first {
        return calendar.follow_ups.pop().expect("something arrives");
    }
    let following = ports.source.next_request();
    std::mem::replace(&mut calendar.next_request, following).expect("something arrives")
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
        deadline: request.spec.deadline(),
        streaming: request.spec.streaming,
        scheduled: MaybeTime::NONE,
        first_token: MaybeTime::NONE,
        last_emission: MaybeTime::NONE,
        longest_gap: MaybeTime::NONE,
        last_token: MaybeTime::NONE,
        prefill: None,
        prefix_event: PrefixEvent::None,
        cached_tokens: 0,
        prefilled_tokens: 0,
        recomputed_tokens: 0,
        preemptions: 0,
    }
}
