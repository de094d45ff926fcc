//! Arrivals: which request is next, where it goes, and whether it is taken.

use oracle_components::record::{Reason, RemotePrefill, Status};
use oracle_components::request::RequestSpec;
use oracle_components::scenario::EngineSpec;

use super::World;
use super::engine::Engine;
use super::links::send_whole;
use super::policies::vllm::refusal;
use super::sequence::Sequence;

impl World<'_> {
    /// Everything that arrives now.
    pub fn take_arrivals(&mut self) {
        while let Some(spec) = self.next_arrival() {
            self.arrive(spec);
        }
    }

    /// Takes out the next request that arrives now: open-loop ones first, then follow-ups as they were returned.
    fn next_arrival(&mut self) -> Option<RequestSpec> {
        if self.next_open.as_ref().is_some_and(|spec| spec.arrival <= self.now) {
            return std::mem::replace(&mut self.next_open, self.source.next_request());
        }
        let due = self.follow_ups.iter().position(|spec| spec.arrival <= self.now);
        due.map(|at| self.follow_ups.remove(at))
    }

    fn arrive(&mut self, spec: RequestSpec) {
        let id = self.arrived;
        self.arrived += 1;
        self.coverage.note("requests");
        let loads: Vec<u32> = self.engines.iter().map(Engine::load).collect();
        let index = self.router.route(spec.session, &loads);
        let engine_spec = &self.scenario.engines[index as usize];
        let bytes = f64::from(spec.prompt_tokens) * self.scenario.prompt_bytes_per_token;
        let path = &engine_spec.ingress;
        let delivered = send_whole(&mut self.links, path, self.now, bytes);
        let mut sequence = Sequence::new(id, spec, index, delivered);
        let target = target_tokens(&sequence.spec, engine_spec);
        let unanswered = self.engines[index as usize].unanswered(self.now);
        let is_full = engine_spec.scheduler.max_num_queued_reqs.is_some_and(|most| unanswered >= most);
        let refused = is_full.then_some(Reason::QueueFull);
        match refused.or_else(|| refusal(&sequence.spec, target, engine_spec, self.scenario)) {
            Some(reason) => {
                self.coverage.note(reason.as_str());
                self.close(sequence.end(delivered, Status::Failed, reason));
            }
            None => {
                sequence.target = target;
                if engine_spec.scheduler.load_time().is_some() {
                    let prefill = RemotePrefill { computed: None, load_started: None, loaded: None };
                    sequence.record.prefill = Some(Box::new(prefill));
                }
                self.engines[index as usize].in_transit.push_back(sequence);
            }
        }
    }
}

/// Tokens that will be generated within `max_model_len`; where blocks are kept for others, a single one.
fn target_tokens(spec: &RequestSpec, engine: &EngineSpec) -> u64 {
    let room = engine.scheduler.max_model_len.saturating_sub(spec.prompt_tokens);
    let most = if engine.scheduler.hold_time().is_some() { 1 } else { u32::MAX };
    u64::from(spec.output_tokens.min(room).min(most))
}
