//! A file as a sequence of rows: puts path, line and text to what is wrong with it, counts what is left out, and restores the order of
//! files that are in the order of ends. Knows layouts, not what rows mean.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use super::containers::replay::{Replay, Shared};
use super::error::{TraceError, excerpt};
use super::formats::Format;
use super::opening::{self, Opened};
use super::row::{NS_PER_S, Problem, Row};
use super::source::{Source, read_error};
use crate::inputs;
use crate::workload::slo::Slo;
use crate::workload::spec::{TraceOptions, TraceWorkload};

/// The rows of a trace.
pub(in crate::workload) struct Rows {
    path: PathBuf,
    format: &'static Format,
    options: TraceOptions,
    source: Source,
    /// What was seen of the columns when it was opened.
    remarks: Vec<String>,
    /// Rows that were read and not yet handed on.
    pending: VecDeque<Row>,
    /// Rows that came before their turn, by number.
    early: BTreeMap<u64, Row>,
    /// The number that comes next.
    next_number: u64,
    left_out: LeftOut,
    raw: Shared,
}

/// What is not replayed.
#[derive(Default)]
struct LeftOut {
    /// Rows that are no requests to replay, by reason.
    by_reason: BTreeMap<&'static str, u64>,
    /// Rows that are no requests at all, which the user wants to be skipped, and what is wrong with the first of them.
    bad: u64,
    first_bad: Option<String>,
}

impl Rows {
    /// Opens a trace at its first row.
    pub fn open(workload: &TraceWorkload) -> Result<Self, TraceError> {
        let opened = Replay::open(&workload.path);
        let path = inputs::shown(&workload.path);
        let file = opened.map_err(|source| read_error(path, source))?;
        let options = workload.options.clone();
        let raw = file.raw();
        let opened = opening::open(path, file, workload.format, &options)?;
        Ok(Self::new(path.into(), options, opened, raw))
    }

    fn new(path: PathBuf, options: TraceOptions, opened: Opened, raw: Shared) -> Self {
        let Opened { format, source, remarks } = opened;
        Self {
            path,
            format,
            options,
            source,
            remarks,
            pending: VecDeque::new(),
            early: BTreeMap::new(),
            next_number: 0,
            left_out: LeftOut::default(),
            raw,
        }
    }

    /// The bytes as they are in the file.
    pub(super) fn raw(&self) -> Shared {
        self.raw.clone()
    }

    /// What messages call the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Goes back to the first row of the same open file.
    pub fn rewind(self) -> Result<Self, TraceError> {
        let Self { path, format, options, source, raw, .. } = self;
        let opened = opening::reopen(&path, source, format, &options)?;
        Ok(Self::new(path, options, opened, raw))
    }

    /// The next row.
    pub fn next(&mut self) -> Result<Option<Row>, TraceError> {
        loop {
            if let Some(row) = self.early.remove(&self.next_number) {
                self.next_number += 1;
                return Ok(Some(row));
            }
            let Some(row) = self.next_in_file()? else {
                // Where numbers are missing, what there is follows in order.
                let (number, row) = self.early.pop_first().unzip();
                self.next_number = number.map_or(self.next_number, |number| number + 1);
                return Ok(row);
            };
            let Some(number) = self.source.number(&row) else { return Ok(Some(row)) };
            if number < self.next_number || self.early.insert(number, row).is_some() {
                let error = self.line_error(format!("another row has the number {number} too"));
                self.tolerate(error)?;
            }
        }
    }

    /// The next row in the order of the file.
    fn next_in_file(&mut self) -> Result<Option<Row>, TraceError> {
        loop {
            while let Some(row) = self.pending.pop_front() {
                match row.left_out {
                    None => return Ok(Some(row)),
                    Some(reason) => *self.left_out.by_reason.entry(reason).or_default() += 1,
                }
            }
            if !self.source.advance().map_err(|source| read_error(&self.path, source))? {
                return Ok(None);
            }
            if let Err(problem) = self.source.read(&mut self.pending) {
                // What is wrong with all of them together is wrong with no row that could be skipped.
                if self.source.has_ended() {
                    let (path, line) = (self.path.clone(), self.source.line());
                    return Err(TraceError::Unfit { path, line, problem });
                }
                self.tolerate(self.line_error(problem))?;
            }
        }
    }

    /// Counts a row that is no request, if such rows are to be skipped.
    pub fn tolerate(&mut self, error: TraceError) -> Result<(), TraceError> {
        if !self.options.skip_bad_rows {
            return Err(error);
        }
        self.left_out.bad += 1;
        self.left_out.first_bad.get_or_insert_with(|| error.to_string());
        Ok(())
    }

    /// Names of the profiles by number, and what their clients expect, if the file names any; complete at its end.
    pub fn profiles(&self) -> &[(String, Slo)] {
        match &self.source {
            Source::Table { reader, .. } => reader.profiles(),
            Source::Objects { .. } => &[],
        }
    }

    /// What a user should know of how the file was read; complete at its end.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = self.remarks.clone();
        if let Source::Objects { reader, .. } = &self.source {
            if let ignored @ [_, ..] = &reader.ignored()[..] {
                remarks.push(format!("fields that are not used: {}", ignored.join(", ")));
            }
            remarks.extend(reader.remarks());
        }
        remarks
            .extend(self.left_out.by_reason.iter().map(|(reason, count)| format!("{count} rows left out ({reason})")));
        if let Some(first) = &self.left_out.first_bad {
            remarks.push(format!("{} bad rows skipped, the first: {first}", self.left_out.bad));
        }
        let of = |remark| format!("{}, read as {}: {remark}", self.path.display(), self.format.title);
        remarks.into_iter().map(of).collect()
    }

    /// The error for the row read last, which comes `earlier_ns` before the one above it.
    pub fn out_of_order(&self, earlier_ns: u64) -> TraceError {
        let file = if self.path == Path::new(inputs::STANDARD_INPUT) { Path::new("FILE") } else { &*self.path };
        let file = file.display();
        let command = match &self.source {
            Source::Objects { format, .. } => {
                format!("jq -s -c 'sort_by({})[]' '{file}' > sorted.jsonl", format.sort_by)
            }
            Source::Table { table, reader } if table.is_text() => {
                let key = reader.sort_key();
                format!("(head -n 1 '{file}'; tail -n +2 '{file}' | sort -s -t, -k{key}) > sorted.csv")
            }
            Source::Table { .. } => {
                format!("duckdb -c \"COPY (FROM '{file}' ORDER BY its column of arrivals) TO 'sorted.parquet'\"")
            }
        };
        TraceError::OutOfOrder {
            path: self.path.clone(),
            line: self.source.line(),
            earlier_s: earlier_ns as f64 / NS_PER_S as f64,
            command,
        }
    }

    /// The error for a file that is not what it was.
    pub fn changed(&self) -> TraceError {
        TraceError::Changed { path: self.path.clone(), line: self.source.line() }
    }

    /// The error for the row read last.
    pub fn line_error(&self, problem: Problem) -> TraceError {
        let text = match &self.source {
            Source::Objects { objects, .. } => excerpt(objects.text()),
            Source::Table { table, .. } => excerpt(&table.text()),
        };
        TraceError::Line { path: self.path.clone(), line: self.source.line(), problem, text }
    }

    /// The line that the row read last is on.
    pub fn line(&self) -> u64 {
        self.source.line()
    }
}
