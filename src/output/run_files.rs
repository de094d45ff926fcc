//! The writer thread's side of a run: its data files and the statistics of its requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use oracle_components::SimTime;
use oracle_components::record::RequestRecord;
use oracle_components::scenario::Scenario;

use super::csv_file::CsvFile;
use super::goodput::SloSeries;
use super::interval_columns::{INTERVAL_COLUMNS, SeriesRow};
use super::kept::KeptTables;
use super::names::Names;
use super::parquet_file::ParquetFile;
use super::request_columns::request_columns;
use super::staged::{ClosedFile, StagedFile};
use super::statistics::RequestStatistics;
use super::{OutputError, OutputPlan};

/// Rows of the time series that are encoded at once.
const ROWS_AT_ONCE: usize = 2048;

/// Rows on their way to the writer thread.
#[derive(Debug)]
pub(super) enum Batch {
    Requests(Vec<RequestRecord>),
    Intervals(Vec<SeriesRow>),
}

/// How long the writer thread has worked: encoding, compressing, writing, not waiting for batches.
#[derive(Clone, Debug, Default)]
pub struct WriterClock {
    nanoseconds: Arc<AtomicU64>,
}

impl WriterClock {
    fn add(&self, time: Duration) {
        // 584 years fit.
        self.nanoseconds.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// So far.
    #[must_use]
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }
}

/// The data files of a run before anything is in them.
#[derive(Debug)]
pub(super) struct StagedData {
    pub(super) requests_parquet: Option<StagedFile>,
    pub(super) requests_csv: Option<StagedFile>,
    pub(super) timeseries_parquet: Option<StagedFile>,
}

/// The data files of a run in the making.
#[derive(Debug)]
pub(super) struct RunFiles {
    names: Names,
    statistics: RequestStatistics,
    slo_series: SloSeries,
    requests_parquet: Option<ParquetFile<RequestRecord>>,
    requests_csv: Option<CsvFile<RequestRecord>>,
    timeseries_parquet: Option<ParquetFile<SeriesRow>>,
    kept: Option<KeptTables>,
}

impl RunFiles {
    /// The files of `staged`.
    pub(super) fn create(
        staged: StagedData,
        scenario: &Scenario,
        names: Names,
        plan: &OutputPlan,
    ) -> Result<Self, OutputError> {
        let columns = request_columns(scenario, plan.encodes_images);
        let parquet = |staged| ParquetFile::create(staged, columns.clone());
        Ok(Self {
            statistics: RequestStatistics::new(plan.warm_up, names.profiles.len(), plan.load.records_aborts),
            slo_series: SloSeries::new(scenario.series_interval),
            names,
            requests_parquet: staged.requests_parquet.map(parquet).transpose()?,
            requests_csv: staged.requests_csv.map(|staged| CsvFile::new(staged, columns.clone())),
            timeseries_parquet: staged
                .timeseries_parquet
                .map(|staged| ParquetFile::create(staged, &INTERVAL_COLUMNS))
                .transpose()?,
            kept: plan.keeps_tables.then(|| KeptTables::new(scenario, plan)),
        })
    }

    /// Takes batches until there are no more or a write fails, and gives the emptied ones back.
    pub(super) fn take_all(
        mut self,
        batches: &Receiver<Batch>,
        emptied: &SyncSender<Vec<RequestRecord>>,
        clock: &WriterClock,
    ) -> (Self, Result<(), OutputError>) {
        for batch in batches {
            let started = Instant::now();
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
            clock.add(started.elapsed());
            if written.is_err() {
                return (self, written);
            }
        }
        (self, Ok(()))
    }

    fn write_requests(&mut self, rows: &[RequestRecord]) -> Result<(), OutputError> {
        let has_series = self.timeseries_parquet.is_some() || self.kept.is_some();
        for record in rows {
            let slo = &self.names.slos[usize::from(record.profile)];
            let judgement = slo.judge(record);
            self.statistics.record(record, slo, judgement);
            if let Some(judgement) = judgement.filter(|_| has_series) {
                self.slo_series.record(record, &judgement);
            }
        }
        if let Some(file) = &mut self.requests_parquet {
            file.write(rows, &self.names)?;
        }
        if let Some(file) = &mut self.requests_csv {
            file.write(rows, &self.names)?;
        }
        if let Some(tables) = &self.kept {
            tables.add_requests(rows, &self.names);
        }
        Ok(())
    }

    fn write_intervals(&mut self, rows: &[SeriesRow]) -> Result<(), OutputError> {
        if let Some(tables) = &self.kept {
            tables.add_intervals(rows, &self.names);
        }
        match &mut self.timeseries_parquet {
            Some(file) => file.write(rows, &self.names),
            None => Ok(()),
        }
    }

    /// Writes the time series' rows of profiles, if all could be `written` before: a run that ended at `end`.
    pub(super) fn write_slo_series(
        mut self,
        end: SimTime,
        written: Result<(), OutputError>,
    ) -> (Self, Result<(), OutputError>) {
        let rows = self.slo_series.rows(end).map(|(interval, kept)| SeriesRow::of_profile(interval, kept));
        let rows: Vec<SeriesRow> = rows.collect();
        let written = written.and_then(|()| rows.chunks(ROWS_AT_ONCE).try_for_each(|rows| self.write_intervals(rows)));
        (self, written)
    }

    /// Where rows are kept in memory, if they are.
    pub(super) fn kept(&self) -> Option<KeptTables> {
        self.kept.clone()
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
        // It lets go of bytes that the others may need.
        if let Some(file) = self.requests_csv {
            file.keep();
        }
        if let Some(file) = self.requests_parquet {
            file.keep();
        }
        if let Some(file) = self.timeseries_parquet {
            file.keep();
        }
    }
}
