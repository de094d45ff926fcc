//! A file as a sequence of rows: tells what kind of file it is, and puts path, line and text to what is wrong with it.
//! Knows layouts, not what rows mean.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::columns::Columns;
use super::containers::lines::{JsonLines, without_byte_order_mark};
use super::containers::replay::Replay;
use super::containers::table::Table;
use super::error::{TraceError, excerpt};
use super::formats::{self, Format, Layout, ObjectFormat, ObjectReader, TableFormat};
use super::row::{NS_PER_S, Problem, Row};
use crate::inputs;
use crate::workload::spec::{TraceFormat, TraceOptions, TraceWorkload};

/// Bytes looked at to tell what a file is.
const SNIFF_BYTES: u64 = 8192;

/// The rows of a trace.
pub(super) struct Rows {
    path: PathBuf,
    format: &'static Format,
    options: TraceOptions,
    source: Source,
    /// Rows that were read and not yet handed on.
    pending: VecDeque<Row>,
}

/// A file that is open, and how it is read.
enum Source {
    Objects { lines: JsonLines, format: ObjectFormat, reader: Box<dyn ObjectReader>, has_ended: bool },
    Table { table: Box<Table>, columns: Box<Columns> },
}

impl Rows {
    /// Opens a trace at its first row.
    pub fn open(workload: &TraceWorkload) -> Result<Self, TraceError> {
        let opened = Replay::open(&workload.path);
        let path = inputs::shown(&workload.path);
        let read = |source| read_error(path, source);
        let mut file = opened.map_err(read)?;
        let mut head = Vec::new();
        let sniffed = (&mut file).take(SNIFF_BYTES).read_to_end(&mut head);
        sniffed.map_err(read)?;
        if let Some(what) = binary(&head) {
            let path = path.into();
            return Err(TraceError::Binary { path, what });
        }
        let text = without_byte_order_mark(&head).trim_ascii();
        if text.is_empty() && (head.len() as u64) < SNIFF_BYTES {
            return Err(TraceError::Empty { path: path.into() });
        }
        let is_json = text.starts_with(b"{") || text.starts_with(b"[");
        let named = named(path, workload.format, is_json)?;
        let options = workload.options.clone();
        let (format, source) = if is_json {
            open_objects(path, JsonLines::new(file).map_err(read)?, named, &options)?
        } else {
            open_table(path, Table::new(file).map_err(read)?, named, &options)?
        };
        Ok(Self { path: path.into(), format, options, source, pending: VecDeque::new() })
    }

    /// What messages call the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Goes back to the first row of the same open file.
    pub fn rewind(self) -> Result<Self, TraceError> {
        let Self { path, format, options, source, .. } = self;
        let read = |source| read_error(&path, source);
        let (format, source) = match source {
            Source::Objects { lines, .. } => {
                let lines = JsonLines::new(lines.into_file()).map_err(read)?;
                open_objects(&path, lines, Some(format), &options)?
            }
            Source::Table { table, .. } => {
                let table = Table::new(table.into_file()).map_err(read)?;
                open_table(&path, table, Some(format), &options)?
            }
        };
        Ok(Self { path, format, options, source, pending: VecDeque::new() })
    }

    /// The next row.
    pub fn next(&mut self) -> Result<Option<Row>, TraceError> {
        loop {
            if let Some(row) = self.pending.pop_front() {
                return Ok(Some(row));
            }
            if !self.source.advance().map_err(|source| read_error(&self.path, source))? {
                return Ok(None);
            }
            self.source.read(&mut self.pending).map_err(|problem| self.line_error(problem))?;
        }
    }

    /// The error for the row read last, which comes `earlier_ns` before the one above it.
    pub fn out_of_order(&self, earlier_ns: u64) -> TraceError {
        let file = if self.path == Path::new(inputs::STANDARD_INPUT) { Path::new("FILE") } else { &*self.path };
        let file = file.display();
        let command = match &self.source {
            Source::Objects { format, .. } => {
                format!("jq -s -c 'sort_by({})[]' '{file}' > sorted.jsonl", format.sort_by)
            }
            Source::Table { columns, .. } => {
                let key = columns.sort_key();
                format!("(head -n 1 '{file}'; tail -n +2 '{file}' | sort -s -t, -k{key}) > sorted.csv")
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

    fn line_error(&self, problem: Problem) -> TraceError {
        let text = match &self.source {
            Source::Objects { lines, .. } => excerpt(lines.text()),
            Source::Table { table, .. } => excerpt(&table.text()),
        };
        TraceError::Line { path: self.path.clone(), line: self.source.line(), problem, text }
    }
}

impl Source {
    /// Moves to the next record; `false` when there is nothing more to read.
    fn advance(&mut self) -> io::Result<bool> {
        match self {
            Self::Table { table, .. } => table.advance(),
            Self::Objects { has_ended: true, .. } => Ok(false),
            Self::Objects { lines, has_ended, .. } => {
                *has_ended = !lines.advance()?;
                // Once more, for what waited for the end.
                Ok(true)
            }
        }
    }

    /// Puts the requests of the record at hand behind `rows`.
    fn read(&mut self, rows: &mut VecDeque<Row>) -> Result<(), Problem> {
        match self {
            Self::Table { table, columns } => rows.push_back(columns.row(table.record())?),
            Self::Objects { reader, has_ended: true, .. } => reader.end(rows)?,
            Self::Objects { lines, format, reader, .. } => reader
                .read(lines.object()?, rows)
                .map_err(|problem| format!("{problem}; a request must look like {}", format.example))?,
        }
        Ok(())
    }

    fn line(&self) -> u64 {
        match self {
            Self::Objects { lines, .. } => lines.line(),
            Self::Table { table, .. } => table.line(),
        }
    }
}

/// The format that is asked for by name, if one is; it must be of files like this.
fn named(path: &Path, format: TraceFormat, is_json: bool) -> Result<Option<&'static Format>, TraceError> {
    let Some(format) = formats::named(format.0) else { return Ok(None) };
    let problem = match format.layout {
        Layout::Table(_) if is_json => "has a header, and this is JSON",
        Layout::Objects(_) if !is_json => "is JSON, and this begins with neither { nor [",
        _ => return Ok(Some(format)),
    };
    let problem = format!("{} ({}) {problem}; leave the format to be detected", format.title, format.name);
    Err(TraceError::Unfit { path: path.into(), line: 1, problem })
}

fn open_objects(
    path: &Path,
    mut lines: JsonLines,
    named: Option<&'static Format>,
    options: &TraceOptions,
) -> Result<(&'static Format, Source), TraceError> {
    let read = |source| read_error(path, source);
    let format = match named {
        Some(format) => format,
        None => {
            lines.advance().map_err(read)?;
            let format = detect(path, &lines)?;
            lines = JsonLines::new(lines.into_file()).map_err(read)?;
            format
        }
    };
    let Layout::Objects(objects) = format.layout else { unreachable!("a format of objects") };
    let reader = (objects.reader)(options);
    Ok((format, Source::Objects { lines, format: objects, reader, has_ended: false }))
}

/// The format whose object was read last.
fn detect(path: &Path, lines: &JsonLines) -> Result<&'static Format, TraceError> {
    let line_error = |problem| {
        let (path, text) = (path.into(), excerpt(lines.text()));
        TraceError::Line { path, line: lines.line(), problem, text }
    };
    let object = lines.object().map_err(line_error)?;
    let object = match serde_json::from_slice(object) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return Err(line_error("it is no object of JSON".to_owned())),
        Err(error) => return Err(line_error(formats::json_problem(&error))),
    };
    formats::of_object(&object).ok_or_else(|| {
        let keys: Vec<&str> = object.keys().map(String::as_str).collect();
        line_error(format!("no known trace has objects with the keys {}", excerpt(keys.join(", ").as_bytes())))
    })
}

fn open_table(
    path: &Path,
    mut table: Table,
    named: Option<&'static Format>,
    options: &TraceOptions,
) -> Result<(&'static Format, Source), TraceError> {
    if !table.advance().map_err(|source| read_error(path, source))? {
        return Err(TraceError::Empty { path: path.into() });
    }
    let (line, header, names) = (table.line(), excerpt(&table.text()), table.names());
    let Some(format) = named.or_else(|| formats::of_header(&names)) else {
        return Err(TraceError::UnknownHeader { path: path.into(), line, header });
    };
    let Layout::Table(TableFormat { columns, .. }) = format.layout else { unreachable!("a format of tables") };
    let columns = columns(names, options).map_err(|column| TraceError::MissingColumn {
        path: path.into(),
        line,
        column,
        header,
    })?;
    Ok((format, Source::Table { table: Box::new(table), columns: Box::new(columns) }))
}

fn read_error(path: &Path, source: io::Error) -> TraceError {
    TraceError::Read { path: path.into(), source }
}

/// What a file that is not text seems to be.
fn binary(head: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], &str); 6] = [
        (b"\x1f\x8b", "compressed with gzip"),
        (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
        (b"PK\x03\x04", "a zip archive"),
        (b"PAR1", "a Parquet file"),
        (b"\xff\xfe", "text in UTF-16"),
        (b"\xfe\xff", "text in UTF-16"),
    ];
    let named = known.into_iter().find(|(magic, _)| head.starts_with(magic));
    // The cut may go through the last character.
    let is_text = str::from_utf8(head).map_or_else(|error| error.error_len().is_none(), |_| true);
    let binary = !is_text || head.contains(&0);
    named.map(|(_, what)| what).or(binary.then_some("not a text file"))
}
