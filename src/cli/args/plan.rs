//! What can be typed of `plan`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Changes, Format, PartOfTrace};
use crate::cli::load_flags::Load;
use crate::cli::trace_reading::TraceReading;

/// `plan`.
#[derive(Debug, Args)]
#[command(
    override_usage = "llmperforacle plan [OPTIONS] --trace FILE --model NAME,… --device NAME,… --slo ttft_p99=1s,tpot_p99=50ms\n       llmperforacle plan [OPTIONS] --rate PER_S --workload NAME --model NAME,… --device NAME,… --slo …\n       llmperforacle plan [OPTIONS] CONFIG --slo …\n       llmperforacle plan [OPTIONS] CONFIG --max-rate --slo …\n       llmperforacle plan [OPTIONS] FILE"
)]
pub struct Plan {
    /// A configuration as `run` takes it, of which a plan varies what flags name, and replicas; or a file of these flags without their
    /// dashes: trace: T.csv, model: [A, B], rate_scale: [1, 4], over: {KEY: [1, 2]}, slo: {ttft_p99: 1s}. Flags beside it add to it. - for
    /// standard input.
    #[arg(value_name = "CONFIG|FILE")]
    pub file: Option<PathBuf>,
    /// Replay this trace.
    #[arg(long)]
    pub trace: Option<PathBuf>,
    /// Layout of the trace, if it is not told by its fields.
    #[arg(long)]
    pub trace_format: Option<String>,
    #[command(flatten)]
    pub reading: TraceReading,
    /// Models: catalog names (see `models`), or Hugging Face config.json files.
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    pub model: Vec<String>,
    /// The model_type that each model's config.json is read as, whatever it says itself (see `models`).
    #[arg(long, value_name = "MODEL_TYPE")]
    pub assume: Option<String>,
    /// Devices: catalog names (see `devices`).
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    pub device: Vec<String>,
    /// Tensor-parallel ranks of a replica; 1, or the configuration's, without.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "N,…",
        visible_aliases = ["tp", "tensor-parallel-size"],
        value_parser = clap::value_parser!(u32).range(1..=1024)
    )]
    pub tensor_parallel: Vec<u32>,
    /// Pipeline stages of a replica; 1, or the configuration's, without.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "N,…",
        visible_aliases = ["pp", "pipeline-parallel-size"],
        value_parser = clap::value_parser!(u32).range(1..=1024)
    )]
    pub pipeline_parallel: Vec<u32>,
    /// What every answer keeps to, over all requests: ttft, tpot, itl (a request's longest gap) and e2e with a statistic, such as
    /// ttft_p99=1s,tpot_p99=50ms,e2e_mean=5s; without one (ttft=500ms) a share of the requests keeps to all of these.
    #[arg(long, value_delimiter = ',', value_name = "METRIC=TIME,…", allow_hyphen_values = true)]
    pub slo: Vec<String>,
    /// Share of the requests that keeps to the objectives without a statistic; 0.99 without.
    #[arg(long, value_name = "SHARE")]
    pub attainment: Option<f64>,
    /// Times the load's rate: an answer for each.
    #[arg(long, value_delimiter = ',', value_name = "FACTOR,…", default_value = "1")]
    pub rate_scale: Vec<f64>,
    /// How weights are stored, by names of the key weight_dtype or methods of vLLM's --quantization that are of one format.
    #[arg(long, value_delimiter = ',', value_name = "TYPE,…")]
    pub quantization: Vec<String>,
    /// Token budgets of a step.
    #[arg(long, value_delimiter = ',', value_name = "TOKENS,…")]
    pub max_num_batched_tokens: Vec<u32>,
    /// Seats of an engine.
    #[arg(long, value_delimiter = ',', value_name = "N,…")]
    pub max_num_seqs: Vec<u32>,
    /// Policies of the router.
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    pub router: Vec<String>,
    /// Any other key and the values to try, such as frameworks_to_test[*].config.block_size=16,32.
    #[arg(long, value_name = "KEY=VALUE,…")]
    pub over: Vec<String>,
    /// Try prefill and decode on replicas of their own, too.
    #[arg(long, conflicts_with = "max_rate")]
    pub disaggregate: bool,
    /// No deployment has more GPUs.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_gpus: u32,
    /// What there is to be least of.
    #[arg(long, value_enum, default_value_t = Objective::Gpus)]
    pub objective: Objective,
    /// Dollars an hour of a device, such as H100=2.5.
    #[arg(long, value_delimiter = ',', value_name = "DEVICE=USD,…")]
    pub price: Vec<String>,
    /// File of prices in place of ours: source:, date:, usd_per_gpu_hour: {H100: 2.5}.
    #[arg(long, value_name = "FILE")]
    pub prices: Option<PathBuf>,
    /// Run each answer with so many seeds, for intervals.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeat: u32,
    /// Write each answer's configuration, vLLM command line and Kubernetes manifest into this folder.
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
    /// Ask for the highest rate instead, at which a deployment keeps to the SLO: of a configuration as it stands, or of so many replicas.
    #[arg(long, conflicts_with_all = ["save", "repeat", "rate_scale", "price", "prices", "objective"])]
    pub max_rate: bool,
    /// Replicas of --max-rate, in place of the configuration's.
    #[arg(long, value_delimiter = ',', value_name = "N,…", requires = "max_rate", value_parser = clap::value_parser!(u32).range(1..))]
    pub replicas: Vec<u32>,
    /// How to print the plan.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Print no progress.
    #[arg(short, long)]
    pub quiet: bool,
    /// How the trace is shaped.
    #[command(flatten)]
    pub shaping: PartOfTrace,
    /// The load without a trace.
    #[command(flatten)]
    pub load: Load,
    /// What flags change in each configuration.
    #[command(flatten)]
    pub changes: Changes,
}

/// What there is to be least of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Objective {
    /// GPUs.
    Gpus,
    /// Dollars an hour.
    Cost,
    /// Energy over the load.
    Energy,
}
