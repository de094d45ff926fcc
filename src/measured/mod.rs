//! Measured kernels: the files that hold them, and what they come to as a device's table.
//!
//! It owns what a column means (`lines`) and which kernel a layer of vLLM is (`profile`). `calibrate` fits curves to the lines;
//! `times` makes of them what a step is priced with (`oracle_components::kernel_times`).
//!
//! It knows no configuration: what is wrong is said with file, line and column.

mod line_fit;
mod lines;
mod profile;
mod roofs;
mod times;

use std::path::PathBuf;

use thiserror::Error;

pub(crate) use lines::{
    AttentionLine, DecodeLine, DenseLine, ExpertsLine, GemmLine, PerSequenceLine, PrefillLine, Timed, read,
};
pub(crate) use profile::Profile;
pub use times::{Measured, kernel_times};

/// Measured kernels of one device.
#[derive(Clone, Debug, Default)]
pub struct KernelFiles {
    /// Matrix products in 16 bits: `m,n,k,latency_ms`.
    pub gemm: Option<PathBuf>,
    /// The same in 8 bits, activations quantised on the way.
    pub gemm_8bit: Option<PathBuf>,
    /// Those in 8 bits where square blocks of weights share a scale.
    pub gemm_8bit_block: Option<PathBuf>,
    /// The same in 4 bits.
    pub gemm_4bit: Option<PathBuf>,
    /// A layer's prefill attention: `batch,seq,heads,kv_heads,head_dim,kv_dtype,latency_ms`.
    pub prefill_attention: Option<PathBuf>,
    /// A layer's decode attention: `batch,kv_len,heads,kv_heads,head_dim,kv_dtype,latency_ms`.
    pub decode_attention: Option<PathBuf>,
    /// A layer's routed experts: `gpu,dtype,hidden,inter,experts,topk,tp,ep,distribution,tokens,latency_ms`.
    pub experts: Option<PathBuf>,
    /// The `gpu` of the lines of `experts` that count.
    pub experts_gpu: Option<String>,
    /// The same with `kernel_source`, by which families of kernels are told apart.
    pub expert_kernels: Option<PathBuf>,
    /// Experts in it that are not gated: widths of a vector and inside one.
    pub two_matrix_experts: Vec<[u32; 2]>,
    /// Folders with the layers of a model under vLLM (`dense.csv`, `per_sequence.csv`, `attention.csv`), each with the ranks
    /// that it was divided among.
    pub layers: Vec<(PathBuf, u32)>,
}

/// Why measured kernels cannot be used.
#[derive(Debug, Error)]
pub enum MeasuredError {
    /// The file cannot be read.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system or the reader says, with the line.
        reason: String,
    },
    /// It has no line that could be used.
    #[error("{path} has no {what}")]
    Nothing {
        /// Which.
        path: PathBuf,
        /// What was looked for.
        what: String,
    },
    /// Layers of a model that has none such.
    #[error("{path} holds the layers of {model}, which has no attention over keys and values")]
    OtherLayers {
        /// Which.
        path: PathBuf,
        /// The model that is said to have been measured.
        model: String,
    },
}

/// How a real gate routes, as measurements of experts imitate it.
pub(crate) const REAL_GATE: &str = "power_law";

/// A folder of layers, and the ranks after an `@` that it was divided among.
///
/// # Errors
/// If what comes after the `@` is no number of ranks.
pub fn layers_folder(text: &str) -> Result<(PathBuf, u32), String> {
    match text.rsplit_once('@') {
        None => Ok((PathBuf::from(text), 1)),
        Some((folder, ranks)) => match ranks.parse() {
            Ok(ranks) if ranks > 0 => Ok((PathBuf::from(folder), ranks)),
            _ => Err(format!("{text}: a number of ranks comes after the @")),
        },
    }
}
