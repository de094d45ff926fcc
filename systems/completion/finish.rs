//! The end of a request: its record, its follow-up, and the release of its entities. Arrival uses this for refusals,
//! completion for all that scheduling has taken off an engine, and the stop for what is left.

use bevy_ecs::prelude::Entity;
use oracle_components::SimTime;
use oracle_components::calendar::{Calendar, Coupling};
use oracle_components::record::{Ending, PrefixEvent, Reason, RequestRecord, Status};
use oracle_components::request::{Request, RequestId, RequestSpec};
use oracle_components::scenario::EngineIndex;
use oracle_components::sequence::Sequence;

use crate::world::{Dispatch, Ports, RecordKey, Shared};

impl Shared {
    /// Ends, at its engine's boundary `at`, a request that has a sequence: record, follow-up, release of the entities.
    /// The sequence holds no blocks any more, and `sequence.generated` is up to date.
    pub fn end_sequence(&mut self, entity: Entity, sequence: &Sequence, request: &Request, end: Ending, at: SimTime) {
        let Self { calendar, ports, dispatch, free_entities, .. } = self;
        let mut record = record_of(request, sequence, end);
        write(calendar, ports, &mut record, request.spec.deadline(), (at, u64::from(sequence.engine) + 1));
        calendar.loads[(sequence.engine - calendar.first_engine) as usize] -= 1;
        if let Some(dispatch) = dispatch {
            dispatch.answered(sequence.engine, request.spec.deadline(), request.id);
        }
        tell_router(dispatch, &record, at);
        schedule_follow_ups(calendar, ports, &request.spec, &record);
        free_entities.push(entity);
    }

    /// Ends a request that never got as far as having a sequence.
    pub fn refuse(&mut self, id: RequestId, spec: &RequestSpec, engine: EngineIndex, end: Ending) {
        let Self { calendar, ports, dispatch, .. } = self;
        let mut record = unserved(id, spec, engine, end.completion, end);
        // Arrivals of an instant come before its boundaries.
        write(calendar, ports, &mut record, spec.deadline(), (spec.arrival, 0));
        tell_router(dispatch, &record, spec.arrival);
        schedule_follow_ups(calendar, ports, spec, &record);
    }

    /// Writes the record of a request that the stop has ended, behind all others.
    pub fn write_last(&mut self, mut record: RequestRecord, deadline: SimTime) {
        let key = (SimTime::NEVER, record.request);
        write(&mut self.calendar, &mut self.ports, &mut record, deadline, key);
    }
}

/// Writes a record, no later than its client gives up and the horizon is reached. `key` is its place in the order of
/// records: the instant, then arrivals before engines by index.
fn write(calendar: &mut Calendar, ports: &mut Ports, record: &mut RequestRecord, deadline: SimTime, key: RecordKey) {
    end_early(record, deadline, calendar.horizon);
    forget_later(record);
    calendar.ended[record.status as usize] += 1;
    calendar.last_completion = calendar.last_completion.max(record.completion);
    if calendar.coupling == Coupling::Windowed {
        ports.record_order.push(key);
    }
    ports.hand_over(record);
}

/// What would end after its client's deadline, or after the horizon, ends there, whichever is first: an answer or a refusal that is
/// still on its way then reaches nobody.
fn end_early(record: &mut RequestRecord, deadline: SimTime, horizon: SimTime) {
    let limit = deadline.min(horizon);
    if record.completion <= limit {
        return;
    }
    let refused = record.status == Status::Failed;
    record.completion = limit;
    (record.status, record.reason) = match (deadline <= horizon, refused) {
        (true, true) => (Status::Timeout, Reason::TimeoutWaiting),
        (true, false) => (Status::Timeout, Reason::TimeoutRunning),
        (false, true) => (Status::Incomplete, Reason::EndedWaiting),
        (false, false) => (Status::Incomplete, Reason::EndedRunning),
    };
}

/// What would have happened to a request after its end has not.
fn forget_later(record: &mut RequestRecord) {
    let end = record.completion;
    let keep = |time: &mut Option<SimTime>| *time = time.filter(|&time| time <= end);
    keep(&mut record.delivered);
    keep(&mut record.scheduled);
    keep(&mut record.first_token);
    keep(&mut record.last_token);
    record.longest_gap = record.longest_gap.filter(|_| record.last_token.is_some());
    if let Some(prefill) = &mut record.prefill {
        keep(&mut prefill.load_started);
        keep(&mut prefill.loaded);
    }
}

/// Lets the router know, if it wants to, of a request that has left its engine at `at`.
#[inline]
fn tell_router(dispatch: &mut Option<Dispatch>, record: &RequestRecord, at: SimTime) {
    if let Some(dispatch) = dispatch {
        dispatch.router.left(record.engine, at);
        dispatch.router.ended(record);
    }
}

/// Puts what follows from an end among the arrivals. Those of this instant are in already, so it comes after it.
fn schedule_follow_ups(calendar: &mut Calendar, ports: &mut Ports, spec: &RequestSpec, record: &RequestRecord) {
    ports.source.follow_ups(spec, record, &mut ports.follow_ups);
    for mut next in ports.follow_ups.drain(..) {
        next.arrival = next.arrival.max(calendar.now + SimTime(1));
        calendar.follow_ups.push(next);
    }
}

/// The record of a request of which nothing was served.
fn unserved(id: RequestId, spec: &RequestSpec, engine: EngineIndex, delivered: SimTime, end: Ending) -> RequestRecord {
    RequestRecord {
        request: id,
        profile: spec.profile,
        client: spec.client,
        session: spec.session,
        turn: spec.turn,
        engine,
        prefill: None,
        prompt_tokens: spec.prompt_tokens,
        encoder_tokens: spec.encoder_tokens,
        max_output_tokens: spec.max_output_tokens,
        output_tokens: 0,
        target_output_tokens: spec.output_tokens,
        priority: spec.priority,
        streaming: spec.streaming,
        timeout: spec.timeout,
        prefix: spec.prefix.clone(),
        tail_key: spec.tail_key,
        arrival: spec.arrival,
        delivered: Some(delivered),
        scheduled: None,
        first_token: None,
        last_token: None,
        longest_gap: None,
        completion: end.completion,
        status: end.status,
        reason: end.reason,
        prefix_event: PrefixEvent::None,
        cached_tokens: 0,
        prefilled_tokens: 0,
        recomputed_tokens: 0,
        preemptions: 0,
    }
}

/// The record of a request that has a sequence.
pub fn record_of(request: &Request, sequence: &Sequence, end: Ending) -> RequestRecord {
    RequestRecord {
        output_tokens: sequence.generated,
        scheduled: sequence.scheduled.get(),
        first_token: sequence.first_token.get(),
        last_token: sequence.last_token.get(),
        longest_gap: sequence.longest_gap.get(),
        prefill: sequence.prefill.clone(),
        prefix_event: sequence.prefix_event,
        cached_tokens: sequence.cached_tokens,
        prefilled_tokens: sequence.prefilled_tokens,
        recomputed_tokens: sequence.recomputed_tokens,
        preemptions: sequence.preemptions,
        ..unserved(request.id, &request.spec, sequence.engine, request.delivered, end)
    }
}
