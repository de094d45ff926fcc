//! The Engine entity: an instance of a serving framework.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;

use bevy_ecs::prelude::*;

use crate::group_blocks::DecodeClasses;
use crate::kv_groups::KvGroups;
use crate::record::{EngineTotals, Hold};
use crate::request::RequestId;
use crate::scenario::{LinkIndex, Role, SchedulerSpec};
use crate::time::SimTime;

/// What an engine is. Never changes.
#[derive(Component, Clone, Debug)]
#[component(immutable)]
pub struct Engine {
    /// What of a request's life it serves.
    pub role: Role,
    /// The scheduler's limits and policies.
    pub scheduler: SchedulerSpec,
    /// Links to the client, in the order of travel.
    pub egress: Vec<LinkIndex>,
    /// Their (bytes per second, latency).
    pub egress_rates: Vec<(f64, SimTime)>,
    /// Bytes of a token on the response links.
    pub response_bytes_per_token: f64,
}

/// An engine's own time.
#[derive(Component, Clone, Copy, Debug)]
pub struct StepClock {
    /// The last boundary: start of the step that is running.
    pub boundary: SimTime,
    /// Start of the last step that ended.
    pub last_step: SimTime,
    /// Steps that have ended.
    pub steps: u64,
    /// When the lane of streamed tokens is free again.
    pub lane_free: SimTime,
    /// When the client has received the flow of the last step that sent one.
    pub flow_received: SimTime,
    /// The batch of this boundary was formed when the step that has ended began, as asynchronous scheduling does.
    pub scheduled_ahead: bool,
}

/// Key of a waiting sequence under the priority policy: the smallest is admitted first.
pub type PriorityKey = (i32, SimTime, RequestId);

/// Key of a running sequence under the priority policy, (priority, arrival, admission): the largest is preempted first, and among
/// equals in (priority, arrival) the first admitted.
pub type VictimKey = (i32, SimTime, Reverse<u64>);

/// The waiting queue. Under fcfs it may hold sequences that have timed out; they are skipped.
#[derive(Clone, Debug)]
pub enum Waiting {
    /// In order.
    Fcfs(VecDeque<(RequestId, Entity)>),
    /// By (priority, arrival, id).
    Priority(BTreeMap<PriorityKey, Entity>),
}

/// When the client of a sequence gives up, its id, and the sequence.
pub type Deadline = (SimTime, RequestId, Entity);

/// What waits for an engine.
#[derive(Component, Clone, Debug)]
pub struct Queues {
    /// On the way to the engine: (delivered, sequence), in order.
    pub in_transit: VecDeque<(SimTime, Entity)>,
    /// Those among them with a deadline.
    pub in_transit_with_deadline: u32,
    /// Delivered and not running.
    pub waiting: Waiting,
    /// How many wait.
    pub waiting_count: u32,
    /// Every sequence with a time limit that has been taken in, ascending; those that ended are skipped.
    pub deadlines: VecDeque<Deadline>,
    /// Those that came too late for their place among them: none where all clients are as patient.
    pub late_deadlines: BinaryHeap<Reverse<Deadline>>,
    /// Those taken from there whose deadlines are over, ascending, at a boundary until they are off the engine.
    pub given_up: VecDeque<Deadline>,
}

/// The running sequences, in aggregate.
#[derive(Component, Clone, Debug)]
pub struct Running {
    /// How many run.
    pub count: u32,
    /// Decoding ones.
    pub decodes: u32,
    /// Decoding ones whose responses are streamed.
    pub streaming_decodes: u32,
    /// The same by the steps in which they send their chunks, one of `stream_interval`; none if every token is sent.
    pub streams: Vec<StreamClass>,
    /// Tokens in the KV cache of the decoding ones, at the last boundary.
    pub decode_context: u64,
    /// Blocks by phase: decoding ones by (tokens in the KV cache − steps) mod block. Those of class c take a block in
    /// step s when c + s is divisible by the block.
    pub residues: Vec<u32>,
    /// (step count at which it has generated its target, id, sequence) of the decoding ones; stale entries are skipped.
    pub last_token_queue: BinaryHeap<Reverse<(u64, RequestId, Entity)>>,
    /// How many of its entries are stale, or more than that.
    pub stale_entries: u64,
    /// Running prefills and paused decodes: (admission number, sequence), ascending.
    pub prefills: Vec<(u64, Entity)>,
    /// Those that have ended at this boundary, and keep slot and blocks until the batch is formed.
    pub leaving: Vec<Entity>,
    /// Running sequences by admission number, from `first_admission`; gaps where they left.
    pub admitted: VecDeque<Option<Entity>>,
    /// Admission number of the front of `admitted`.
    pub first_admission: u64,
    /// Gaps between flows of streamed tokens: (end of an epoch, the widest in it), those that no later one is as wide as. The widest
    /// since a boundary is that of the first entry behind it.
    pub flow_gaps: VecDeque<(SimTime, SimTime)>,
    /// Running sequences by whom to preempt, kept under the priority policy only.
    pub by_priority: BTreeMap<VictimKey, Entity>,
    /// The decoding ones by what happens to their blocks, where layers of several kinds share the pool.
    pub by_blocks: Option<Box<DecodeClasses>>,
}

/// Streaming decodes that send their chunks in the same steps.
#[derive(Clone, Debug, Default)]
pub struct StreamClass {
    /// Those that sent one in the last of these steps.
    pub regular: u32,
    /// The others, until the next of these steps.
    pub joining: Vec<Entity>,
    /// End of the last of these steps, and when the client had the chunks.
    pub last: Option<(SimTime, SimTime)>,
    /// Gaps between these chunks, as [`Running::flow_gaps`].
    pub flow_gaps: VecDeque<(SimTime, SimTime)>,
}

/// A chunk of a prompt in a step.
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    /// Whose.
    pub sequence: Entity,
    /// Tokens.
    pub tokens: u32,
    /// Tokens of it that are in the KV cache already.
    pub context: u32,
    /// Tokens of images that the vision encoder computes before it.
    pub encoder_tokens: u32,
    /// It computes the last known token, so the step emits one.
    pub completes: bool,
    /// It is the one token of a paused decode, and priced as such.
    pub is_decode: bool,
}

impl Chunk {
    /// The next token of a decode that is apart from the others, with `context` of its tokens in the KV cache.
    #[must_use]
    pub fn of_decode(sequence: Entity, context: u32) -> Self {
        Self { sequence, tokens: 1, context, encoder_tokens: 0, completes: true, is_decode: true }
    }
}

/// For how long a batch stands: what has to happen before it may change, beside what always ends an epoch (a last token, a
/// deadline, a loaded KV cache, no free blocks, chunks of prompts in it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// So many steps at least, if nothing happens. One is always right.
    pub steps: u64,
    /// A timer of the policy's own, later than now; [`SimTime::NEVER`] without. It wakes an idle engine too, so a policy sets it only
    /// while somebody waits for it.
    pub until: SimTime,
    /// A delivery is looked at, at the next boundary. False: nobody can be admitted before somebody leaves.
    pub sees_deliveries: bool,
}

/// The batch of the step that is about to run.
#[derive(Component, Clone, Debug)]
pub struct Batch {
    /// Chunks of prompts and paused decodes, in order.
    pub chunks: Vec<Chunk>,
    /// Those of sequences that have ended since: computed, for nobody.
    pub orphans: Vec<Chunk>,
    /// For how long it stands.
    pub standing: Standing,
    /// What holds the waiting queue back meanwhile.
    pub hold: Option<Hold>,
}

impl Batch {
    /// KV tokens that decodes attend to in the step, of those that are not counted with the others.
    #[must_use]
    pub fn decode_context_apart(&self) -> u64 {
        let apart = self.chunks.iter().chain(&self.orphans).filter(|chunk| chunk.is_decode);
        apart.map(|chunk| u64::from(chunk.context) + 1).sum()
    }
}

/// Where epochs are cut though they need not be, which changes nothing that shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EpochCuts {
    /// Nowhere.
    #[default]
    AsNeeded,
    /// After every step.
    EveryStep,
    /// After a few steps, drawn from this state.
    AtRandom(u64),
}

/// The steps that a batch runs for. Computed ahead; an arrival cuts it at the first boundary that has to see it.
#[derive(Component, Clone, Debug, Default)]
pub struct Epoch {
    /// End of each step.
    pub step_ends: Vec<SimTime>,
    /// How many of them will run.
    pub steps: usize,
    /// Most steps computed ahead.
    pub steps_ahead: usize,
    /// Where else it is cut.
    pub cuts: EpochCuts,
}

/// What an engine lets in depends on.
#[derive(Clone, Debug)]
pub struct AdmissionLimits {
    /// Its scheduler's.
    pub scheduler: SchedulerSpec,
    /// KV blocks where its requests are answered: its own, or those of the smallest decode engine.
    pub answer_kv_blocks: u64,
    /// Its own KV blocks, if it computes prompts that are answered elsewhere.
    pub prompt_kv_blocks: Option<u64>,
    /// How layers of several kinds share the KV blocks, if they do.
    pub kv_groups: Option<Arc<KvGroups>>,
}

/// Totals of an engine.
#[derive(Component, Clone, Debug, Default)]
pub struct EngineLedger(pub EngineTotals);
