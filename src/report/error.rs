//! Why a folder cannot be shown. Every message names the file, and the way out where there is one.

use std::io;
use std::path::PathBuf;

/// What keeps a folder from being shown.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// There is nothing at the path.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A folder without the files of a run.
    #[error("{} is no run: {why}", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// What it lacks.
        why: String,
    },
    /// A file that is not what its name says.
    #[error("{} is damaged: {what}; run the simulation again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A picture of what the run does not have.
    #[error("{kind} cannot be drawn: {why}")]
    NothingToDraw {
        /// The kind of picture.
        kind: String,
        /// Why.
        why: String,
    },
    /// The rasteriser refused.
    #[error("the picture cannot be made: {0}")]
    Picture(String),
}
