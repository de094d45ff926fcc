//! What can be wrong with a trace: always the file, where it is known the line and its text, and the way out.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// A trace that cannot be replayed.
#[derive(Debug, Error)]
pub enum TraceError {
    /// The system cannot read the file.
    #[error("cannot read the trace {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Not text.
    #[error("the trace {} is {what}; unpack or export it to CSV or JSON lines in UTF-8", .path.display())]
    Binary {
        /// The file.
        path: PathBuf,
        /// What it seems to be.
        what: &'static str,
    },
    /// Nothing in it.
    #[error("the trace {} is empty; it needs at least one request", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A header and nothing else.
    #[error("the trace {} has a header but no requests", .path.display())]
    NoRequests {
        /// The file.
        path: PathBuf,
    },
    /// A header of no known format.
    #[error(
        "{}:{line}: no known trace has the header {header}; expected such as TIMESTAMP,ContextTokens,GeneratedTokens (Azure) \
         or arrival_s,prompt_tokens,output_tokens (generic), separated by commas, or JSON; of any other table name the columns with \
         --trace-columns arrival=NAME,prompt=NAME,output=NAME",
        .path.display()
    )]
    UnknownHeader {
        /// The file.
        path: PathBuf,
        /// Line of the header.
        line: u64,
        /// The header, quoted, shortened.
        header: String,
    },
    /// A header without a column that its format needs.
    #[error("{}:{line}: there is no column {column:?} in the header {header}", .path.display())]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// Line of the header.
        line: u64,
        /// The column.
        column: String,
        /// The header, quoted, shortened.
        header: String,
    },
    /// A file that is not what it should be.
    #[error("{}:{line}: {problem}", .path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// Where one sees it.
        line: u64,
        /// What is wrong, and the way out.
        problem: String,
    },
    /// A line that is no request.
    #[error("{}:{line}: {problem}; the line is {text}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: u64,
        /// What is wrong, and what it should be.
        problem: String,
        /// The line, quoted, shortened.
        text: String,
    },
    /// A request that comes before the one above it.
    #[error(
        "{}:{line}: this request arrives {earlier_s} s before the one above it, but a trace must be in order of arrival; \
         sort it, for example: {command}",
        .path.display()
    )]
    OutOfOrder {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: u64,
        /// By how many seconds.
        earlier_s: f64,
        /// A command that sorts the file.
        command: String,
    },
    /// What was kept of the sessions cannot be read.
    #[error("cannot read what was kept of the trace's sessions in $TMPDIR: {source}")]
    Kept {
        /// What the system says.
        source: io::Error,
    },
    /// The file is not what it was when it was checked.
    #[error("the trace {} changed while it was replayed; the run holds its requests up to line {line}", .path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// The last line read.
        line: u64,
    },
    /// A shape that the trace cannot be given.
    #[error("the trace {}: {problem}", .path.display())]
    Shaping {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A rate scale that is none.
    #[error("the trace {}: rate_scale is {value}, but must be a finite number above 0", .path.display())]
    RateScale {
        /// The file.
        path: PathBuf,
        /// What it is.
        value: f64,
    },
    /// A timeout that is none.
    #[error("the trace {}: timeout_s is {value}, but must be a number of seconds above 0", .path.display())]
    Timeout {
        /// The file.
        path: PathBuf,
        /// What it is.
        value: f64,
    },
}

/// Bytes as text; those that are none as `\xff`.
pub(super) fn text_of(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

/// Some of a line for an error message: one line, printable, quoted, no longer than a terminal is wide.
pub(super) fn excerpt(text: &[u8]) -> String {
    const MOST_CHARACTERS: usize = 60;
    // Four bytes are the longest character.
    let head = &text[..text.len().min(4 * (MOST_CHARACTERS + 1))];
    let head = text_of(head);
    match head.char_indices().nth(MOST_CHARACTERS) {
        None => format!("{head:?}"),
        Some((cut, _)) => format!("{:?}…", &head[..cut]),
    }
}
