//! A file that is open, and how its records become rows.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use super::containers::objects::Objects;
use super::containers::table::Table;
use super::error::TraceError;
use super::formats::{ObjectFormat, ObjectReader, RecordReader};
use super::row::{Problem, Row};

/// A file that is open, and how it is read.
pub(super) enum Source {
    Objects { objects: Box<Objects>, format: ObjectFormat, reader: Box<dyn ObjectReader>, has_ended: bool },
    Table { table: Box<Table>, reader: Box<dyn RecordReader> },
}

impl Source {
    /// Moves to the next record; `false` when there is nothing more to read.
    pub fn advance(&mut self) -> io::Result<bool> {
        match self {
            Self::Table { table, .. } => table.advance(),
            Self::Objects { has_ended: true, .. } => Ok(false),
            Self::Objects { objects, has_ended, .. } => {
                *has_ended = !objects.advance()?;
                // Once more, for what waited for the end.
                Ok(true)
            }
        }
    }

    pub fn has_ended(&self) -> bool {
        matches!(self, Self::Objects { has_ended: true, .. })
    }

    /// Puts the requests of the record at hand behind `rows`.
    pub fn read(&mut self, rows: &mut VecDeque<Row>) -> Result<(), Problem> {
        match self {
            Self::Table { table, reader } => rows.push_back(reader.row(table.record())?),
            Self::Objects { reader, has_ended: true, .. } => reader.end(rows)?,
            Self::Objects { objects, reader, .. } => reader.read(objects.object()?, rows)?,
        }
        Ok(())
    }

    pub fn number(&self, row: &Row) -> Option<u64> {
        match self {
            Self::Table { reader, .. } => reader.number(row),
            Self::Objects { .. } => None,
        }
    }

    pub fn line(&self) -> u64 {
        match self {
            Self::Objects { objects, .. } => objects.line(),
            Self::Table { table, .. } => table.line(),
        }
    }
}

pub(super) fn read_error(path: &Path, source: io::Error) -> TraceError {
    TraceError::Read { path: path.into(), source }
}
