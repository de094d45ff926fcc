//! Columns of a Parquet file, by name and in batches, so that memory does not grow with the rows.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::ReportError;
use crate::inputs;

/// Rows in memory.
const BATCH_ROWS: usize = 8192;

/// A Parquet file.
pub(super) struct Table {
    path: PathBuf,
    file: File,
    metadata: ArrowReaderMetadata,
}

impl Table {
    pub(super) fn open(path: &Path) -> Result<Self, ReportError> {
        let unreadable = |source| ReportError::Unreadable { path: path.to_owned(), source };
        let file = inputs::open_file(path).map_err(unreadable)?;
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new().with_skip_arrow_metadata(true));
        let metadata = metadata.map_err(|error| damaged(path, error))?;
        Ok(Self { path: path.to_owned(), file, metadata })
    }

    pub(super) fn rows(&self) -> u64 {
        self.metadata.metadata().file_metadata().num_rows().try_into().unwrap_or(0)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.metadata.schema().fields().iter().map(|field| field.name().as_str())
    }

    /// The kind of a column: text, whole numbers, numbers, flags; `None` if there is no such column.
    pub(super) fn kind(&self, column: &str) -> Option<&arrow_schema::DataType> {
        self.metadata.schema().field_with_name(column).ok().map(arrow_schema::Field::data_type)
    }

    /// What the file notes of itself under a key.
    pub(super) fn note(&self, key: &str) -> Option<String> {
        let notes = self.metadata.metadata().file_metadata().key_value_metadata()?;
        notes.iter().find(|note| note.key == key)?.value.clone()
    }

    /// Goes through the file once; only these columns are read.
    pub(super) fn each_batch(
        &self,
        columns: &[&str],
        mut each: impl FnMut(&Batch<'_>) -> Result<(), ReportError>,
    ) -> Result<(), ReportError> {
        let broken = |error| damaged(&self.path, error);
        let file = self.file.try_clone();
        let file = file.map_err(|source| ReportError::Unreadable { path: self.path.clone(), source })?;
        let roots = self.names().enumerate().filter(|(_, name)| columns.contains(name)).map(|(index, _)| index);
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), roots);
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(broken)?;
        for batch in reader {
            let batch = batch.map_err(|error| damaged(&self.path, error))?;
            each(&Batch { path: &self.path, rows: &batch })?;
        }
        Ok(())
    }
}

fn damaged(path: &Path, error: impl std::fmt::Display) -> ReportError {
    ReportError::Damaged { path: path.to_owned(), what: error.to_string() }
}

/// Rows of a file.
pub(super) struct Batch<'a> {
    path: &'a Path,
    rows: &'a RecordBatch,
}

impl<'a> Batch<'a> {
    pub(super) fn len(&self) -> usize {
        self.rows.num_rows()
    }

    fn column<T: 'a>(
        &self,
        name: &str,
        what: &str,
        cast: impl Fn(&'a dyn Array) -> Option<&'a T>,
    ) -> Result<Option<&'a T>, ReportError> {
        let Some(column) = self.rows.column_by_name(name) else { return Ok(None) };
        let found = cast(column.as_ref());
        found
            .map(Some)
            .ok_or_else(|| damaged(self.path, format!("column {name} holds {}, no {what}", column.data_type())))
    }

    pub(super) fn numbers(&self, name: &str) -> Result<Numbers<'a>, ReportError> {
        Ok(Numbers(self.column(name, "numbers", |array| array.as_primitive_opt::<Float64Type>())?))
    }

    pub(super) fn counts(&self, name: &str) -> Result<Counts<'a>, ReportError> {
        Ok(Counts(self.column(name, "whole numbers", |array| array.as_primitive_opt::<Int64Type>())?))
    }

    pub(super) fn words(&self, name: &str) -> Result<Words<'a>, ReportError> {
        Ok(Words(self.column(name, "text", |array| array.as_string_opt::<i32>())?))
    }

    pub(super) fn flags(&self, name: &str) -> Result<Flags<'a>, ReportError> {
        Ok(Flags(self.column(name, "flags", |array| array.as_boolean_opt())?))
    }
}

/// A column of numbers; of one that the file lacks every value is none.
#[derive(Clone, Copy)]
pub(super) struct Numbers<'a>(Option<&'a Float64Array>);

impl Numbers<'_> {
    pub(super) fn get(&self, row: usize) -> Option<f64> {
        self.0.filter(|column| column.is_valid(row)).map(|column| column.value(row))
    }
}

/// The same of whole numbers.
#[derive(Clone, Copy)]
pub(super) struct Counts<'a>(Option<&'a Int64Array>);

impl Counts<'_> {
    pub(super) fn get(&self, row: usize) -> Option<i64> {
        self.0.filter(|column| column.is_valid(row)).map(|column| column.value(row))
    }
}

/// The same of text.
#[derive(Clone, Copy)]
pub(super) struct Words<'a>(Option<&'a StringArray>);

impl<'a> Words<'a> {
    pub(super) fn get(&self, row: usize) -> Option<&'a str> {
        self.0.filter(|column| column.is_valid(row)).map(|column| column.value(row))
    }
}

/// The same of yes and no.
#[derive(Clone, Copy)]
pub(super) struct Flags<'a>(Option<&'a BooleanArray>);

impl Flags<'_> {
    pub(super) fn get(&self, row: usize) -> Option<bool> {
        self.0.filter(|column| column.is_valid(row)).map(|column| column.value(row))
    }
}
