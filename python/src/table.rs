//! Rows that other libraries read over Arrow's C data interface, where they are: nothing is copied.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{RecordBatch, RecordBatchIterator};
use llmperforacle::output::ArrowTable;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict};

/// Name of the capsule, by the PyCapsule interface of Arrow.
const STREAM: &std::ffi::CStr = c"arrow_array_stream";

/// A table in Arrow's columns.
#[pyclass(frozen, module = "llmperforacle._native")]
#[derive(Clone)]
pub struct ArrowRows(ArrowTable);

impl From<ArrowTable> for ArrowRows {
    fn from(table: ArrowTable) -> Self {
        Self(table)
    }
}

#[pymethods]
impl ArrowRows {
    /// The rows as a stream; the schema that is asked for is a wish, which the interface lets us decline.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        let batches: Vec<RecordBatch> = self.0.batches.clone();
        let reader = RecordBatchIterator::new(batches.into_iter().map(Ok), Arc::clone(&self.0.schema));
        PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(Box::new(reader)), STREAM)
    }

    fn __len__(&self) -> usize {
        self.0.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Names of the columns.
    fn column_names(&self) -> Vec<String> {
        self.0.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    /// Of each column what is told of it: `unit`, `comment`.
    fn notes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let notes = PyDict::new(py);
        for field in self.0.schema.fields() {
            let told = PyDict::new(py);
            field.metadata().iter().try_for_each(|(key, text)| told.set_item(key, text))?;
            notes.set_item(field.name(), told)?;
        }
        Ok(notes)
    }
}

/// Reads a Parquet file that a command wrote.
#[pyfunction]
pub fn read_parquet(py: Python<'_>, path: PathBuf) -> PyResult<ArrowRows> {
    let unreadable = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    py.detach(|| {
        let file = File::open(&path).map_err(|error| PyOSError::new_err(unreadable(&error)))?;
        let bad = |error: &dyn std::fmt::Display| PyValueError::new_err(unreadable(error));
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| bad(&error))?;
        let schema = Arc::clone(reader.schema());
        let reader = reader.build().map_err(|error| bad(&error))?;
        let batches = reader.collect::<Result<Vec<_>, _>>().map_err(|error| bad(&error))?;
        Ok(ArrowRows(ArrowTable { schema, batches }))
    })
}
