//! A table as Parquet, each column with its notes: as Arrow field metadata, and as `note:column` in the file's own.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::arrow_writer::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::columns::{Cells, Column, Table};

/// The bytes of a file.
pub(super) fn bytes(table: &Table) -> Result<Vec<u8>, ParquetError> {
    let schema = Arc::new(Schema::new(table.columns.iter().map(field).collect::<Vec<_>>()));
    let level = ZstdLevel::try_new(1).expect("zstd has a level 1");
    let notes = table.columns.iter().flat_map(|column| {
        column.notes.iter().map(|(key, text)| KeyValue::new(format!("{key}:{}", column.name), text.clone()))
    });
    let properties = WriterProperties::builder()
        .set_created_by(concat!("llmperforacle ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_key_value_metadata(Some(notes.collect()))
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, Arc::clone(&schema), Some(properties))?;
    let batch = RecordBatch::try_new(schema, table.columns.iter().map(array).collect());
    writer.write(&batch.expect("the schema and the arrays come from the same columns"))?;
    writer.close()?;
    Ok(bytes)
}

fn field(column: &Column) -> Field {
    let data_type = match column.cells {
        Cells::Integers(_) => DataType::Int64,
        Cells::Floats(_) => DataType::Float64,
        Cells::Flags(_) => DataType::Boolean,
        Cells::Texts(_) => DataType::Utf8,
    };
    let notes: HashMap<String, String> =
        column.notes.iter().map(|(key, text)| ((*key).to_owned(), text.clone())).collect();
    Field::new(&column.name, data_type, true).with_metadata(notes)
}

fn array(column: &Column) -> ArrayRef {
    match &column.cells {
        Cells::Integers(cells) => Arc::new(Int64Array::from(cells.clone())),
        Cells::Floats(cells) => Arc::new(Float64Array::from(cells.clone())),
        Cells::Flags(cells) => Arc::new(BooleanArray::from(cells.clone())),
        Cells::Texts(cells) => Arc::new(StringArray::from(cells.clone())),
    }
}
