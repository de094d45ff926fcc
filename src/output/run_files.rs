//! The writer thread's side of a run: its data files and the statistics of its requests.

use std::sync::mpsc::{Receiver, SyncSender};

use oracle_components::record::{IntervalRow, RequestRecord};
use oracle_components::scenario::Scenario;

use super::OutputError;
use super::OutputPlan;
use super::csv_file::CsvFile;
use super::interval_columns::INTERVAL_COLUMNS;
use super::names::Names;
use super::parquet_file::ParquetFile;
use super::request_columns::request_columns;
use super::staged::ClosedFile;
use super::statistics::RequestStatistics;

/// Rows on their way to the writer thread.
#[derive(Debug)]
pub(super) enum Batch {
    Requests(Vec<RequestRecord>),
    Intervals(Vec<IntervalRow>),
}

/// The data files of a run in the making.
#[derive(Debug)]
pub(super) struct RunFiles {
    names: Names,
    statistics: RequestStatistics,
    requests_parquet: Option<ParquetFile<RequestRecord>>,
    requests_csv: Option<CsvFile<RequestRecord>>,
    timeseries_parquet: Option<ParquetFile<IntervalRow>>,
}

impl RunFiles {
    pub(super) fn create(plan: &OutputPlan, scenario: &Scenario, names: Names) -> Result<Self, OutputError> {
        let columns = request_columns(scenario);
        let requests_parquet = plan.requests_parquet.as_deref();
        let requests_csv = plan.requests_csv.as_deref();
        let timeseries_parquet = plan.timeseries_parquet.as_deref();
        Ok(Self {
            statistics: RequestStatistics::new(plan.warm_up, names.profiles.len()),
            names,
            requests_parquet: requests_parquet.map(|path| ParquetFile::create(path, columns)).transpose()?,
            requests_csv: requests_csv.map(|path| CsvFile::create(path, columns)).transpose()?,
            timeseries_parquet: timeseries_parquet
                .map(|path| ParquetFile::create(path, &INTERVAL_COLUMNS))
                .transpose()?,
        })
    }

    /// Takes batches until there are no more or a write fails, and gives the emptied ones back.
    pub(super) fn take_all(
        mut self,
        batches: &Receiver<Batch>,
        emptied: &SyncSender<Vec<RequestRecord>>,
    ) -> (Self, Result<(), OutputError>) {
        for batch in batches {
            let written = match batch {
                Batch::Requests(mut rows) => {
                    let written = self.write_requests(&rows);
                    rows.clear();
                    // The simulation makes its own batches when none come back.
                    let _ = emptied.try_send(rows);
                    written
                }
                Batch::Intervals(rows) => self.write_intervals(&rows),
            };
            if written.is_err() {
                return (self, written);
            }
        }
        (self, Ok(()))
    }

    fn write_requests(&mut self, rows: &[RequestRecord]) -> Result<(), OutputError> {
        for record in rows {
            self.statistics.record(record);
        }
        if let Some(file) = &mut self.requests_parquet {
            file.write(rows, &self.names)?;
        }
        if let Some(file) = &mut self.requests_csv {
            file.write(rows, &self.names)?;
        }
        Ok(())
    }

    fn write_intervals(&mut self, rows: &[IntervalRow]) -> Result<(), OutputError> {
        match &mut self.timeseries_parquet {
            Some(file) => file.write(rows, &self.names),
            None => Ok(()),
        }
    }

    /// What is known of the requests so far.
    pub(super) fn statistics(&self) -> &RequestStatistics {
        &self.statistics
    }

    /// Closes every file; the first that fails is told, the others are closed all the same.
    pub(super) fn close(self, partial: bool) -> Result<Vec<ClosedFile>, OutputError> {
        let closed = [
            self.requests_parquet.map(|file| file.close(partial)),
            self.requests_csv.map(CsvFile::close),
            self.timeseries_parquet.map(|file| file.close(partial)),
        ];
        closed.into_iter().flatten().collect()
    }

    /// After a failed write: leaves `.partial` files that can be read as far as they go.
    pub(super) fn keep(self) {
        if let Some(file) = self.requests_parquet {
            file.keep();
        }
        if let Some(file) = self.requests_csv {
            file.keep();
        }
        if let Some(file) = self.timeseries_parquet {
            file.keep();
        }
    }
}
