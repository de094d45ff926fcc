//! Files of measured kernels, read line by line.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

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
}

#[derive(Debug, Deserialize)]
pub(super) struct GemmLine {
    pub(super) m: u32,
    pub(super) n: u32,
    pub(super) k: u32,
    pub(super) latency_ms: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct PrefillLine {
    pub(super) batch: u32,
    pub(super) seq: u32,
    pub(super) heads: u32,
    pub(super) kv_heads: u32,
    pub(super) head_dim: u32,
    pub(super) kv_dtype: String,
    pub(super) latency_ms: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct DecodeLine {
    pub(super) batch: u32,
    pub(super) kv_len: u32,
    pub(super) heads: u32,
    pub(super) kv_heads: u32,
    pub(super) head_dim: u32,
    pub(super) kv_dtype: String,
    pub(super) latency_ms: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct ExpertsLine {
    pub(super) gpu: String,
    pub(super) dtype: String,
    pub(super) hidden: u32,
    pub(super) inter: u32,
    pub(super) experts: u32,
    pub(super) topk: u32,
    pub(super) tp: u32,
    pub(super) ep: u32,
    pub(super) distribution: String,
    pub(super) tokens: u32,
    pub(super) latency_ms: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct DenseLine {
    pub(super) layer: String,
    pub(super) tokens: u32,
    pub(super) time_us: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct PerSequenceLine {
    pub(super) layer: String,
    pub(super) sequences: u32,
    pub(super) time_us: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct AttentionLine {
    pub(super) prefill_chunk: u32,
    pub(super) kv_prefill: u32,
    pub(super) n_decode: u32,
    pub(super) kv_decode: u32,
    pub(super) time_us: f64,
}

/// What a line says it took.
pub(super) trait Timed {
    /// In seconds.
    fn seconds(&self) -> f64;
}

macro_rules! timed {
    ($($line:ty, $field:ident, $factor:literal;)+) => {
        $(impl Timed for $line {
            fn seconds(&self) -> f64 {
                self.$field * $factor
            }
        })+
    };
}

timed! {
    GemmLine, latency_ms, 1e-3;
    PrefillLine, latency_ms, 1e-3;
    DecodeLine, latency_ms, 1e-3;
    ExpertsLine, latency_ms, 1e-3;
    DenseLine, time_us, 1e-6;
    PerSequenceLine, time_us, 1e-6;
    AttentionLine, time_us, 1e-6;
}

/// All lines of a CSV file. A kernel that took no time is an error of the file.
pub(super) fn read<L: DeserializeOwned + Timed>(path: &Path) -> Result<Vec<L>, MeasuredError> {
    let unreadable = |reason: String| MeasuredError::Unreadable { path: path.to_owned(), reason };
    let mut reader = csv::Reader::from_path(path).map_err(|error| unreadable(error.to_string()))?;
    let headers = reader.headers().map_err(|error| unreadable(error.to_string()))?.clone();
    let mut lines = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| unreadable(error.to_string()))?;
        let at = record.position().map_or(0, csv::Position::line);
        let line: L = record.deserialize(Some(&headers)).map_err(|error| unreadable(error.to_string()))?;
        if !(line.seconds() > 0.0 && line.seconds().is_finite()) {
            return Err(unreadable(format!("line {at}: a kernel takes some time, above 0")));
        }
        lines.push(line);
    }
    Ok(lines)
}
