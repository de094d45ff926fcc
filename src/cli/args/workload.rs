//! What can be typed of a load.

use clap::Args;

/// How a trace is shaped. Always in this order, whatever the order of the flags: window, sample, lengths, shuffle, repeat,
/// rate, limits.
#[derive(Clone, Debug, Default, Args)]
pub struct Shaping {
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
    /// Replay no more requests than this.
    #[arg(long)]
    pub max_requests: Option<u64>,
}
