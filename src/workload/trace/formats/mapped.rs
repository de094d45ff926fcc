//! A table, or objects of JSON, of no known format, whose columns the user has named (`--trace-columns`).

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Display;

use csv::ByteRecord;
use serde_json::{Map, Value};

use super::columns::Columns;
use super::{Format, Header, Layout, ObjectFormat, ObjectReader, RecordReader, TableFormat, parsed};
use crate::workload::spec::{Clock, TraceColumns, TraceOptions};
use crate::workload::trace::row::{Problem, Row};

/// A table and objects with named columns.
pub(in crate::workload) const FORMATS: [Format; 2] = [
    Format {
        name: "columns",
        title: "a table with the columns of trace.columns",
        layout: Layout::Table(TableFormat { recognises: |_| false, reader }),
    },
    Format {
        name: "columns",
        title: "a list with the fields of trace.columns",
        layout: Layout::Objects(ObjectFormat {
            recognises: |_| false,
            reader: object_reader,
            example: "the fields that trace.columns (--trace-columns) names",
            sort_by: ".",
        }),
    },
];

fn reader(header: &Header, options: &TraceOptions) -> Result<Box<dyn RecordReader>, &'static str> {
    Ok(Box::new(columns(header, options, true)?))
}

/// What the user has named a column that is for this; a format's own column has its name.
pub(in crate::workload) fn name_of<'a>(what: &'a str, options: &'a TraceOptions) -> &'a str {
    let Some(named) = &options.columns else { return what };
    let name = match what {
        "of the arrival" => named.arrival.as_ref().map(|(name, _)| name),
        "of the prompt" => Some(&named.prompt),
        "of the output" => Some(&named.output),
        "of max_output" => named.max_output.as_ref(),
        "of the session" => named.session.as_ref(),
        "of the priority" => named.priority.as_ref(),
        "of abort" => named.abort.as_ref(),
        "of the images" => named.images.as_ref(),
        "of encoder_tokens" => named.encoder_tokens.as_ref(),
        _ => None,
    };
    name.map_or(what, String::as_str)
}

/// The columns that the user has named, or what the one is for that is missing. An object may lack what not every request has.
fn columns(header: &Header, options: &TraceOptions, is_table: bool) -> Result<Columns, &'static str> {
    let Some(named) = &options.columns else { return Err("columns") };
    let required = |name: &String, what| header.find(name).ok_or(what);
    let optional = |name: &Option<String>, what| match name {
        Some(name) if is_table => required(name, what).map(Some),
        Some(name) => Ok(header.find(name)),
        None => Ok(None),
    };
    let (arrival, clock) = match &named.arrival {
        Some((name, clock)) => (Some(required(name, "of the arrival")?), *clock),
        None if options.retimed => (None, Clock::Seconds),
        None => return Err("of the arrival"),
    };
    Ok(Columns {
        arrival,
        clock,
        max_output_tokens: optional(&named.max_output, "of max_output")?,
        session: optional(&named.session, "of the session")?,
        priority: optional(&named.priority, "of the priority")?,
        abort: optional(&named.abort, "of abort")?,
        images: optional(&named.images, "of the images")?,
        encoder_tokens: optional(&named.encoder_tokens, "of encoder_tokens")?,
        ..Columns::at(
            header,
            options,
            required(&named.prompt, "of the prompt")?,
            required(&named.output, "of the output")?,
        )
    })
}

fn object_reader(options: &TraceOptions) -> Box<dyn ObjectReader> {
    let names = options.columns.as_deref().map(names).unwrap_or_default();
    let options = options.clone();
    Box::new(FieldReader::new(names, move |header| {
        columns(header, &options, false).map_err(|what| name_of(what, &options).to_owned())
    }))
}

fn names(columns: &TraceColumns) -> Vec<String> {
    let TraceColumns { arrival, prompt, output, max_output, session, priority, abort, images, encoder_tokens } =
        columns;
    let optional = [
        arrival.as_ref().map(|(name, _)| name),
        max_output.as_ref(),
        session.as_ref(),
        priority.as_ref(),
        abort.as_ref(),
        images.as_ref(),
        encoder_tokens.as_ref(),
    ];
    optional.into_iter().flatten().chain([prompt, output]).cloned().collect()
}

/// Reads the fields of flat objects as the columns of a table.
pub(super) struct FieldReader<F> {
    names: Vec<String>,
    columns: F,
    ignored: BTreeSet<String>,
    remarks: Vec<String>,
    record: ByteRecord,
}

impl<E: Display, F: Fn(&Header) -> Result<Columns, E>> FieldReader<F> {
    /// Reads fields of these names.
    pub fn new(names: Vec<String>, columns: F) -> Self {
        Self { names, columns, ignored: BTreeSet::new(), remarks: Vec::new(), record: ByteRecord::new() }
    }
}

impl<E: Display, F: Fn(&Header) -> Result<Columns, E> + Send + Sync> ObjectReader for FieldReader<F> {
    fn read(&mut self, object: &[u8], rows: &mut VecDeque<Row>) -> Result<(), Problem> {
        let object: Map<String, Value> = parsed(object, &FORMATS[1])?;
        let names = self.names.iter().filter(|name| object.contains_key(*name)).cloned().collect();
        let header = Header { names };
        self.record.clear();
        for name in &header.names {
            match &object[name] {
                Value::Null => self.record.push_field(b""),
                Value::String(text) => self.record.push_field(text.as_bytes()),
                other => self.record.push_field(other.to_string().as_bytes()),
            }
        }
        self.ignored.extend(object.keys().filter(|key| !self.names.contains(key)).cloned());
        let mut columns = (self.columns)(&header).map_err(|name| format!("missing field `{name}`"))?;
        if self.remarks.is_empty() {
            self.remarks = columns.remarks();
        }
        rows.push_back(columns.row(&self.record)?);
        Ok(())
    }

    fn ignored(&self) -> Vec<String> {
        self.ignored.iter().cloned().collect()
    }

    fn remarks(&self) -> Vec<String> {
        self.remarks.clone()
    }
}
