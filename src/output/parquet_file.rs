//! A Parquet file in the making: rows become row groups, column by column.
//!
//! Encodings were chosen by measuring each column of a million requests (in `column_properties`):
//! - floats byte-stream-split and under Snappy: 5 to 7 bytes each, where plain ones take 8; zstd makes a file 7 % smaller of them, and
//!   takes half as long again;
//! - identifiers as the difference to the one before, under zstd: at most some 3 bytes each, where plain ones take 14;
//! - counts as differences too: a third less time than a dictionary, a tenth more bytes, and nothing to compress;
//! - words by dictionary, and whatever is the same in a whole row group: by encoders of our own (`word_chunk`, `value_chunk`), for the
//!   crate's look at every value. So the writing takes a quarter less.
//!
//! A row group of 2¹⁶ rows, some 4 MB, is what the encoder holds in memory.
//!
//! Every column carries `unit` and `comment` as Arrow field metadata (pyarrow: `schema.field(name).metadata`), and the file
//! `unit:<column>` and `comment:<column>` as key-value metadata (DuckDB: `parquet_kv_metadata`), beside `partial`.
//!
//! Room for the row group in hand and the footer is kept free (`reserve`), so that when the disk is full they still find a place.
//! Where a write fails all the same, the file is cut off after its last whole row group and given a footer, so what had been
//! written can be read; it keeps its `.partial` name.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::{FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataWriter, RowGroupMetaData};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

use super::OutputError;
use super::columns::{Column, Scale, Value};
use super::names::Names;
use super::reserve::ReservedFile;
use super::row_group::RowGroup;
use super::staged::{ClosedFile, StagedFile, cut};
use super::value_chunk::array;
use super::word_chunk::compression_level;

/// Rows of a row group: few enough that it takes little memory and room, enough that its entry in the footer does not count.
pub(super) const ROW_GROUP_ROWS: usize = 1 << 16;
const ROW_GROUP_BYTES: usize = 128 << 20;
/// Room for the footer without its entries of row groups, some 20 kB, and for the batch with which the disk is found to be full.
const FOOTER_BYTES: usize = 1 << 18;
/// Room for a row group's entry in the footer, some 5 kB.
const GROUP_FOOTER_BYTES: usize = 1 << 13;
const PARTIAL_KEY: &str = "partial";

/// A Parquet file in the making.
pub(super) struct ParquetFile<Row: 'static> {
    staged: StagedFile,
    writer: SerializedFileWriter<ReservedFile>,
    group: RowGroup<Row>,
    rows: u64,
    /// A write failed; the encoder is of no more use.
    failed: bool,
}

impl<Row> ParquetFile<Row> {
    pub(super) fn create(
        staged: StagedFile,
        columns: impl IntoIterator<Item = &'static Column<Row>>,
    ) -> Result<Self, OutputError> {
        let columns: Vec<_> = columns.into_iter().collect();
        let schema = schema(&columns);
        let options = ArrowWriterOptions::new().with_properties(properties(&columns));
        let file = ReservedFile::new(staged.try_clone_file()?, staged.folder());
        let group = ArrowWriter::try_new_with_options(file, Arc::clone(&schema), options).and_then(|writer| {
            let (writer, encoders) = writer.into_serialized_writer()?;
            let group = RowGroup::new(columns, schema, encoders, &writer)?;
            Ok((writer, group))
        });
        let (writer, group) = group.map_err(|source| OutputError::from_parquet(staged.final_path(), source))?;
        Ok(Self { staged, writer, group, rows: 0, failed: false })
    }

    pub(super) fn write(&mut self, rows: &[Row], names: &Names) -> Result<(), OutputError> {
        if let Err(source) = self.write_to_groups(rows, names) {
            let path = self.staged.final_path();
            return Err(OutputError::from_parquet(path, source));
        }
        self.rows += rows.len() as u64;
        Ok(())
    }

    fn write_to_groups(&mut self, mut rows: &[Row], names: &Names) -> parquet::errors::Result<()> {
        while !rows.is_empty() {
            let (now, later) = rows.split_at(rows.len().min(ROW_GROUP_ROWS - self.group.rows()));
            self.group.take(now, names)?;
            let footer_bytes = FOOTER_BYTES + GROUP_FOOTER_BYTES * (self.writer.flushed_row_groups().len() + 1);
            self.writer.inner_mut().reserve(self.group.bytes() + footer_bytes)?;
            if self.group.rows() == ROW_GROUP_ROWS || self.group.bytes() >= ROW_GROUP_BYTES {
                let written = self.group.write_to(&mut self.writer);
                self.failed = written.is_err();
                written?;
                // It has found its place in the room for the end; there is none for another.
                if let Some(full) = self.writer.inner().full() {
                    return Err(full.into());
                }
            }
            rows = later;
        }
        Ok(())
    }

    /// Writes the last row group and the footer.
    pub(super) fn close(mut self, partial: bool) -> Result<ClosedFile, OutputError> {
        if let Err(source) = self.group.write_to(&mut self.writer) {
            let error = OutputError::from_parquet(self.staged.final_path(), source);
            self.salvage();
            return Err(error);
        }
        self.writer.append_key_value_metadata(partial_mark(partial));
        // The footer takes the list with it, also when it cannot be written.
        let row_groups = self.writer.flushed_row_groups().to_vec();
        if let Err(source) = self.writer.finish() {
            let error = OutputError::from_parquet(self.staged.final_path(), source);
            drop(self.writer);
            keep_row_groups(&self.staged, row_groups);
            return Err(error);
        }
        Ok(ClosedFile { rows: self.rows, bytes: self.writer.bytes_written() as u64, staged: self.staged })
    }

    /// After a failed write to this file or another: leaves a `.partial` file that holds what it can, and says so.
    pub(super) fn keep(self) {
        if self.failed {
            self.salvage();
        } else {
            // Where this fails too, it keeps the row groups that are whole by itself.
            let _ = self.close(true);
        }
    }

    fn salvage(self) {
        let row_groups = self.writer.flushed_row_groups().to_vec();
        // Lets go of bytes that it still buffers; what they belong to is cut off.
        drop(self.writer);
        keep_row_groups(&self.staged, row_groups);
    }
}

impl<Row> std::fmt::Debug for ParquetFile<Row> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetFile").field("staged", &self.staged).field("rows", &self.rows).finish_non_exhaustive()
    }
}

fn partial_mark(partial: bool) -> KeyValue {
    KeyValue::new(PARTIAL_KEY.to_owned(), partial.to_string())
}

/// Makes a file that could not be written to its end readable as far as it goes. Best effort: the disk may take no more.
fn keep_row_groups(staged: &StagedFile, row_groups: Vec<RowGroupMetaData>) {
    if let Ok(mut file) = staged.try_clone_file() {
        // A failure leaves what was there before: a `.partial` file without a footer.
        let _ = end_after_row_groups(&mut file, row_groups);
    }
}

/// Cuts the file off after the last of `row_groups` that is in it whole, and ends it with a footer that lists them.
/// Where the disk has no room for that, row groups make it, the last first.
fn end_after_row_groups(file: &mut File, mut row_groups: Vec<RowGroupMetaData>) -> parquet::errors::Result<()> {
    let length = file.metadata()?.len();
    row_groups.retain(|group| end_of(group) <= length);
    while let Some(last) = row_groups.last() {
        cut(file, end_of(last))?;
        if write_footer(file, row_groups.clone()).is_ok() {
            break;
        }
        row_groups.pop();
    }
    Ok(())
}

fn write_footer(file: &mut File, row_groups: Vec<RowGroupMetaData>) -> parquet::errors::Result<()> {
    let last = row_groups.last().expect("it ends at least one row group");
    let schema = last.schema_descr_ptr();
    let rows = row_groups.iter().map(RowGroupMetaData::num_rows).sum();
    let version = WriterVersion::PARQUET_1_0.as_num();
    let marks = vec![partial_mark(true)];
    let file_metadata = FileMetaData::new(version, rows, None, Some(marks), schema, None);
    let metadata = ParquetMetaData::new(file_metadata, row_groups);
    let mut footer = Vec::new();
    ParquetMetaDataWriter::new(&mut footer, &metadata).finish()?;
    Ok(file.write_all(&footer)?)
}

/// Where a row group ends in its file.
fn end_of(group: &RowGroupMetaData) -> u64 {
    let ends = group.columns().iter().map(|chunk| {
        let (start, length) = chunk.byte_range();
        start + length
    });
    ends.max().unwrap_or_default()
}

/// The Arrow schema of columns, with units and meanings.
pub(super) fn schema<Row>(columns: &[&Column<Row>]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().copied().map(field).collect::<Vec<Field>>()))
}

/// Rows in the columns of a `schema` of these.
pub(super) fn record_batch<Row>(
    columns: &[&Column<Row>],
    schema: &SchemaRef,
    rows: &[Row],
    names: &Names,
) -> RecordBatch {
    let arrays = columns.iter().map(|column| array(&column.value, rows, names));
    RecordBatch::try_new(Arc::clone(schema), arrays.collect())
        .expect("the schema and the arrays come from the same columns")
}

fn field<Row>(column: &Column<Row>) -> Field {
    let data_type = match column.value {
        Value::Identifier(..) | Value::Text(_) | Value::TextOrNull(_) => DataType::Utf8,
        Value::Keyed(..) | Value::KeyedOrNull(..) | Value::Word(..) | Value::WordOrNull(..) => DataType::Utf8,
        Value::Integer(_) => DataType::Int64,
        Value::Time(..) | Value::TimeOrNull(..) | Value::FloatOrNull(_) => DataType::Float64,
        Value::Flag(_) | Value::FlagOrNull(_) => DataType::Boolean,
    };
    let metadata: HashMap<String, String> = notes(column).map(|(k, v)| (k.into(), v.into())).collect();
    Field::new(column.name, data_type, column.value.nullable()).with_metadata(metadata)
}

/// Unit and comment of a column, those that it has.
fn notes<Row>(column: &Column<Row>) -> impl Iterator<Item = (&'static str, &'static str)> {
    let notes = [("unit", column.unit), ("comment", column.comment)];
    notes.into_iter().filter(|(_, text)| !text.is_empty())
}

fn properties<Row>(columns: &[&Column<Row>]) -> WriterProperties {
    let notes = columns.iter().flat_map(|column| {
        notes(column).map(|(key, text)| KeyValue::new(format!("{key}:{}", column.name), text.to_owned()))
    });
    let properties = WriterProperties::builder()
        .set_created_by(concat!("llmperforacle ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(zstd())
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_key_value_metadata(Some(notes.collect()));
    columns.iter().copied().fold(properties, column_properties).build()
}

/// The encoding of a column.
fn column_properties<Row>(properties: WriterPropertiesBuilder, column: &Column<Row>) -> WriterPropertiesBuilder {
    let path = ColumnPath::from(column.name);
    let in_order = matches!(column.value, Value::Time(Scale::Seconds, _) | Value::TimeOrNull(Scale::Seconds, _));
    // Rows are nearly in order of time, so readers skip row groups by it. Of other columns every row group holds
    // the whole range, and comparing all values takes some 6 % of the writing.
    let properties = if in_order {
        properties
    } else {
        properties.set_column_statistics_enabled(path.clone(), EnabledStatistics::None)
    };
    let (encoding, compression) = match column.value {
        Value::Identifier(..) => (Encoding::DELTA_BYTE_ARRAY, zstd()),
        Value::Time(..) | Value::TimeOrNull(..) | Value::FloatOrNull(_) => {
            (Encoding::BYTE_STREAM_SPLIT, Compression::SNAPPY)
        }
        Value::Integer(_) => (Encoding::DELTA_BINARY_PACKED, Compression::UNCOMPRESSED),
        Value::Flag(_) | Value::FlagOrNull(_) => (Encoding::PLAIN, zstd()),
        // A dictionary, and where that grows too large the plain values.
        Value::Text(_) | Value::TextOrNull(_) => return properties,
        // Not encoded by the crate.
        Value::Keyed(..) | Value::KeyedOrNull(..) | Value::Word(..) | Value::WordOrNull(..) => {
            return properties.set_column_compression(path, Compression::UNCOMPRESSED);
        }
    };
    let properties = properties.set_column_compression(path.clone(), compression);
    properties.set_column_dictionary_enabled(path.clone(), false).set_column_encoding(path, encoding)
}

fn zstd() -> Compression {
    Compression::ZSTD(compression_level())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    use super::*;
    use crate::output::reserve::disk;
    use crate::output::staged::{Claim, partials};

    static COLUMNS: [Column<i64>; 1] = [Column::new("value", "", "", Value::Integer(|&row| row))];

    /// As a run writes it, beside a CSV of so many bytes a row on the same disk.
    #[test]
    fn a_full_disk_leaves_a_file_that_can_be_read() {
        const BATCH: u64 = 2048;
        for (free, csv_bytes) in [(400_000, 20), (1_000_000, 20), (1_000_000, 0), (3_000_000, 1), (5_000_000, 8)] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let path = folder.path().join("values.parquet");
            let staged = Claim::take(&path).and_then(Claim::begin).expect("it can be written");
            disk::set_free(free);
            let mut file = ParquetFile::create(staged, &COLUMNS).expect("it can be written");
            // Numbers that cannot be packed.
            let value = |row: u64| row.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left((row % 64) as u32) as i64;
            let mut taken = 0;
            let fits = |taken: u64| {
                disk::take((BATCH * csv_bytes) as usize).is_ok_and(|count| count as u64 == BATCH * csv_bytes)
                    && taken < 1 << 20
            };
            loop {
                let rows: Vec<i64> = (taken..taken + BATCH).map(value).collect();
                if file.write(&rows, &Names::default()).is_err() || !fits(taken) {
                    break;
                }
                taken += BATCH;
            }
            assert!(taken > 0 && taken < 1 << 20, "{free}: the disk is full some time");
            file.keep();
            disk::set_free(usize::MAX);
            let partial = File::open(partials(&path).remove(0)).expect("it kept its name");
            let reader = SerializedFileReader::new(partial).unwrap_or_else(|error| panic!("{free}: {error}"));
            let rows = reader.get_row_iter(None).expect("it can be read").map(|row| row.expect("it can be read"));
            let rows: Vec<i64> = rows.map(|row| row.get_long(0).expect("a number")).collect();
            assert!(rows.len() as u64 >= taken, "{free}: {} of {taken} rows", rows.len());
            assert!((0..).map(value).zip(&rows).all(|(value, row)| value == *row), "{free}");
        }
    }

    #[test]
    fn whole_row_groups_survive_a_failed_write() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("values.parquet");
        let no_names = Names::default();
        let staged = Claim::take(&path).and_then(Claim::begin).expect("it can be written");
        let mut file = ParquetFile::create(staged, &COLUMNS).expect("it can be written");
        let rows: Vec<i64> = (0..ROW_GROUP_ROWS as i64).collect();
        for _ in 0..3 {
            file.write(&rows, &no_names).expect("the disk has room");
        }
        file.writer.flush().expect("the disk has room");
        // As if the disk had taken only a part of the last row group.
        let partial = partials(&path).remove(0);
        let length = fs::metadata(&partial).expect("it is there").len();
        let handle = fs::OpenOptions::new().write(true).open(&partial);
        let handle = handle.expect("it is there");
        handle.set_len(length - 10).expect("it can be cut");
        file.failed = true;
        file.keep();
        let file = File::open(&partial).expect("it kept its name");
        let reader = SerializedFileReader::new(file).expect("it has a footer");
        let groups = reader.metadata().num_row_groups();
        assert_eq!(groups, 2);
        let rows = reader.get_row_iter(None).expect("it can be read");
        assert_eq!(rows.map(|row| row.is_ok()).filter(|&ok| ok).count(), 2 * ROW_GROUP_ROWS);
    }
}
