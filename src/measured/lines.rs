//! Files of measured kernels, read line by line.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::MeasuredError;

/// A kernel takes no longer, in seconds. Real ones take less than one.
const LONGEST_KERNEL_S: f64 = 60.0;

#[derive(Debug, Deserialize)]
pub(crate) struct GemmLine {
    pub(crate) m: u32,
    pub(crate) n: u32,
    pub(crate) k: u32,
    pub(crate) latency_ms: f64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PrefillLine {
    pub(crate) batch: u32,
    pub(crate) seq: u32,
    pub(crate) heads: u32,
    pub(crate) kv_heads: u32,
    pub(crate) head_dim: u32,
    pub(crate) kv_dtype: String,
    pub(crate) latency_ms: f64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct DecodeLine {
    pub(crate) batch: u32,
    pub(crate) kv_len: u32,
    pub(crate) heads: u32,
    pub(crate) kv_heads: u32,
    pub(crate) head_dim: u32,
    pub(crate) kv_dtype: String,
    pub(crate) latency_ms: f64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ExpertsLine {
    pub(crate) gpu: String,
    pub(crate) dtype: String,
    pub(crate) hidden: u32,
    pub(crate) inter: u32,
    pub(crate) experts: u32,
    pub(crate) topk: u32,
    pub(crate) tp: u32,
    pub(crate) ep: u32,
    pub(crate) distribution: String,
    /// The kernel that vLLM took, where it was noted.
    #[serde(default)]
    pub(crate) kernel_source: Option<String>,
    pub(crate) tokens: u32,
    pub(crate) latency_ms: f64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct DenseLine {
    pub(crate) layer: String,
    pub(crate) tokens: u32,
    pub(crate) time_us: f64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PerSequenceLine {
    pub(crate) layer: String,
    pub(crate) sequences: u32,
    pub(crate) time_us: f64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct AttentionLine {
    pub(crate) prefill_chunk: u32,
    pub(crate) kv_prefill: u32,
    pub(crate) n_decode: u32,
    pub(crate) kv_decode: u32,
    pub(crate) time_us: f64,
}

/// What passes between two kernels of a CUDA graph and is in no kernel's time: a kernel that does nothing takes that long
/// there (Hazy Research, "Look Ma, No Bubbles!", 2025, on an H100).
const BETWEEN_KERNELS_S: f64 = 1.3e-6;
/// Largest size of a shape.
const MOST: u32 = 1 << 24;

/// What a line says it took.
pub(crate) trait Timed {
    /// The column that says so.
    const COLUMN: &'static str;

    /// In seconds.
    fn seconds(&self) -> f64;

    /// Until the next kernel of a CUDA graph starts, of a time that ends with the kernel as a profiler's does.
    fn seconds_to_next(&self) -> f64 {
        self.seconds() + BETWEEN_KERNELS_S
    }
}

macro_rules! timed {
    ($($line:ty, $field:ident, $factor:literal;)+) => {
        $(impl Timed for $line {
            const COLUMN: &'static str = stringify!($field);

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

/// A line of which a table has at most one with the same shape.
pub(super) trait Shaped: Timed {
    /// Its shape.
    fn shape(&self) -> Vec<&dyn std::fmt::Display>;

    /// Its sizes by their columns, and the least that makes sense.
    fn sizes(&self) -> Vec<(&'static str, u32, u32)>;
}

macro_rules! shaped {
    ($($line:ty: [$($name:ident),*], from 1 [$($size:ident),*], from 0 [$($other:ident),*];)+) => {
        $(impl Shaped for $line {
            fn shape(&self) -> Vec<&dyn std::fmt::Display> {
                vec![$(&self.$name,)* $(&self.$size,)* $(&self.$other,)*]
            }

            fn sizes(&self) -> Vec<(&'static str, u32, u32)> {
                vec![$((stringify!($size), self.$size, 1),)* $((stringify!($other), self.$other, 0),)*]
            }
        })+
    };
}

shaped! {
    GemmLine: [], from 1 [m, n, k], from 0 [];
    PrefillLine: [kv_dtype], from 1 [batch, seq, heads, kv_heads, head_dim], from 0 [];
    DecodeLine: [kv_dtype], from 1 [batch, kv_len, heads, kv_heads, head_dim], from 0 [];
    ExpertsLine: [dtype], from 1 [hidden, inter, experts, topk, tp, ep, tokens], from 0 [];
    DenseLine: [layer], from 1 [tokens], from 0 [];
    PerSequenceLine: [layer], from 1 [sequences], from 0 [];
    AttentionLine: [], from 1 [], from 0 [prefill_chunk, kv_prefill, n_decode, kv_decode];
}

/// All lines of a CSV file. A kernel that took no time is an error of the file.
pub(crate) fn read<L: DeserializeOwned + Timed>(path: &Path) -> Result<Vec<L>, MeasuredError> {
    Ok(read_numbered(path)?.into_iter().map(|(_, line)| line).collect())
}

/// The lines of a CSV file that are wanted, at least one, no shape twice and all of sizes that there are.
pub(super) fn read_table<L: DeserializeOwned + Shaped>(
    path: &Path,
    wanted: &str,
    is_wanted: impl Fn(&L) -> bool,
) -> Result<Vec<L>, MeasuredError> {
    let wrong = |reason| MeasuredError::Unreadable { path: path.to_owned(), reason };
    let mut first: BTreeMap<String, u64> = BTreeMap::new();
    let mut lines = Vec::new();
    for (at, line) in read_numbered::<L>(path)?.into_iter().filter(|(_, line)| is_wanted(line)) {
        let is_wrong = |(_, size, least): &(_, u32, u32)| !(*least..=MOST).contains(size);
        if let Some((column, size, least)) = line.sizes().into_iter().find(is_wrong) {
            return Err(wrong(format!("line {at}, column {column}: {size}, where {least} to {MOST} make sense")));
        }
        let shape = line.shape().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if let Some(before) = first.insert(shape.clone(), at) {
            return Err(wrong(format!("line {at} measures the shape ({shape}) again, after line {before}; keep one")));
        }
        lines.push(line);
    }
    if lines.is_empty() {
        return Err(MeasuredError::Nothing { path: path.to_owned(), what: wanted.to_owned() });
    }
    Ok(lines)
}

fn read_numbered<L: DeserializeOwned + Timed>(path: &Path) -> Result<Vec<(u64, L)>, MeasuredError> {
    let unreadable = |reason: String| MeasuredError::Unreadable { path: path.to_owned(), reason };
    let mut reader = csv::Reader::from_path(path).map_err(|error| unreadable(error.to_string()))?;
    let headers = reader.headers().map_err(|error| unreadable(error.to_string()))?.clone();
    let mut lines = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| unreadable(error.to_string()))?;
        let at = record.position().map_or(0, csv::Position::line);
        let line: L = record.deserialize(Some(&headers)).map_err(|error| unreadable(in_words(&error, at, &headers)))?;
        if !(line.seconds() > 0.0 && line.seconds() <= LONGEST_KERNEL_S) {
            let what = format!("a kernel takes some time, above 0 and up to {LONGEST_KERNEL_S} s");
            return Err(unreadable(format!("line {at}, column {}: {what}", L::COLUMN)));
        }
        lines.push((at, line));
    }
    Ok(lines)
}

/// A field that is not what it should be, by its column.
fn in_words(error: &csv::Error, at: u64, headers: &csv::StringRecord) -> String {
    let csv::ErrorKind::Deserialize { err, .. } = error.kind() else { return error.to_string() };
    let column = err.field().and_then(|field| headers.get(usize::try_from(field).ok()?));
    match column {
        Some(column) => format!("line {at}, column {column}: {}", err.kind()),
        None => format!("line {at}: {}", err.kind()),
    }
}
