//! A file on its way into the CSV reader, which knows how far it got but not how its last line ended.
//!
//! `csv` ends a record at the `\r` of a `\r\n` and counts lines by `\n`, so its line numbers run one behind in files from
//! Windows. Here every `\r` becomes a space, which is then trimmed off the last field.

use std::fs::File;
use std::io::{self, Read};

/// A file without carriage returns.
pub(super) struct Feed {
    file: File,
    /// Bytes handed on.
    bytes: u64,
    ends_with_newline: bool,
}

impl Feed {
    /// Hands on `file` from where it is.
    pub fn new(file: File) -> Self {
        Self { file, bytes: 0, ends_with_newline: false }
    }

    pub fn into_file(self) -> File {
        self.file
    }

    /// Whether byte `position` follows the newline of a line: not so where the file's last line has none.
    pub fn is_after_newline(&self, position: u64) -> bool {
        position < self.bytes || self.ends_with_newline
    }
}

impl Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let read = &mut buffer[..count];
        for byte in read.iter_mut().filter(|byte| **byte == b'\r') {
            *byte = b' ';
        }
        if let Some(last) = read.last() {
            self.ends_with_newline = *last == b'\n';
        }
        self.bytes += count as u64;
        Ok(count)
    }
}
