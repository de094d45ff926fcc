//! What the CSV formats share: a header that says which column holds what, and rows read by it, one at a time.

use std::fs::File;
use std::io::{self, Seek};

use csv::ByteRecord;

use super::feed::Feed;
use super::row::{Problem, Row, priority, tokens};
use super::{azure, generic};
use crate::workload::spec::TraceFormat;
use crate::workload::streams::hash_bytes;

/// A CSV file with a header.
pub(super) struct Table {
    reader: csv::Reader<Feed>,
    record: ByteRecord,
    columns: Columns,
}

/// Where a table keeps what.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    /// All names, in order.
    pub names: Vec<String>,
    pub arrival: usize,
    pub prompt_tokens: usize,
    pub output_tokens: usize,
    pub max_output_tokens: Option<usize>,
    pub session: Option<usize>,
    pub priority: Option<usize>,
    /// Reads the arrival column, in nanoseconds.
    pub time: fn(&str) -> Result<i64, Problem>,
    /// How `sort` must read the arrival column: a modifier of its key.
    pub sort_modifier: &'static str,
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
    pub fn new(mut file: File, format: TraceFormat) -> Result<Self, TableError> {
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
        let names: Vec<String> = table.record.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        table.columns = Columns::new(format, names).map_err(|problem| TableError::Header {
            line: table.line(),
            text: table.text(),
            problem,
        })?;
        Ok(table)
    }

    /// The file, wherever it has been read to.
    pub fn into_file(self) -> File {
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

impl Columns {
    /// Finds the columns of `format` by their names.
    fn new(format: TraceFormat, names: Vec<String>) -> Result<Self, HeaderProblem> {
        let is_azure = match format {
            TraceFormat::Azure => true,
            TraceFormat::Generic => false,
            TraceFormat::Detect | TraceFormat::Mooncake => detect_azure(&names)?,
        };
        let columns = if is_azure { azure::columns(names) } else { generic::columns(names) };
        columns.map_err(HeaderProblem::Missing)
    }

    fn row(&self, record: &ByteRecord) -> Result<Row, Problem> {
        if record.len() != self.names.len() {
            return Err(format!("it has {} fields, but the header has {}", record.len(), self.names.len()));
        }
        let field = |column: usize| text(&self.names[column], &record[column]);
        let count = |column: usize| tokens(&self.names[column], field(column)?);
        let given = |column: Option<usize>| column.filter(|&column| !record[column].is_empty());
        let (prompt_tokens, prompt_raised) = count(self.prompt_tokens)?;
        let (output_tokens, output_raised) = count(self.output_tokens)?;
        let limit = given(self.max_output_tokens).map(count).transpose()?;
        let rank = given(self.priority).map(|column| priority(&self.names[column], field(column)?));
        Ok(Row {
            time_ns: (self.time)(field(self.arrival)?)?,
            prompt_tokens,
            output_tokens,
            max_output_tokens: limit.map(|(tokens, _)| tokens),
            session: given(self.session).map(|column| hash_bytes(&record[column])),
            priority: rank.transpose()?.unwrap_or(0),
            prefix: Vec::new(),
            raised_to_one: prompt_raised || output_raised,
        })
    }
}

impl Default for Columns {
    /// No columns: what a table has until its header is read.
    fn default() -> Self {
        Self {
            names: Vec::new(),
            arrival: 0,
            prompt_tokens: 0,
            output_tokens: 0,
            max_output_tokens: None,
            session: None,
            priority: None,
            time: |_| Ok(0),
            sort_modifier: "",
        }
    }
}

fn newlines(field: &[u8]) -> usize {
    field.iter().filter(|&&byte| byte == b'\n').count()
}

/// Whether a header is Azure's rather than a generic one; a column of either is enough to tell.
fn detect_azure(names: &[String]) -> Result<bool, HeaderProblem> {
    let any = |wanted: &[&str]| wanted.iter().any(|name| find(names, name).is_some());
    if any(&[azure::CONTEXT_TOKENS, azure::GENERATED_TOKENS]) {
        return Ok(true);
    }
    let generic = [generic::PROMPT_TOKENS, generic::OUTPUT_TOKENS];
    if any(&generic) || any(&generic::ARRIVAL) {
        return Ok(false);
    }
    Err(HeaderProblem::Unknown)
}

/// The first column of that name, in whatever case.
pub(super) fn find(names: &[String], name: &str) -> Option<usize> {
    names.iter().position(|n| n.eq_ignore_ascii_case(name))
}

fn text<'a>(name: &str, field: &'a [u8]) -> Result<&'a str, Problem> {
    str::from_utf8(field).map_err(|_| format!("{name} is not text in UTF-8"))
}
