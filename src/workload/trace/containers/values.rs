//! Documents of JSON that go over many lines: the elements of an array one at a time, or objects one after the other. Finds where a
//! value ends; what is in it is for others to judge.

use std::io::{self, BufReader, ErrorKind, Read};

use super::MOST_OBJECT_BYTES;
use super::replay::Replay;

/// A file of JSON values.
pub(super) struct JsonValues {
    reader: BufReader<Replay>,
    /// The value read last.
    value: Vec<u8>,
    /// Number of the line on which that began, from 1.
    line: u64,
    /// Newlines so far.
    newlines: u64,
    is_in_array: bool,
}

impl JsonValues {
    /// Starts at the beginning of `file`.
    pub fn new(mut file: Replay) -> io::Result<Self> {
        file.rewind()?;
        let reader = BufReader::with_capacity(1 << 16, file);
        Ok(Self { reader, value: Vec::new(), line: 1, newlines: 0, is_in_array: false })
    }

    /// The file, wherever it has been read to.
    pub fn into_file(self) -> Replay {
        self.reader.into_inner()
    }

    /// Number of the line on which the value read last begins.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Text of the value read last.
    pub fn text(&self) -> &[u8] {
        self.value.trim_ascii()
    }

    /// Moves to the next value; `false` at the end.
    pub fn advance(&mut self) -> io::Result<bool> {
        self.value.clear();
        let Some(first) = self.first()? else {
            return if self.is_in_array { Err(self.cut()) } else { Ok(false) };
        };
        self.line = self.newlines + 1;
        self.value.push(first);
        self.rest(first)?;
        Ok(true)
    }

    /// The first byte of the next value; what is between values is skipped.
    fn first(&mut self) -> io::Result<Option<u8>> {
        let mut is_mark = self.newlines == 0;
        while let Some(byte) = self.byte()? {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                0xef | 0xbb | 0xbf if is_mark => continue,
                b'[' if !self.is_in_array => self.is_in_array = true,
                b']' if self.is_in_array => self.is_in_array = false,
                b',' if self.is_in_array => {}
                other => return Ok(Some(other)),
            }
            is_mark = false;
        }
        Ok(None)
    }

    /// The value after its first byte.
    fn rest(&mut self, first: u8) -> io::Result<()> {
        let mut depth = u64::from(matches!(first, b'{' | b'['));
        let (mut is_string, mut is_escaped) = (first == b'"', false);
        while depth > 0 || is_string {
            let Some(byte) = self.byte()? else { return Err(self.cut()) };
            if self.value.len() >= MOST_OBJECT_BYTES {
                let message =
                    format!("the object from line {} on takes more than {MOST_OBJECT_BYTES} bytes", self.line);
                return Err(io::Error::new(ErrorKind::InvalidData, message));
            }
            self.value.push(byte);
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_string => is_escaped = true,
                b'"' => is_string = !is_string,
                b'{' | b'[' if !is_string => depth += 1,
                b'}' | b']' if !is_string => depth -= 1,
                _ => {}
            }
        }
        Ok(())
    }

    fn byte(&mut self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        let count = self.reader.read(&mut byte)?;
        self.newlines += u64::from(count == 1 && byte[0] == b'\n');
        Ok((count == 1).then_some(byte[0]))
    }

    fn cut(&self) -> io::Error {
        let message = format!("it ends in the middle of the JSON that began on line {}; it is cut short", self.line);
        io::Error::new(ErrorKind::InvalidData, message)
    }
}
