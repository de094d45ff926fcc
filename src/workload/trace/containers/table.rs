//! Tables: names of columns and records of text by them, from CSV and from Parquet.

use std::io;

use csv::ByteRecord;

use super::csv_records::CsvRecords;
use super::parquet_records::ParquetRecords;
use super::replay::Replay;
use crate::workload::trace::error::text_of;

/// A file of records.
pub(in crate::workload::trace) enum Table {
    Csv(Box<CsvRecords>),
    Parquet(Box<ParquetRecords>),
}

impl Table {
    /// Starts at the beginning of a CSV file; with the names of its columns, if there are any.
    pub fn csv(file: Replay) -> io::Result<(Self, Option<Vec<String>>)> {
        let mut records = CsvRecords::new(file)?;
        let has_header = records.advance()?;
        let names = has_header.then(|| records.record().iter().map(text_of).collect());
        Ok((Self::Csv(Box::new(records)), names))
    }

    /// Starts at the beginning of a Parquet file; with the names of its columns.
    pub fn parquet(file: Replay) -> io::Result<(Self, Option<Vec<String>>)> {
        let records = ParquetRecords::new(file)?;
        let names = records.names();
        Ok((Self::Parquet(Box::new(records)), Some(names)))
    }

    /// Starts again.
    pub fn rewound(self) -> io::Result<(Self, Option<Vec<String>>)> {
        match self {
            Self::Csv(records) => Self::csv(records.into_file()),
            Self::Parquet(records) => Self::parquet(records.into_file()),
        }
    }

    /// Only the fields of these columns will be looked at.
    pub fn keep(&mut self, columns: &[usize]) {
        if let Self::Parquet(records) = self {
            records.keep(columns);
        }
    }

    /// Moves to the next record that is not blank; `false` at the end.
    pub fn advance(&mut self) -> io::Result<bool> {
        match self {
            Self::Csv(records) => records.advance(),
            Self::Parquet(records) => records.advance(),
        }
    }

    /// The record read last.
    pub fn record(&self) -> &ByteRecord {
        match self {
            Self::Csv(records) => records.record(),
            Self::Parquet(records) => records.record(),
        }
    }

    /// Line on which the record read last begins, from 1; of Parquet its number.
    pub fn line(&self) -> u64 {
        match self {
            Self::Csv(records) => records.line(),
            Self::Parquet(records) => records.row(),
        }
    }

    /// Text of the record read last, without quotes.
    pub fn text(&self) -> Vec<u8> {
        self.record().iter().collect::<Vec<_>>().join(&b',')
    }

    /// Whether it is lines of text, which `sort` can put in order.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Csv(_))
    }
}
