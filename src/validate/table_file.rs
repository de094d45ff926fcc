//! CSV files of measurements: columns by name in any order, fields that may be empty, everything wrong with its line.

use std::path::Path;

use super::problem::{Problem, Problems};
use crate::inputs;
use crate::workload::MAX_TOKENS;

/// Problems that are told of one file; the rest is of the same kind.
const MOST_PROBLEMS: usize = 20;
/// Most characters of a field that a message quotes.
const QUOTED_CHARACTERS: usize = 40;
/// How alike names are of which one may be meant by the other (Jaro and Winkler's likeness).
const ALIKE: f64 = 0.9;
/// Largest figure that a file may state.
const LARGEST: f64 = 1e12;

/// Reads a file: `columns` finds its columns in the header, `row` reads a row.
pub(super) fn read<C, T>(
    path: &Path,
    hint: &str,
    columns: impl FnOnce(&mut Header<'_>) -> C,
    mut row: impl FnMut(&mut Row<'_>, &C) -> Option<T>,
) -> Result<(Vec<T>, C), Problems> {
    let (read, problems, columns) = scan(path, hint, columns, &mut row, MOST_PROBLEMS)?;
    if problems.is_empty() { Ok((read, columns)) } else { Err(Problems::Files(problems)) }
}

/// The same, but what is wrong with a row costs that row alone. Where none is left, that is an error.
pub(super) fn read_what_can_be<C, T>(
    path: &Path,
    columns: impl FnOnce(&mut Header<'_>) -> C,
    mut row: impl FnMut(&mut Row<'_>, &C) -> Option<T>,
) -> Result<(Vec<T>, Vec<Problem>, C), Problems> {
    let (read, mut problems, columns) = scan(path, "", columns, &mut row, usize::MAX)?;
    if read.is_empty() {
        problems.truncate(MOST_PROBLEMS);
        return Err(Problems::Files(problems));
    }
    Ok((read, problems, columns))
}

fn scan<C, T>(
    path: &Path,
    hint: &str,
    columns: impl FnOnce(&mut Header<'_>) -> C,
    row: &mut impl FnMut(&mut Row<'_>, &C) -> Option<T>,
    most_problems: usize,
) -> Result<(Vec<T>, Vec<Problem>, C), Problems> {
    let file = match inputs::open(path) {
        Ok(input) => input.into_stream(),
        Err(error) => return Err(Problem::of_file(path, format!("{error}{hint}")).into()),
    };
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(file);
    let names = reader.headers().map_err(|error| Problem::of_file(path, csv_message(&error)))?.clone();
    let mut header = Header { names: &names, missing: Vec::new() };
    let columns = columns(&mut header);
    if !header.missing.is_empty() {
        let message = format!("the header lacks {}", header.missing.join(" and "));
        return Err(Problem { file: path.into(), line: Some(1), key: String::new(), message }.into());
    }
    let (mut read, mut problems) = (Vec::new(), Vec::new());
    // Of lines that end in CR and LF the reader has not seen the LF when the next row begins.
    let mut unseen = 0;
    for record in reader.records() {
        match record {
            Ok(record) => {
                let line = record.position().map(csv::Position::line);
                if line == Some(1) {
                    unseen = 1;
                }
                let line = line.map(|line| line + unseen);
                let mut reading = Row { path, line, names: &names, record: &record, problems: &mut problems };
                read.extend(row(&mut reading, &columns));
            }
            Err(error) => {
                let line = error.position().map(csv::Position::line);
                problems.push(Problem { file: path.into(), line, key: String::new(), message: csv_message(&error) });
            }
        }
        if problems.len() >= most_problems {
            break;
        }
    }
    if read.is_empty() && problems.is_empty() {
        return Err(Problem::of_file(path, "has no rows").into());
    }
    Ok((read, problems, columns))
}

/// The names of the columns.
pub(super) struct Header<'a> {
    names: &'a csv::StringRecord,
    missing: Vec<&'static str>,
}

impl Header<'_> {
    /// Where a column is, if it is there.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|column| column.eq_ignore_ascii_case(name))
    }

    /// What a column may be that is not there by this name: one of another name that nobody reads.
    pub(super) fn mistyped(&self, name: &str, known: &[&str]) -> Option<&str> {
        let unread = self.names().filter(|column| !known.iter().any(|known| column.eq_ignore_ascii_case(known)));
        let likeness = |column: &str| strsim::jaro_winkler(&column.to_ascii_lowercase(), name);
        let alike = unread.filter(|column| likeness(column) > ALIKE);
        alike.max_by(|a, b| likeness(a).total_cmp(&likeness(b))).filter(|_| self.find(name).is_none())
    }

    /// All of them, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter()
    }

    /// Where a column is that must be there.
    pub(super) fn required(&mut self, name: &'static str) -> usize {
        self.find(name).unwrap_or_else(|| {
            self.missing.push(name);
            0
        })
    }
}

/// A row that is being read.
pub(super) struct Row<'a> {
    path: &'a Path,
    pub(super) line: Option<u64>,
    names: &'a csv::StringRecord,
    record: &'a csv::StringRecord,
    problems: &'a mut Vec<Problem>,
}

impl Row<'_> {
    /// The text of a field that is not empty.
    pub(super) fn text(&self, column: Option<usize>) -> Option<&str> {
        // What pandas writes for a gap is one too.
        self.record.get(column?).filter(|text| !text.is_empty() && !text.eq_ignore_ascii_case("nan"))
    }

    /// A number, if the field is not empty.
    pub(super) fn number(&mut self, column: Option<usize>, least: f64, what: &str) -> Option<f64> {
        let text = self.text(column)?;
        let number = text.parse().ok().filter(|number| (least..=LARGEST).contains(number));
        if number.is_none() {
            let quoted: String = text.chars().take(QUOTED_CHARACTERS).collect();
            self.report(column, format!("is {quoted:?}, but must be {what}"));
        }
        number
    }

    /// A count, with or without a fraction of zeros, if the field is not empty.
    pub(super) fn count(&mut self, column: Option<usize>, least: u32) -> Option<u32> {
        let what = format!("a whole number, {least} or more");
        let number = self.number(column, f64::from(least), &what)?;
        if number.fract() != 0.0 || number > f64::from(MAX_TOKENS) {
            self.report(column, format!("is {number}, but must be {what}, at most {MAX_TOKENS}"));
            return None;
        }
        Some(number as u32)
    }

    /// What a field that must not be empty holds; says so if nothing is wrong with it but that.
    pub(super) fn needed<T>(&mut self, column: usize, read: Option<T>) -> Option<T> {
        if read.is_none() && self.text(Some(column)).is_none() {
            self.report(Some(column), "is empty, but each row needs it");
        }
        read
    }

    /// Whether something of this row was found wrong.
    pub(super) fn has_problems(&self) -> bool {
        self.problems.last().is_some_and(|problem| problem.line == self.line)
    }

    /// Says what is wrong with a field.
    pub(super) fn report(&mut self, column: Option<usize>, message: impl Into<String>) {
        let key = column.and_then(|column| self.names.get(column)).unwrap_or_default().to_owned();
        self.problems.push(Problem { file: self.path.into(), line: self.line, key, message: message.into() });
    }
}

/// What the CSV reader says, in words.
fn csv_message(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "not text in UTF-8".to_owned(),
        _ => error.to_string(),
    }
}
