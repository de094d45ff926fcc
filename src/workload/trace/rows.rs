//! A file as a sequence of rows: tells what kind of file it is, and puts path, line and text to what is wrong with it.
//! Knows layouts, not what rows mean.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::error::{TraceError, excerpt};
use super::lines::{JsonLines, without_byte_order_mark};
use super::replay::Replay;
use super::row::{NS_PER_S, Row};
use super::table::{HeaderProblem, Table, TableError};
use crate::inputs;
use crate::workload::spec::TraceFormat;

/// Bytes looked at to tell what a file is.
const SNIFF_BYTES: u64 = 8192;

/// The rows of a trace.
pub(super) struct Rows {
    path: PathBuf,
    format: TraceFormat,
    layout: Layout,
}

enum Layout {
    Json(JsonLines),
    Table(Box<Table>),
}

impl Rows {
    /// Opens `path` at its first row.
    pub fn open(path: &Path, format: TraceFormat) -> Result<Self, TraceError> {
        let opened = Replay::open(path);
        let path = inputs::shown(path);
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
        let is_json = match format {
            TraceFormat::Mooncake => true,
            TraceFormat::Azure | TraceFormat::Generic => false,
            TraceFormat::Detect => is_json(path, text),
        };
        let layout =
            if is_json { Layout::Json(JsonLines::new(file).map_err(read)?) } else { open_table(path, file, format)? };
        let path = path.into();
        Ok(Self { path, format, layout })
    }

    /// What messages call the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Goes back to the first row of the same open file.
    pub fn rewind(self) -> Result<Self, TraceError> {
        let layout = match self.layout {
            Layout::Json(lines) => {
                let lines = JsonLines::new(lines.into_file());
                Layout::Json(lines.map_err(|source| read_error(&self.path, source))?)
            }
            Layout::Table(table) => open_table(&self.path, table.into_file(), self.format)?,
        };
        Ok(Self { layout, ..self })
    }

    /// The next row.
    pub fn next(&mut self) -> Result<Option<Row>, TraceError> {
        let more = match &mut self.layout {
            Layout::Json(lines) => lines.advance(),
            Layout::Table(table) => table.advance(),
        };
        if !more.map_err(|source| read_error(&self.path, source))? {
            return Ok(None);
        }
        let row = match &self.layout {
            Layout::Json(lines) => lines.row(),
            Layout::Table(table) => table.row(),
        };
        row.map(Some).map_err(|problem| TraceError::Line {
            path: self.path.clone(),
            line: self.line(),
            problem,
            text: match &self.layout {
                Layout::Json(lines) => excerpt(lines.text()),
                Layout::Table(table) => excerpt(&table.text()),
            },
        })
    }

    /// The error for the row read last, which comes `earlier_ns` before the one above it.
    pub fn out_of_order(&self, earlier_ns: u64) -> TraceError {
        let file = if self.path == Path::new(inputs::STANDARD_INPUT) { Path::new("FILE") } else { &*self.path };
        let file = file.display();
        let command = match &self.layout {
            Layout::Json(_) => format!("jq -s -c 'sort_by(.timestamp)[]' '{file}' > sorted.jsonl"),
            Layout::Table(table) => {
                format!("(head -n 1 '{file}'; tail -n +2 '{file}' | sort -s -t, -k{}) > sorted.csv", table.sort_key())
            }
        };
        TraceError::OutOfOrder {
            path: self.path.clone(),
            line: self.line(),
            earlier_s: earlier_ns as f64 / NS_PER_S as f64,
            command,
        }
    }

    /// The error for a file that is not what it was.
    pub fn changed(&self) -> TraceError {
        TraceError::Changed { path: self.path.clone(), line: self.line() }
    }

    fn line(&self) -> u64 {
        match &self.layout {
            Layout::Json(lines) => lines.line(),
            Layout::Table(table) => table.line(),
        }
    }
}

fn open_table(path: &Path, file: Replay, format: TraceFormat) -> Result<Layout, TraceError> {
    let error = match Table::new(file, format) {
        Ok(table) => return Ok(Layout::Table(Box::new(table))),
        Err(error) => error,
    };
    let path = path.into();
    Err(match error {
        TableError::Read(source) => TraceError::Read { path, source },
        TableError::Empty => TraceError::Empty { path },
        TableError::Header { line, text, problem } => {
            let header = excerpt(&text);
            match problem {
                HeaderProblem::Unknown => TraceError::UnknownHeader { path, line, header },
                HeaderProblem::Missing(column) => TraceError::MissingColumn { path, line, column, header },
            }
        }
    })
}

fn read_error(path: &Path, source: io::Error) -> TraceError {
    TraceError::Read { path: path.into(), source }
}

/// By extension, else by the first character.
fn is_json(path: &Path, text: &[u8]) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    match extension.to_ascii_lowercase().as_str() {
        "jsonl" | "ndjson" | "json" => true,
        "csv" => false,
        _ => text.starts_with(b"{"),
    }
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
