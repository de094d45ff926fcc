//! The bytes of a trace, from its beginning as often as need be: a file, or a pipe of which what has come is kept in a
//! temporary file without a name.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::inputs::{self, Input, Stream};

/// A trace that can be rewound.
pub(in crate::workload::trace) enum Replay {
    File(File),
    Pipe(Box<Kept>),
}

/// A pipe and what has come of it.
pub(in crate::workload::trace) struct Kept {
    pipe: Stream,
    kept: File,
    kept_bytes: u64,
    position: u64,
}

impl Replay {
    /// Opens a trace at its beginning.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(match inputs::open(path)? {
            Input::File(file) => Self::File(file),
            Input::Pipe(pipe) => {
                let kept = tempfile::tempfile()
                    .map_err(|error| io::Error::new(error.kind(), format!("it cannot be kept in $TMPDIR: {error}")))?;
                Self::Pipe(Box::new(Kept { pipe, kept, kept_bytes: 0, position: 0 }))
            }
        })
    }

    /// Goes back to the beginning.
    pub fn rewind(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.rewind(),
            Self::Pipe(pipe) => {
                pipe.position = 0;
                pipe.kept.rewind()
            }
        }
    }
}

impl Read for Replay {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Pipe(pipe) => pipe.read(buffer),
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
        self.kept
            .write_all(&buffer[..count])
            .map_err(|error| io::Error::new(error.kind(), format!("it cannot be kept in $TMPDIR: {error}")))?;
        self.kept_bytes += count as u64;
        self.position = self.kept_bytes;
        Ok(count)
    }
}
