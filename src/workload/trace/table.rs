//! What the CSV formats share: a header that says which column holds what, and rows read by it, one at a time.

use std::io;

use csv::ByteRecord;

use super::columns::Columns;
use super::error::text_of;
use super::feed::Feed;
use super::replay::Replay;
use super::row::{Problem, Row};
use super::{azure, generic};
use crate::workload::spec::TraceFormat;

/// The formats of tables. Where none is named, the first that recognises a header is meant.
const FORMATS: [TableFormat; 2] = [
    TableFormat { format: TraceFormat::Azure, recognises: azure::recognises, columns: azure::columns },
    TableFormat { format: TraceFormat::Generic, recognises: generic::recognises, columns: generic::columns },
];

/// What a format of tables has to say of a header.
struct TableFormat {
    format: TraceFormat,
    /// Whether one of the names is of this format alone.
    recognises: fn(&[String]) -> bool,
    /// The columns, or the one that is missing.
    columns: fn(Vec<String>) -> Result<Columns, &'static str>,
}

/// A CSV file with a header.
pub(super) struct Table {
    reader: csv::Reader<Feed>,
    record: ByteRecord,
    columns: Columns,
}

/// A table that cannot be opened.
pub(super) enum TableError {
    Read(io::Error),
    Empty,
    Header { line: u64, text: Vec<u8>, problem: HeaderProblem },
}

/// A header that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderProblem {
    /// Of no format that we know.
    Unknown,
    /// Of a format that we know, but for a column.
    Missing(&'static str),
}

impl Table {
    /// Starts at the beginning of `file` and reads its header.
    pub fn new(mut file: Replay, format: TraceFormat) -> Result<Self, TableError> {
        file.rewind().map_err(TableError::Read)?;
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            // Rows of another width than the header get an error of our own.
            .flexible(true)
            .trim(csv::Trim::All)
            .buffer_capacity(1 << 16)
            .from_reader(Feed::new(file));
        let mut table = Self { reader, record: ByteRecord::new(), columns: Columns::default() };
        if !table.advance().map_err(TableError::Read)? {
            return Err(TableError::Empty);
        }
        let names: Vec<String> = table.record.iter().map(text_of).collect();
        table.columns = columns(format, names).map_err(|problem| TableError::Header {
            line: table.line(),
            text: table.text(),
            problem,
        })?;
        Ok(table)
    }

    /// The file, wherever it has been read to.
    pub fn into_file(self) -> Replay {
        self.reader.into_inner().into_file()
    }

    /// Moves to the next record that is not blank; `false` at the end.
    pub fn advance(&mut self) -> io::Result<bool> {
        loop {
            self.reader.get_mut().begin_record();
            let line = self.reader.position().line();
            let more = self.reader.read_byte_record(&mut self.record).map_err(io::Error::from);
            if !more.map_err(|error| io::Error::new(error.kind(), format!("from line {line} on, {error}")))? {
                return Ok(false);
            }
            if self.record.iter().any(|field| !field.is_empty()) {
                return Ok(true);
            }
        }
    }

    /// Number of the line on which the record read last begins, from 1.
    ///
    /// The reader's own number for it is that of the blank lines above, so this counts back from where it ended.
    pub fn line(&self) -> u64 {
        let position = self.reader.position();
        let is_past = self.reader.get_ref().is_after_newline(position.byte());
        let within: usize = self.record.iter().map(newlines).sum();
        position.line().saturating_sub(within as u64 + u64::from(is_past))
    }

    /// Text of the record read last, without quotes.
    pub fn text(&self) -> Vec<u8> {
        self.record.iter().collect::<Vec<_>>().join(&b',')
    }

    /// The request in the record read last.
    pub fn row(&self) -> Result<Row, Problem> {
        self.columns.row(&self.record)
    }

    /// The key by which `sort` puts this table in order.
    pub fn sort_key(&self) -> String {
        let field = self.columns.arrival + 1;
        format!("{field},{field}{}", self.columns.sort_modifier)
    }
}

/// The columns of `format` among `names`.
fn columns(format: TraceFormat, names: Vec<String>) -> Result<Columns, HeaderProblem> {
    let is_meant = |known: &&TableFormat| match format {
        TraceFormat::Detect => (known.recognises)(&names),
        named => known.format == named,
    };
    let known = FORMATS.iter().find(is_meant).ok_or(HeaderProblem::Unknown)?;
    (known.columns)(names).map_err(HeaderProblem::Missing)
}

fn newlines(field: &[u8]) -> usize {
    field.iter().filter(|&&byte| byte == b'\n').count()
}
