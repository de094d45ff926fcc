//! One request's decoding stream, as the naive engine keeps it.

use oracle_components::SimTime;
use oracle_components::record::{PrefixEvent, Reason, RequestRecord, Status};
use oracle_components::request::{RequestId, RequestSpec};
use oracle_components::scenario::{PrefixCaching, SchedulerSpec};

use super::kv::groups::GroupTable;
use super::kv::pool::{BlockId, BlockName, Chain};

/// A request on its engine: in transit, waiting, loading or running.
#[derive(Clone)]
pub struct Sequence {
    /// What was asked.
    pub spec: RequestSpec,
    /// What is known of it so far; its end is filled in when it comes.
    pub record: RequestRecord,
    /// When it is at its engine.
    pub delivered: SimTime,
    /// Tokens to generate.
    pub target: u64,
    /// Tokens generated.
    pub generated: u64,
    /// Tokens generated since its last admission.
    pub generated_in_residence: u64,
    /// Its KV cache was loaded, not computed, since it last waited.
    pub loaded_in_residence: bool,
    /// Tokens in the KV cache.
    pub computed: u64,
    /// The most tokens that were in the KV cache before a preemption.
    pub high_water: u64,
    /// The blocks it holds, in the order of its tokens.
    pub blocks: Vec<BlockId>,
    /// The same where layers of several kinds share them, group by group.
    pub tables: Vec<GroupTable>,
    /// Where others have gone on otherwise than it does, beyond what was cached for it.
    pub junction: u64,
    /// What it had of the last step that it was in: (its end, tokens).
    pub took: Option<(SimTime, u64)>,
    /// Tokens that have been sent, if it is streamed, else generated.
    pub sent: u64,
    /// End of the step in which the last of them were.
    pub last_sent_step: Option<SimTime>,
    /// End of the last step in which it computed a generated token.
    pub last_decode: Option<SimTime>,
    /// Its client has given up, and the token that a step has computed since is withheld.
    pub withheld: bool,
    /// It has its last token, or that is on its way: it keeps its slot, and takes no more tokens.
    pub is_done: bool,
    /// How it ends, if it has and only keeps its slot.
    pub leaving: Option<(SimTime, Reason)>,
}

impl Sequence {
    /// A request that has arrived and will be at its engine at `delivered`.
    pub fn new(id: RequestId, spec: RequestSpec, engine: u32, delivered: SimTime) -> Self {
        let record = RequestRecord {
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
            completion: SimTime::NEVER,
            status: Status::Incomplete,
            reason: Reason::EndedWaiting,
            prefix_event: PrefixEvent::None,
            cached_tokens: 0,
            prefilled_tokens: 0,
            recomputed_tokens: 0,
            preemptions: 0,
        };
        Self {
            target: u64::from(spec.output_tokens),
            spec,
            record,
            delivered,
            generated: 0,
            generated_in_residence: 0,
            loaded_in_residence: false,
            computed: 0,
            high_water: 0,
            blocks: Vec::new(),
            tables: Vec::new(),
            junction: 0,
            took: None,
            sent: 0,
            last_sent_step: None,
            last_decode: None,
            withheld: false,
            is_done: false,
            leaving: None,
        }
    }

    /// Its number.
    pub fn id(&self) -> RequestId {
        self.record.request
    }

    /// When the client gives up.
    pub fn deadline(&self) -> SimTime {
        self.spec.deadline()
    }

    /// Prompt and generated tokens, and one that is withheld.
    pub fn known(&self) -> u64 {
        u64::from(self.spec.prompt_tokens) + self.generated + u64::from(self.withheld)
    }

    /// Whether only its newest token is to be computed, after one it generated here or a KV cache that it loaded.
    pub fn decodes(&self) -> bool {
        let started = self.generated_in_residence > 0 || self.loaded_in_residence || self.withheld;
        started && self.computed == self.known() - 1
    }

    /// Whether its KV cache lies on a prefill engine.
    pub fn is_remote(&self) -> bool {
        self.record.prefill.as_ref().is_some_and(|prefill| prefill.load_started.is_none())
    }

    /// When its KV cache is loaded, if that is under way.
    pub fn loaded(&self) -> Option<SimTime> {
        self.record.prefill.as_ref().and_then(|prefill| prefill.loaded)
    }

    /// Whether it was ever preempted.
    pub fn was_preempted(&self) -> bool {
        self.record.preemptions > 0
    }

    /// Its place in the order of service: the smallest is admitted first.
    pub fn priority_key(&self) -> (i32, SimTime, RequestId) {
        (self.spec.priority, self.spec.arrival, self.id())
    }

    /// The chain that its tail belongs to.
    pub fn tail_chain(&self) -> Chain {
        match self.spec.tail_key {
            0 => Chain::Request(self.id()),
            key => Chain::Tail(key),
        }
    }

    /// The name that the block at `index` has once it is full.
    pub fn block_name(&self, index: u64, scheduler: &SchedulerSpec) -> BlockName {
        let last_token = (index + 1) * u64::from(scheduler.block_tokens) - 1;
        BlockName { chain: self.chain_of_token(last_token, scheduler), group: 0, index }
    }

    /// The chain that a token lies in.
    pub fn chain_of_token(&self, last_token: u64, scheduler: &SchedulerSpec) -> Chain {
        let mut chain = self.tail_chain();
        if scheduler.prefix_caching == PrefixCaching::Full {
            let mut end = 0;
            for segment in &self.spec.prefix {
                let start = end;
                end += u64::from(segment.tokens);
                if (start..end).contains(&last_token) {
                    chain = Chain::Segment(segment.key);
                }
            }
        }
        chain
    }

    /// The record of its end.
    pub fn end(self, completion: SimTime, status: Status, reason: Reason) -> Ended {
        let mut record = self.record;
        record.output_tokens = self.generated as u32;
        record.completion = completion;
        record.status = status;
        record.reason = reason;
        Ended { spec: self.spec, record }
    }
}

/// A request that has ended.
pub struct Ended {
    /// What was asked.
    pub spec: RequestSpec,
    /// What became of it.
    pub record: RequestRecord,
}
