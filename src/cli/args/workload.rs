//! What can be typed of a load: shaping flags, and the `workload` commands.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{Changes, Format, Listing};
use crate::cli::load_flags::Load;
use crate::cli::trace_reading::TraceReading;

/// Which part of a trace, and how long its prompts and answers are.
#[derive(Clone, Debug, Default, Args)]
pub struct PartOfTrace {
    /// Replay a part of the trace: peak:10m for the fullest ten minutes, 60s:10m from 60 s to 10 min, 1h: to the end.
    #[arg(long)]
    pub window: Option<String>,
    /// Replay this share of the sessions, drawn by the seed, each whole.
    #[arg(long, value_name = "SHARE")]
    pub sample: Option<f64>,
    /// Make prompts this many times as long, and what they share too.
    #[arg(long, value_name = "FACTOR")]
    pub prompt_scale: Option<f64>,
    /// Make answers this many times as long.
    #[arg(long, value_name = "FACTOR")]
    pub output_scale: Option<f64>,
    /// Replay no more requests than this.
    #[arg(long)]
    pub max_requests: Option<u64>,
}

/// How a trace is shaped. Always in this order, whatever the order of the flags: window, sample, lengths, shuffle, repeat,
/// rate, limits.
#[derive(Clone, Debug, Default, Args)]
pub struct Shaping {
    /// Which part of it, and how long its prompts and answers are.
    #[command(flatten)]
    pub part: PartOfTrace,
    /// Put requests at each other's times, drawn by the seed; a session's turns stay in order.
    #[arg(long)]
    pub shuffle: bool,
    /// Replay the trace so many times, one behind the other, each of sessions and prompts of its own.
    #[arg(long, value_name = "N")]
    pub repeat: Option<u32>,
    /// What a repeated prompt is to the first: renamed (no cache finds it), or kept (it is the same).
    #[arg(long, value_name = "renamed|kept")]
    pub repeat_prefixes: Option<String>,
    /// Make arrivals come this many times as fast.
    #[arg(long)]
    pub rate_scale: Option<f64>,
    /// Make arrivals take this many times as long: the inverse of --rate-scale.
    #[arg(long, value_name = "FACTOR")]
    pub time_scale: Option<f64>,
}

/// `workload`.
#[derive(Debug, Subcommand)]
pub enum Workload {
    /// Say what a load holds: rates, bursts, lengths, shared prompts, sessions.
    Describe(Box<Describe>),
    /// Write the requests of a load, of a configuration or by flags, as a trace, without simulating it.
    Generate(Generate),
    /// Write a trace in another format.
    Convert(Convert),
    /// List the loads that have a name: what they ask for, and where their numbers come from.
    Presets(Listing),
}

/// A load: a trace, a configuration's, or by flags.
#[derive(Debug, Args)]
#[command(
    override_usage = "llmperforacle workload describe [OPTIONS] TRACE\n       llmperforacle workload describe [OPTIONS] --config CONFIG\n       llmperforacle workload describe [OPTIONS] --rate PER_S --workload NAME"
)]
pub struct Describe {
    /// Trace; - for standard input.
    #[arg(required_unless_present_any = ["config", "workload", "prompt_tokens"], conflicts_with = "config")]
    pub trace: Option<PathBuf>,
    /// Describe the load of this configuration instead.
    #[arg(long, value_name = "CONFIG")]
    pub config: Option<PathBuf>,
    /// Layout of the trace, if not told by its header.
    #[arg(long)]
    pub trace_format: Option<String>,
    /// How it is read.
    #[command(flatten)]
    pub reading: TraceReading,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// What becomes of the trace first.
    #[command(flatten)]
    pub shaping: Shaping,
    /// What flags change in the configuration.
    #[command(flatten)]
    pub changes: Changes,
    /// The load by flags; with a trace when it is sent; with a configuration where it ends.
    #[command(flatten)]
    pub load: Load,
}

/// `workload generate`.
#[derive(Debug, Args)]
pub struct Generate {
    /// Configuration file, YAML or JSON, of which the load is taken; - for standard input.
    #[arg(required_unless_present_any = ["workload", "prompt_tokens"])]
    pub config: Option<PathBuf>,
    /// Where to, and how.
    #[command(flatten)]
    pub file: Written,
    /// What flags change in the configuration.
    #[command(flatten)]
    pub changes: Changes,
    /// The load by flags; with a configuration, where it ends.
    #[command(flatten)]
    pub load: Load,
}

/// `workload convert`.
#[derive(Debug, Args)]
pub struct Convert {
    /// Trace; - for standard input.
    pub trace: PathBuf,
    /// Layout of the trace, if not told by its header.
    #[arg(long)]
    pub trace_format: Option<String>,
    /// How it is read.
    #[command(flatten)]
    pub reading: TraceReading,
    /// Write no request that arrives at or after this many seconds.
    #[arg(long, value_name = "SECONDS")]
    pub duration: Option<f64>,
    /// Seed of sample and shuffle.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Where to, and how.
    #[command(flatten)]
    pub file: Written,
    /// What becomes of the trace first.
    #[command(flatten)]
    pub shaping: Shaping,
}

/// A file that a load is written to.
#[derive(Debug, Args)]
pub struct Written {
    /// File to write.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Its format, if not told by its ending (.csv, .parquet, .jsonl for Mooncake's).
    #[arg(long, value_enum)]
    pub to: Option<Target>,
    /// What the format cannot say and may be left out; otherwise such a request is refused.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHAT")]
    pub drop: Vec<Dropped>,
    /// Tokens that an id of Mooncake's format names: 512 in the published traces.
    #[arg(long, value_name = "TOKENS", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub block_size: u32,
    /// Replace a file that is there already.
    #[arg(long)]
    pub overwrite: bool,
}

/// A format to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// Our generic CSV.
    Csv,
    /// Parquet with all that a run's own requests.parquet says of the load.
    Parquet,
    /// Lines of JSON for AIPerf, vLLM's timed_trace and others.
    Mooncake,
    /// The same with sessions, whose turns may wait for answers; for this program.
    MooncakeSessions,
    /// CSV for Vidur.
    Vidur,
}

/// What may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Dropped {
    /// Content that prompts share.
    Prefixes,
    /// That turns are of one session.
    Sessions,
    /// That turns wait for answers: they are sent as if answers came at once.
    Pauses,
    /// Priorities.
    Priorities,
    /// Clients that give up.
    Timeouts,
    /// Limits of answers beyond what is generated.
    Limits,
    /// Images for the vision encoder; their tokens in the prompt stay.
    Images,
}
