//! Records of CSV, one at a time, blank ones skipped.

use std::io;

use csv::ByteRecord;

use super::feed::Feed;
use super::replay::Replay;

/// A CSV file.
pub(in crate::workload::trace) struct CsvRecords {
    reader: csv::Reader<Feed>,
    record: ByteRecord,
}

impl CsvRecords {
    /// Starts at the beginning of `file`.
    pub fn new(mut file: Replay) -> io::Result<Self> {
        file.rewind()?;
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            // Rows of another width than the header get an error of our own.
            .flexible(true)
            .trim(csv::Trim::All)
            .buffer_capacity(1 << 16)
            .from_reader(Feed::new(file));
        Ok(Self { reader, record: ByteRecord::new() })
    }

    /// The file, wherever it has been read to.
    pub fn into_file(self) -> Replay {
        self.reader.into_inner().into_file()
    }

    /// Moves to the next record that is not blank; `false` at the end.
    pub fn advance(&mut self) -> io::Result<bool> {
        loop {
            self.reader.get_mut().begin_record();
            let line = self.reader.position().line();
            let more = self.reader.read_byte_record(&mut self.record).map_err(io::Error::from);
            if !more.map_err(|error| io::Error::new(error.kind(), format!("from line {line} on, {error}")))? {
                return Ok(false);
            }
            if self.record.iter().any(|field| !field.is_empty()) {
                return Ok(true);
            }
        }
    }

    /// Number of the line on which the record read last begins, from 1.
    ///
    /// The reader's own number for it is that of the blank lines above, so this counts back from where it ended.
    pub fn line(&self) -> u64 {
        let position = self.reader.position();
        let is_past = self.reader.get_ref().is_after_newline(position.byte());
        let within: usize = self.record.iter().map(newlines).sum();
        position.line().saturating_sub(within as u64 + u64::from(is_past))
    }

    /// The record read last.
    pub fn record(&self) -> &ByteRecord {
        &self.record
    }
}

fn newlines(field: &[u8]) -> usize {
    field.iter().filter(|&&byte| byte == b'\n').count()
}
