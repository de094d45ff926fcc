//! Handoff: what passes between prefill and decode engines at an instant, once all that are due then have had their
//! boundaries.
//!
//! Loads that were started are booked on the links, and with their ends the prefill engines' holds; then prompts that were
//! computed go to decode engines. What an engine sees of it comes 1 ns later at the earliest, so that the order of engines
//! within an instant does not matter. Runs only where there are pools.

use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;
use oracle_components::SimTime;
use oracle_components::disaggregation::{Handoffs, Hold};
use oracle_components::record::Cargo;
use oracle_components::request::Request;
use oracle_components::scenario::{EngineIndex, KvPaths, Role, Scenario};
use oracle_components::sequence::{Phase, Sequence};

use crate::arrival::ArrivalParts;
use crate::kv::block_keys;
use crate::memory::kv_bytes_per_token;
use crate::routing::Router;
use crate::scheduling::{NEXT_INSTANT, load_blocks};
use crate::transfer::{Network, Parcel};
use crate::world::Shared;

/// How pools are connected.
#[derive(Resource)]
pub struct HandoffRouting {
    router: Router,
    flows: KvPaths,
    /// By engine.
    kv_bytes_per_token: Vec<f64>,
}

impl HandoffRouting {
    /// That of a scenario, if it has pools.
    #[must_use]
    pub fn of(scenario: &Scenario) -> Option<Self> {
        scenario.engines.iter().any(|engine| engine.role != Role::Both).then(|| Self {
            router: Router::of_handoffs(scenario),
            flows: scenario.kv_paths.clone(),
            kv_bytes_per_token: scenario.engines.iter().map(|engine| kv_bytes_per_token(&engine.model)).collect(),
        })
    }
}

/// Passes on what the engines that are due have for each other.
pub fn hand_off(mut params: HandoffParams) {
    for position in 0..params.shared.calendar.due.len() {
        params.book_loads(position);
    }
    for position in 0..params.shared.calendar.due.len() {
        params.hand_off_computed(position);
    }
    params.shared.ports.hand_over_rows();
}

/// What a handoff touches.
#[derive(SystemParam)]
pub struct HandoffParams<'w, 's> {
    shared: ResMut<'w, Shared>,
    routing: ResMut<'w, HandoffRouting>,
    engines: Query<'w, 's, (ArrivalParts, &'static mut Handoffs)>,
    sequences: Query<'w, 's, &'static mut Sequence>,
    requests: Query<'w, 's, &'static Request>,
    network: Network<'w, 's>,
}

impl HandoffParams<'_, '_> {
    /// Books the loads that a decode engine has started, and ends the holds of what it will load or has abandoned.
    fn book_loads(&mut self, position: usize) {
        let (now, decode) = self.shared.calendar.due[position];
        let entity = self.shared.calendar.engines[decode as usize];
        let Ok((_, mut handoffs)) = self.engines.get_mut(entity) else { return };
        let abandoned = std::mem::take(&mut handoffs.abandoned);
        let started = std::mem::take(&mut handoffs.started);
        for sequence in abandoned {
            self.end_hold(sequence, now + NEXT_INSTANT);
        }
        for entity in started {
            let loaded = self.load(entity, decode, now);
            self.end_hold(entity, loaded);
        }
    }

    /// Sends a KV cache on its way: when all of it is there.
    fn load(&mut self, entity: Entity, decode: EngineIndex, now: SimTime) -> SimTime {
        let Shared { calendar, ports, links, .. } = &mut *self.shared;
        let engine = calendar.engines[decode as usize];
        let (mut parts, mut handoffs) = self.engines.get_mut(engine).expect("a decode engine has loads");
        let mut sequence = self.sequences.get_mut(entity).expect("a loading sequence lives");
        let id = sequence.id;
        let block_tokens = parts.engine.scheduler.block_tokens;
        let tokens = load_blocks(&sequence, block_tokens) as f64 * f64::from(block_tokens);
        let from = computed_by(&sequence);
        let prefill = sequence.prefill.as_mut().expect("its prompt was computed elsewhere");
        let flows = &self.routing.flows[&(from, decode)];
        let bytes = tokens * self.routing.kv_bytes_per_token[decode as usize] / flows.len() as f64;
        let parcel = Parcel { request: id, cargo: Cargo::KvCache, bytes };
        let arrivals = flows.iter().map(|path| self.network.send_through(path, links, parcel, now, ports));
        let loaded = arrivals.fold(now + NEXT_INSTANT, SimTime::max);
        prefill.loaded = Some(loaded);
        handoffs.loading.insert((loaded, id), entity);
        parts.look_up_at(decode, loaded, loaded, calendar);
        loaded
    }

    /// The prefill engine need not hold a sequence's KV cache any longer than `until`. The sequence may have ended at this instant.
    fn end_hold(&mut self, entity: Entity, until: SimTime) {
        let sequence = self.sequences.get(entity).expect("it has ended no earlier than now");
        let prefill = computed_by(sequence);
        let request = self.requests.get(sequence.request).expect("a sequence's request lives as long as it does");
        let engine = self.shared.calendar.engines[prefill as usize];
        let (mut parts, mut handoffs) = self.engines.get_mut(engine).expect("a prefill engine holds");
        let scheduler = &parts.engine.scheduler;
        let keys = block_keys(request, scheduler.prefix_caching, scheduler.block_tokens);
        let (prefix, tail_key) = (keys.segments.to_vec(), keys.tail_key);
        handoffs.holds.insert((until, sequence.id), Hold { tokens: sequence.prompt_tokens, prefix, tail_key });
        parts.look_up_at(prefill, until, until, &mut self.shared.calendar);
    }

    /// Sends the requests whose prompts a prefill engine has computed to decode engines.
    fn hand_off_computed(&mut self, position: usize) {
        let (now, prefill) = self.shared.calendar.due[position];
        let entity = self.shared.calendar.engines[prefill as usize];
        let Ok((_, mut handoffs)) = self.engines.get_mut(entity) else { return };
        for (_, entity) in std::mem::take(&mut handoffs.computed) {
            let mut sequence = self.sequences.get_mut(entity).expect("a computed sequence lives");
            let request = self.requests.get(sequence.request).expect("a sequence's request lives as long as it does");
            let Shared { calendar, ports, dispatch, links, .. } = &mut *self.shared;
            let dispatch = dispatch.as_mut().expect("pools are where requests arrive");
            let decode = self.routing.router.route(&request.spec, &calendar.loads, now);
            calendar.loads[prefill as usize] -= 1;
            dispatch.router.left(prefill, now);
            dispatch.answered(prefill, sequence.deadline, sequence.id);
            calendar.loads[decode as usize] += 1;
            let engine = calendar.engines[decode as usize];
            let (mut parts, _) = self.engines.get_mut(engine).expect("a decode engine takes part");
            let bytes = f64::from(sequence.prompt_tokens) * dispatch.prompt_bytes_per_token;
            let parcel = Parcel { request: sequence.id, cargo: Cargo::Prompt, bytes };
            let ingress = &dispatch.entrances[decode as usize].ingress;
            let delivered = self.network.send(ingress, links, parcel, now, ports);
            let delivered = delivered.max(now + NEXT_INSTANT);
            sequence.engine = decode;
            sequence.phase = Phase::Waiting;
            parts.send(decode, entity, (delivered, sequence.deadline), calendar);
        }
    }
}

/// The engine that computed a sequence's prompt for another.
fn computed_by(sequence: &Sequence) -> EngineIndex {
    let computed = sequence.prefill.as_ref().and_then(|prefill| prefill.computed);
    computed.expect("only what was computed on a prefill engine passes between engines").engine
}
