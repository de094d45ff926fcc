//! Another load from a recorded one: a part of it by time, a sample of its sessions, the whole behind itself again, its
//! requests at each other's times, longer or shorter prompts and answers.
//!
//! Stands between the rows of a trace and their timeline. Always in this order, whatever the order in which it was asked
//! for: window, sample, lengths, shuffle, repeat; then the timeline scales the rate, and the source keeps the limits.
//!
//! The laws: without any shaping, rows pass as they are. Which rows are sampled depends on seed, session and place in the
//! file alone: a smaller sample is a part of a larger one, and window and sample commute. Memory: a few words a session
//! where requests wait for others, all rows where they are shuffled.

mod scale;
mod shuffle;
mod spec;
mod window;

use std::collections::HashMap;
use std::path::Path;

pub use spec::{RepeatedPrefixes, Shaping, Window};

use super::slo::Slo;
use super::streams::combine;
use super::trace::error::TraceError;
use super::trace::row::{Problem, Row, Start};
use super::trace::rows::Rows;
use window::Peak;

/// Names the draws of a sample.
const SAMPLE: u64 = 0x7361_6d70_6c65_0000;
/// Tells requests without a session, which are sampled by their place, from sessions.
const PLACE: u64 = 0x706c_6163_6500_0000;
/// Rows and pieces of prompts that are shuffled, at most, in bytes.
const MOST_SHUFFLED_BYTES: usize = 1 << 30;

/// The rows of a trace, shaped.
pub(super) struct Shaped {
    /// The file; nobody's while it is rewound, and after that failed.
    file: Option<Rows>,
    shaping: Shaping,
    /// The window, in the trace's own time; none: everything.
    window: Option<(i64, i64)>,
    /// Whether sessions whose requests wait for others are in the window: their first row says.
    sessions: HashMap<u64, bool>,
    /// Rows read of the file in this lap.
    place: u64,
    /// What is repeated, once it was read.
    lap: Lap,
    laps: u32,
    /// What is known of the file after a whole lap.
    whole: Option<Whole>,
    /// All rows of a lap, where they are shuffled, and how many of them were handed on.
    shuffled: Option<(Vec<Row>, usize)>,
}

/// What is known of a file that was read to its end.
struct Whole {
    profiles: Vec<(String, Slo)>,
    remarks: Vec<String>,
}

/// What one lap through the rows comes to.
#[derive(Clone, Copy, Debug, Default)]
struct Lap {
    /// Times of its first and its last row.
    span: Option<(i64, i64)>,
    /// Rows with a time of their own.
    timed: u64,
}

impl Shaped {
    /// Shapes rows; reads them through beforehand where the window is the fullest, or where they are repeated or shuffled.
    pub fn new(rows: Rows, shaping: &Shaping) -> Result<Self, TraceError> {
        shaping.check().map_err(|problem| TraceError::Shaping { path: rows.path().to_owned(), problem })?;
        let mut shaped = Self {
            file: Some(rows),
            shaping: shaping.clone(),
            window: None,
            sessions: HashMap::new(),
            place: 0,
            lap: Lap::default(),
            laps: 0,
            whole: None,
            shuffled: None,
        };
        match shaping.window {
            Some(Window::Peak { length }) => shaped = shaped.find_peak(length.0 as i64)?,
            Some(Window::Span { from, to }) => {
                // In the file's own time once its first row is known.
                let first = shaped.first_time()?;
                shaped = shaped.rewind()?;
                let at = |ns: u64| first.saturating_add_unsigned(ns);
                shaped.window = Some((at(from.0), at(to.0)));
            }
            None => {}
        }
        if shaping.shuffle {
            shaped.shuffle()?;
        } else if shaping.repeat > 1 {
            shaped.measure()?;
            shaped = shaped.rewind()?;
        }
        Ok(shaped)
    }

    /// What messages call the file.
    pub fn path(&self) -> &Path {
        self.file().path()
    }

    /// The error for a file that is not what it was.
    pub fn changed(&self) -> TraceError {
        self.file().changed()
    }

    /// The error for a file, or what was left of it, without requests.
    pub fn nothing_left(&self) -> TraceError {
        let path = self.path().to_owned();
        let problem = match &self.file().remarks()[..] {
            _ if self.place > 0 => "no request is left by window and sample".to_owned(),
            [] => return TraceError::NoRequests { path },
            remarks => format!("it has no request to replay: {}", remarks.join("; ")),
        };
        TraceError::Shaping { path, problem }
    }

    /// The line of the row read last.
    pub fn line(&self) -> u64 {
        self.file().line()
    }

    /// The error for the row read last, of which something is wrong.
    pub fn line_error(&self, problem: Problem) -> TraceError {
        self.file().line_error(problem)
    }

    /// The error for the row read last, which comes so long before the one above it.
    pub fn out_of_order(&self, earlier_ns: u64) -> TraceError {
        self.file().out_of_order(earlier_ns)
    }

    /// Counts a row that is no request, if such rows are to be skipped.
    pub fn tolerate(&mut self, error: TraceError) -> Result<(), TraceError> {
        match &mut self.file {
            Some(file) => file.tolerate(error),
            None => Err(error),
        }
    }

    /// Whether the rows are those of an earlier lap again.
    pub fn is_repeating(&self) -> bool {
        self.laps > 0
    }

    /// Goes back to the first row.
    pub fn rewind(mut self) -> Result<Self, TraceError> {
        self.laps = 0;
        self.begin_lap()?;
        Ok(self)
    }

    /// Whether the trace's beginning may not be in it.
    pub fn is_part(&self) -> bool {
        self.window.is_some()
    }

    /// The profiles that the file names, and what their clients expect.
    pub fn profiles(&self) -> Vec<(String, Slo)> {
        self.whole.as_ref().map_or_else(|| self.file().profiles().to_vec(), |whole| whole.profiles.clone())
    }

    /// What a user should know of the file.
    pub fn remarks(&self) -> Vec<String> {
        self.whole.as_ref().map_or_else(|| self.file().remarks(), |whole| whole.remarks.clone())
    }

    fn file(&self) -> &Rows {
        self.file.as_ref().expect("nobody asks after it failed")
    }

    /// The next row.
    pub fn next(&mut self) -> Result<Option<Row>, TraceError> {
        loop {
            let row = match &mut self.shuffled {
                Some((rows, handed_on)) => {
                    let row = rows.get(*handed_on).cloned();
                    *handed_on += 1;
                    row
                }
                None => self.selected()?,
            };
            if let Some(row) = row {
                return Ok(Some(self.renamed(row)));
            }
            if self.laps == 0 {
                self.whole = Some(Whole { profiles: self.file().profiles().to_vec(), remarks: self.file().remarks() });
            }
            self.laps += 1;
            if self.laps >= self.shaping.repeat || self.lap.timed == 0 {
                return Ok(None);
            }
            self.begin_lap()?;
        }
    }

    fn begin_lap(&mut self) -> Result<(), TraceError> {
        if let Some((_, handed_on)) = &mut self.shuffled {
            *handed_on = 0;
            return Ok(());
        }
        self.file = self.file.take().map(Rows::rewind).transpose()?;
        self.place = 0;
        self.sessions.clear();
        Ok(())
    }

    /// The next row of the window and the sample, its lengths scaled.
    fn selected(&mut self) -> Result<Option<Row>, TraceError> {
        while let Some(mut row) = self.read()? {
            if self.is_in_window(&row)? && self.is_sampled(&row)? {
                let Shaping { prompt_scale, output_scale, .. } = self.shaping;
                let scaled = scale::scale(&mut row, prompt_scale, output_scale);
                scaled.map_err(|problem| self.file().line_error(problem))?;
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// The next row of the file.
    fn read(&mut self) -> Result<Option<Row>, TraceError> {
        let Some(file) = &mut self.file else { return Ok(None) };
        let row = file.next()?;
        self.place += u64::from(row.is_some());
        Ok(row)
    }

    /// By its own time; where requests wait for others, by that of the session's first.
    fn is_in_window(&mut self, row: &Row) -> Result<bool, TraceError> {
        let Some((from, to)) = self.window else { return Ok(true) };
        let is_in = |time: i64| (from..to).contains(&time);
        match (&row.start, row.session) {
            (_, Some(session)) if row.is_of_session() => {
                let first = matches!(row.start, Start::At(time) if is_in(time));
                Ok(*self.sessions.entry(session).or_insert(first))
            }
            (&Start::At(time), session) => {
                let is_in = is_in(time);
                // Turns that wait for this one follow it.
                if let Some(session) = session {
                    self.sessions.insert(session, is_in);
                }
                Ok(is_in)
            }
            (Start::After { .. }, None) => Err(self.no_session("a window")),
            (Start::After { .. }, Some(_)) => unreachable!("what waits is of its session"),
        }
    }

    fn is_sampled(&self, row: &Row) -> Result<bool, TraceError> {
        let Shaping { sample, seed, .. } = self.shaping;
        if sample >= 1.0 {
            return Ok(true);
        }
        let name = match (session_of(row), &row.start) {
            (Some(session), _) => session,
            (None, Start::At(_)) => combine(PLACE, self.place),
            (None, Start::After { .. }) => return Err(self.no_session("a sample")),
        };
        let draw = combine(combine(seed, SAMPLE), name);
        // 2^64 values, evenly.
        Ok((draw as f64) < sample * 18_446_744_073_709_551_616.0)
    }

    fn no_session(&self, what: &str) -> TraceError {
        self.file().line_error(format!(
            "it waits for other requests and names no session, so {what} of the trace cannot keep them together"
        ))
    }

    /// A row of a later lap: later, of other sessions and, unless they are kept, other prompts.
    fn renamed(&self, mut row: Row) -> Row {
        if self.laps == 0 {
            return row;
        }
        let lap = u64::from(self.laps);
        let renamed = |name: u64| combine(name, lap);
        match &mut row.start {
            Start::At(time) => *time = time.saturating_add_unsigned(self.lap.length_ns().saturating_mul(lap)),
            Start::After { requests, .. } => requests.iter_mut().for_each(|request| *request = renamed(*request)),
        }
        row.id = row.id.map(renamed);
        row.session = row.session.map(renamed);
        let are_others = self.shaping.repeated_prefixes == RepeatedPrefixes::Renamed;
        if are_others {
            row.prefix.iter_mut().for_each(|piece| piece.key = renamed(piece.key).max(1));
        }
        if let Some(recorded) = &mut row.recorded {
            recorded.session = renamed(recorded.session);
            if are_others && recorded.tail_key != 0 {
                recorded.tail_key = renamed(recorded.tail_key).max(1);
            }
        }
        row
    }

    fn first_time(&mut self) -> Result<i64, TraceError> {
        while let Some(row) = self.read()? {
            if let Start::At(time) = row.start {
                return Ok(time);
            }
        }
        Ok(0)
    }

    fn find_peak(mut self, length_ns: i64) -> Result<Self, TraceError> {
        let mut peak = Peak::new(length_ns);
        let mut span: Option<(i64, i64)> = None;
        while let Some(row) = self.read()? {
            let Start::At(time) = row.start else { continue };
            let first = self.in_order(&mut span, time)?;
            peak.count(time.saturating_sub(first));
        }
        let (first, _) = span.unwrap_or_default();
        let from = first.saturating_add(peak.begin_ns());
        let mut found = self.rewind()?;
        found.window = Some((from, from.saturating_add(length_ns)));
        Ok(found)
    }

    /// Takes the next time, which must not be before the latest; gives the first.
    fn in_order(&self, span: &mut Option<(i64, i64)>, time: i64) -> Result<i64, TraceError> {
        let (first, latest) = span.unwrap_or((time, time));
        if time < latest {
            return Err(self.file().out_of_order(latest.abs_diff(time)));
        }
        *span = Some((first, time));
        Ok(first)
    }

    fn measure(&mut self) -> Result<(), TraceError> {
        let mut lap = Lap::default();
        while let Some(row) = self.selected()? {
            lap.count(&row);
        }
        self.lap = lap;
        Ok(())
    }

    fn shuffle(&mut self) -> Result<(), TraceError> {
        let (mut rows, mut bytes, mut lap) = (Vec::new(), 0, Lap::default());
        while let Some(row) = self.selected()? {
            if matches!(row.start, Start::After { .. }) {
                return Err(self
                    .file()
                    .line_error("it waits for an answer, and only times can be shuffled".to_owned()));
            }
            bytes += size_of::<Row>() + size_of_val(row.prefix.as_slice());
            if bytes > MOST_SHUFFLED_BYTES {
                let problem = format!(
                    "the rows down to here take {} MiB, and no more are shuffled, for that takes all of them; take a window \
                     or a sample",
                    MOST_SHUFFLED_BYTES >> 20
                );
                return Err(self.file().line_error(problem));
            }
            lap.count(&row);
            rows.push(row);
        }
        shuffle::shuffle(&mut rows, session_of, self.shaping.seed);
        self.lap = lap;
        self.shuffled = Some((rows, 0));
        Ok(())
    }
}

/// The session that a row is of, by whatever name.
fn session_of(row: &Row) -> Option<u64> {
    row.session.or_else(|| row.recorded.as_ref().map(|recorded| recorded.session))
}

impl Lap {
    fn count(&mut self, row: &Row) {
        if let Start::At(time) = row.start {
            let (first, last) = self.span.unwrap_or((time, time));
            self.span = Some((first.min(time), last.max(time)));
            self.timed += 1;
        }
    }

    /// From a row to the same of the next lap: the span and a gap of average length, so that the rate stays.
    fn length_ns(self) -> u64 {
        let span = self.span.map_or(0, |(first, last)| last.abs_diff(first));
        match self.timed {
            0 | 1 => span,
            rows => span.saturating_add((span as f64 / (rows - 1) as f64).round() as u64),
        }
    }
}
