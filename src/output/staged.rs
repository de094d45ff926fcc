//! A file that appears under its final name only when it is whole: written as `<name>.<process>.partial` beside it,
//! renamed at the end.
//!
//! First it is claimed: nobody else writes it until this process lets it go. A final path that is something other than
//! a regular file (a link, a pipe, a device) is refused: nothing is written through it.
//!
//! There is no fsync: a simulation can be run again, so a file need not outlive a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::OutputError;
use super::lock::{Lock, lock_path};
use crate::inputs::ReadFiles;

const PARTIAL: &str = ".partial";

/// A path that is ours to write to.
#[derive(Debug)]
pub(super) struct Claim {
    final_path: PathBuf,
    lock: Lock,
}

impl Claim {
    /// Makes the folder if need be and locks the path.
    pub(super) fn take(final_path: &Path) -> Result<Self, OutputError> {
        let folder = folder_of(final_path);
        if folder.is_symlink() && !folder.exists() {
            return Err(OutputError::LinkToNothing { path: folder.to_owned() });
        }
        fs::create_dir_all(folder).map_err(|source| OutputError::Folder { path: folder.to_owned(), source })?;
        match fs::symlink_metadata(final_path) {
            Ok(known) if known.is_dir() => {
                let source = ErrorKind::IsADirectory.into();
                return Err(OutputError::Create { path: final_path.to_owned(), source });
            }
            Ok(known) if !known.is_file() => return Err(OutputError::NotAFile { path: final_path.to_owned() }),
            _ => {}
        }
        Ok(Self { final_path: final_path.to_owned(), lock: Lock::take(final_path)? })
    }

    /// The path that is claimed.
    pub(super) fn path(&self) -> &Path {
        &self.final_path
    }

    /// Why nobody else is kept from it, if so.
    pub(super) fn unlocked(&self) -> Option<String> {
        let error = self.lock.refused()?;
        let folder = folder_of(&self.final_path).display();
        Some(format!("{folder} cannot be locked ({error}): see to it that no other run writes there"))
    }

    /// Opens the file, in place of what runs that were killed have left of it.
    pub(super) fn begin(self) -> Result<StagedFile, OutputError> {
        if self.lock.refused().is_none() {
            for left in partials(&self.final_path) {
                // What cannot be removed says by its name what it is.
                let _ = fs::remove_file(left);
            }
        }
        let mut name = self.final_path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}{PARTIAL}", std::process::id()));
        let staging_path = self.final_path.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&staging_path);
        let file = file.map_err(|source| OutputError::Create { path: self.final_path.clone(), source })?;
        Ok(StagedFile { claim: self, staging_path, file })
    }
}

/// Refuses an output that would take the place of what is read, or take it away as what is beside a file in the making.
pub(crate) fn refuse_input(path: &Path, reads: &ReadFiles) -> Result<(), OutputError> {
    if let Some(input) = reads.reads(path) {
        return Err(OutputError::IsInput { path: path.to_owned(), input });
    }
    let beside = partials(path).into_iter().chain([lock_path(path)]);
    let read = beside.into_iter().find_map(|path| Some((reads.holds(&path)?, path)));
    read.map_or(Ok(()), |(input, path)| Err(OutputError::IsInput { path, input }))
}

/// Writes a file: whole or not at all, through no link, and not while another process does.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> Result<(), OutputError> {
    let mut staged = Claim::take(path)?.begin()?;
    match staged.write_all(bytes) {
        Ok(()) => staged.commit(),
        Err(error) => {
            staged.discard();
            Err(error)
        }
    }
}

/// What processes have left of a file that they did not finish.
pub(super) fn partials(final_path: &Path) -> Vec<PathBuf> {
    let name = final_path.file_name().unwrap_or_default().to_string_lossy();
    let is_partial = |file: &str| {
        let middle = file.strip_prefix(&*name).and_then(|rest| rest.strip_suffix(PARTIAL));
        middle.is_some_and(|middle| {
            middle.is_empty() || middle.strip_prefix('.').is_some_and(|process| process.parse::<u32>().is_ok())
        })
    };
    let entries = fs::read_dir(folder_of(final_path)).into_iter().flatten().flatten();
    let left = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_partial));
    left.map(|entry| entry.path()).collect()
}

/// The folder of a file: the current one where the path does not say.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file in the making.
#[derive(Debug)]
pub(super) struct StagedFile {
    claim: Claim,
    /// Where the bytes are until the end.
    staging_path: PathBuf,
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
    /// The path the file will have.
    pub(super) fn final_path(&self) -> &Path {
        self.claim.path()
    }

    /// The folder it is in.
    pub(super) fn folder(&self) -> &Path {
        folder_of(self.final_path())
    }

    /// Another handle to the same file.
    pub(super) fn try_clone_file(&self) -> Result<File, OutputError> {
        self.file.try_clone().map_err(|source| OutputError::Create { path: self.final_path().to_owned(), source })
    }

    /// Writes all of the bytes.
    pub(super) fn write_all(&mut self, bytes: &[u8]) -> Result<(), OutputError> {
        let written = self.file.write_all(bytes);
        written.map_err(|source| OutputError::Write { path: self.final_path().to_owned(), source })
    }

    /// Gives the file its final name, in place of one that an earlier run left there.
    pub(super) fn commit(self) -> Result<(), OutputError> {
        let (from, to) = (self.staging_path, self.claim.final_path);
        fs::rename(&from, &to).map_err(|source| OutputError::Rename { from, to, source })
    }

    /// Takes the file away again.
    pub(super) fn discard(self) {
        // Nothing is lost if it stays: its name says what it is.
        let _ = fs::remove_file(self.staging_path);
    }
}

/// Cuts a file off at `bytes`, where further writes go.
pub(super) fn cut(file: &mut File, bytes: u64) -> io::Result<()> {
    file.set_len(bytes)?;
    file.seek(SeekFrom::Start(bytes))?;
    Ok(())
}
