//! One engine and all that is on it: when it wakes, and how it gets from a batch to a step that runs.

use std::collections::VecDeque;
use std::sync::Arc;

use oracle_components::SimTime;
use oracle_components::kv_groups::KvGroups;
use oracle_components::record::{EngineTotals, Hold};
use oracle_components::request::RequestId;
use oracle_components::scenario::{EngineSpec, Role, Scenario, SchedulerSpec};
use oracle_components::work::StepWork;
use oracle_systems::costing::{StepCost, StepShape};

use super::boundary::Work;
use super::coverage::Coverage;
use super::kv::pool::{BlockId, Pool};
use super::policies::vllm;
use super::pools::Handoffs;
use super::sequence::Sequence;
use super::series::Series;

/// A step that is running.
pub struct Step {
    /// When it began.
    pub start: SimTime,
    /// When it ends.
    pub end: SimTime,
    /// What it computes of whom.
    pub work: Vec<(RequestId, Work)>,
    /// Tokens of images that it encodes.
    pub encoder_tokens: u64,
    /// What GPUs and links do for it.
    pub hardware_work: StepWork,
    /// What holds the waiting queue back while it runs.
    pub hold: Option<Hold>,
}

/// An engine with everything on it.
pub struct Engine {
    /// What of a request it serves.
    pub role: Role,
    /// Its limits.
    pub scheduler: SchedulerSpec,
    /// What is on its way to it, in order of arrival.
    pub in_transit: VecDeque<Sequence>,
    /// What has come and does not run.
    pub waiting: VecDeque<Sequence>,
    /// What runs, in order of admission.
    pub running: Vec<Sequence>,
    /// What is between it and engines of the other role.
    pub handoffs: Handoffs,
    /// The step that is running, if any.
    pub step: Option<Step>,
    /// When the last step that ended began.
    pub last_step: SimTime,
    /// The last boundary.
    pub boundary: SimTime,
    /// The batch of that boundary was formed when the step that ended there began.
    pub formed_ahead: bool,
    /// Steps that had prompts in them, and the others.
    pub steps_formed: u64,
    /// The last of them with a prompt, counted from 1.
    pub last_prefill_step: Option<u64>,
    /// The head of the queue waits for the interval between prompts, as of the last batch.
    pub interval_holds_head: bool,
    /// The last step that could admit left requests waiting.
    pub is_full: bool,
    /// When the lane of streamed tokens is free.
    pub lane_free: SimTime,
    /// Sums over the run.
    pub totals: EngineTotals,
    /// Its time series.
    pub series: Series,
    /// Preemptions that are in the time series.
    pub preemptions_in_series: u64,
    /// Its KV blocks.
    pub pool: Pool,
    /// How layers of several kinds share them, if they do.
    pub groups: Option<Arc<KvGroups>>,
    /// States that the step that is being formed computes.
    pub new_states: Vec<BlockId>,
    /// Nothing of the head fits within the blocks at whose ends states are kept, as of the last batch.
    pub head_is_cut_to_nothing: bool,
    /// What happened here, for the tests to know.
    pub coverage: Coverage,
    cost: StepCost,
}

impl Engine {
    /// An empty engine.
    pub fn new(spec: &EngineSpec, scenario: &Scenario) -> Self {
        Self {
            role: spec.role,
            scheduler: spec.scheduler,
            in_transit: VecDeque::new(),
            waiting: VecDeque::new(),
            running: Vec::new(),
            handoffs: Handoffs::default(),
            step: None,
            last_step: SimTime::ZERO,
            boundary: SimTime::ZERO,
            formed_ahead: false,
            steps_formed: 0,
            last_prefill_step: None,
            interval_holds_head: false,
            is_full: false,
            lane_free: SimTime::ZERO,
            totals: EngineTotals::default(),
            series: Series::default(),
            preemptions_in_series: 0,
            pool: Pool::new(spec.kv_blocks),
            groups: spec.kv_groups.clone(),
            new_states: Vec::new(),
            head_is_cut_to_nothing: false,
            coverage: Coverage::default(),
            cost: StepCost::new(spec, scenario),
        }
    }

    /// Requests routed here that have not ended.
    pub fn load(&self) -> u32 {
        (self.in_transit.len() + self.waiting_or_loading() + self.running.len()) as u32
    }

    /// Requests that were let in and have neither ended nor been given up by now.
    pub fn unanswered(&self, now: SimTime) -> u32 {
        let here = self.in_transit.iter().chain(&self.waiting).chain(&self.handoffs.loading).chain(&self.running);
        here.filter(|sequence| sequence.deadline() > now).count() as u32
    }

    /// What has been delivered and does not run.
    pub fn waiting_or_loading(&self) -> usize {
        self.waiting.len() + self.handoffs.loading.len()
    }

    /// Looks at how many wait.
    pub fn note_waiting(&mut self) {
        self.totals.waiting_peak = self.totals.waiting_peak.max(self.waiting_or_loading() as u64);
    }

    /// When it wakes, if it is idle and does.
    pub fn wakes_at(&self) -> Option<SimTime> {
        let delivery = self.in_transit.front().map(|first| first.delivered);
        delivery.into_iter().chain(self.handoffs.next_time()).min()
    }

    /// Tokens a block.
    pub fn block_tokens(&self) -> u64 {
        u64::from(self.scheduler.block_tokens)
    }

    /// Blocks that so many tokens fill or begin.
    pub fn blocks_for(&self, tokens: u64) -> u64 {
        tokens.div_ceil(self.block_tokens())
    }

    /// Where a running sequence stands in the order of admission.
    pub fn position(&self, id: RequestId) -> usize {
        let found = self.running.iter().position(|other| other.id() == id);
        found.expect("work is done for running sequences only")
    }

    /// Forms the next step and starts it, as it was formed when the last one began; none if there is nothing to do.
    pub fn schedule_ahead(&mut self, now: SimTime) {
        let work = vllm::form(self, now);
        if !work.is_empty() {
            self.start(now, work);
        }
    }

    /// Forms the next step and starts it; none if there is nothing to do.
    pub fn schedule(&mut self, now: SimTime) {
        loop {
            let preempted_before = self.totals.preemptions;
            let work = vllm::form(self, now);
            if !work.is_empty() {
                self.start(now, work);
                return;
            }
            if self.totals.preemptions == preempted_before {
                assert!(self.running.is_empty(), "idle with sequences running");
                let blocks_come_back = !self.handoffs.loading.is_empty() || !self.handoffs.held.is_empty();
                assert!(self.waiting.is_empty() || blocks_come_back, "idle with requests waiting");
                assert!(!self.handoffs.is_ready(now), "idle with a sequence that could run");
                return;
            }
            // The only prefill that could have run preempted itself; with its blocks back, others can.
            self.coverage.note("empty step, scheduled again");
        }
    }

    fn start(&mut self, now: SimTime, work: Vec<(RequestId, Work)>) {
        let mut shape = StepShape::default();
        let mut decode_context = 0;
        let mut tokens = 0;
        let mut noted = Vec::new();
        for &(id, one) in &work {
            let sequence = &self.running[self.position(id)];
            match one {
                Work::Decode => {
                    tokens += 1;
                    shape.decode_sequences += 1;
                    shape.sampled_rows += 1;
                    decode_context += sequence.computed + 1;
                }
                Work::Chunk(chunk) => {
                    tokens += chunk;
                    let (encoder_tokens, why) = self.encoder_tokens(sequence);
                    shape.encoder_tokens += encoder_tokens;
                    noted.extend(why);
                    shape.prefill_sequences += 1;
                    shape.prefill_tokens += chunk as u32;
                    shape.prefill_pairs += chunk * sequence.computed + chunk * (chunk + 1) / 2;
                    shape.prefill_context_tokens += sequence.computed + chunk;
                    let context = (sequence.computed + chunk) as u32;
                    shape.prefill_longest_context = shape.prefill_longest_context.max(context);
                    if sequence.computed + chunk == sequence.known() {
                        shape.sampled_rows += 1;
                    }
                }
            }
        }
        noted.into_iter().for_each(|what| self.coverage.note(what));
        let encoder_tokens = shape.encoder_tokens;
        assert!(tokens <= u64::from(self.scheduler.max_num_batched_tokens));
        self.steps_formed += 1;
        assert!(self.running.len() <= self.scheduler.max_num_seqs as usize);
        self.totals.running_peak = self.totals.running_peak.max(self.running.len() as u64);
        let price = self.cost.prepare(&shape);
        let end = now + price.duration(decode_context);
        let hold = self.hold(u64::from(self.scheduler.max_num_batched_tokens) - tokens);
        self.step =
            Some(Step { start: now, end, work, encoder_tokens, hardware_work: price.work(decode_context), hold });
        self.check();
    }

    /// What the vision encoder computes before a chunk of a sequence, and what is to be said of it.
    fn encoder_tokens(&self, sequence: &Sequence) -> (u64, Option<&'static str>) {
        let tokens = u64::from(sequence.spec.encoder_tokens);
        let left_of_prompt = u64::from(sequence.spec.prompt_tokens).saturating_sub(sequence.computed);
        if tokens == 0 {
            (0, None)
        } else if sequence.record.prefilled_tokens > 0 {
            (0, sequence.was_preempted().then_some("images encoded before a preemption"))
        } else if sequence.computed > 0 && left_of_prompt <= self.block_tokens() {
            (0, Some("images in the hit"))
        } else {
            (
                tokens,
                Some(if sequence.record.prefill.is_some() {
                    "images encoded where the prompt was loaded"
                } else {
                    "images encoded"
                }),
            )
        }
    }

    /// What holds the waiting queue back while a step runs that leaves so much of the budget.
    fn hold(&self, budget_left: u64) -> Option<Hold> {
        if self.running.len() == self.scheduler.max_num_seqs as usize {
            Some(Hold::Seats)
        } else if self.waiting.is_empty() || self.interval_holds_head {
            None
        } else if budget_left == 0 || self.head_is_cut_to_nothing || vllm::is_too_long_to_fit(self, budget_left) {
            Some(Hold::TokenBudget)
        } else {
            Some(Hold::KvCache)
        }
    }

    /// Conservation: blocks are free or held by those who say so, and a sequence holds what its tokens need.
    pub fn check(&self) {
        let held = self.running.iter().chain(self.handoffs.holders());
        let blocks = held.flat_map(|sequence| {
            let tables = sequence.tables.iter().flat_map(|table| table.entries.iter().flatten());
            sequence.blocks.iter().chain(tables)
        });
        self.pool.check(blocks);
        for sequence in &self.running {
            let scheduled = self.step.as_ref().map_or(0, |step| {
                let mine = step.work.iter().find(|(id, _)| *id == sequence.id());
                mine.map_or(0, |(_, work)| work.tokens())
            });
            let tokens = sequence.computed + scheduled;
            match &self.groups {
                None => assert_eq!(sequence.blocks.len() as u64, self.blocks_for(tokens)),
                Some(groups) => {
                    for (group, table) in groups.groups.iter().zip(&sequence.tables) {
                        assert_eq!(table.entries.len() as u64, tokens.div_ceil(group.block_tokens.into()));
                    }
                }
            }
            assert!(tokens <= sequence.known());
        }
        for sequence in &self.waiting {
            assert!(sequence.blocks.is_empty() && sequence.tables.is_empty() && sequence.computed == 0);
        }
    }
}
