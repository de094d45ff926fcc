//! The bytes of a trace, unpacked, from its beginning as often as need be: a file, or a pipe of which what has come is kept in a
//! temporary file without a name.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::packing::{Packing, Unpacked};
use crate::inputs::{self, Input, Stream};

/// A trace that can be rewound.
pub(in crate::workload::trace) struct Replay {
    raw: Shared,
    packing: Packing,
    unpacked: Unpacked,
}

/// The file as it is, for this and for what unpacks it.
#[derive(Clone)]
struct Shared(Arc<Mutex<Raw>>);

enum Raw {
    File(File),
    Pipe(Kept),
}

/// A pipe and what has come of it.
struct Kept {
    pipe: Stream,
    kept: File,
    kept_bytes: u64,
    position: u64,
}

impl Replay {
    /// Opens a trace at its beginning.
    pub fn open(path: &Path) -> io::Result<Self> {
        let raw = match inputs::open(path)? {
            Input::File(file) => Raw::File(file),
            Input::Pipe(pipe) => {
                let kept = tempfile::tempfile().map_err(|error| kept_error(&error))?;
                Raw::Pipe(Kept { pipe, kept, kept_bytes: 0, position: 0 })
            }
        };
        let mut raw = Shared(Arc::new(Mutex::new(raw)));
        let mut head = Vec::new();
        (&mut raw).take(Packing::MAGIC_BYTES as u64).read_to_end(&mut head)?;
        raw.rewind()?;
        let packing = Packing::of(&head);
        let unpacked = packing.unpack(Box::new(raw.clone()))?;
        Ok(Self { raw, packing, unpacked })
    }

    /// Goes back to the beginning.
    pub fn rewind(&mut self) -> io::Result<()> {
        self.raw.rewind()?;
        self.unpacked = self.packing.unpack(Box::new(self.raw.clone()))?;
        Ok(())
    }

    /// A file of these bytes, for who must seek in them; a copy where they are packed or come through a pipe.
    pub fn as_file(&mut self) -> io::Result<File> {
        self.rewind()?;
        if self.packing == Packing::Plain
            && let Raw::File(file) = &*self.raw.0.lock().unwrap_or_else(PoisonError::into_inner)
        {
            return file.try_clone();
        }
        let mut file = tempfile::tempfile().map_err(|error| kept_error(&error))?;
        io::copy(&mut self.unpacked, &mut file)?;
        file.rewind()?;
        Ok(file)
    }
}

impl Read for Replay {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.unpacked.read(buffer)
    }
}

impl Shared {
    fn rewind(&mut self) -> io::Result<()> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Raw::File(file) => file.rewind(),
            Raw::Pipe(pipe) => {
                pipe.position = 0;
                pipe.kept.rewind()
            }
        }
    }
}

impl Read for Shared {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Raw::File(file) => file.read(buffer),
            Raw::Pipe(pipe) => pipe.read(buffer),
        }
    }
}

impl Kept {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position < self.kept_bytes {
            let count = self.kept.read(buffer)?;
            self.position += count as u64;
            return Ok(count);
        }
        let count = self.pipe.read(buffer)?;
        self.kept.seek(SeekFrom::Start(self.kept_bytes))?;
        self.kept.write_all(&buffer[..count]).map_err(|error| kept_error(&error))?;
        self.kept_bytes += count as u64;
        self.position = self.kept_bytes;
        Ok(count)
    }
}

fn kept_error(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("it cannot be kept in $TMPDIR: {error}"))
}
