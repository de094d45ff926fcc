//! A file that appears under its final name only when it is whole: written as `<name>.partial` beside it, renamed at the
//! end.
//!
//! There is no fsync: a simulation can be run again, so a file need not outlive a power cut. Where the final path is
//! something other than a regular file (`/dev/stdout`, a named pipe), bytes go straight into it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::OutputError;

/// A file in the making.
#[derive(Debug)]
pub(super) struct StagedFile {
    final_path: PathBuf,
    /// Where the bytes are until the end; `None` where they go straight to the final path.
    staging_path: Option<PathBuf>,
    file: File,
}

/// A data file that is whole, but has not got its final name.
#[derive(Debug)]
pub(super) struct ClosedFile {
    pub(super) staged: StagedFile,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl StagedFile {
    /// Makes the folder if need be and opens the file.
    pub(super) fn create(final_path: &Path) -> Result<Self, OutputError> {
        if let Some(folder) = final_path.parent() {
            fs::create_dir_all(folder).map_err(|source| OutputError::Folder { path: folder.to_owned(), source })?;
        }
        let straight = fs::metadata(final_path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir());
        let staging_path = (!straight).then(|| partial_name(final_path));
        let path = staging_path.as_deref().unwrap_or(final_path);
        let file = File::create(path).map_err(|source| OutputError::Create { path: final_path.to_owned(), source })?;
        Ok(Self { final_path: final_path.to_owned(), staging_path, file })
    }

    /// The path the file will have.
    pub(super) fn final_path(&self) -> &Path {
        &self.final_path
    }

    /// Another handle to the same file.
    pub(super) fn try_clone_file(&self) -> Result<File, OutputError> {
        self.file.try_clone().map_err(|source| OutputError::Create { path: self.final_path.clone(), source })
    }

    /// Writes all of the bytes.
    pub(super) fn write_all(&mut self, bytes: &[u8]) -> Result<(), OutputError> {
        self.file.write_all(bytes).map_err(|source| OutputError::Write { path: self.final_path.clone(), source })
    }

    /// Gives the file its final name, in place of one that an earlier run left there.
    pub(super) fn commit(self) -> Result<(), OutputError> {
        let Some(from) = self.staging_path else {
            return Ok(());
        };
        fs::rename(&from, &self.final_path).map_err(|source| OutputError::Rename { from, to: self.final_path, source })
    }

    /// Takes the file away again.
    pub(super) fn discard(self) {
        if let Some(path) = self.staging_path {
            // Nothing is lost if it stays: its name says what it is.
            let _ = fs::remove_file(path);
        }
    }
}

/// Cuts a file off at `bytes`, where further writes go.
pub(super) fn cut(file: &mut File, bytes: u64) -> io::Result<()> {
    file.set_len(bytes)?;
    file.seek(SeekFrom::Start(bytes))?;
    Ok(())
}

fn partial_name(final_path: &Path) -> PathBuf {
    let mut name = final_path.file_name().map(OsString::from).unwrap_or_default();
    name.push(".partial");
    final_path.with_file_name(name)
}
