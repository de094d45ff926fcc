//! Rows of a run that stay in memory, for a host program, in the columns that its Parquet files have.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use oracle_components::record::RequestRecord;
use oracle_components::scenario::Scenario;

use super::OutputPlan;
use super::columns::Column;
use super::interval_columns::{INTERVAL_COLUMNS, SeriesRow};
use super::names::Names;
use super::parquet_file::{record_batch, schema};
use super::request_columns::request_columns;

/// Rows in Arrow's columns.
#[derive(Clone, Debug)]
pub struct ArrowTable {
    /// What the columns are, with units and meanings.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
}

/// The tables of a run.
#[derive(Clone, Debug)]
pub struct Tables {
    /// A row a request, as in `requests.parquet`.
    pub requests: ArrowTable,
    /// A row an interval and an engine (or a profile), as in `timeseries.parquet`.
    pub timeseries: ArrowTable,
}

/// The tables in the making; the writer thread adds to what others hold.
#[derive(Clone, Debug)]
pub struct KeptTables {
    request_columns: Vec<&'static Column<RequestRecord>>,
    tables: Arc<Mutex<Tables>>,
}

impl KeptTables {
    pub(super) fn new(scenario: &Scenario, plan: &OutputPlan) -> Self {
        let request_columns: Vec<_> = request_columns(scenario, plan.encodes_images).collect();
        let empty = |schema| ArrowTable { schema, batches: Vec::new() };
        let tables = Tables {
            requests: empty(schema(&request_columns)),
            timeseries: empty(schema(&INTERVAL_COLUMNS.iter().collect::<Vec<_>>())),
        };
        Self { request_columns, tables: Arc::new(Mutex::new(tables)) }
    }

    pub(super) fn add_requests(&self, rows: &[RequestRecord], names: &Names) {
        let table = &mut self.tables.lock().unwrap_or_else(PoisonError::into_inner).requests;
        table.batches.push(record_batch(&self.request_columns, &table.schema, rows, names));
    }

    pub(super) fn add_intervals(&self, rows: &[SeriesRow], names: &Names) {
        let columns: Vec<_> = INTERVAL_COLUMNS.iter().collect();
        let table = &mut self.tables.lock().unwrap_or_else(PoisonError::into_inner).timeseries;
        table.batches.push(record_batch(&columns, &table.schema, rows, names));
    }

    /// What is there so far.
    #[must_use]
    pub fn so_far(&self) -> Tables {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
