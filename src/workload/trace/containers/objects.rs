//! Objects of JSON, one at a time: lines where each line is one, else the elements of an array or whole documents.

use std::io;

use serde::de::IgnoredAny;

use super::MOST_OBJECT_BYTES;
use super::lines::JsonLines;
use super::replay::Replay;
use super::values::JsonValues;
use crate::workload::trace::row::Problem;

/// A file of objects.
pub(in crate::workload::trace) struct Objects(Layout);

enum Layout {
    Lines(JsonLines),
    Values(JsonValues),
}

impl Objects {
    /// Starts at the beginning of `file`.
    pub fn new(file: Replay) -> io::Result<Self> {
        let mut lines = JsonLines::new(file)?;
        let has_line = lines.advance()?;
        let text = lines.text();
        let is_open = |text| serde_json::from_slice::<IgnoredAny>(text).is_err_and(|error| error.is_eof());
        let is_document = has_line && (lines.is_cut() || text.starts_with(b"[") || is_open(text));
        let file = lines.into_file();
        Ok(Self(if is_document {
            Layout::Values(JsonValues::new(file)?)
        } else {
            Layout::Lines(JsonLines::new(file)?)
        }))
    }

    /// The same file at its beginning.
    pub fn rewound(self) -> io::Result<Self> {
        Ok(Self(match self.0 {
            Layout::Lines(lines) => Layout::Lines(JsonLines::new(lines.into_file())?),
            Layout::Values(values) => Layout::Values(JsonValues::new(values.into_file())?),
        }))
    }

    /// Moves to the next object; `false` at the end.
    pub fn advance(&mut self) -> io::Result<bool> {
        match &mut self.0 {
            Layout::Lines(lines) => lines.advance(),
            Layout::Values(values) => values.advance(),
        }
    }

    /// Number of the line on which the object read last begins.
    pub fn line(&self) -> u64 {
        match &self.0 {
            Layout::Lines(lines) => lines.line(),
            Layout::Values(values) => values.line(),
        }
    }

    /// Text of the object read last.
    pub fn text(&self) -> &[u8] {
        match &self.0 {
            Layout::Lines(lines) => lines.text(),
            Layout::Values(values) => values.text(),
        }
    }

    /// The object read last, whole.
    pub fn object(&self) -> Result<&[u8], Problem> {
        match &self.0 {
            Layout::Lines(lines) if lines.is_cut() => Err(format!("it is longer than {MOST_OBJECT_BYTES} bytes")),
            _ => Ok(self.text()),
        }
    }
}
