//! Prefill and decode pools: prompts handed off, KV caches held until they are loaded, loads on the way.

use oracle_components::SimTime;
use oracle_components::record::{PromptComputed, RemotePrefill};
use oracle_components::request::RequestId;
use oracle_components::scenario::{EngineIndex, QueuePolicy, Role};
use oracle_systems::memory::kv_bytes_per_token;

use super::World;
use super::boundary::Work;
use super::engine::Engine;
use super::kv::prefix::Leaving;
use super::links::{send_through, send_whole};
use super::sequence::Sequence;

/// A KV cache that a prefill engine holds for a sequence that has gone on.
pub struct Hold {
    /// When it may go, once that is known.
    pub until: Option<SimTime>,
    /// The sequence as it was, blocks included.
    pub sequence: Sequence,
}

/// What is between an engine and those of the other role.
#[derive(Default)]
pub struct Handoffs {
    /// Prefill: sequences whose prompts were computed at this instant.
    pub computed: Vec<Sequence>,
    /// Prefill: what it holds.
    pub held: Vec<Hold>,
    /// Decode: loading sequences, and loaded ones without a slot, in the order in which they started.
    pub loading: Vec<Sequence>,
    /// Decode: what it will never load.
    pub abandoned: Vec<(EngineIndex, RequestId)>,
}

impl Handoffs {
    /// When a load or a hold ends, the first of them.
    pub fn next_time(&self) -> Option<SimTime> {
        let loads = self.loading.iter().filter_map(Sequence::loaded);
        loads.chain(self.held.iter().filter_map(|hold| hold.until)).min()
    }

    /// Those that hold blocks here.
    pub fn holders(&self) -> impl Iterator<Item = &Sequence> {
        self.loading.iter().chain(self.held.iter().map(|hold| &hold.sequence))
    }

    /// Whether a loaded sequence has no slot.
    pub fn is_ready(&self, now: SimTime) -> bool {
        self.next_ready(QueuePolicy::Fcfs, now).is_some()
    }

    /// Where the loaded sequence is that is the next to get a slot.
    pub fn next_ready(&self, policy: QueuePolicy, now: SimTime) -> Option<usize> {
        let is_ready = |&at: &usize| self.loading[at].loaded().is_some_and(|loaded| loaded <= now);
        let ready = (0..self.loading.len()).filter(is_ready);
        match policy {
            QueuePolicy::Fcfs => ready.min_by_key(|&at| (self.loading[at].loaded(), self.loading[at].id())),
            QueuePolicy::Priority => ready.min_by_key(|&at| self.loading[at].priority_key()),
        }
    }
}

impl Engine {
    /// Releases what need not be held any longer.
    pub fn end_holds(&mut self, now: SimTime) {
        let over = |hold: &Hold| hold.until.filter(|&until| until <= now).map(|until| (until, hold.sequence.id()));
        while let Some(first) = self.handoffs.held.iter().filter_map(over).min() {
            let at =
                self.handoffs.held.iter().position(|hold| over(hold) == Some(first)).expect("the first is one of them");
            let mut sequence = self.handoffs.held.remove(at).sequence;
            self.coverage.note("held blocks released");
            self.release(&mut sequence, Leaving::ForGood);
        }
    }

    /// Sequences whose prompts were computed leave, in order of ids; their blocks are held.
    pub fn let_go_of_computed(&mut self, index: EngineIndex, end: SimTime) {
        if self.role != Role::Prefill {
            return;
        }
        let is_computed = |sequence: &&Sequence| sequence.is_done && !sequence.withheld;
        let mut computed: Vec<RequestId> = self.running.iter().filter(is_computed).map(Sequence::id).collect();
        computed.sort_unstable();
        for id in computed {
            let at = self.position(id);
            let mut held = self.running.remove(at);
            held.is_done = false;
            let mut gone = held.clone();
            gone.blocks.clear();
            gone.computed = 0;
            let computed = Some(PromptComputed { engine: index, end });
            gone.record.prefill = Some(Box::new(RemotePrefill { computed, load_started: None, loaded: None }));
            self.handoffs.computed.push(gone);
            self.handoffs.held.push(Hold { until: None, sequence: held });
        }
    }

    /// The waiting sequence at `head` takes its blocks and starts to load its KV cache, if there are as many.
    pub fn start_to_load(&mut self, head: usize, now: SimTime) -> bool {
        let blocks = self.waiting[head].known().div_ceil(self.block_tokens());
        let for_prompts = match self.scheduler.rules.loads_leave_room_for_prompts {
            true => self.running.iter().map(|sequence| self.blocks_to_come(sequence)).sum(),
            false => 0,
        };
        let free = self.pool.free_blocks();
        if blocks + self.watermark() + for_prompts > free {
            self.coverage.note(match blocks + self.watermark() > free {
                true => "KV cache waits for blocks to be loaded into",
                false => "KV cache waits for blocks that prompts still need",
            });
            return false;
        }
        self.coverage.note("load started");
        let mut sequence = self.waiting.remove(head).expect("the head waits");
        sequence.blocks = (0..blocks).map(|_| self.pool.allocate()).collect();
        let prefill = sequence.record.prefill.as_mut().expect("its prompt was computed elsewhere");
        prefill.load_started = Some(now);
        prefill.loaded = self.scheduler.load_time().map(|time| (now + time).max(now + SimTime(1)));
        self.handoffs.loading.push(sequence);
        true
    }

    /// Blocks that a running sequence still needs if it computes what is known of it, unless it decodes.
    fn blocks_to_come(&self, sequence: &Sequence) -> u64 {
        let computes = !sequence.is_done && !sequence.decodes();
        if computes { self.blocks_for(sequence.known()) - sequence.blocks.len() as u64 } else { 0 }
    }

    /// Blocks that stay free when somebody is admitted beside others.
    pub fn watermark(&self) -> u64 {
        if self.running.is_empty() { 0 } else { u64::from(self.scheduler.watermark_blocks) }
    }

    /// The blocks of a sequence that has finished go back to the pool, now or when they have been kept for long enough.
    pub fn release_finished(&mut self, sequence: &mut Sequence, now: SimTime) {
        match self.scheduler.hold_time() {
            Some(time) if !sequence.blocks.is_empty() => {
                self.coverage.note("blocks kept for others");
                let until = Some((now + time).max(now + SimTime(1)));
                self.handoffs.held.push(Hold { until, sequence: sequence.clone() });
                sequence.blocks.clear();
            }
            _ => self.release(sequence, Leaving::ForGood),
        }
    }

    /// The loaded sequence at `at` starts to run: it computes the last token of its prompt, whose block it has.
    pub fn admit_loaded(&mut self, at: usize, now: SimTime) -> (RequestId, Work) {
        let mut sequence = self.handoffs.loading.remove(at);
        sequence.computed = sequence.known() - 1;
        if sequence.record.scheduled.is_none() {
            sequence.record.scheduled = Some(now);
            sequence.record.cached_tokens = sequence.computed as u32;
        }
        sequence.loaded_in_residence = true;
        let id = sequence.id();
        self.running.push(sequence);
        (id, Work::Decode)
    }
}

impl World<'_> {
    /// Books the loads that were started now, and ends the holds of KV caches that nobody will load.
    pub fn book_loads(&mut self) {
        for index in 0..self.engines.len() {
            for (prefill, id) in std::mem::take(&mut self.engines[index].handoffs.abandoned) {
                self.end_hold(prefill, id, self.now + SimTime(1));
            }
            let handoffs = &mut self.engines[index].handoffs;
            let mut loading = std::mem::take(&mut handoffs.loading);
            for sequence in loading.iter_mut().filter(|sequence| sequence.loaded().is_none()) {
                let loaded = self.load(index as EngineIndex, sequence);
                let prefill = sequence.record.prefill.as_mut().expect("its prompt was computed elsewhere");
                prefill.loaded = Some(loaded);
                let engine = prefill.computed.expect("computed on a prefill engine").engine;
                let id = sequence.id();
                self.end_hold(engine, id, loaded);
            }
            self.engines[index].handoffs.loading = loading;
        }
    }

    /// When all flows of a KV cache are there.
    fn load(&mut self, decode: EngineIndex, sequence: &Sequence) -> SimTime {
        let prefill = sequence.record.prefill.as_ref().expect("its prompt was computed elsewhere");
        let prefill = prefill.computed.expect("computed on a prefill engine").engine;
        let spec = &self.scenario.engines[decode as usize];
        let tokens = sequence.blocks.len() as f64 * f64::from(spec.scheduler.block_tokens);
        let flows = &self.scenario.kv_paths[&(prefill, decode)];
        let bytes = tokens * kv_bytes_per_token(&spec.model) / flows.len() as f64;
        let mut loaded = self.now + SimTime(1);
        for path in flows {
            loaded = loaded.max(send_through(&mut self.links, path, self.now, bytes));
        }
        loaded
    }

    fn end_hold(&mut self, prefill: EngineIndex, id: RequestId, until: SimTime) {
        let held = &mut self.engines[prefill as usize].handoffs.held;
        let hold = held.iter_mut().find(|hold| hold.sequence.id() == id).expect("held until it is loaded");
        hold.until = Some(until);
    }

    /// Sends requests whose prompts were computed now to decode engines.
    pub fn hand_off(&mut self) {
        let mut computed: Vec<Sequence> = Vec::new();
        for engine in &mut self.engines {
            computed.append(&mut engine.handoffs.computed);
        }
        for mut sequence in computed {
            self.coverage.note("prompt handed off");
            let loads: Vec<u32> = self.engines.iter().map(Engine::load).collect();
            let index = self.decode_router.route(sequence.spec.session, &loads);
            let bytes = f64::from(sequence.spec.prompt_tokens) * self.scenario.prompt_bytes_per_token;
            let path = &self.scenario.engines[index as usize].ingress;
            let delivered = send_whole(&mut self.links, path, self.now, bytes);
            sequence.delivered = delivered.max(self.now + SimTime(1));
            sequence.record.engine = index;
            self.engines[index as usize].in_transit.push_back(sequence);
        }
    }
}
