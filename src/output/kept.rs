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
    requests: KeptRows<RequestRecord>,
    timeseries: KeptRows<SeriesRow>,
}

/// One of them.
#[derive(Debug)]
struct KeptRows<Row: 'static> {
    columns: Vec<&'static Column<Row>>,
    table: Arc<Mutex<ArrowTable>>,
}

impl KeptTables {
    pub(super) fn new(scenario: &Scenario, plan: &OutputPlan) -> Self {
        Self {
            requests: KeptRows::of(request_columns(scenario, plan.encodes_images)),
            timeseries: KeptRows::of(&INTERVAL_COLUMNS),
        }
    }

    pub(super) fn add_requests(&self, rows: &[RequestRecord], names: &Names) {
        self.requests.add(rows, names);
    }

    pub(super) fn add_intervals(&self, rows: &[SeriesRow], names: &Names) {
        self.timeseries.add(rows, names);
    }

    /// What is there so far.
    #[must_use]
    pub fn so_far(&self) -> Tables {
        Tables { requests: self.requests.so_far(), timeseries: self.timeseries.so_far() }
    }
}

impl<Row> Clone for KeptRows<Row> {
    fn clone(&self) -> Self {
        Self { columns: self.columns.clone(), table: Arc::clone(&self.table) }
    }
}

impl<Row> KeptRows<Row> {
    fn of(columns: impl IntoIterator<Item = &'static Column<Row>>) -> Self {
        let columns: Vec<_> = columns.into_iter().collect();
        let table = ArrowTable { schema: schema(&columns), batches: Vec::new() };
        Self { columns, table: Arc::new(Mutex::new(table)) }
    }

    fn add(&self, rows: &[Row], names: &Names) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let batch = record_batch(&self.columns, &table.schema, rows, names);
        table.batches.push(batch);
    }

    fn so_far(&self) -> ArrowTable {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
