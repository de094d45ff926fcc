//! The end of a step: what it computed and generated, token by token, and who has finished.

use oracle_components::record::{Reason, Status};
use oracle_components::request::RequestId;
use oracle_components::scenario::{EngineIndex, Role};

use super::World;
use super::boundary::Work;
use super::kv::prefix::Leaving;
use super::links::{send_flow, send_whole};
use super::sequence::Sequence;

impl World<'_> {
    /// Ends the step that an engine runs, and takes those that have their last token off it.
    pub fn end_step(&mut self, index: usize) {
        let engine = &mut self.engines[index];
        let spec = &self.scenario.engines[index];
        let step = engine.step.take().expect("a step that ends");
        engine.last_step = step.start;
        engine.totals.steps += 1;
        engine.totals.busy += step.end - step.start;

        let (mut emitters, mut computed) = (Vec::new(), Vec::new());
        for &(id, work) in &step.work {
            let at = engine.position(id);
            let sequence = &mut engine.running[at];
            match work {
                Work::Decode => sequence.computed += 1,
                Work::Chunk(chunk) => {
                    sequence.computed += chunk;
                    sequence.record.prefilled_tokens += chunk as u32;
                    engine.totals.prefill_tokens += chunk;
                }
            }
            if sequence.computed == sequence.known() && engine.role == Role::Prefill {
                computed.push(id);
            } else if sequence.computed == sequence.known() {
                sequence.generated += 1;
                sequence.generated_in_residence += 1;
                engine.totals.output_tokens += 1;
                emitters.push(at);
                if let Some(last) = sequence.last_token_step.replace(step.end) {
                    *self.gaps.entry((step.end - last).0).or_default() += 1;
                }
            }
        }

        let streamed = emitters.iter().filter(|&&at| engine.running[at].spec.streaming);
        let streamed = streamed.count();
        let mut received = step.end;
        if streamed > 0 {
            if engine.lane_free > step.end {
                self.coverage.note("flow waits for its lane");
            }
            let bytes = streamed as f64 * spec.response_bytes_per_token;
            let lane = &mut engine.lane_free;
            received = send_flow(&mut self.links, &spec.egress, lane, step.end, bytes);
        }
        for at in emitters {
            let sequence = &mut engine.running[at];
            let at_client = if sequence.spec.streaming { received } else { step.end };
            sequence.record.first_token.get_or_insert(at_client);
            sequence.record.last_token = Some(at_client);
        }
        computed.sort_unstable();
        for id in computed {
            self.engines[index].let_go_of_computed(id, index as EngineIndex, self.now);
        }
        self.finish_sequences(index);
        self.engines[index].check();
    }

    fn finish_sequences(&mut self, index: usize) {
        let spec = &self.scenario.engines[index];
        let done = |sequence: &&Sequence| sequence.generated == sequence.target;
        let finished = self.engines[index].running.iter().filter(done);
        let mut finished: Vec<RequestId> = finished.map(Sequence::id).collect();
        finished.sort_unstable();
        for id in finished {
            let engine = &mut self.engines[index];
            let at = engine.position(id);
            let mut sequence = engine.running.remove(at);
            engine.release(&mut sequence, Leaving::ForGood);
            let completion = if sequence.spec.streaming {
                sequence.record.last_token.expect("it generated a token")
            } else {
                let bytes = sequence.generated as f64 * spec.response_bytes_per_token;
                send_whole(&mut self.links, &spec.egress, self.now, bytes)
            };
            let reason = if sequence.target < u64::from(sequence.spec.output_tokens) {
                self.coverage.note("output cut at max_model_len");
                Reason::LengthLimit
            } else {
                Reason::Finished
            };
            if sequence.deadline() <= self.now {
                self.coverage.note("finished after its deadline, before it was looked at");
            }
            self.close(sequence.end(completion, Status::Success, reason));
        }
    }
}
