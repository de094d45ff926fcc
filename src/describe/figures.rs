//! The figures of a load, as `--format json` prints them.

use serde::Serialize;

/// What is said of a load.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    /// Requests.
    pub requests: u64,
    /// Of these, those that are sent when an answer has come; it is taken to come at once.
    pub requests_after_answers: u64,
    /// Seconds from the first arrival to the last.
    pub span_s: f64,
    /// When requests arrive.
    pub arrivals: Arrivals,
    /// Tokens of prompts.
    pub prompt: Lengths,
    /// Tokens of answers.
    pub output: Lengths,
    /// Images for the vision encoder; absent without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<ImageFigures>,
    /// Pearson's, of prompt and answer; `None` where one of them never varies.
    pub prompt_output_correlation: Option<f64>,
    /// What prompts share with what came before.
    pub reuse: ReuseFigures,
    /// Who sends them.
    pub sessions: SessionFigures,
    /// Requests over time.
    pub plot: PlotFigures,
    /// Requests by power of two of their prompt's tokens: the lower end, and how many.
    pub prompt_octaves: Vec<(u64, u64)>,
    /// The same of answers.
    pub output_octaves: Vec<(u64, u64)>,
}

/// When requests arrive.
#[derive(Clone, Debug, Serialize)]
pub struct Arrivals {
    /// Gaps a second of the span; `None` where all come at once.
    pub mean_rate_per_s: Option<f64>,
    /// Seconds between an arrival and the next.
    pub gap_s: Option<Quantiles>,
    /// Deviation of the gaps over their mean; 1 for Poisson arrivals.
    pub gap_coefficient_of_variation: Option<f64>,
    /// As vLLM's `--burstiness`: 1 / CV², below 1 where arrivals come in bursts.
    pub burstiness: Option<f64>,
    /// Counts in windows side by side, by their length.
    pub windows: Vec<WindowFigures>,
}

/// Counts in windows of one length.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WindowFigures {
    /// Length in seconds.
    pub window_s: f64,
    /// Whole windows.
    pub windows: u64,
    /// Requests in the fullest.
    pub peak_requests: u64,
    /// The same a second.
    pub peak_rate_per_s: f64,
    /// When it begins, in seconds from the first arrival.
    pub peak_from_s: f64,
    /// Variance of the counts over their mean; 1 for Poisson arrivals.
    pub index_of_dispersion: Option<f64>,
}

/// Tokens of prompts or of answers.
#[derive(Clone, Debug, Serialize)]
pub struct Lengths {
    /// All together.
    pub tokens: u64,
    /// How they are spread.
    pub quantiles: Option<Quantiles>,
}

/// Images for the vision encoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImageFigures {
    /// Requests that have some.
    pub requests: u64,
    /// Their tokens in the encoder.
    pub encoder_tokens: u64,
}

/// How values are spread.
#[derive(Clone, Debug, Serialize)]
pub struct Quantiles {
    /// Arithmetic mean.
    pub mean: f64,
    /// Population standard deviation.
    pub deviation: f64,
    /// Smallest.
    pub minimum: f64,
    /// 5 % are below.
    pub p5: f64,
    /// 25 % are below.
    pub p25: f64,
    /// Median.
    pub p50: f64,
    /// 75 % are below.
    pub p75: f64,
    /// 90 % are below.
    pub p90: f64,
    /// 95 % are below.
    pub p95: f64,
    /// 99 % are below.
    pub p99: f64,
    /// Largest.
    pub maximum: f64,
}

impl Quantiles {
    /// In other units.
    pub(super) fn scaled(self, by: f64) -> Self {
        Self {
            mean: self.mean * by,
            deviation: self.deviation * by,
            minimum: self.minimum * by,
            p5: self.p5 * by,
            p25: self.p25 * by,
            p50: self.p50 * by,
            p75: self.p75 * by,
            p90: self.p90 * by,
            p95: self.p95 * by,
            p99: self.p99 * by,
            maximum: self.maximum * by,
        }
    }
}

/// What prompts share with what came before them.
#[derive(Clone, Debug, Serialize)]
pub struct ReuseFigures {
    /// The requests looked at: all, unless what they share outgrew memory.
    pub requests: u64,
    /// Requests whose prompts begin with content that has a name.
    pub requests_with_shared_content: u64,
    /// By size of a cache's block.
    pub block_sizes: Vec<BlockReuse>,
}

/// The same for one size of blocks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlockReuse {
    /// Tokens in a block.
    pub block_tokens: u32,
    /// Share of all blocks, those that are not full too, that an earlier request had.
    pub blocks_seen_before: f64,
    /// Share of prompt tokens that a cache without limit has; of each prompt, a token at least is computed.
    pub infinite_cache_hit_rate: f64,
}

/// Who sends requests.
#[derive(Clone, Debug, Serialize)]
pub struct SessionFigures {
    /// Sessions; a request that belongs to none is one of its own.
    pub sessions: u64,
    /// Of these, those of more than one turn.
    pub with_more_turns: u64,
    /// Turns of a session on average.
    pub mean_turns: f64,
    /// Turns of the longest.
    pub most_turns: u64,
    /// Seconds from a turn to the next: from its answer, where it waits for that, else from its arrival.
    pub pause_s: Option<Quantiles>,
}

/// Requests over time.
#[derive(Clone, Debug, Serialize)]
pub struct PlotFigures {
    /// Length of a bin in seconds.
    pub bin_s: f64,
    /// Requests in each.
    pub requests: Vec<u64>,
}
