//! A file on its way into the CSV reader, which knows how far it got but not how its last line ended.
//!
//! `csv` ends a record at the `\r` of a `\r\n` and counts lines by `\n`, so its line numbers run one behind in files from
//! Windows. Here every `\r` becomes a space, which is then trimmed off the last field.
//!
//! A record may be as long as the file, where a quote lacks its partner; so the feed ends with an error when a single
//! record has taken more than its share.

use std::io::{self, Read};

use super::replay::Replay;

/// Longest record, in bytes.
const MOST_RECORD_BYTES: u64 = 1 << 22;

/// A file without carriage returns.
pub(super) struct Feed {
    file: Replay,
    /// Bytes handed on.
    bytes: u64,
    ends_with_newline: bool,
    /// Bytes that the record under way may still take; newlines are free, for blank lines are no records.
    allowance: u64,
}

impl Feed {
    /// Hands on `file` from where it is.
    pub fn new(file: Replay) -> Self {
        Self { file, bytes: 0, ends_with_newline: false, allowance: MOST_RECORD_BYTES }
    }

    pub fn into_file(self) -> Replay {
        self.file
    }

    /// A new record begins.
    pub fn begin_record(&mut self) {
        self.allowance = MOST_RECORD_BYTES;
    }

    /// Whether byte `position` follows the newline of a line: not so where the file's last line has none.
    pub fn is_after_newline(&self, position: u64) -> bool {
        position < self.bytes || self.ends_with_newline
    }
}

impl Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.allowance == 0 {
            let message =
                format!("one record takes more than {MOST_RECORD_BYTES} bytes; perhaps a quote is not closed");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let count = self.file.read(buffer)?;
        let read = &mut buffer[..count];
        let mut newlines = 0;
        for byte in read.iter_mut() {
            newlines += u64::from(*byte == b'\n');
            if *byte == b'\r' {
                *byte = b' ';
            }
        }
        self.allowance = self.allowance.saturating_sub(count as u64 - newlines);
        if let Some(last) = read.last() {
            self.ends_with_newline = *last == b'\n';
        }
        self.bytes += count as u64;
        Ok(count)
    }
}
