//! Where the time of a request goes, from the columns of `requests.parquet`.
//!
//! The parts of a request lie side by side from its arrival to its first token, and on to its completion: they add up to TTFT and
//! E2E to the nanosecond, which is what the columns hold. What they cannot tell apart is lumped, as the names say: what a
//! preemption costs is within the prefill or the decode of a request that was preempted.

use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use crate::inputs;

/// Nanoseconds of a second and of a millisecond.
const SECOND_NS: f64 = 1e9;
const MILLISECOND_NS: f64 = 1e6;

/// A part of a request's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// From the client to the engine: links and the server's front end.
    Ingress,
    /// In the waiting queue, until the first step that computes a token.
    Queue,
    /// From that step to the first token at the client: its steps, those that left it out, and the token's way.
    Prefill,
    /// The same of a request that was preempted at some time.
    PreemptedPrefill,
    /// From the computed prompt until its KV cache begins to be loaded: the decode engine's queue.
    KvWait,
    /// While the KV cache is loaded.
    KvTransfer,
    /// From the loaded KV cache to the first token at the client.
    FirstStep,
    /// From the first token to the last.
    Decode,
    /// The same of a request that was preempted at some time.
    PreemptedDecode,
    /// From the last token to the end: the way of an answer that is not streamed.
    Egress,
}

impl Part {
    /// All of them, in the order of a request's life.
    pub const ALL: [Self; 10] = [
        Self::Ingress,
        Self::Queue,
        Self::Prefill,
        Self::PreemptedPrefill,
        Self::KvWait,
        Self::KvTransfer,
        Self::FirstStep,
        Self::Decode,
        Self::PreemptedDecode,
        Self::Egress,
    ];
    /// As many come before the first token.
    const OF_TTFT: usize = 7;

    /// Those of TTFT.
    #[must_use]
    pub fn of_ttft() -> &'static [Self] {
        &Self::ALL[..Self::OF_TTFT]
    }

    /// Its name for programs.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Ingress => "network_in",
            Self::Queue => "queue",
            Self::Prefill => "prefill",
            Self::PreemptedPrefill => "prefill_of_preempted",
            Self::KvWait => "kv_wait",
            Self::KvTransfer => "kv_transfer",
            Self::FirstStep => "first_decode_step",
            Self::Decode => "decode",
            Self::PreemptedDecode => "decode_of_preempted",
            Self::Egress => "network_out",
        }
    }

    /// Its name for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Ingress => "network and front end",
            Self::Queue => "queue",
            Self::Prefill => "prefill",
            Self::PreemptedPrefill => "prefill, preempted requests",
            Self::KvWait => "queue for KV transfer",
            Self::KvTransfer => "KV transfer",
            Self::FirstStep => "first decode step",
            Self::Decode => "decode",
            Self::PreemptedDecode => "decode, preempted requests",
            Self::Egress => "network, whole answer",
        }
    }
}

/// A request that succeeded, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestTimes {
    /// Sent.
    pub arrival: i64,
    /// By part, in the order of [`Part::ALL`].
    pub parts: [i64; Part::ALL.len()],
    /// As its column has it.
    pub ttft: i64,
    /// As its column has it.
    pub e2e: i64,
}

/// The columns that are read.
const NAMES: [&str; 14] = [
    "status",
    "arrival_time",
    "first_token_time",
    "last_token_time",
    "completion_time",
    "ttft_ms",
    "e2e_latency_ms",
    "ingress_time_ms",
    "queue_time_ms",
    "preemptions",
    "prompt_tokens",
    "prefill_end_time",
    "kv_wait_time_ms",
    "kv_transfer_time_ms",
];
/// So many of them every file has.
const ALWAYS: usize = 11;

/// Calls `take` with every request that succeeded, and `all` with the prompt's tokens of every request.
///
/// # Errors
/// What is wrong with the file, in words.
pub fn read(path: &Path, mut all: impl FnMut(u64), mut take: impl FnMut(&RequestTimes)) -> Result<u64, String> {
    let broken = |error: ParquetError| format!("{} cannot be read: {error}", path.display());
    let file = inputs::open_file(path).map_err(|error| format!("cannot open {}: {error}", path.display()))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(broken)?;
    let names: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    if let Some(missing) = NAMES[..ALWAYS].iter().find(|name| !names.iter().any(|has| has == *name)) {
        return Err(format!("{} has no column {missing}: it is no requests.parquet of this program", path.display()));
    }
    let read = names.iter().enumerate().filter(|(_, name)| NAMES.contains(&name.as_str())).map(|(place, _)| place);
    let mask = ProjectionMask::roots(builder.parquet_schema(), read);
    let reader = builder.with_projection(mask).build().map_err(broken)?;
    let mut rows = 0;
    for batch in reader {
        let batch = batch.map_err(|error| broken(error.into()))?;
        let columns = Columns::of(&batch).ok_or_else(|| format!("{}: columns of other types", path.display()))?;
        for row in 0..batch.num_rows() {
            rows += 1;
            all(columns.prompt_tokens.value(row).unsigned_abs());
            if columns.status.value(row) == "SUCCESS" {
                let times = columns.times(row);
                take(&times.ok_or_else(|| format!("{}: row {rows} succeeded and lacks a time", path.display()))?);
            }
        }
    }
    Ok(rows)
}

type Floats<'a> = &'a arrow_array::PrimitiveArray<Float64Type>;
type Integers<'a> = &'a arrow_array::PrimitiveArray<Int64Type>;

/// The columns of a batch.
struct Columns<'a> {
    status: &'a arrow_array::StringArray,
    /// In the order of [`NAMES`], from `arrival_time` to `queue_time_ms`.
    always: [Floats<'a>; 8],
    preemptions: Integers<'a>,
    prompt_tokens: Integers<'a>,
    /// `prefill_end_time`, `kv_wait_time_ms`, `kv_transfer_time_ms`.
    of_pools: [Option<Floats<'a>>; 3],
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Option<Self> {
        let floats = |name: &str| batch.column_by_name(name)?.as_primitive_opt::<Float64Type>();
        let integers = |name: &str| batch.column_by_name(name)?.as_primitive_opt::<Int64Type>();
        let mut always = Vec::new();
        for name in &NAMES[1..9] {
            always.push(floats(name)?);
        }
        Some(Self {
            status: batch.column_by_name("status")?.as_string_opt::<i32>()?,
            always: always.try_into().ok()?,
            preemptions: integers("preemptions")?,
            prompt_tokens: integers("prompt_tokens")?,
            of_pools: [NAMES[11], NAMES[12], NAMES[13]].map(floats),
        })
    }

    /// The parts of a row, if it has all times that a request has that succeeded.
    fn times(&self, row: usize) -> Option<RequestTimes> {
        let in_ns = |column: Floats<'_>, unit: f64| {
            let is_there = row < column.len() && !column.is_null(row);
            // Columns hold whole nanoseconds, correctly rounded (`output/columns.rs`).
            is_there.then(|| (column.value(row) * unit).round() as i64)
        };
        let [arrival, first, last, completion, ttft, e2e, ingress, queue] = self.always;
        let [arrival, first, last, completion] =
            [arrival, first, last, completion].map(|column| in_ns(column, SECOND_NS));
        let [ttft, e2e, ingress, queue] = [ttft, e2e, ingress, queue].map(|column| in_ns(column, MILLISECOND_NS));
        let (arrival, first, last, completion) = (arrival?, first?, last?, completion?);
        let [prefill_end, kv_wait, kv_transfer] = self.of_pools;
        let prefill_end = prefill_end.and_then(|column| in_ns(column, SECOND_NS));
        let kv_wait = kv_wait.and_then(|column| in_ns(column, MILLISECOND_NS)).unwrap_or(0);
        let kv_transfer = kv_transfer.and_then(|column| in_ns(column, MILLISECOND_NS)).unwrap_or(0);
        let (ingress, queue) = (ingress?, queue?);
        let scheduled = arrival + ingress + queue;
        let was_preempted = self.preemptions.value(row) > 0;
        let mut times = RequestTimes { arrival, ttft: ttft?, e2e: e2e?, ..RequestTimes::default() };
        let mut put = |part: Part, time: i64| times.parts[part as usize] = time;
        put(Part::Ingress, ingress);
        let prefill = if was_preempted { Part::PreemptedPrefill } else { Part::Prefill };
        match prefill_end {
            // Pools: the prompt is computed in one engine, and its KV cache loaded by another.
            Some(end) => {
                put(Part::Queue, queue);
                put(prefill, end - scheduled);
                put(Part::KvWait, kv_wait);
                put(Part::FirstStep, first - end - kv_wait - kv_transfer);
            }
            // An engine alone; where it loads what no engine computes, that lies before its first step.
            None => {
                put(Part::Queue, queue - kv_transfer);
                put(prefill, first - scheduled);
            }
        }
        put(Part::KvTransfer, kv_transfer);
        put(if was_preempted { Part::PreemptedDecode } else { Part::Decode }, last - first);
        put(Part::Egress, completion - last);
        Some(times)
    }
}
