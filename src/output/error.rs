//! What can go wrong with a run's files. Every message names the file and carries the system's own words.

use std::io;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;

/// A file of the run could not be made or written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The folder does not exist and could not be made.
    #[error("cannot create the folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file could not be opened for writing.
    #[error("cannot create {}: {source}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A write failed.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The Parquet encoder refused.
    #[error("cannot encode {}: {source}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ParquetError,
    },
    /// A finished file could not be given its final name.
    #[error("cannot rename {} to {}: {source}", from.display(), to.display())]
    Rename {
        /// The file as it is.
        from: PathBuf,
        /// The name it should have.
        to: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another run is writing the file.
    #[error("{} is being written by another run; wait for its end, or write elsewhere with --output or --name", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Something that is no file has the file's name.
    #[error(
        "{} is a link, a pipe or a device, and no output is written through one; remove it, or write elsewhere",
        path.display()
    )]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The run would replace what it reads.
    #[error("{} is read by this run ({}), and no output replaces it; write elsewhere", path.display(), input.display())]
    IsInput {
        /// The path.
        path: PathBuf,
        /// What is read, as it is named there.
        input: PathBuf,
    },
    /// The folder of the run is a link to nothing.
    #[error(
        "{} is a link to nothing; make the folder that it leads to, remove it, or write elsewhere with --output or --name",
        path.display()
    )]
    LinkToNothing {
        /// The link.
        path: PathBuf,
    },
    /// The folder holds a sweep.
    #[error("{} holds a sweep (sweep.json); write elsewhere with --output or --name", directory.display())]
    HoldsSweep {
        /// The folder.
        directory: PathBuf,
    },
    /// The folder holds a run that is not this one.
    #[error(
        "{} holds a run of another configuration ({difference}); write elsewhere with --output or --name, or replace it \
         with --overwrite",
        directory.display()
    )]
    OtherConfiguration {
        /// The folder.
        directory: PathBuf,
        /// A key that tells the two apart.
        difference: String,
    },
    /// The folder holds a file that may be anybody's.
    #[error(
        "{} is there, and no manifest says that a run of this configuration wrote it; write elsewhere with --output or \
         --name, or replace it with --overwrite",
        path.display()
    )]
    UnknownFile {
        /// The file.
        path: PathBuf,
    },
    /// A file of an earlier run cannot be taken away.
    #[error("cannot remove {}, which an earlier run left: {source}", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Two outputs have the same path.
    #[error("two outputs of the run have the same path, {}", path.display())]
    SamePath {
        /// The path.
        path: PathBuf,
    },
    /// The writer thread panicked or could not be started; a defect or a lack of threads, not of the disk.
    #[error("the thread that writes the files of {} is gone", directory.display())]
    WriterGone {
        /// Folder of the run.
        directory: PathBuf,
    },
}

impl OutputError {
    /// An error of the Parquet encoder. Where the disk is behind it, that is what is told.
    pub(super) fn from_parquet(path: &Path, source: ParquetError) -> Self {
        let path = path.to_owned();
        match source {
            ParquetError::External(inner) => match inner.downcast::<io::Error>() {
                Ok(source) => Self::Write { path, source: *source },
                Err(inner) => Self::Encode { path, source: ParquetError::External(inner) },
            },
            source => Self::Encode { path, source },
        }
    }
}
