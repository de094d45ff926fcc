//! What is wrong with a user's file, and errors of the catalog.

use std::fmt;
use std::path::{Path, PathBuf};

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something the user may like to know.
    Note,
    /// The file is used, but not as it is written.
    Warning,
    /// The file, or the entry, cannot be used.
    Error,
}

/// One thing to say about one key of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it weighs.
    pub severity: Severity,
    /// The file.
    pub file: PathBuf,
    /// Line of the key, from 1, where known.
    pub line: Option<usize>,
    /// Path of the key, its parts joined by dots. Empty for the file as a whole.
    pub key: String,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_at(out, &self.file, self.line, &self.key)?;
        write!(out, ": {}", self.message)
    }
}

/// Where something is: the file, its line and key as far as they are known.
pub(crate) fn write_at(
    out: &mut fmt::Formatter<'_>,
    file: &Path,
    line: Option<impl fmt::Display>,
    key: &str,
) -> fmt::Result {
    write!(out, "{}", file.display())?;
    if let Some(line) = line {
        write!(out, ":{line}")?;
    }
    if key.is_empty() { Ok(()) } else { write!(out, ": {key}") }
}

/// Why a file gives no model.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The file cannot be opened or read.
    #[error("{}: {cause}{hint}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
        /// What to try instead; empty or beginning with `; `.
        hint: String,
    },
    /// The file is longer than any file of its kind.
    #[error("{}: longer than the {limit_bytes} bytes that such a file may have", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// The file is not text.
    #[error("{}: not a text file (byte {offset} is not UTF-8)", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The first byte that is not text.
        offset: usize,
    },
    /// The file is not JSON.
    #[error("{}:{line}:{column}: not valid JSON: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the parser expected.
        message: String,
    },
    /// The file is JSON of another shape.
    #[error("{}: {message}", path.display())]
    WrongShape {
        /// The file.
        path: PathBuf,
        /// What such a file holds.
        message: String,
    },
    /// The file is of the right form, but keys are missing or wrong.
    #[error("{}", lines(findings))]
    Rejected {
        /// Everything that is wrong.
        findings: Vec<Finding>,
    },
}

/// What was wrong; a warning beside it would read as if it were.
fn lines(findings: &[Finding]) -> String {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
