//! Files of a load: its requests as a trace that this program and others read, written without a simulation.
//!
//! What a format cannot say of a request is refused, unless it is named as dropped; what no simulation of the file
//! misses is a note. The file has its final name only when it is whole, as all output.

mod blocks;
mod columns;
mod loss;
mod mooncake;

use std::path::{Path, PathBuf};

use super::OutputError;
use super::csv_file::CsvFile;
use super::names::Names;
use super::parquet_file::ParquetFile;
use super::staged::{Claim, ClosedFile, StagedFile};
use crate::workload::{Turn, TurnsError};
use columns::Request;
pub use loss::Loss;
use loss::Losses;
use mooncake::Mooncake;

/// Requests that are written at once.
const BATCH: usize = 8192;

/// A format that loads are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The generic CSV.
    Csv,
    /// Parquet with all that a run's own requests say of the load.
    Parquet,
    /// Mooncake's lines of JSON.
    Mooncake,
    /// The same with sessions, whose turns may wait for answers.
    MooncakeSessions,
    /// Vidur's CSV.
    Vidur,
}

/// What is to be written, and where.
#[derive(Clone, Debug)]
pub struct LoadFile {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub target: Target,
    /// Tokens that an id of Mooncake's names.
    pub block_tokens: u32,
    /// What the format cannot say and may be left out.
    pub dropped: Vec<Loss>,
    /// A file of that name may go.
    pub overwrite: bool,
    /// Requests may have images for the vision encoder.
    pub encodes_images: bool,
    /// Names of client profiles, by their index.
    pub profile_names: Vec<String>,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// Requests.
    pub requests: u64,
    /// What the file does not say of them.
    pub notes: Vec<String>,
}

/// A load that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LoadFileError {
    /// The file.
    #[error(transparent)]
    File(#[from] OutputError),
    /// A file is there already.
    #[error("{} is there already; write elsewhere, or replace it with --overwrite", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The format cannot say something.
    #[error("request {request} {what}, which {format} cannot say; {way_out}")]
    CannotSay {
        /// Number of the request, from 1.
        request: u64,
        /// What it has.
        what: String,
        /// The format.
        format: &'static str,
        /// What to do.
        way_out: String,
    },
    /// No file without requests.
    #[error("the load has no request, and a trace needs one at least")]
    Empty,
    /// Time stands still.
    #[error(transparent)]
    Turns(#[from] TurnsError),
    /// The load could not be read to its end.
    #[error("{0}")]
    Source(String),
}

impl Target {
    /// By the ending of a file's name: what it stands for.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "csv" => Some(Self::Csv),
            "parquet" => Some(Self::Parquet),
            "jsonl" => Some(Self::Mooncake),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Csv => "the generic CSV",
            Self::Parquet => "Parquet",
            Self::Mooncake => "Mooncake's format",
            Self::MooncakeSessions => "Mooncake's format with sessions",
            Self::Vidur => "Vidur's format",
        }
    }
}

impl LoadFile {
    /// Writes all requests. `failure` says after the last whether the source ended early.
    ///
    /// # Errors
    /// The file cannot be written, or cannot say what the load has. Nothing is left then.
    pub fn write(
        &self,
        turns: impl Iterator<Item = Result<Turn, TurnsError>>,
        failure: impl FnOnce() -> Option<String>,
    ) -> Result<Written, LoadFileError> {
        let claim = Claim::take(&self.path)?;
        if !self.overwrite && self.path.exists() {
            return Err(LoadFileError::Exists { path: self.path.clone() });
        }
        let mut body = Body::begin(claim.begin()?, self)?;
        let mut losses = Losses::new(self);
        let outcome =
            body.take_all(turns, &mut losses, &Names::of_profiles(&self.profile_names)).and_then(|requests| {
                match failure() {
                    Some(message) => Err(LoadFileError::Source(message)),
                    None if requests == 0 => Err(LoadFileError::Empty),
                    None => Ok(requests),
                }
            });
        let notes = body.notes();
        let closed = body.close();
        match (outcome, closed) {
            (Ok(requests), Ok(closed)) => {
                closed.staged.commit()?;
                Ok(Written { requests, notes: losses.notes().into_iter().chain(notes).collect() })
            }
            (Err(error), closed) => {
                if let Ok(closed) = closed {
                    closed.staged.discard();
                }
                Err(error)
            }
            (Ok(_), Err(error)) => Err(error.into()),
        }
    }
}

/// The file in the making.
enum Body {
    Csv(CsvFile<Request>),
    Parquet(Box<ParquetFile<Request>>),
    Mooncake(Mooncake),
}

impl Body {
    fn begin(staged: StagedFile, file: &LoadFile) -> Result<Self, OutputError> {
        let images = file.encodes_images.then_some(&columns::ENCODER_TOKENS);
        Ok(match file.target {
            Target::Csv => Self::Csv(CsvFile::new(staged, columns::GENERIC.iter().chain(images))),
            Target::Vidur => Self::Csv(CsvFile::new(staged, &columns::VIDUR)),
            Target::Parquet => {
                Self::Parquet(Box::new(ParquetFile::create(staged, columns::WHOLE.iter().chain(images))?))
            }
            Target::Mooncake => Self::Mooncake(Mooncake::new(staged, file.block_tokens, false)),
            Target::MooncakeSessions => Self::Mooncake(Mooncake::new(staged, file.block_tokens, true)),
        })
    }

    fn take_all(
        &mut self,
        turns: impl Iterator<Item = Result<Turn, TurnsError>>,
        losses: &mut Losses,
        names: &Names,
    ) -> Result<u64, LoadFileError> {
        let mut batch = Vec::with_capacity(BATCH);
        let mut requests = 0;
        for turn in turns {
            let request = Request { number: requests, turn: turn? };
            requests += 1;
            losses.look_at(requests, &request.turn)?;
            batch.push(request);
            if batch.len() == BATCH {
                self.write(&batch, names)?;
                batch.clear();
            }
        }
        self.write(&batch, names)?;
        Ok(requests)
    }

    fn write(&mut self, requests: &[Request], names: &Names) -> Result<(), OutputError> {
        match self {
            Self::Csv(file) => file.write(requests, names),
            Self::Parquet(file) => file.write(requests, names),
            Self::Mooncake(file) => file.write(requests),
        }
    }

    fn notes(&self) -> Option<String> {
        match self {
            Self::Mooncake(file) => file.note(),
            Self::Csv(_) | Self::Parquet(_) => None,
        }
    }

    fn close(self) -> Result<ClosedFile, OutputError> {
        match self {
            Self::Csv(file) => file.close(),
            Self::Parquet(file) => file.close(false),
            Self::Mooncake(file) => Ok(file.close()),
        }
    }
}
