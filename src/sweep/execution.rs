//! Runs the points of a shard that are not finished yet.
//!
//! A thread a point, as many as there are to use; a simulation takes more of them only where there are fewer points. What
//! ends is handed to the caller's thread, which alone writes the journal.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

use rayon::ThreadPoolBuilder;

use super::description::{Description, refuse_inputs};
use super::grid::{Grid, Shard};
use super::journal::{self, Journal, Record, Status};
use super::metrics::metrics_of;
use super::partition;
use super::problem::SweepError;
use crate::config::Resolved;
use crate::inputs::ReadFiles;
use crate::output::{OutputError, Overwrite};
use crate::runs::Run;
use crate::workload::Workload;

/// What is to be swept, and where to.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// Which sweep it is.
    pub description: Description,
    /// Which of its points.
    pub shard: Shard,
    /// The folder.
    pub folder: PathBuf,
    /// Start anew, whatever is there.
    pub overwrite: bool,
    /// What it may read besides what its first point reads.
    pub reads: ReadFiles,
    /// Threads to simulate with.
    pub threads: usize,
}

/// Why there is no configuration for a point, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved(pub String);

/// What to tell while a sweep runs.
#[derive(Debug)]
pub enum Event<'a> {
    /// So many points are to be run; so many were finished before.
    Begins {
        /// To be run.
        points: usize,
        /// Finished before.
        finished: usize,
    },
    /// Something that was there is damaged.
    Damaged(&'a str),
    /// A point is over.
    Ended(&'a Record),
}

/// What a sweep came to.
#[derive(Debug)]
pub struct Outcome {
    /// Every point of the shard that is over.
    pub records: BTreeMap<usize, Record>,
    /// How many of them were simulated just now.
    pub simulated: usize,
    /// Whether all points of the sweep are there: then its tables are written.
    pub is_whole: bool,
    /// Whether it was interrupted.
    pub is_interrupted: bool,
    /// What configurations and loads are warned of: by text, the points that it is about.
    pub warnings: BTreeMap<String, Vec<usize>>,
}

/// What becomes of a setting: the caller's.
pub type Resolve<'a> = dyn Fn(&[(&str, &str)]) -> Result<Resolved, Unresolved> + Sync + 'a;

/// A point that is over, on its way to the journal.
struct Done {
    record: Record,
    warnings: Vec<String>,
}

/// Runs what is not finished of a sweep, until `stop` is set.
///
/// # Errors
/// A folder of another sweep, no point that can run, files that cannot be written.
pub fn run(
    sweep: &Sweep,
    resolve: &Resolve<'_>,
    stop: &AtomicBool,
    mut tell: impl FnMut(Event<'_>),
) -> Result<Outcome, SweepError> {
    let grid = sweep.description.grid()?;
    let mut description = sweep.description.clone();
    let first = first_that_can_run(&grid, resolve, stop)?.resolved;
    if let Workload::Trace(trace) = &first.workload {
        description.add_file("the trace", &trace.path)?;
    }
    for reads in [&sweep.reads, &first.output.reads] {
        refuse_inputs(&sweep.folder, reads)?;
    }
    description.claim(&sweep.folder, sweep.overwrite)?;
    let there = journal::read_all(&sweep.folder, &grid)?;
    // What another shard has damaged, it runs again itself.
    let is_ours = |shard| sweep.shard == Shard::WHOLE || sweep.shard == shard;
    let damaged = there.damaged.iter().filter(|(shard, _)| is_ours(*shard));
    damaged.for_each(|(_, line)| tell(Event::Damaged(line)));
    let (mut journal, mut own) = Journal::open(&sweep.folder, sweep.shard, &grid)?;
    let mut known = there.records;
    known.retain(|_, record| record.status == Status::Ok);
    if description.requests {
        let lost = lost_requests(sweep, &grid, &known);
        for point in lost {
            let file = partition::file(&grid, point);
            tell(Event::Damaged(&format!("{}: missing or damaged", sweep.folder.join(file).display())));
            known.remove(&point);
            own.remove(&point);
        }
    }
    let todo: Vec<usize> =
        (0..grid.points()).filter(|&point| sweep.shard.holds(point) && !known.contains_key(&point)).collect();
    tell(Event::Begins {
        points: todo.len(),
        finished: known.keys().filter(|&&point| sweep.shard.holds(point)).count(),
    });
    let mut warnings: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut simulated = 0;
    let points = Points { sweep, grid: &grid, todo: &todo, resolve, stop, next: AtomicUsize::new(0) };
    points.run(|done| {
        let Done { record, warnings: found } = done;
        journal.add(&record)?;
        tell(Event::Ended(&record));
        simulated += usize::from(record.status != Status::Refused);
        for warning in found {
            warnings.entry(warning).or_default().push(record.point);
        }
        own.insert(record.point, record);
        Ok(())
    })?;
    warnings.values_mut().for_each(|points| points.sort_unstable());
    journal::write(&sweep.folder, sweep.shard, &own)?;
    known.extend(own);
    let is_interrupted = stop.load(Ordering::Relaxed) && todo.iter().any(|point| !known.contains_key(point));
    // Of what others have refused, as they found it.
    for (point, record) in journal::read_all(&sweep.folder, &grid)?.records {
        known.entry(point).or_insert(record);
    }
    // Shards that end at the same time would each find the other missing, or not: they are merged.
    let is_whole = sweep.shard.of == 1 && known.len() == grid.points();
    if is_whole {
        super::write_tables(&sweep.folder, &grid, &known)?;
    }
    known.retain(|&point, _| sweep.shard.holds(point));
    Ok(Outcome { records: known, simulated, is_whole, is_interrupted, warnings })
}

/// The first point that can run. Where none can, that is told, before there is a folder.
fn first_that_can_run(grid: &Grid, resolve: &Resolve<'_>, stop: &AtomicBool) -> Result<Run, SweepError> {
    let mut refusal = None;
    for point in 0..grid.points() {
        if stop.load(Ordering::Relaxed) {
            return Err(SweepError::Failed("interrupted before a point was simulated".to_owned()));
        }
        match resolve(&grid.settings(point)).and_then(|resolved| open(resolved, None)) {
            Ok(run) => return Ok(run),
            Err(Unresolved(message)) => refusal = refusal.or(Some(message)),
        }
    }
    let (points, message) = (grid.points(), refusal.unwrap_or_default());
    Err(SweepError::Refused(format!("none of the {points} points can be simulated; the first:\n{message}")))
}

/// Finished points whose requests are not there as they were.
fn lost_requests(sweep: &Sweep, grid: &Grid, known: &BTreeMap<usize, Record>) -> Vec<usize> {
    let own = known.values().filter(|record| sweep.shard.holds(record.point));
    let lost = own.filter(|record| {
        let rows = partition::rows(&sweep.folder.join(partition::file(grid, record.point)));
        rows.is_none() || rows != record.requests
    });
    lost.map(|record| record.point).collect()
}

/// The run of a configuration that writes its requests to a file, or nothing.
fn open(mut resolved: Resolved, requests: Option<PathBuf>) -> Result<Run, Unresolved> {
    resolved.output.write_nothing();
    if let Some(folder) = requests.as_ref().and_then(|file| file.parent()) {
        resolved.output.directory = folder.to_owned();
    }
    resolved.output.requests_parquet = requests;
    resolved.output.overwrite = Overwrite::Anything;
    Run::open(resolved).map_err(|error| Unresolved(error.to_string()))
}

/// The points that are to be run.
struct Points<'a> {
    sweep: &'a Sweep,
    grid: &'a Grid,
    todo: &'a [usize],
    resolve: &'a Resolve<'a>,
    stop: &'a AtomicBool,
    /// The next of `todo`.
    next: AtomicUsize,
}

impl Points<'_> {
    /// Runs them and hands each to `keep`, in the order in which they end.
    fn run(&self, mut keep: impl FnMut(Done) -> Result<(), SweepError>) -> Result<(), SweepError> {
        let workers = self.sweep.threads.clamp(1, self.todo.len().max(1));
        let threads_of_each = (self.sweep.threads / workers).max(1);
        let is_broken = AtomicBool::new(false);
        let (done, ended) = channel();
        std::thread::scope(|scope| {
            for _ in 0..workers {
                let (done, is_broken) = (done.clone(), &is_broken);
                scope.spawn(move || {
                    // A pool of its own, in which it is the first: a simulation that waits for its parts takes up no other point.
                    let _pool = ThreadPoolBuilder::new().num_threads(threads_of_each).use_current_thread().build();
                    self.work(&done, is_broken);
                });
            }
            drop(done);
            let kept = ended.into_iter().try_for_each(|ended| keep(ended?));
            is_broken.store(true, Ordering::Relaxed);
            kept
        })
    }

    /// Takes one point after the other.
    fn work(&self, done: &Sender<Result<Done, SweepError>>, is_broken: &AtomicBool) {
        let goes_on = || !self.stop.load(Ordering::Relaxed) && !is_broken.load(Ordering::Relaxed);
        while goes_on() {
            let Some(&point) = self.todo.get(self.next.fetch_add(1, Ordering::Relaxed)) else { return };
            match self.simulate(point, &goes_on) {
                Ok(None) => return,
                Ok(Some(ended)) => {
                    if done.send(Ok(ended)).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    // Nobody listens any more where another point has failed so before.
                    let _ = done.send(Err(SweepError::Failed(format!("point {point}: {error}"))));
                    return;
                }
            }
        }
    }

    /// Simulates a point; `None` where it was interrupted.
    fn simulate(&self, point: usize, goes_on: &dyn Fn() -> bool) -> Result<Option<Done>, OutputError> {
        let settings = self.grid.settings(point);
        let mut record = Record {
            point,
            settings: settings.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
            status: Status::Refused,
            error: None,
            requests: None,
            metrics: Vec::new(),
        };
        let keeps = self.sweep.description.requests;
        let requests = keeps.then(|| self.sweep.folder.join(partition::file(self.grid, point)));
        let run = match (self.resolve)(&settings).and_then(|resolved| open(resolved, requests.clone())) {
            Ok(run) => run,
            Err(Unresolved(message)) => {
                record.error = Some(message);
                return Ok(Some(Done { record, warnings: Vec::new() }));
            }
        };
        let warnings = run.resolved.warnings.iter().map(ToString::to_string);
        let remarks = run.facts.trace.iter().flat_map(|trace| &trace.remarks);
        let warnings = warnings.chain(remarks.map(|remark| format!("warning: {remark}"))).collect();
        let writer = run.writer()?;
        let go = |_| if goes_on() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
        let ended = run.simulate(writer, false, go);
        if !goes_on() {
            return Ok(None);
        }
        let trouble = ended.stopped_short();
        let summary = ended.finish(serde_json::Value::Null)?;
        record.requests = requests.and_then(|file| partition::rows(&file));
        (record.status, record.metrics) = match &trouble {
            None => (Status::Ok, metrics_of(&summary)),
            Some(_) => (Status::Failed, Vec::new()),
        };
        record.error = trouble;
        Ok(Some(Done { record, warnings }))
    }
}
