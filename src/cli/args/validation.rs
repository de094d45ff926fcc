//! What can be typed of measurements: holding predictions against them, and fitting to them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Changes, Format};

/// `validate-run`.
#[derive(Debug, Args)]
pub struct ValidateRun {
    /// Folders of recorded runs, each with run.json and requests.csv.
    #[arg(required = true, value_name = "DIR")]
    pub folders: Vec<PathBuf>,
    /// Hugging Face config.json of the runs' model, where the catalog lacks it.
    #[arg(long, value_name = "FILE")]
    pub model_config: Option<PathBuf>,
    /// How to print the comparison. JSON is an object for one run, a list for several.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// File to print the comparison to, instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Draw predicted against measured, request by request, into this SVG; not for several runs.
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// Write each request's latencies, measured and predicted, into this CSV; not for several runs.
    #[arg(long, value_name = "FILE.csv")]
    pub requests: Option<PathBuf>,
    /// Replace a file that is there already.
    #[arg(long)]
    pub overwrite: bool,
    /// What flags change in the configuration that a run becomes.
    #[command(flatten)]
    pub changes: Changes,
}

/// `validate-points`.
#[derive(Debug, Args)]
pub struct ValidatePoints {
    /// Tables of points, by their headers: AIConfigurator's (system, model_path, isl, osl, concurrency, tp_size, ttft_ms, tpot_ms
    /// and so on), or tidy ones (gpu, model, engine, version, tp, dp, ep, isl, osl, concurrency, ttft_ms, tpot_ms and so on).
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Print errors by cohort alone: who measured, engine, kind of model, weights, device.
    #[arg(long)]
    pub cohorts: bool,
    /// Hugging Face config.json of the points' model, where the catalog lacks it.
    #[arg(long, value_name = "FILE")]
    pub model_config: Option<PathBuf>,
    /// How to print the comparison.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// File to print the comparison to, instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace a file that is there already.
    #[arg(long)]
    pub overwrite: bool,
    /// What flags change in the configurations that the points become.
    #[command(flatten)]
    pub changes: Changes,
}

/// `calibrate run`.
#[derive(Debug, Args)]
pub struct CalibrateRun {
    /// Folder of the recorded run, with run.json and requests.csv.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Hugging Face config.json of the run's model, where the catalog lacks it.
    #[arg(long, value_name = "FILE")]
    pub model_config: Option<PathBuf>,
    /// How to print the fit: YAML to put into a configuration as text, the others with all errors before and after.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// File to print the fit to, instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace a file that is there already.
    #[arg(long)]
    pub overwrite: bool,
    /// What flags change in the configuration that the run becomes.
    #[command(flatten)]
    pub changes: Changes,
}

/// `calibrate`.
#[derive(Debug, Subcommand)]
pub enum Calibrate {
    /// Fit efficiency curves to measured kernels, and say how far they are off on shapes that were held out.
    Kernels(Box<CalibrateKernels>),
    /// Fit mfu, mbu and the host's time a step to one recorded run, for a GPU that the catalog lacks.
    Run(CalibrateRun),
}

/// `calibrate kernels`.
#[derive(Debug, Args)]
pub struct CalibrateKernels {
    /// The measured device: a catalog name (see `devices`). What no file measures is taken over from its curve.
    #[arg(long)]
    pub device: String,
    /// Matrix products in 16 bits: CSV with m, n, k, latency_ms.
    #[arg(long, value_name = "CSV")]
    pub gemm: Option<PathBuf>,
    /// Matrix products in 8 bits, their activations quantised on the way: m, n, k, latency_ms.
    #[arg(long, value_name = "CSV")]
    pub gemm_8bit: Option<PathBuf>,
    /// Those whose 8-bit weights share scales by square blocks.
    #[arg(long, value_name = "CSV")]
    pub gemm_8bit_block: Option<PathBuf>,
    /// Matrix products in 4 bits (NVFP4), their activations quantised on the way.
    #[arg(long, value_name = "CSV")]
    pub gemm_4bit: Option<PathBuf>,
    /// Weights of up to so many MB may have stayed in the L2 cache while products were measured, as those of a model do not:
    /// leaves out their products of less than 1024 rows.
    #[arg(long, value_name = "MB", default_value_t = 0.0)]
    pub cached_weights_mb: f64,
    /// What the L2 cache holds: a decode whose KV cache of the one measured layer may stay in it, as that of a model does not,
    /// is left out of the fit.
    #[arg(long, value_name = "MB", default_value_t = 50.0)]
    pub l2_mb: f64,
    /// A layer's prefill attention: batch, seq, heads, kv_heads, head_dim, kv_dtype, latency_ms.
    #[arg(long, value_name = "CSV")]
    pub prefill_attention: Option<PathBuf>,
    /// A layer's decode attention: batch, kv_len, heads, kv_heads, head_dim, kv_dtype, latency_ms.
    #[arg(long, value_name = "CSV")]
    pub decode_attention: Option<PathBuf>,
    /// A layer's routed experts: gpu, dtype, hidden, inter, experts, topk, tp, ep, distribution, tokens, latency_ms.
    #[arg(long, value_name = "CSV")]
    pub moe: Option<PathBuf>,
    /// Only lines of --moe with this gpu.
    #[arg(long, requires = "moe")]
    pub moe_gpu: Option<String>,
    /// The same with kernel_source, the kernel that the engine took: a curve for each kind of weights and family of kernels.
    #[arg(long, value_name = "CSV")]
    pub moe_kernels: Option<PathBuf>,
    /// Experts of --moe-kernels that are not gated, so that each has two matrices: the width of a vector × the width inside one.
    #[arg(long, value_name = "HIDDENxINTER", value_delimiter = ',', value_parser = tuned_experts, requires = "moe_kernels")]
    pub two_matrix_experts: Vec<[u32; 2]>,
    /// Folder with dense.csv, per_sequence.csv and attention.csv of a model's layers under vLLM, with @N if divided among
    /// N ranks; may be given more than once.
    #[arg(long, value_name = "DIR[@N]")]
    pub layers: Vec<String>,
    /// The model of --layers: a catalog name (see `models`).
    #[arg(long, default_value = "Llama3.1-8B")]
    pub layers_model: String,
    /// Name of the curve, instead of the device's.
    #[arg(long)]
    pub name: Option<String>,
    /// Where the measurements come from, for the file.
    #[arg(long)]
    pub source: Option<String>,
    /// Curve of the catalog that what is not measured comes from, instead of the device's.
    #[arg(long, value_name = "CURVE")]
    pub take_over_from: Option<String>,
    /// Curve of the catalog that what decodes take beside prompts comes from where --layers does not tell, divided among the
    /// device's multiprocessors: H100-SXM if the heads that share a KV head share a tile (FlashAttention 3), RTX-4090 if each
    /// is a tile of its own (FlashAttention 2).
    #[arg(long, value_name = "CURVE")]
    pub mixed_from: Option<String>,
    /// The only sizes of experts that the kernels of --moe are tuned for, as vLLM ships them for a device: how many × the
    /// width of one, on a rank. Without any, all sizes fare alike.
    #[arg(long, value_name = "EXPERTSxWIDTH", value_delimiter = ',', value_parser = tuned_experts, requires = "moe")]
    pub tuned_experts: Vec<[u32; 2]>,
    /// File to write the curve to; without it, standard output.
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// Replace a file that is there already.
    #[arg(long)]
    pub overwrite: bool,
    /// How to print the errors: to standard output, or to standard error where the curve goes there.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

fn tuned_experts(text: &str) -> Result<[u32; 2], String> {
    let numbers = text.split_once('x').and_then(|(experts, width)| Some([experts.parse().ok()?, width.parse().ok()?]));
    numbers.ok_or_else(|| "not a number of experts and a width, such as 8x3584".to_owned())
}
