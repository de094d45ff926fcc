//! Lines of JSON: one at a time, blank ones skipped, of bounded length.

use std::io::{self, BufRead, BufReader, Read};

use super::replay::Replay;
use crate::workload::trace::row::Problem;

/// Longest line: a prompt of a hundred million tokens has some 200,000 block ids.
const MOST_LINE_BYTES: usize = 1 << 22;

/// A file of JSON lines.
pub(in crate::workload::trace) struct JsonLines {
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

    /// Moves to the next line that is not blank; `false` at the end.
    pub fn advance(&mut self) -> io::Result<bool> {
        loop {
            self.buffer.clear();
            // One byte more tells a line of the greatest length from a longer one.
            let mut limited = (&mut self.reader).take(MOST_LINE_BYTES as u64 + 1);
            if limited.read_until(b'\n', &mut self.buffer)? == 0 {
                return Ok(false);
            }
            self.line += 1;
            if !self.text().is_empty() {
                return Ok(true);
            }
        }
    }

    /// The object in the line read last.
    pub fn object(&self) -> Result<&[u8], Problem> {
        if self.buffer.len() > MOST_LINE_BYTES {
            return Err(format!("it is longer than {MOST_LINE_BYTES} bytes"));
        }
        Ok(self.text())
    }
}

/// `text` without the mark that some editors put at the head of a file.
pub(in crate::workload::trace) fn without_byte_order_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}
