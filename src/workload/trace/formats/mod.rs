//! The formats: a file each, and a line in [`FORMATS`].
//!
//! A format is told by its fields. Where none is named, the first of [`FORMATS`] that recognises a header, or the first object of a
//! file of JSON, is meant; so those of the rarest names come first.

mod azure;
mod generic;
mod mooncake;

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::columns::Columns;
use super::row::{Problem, Row};
use crate::workload::spec::TraceOptions;

/// All formats, in the order in which they are tried.
pub(in crate::workload) const FORMATS: [Format; 3] = [azure::FORMAT, mooncake::FORMAT, generic::FORMAT];

/// A layout of recorded requests.
pub(in crate::workload) struct Format {
    /// What `--trace-format` calls it.
    pub name: &'static str,
    /// What people call it, for messages.
    pub title: &'static str,
    /// In what it is written, and how it is read.
    pub layout: Layout,
}

/// In what a format is written.
#[derive(Clone, Copy)]
pub(in crate::workload) enum Layout {
    /// A header and rows: CSV.
    Table(TableFormat),
    /// Objects of JSON: lines, or what an array holds.
    Objects(ObjectFormat),
}

/// What a format of tables has to say of a header.
#[derive(Clone, Copy)]
pub(in crate::workload) struct TableFormat {
    /// Whether one of the names is of this format alone.
    pub recognises: fn(&[String]) -> bool,
    /// The columns, or the one that is missing.
    pub columns: fn(Vec<String>, &TraceOptions) -> Result<Columns, &'static str>,
}

/// What a format of objects has to say of the first one.
#[derive(Clone, Copy)]
pub(in crate::workload) struct ObjectFormat {
    /// Whether this is an object of this format.
    pub recognises: fn(&Map<String, Value>) -> bool,
    /// Whoever reads them, at the beginning of the file.
    pub reader: fn(&TraceOptions) -> Box<dyn ObjectReader>,
    /// What one looks like, for messages.
    pub example: &'static str,
    /// By what `jq` puts them in order.
    pub sort_by: &'static str,
}

/// Reads objects of JSON, one after the other; it may remember what came before.
pub(in crate::workload) trait ObjectReader: Send + Sync {
    /// Puts the requests that `object` gives rise to, which may be none or many, behind `rows`.
    fn read(&mut self, object: &[u8], rows: &mut VecDeque<Row>) -> Result<(), Problem>;

    /// The last object has been read: puts what waited for that behind `rows`.
    fn end(&mut self, _rows: &mut VecDeque<Row>) -> Result<(), Problem> {
        Ok(())
    }
}

/// The format of that name.
pub(super) fn named(name: &str) -> Option<&'static Format> {
    const { &FORMATS }.iter().find(|format| format.name == name)
}

/// The format whose header this is.
pub(super) fn of_header(names: &[String]) -> Option<&'static Format> {
    const { &FORMATS }.iter().find(|format| match format.layout {
        Layout::Table(table) => (table.recognises)(names),
        Layout::Objects(_) => false,
    })
}

/// The format whose object this is.
pub(super) fn of_object(object: &Map<String, Value>) -> Option<&'static Format> {
    const { &FORMATS }.iter().find(|format| match format.layout {
        Layout::Table(_) => false,
        Layout::Objects(objects) => (objects.recognises)(object),
    })
}

/// An object as `T`.
fn parsed<'a, T: Deserialize<'a>>(object: &'a [u8]) -> Result<T, Problem> {
    serde_json::from_slice(object).map_err(|error| json_problem(&error))
}

/// What `serde_json` says: of a line with the column only, since its line is always 1.
pub(super) fn json_problem(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    let line = if error.line() > 1 { format!("line {} of it, ", error.line()) } else { String::new() };
    format!("{what} (at {line}column {})", error.column())
}
