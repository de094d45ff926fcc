//! Why a sweep did not go on.

use std::io;
use std::path::Path;

/// Why a sweep did not go on. A point that cannot run is none of these: it is a row.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// It cannot be done as asked.
    #[error("{0}")]
    Refused(String),
    /// It was tried.
    #[error("{0}")]
    Failed(String),
}

impl SweepError {
    pub(super) fn cannot_read(path: &Path, error: &io::Error) -> Self {
        Self::Refused(format!("cannot read {}: {error}", path.display()))
    }

    pub(super) fn cannot_write(path: &Path, error: &io::Error) -> Self {
        Self::Failed(format!("cannot write {}: {error}", path.display()))
    }
}
