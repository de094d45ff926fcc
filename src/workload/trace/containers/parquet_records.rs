//! Records of a Parquet file, in batches out of one row group after the other; of its columns those that are asked for.
//!
//! A value becomes the text that a CSV would hold. A point in time becomes its seconds since 1970 with an `s` behind, so that it is
//! never read in another unit.

use std::fs::File;
use std::io;
use std::sync::{Mutex, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use csv::ByteRecord;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;

use super::replay::Replay;

/// Records in memory.
const BATCH_ROWS: usize = 4096;

/// A Parquet file.
pub(in crate::workload::trace) struct ParquetRecords {
    source: Replay,
    file: File,
    metadata: ArrowReaderMetadata,
    /// Columns that are read, by place in the file, in order.
    kept: Vec<usize>,
    /// Behind a lock that nobody waits for: it may go to another thread, but is for one at a time.
    reader: Option<Mutex<ParquetRecordBatchReader>>,
    batch: Option<RecordBatch>,
    /// Place of the next record in `batch`.
    next: usize,
    record: ByteRecord,
    row: u64,
}

impl ParquetRecords {
    /// Starts at the beginning of `source`.
    pub fn new(mut source: Replay) -> io::Result<Self> {
        let file = source.as_file()?;
        // By Parquet's own types: without it, columns that a writer held as categories would come as such.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load(&file, options).map_err(broken)?;
        let kept = (0..metadata.schema().fields().len()).collect();
        let record = ByteRecord::new();
        Ok(Self { source, file, metadata, kept, reader: None, batch: None, next: 0, record, row: 0 })
    }

    /// Names of the columns.
    pub fn names(&self) -> Vec<String> {
        self.metadata.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    /// Reads these columns only; the fields of others are empty.
    pub fn keep(&mut self, columns: &[usize]) {
        self.kept.retain(|column| columns.contains(column));
    }

    pub fn into_file(self) -> Replay {
        self.source
    }

    pub fn record(&self) -> &ByteRecord {
        &self.record
    }

    /// Number of the record read last, from 1.
    pub fn row(&self) -> u64 {
        self.row
    }

    /// Moves to the next record; `false` at the end.
    pub fn advance(&mut self) -> io::Result<bool> {
        loop {
            if let Some(batch) = self.batch.as_ref().filter(|batch| self.next < batch.num_rows()) {
                fill(&mut self.record, batch, self.next, &self.kept, self.metadata.schema().fields().len())?;
                self.next += 1;
                self.row += 1;
                return Ok(true);
            }
            if self.reader.is_none() {
                self.reader = Some(Mutex::new(self.open().map_err(broken)?));
            }
            let Some(reader) = &mut self.reader else { return Ok(false) };
            let reader = reader.get_mut().unwrap_or_else(PoisonError::into_inner);
            let Some(batch) = reader.next() else { return Ok(false) };
            let batch = batch.map_err(|error| broken(ParquetError::from(error)))?;
            (self.batch, self.next) = (Some(batch), 0);
        }
    }

    fn open(&self) -> Result<ParquetRecordBatchReader, ParquetError> {
        let file = self.file.try_clone()?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
        let mask = ProjectionMask::roots(builder.parquet_schema(), self.kept.iter().copied());
        builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()
    }
}

fn fill(record: &mut ByteRecord, batch: &RecordBatch, row: usize, kept: &[usize], width: usize) -> io::Result<()> {
    record.clear();
    let mut text = String::new();
    let mut columns = kept.iter().zip(batch.columns()).peekable();
    for place in 0..width {
        text.clear();
        if let Some((_, column)) = columns.next_if(|(kept, _)| **kept == place)
            && !column.is_null(row)
        {
            write(&mut text, column, row).map_err(|kind| {
                let name = batch.schema().field(kept.partition_point(|&k| k < place)).name().clone();
                io::Error::other(format!("the column {name:?} holds {kind}, and neither numbers, text nor times"))
            })?;
        }
        record.push_field(text.as_bytes());
    }
    Ok(())
}

/// Appends the value of a row.
fn write(text: &mut String, column: &dyn Array, row: usize) -> Result<(), DataType> {
    macro_rules! number {
        ($type:ty) => {
            text.push_str(&column.as_primitive::<$type>().value(row).to_string())
        };
    }
    match column.data_type() {
        DataType::Utf8 => text.push_str(column.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => text.push_str(column.as_string::<i64>().value(row)),
        DataType::Utf8View => text.push_str(column.as_string_view().value(row)),
        DataType::Boolean => text.push_str(&column.as_boolean().value(row).to_string()),
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        DataType::Float32 => number!(Float32Type),
        DataType::Float64 => number!(Float64Type),
        DataType::Timestamp(TimeUnit::Second, _) => moment::<TimestampSecondType>(text, column, row, 1),
        DataType::Timestamp(TimeUnit::Millisecond, _) => moment::<TimestampMillisecondType>(text, column, row, 1_000),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            moment::<TimestampMicrosecondType>(text, column, row, 1_000_000)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            moment::<TimestampNanosecondType>(text, column, row, 1_000_000_000)
        }
        other => return Err(other.clone()),
    }
    Ok(())
}

fn moment<T: ArrowPrimitiveType<Native = i64>>(text: &mut String, column: &dyn Array, row: usize, per_s: i64) {
    let value = column.as_primitive::<T>().value(row);
    let digits = per_s.ilog10() as usize;
    let (sign, value) = (if value < 0 { "-" } else { "" }, value.unsigned_abs());
    let (seconds, rest) = (value / per_s.unsigned_abs(), value % per_s.unsigned_abs());
    let rest = if digits == 0 { String::new() } else { format!(".{rest:0digits$}") };
    text.push_str(&format!("{sign}{seconds}{rest}s"));
}

fn broken(error: ParquetError) -> io::Error {
    let text = error.to_string();
    let what = match text.split_once("Disabled feature at compile time: ") {
        Some((_, codec)) => format!(
            "its columns are packed with {codec}, which is not read; write them with zstd, snappy, gzip or lz4, or without packing"
        ),
        None => format!("the Parquet file is broken or cut short ({text})"),
    };
    io::Error::new(io::ErrorKind::InvalidData, what)
}
