//! The sink of a run: takes records from the simulation and turns them into the run's files and summary.
//!
//! The simulation's thread copies each record into a batch (one copy of a row costs less than a push to each of
//! two dozen columns) and hands full batches to one writer thread, which encodes them and keeps the statistics. The
//! channel holds a few batches: a simulation that outruns its writer waits, so memory is bounded.
//!
//! Ends. A run that ends takes away the manifest of the run before, then what that wrote and this does not, and gives all
//! files their final names, its own manifest last: whenever it is killed, no manifest vouches for files of two runs.
//! `partial` marks files of a run that was interrupted. When a write fails, the writer thread stops, the simulation learns of it by [`SinkClosed`], and
//! [`RunWriter::finish`] tells the error; nothing is renamed then, so an earlier run's files stay as they were, and the
//! `.partial` files hold what could be kept: whole row groups, lines of a CSV.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use oracle_components::SimTime;
use oracle_components::record::{IntervalRow, Outcome, RequestRecord};
use oracle_components::scenario::Scenario;
use oracle_systems::ports::{RecordSink, SinkClosed};
use serde_json::Value;

use super::OutputError;
use super::OutputPlan;
use super::distribution::Distribution;
use super::earlier;
use super::energy::RowMeter;
use super::interval_columns::SeriesRow;
use super::kept::KeptTables;
use super::manifest::{self, Ending};
use super::names::Names;
use super::run_files::{Batch, RunFiles, StagedData, WriterClock};
use super::staged::{Claim, StagedFile, refuse_input};
use super::summarise::Inputs;
use super::summary::Summary;

/// Rows of a batch: 300 kB, which stay in a core's cache while the columns are picked out of them one by one.
const BATCH_ROWS: usize = 2048;
/// Batches that wait for the writer thread: 10 MB, which even out a burst.
const WAITING_BATCHES: usize = 32;

/// Writes the files of a run. See the module.
#[derive(Debug)]
pub struct RunWriter {
    plan: OutputPlan,
    scenario: Scenario,
    names: Names,
    requests: Vec<RequestRecord>,
    intervals: Vec<SeriesRow>,
    meter: RowMeter,
    token_gaps: Distribution,
    batches: SyncSender<Batch>,
    /// Emptied batches on their way back. Never contended; the lock is there because a receiver cannot be shared.
    emptied: Mutex<Receiver<Vec<RequestRecord>>>,
    clock: WriterClock,
    thread: JoinHandle<(RunFiles, Result<(), OutputError>)>,
    summary_json: Option<StagedFile>,
    manifest_json: Option<StagedFile>,
    trace: Option<StagedFile>,
    /// What goes into it.
    trace_bytes: Option<Vec<u8>>,
    /// What runs before have left in the folder.
    earlier: Vec<PathBuf>,
    warning: Option<String>,
    kept: Option<KeptTables>,
}

impl RunWriter {
    /// Makes the folder, locks and opens every file of the plan, so that a run that cannot be written does not start.
    ///
    /// # Errors
    /// A folder or file cannot be made, two outputs have the same path, another run is writing one, or one is there that
    /// the plan does not replace.
    pub fn create(plan: &OutputPlan, scenario: &Scenario, profile_names: &[String]) -> Result<Self, OutputError> {
        refuse_equal_paths(plan)?;
        refuse_inputs(plan)?;
        // The manifest's first: it is what tells a folder in use.
        let claims = plan.files().into_iter().map(|path| Claim::take(path)).collect::<Result<Vec<_>, _>>()?;
        earlier::check(plan)?;
        let earlier = earlier::files(plan);
        let warning = claims.iter().find_map(Claim::unlocked);
        let mut staged = begin(claims)?;
        let mut take = |path: &Option<PathBuf>| {
            let index = staged.iter().position(|file| Some(file.final_path()) == path.as_deref())?;
            Some(staged.swap_remove(index))
        };
        let (summary_json, manifest_json) = (take(&plan.summary_json), take(&plan.manifest_json));
        let trace = take(&plan.trace.as_ref().map(|trace| trace.path.clone()));
        let data = StagedData {
            requests_parquet: take(&plan.requests_parquet),
            requests_csv: take(&plan.requests_csv),
            timeseries_parquet: take(&plan.timeseries_parquet),
        };
        let names = Names::new(scenario, profile_names, &plan.slos);
        let files = RunFiles::create(data, scenario, names.clone(), plan)?;
        let kept = files.kept();
        let (batches, full) = sync_channel(WAITING_BATCHES);
        let (give_back, emptied) = sync_channel(WAITING_BATCHES);
        let thread = thread::Builder::new().name("run-writer".to_owned());
        let clock = WriterClock::default();
        let its_clock = clock.clone();
        let thread = thread.spawn(move || files.take_all(&full, &give_back, &its_clock));
        Ok(Self {
            plan: plan.clone(),
            scenario: scenario.clone(),
            names,
            requests: Vec::with_capacity(BATCH_ROWS),
            intervals: Vec::new(),
            meter: RowMeter::new(scenario),
            token_gaps: Distribution::weighted(),
            batches,
            emptied: Mutex::new(emptied),
            clock,
            thread: thread.map_err(|_| OutputError::WriterGone { directory: plan.directory.clone() })?,
            summary_json,
            manifest_json,
            trace,
            trace_bytes: None,
            earlier,
            warning,
            kept,
        })
    }

    /// What should be known of the folder before the run starts.
    #[must_use]
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// How long its thread has worked, to look at when the run is over.
    #[must_use]
    pub fn clock(&self) -> WriterClock {
        self.clock.clone()
    }

    /// The rows that are kept in memory, to look at when the run is over; none unless the plan keeps them.
    #[must_use]
    pub fn kept_tables(&self) -> Option<KeptTables> {
        self.kept.clone()
    }

    /// What its plan's trace shall hold. Without it, there is no such file.
    pub fn put_trace(&mut self, json: String) {
        self.trace_bytes = Some(json.into_bytes());
    }

    /// Ends the run: writes what is left, the summary and the manifest, and gives the files their final names.
    ///
    /// `partial` says that the run was stopped before its end; every file but the CSV is marked so. `run` is an object
    /// of what the caller knows of the run (`seed`, `config_path`, `config` …), and becomes part of the manifest.
    ///
    /// # Errors
    /// The first error of the run's files, also when it came while the simulation ran. No file is renamed then.
    pub fn finish(mut self, outcome: &Outcome, partial: bool, run: Value) -> Result<Summary, OutputError> {
        // If the writer thread has stopped, its error is told below.
        let _ = self.send_requests();
        let _ = self.send_intervals();
        drop(self.batches);
        let (files, written) =
            self.thread.join().map_err(|_| OutputError::WriterGone { directory: self.plan.directory.clone() })?;
        let (files, written) = files.write_slo_series(outcome.end, written);
        let inputs = Inputs {
            plan: &self.plan,
            scenario: &self.scenario,
            names: &self.names,
            outcome,
            requests: files.statistics(),
            token_gaps: &self.token_gaps,
        };
        let mut summary = inputs.summary(partial);
        let closed = match written {
            Ok(()) => files.close(partial),
            Err(error) => {
                files.keep();
                Err(error)
            }
        };
        let closed = match closed {
            Ok(closed) => closed,
            Err(error) => {
                [self.summary_json, self.manifest_json, self.trace].into_iter().flatten().for_each(StagedFile::discard);
                return Err(error);
            }
        };
        let summary_bytes = manifest::json_bytes(&summary);
        if self.trace_bytes.is_none() {
            // One of an earlier run must not stay in its place.
            self.plan.trace = None;
            self.trace.take().into_iter().for_each(StagedFile::discard);
        }
        let trace_bytes = self.trace_bytes.unwrap_or_default();
        let plan = &self.plan;
        let whole = [
            (plan.summary_json.as_ref(), summary_bytes.len()),
            (plan.trace.as_ref().map(|trace| &trace.path), trace_bytes.len()),
        ];
        let ending = Ending { plan, outcome, partial, closed: &closed, whole: &whole };
        let manifest_bytes = manifest::json_bytes(&ending.manifest(run));
        for (file, bytes) in [
            (&mut self.summary_json, &summary_bytes),
            (&mut self.trace, &trace_bytes),
            (&mut self.manifest_json, &manifest_bytes),
        ] {
            file.as_mut().map_or(Ok(()), |file| file.write_all(bytes))?;
        }
        remove_earlier(&self.plan, &self.earlier)?;
        let data_files = closed.into_iter().map(|file| file.staged);
        // The manifest last: where it is, the others are whole.
        for file in data_files.chain(self.trace).chain(self.summary_json).chain(self.manifest_json) {
            summary.files.push(file.final_path().to_owned());
            file.commit()?;
        }
        Ok(summary)
    }

    /// Hands the requests at hand to the writer thread and goes on with an empty batch.
    #[cold]
    fn send_requests(&mut self) -> Result<(), SinkClosed> {
        let emptied = self.emptied.get_mut().map_err(|_| SinkClosed)?;
        let empty = emptied.try_recv();
        let empty = empty.unwrap_or_else(|_| Vec::with_capacity(BATCH_ROWS));
        let full = std::mem::replace(&mut self.requests, empty);
        self.batches.send(Batch::Requests(full)).map_err(|_| SinkClosed)
    }

    #[cold]
    fn send_intervals(&mut self) -> Result<(), SinkClosed> {
        let full = std::mem::take(&mut self.intervals);
        self.batches.send(Batch::Intervals(full)).map_err(|_| SinkClosed)
    }
}

impl RecordSink for RunWriter {
    #[inline]
    fn request(&mut self, record: &RequestRecord) -> Result<(), SinkClosed> {
        debug_assert!(
            usize::from(record.profile) < self.names.profiles.len()
                && (record.engine as usize) < self.names.engines.len(),
            "a record names a profile and an engine of the run"
        );
        self.requests.push(record.clone());
        if self.requests.len() < BATCH_ROWS {
            return Ok(());
        }
        self.send_requests()
    }

    #[inline]
    fn token_gap(&mut self, at: SimTime, gap: SimTime, sequences: u64) {
        if at >= self.plan.warm_up {
            self.token_gaps.record_many(gap, sequences);
        }
    }

    fn token_gaps(&mut self, from: SimTime, step_ends: &[SimTime], sequences: u64) {
        let warm = step_ends.partition_point(|&end| end < self.plan.warm_up);
        let from = if warm == 0 { from } else { step_ends[warm - 1] };
        self.token_gaps.record_steps(from, &step_ends[warm..], sequences);
    }

    fn interval(&mut self, row: &IntervalRow) -> Result<(), SinkClosed> {
        if self.plan.timeseries_parquet.is_none() && self.kept.is_none() {
            return Ok(());
        }
        self.intervals.push(SeriesRow::of_engines(row.clone(), self.meter.of(row)));
        if self.intervals.len() < BATCH_ROWS {
            return Ok(());
        }
        self.send_intervals()
    }
}

/// Opens all files, or none.
fn begin(claims: Vec<Claim>) -> Result<Vec<StagedFile>, OutputError> {
    let mut staged = Vec::new();
    for claim in claims {
        match claim.begin() {
            Ok(file) => staged.push(file),
            Err(error) => {
                staged.into_iter().for_each(StagedFile::discard);
                return Err(error);
            }
        }
    }
    Ok(staged)
}

/// Takes away the manifest of the run before, and what that wrote and this run does not.
fn remove_earlier(plan: &OutputPlan, earlier: &[PathBuf]) -> Result<(), OutputError> {
    let written = plan.files();
    let left = earlier.iter().filter(|file| !written.contains(file));
    for path in plan.manifest_json.iter().chain(left) {
        match fs::remove_file(path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                return Err(OutputError::Remove { path: path.clone(), source });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses outputs in the place of what the run reads, and to take that away with an earlier run.
fn refuse_inputs(plan: &OutputPlan) -> Result<(), OutputError> {
    plan.files().into_iter().try_for_each(|path| refuse_input(path, &plan.reads))?;
    let read = earlier::files(plan).into_iter().find_map(|path| Some((plan.reads.holds(&path)?, path)));
    read.map_or(Ok(()), |(input, path)| Err(OutputError::IsInput { path, input }))
}

/// Refuses two outputs of one path, which the lock would take for two runs.
fn refuse_equal_paths(plan: &OutputPlan) -> Result<(), OutputError> {
    let mut paths = plan.files();
    paths.sort();
    match paths.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(OutputError::SamePath { path: pair[0].clone() }),
        None => Ok(()),
    }
}
