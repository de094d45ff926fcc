//! A workload as the configuration describes it, checked: what the sources are built from.

use std::path::PathBuf;

use oracle_components::SimTime;

use super::behaviour::Behaviour;
pub use super::law::Distribution;
use super::load::Load;
use super::shaping::Shaping;
use super::slo::Slo;

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
    /// What its clients expect.
    pub slo: Slo,
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
    /// First turns come this many times as fast as the gaps of profiles say.
    pub rate_scale: f64,
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

/// Layout of a trace file, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceFormat(pub(super) &'static str);

impl TraceFormat {
    /// Told by what is in the file.
    pub const DETECT: Self = Self("detect");
}

/// In what a trace tells time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
    /// Days and times of day.
    Calendar,
}

/// What a trace does not say of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceOptions {
    /// Names of the columns, for a table of no known format.
    pub columns: Option<Box<TraceColumns>>,
    /// Tokens of a block that a hash names, if not as many as the format says.
    pub block_tokens: Option<u32>,
    /// Tokens that an image adds to the prompt.
    pub image_tokens: Option<u32>,
    /// Tokens of an image in the vision encoder, whose work is left out without.
    pub encoder_tokens: Option<u32>,
    /// In what Mooncake's timestamps are, if that is beyond doubt.
    pub clock: Option<Clock>,
    /// Characters of a token, to estimate lengths of texts.
    pub chars_per_token: Option<f64>,
    /// Rows that are no requests are counted and left out.
    pub skip_bad_rows: bool,
    /// The load says when requests come, so the trace need not.
    pub retimed: bool,
    /// When the later turns of sessions are sent; `None`: as the format means it.
    pub sessions: Option<SessionTimes>,
    /// What prompts of sessions hold; `None`: as the file says.
    pub message_mode: Option<MessageMode>,
    /// Requests a second of all of ServeGen's clients together; `None`: as recorded.
    pub total_rate_per_s: Option<f64>,
    /// Seed of what is drawn from ServeGen's clients.
    pub seed: u64,
}

/// When the later turns of sessions are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionTimes {
    /// When the one before is answered, and not before the recorded time.
    Closed,
    /// At their recorded times.
    Open,
}

/// What the prompts of a session's later turns hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageMode {
    /// The conversation so far and what is new.
    History,
    /// What is new, before which the conversation so far goes.
    Delta,
}

/// Names of columns by what they hold.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceColumns {
    /// When a request is sent, and in what that is told.
    pub arrival: Option<(String, Clock)>,
    /// Tokens of the prompt.
    pub prompt: String,
    /// Tokens of the answer.
    pub output: String,
    /// Most tokens of the answer.
    pub max_output: Option<String>,
    /// Whose request it is.
    pub session: Option<String>,
    /// Lower numbers are served first.
    pub priority: Option<String>,
    /// When the client gives up, by the clock of the arrivals.
    pub abort: Option<String>,
    /// How many images the prompt holds.
    pub images: Option<String>,
    /// Tokens of all of them in the vision encoder.
    pub encoder_tokens: Option<String>,
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
    /// What the file does not say.
    pub options: TraceOptions,
    /// What becomes of it before it is replayed.
    pub shaping: Shaping,
    /// What the clients expect.
    pub slo: Slo,
    /// Seed of what is drawn: the times of `load`.
    pub seed: u64,
    /// When requests come, if not at the trace's times, and how many there may be.
    pub load: Load,
}

/// A workload.
#[allow(clippy::large_enum_variant, reason = "there is one a run")]
#[derive(Clone, Debug, PartialEq)]
pub enum Workload {
    /// Drawn from distributions.
    Synthetic(SyntheticWorkload),
    /// Read from a file.
    Trace(TraceWorkload),
}
