//! What is known of a request once it has ended, and of an interval once it has passed. The files hold these.

use crate::request::{PrefixSegment, RequestId};
use crate::scenario::{EngineIndex, LinkIndex};
use crate::time::SimTime;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// Every token was generated and received.
    Success,
    /// Refused; [`Reason`] says why.
    Failed,
    /// The client gave up first.
    Timeout,
    /// The simulation ended first.
    Incomplete,
}

impl Status {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 4] = [Self::Success, Self::Failed, Self::Timeout, Self::Incomplete];

    /// The word in the files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::Failed => "FAILED",
            Self::Timeout => "TIMEOUT",
            Self::Incomplete => "INCOMPLETE",
        }
    }
}

/// Why a request ended as it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// All the tokens it asked for.
    Finished,
    /// The context reached `max_model_len`; fewer tokens than asked for.
    LengthLimit,
    /// The prompt leaves no room for a token within `max_model_len`.
    PromptTooLong,
    /// Chunked prefill is off and the prompt is longer than the token budget of a step.
    PromptExceedsTokenBudget,
    /// Prompt and output need more KV blocks than the engine has.
    ExceedsKvCache,
    /// The server has as many requests as it lets in (`max_num_queued_reqs`).
    QueueFull,
    /// The client gave up while the request was in transit or in the waiting queue.
    TimeoutWaiting,
    /// The client gave up while the request was running.
    TimeoutRunning,
    /// The simulation ended while the request was in transit or in the waiting queue.
    EndedWaiting,
    /// The simulation ended while the request was running.
    EndedRunning,
}

impl Reason {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 10] = [
        Self::Finished,
        Self::LengthLimit,
        Self::PromptTooLong,
        Self::PromptExceedsTokenBudget,
        Self::ExceedsKvCache,
        Self::QueueFull,
        Self::TimeoutWaiting,
        Self::TimeoutRunning,
        Self::EndedWaiting,
        Self::EndedRunning,
    ];

    /// The word in the files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::LengthLimit => "length_limit",
            Self::PromptTooLong => "prompt_exceeds_max_model_len",
            Self::PromptExceedsTokenBudget => "prompt_exceeds_token_budget",
            Self::ExceedsKvCache => "exceeds_kv_cache",
            Self::QueueFull => "exceeds_max_num_queued_reqs",
            Self::TimeoutWaiting => "timeout_while_waiting",
            Self::TimeoutRunning => "timeout_while_running",
            Self::EndedWaiting => "simulation_ended_while_waiting",
            Self::EndedRunning => "simulation_ended_while_running",
        }
    }
}

/// What the prefix cache did for a request when it was first admitted. The words are the predecessor's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PrefixEvent {
    /// Prefix caching is off, or the request was never admitted.
    None,
    /// A follow-up turn found tokens of its session.
    ConversationalHit,
    /// A request found tokens of another.
    CrossRequestHit,
    /// Everything but the one token that is always computed was cached.
    FullHit,
    /// A follow-up turn found nothing.
    ConversationalMiss,
    /// A first turn found nothing.
    Miss,
}

impl PrefixEvent {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::ConversationalHit,
        Self::CrossRequestHit,
        Self::FullHit,
        Self::ConversationalMiss,
        Self::Miss,
    ];

    /// The word in the files, empty for [`PrefixEvent::None`].
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::ConversationalHit => "CONVERSATIONAL_HIT",
            Self::CrossRequestHit => "CROSS_REQUEST_HIT",
            Self::FullHit => "FULL_HIT_NO_PREFILL_NEEDED",
            Self::ConversationalMiss => "CONVERSATIONAL_MISS_UNEXPECTED_PROMPT",
            Self::Miss => "MISS_FULL",
        }
    }
}

/// An engine that computed a prompt for another to answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromptComputed {
    /// The prefill engine.
    pub engine: EngineIndex,
    /// End of the step that computed the prompt's last token there.
    pub end: SimTime,
}

/// The prefill of a request on another engine than the one that answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemotePrefill {
    /// Where and when, unless that is not simulated.
    pub computed: Option<PromptComputed>,
    /// The boundary at which the decode engine began to pull the KV cache, once it has.
    pub load_started: Option<SimTime>,
    /// When all of it is there, known as soon as it is under way.
    pub loaded: Option<SimTime>,
}

/// How a request ends.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// When.
    pub completion: SimTime,
    /// How.
    pub status: Status,
    /// Why.
    pub reason: Reason,
    /// Output tokens of a response that leaves as a whole, now.
    pub whole_response_tokens: Option<u32>,
}

/// A request's life, written once it has ended. What would have happened after its completion has not: no time in it is later.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestRecord {
    /// Its number.
    pub request: RequestId,
    /// Index into the source's profile names.
    pub profile: u16,
    /// Number of the client within its profile.
    pub client: u32,
    /// Its session.
    pub session: u64,
    /// Turn within the session, from 0.
    pub turn: u32,
    /// The engine that it was sent to, the last of two.
    pub engine: EngineIndex,
    /// Where its prompt was computed, if that was another engine.
    pub prefill: Option<Box<RemotePrefill>>,
    /// Tokens in the prompt.
    pub prompt_tokens: u32,
    /// Tokens of its images in the vision encoder, as in the request.
    pub encoder_tokens: u32,
    /// Most tokens that were asked for.
    pub max_output_tokens: u32,
    /// Tokens that were generated.
    pub output_tokens: u32,
    /// Tokens that would have been, had nothing interfered.
    pub target_output_tokens: u32,
    /// Priority.
    pub priority: i32,
    /// Whether the response was streamed.
    pub streaming: bool,
    /// The client gives up this long after the arrival; [`SimTime::NEVER`] without a limit.
    pub timeout: SimTime,
    /// Shared segments that the prompt began with.
    pub prefix: Vec<PrefixSegment>,
    /// Names what followed the segments, as in the request.
    pub tail_key: u64,
    /// Sent by the client.
    pub arrival: SimTime,
    /// The prompt's last byte at the engine, if it got there.
    pub delivered: Option<SimTime>,
    /// Start of the first step that computed a token of it.
    pub scheduled: Option<SimTime>,
    /// First token: received by the client if streamed, else generated.
    pub first_token: Option<SimTime>,
    /// Last token: received by the client if streamed, else generated; `None` if that was on its way at the completion.
    pub last_token: Option<SimTime>,
    /// The longest gap between two tokens of a streamed response as the client received them; `None` below two tokens, and where
    /// the last was on its way at the completion.
    pub longest_gap: Option<SimTime>,
    /// The end: last byte received, refusal, deadline, or end of the simulation.
    pub completion: SimTime,
    /// How it ended.
    pub status: Status,
    /// Why.
    pub reason: Reason,
    /// What the prefix cache did at its first admission.
    pub prefix_event: PrefixEvent,
    /// Prompt tokens found in the prefix cache at its first admission.
    pub cached_tokens: u32,
    /// Prompt and output tokens computed in prefill steps, recomputation included.
    pub prefilled_tokens: u32,
    /// Tokens computed again after preemptions.
    pub recomputed_tokens: u32,
    /// Times it was preempted.
    pub preemptions: u32,
}

impl RequestRecord {
    /// Time to first token, from the arrival; `None` if there was none.
    #[must_use]
    pub fn ttft(&self) -> Option<SimTime> {
        self.first_token.map(|t| t.since(self.arrival))
    }

    /// Time per output token in milliseconds, without the first; `None` below two tokens.
    #[must_use]
    pub fn tpot_ms(&self) -> Option<f64> {
        let (first, last) = (self.first_token?, self.last_token?);
        (self.output_tokens > 1).then(|| last.since(first).as_millis_f64() / f64::from(self.output_tokens - 1))
    }

    /// End-to-end latency, from the arrival.
    #[must_use]
    pub fn e2e(&self) -> SimTime {
        self.completion.since(self.arrival)
    }
}

/// What the row of a time series is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An engine, by index.
    Engine(u32),
    /// A GPU, by index.
    Gpu(u32),
    /// A link, by index.
    Link(u32),
    /// A client profile, by index: made of records, not by an engine.
    Profile(u16),
}

/// One interval of one engine, GPU or link. Means are over the interval's length, integrals not samples.
#[derive(Clone, Debug, PartialEq)]
pub struct IntervalRow {
    /// What it is about.
    pub subject: Subject,
    /// Start of the interval.
    pub start: SimTime,
    /// Its length; the last one may be shorter.
    pub length: SimTime,
    /// Engine: mean sequences running.
    pub running: Option<f64>,
    /// Engine: mean requests waiting.
    pub waiting: Option<f64>,
    /// Engine: mean share of the KV blocks held by running sequences, 0 to 1.
    pub kv_use: Option<f64>,
    /// Engine: steps that ended.
    pub steps: Option<f64>,
    /// Engine: prompt tokens computed.
    pub prefill_tokens: Option<f64>,
    /// Engine: output tokens generated.
    pub output_tokens: Option<f64>,
    /// Engine: preemptions.
    pub preemptions: Option<f64>,
    /// All: share of the interval it was busy, 0 to 1.
    pub busy: f64,
    /// Engine: FLOPs done by each of its GPUs.
    pub flops: Option<f64>,
    /// GPU: FLOPs done over peak FLOPs, 0 to 1.
    pub mfu: Option<f64>,
    /// GPU: bytes moved over peak bytes, 0 to 1.
    pub mbu: Option<f64>,
    /// GPU: bytes read and written in memory; link: bytes that crossed it.
    pub bytes: Option<f64>,
}

impl IntervalRow {
    /// A row that says how busy its subject was, and nothing else.
    #[must_use]
    pub fn new(subject: Subject, start: SimTime, length: SimTime, busy: f64) -> Self {
        Self {
            subject,
            start,
            length,
            running: None,
            waiting: None,
            kv_use: None,
            steps: None,
            prefill_tokens: None,
            output_tokens: None,
            preemptions: None,
            busy,
            flops: None,
            mfu: None,
            mbu: None,
            bytes: None,
        }
    }
}

/// Steps of an engine one after the other, all with one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RanSteps<'a> {
    /// Of which engine.
    pub engine: EngineIndex,
    /// Start of the first.
    pub from: SimTime,
    /// When each ends.
    pub ends: &'a [SimTime],
    /// Decodes in the batch.
    pub decodes: u32,
    /// Chunks of prompts in it.
    pub prompts: u32,
    /// Their tokens.
    pub prompt_tokens: u64,
    /// Sequences running.
    pub running: u32,
    /// Requests waiting or loading as the last of them ends.
    pub waiting: u32,
    /// Preemptions of the engine before the first of them.
    pub preemptions: u64,
}

/// What a transfer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cargo {
    /// A prompt, on its way to an engine.
    Prompt,
    /// The KV cache of a prompt, or its part on one path of several.
    KvCache,
    /// An answer that is not streamed.
    Answer,
}

impl Cargo {
    /// In a word or two.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::KvCache => "KV cache",
            Self::Answer => "answer",
        }
    }
}

/// A transfer over one link, which it has to itself meanwhile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkTransfer {
    /// Which link.
    pub link: LinkIndex,
    /// Whose request.
    pub request: RequestId,
    /// What of it.
    pub cargo: Cargo,
    /// When it was there to be sent.
    pub ready: SimTime,
    /// Its first byte enters the link.
    pub from: SimTime,
    /// Its last byte has; it is at the other end after the link's latency.
    pub to: SimTime,
    /// How much.
    pub bytes: f64,
}

/// Rows of intervals that have passed, on their way to the sink.
#[derive(Debug, Default)]
pub struct FinishedRows(pub Vec<IntervalRow>);

/// What holds the waiting queue back while a step runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// As many sequences run as may.
    Seats,
    /// The step's tokens are used up, or too few are left for a prompt that is computed whole.
    TokenBudget,
    /// There are not enough free KV blocks for the head of the queue.
    KvCache,
}

impl Hold {
    /// All of them, in the order in which [`EngineTotals::held`] tells them.
    pub const ALL: [Self; 3] = [Self::Seats, Self::TokenBudget, Self::KvCache];
}

/// Steps of a kind, and what each GPU of the engine did in them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepTotals {
    /// Steps that ended.
    pub steps: u64,
    /// How long they took.
    pub busy: SimTime,
    /// FLOPs of each GPU.
    pub flops: f64,
    /// Bytes read and written in each GPU's memory.
    pub bytes: f64,
}

/// Totals of an engine over the whole run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EngineTotals {
    /// Steps that ended.
    pub steps: u64,
    /// Time with a step running.
    pub busy: SimTime,
    /// Steps with chunks of prompts, decodes beside them included.
    pub prefill: StepTotals,
    /// Steps of decodes alone.
    pub decode: StepTotals,
    /// Time with a step running while something held the waiting queue back, in the order of [`Hold::ALL`].
    pub held: [SimTime; Hold::ALL.len()],
    /// Prompt tokens computed, recomputation included.
    pub prefill_tokens: u64,
    /// Tokens of images that the vision encoder computed.
    pub encoder_tokens: u64,
    /// Output tokens generated.
    pub output_tokens: u64,
    /// Preemptions.
    pub preemptions: u64,
    /// KV blocks handed to sequences.
    pub blocks_allocated: u64,
    /// KV blocks taken back from sequences.
    pub blocks_freed: u64,
    /// Most KV blocks held by running sequences at once.
    pub blocks_peak: u64,
    /// Cached blocks that made room for others.
    pub blocks_evicted: u64,
    /// Most sequences running at once.
    pub running_peak: u64,
    /// Most requests waiting at once.
    pub waiting_peak: u64,
}

/// Totals of a GPU over the whole run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GpuTotals {
    /// Time with a step running.
    pub busy: SimTime,
    /// FLOPs done.
    pub flops: f64,
    /// Bytes read and written in memory.
    pub bytes: f64,
}

impl std::ops::AddAssign<&Self> for GpuTotals {
    fn add_assign(&mut self, other: &Self) {
        self.busy += other.busy;
        self.flops += other.flops;
        self.bytes += other.bytes;
    }
}

/// Totals of a link over the whole run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinkTotals {
    /// Time it carried bytes, by the end of the run.
    pub busy: SimTime,
    /// Bytes that crossed it by then.
    pub bytes: f64,
    /// Transfers that were sent over it one at a time: prompts and whole responses.
    pub transfers: u64,
}

/// Why a simulation stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Every request has ended.
    Drained,
    /// The horizon was reached.
    Horizon,
    /// The caller asked for it.
    Interrupted,
    /// The sink could take no more.
    SinkClosed,
}

/// A simulation that has stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Why.
    pub stop: Stop,
    /// Simulated time at the stop.
    pub end: SimTime,
    /// Ticks of the schedule.
    pub ticks: u64,
    /// Requests that arrived.
    pub arrived: u64,
    /// Requests that ended, in the order of [`Status::ALL`].
    pub ended: [u64; 4],
    /// Per engine, in the scenario's order.
    pub engines: Vec<EngineTotals>,
    /// Per GPU.
    pub gpus: Vec<GpuTotals>,
    /// Per link.
    pub links: Vec<LinkTotals>,
}
