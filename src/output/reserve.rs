//! A file with room kept free for its end: when the disk is full, what is in hand and the footer still find a place.
//!
//! The room is taken by a file without a name in the same folder, as long as what is still to be written, and is given back to
//! the disk when a write fails; then that write is tried again. Fewer bytes than a row group are written for it, once a run.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// Bytes by which the room grows at least.
const STEP_BYTES: usize = 1 << 16;

/// A file in the making.
pub(super) struct ReservedFile {
    file: File,
    /// The room; none where the folder takes no such file, and when it was given back.
    room: Option<Room>,
    /// Why it was given back.
    full: Option<io::Error>,
}

struct Room {
    file: File,
    bytes: usize,
}

impl ReservedFile {
    /// Writes to `file` in `folder`.
    pub(super) fn new(file: File, folder: &Path) -> Self {
        // Without it, the file is written all the same.
        let room = tempfile::tempfile_in(folder).ok().map(|file| Room { file, bytes: 0 });
        Self { file, room, full: None }
    }

    /// Sees to it that so many bytes find room.
    ///
    /// # Errors
    /// The disk is full: what has been asked for before finds room, and nothing more is to be taken in.
    pub(super) fn reserve(&mut self, bytes: usize) -> io::Result<()> {
        if let Some(full) = self.full() {
            return Err(full);
        }
        let Some(room) = &mut self.room else { return Ok(()) };
        let missing = bytes.saturating_sub(room.bytes);
        if missing == 0 {
            return Ok(());
        }
        let grown = room.grow(missing.next_multiple_of(STEP_BYTES));
        match grown {
            Err(error) if is_full(&error) => Err(error),
            // Some other limit, on the length of a file say, holds no matter how much room there is.
            _ => Ok(()),
        }
    }

    /// Why the disk takes no more, once it has told.
    pub(super) fn full(&self) -> Option<io::Error> {
        self.full.as_ref().map(|error| match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => error.kind().into(),
        })
    }
}

impl Write for ReservedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match write(&mut self.file, bytes) {
            Err(error) if is_full(&error) && self.room.is_some() => {
                self.room = None;
                self.full = Some(error);
                write(&mut self.file, bytes)
            }
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Room {
    fn grow(&mut self, bytes: usize) -> io::Result<()> {
        let zeros = [0; STEP_BYTES];
        for _ in 0..bytes / STEP_BYTES {
            let mut left = &zeros[..];
            while !left.is_empty() {
                let count = write(&mut self.file, left)?;
                if count == 0 {
                    return Err(ErrorKind::WriteZero.into());
                }
                left = &left[count..];
                self.bytes += count;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
impl Drop for Room {
    fn drop(&mut self) {
        disk::give_back(self.bytes);
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

#[cfg(not(test))]
fn write(file: &mut File, bytes: &[u8]) -> io::Result<usize> {
    file.write(bytes)
}

#[cfg(test)]
fn write(file: &mut File, bytes: &[u8]) -> io::Result<usize> {
    let count = disk::take(bytes.len())?;
    file.write_all(&bytes[..count])?;
    Ok(count)
}

/// A disk of some bytes for all files that this thread writes.
#[cfg(test)]
pub(super) mod disk {
    use std::cell::Cell;
    use std::io::{self, ErrorKind};

    thread_local! {
        static FREE: Cell<usize> = const { Cell::new(usize::MAX) };
    }

    pub(in crate::output) fn set_free(bytes: usize) {
        FREE.set(bytes);
    }

    /// As many of the bytes as there is room for, if there is any.
    pub(in crate::output) fn take(bytes: usize) -> io::Result<usize> {
        let free = FREE.get();
        if free == 0 && bytes > 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        let taken = bytes.min(free);
        if free != usize::MAX {
            FREE.set(free - taken);
        }
        Ok(taken)
    }

    pub(in crate::output) fn give_back(bytes: usize) {
        if FREE.get() != usize::MAX {
            FREE.set(FREE.get() + bytes);
        }
    }
}
