//! The bytes of a trace, unpacked, from its beginning as often as need be: a file, or a pipe of which what has come is kept in a
//! temporary file without a name.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::digest::{Digest, TraceDigest};
use super::packing::{Packing, Unpacked};
use crate::inputs::{self, Input, Stream};

/// A trace that can be rewound.
pub(in crate::workload::trace) struct Replay {
    raw: Shared,
    packing: Packing,
    unpacked: Unpacked,
}

/// The file as it is, for this, for what unpacks it, and for who wants to know which bytes it has.
#[derive(Clone)]
pub(in crate::workload::trace) struct Shared(Arc<Mutex<Raw>>);

struct Raw {
    origin: Origin,
    position: u64,
    seen: Digest,
}

enum Origin {
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
            Input::File(file) => Origin::File(file),
            Input::Pipe(pipe) => {
                let kept = tempfile::tempfile().map_err(|error| kept_error(&error))?;
                Origin::Pipe(Kept { pipe, kept, kept_bytes: 0, position: 0 })
            }
        };
        let mut raw = Shared(Arc::new(Mutex::new(Raw { origin: raw, position: 0, seen: Digest::default() })));
        let mut head = Vec::new();
        (&mut raw).take(Packing::MAGIC_BYTES as u64).read_to_end(&mut head)?;
        raw.rewind()?;
        let packing = Packing::of(&head);
        let unpacked = packing.unpack(Box::new(raw.clone()))?;
        Ok(Self { raw, packing, unpacked })
    }

    /// The bytes as they are in the file.
    pub fn raw(&self) -> Shared {
        self.raw.clone()
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
            && let Origin::File(file) = &self.raw.lock().origin
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
    fn lock(&self) -> MutexGuard<'_, Raw> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rewind(&mut self) -> io::Result<()> {
        let mut raw = self.lock();
        raw.position = 0;
        match &mut raw.origin {
            Origin::File(file) => file.rewind(),
            Origin::Pipe(pipe) => pipe.go_to(0),
        }
    }

    /// What all of the bytes come to: of those that were read already, it is known. Leaves the place at which they are read.
    pub fn digest(&self) -> io::Result<TraceDigest> {
        let Raw { origin, seen, .. } = &mut *self.lock();
        match origin {
            Origin::File(file) => {
                let here = file.stream_position()?;
                file.seek(SeekFrom::Start(seen.bytes))?;
                io::copy(file, seen)?;
                file.seek(SeekFrom::Start(here))?;
            }
            Origin::Pipe(pipe) => {
                let here = pipe.position;
                pipe.go_to(seen.bytes)?;
                io::copy(pipe, seen)?;
                pipe.go_to(here)?;
            }
        }
        Ok(seen.so_far())
    }
}

impl Read for Shared {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Raw { origin, position, seen } = &mut *self.lock();
        let count = match origin {
            Origin::File(file) => file.read(buffer)?,
            Origin::Pipe(pipe) => pipe.read(buffer)?,
        };
        // What was read before, before a rewind, is not new.
        let known = seen.bytes.saturating_sub(*position).min(count as u64) as usize;
        seen.add(&buffer[known..count]);
        *position += count as u64;
        Ok(count)
    }
}

impl Read for Kept {
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

impl Kept {
    fn go_to(&mut self, position: u64) -> io::Result<()> {
        self.position = position;
        self.kept.seek(SeekFrom::Start(position)).map(|_| ())
    }
}

fn kept_error(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("it cannot be kept in $TMPDIR: {error}"))
}
