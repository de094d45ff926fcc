//! What can be typed.

mod plan;
mod report;
mod sweep;
mod validation;
mod workload;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use plan::{Objective, Plan};
pub use report::{Plot, Report};
pub use sweep::{Merge, RunWords, Sweep};
pub use validation::{Calibrate, CalibrateKernels, CalibrateRun, ValidatePoints, ValidateRun};
pub use workload::{Convert, Describe, Dropped, Generate, PartOfTrace, Shaping, Target, Workload, Written};

use super::load_flags::Load;
use super::trace_reading::TraceReading;
use crate::trace_events::Window;

/// What scripts may rely on.
const EXIT_CODES: &str = "\
Exit codes:
  0  all is well
  1  it was tried and failed: a run was interrupted, a file could not be written
  2  it cannot be done as asked: usage, configuration, input; nothing was simulated, or what could be was, and the rest is named

Results go to standard output, all else to standard error. See docs/shell.md.";

/// Predicts latency, throughput and utilisation of an LLM serving deployment, without a GPU.
#[derive(Debug, Parser)]
#[command(name = "llmperforacle", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Arguments {
    /// How much to say on standard error.
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        ignore_case = true,
        default_value_t = LogLevel::Info,
        env = "LLMPERFORACLE_LOG_LEVEL"
    )]
    pub log_level: LogLevel,
    /// Threads to simulate with; 0: one a core. Results are the same to the byte for any number.
    #[arg(
        long,
        global = true,
        value_name = "N",
        default_value_t = 0,
        value_parser = clap::value_parser!(u16).range(..=1024),
        env = "LLMPERFORACLE_THREADS"
    )]
    pub threads: u16,
    /// When to colour. auto: on a terminal, unless NO_COLOR is set.
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = Colour::Auto, env = "LLMPERFORACLE_COLOR")]
    pub color: Colour,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How much to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum LogLevel {
    /// What each engine is, too.
    Debug,
    /// Progress and warnings.
    Info,
    /// Warnings.
    Warning,
    /// Errors alone.
    Error,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// In a pipe too.
    Always,
    /// Not at all.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Simulate a deployment: a configuration file, or a load by flags with --model and --device.
    Run(Box<Run>),
    /// Find the fewest GPUs (or the cheapest, or the most frugal) that serve a load within an SLO, or the highest rate of a deployment.
    Plan(Box<Plan>),
    /// Simulate every point of a grid: any flag of `run` and any --set may have several values.
    Sweep(Box<Sweep>),
    /// Join the shards of a sweep.
    Merge(Merge),
    /// Write a page about a run, a sweep or a plan: verdict, figures, charts, what to try next. One file of HTML that fetches nothing.
    Report(Report),
    /// Draw one chart of a run, as PNG or SVG.
    Plot(Plot),
    /// Check a configuration and say everything that is wrong with it.
    Validate(Validate),
    /// Write an annotated example configuration.
    GenerateConfig(GenerateConfig),
    /// Print the JSON Schema of configurations, for editors.
    Schema(Schema),
    /// Hold runs or configurations side by side: what differs, whether by more than chance, and where the time goes.
    Compare(Compare),
    /// Write a window of a run as a trace for ui.perfetto.dev: steps with their batches, requests with their parts, preemptions.
    Trace(Trace),
    /// Look at a load, write one, or convert one, without simulating.
    #[command(subcommand)]
    Workload(Box<Workload>),
    /// List the models of the catalog, or say what a model's config.json is read as.
    Models(Models),
    /// List the devices of the catalog.
    Devices(Listing),
    /// Simulate recorded runs and say how far the prediction is from what was measured.
    ValidateRun(ValidateRun),
    /// Simulate measured serving points, closed loops at a fixed concurrency, and say how far the prediction is.
    ValidatePoints(ValidatePoints),
    /// Fit what the program knows of a GPU to measurements.
    #[command(subcommand)]
    Calibrate(Calibrate),
    /// Print completions for a shell: of commands, flags, models and devices.
    Completions(Completions),
    /// Print the manual page, or write those of all commands into a folder.
    Man(Man),
}

/// `completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// For which shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// A shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// Bash.
    Bash,
    /// Zsh.
    Zsh,
    /// Fish.
    Fish,
}

/// `man`.
#[derive(Debug, Args)]
pub struct Man {
    /// Folder to write to, such as ~/.local/share/man/man1; it is made if it is not there.
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

/// What flags change in a configuration.
#[derive(Debug, Args)]
pub struct Changes {
    /// Seed of every random draw.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Set any configuration key: workload.total_duration=60, frameworks_to_test[0].config.max_num_seqs=64; [*] means all.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Model FLOPs utilisation of compute-bound kernels, of every framework.
    #[arg(long)]
    pub mfu: Option<f64>,
    /// Memory bandwidth utilisation of memory-bound kernels, of every framework.
    #[arg(long)]
    pub mbu: Option<f64>,
    /// Simulate what vLLM refuses all the same, with a warning.
    #[arg(long)]
    pub force: bool,
    /// Price kernels by your own measurements: a key of efficiency_table, of every device, such as gemm=FILE or
    /// layers=[FOLDER] with layers_model=NAME.
    #[arg(long, value_name = "KEY=VALUE", value_parser = with_key)]
    pub efficiency_table: Vec<String>,
}

/// `run`.
#[derive(Debug, Args)]
#[command(
    override_usage = "llmperforacle run [OPTIONS] CONFIG\n       llmperforacle run [OPTIONS] --trace FILE --model NAME --device NAME\n       llmperforacle run [OPTIONS] --rate PER_S --prompt-tokens N --output-tokens N --model NAME --device NAME"
)]
pub struct Run {
    /// Configuration file, YAML or JSON; - for standard input.
    #[arg(required_unless_present_any = ["trace", "workload", "prompt_tokens", "rate", "concurrency", "users", "model", "device"])]
    pub config: Option<PathBuf>,
    /// The predecessor's flag. YAML and JSON are told apart by themselves.
    #[arg(short = 'f', value_enum, hide = true)]
    pub config_format: Option<FileFormat>,
    /// Replay this trace (CSV, JSON or Parquet, packed or not; a run's own requests.csv too), without a configuration; - for
    /// standard input.
    #[arg(long, requires_all = ["model", "device"])]
    pub trace: Option<PathBuf>,
    /// Layout of the trace, if it is not told by its fields: see docs/workloads/traces.md.
    #[arg(long)]
    pub trace_format: Option<String>,
    #[command(flatten)]
    pub reading: TraceReading,
    /// Model: a catalog name (see `models`), or a Hugging Face config.json.
    #[arg(long)]
    pub model: Option<String>,
    /// The model_type that the model's config.json is read as, whatever it says itself (see `models`).
    #[arg(long, value_name = "MODEL_TYPE")]
    pub assume: Option<String>,
    /// Device: a catalog name (see `devices`).
    #[arg(long)]
    pub device: Option<String>,
    /// Data-parallel replicas; 1 without.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub replicas: Option<u32>,
    /// Tensor-parallel ranks of a replica; 1 without.
    #[arg(
        long,
        value_name = "N",
        visible_aliases = ["tp", "tensor-parallel-size"],
        aliases = ["tensor_parallel_size"],
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub tensor_parallel: Option<u32>,
    /// Pipeline stages of a replica; 1 without.
    #[arg(
        long,
        value_name = "N",
        visible_aliases = ["pp", "pipeline-parallel-size"],
        aliases = ["pipeline_parallel_size"],
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub pipeline_parallel: Option<u32>,
    /// How weights are stored, by a name of the key weight_dtype or a method of vLLM's --quantization that is of one format.
    #[arg(long, value_name = "TYPE")]
    pub quantization: Option<String>,
    /// Token budget of a step.
    #[arg(long, value_name = "TOKENS")]
    pub max_num_batched_tokens: Option<u32>,
    /// Seats of an engine.
    #[arg(long, value_name = "N")]
    pub max_num_seqs: Option<u32>,
    /// Policy of the router.
    #[arg(long, value_name = "NAME")]
    pub router: Option<String>,
    /// How the trace is shaped.
    #[command(flatten)]
    pub shaping: Shaping,
    /// What clients expect of an answer: metric=time with ms or s, of ttft, tpot, itl (the longest gap between two tokens) and
    /// e2e, such as ttft=500ms,tpot=50ms. The result then has the goodput.
    #[arg(long, value_name = "METRIC=TIME,...", allow_hyphen_values = true)]
    pub slo: Vec<String>,
    /// Folder to write to, instead of output/<name>; none: write no file.
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// Replace the files of a run of another configuration.
    #[arg(long)]
    pub overwrite: bool,
    /// Name of the run, instead of the file's or, of a trace, that of trace, model, device, ranks and replicas.
    #[arg(long)]
    pub name: Option<String>,
    /// Print neither progress nor the table.
    #[arg(short, long)]
    pub quiet: bool,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Say on standard error where the time went, phase by phase.
    #[arg(long)]
    pub profile: bool,
    /// Do not write requests.csv.
    #[arg(long)]
    pub no_csv: bool,
    /// Also write this part of simulated time as trace.json for ui.perfetto.dev, as `trace` does: FROM:TO in seconds.
    #[arg(long, value_name = "FROM:TO", value_parser = clap::value_parser!(Window))]
    pub trace_window: Option<Window>,
    /// How much load there is and what it asks for.
    #[command(flatten)]
    pub load: Load,
    /// What flags change in the configuration.
    #[command(flatten)]
    pub changes: Changes,
}

/// `compare`.
#[derive(Debug, Args)]
pub struct Compare {
    /// Folders of runs, or configurations, which are simulated; all are held against the first. Runs that differ in nothing but
    /// their seed are one side.
    #[arg(required = true, num_args = 2.., value_name = "RUN|CONFIG")]
    pub of: Vec<PathBuf>,
    /// Simulate every configuration with so many seeds, its own and those after it.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeat: u32,
    /// How to print the comparison.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// What flags change in every configuration.
    #[command(flatten)]
    pub changes: Changes,
}

/// `trace`.
#[derive(Debug, Args)]
pub struct Trace {
    /// Folder of a run, which is simulated again, or a configuration.
    #[arg(value_name = "RUN|CONFIG")]
    pub of: PathBuf,
    /// Which part of simulated time: FROM:TO in seconds.
    #[arg(long, value_name = "FROM:TO", value_parser = clap::value_parser!(Window))]
    pub window: Window,
    /// File to write, such as trace.json; without it, standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace a file that is there already.
    #[arg(long)]
    pub overwrite: bool,
    /// What flags change in the configuration.
    #[command(flatten)]
    pub changes: Changes,
}

/// `validate`.
#[derive(Debug, Args)]
pub struct Validate {
    /// Configuration file, YAML or JSON; - for standard input.
    pub config: PathBuf,
    /// Check every model of the configuration's model_characteristics_db_path too.
    #[arg(short = 'm', long)]
    pub validate_models: bool,
    /// How to print what was found.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// What flags change in the configuration.
    #[command(flatten)]
    pub changes: Changes,
}

/// `generate-config`.
#[derive(Debug, Args)]
pub struct GenerateConfig {
    /// File to write; - for standard output.
    #[arg(short, long, default_value = "example_config.yaml")]
    pub output: PathBuf,
    /// YAML with comments, or JSON.
    #[arg(short, long, value_enum, default_value_t = FileFormat::Yaml)]
    pub format: FileFormat,
    /// Overwrite the file if it exists.
    #[arg(long)]
    pub force: bool,
}

/// `schema`.
#[derive(Debug, Args)]
pub struct Schema {
    /// Print the keys as a reference in Markdown instead.
    #[arg(long)]
    pub reference: bool,
}

/// `models`.
#[derive(Debug, Args)]
pub struct Models {
    /// Only those whose name contains this; or the one model of a Hugging Face config.json, of its folder, or of this very name.
    #[arg(value_name = "FILTER|PATH")]
    pub filter: Option<String>,
    /// Read the config.json as one of this model_type, whatever it says itself.
    #[arg(long, value_name = "MODEL_TYPE")]
    pub assume: Option<String>,
    /// How to print them.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// `devices` and the like.
#[derive(Debug, Args)]
pub struct Listing {
    /// Only those whose name contains this.
    pub filter: Option<String>,
    /// How to print them.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[value(alias = "table")]
    Text,
    /// Everything, for programs.
    Json,
    /// A row a thing or a figure, with all digits.
    Csv,
    /// The text's tables for a page.
    #[value(alias = "md")]
    Markdown,
}

/// How to write a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    /// YAML, with comments.
    Yaml,
    /// JSON.
    Json,
}

fn with_key(text: &str) -> Result<String, String> {
    let has_key = text.contains('=');
    has_key
        .then(|| text.to_owned())
        .ok_or_else(|| "write a key of efficiency_table before it, such as gemm=FILE".to_owned())
}
