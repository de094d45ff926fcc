//! A workload as the configuration describes it, checked: what the sources are built from.

use std::path::PathBuf;

use oracle_components::SimTime;

use super::behaviour::Behaviour;
pub use super::law::Distribution;
use super::load::Load;

/// A kind of client.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Share of the arrivals, relative to the other profiles.
    pub weight: f64,
    /// Seconds between arrivals; not asked for where the load says when sessions begin.
    pub inter_arrival_s: Distribution,
    /// Tokens a prompt (a follow-up turn: the new tokens).
    pub prompt_tokens: Distribution,
    /// Most tokens an answer.
    pub max_output_tokens: Distribution,
    /// Tokens an answer really has, held to the maximum; `None`: always the maximum.
    pub output_tokens: Option<Distribution>,
    /// Probability that a request opens a conversation.
    pub conversational_probability: f64,
    /// Probability that a conversation goes on after each further turn.
    pub continuation_probability: f64,
    /// Probability that an answer is streamed.
    pub streaming_probability: f64,
    /// Priority; `None`: 0.
    pub priority: Option<Distribution>,
    /// Seconds from an answer to the next turn of the session.
    pub think_time_s: Distribution,
    /// Seconds after which the client gives up, if it does.
    pub timeout_s: Option<f64>,
    /// Name of the prefix pattern of all its prompts; `None`: drawn by weight, where there are any.
    pub prefix_pattern: Option<String>,
    /// Reasoning, tools, sub-agents, images, and whether lengths go together.
    pub behaviour: Behaviour,
}

/// How the profiles' arrivals are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// One stream: a profile by weight, then a gap by that profile's distribution.
    Mixed,
    /// Each profile its own process; weights do not matter.
    Independent,
}

/// A shared beginning of prompts.
#[derive(Clone, Debug, PartialEq)]
pub struct PrefixPattern {
    /// Its name.
    pub name: String,
    /// Share of the prompts, relative to the other patterns.
    pub weight: f64,
    /// Named pieces in order, each with its tokens; empty: a prompt that shares nothing.
    pub pieces: Vec<(String, u32)>,
    /// A document after the pieces, which adds to the prompt.
    pub documents: Option<Documents>,
}

/// Documents that prompts hold, some of them more often than others.
#[derive(Clone, Debug, PartialEq)]
pub struct Documents {
    /// How many there are.
    pub count: u64,
    /// The n-th is as frequent as n to the power of minus this: 0 for all alike.
    pub popularity: f64,
    /// Tokens of one.
    pub tokens: Distribution,
}

/// A synthetic workload.
#[derive(Clone, Debug, PartialEq)]
pub struct SyntheticWorkload {
    /// Seed of every draw.
    pub seed: u64,
    /// No request arrives at or after this.
    pub duration: Option<SimTime>,
    /// No more requests than this, follow-up turns included.
    pub total_requests: Option<u64>,
    /// How profiles are put together.
    pub arrivals: Arrivals,
    /// The kinds of clients.
    pub profiles: Vec<Profile>,
    /// Most turns of a session.
    pub max_turns_per_session: u32,
    /// A follow-up's prompt holds the conversation so far.
    pub accumulate_conversation: bool,
    /// Shared beginnings of prompts; empty: none.
    pub prefix_patterns: Vec<PrefixPattern>,
    /// When sessions begin, if not by the profiles' gaps, and how many there may be.
    pub load: Load,
}

/// Layout of a trace file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceFormat {
    /// By extension and header.
    Detect,
    /// CSV with TIMESTAMP, ContextTokens, GeneratedTokens (Azure Public Dataset).
    Azure,
    /// JSON lines with timestamp in ms, input_length, output_length, hash_ids of 512-token blocks (Mooncake).
    Mooncake,
    /// CSV with arrival_s (or arrival_time), prompt_tokens, output_tokens, and optionally max_output_tokens, session_id,
    /// priority, in any order; other columns are ignored.
    Generic,
}

/// A recorded workload.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceWorkload {
    /// The file.
    pub path: PathBuf,
    /// Its layout.
    pub format: TraceFormat,
    /// Arrival times are divided by this: 2 is twice the load.
    pub rate_scale: f64,
    /// No request arrives at or after this.
    pub duration: Option<SimTime>,
    /// No more requests than this.
    pub total_requests: Option<u64>,
    /// Whether answers are streamed.
    pub streaming: bool,
    /// Seconds after which the client gives up, if it does.
    pub timeout_s: Option<f64>,
    /// Seed of what is drawn: the times of `load`.
    pub seed: u64,
    /// When requests come, if not at the trace's times, and how many there may be.
    pub load: Load,
}

/// A workload.
#[derive(Clone, Debug, PartialEq)]
pub enum Workload {
    /// Drawn from distributions.
    Synthetic(SyntheticWorkload),
    /// Read from a file.
    Trace(TraceWorkload),
}
