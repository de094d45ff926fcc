//! The formats: a file each, and a line in [`FORMATS`].
//!
//! A format is told by its fields. Where none is named, the first of [`FORMATS`] that recognises a header, or the first object of a
//! file of JSON, is meant; so those of the rarest names come first.

mod agentic_mooncake;
mod aiperf;
mod aiperf_inputs;
mod applied_compute;
mod azure;
mod bailian;
mod blocks;
mod burstgpt;
mod columns;
mod dynamo;
mod dynamo_agents;
mod generic;
mod guidellm;
mod header;
mod in_order;
mod llmservingsim;
mod llmservingsim_agents;
mod mapped;
mod mooncake;
mod mooncake_turns;
mod own;
mod splitwise;
mod texts;
mod tracelab;
mod vidur;
mod vllm_bench;
mod weka;

use std::collections::VecDeque;

use csv::ByteRecord;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::row::{Problem, Row};
use crate::workload::slo::Slo;
use crate::workload::spec::TraceOptions;

pub(super) use generic::NAMES;
pub(super) use header::Header;
pub(super) use mapped::{FORMATS as MAPPED, name_of};

/// All formats, in the order in which they are tried.
pub(in crate::workload) const FORMATS: [Format; 24] = [
    own::FORMAT,
    azure::FORMAT,
    burstgpt::FORMAT,
    splitwise::FORMAT,
    vidur::FORMAT,
    weka::FORMAT,
    tracelab::FORMAT,
    applied_compute::FORMAT,
    bailian::FORMAT,
    llmservingsim_agents::FORMAT,
    llmservingsim::FORMAT,
    dynamo_agents::FORMAT,
    dynamo::FORMAT,
    aiperf::FORMAT,
    aiperf_inputs::FORMAT,
    guidellm::FORMAT,
    vllm_bench::FORMAT,
    texts::SHAREGPT,
    texts::CUSTOM,
    agentic_mooncake::FORMAT,
    mooncake::FORMAT,
    mooncake::DELTA,
    generic::FORMAT,
    generic::OBJECTS,
];

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
    /// A header and rows: CSV, Parquet.
    Table(TableFormat),
    /// Objects of JSON: lines, what an array holds, or documents.
    Objects(ObjectFormat),
}

/// What a format of tables has to say of a header.
#[derive(Clone, Copy)]
pub(in crate::workload) struct TableFormat {
    /// Whether one of the names is of this format alone.
    pub recognises: fn(&Header) -> bool,
    /// Whoever reads the records, or the column that is missing.
    pub reader: fn(&Header, &TraceOptions) -> Result<Records, &'static str>,
}

/// Whoever reads the records of a file.
pub(in crate::workload) type Records = Box<dyn RecordReader>;

/// Reads records of a table, one after the other; it may remember what came before.
pub(in crate::workload) trait RecordReader: Send + Sync {
    /// The request in a record.
    fn row(&mut self, record: &ByteRecord) -> Result<Row, Problem>;

    /// The columns that it looks at.
    fn used(&self) -> Vec<usize>;

    /// The key by which `sort` puts the table in order.
    fn sort_key(&self) -> String;

    /// The number of a row, if rows are to come in the order of these, which begins with 0.
    fn number(&self, _row: &Row) -> Option<u64> {
        None
    }

    /// What a user should know of how it reads them.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether to say which columns it does not look at.
    fn tells_unused(&self) -> bool {
        true
    }

    /// Names of the profiles by number, and what their clients expect, if the file names any.
    fn profiles(&self) -> &[(String, Slo)] {
        &[]
    }
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

    /// The last object has been read: puts what waited for that behind `rows`, and says what is wrong with all of them together.
    fn end(&mut self, _rows: &mut VecDeque<Row>) -> Result<(), Problem> {
        Ok(())
    }

    /// Names of fields that were not looked at.
    fn ignored(&self) -> Vec<String> {
        Vec::new()
    }

    /// What else a user should know; complete at the end.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The format of that name.
pub(super) fn named(name: &str, is_json: bool) -> Option<&'static Format> {
    let mut named = const { &FORMATS }.iter().filter(|format| format.name == name).peekable();
    let first = named.peek().copied();
    named.find(|format| matches!(format.layout, Layout::Objects(_)) == is_json).or(first)
}

/// The format whose header this is.
pub(super) fn of_header(header: &Header) -> Option<&'static Format> {
    const { &FORMATS }.iter().find(|format| match format.layout {
        Layout::Table(table) => (table.recognises)(header),
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

/// An object of a format as `T`.
fn parsed<'a, T: Deserialize<'a>>(object: &'a [u8], format: &Format) -> Result<T, Problem> {
    let example = match format.layout {
        Layout::Objects(objects) => objects.example,
        Layout::Table(_) => "",
    };
    serde_json::from_slice(object)
        .map_err(|error| format!("{}; a request must look like {example}", json_problem(&error)))
}

/// What `serde_json` says: of a line with the column only, since its line is always 1.
pub(super) fn json_problem(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    let line = if error.line() > 1 { format!("line {} of it, ", error.line()) } else { String::new() };
    format!("{what} (at {line}column {})", error.column())
}

/// What is wrong with a file that has lengths and no times.
fn no_times(what: &str) -> Problem {
    format!("{what}: it has no times; give --rate to say how many of its requests come in a second")
}

/// What is wrong with a second session where the file has no times for them.
fn sessions_without_times(what: &str) -> Problem {
    format!("{what}: its sessions have no times; give --rate to say how many of them begin in a second")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_read(format: &Format, options: &TraceOptions, objects: &[impl AsRef<str>]) -> Result<Vec<Row>, Problem> {
        let Layout::Objects(layout) = format.layout else { panic!("a format of objects") };
        let mut reader = (layout.reader)(options);
        let mut rows = VecDeque::new();
        objects.iter().try_for_each(|object| reader.read(object.as_ref().as_bytes(), &mut rows))?;
        reader.end(&mut rows)?;
        Ok(rows.into())
    }

    /// The rows of objects whose first is told to be of this format.
    pub(super) fn read(format: &Format, objects: &[impl AsRef<str>]) -> Vec<Row> {
        let first: Map<String, Value> = serde_json::from_str(objects[0].as_ref()).expect("an object");
        assert_eq!(of_object(&first).map(|found| found.name), Some(format.name));
        try_read(format, &TraceOptions::default(), objects).expect("a trace")
    }

    /// The same with options.
    pub(super) fn read_with(format: &Format, options: &TraceOptions, objects: &[impl AsRef<str>]) -> Vec<Row> {
        try_read(format, options, objects).expect("a trace")
    }

    /// What is wrong with an object.
    pub(super) fn refused(format: &Format, object: &str) -> Problem {
        try_read(format, &TraceOptions::default(), &[object]).expect_err("a fault")
    }
}
