//! The end of a step: what it computed and generated, token by token, and who has finished.

use oracle_components::SimTime;
use oracle_components::record::{Reason, Status};
use oracle_components::request::RequestId;
use oracle_components::scenario::Role;

use super::World;
use super::boundary::Work;
use super::engine::{Engine, Step};
use super::links::{send_flow, send_whole};
use super::sequence::Sequence;
use super::series::Amounts;

impl Engine {
    /// Adds preemptions of a boundary after which it is idle to the time series: no step will.
    pub fn note_idle_preemptions(&mut self, width: SimTime) {
        let preempted = self.totals.preemptions - self.preemptions_in_series;
        if self.step.is_none() && preempted > 0 {
            self.preemptions_in_series += preempted;
            let amounts = Amounts { preemptions: preempted as f64, ..Amounts::default() };
            self.series.add(self.boundary, self.boundary, width, &amounts);
        }
    }

    /// What happened in the step that ends now, but for its tokens. Nobody has come or gone since it began; who was delivered in the
    /// meantime waits, though only the boundary sees it.
    fn happened_in(&mut self, step: &Step) -> Amounts {
        let seconds = (step.end - step.start).as_secs_f64();
        let delivered = self.in_transit.iter().map(|sequence| sequence.delivered);
        let waited = delivered.map(|delivered| step.end.since(delivered.max(step.start)).as_secs_f64());
        let preempted = self.totals.preemptions;
        let new_preemptions = preempted - std::mem::replace(&mut self.preemptions_in_series, preempted);
        Amounts {
            running_s: self.running.len() as f64 * seconds,
            waiting_s: self.waiting_or_loading() as f64 * seconds + waited.sum::<f64>(),
            held_s: self.pool.held_blocks() as f64 * seconds,
            steps: 1.0,
            preemptions: new_preemptions as f64,
            busy_s: seconds,
            flops: step.hardware_work.flops_per_gpu,
            bytes: step.hardware_work.memory_bytes_per_gpu,
            ..Amounts::default()
        }
    }
}

impl World<'_> {
    /// Ends the step that an engine runs, and takes those that have their last token off it.
    pub fn end_step(&mut self, index: usize) {
        let engine = &mut self.engines[index];
        let spec = &self.scenario.engines[index];
        let step = engine.step.take().expect("a step that ends");
        engine.last_step = step.start;
        engine.totals.steps += 1;
        engine.totals.busy += step.end - step.start;
        engine.totals.encoder_tokens += step.encoder_tokens;
        if let Some(hold) = step.hold {
            engine.totals.held[hold as usize] += step.end - step.start;
        }
        let has_chunks = step.work.iter().any(|(_, work)| matches!(work, Work::Chunk(_)));
        let kind = if has_chunks { &mut engine.totals.prefill } else { &mut engine.totals.decode };
        kind.steps += 1;
        kind.busy += step.end - step.start;
        kind.flops += step.hardware_work.flops_per_gpu;
        kind.bytes += step.hardware_work.memory_bytes_per_gpu;
        let happened = engine.happened_in(&step);
        let (prefilled, generated) = (engine.totals.prefill_tokens, engine.totals.output_tokens);

        let mut emitters = Vec::new();
        let mut streamed_tokens = 0;
        for &(id, work) in &step.work {
            let chunk = if let Work::Chunk(chunk) = work { chunk } else { 0 };
            engine.totals.prefill_tokens += chunk;
            let Some(at) = engine.running.iter().position(|sequence| sequence.id() == id) else {
                self.coverage.note("token for nobody");
                continue;
            };
            let sequence = &mut engine.running[at];
            sequence.computed += work.tokens();
            sequence.took = Some((step.end, work.tokens()));
            sequence.record.prefilled_tokens += chunk as u32;
            if work == Work::Decode {
                sequence.last_decode = Some(step.end);
            }
            if sequence.computed < sequence.known() {
                continue;
            }
            let is_last = engine.role == Role::Prefill || sequence.generated + 1 >= sequence.target;
            if sequence.deadline() <= step.end {
                self.coverage.note("token of a client that has given up");
                sequence.withheld = true;
                sequence.is_done = is_last;
            } else if engine.role == Role::Prefill {
                sequence.is_done = true;
            } else {
                sequence.generated += 1;
                sequence.generated_in_residence += 1;
                engine.totals.output_tokens += 1;
                let held_back = sequence.generated - sequence.sent;
                let interval = if sequence.spec.streaming { u64::from(spec.scheduler.stream_interval) } else { 1 };
                if sequence.sent > 0 && held_back < interval && sequence.generated < sequence.target {
                    self.coverage.note("token held back for its chunk");
                    continue;
                }
                if sequence.sent > 0 && held_back < interval {
                    self.coverage.note("last chunk shorter than the interval");
                }
                emitters.push(at);
                sequence.sent = sequence.generated;
                if sequence.spec.streaming {
                    streamed_tokens += held_back;
                }
                if let Some(last) = sequence.last_sent_step.replace(step.end) {
                    *self.gaps.entry((step.end - last).0).or_default() += 1;
                }
            }
        }

        let happened = Amounts {
            prefill_tokens: (engine.totals.prefill_tokens - prefilled) as f64,
            output_tokens: (engine.totals.output_tokens - generated) as f64,
            ..happened
        };
        engine.series.add(step.start, step.end, self.scenario.series_interval, &happened);

        let mut received = step.end;
        if streamed_tokens > 0 {
            if engine.lane_free > step.end {
                self.coverage.note("flow waits for its lane");
            }
            let bytes = streamed_tokens as f64 * spec.response_bytes_per_token;
            let lane = &mut engine.lane_free;
            received = send_flow(&mut self.links, &spec.egress, lane, (step.start, step.end), bytes);
        }
        for at in emitters {
            let sequence = &mut engine.running[at];
            let at_client = if sequence.spec.streaming { received } else { step.end };
            sequence.record.first_token.get_or_insert(at_client);
            if let Some(last) = sequence.record.last_token.filter(|_| sequence.spec.streaming) {
                sequence.record.longest_gap = sequence.record.longest_gap.max(Some(at_client.since(last)));
            }
            sequence.record.last_token = Some(at_client);
        }
        self.count_work(index, &step);
        self.finish_sequences(index);
        self.engines[index].check();
    }

    /// What GPUs and links did in a step.
    fn count_work(&mut self, index: usize, step: &Step) {
        let spec = &self.scenario.engines[index];
        let work = &step.hardware_work;
        for &gpu in &spec.gpus {
            let totals = &mut self.gpus[gpu as usize];
            totals.busy += SimTime::from_secs_f64((step.end - step.start).as_secs_f64() * spec.gpu_share);
            totals.flops += work.flops_per_gpu;
            totals.bytes += work.memory_bytes_per_gpu;
        }
        let hops = spec.rings.iter().flatten().map(|hop| (hop, work.ring_bytes));
        let sends = spec.stage_paths.iter().map(|path| (path, work.stage_bytes));
        let experts = spec.expert_parallel.iter().flat_map(|experts| &experts.hops);
        let exchanges = experts.map(|hop| (hop, work.exchange_bytes));
        for (path, bytes) in hops.chain(sends).chain(exchanges) {
            for &link in path {
                self.links[link as usize].count_collectives(bytes, (step.start, step.end));
            }
        }
    }

    /// Those that have their last token have ended, by request id. They keep slots and blocks until they are let go of.
    fn finish_sequences(&mut self, index: usize) {
        let spec = &self.scenario.engines[index];
        let done = |sequence: &&Sequence| sequence.generated == sequence.target && spec.role != Role::Prefill;
        let finished = self.engines[index].running.iter().filter(done);
        let mut finished: Vec<RequestId> = finished.map(Sequence::id).collect();
        finished.sort_unstable();
        for id in finished {
            let engine = &mut self.engines[index];
            let at = engine.position(id);
            let sequence = &mut engine.running[at];
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
            // Only an end that can be foreseen keeps the next step from computing one more token.
            sequence.is_done = reason == Reason::LengthLimit
                || sequence.generated >= u64::from(sequence.spec.max_output_tokens)
                || spec.scheduler.hold_time().is_some();
            sequence.leaving = Some((completion, reason));
        }
    }

    /// Those that have ended leave, by request id.
    pub fn let_go_of_finished(&mut self, index: usize) {
        let engine = &mut self.engines[index];
        let everyone = engine.running.iter().chain(&engine.waiting);
        let mut leaving: Vec<RequestId> =
            everyone.filter(|sequence| sequence.leaving.is_some()).map(Sequence::id).collect();
        leaving.sort_unstable();
        for id in leaving {
            let engine = &mut self.engines[index];
            let mut sequence = match engine.waiting.iter().position(|sequence| sequence.id() == id) {
                Some(at) => engine.waiting.remove(at).expect("it was found there"),
                None => {
                    let at = engine.position(id);
                    engine.running.remove(at)
                }
            };
            engine.release_finished(&mut sequence, self.now);
            let (completion, reason) = sequence.leaving.expect("it is one of them");
            self.close(sequence.end(completion, Status::Success, reason));
        }
    }
}
