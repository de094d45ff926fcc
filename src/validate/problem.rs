//! What is wrong with a file of measurements.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::catalog::{CatalogError, write_at};
use crate::config::Diagnostic;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Line from 1, where there is one.
    pub line: Option<u64>,
    /// Key or column; empty for the file as a whole.
    pub key: String,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl Problem {
    /// A problem of a file as a whole.
    #[must_use]
    pub fn of_file(file: &Path, message: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, key: String::new(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_at(out, &self.file, self.line, &self.key)?;
        write!(out, ": {}", self.message)
    }
}

/// Why a measurement cannot be held against a prediction.
#[derive(Debug, thiserror::Error)]
pub enum Problems {
    /// Its files are wrong.
    #[error("{}", lines(.0))]
    Files(Vec<Problem>),
    /// A JSON file cannot be read as one.
    #[error(transparent)]
    Json(#[from] CatalogError),
    /// The deployment that it describes cannot be simulated.
    #[error("{}", lines(.0))]
    Deployment(Vec<Diagnostic>),
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self::Files(vec![problem])
    }
}

fn lines(problems: &[impl fmt::Display]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
