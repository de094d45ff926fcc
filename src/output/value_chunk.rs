//! A column of numbers, flags or loose text in a row group.
//!
//! Many columns have one value throughout: nobody is preempted, or has a priority. Such a one is counted, and written as a
//! dictionary of that value; the encoder of the parquet crate gets all others, from the first row on.

use std::mem::take;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, new_null_array};
use arrow_schema::{DataType, Field};
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves};
use parquet::errors::{ParquetError, Result};
use parquet::schema::types::ColumnDescPtr;

use super::columns::{Scale, Value};
use super::names::Names;
use super::word_chunk::WordChunk;

/// What all rows have: eight bytes as in the file, or null.
type Same = Option<[u8; 8]>;

/// A column of a row group in the making.
pub(super) struct ValueChunk {
    column: ColumnDescPtr,
    /// None before the first row.
    encoder: Option<ArrowColumnWriter>,
    so_far: SoFar,
}

/// Rows of a row group.
#[derive(Clone, Copy, Default)]
enum SoFar {
    #[default]
    None,
    Same(Same, usize),
    Encoded,
}

/// A column of a row group.
pub(super) enum Encoded {
    Same(WordChunk),
    Values(Box<ArrowColumnChunk>),
}

impl ValueChunk {
    pub(super) fn new(column: ColumnDescPtr) -> Self {
        Self { column, encoder: None, so_far: SoFar::None }
    }

    /// Begins a row group, whose rows go to `encoder`.
    pub(super) fn begin(&mut self, encoder: ArrowColumnWriter) {
        self.encoder = Some(encoder);
    }

    /// Bytes that it holds.
    pub(super) fn bytes(&self) -> usize {
        self.encoder.as_ref().map_or(0, ArrowColumnWriter::get_estimated_total_bytes)
    }

    pub(super) fn take<Row>(&mut self, value: &Value<Row>, field: &Field, rows: &[Row], names: &Names) -> Result<()> {
        if !matches!(self.so_far, SoFar::Encoded) {
            let same = same(value, rows, names);
            match (self.so_far, same) {
                (SoFar::None, Some(same)) => {
                    self.so_far = SoFar::Same(same, rows.len());
                    return Ok(());
                }
                (SoFar::Same(before, count), Some(same)) if before == same => {
                    self.so_far = SoFar::Same(same, count + rows.len());
                    return Ok(());
                }
                (SoFar::Same(before, count), _) => self.encode(field, &repeated(before, count, field.data_type()))?,
                _ => {}
            }
            self.so_far = SoFar::Encoded;
        }
        self.encode(field, &array(value, rows, names))
    }

    fn encode(&mut self, field: &Field, array: &ArrayRef) -> Result<()> {
        let encoder = self.encoder.as_mut().ok_or_else(no_encoder)?;
        compute_leaves(field, array)?.iter().try_for_each(|leaf| encoder.write(leaf))
    }

    /// The column of the row group.
    pub(super) fn finish(&mut self) -> Result<Encoded> {
        let encoder = self.encoder.take().ok_or_else(no_encoder)?;
        match take(&mut self.so_far) {
            SoFar::Same(same, count) => Ok(Encoded::Same(WordChunk::of_one(self.column.clone(), same, count))),
            SoFar::None | SoFar::Encoded => Ok(Encoded::Values(Box::new(encoder.close()?))),
        }
    }
}

fn no_encoder() -> ParquetError {
    ParquetError::General("rows outside of a row group".to_owned())
}

/// What all of the rows have, if that can be told from the first with little effort.
fn same<Row>(value: &Value<Row>, rows: &[Row], names: &Names) -> Option<Same> {
    let (first, rest) = rows.split_first()?;
    match value {
        Value::Integer(number) => {
            let first = number(first);
            rest.iter().all(|row| number(row) == first).then(|| Some(first.to_le_bytes()))
        }
        Value::TimeOrNull(Scale::Milliseconds, time) => {
            let first = time(first);
            let same = first.map(|time| Scale::Milliseconds.number(time).to_le_bytes());
            rest.iter().all(|row| time(row) == first).then_some(same)
        }
        Value::FloatOrNull(number) => {
            let bytes = |row| number(row).map(f64::to_le_bytes);
            let first = bytes(first);
            rest.iter().all(|row| bytes(row) == first).then_some(first)
        }
        Value::FlagOrNull(flag) => rows.iter().all(|row| flag(row, names).is_none()).then_some(None),
        Value::TextOrNull(write) => {
            let mut text = String::new();
            let is_null = |row| {
                write(row, &mut text);
                text.is_empty()
            };
            rows.iter().all(is_null).then_some(None)
        }
        // Texts and times that are always there, which differ, and flags, of which there is no dictionary.
        _ => None,
    }
}

/// A value that `count` rows have.
fn repeated(same: Same, count: usize, data_type: &DataType) -> ArrayRef {
    match (same, data_type) {
        (Some(bytes), DataType::Int64) => Arc::new(Int64Array::from_value(i64::from_le_bytes(bytes), count)),
        (Some(bytes), _) => Arc::new(Float64Array::from_value(f64::from_le_bytes(bytes), count)),
        (None, data_type) => new_null_array(data_type, count),
    }
}

/// The Arrow array of a column.
pub(super) fn array<Row>(value: &Value<Row>, rows: &[Row], names: &Names) -> ArrayRef {
    match value {
        Value::Identifier(prefix, number) => Arc::new(identifiers(prefix, *number, rows)),
        Value::Text(write) | Value::Keyed(_, write) => {
            let mut builder = StringBuilder::with_capacity(rows.len(), 16 * rows.len());
            let mut text = String::new();
            for row in rows {
                text.clear();
                write(row, names, &mut text);
                builder.append_value(&text);
            }
            Arc::new(builder.finish())
        }
        Value::TextOrNull(write) | Value::KeyedOrNull(_, write) => {
            let mut builder = StringBuilder::new();
            let mut text = String::new();
            for row in rows {
                text.clear();
                write(row, &mut text);
                builder.append_option(Some(&text).filter(|text| !text.is_empty()));
            }
            Arc::new(builder.finish())
        }
        Value::Word(_, word) => Arc::new(StringArray::from_iter_values(rows.iter().map(|row| word(row, names)))),
        Value::WordOrNull(_, word) => Arc::new(rows.iter().map(|row| word(row, names)).collect::<StringArray>()),
        Value::Integer(number) => Arc::new(Int64Array::from_iter_values(rows.iter().map(number))),
        Value::Time(scale, time) => {
            Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| scale.number(time(row)))))
        }
        Value::TimeOrNull(scale, time) => {
            Arc::new(rows.iter().map(|row| time(row).map(|time| scale.number(time))).collect::<Float64Array>())
        }
        Value::FloatOrNull(number) => Arc::new(rows.iter().map(number).collect::<Float64Array>()),
        Value::Flag(flag) => Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(flag(row))))),
        Value::FlagOrNull(flag) => Arc::new(rows.iter().map(|row| flag(row, names)).collect::<BooleanArray>()),
    }
}

fn identifiers<Row>(prefix: &str, number: fn(&Row) -> u64, rows: &[Row]) -> StringArray {
    let mut builder = StringBuilder::with_capacity(rows.len(), (prefix.len() + 8) * rows.len());
    let mut text = prefix.to_owned();
    let mut digits = itoa::Buffer::new();
    for row in rows {
        text.truncate(prefix.len());
        text.push_str(digits.format(number(row)));
        builder.append_value(&text);
    }
    builder.finish()
}
