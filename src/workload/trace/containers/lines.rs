//! Lines of JSON: one at a time, blank ones skipped, of bounded length.

use std::io::{self, BufRead, BufReader, Read};

use super::replay::Replay;
use super::{MOST_OBJECT_BYTES, without_byte_order_mark};

/// A file of JSON lines.
pub(super) struct JsonLines {
    reader: BufReader<Replay>,
    buffer: Vec<u8>,
    /// Number of the line in `buffer`, from 1.
    line: u64,
}

impl JsonLines {
    /// Starts at the beginning of `file`.
    pub fn new(mut file: Replay) -> io::Result<Self> {
        file.rewind()?;
        Ok(Self { reader: BufReader::new(file), buffer: Vec::new(), line: 0 })
    }

    /// The file, wherever it has been read to.
    pub fn into_file(self) -> Replay {
        self.reader.into_inner()
    }

    /// Number of the line read last.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Text of the line read last.
    pub fn text(&self) -> &[u8] {
        let text = if self.line == 1 { without_byte_order_mark(&self.buffer) } else { &self.buffer };
        text.trim_ascii()
    }

    /// Whether the line read last is cut, being longer than any may be.
    pub fn is_cut(&self) -> bool {
        self.buffer.len() > MOST_OBJECT_BYTES
    }

    /// Moves to the next line that is not blank; `false` at the end.
    pub fn advance(&mut self) -> io::Result<bool> {
        loop {
            self.buffer.clear();
            // One byte more tells a line of the greatest length from a longer one.
            let mut limited = (&mut self.reader).take(MOST_OBJECT_BYTES as u64 + 1);
            if limited.read_until(b'\n', &mut self.buffer)? == 0 {
                return Ok(false);
            }
            self.line += 1;
            if !self.text().is_empty() {
                return Ok(true);
            }
        }
    }
}
