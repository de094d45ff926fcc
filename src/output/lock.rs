//! The lock on an output: an advisory lock of the system's on `.<name>.lock` beside it, which dies with the process that
//! holds it, however that ends.
//!
//! The lock file is empty and goes when the run is over. One that stays behind (SIGKILL) locks nothing and is taken over
//! by the next run. Where the file system has no locks, the run goes on without, and says so.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::OutputError;

/// A lock that is held for as long as this lives.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    _file: File,
    /// Why the file system gave none.
    refused: Option<io::Error>,
}

impl Lock {
    /// Locks the output at `path`, whose folder is there.
    pub(crate) fn take(path: &Path) -> Result<Self, OutputError> {
        let lock_path = lock_path(path);
        let failed = |source| OutputError::Create { path: lock_path.clone(), source };
        loop {
            let file = open(&lock_path).map_err(failed)?;
            let refused = match file.try_lock() {
                Ok(()) => None,
                Err(TryLockError::WouldBlock) => return Err(OutputError::InUse { path: path.to_owned() }),
                Err(TryLockError::Error(error)) => Some(error),
            };
            // The run that held it may have removed it since it was opened: then others lock another file.
            let named = fs::symlink_metadata(&lock_path);
            if named.is_ok_and(|named| file.metadata().is_ok_and(|opened| is_same(&named, &opened))) {
                return Ok(Self { path: lock_path, _file: file, refused });
            }
        }
    }

    /// Why this locks nothing, if so.
    pub(super) fn refused(&self) -> Option<&io::Error> {
        self.refused.as_ref()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Before it is let go, so that nobody has it yet. Nothing is lost if it stays.
        let _ = fs::remove_file(&self.path);
    }
}

/// Its name.
pub(super) fn lock_path(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".lock");
    path.with_file_name(name)
}

/// The lock file, made if need be; through no link, and no pipe.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // NFS gives exclusive locks only on files that are open for writing.
    options.read(true).write(true);
    match options.clone().create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => return made,
    }
    match fs::symlink_metadata(path) {
        Ok(known) if !known.is_file() => Err(io::Error::other("it is there and no regular file")),
        Ok(_) => match options.open(path) {
            // Removed in between by the run that held it.
            Err(error) if error.kind() == ErrorKind::NotFound => open(path),
            opened => opened,
        },
        Err(error) if error.kind() == ErrorKind::NotFound => open(path),
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Elsewhere a file that is open keeps its name.
#[cfg(not(unix))]
fn is_same(_one: &Metadata, _other: &Metadata) -> bool {
    true
}
