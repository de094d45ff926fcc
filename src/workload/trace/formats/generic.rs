//! Any table of requests: `arrival_s` (or `arrival_time`), `prompt_tokens`, `output_tokens`, and if it likes
//! `max_output_tokens`, `session_id`, `priority`, `abort_s` (when the client gives up, by the clock of the arrivals), `encoder_tokens` (of its images), in any order; or
//! objects of JSON with these fields. Other columns are named in a warning.

use serde_json::{Map, Value};

use super::columns::Columns;
use super::mapped::FieldReader;
use super::{Format, Header, Layout, ObjectFormat, ObjectReader, RecordReader, TableFormat};
use crate::workload::spec::TraceOptions;

const ARRIVAL: [&str; 2] = ["arrival_s", "arrival_time"];
const PROMPT_TOKENS: &str = "prompt_tokens";
const OUTPUT_TOKENS: &str = "output_tokens";
const ABORT: [&str; 2] = ["abort_s", "abort_time"];
const ENCODER_TOKENS: &str = "encoder_tokens";

/// Names that mean something here.
pub(in crate::workload) const NAMES: [&str; 10] = [
    ARRIVAL[0],
    ARRIVAL[1],
    PROMPT_TOKENS,
    OUTPUT_TOKENS,
    "max_output_tokens",
    "session_id",
    "priority",
    ABORT[0],
    ABORT[1],
    ENCODER_TOKENS,
];

/// Any table of requests.
pub(super) const FORMAT: Format =
    Format { name: "generic", title: "a table of requests", layout: Layout::Table(TableFormat { recognises, reader }) };

/// The same as objects.
pub(super) const OBJECTS: Format = Format {
    name: "generic",
    title: "a list of requests",
    layout: Layout::Objects(ObjectFormat {
        recognises: recognises_object,
        reader: object_reader,
        example: r#"{"arrival_s": 0.5, "prompt_tokens": 900, "output_tokens": 120}"#,
        sort_by: ".arrival_s",
    }),
};

/// Whether a header is of this format: a column that it needs is enough to tell.
fn recognises(header: &Header) -> bool {
    ARRIVAL.iter().chain(&[PROMPT_TOKENS, OUTPUT_TOKENS]).any(|name| header.find(name).is_some())
}

fn recognises_object(object: &Map<String, Value>) -> bool {
    [PROMPT_TOKENS, OUTPUT_TOKENS].iter().all(|name| object.contains_key(*name))
}

fn reader(header: &Header, options: &TraceOptions) -> Result<Box<dyn RecordReader>, &'static str> {
    Ok(Box::new(columns(header, options)?))
}

fn object_reader(options: &TraceOptions) -> Box<dyn ObjectReader> {
    let options = options.clone();
    Box::new(FieldReader::new(NAMES.map(str::to_owned).to_vec(), move |header| columns(header, &options)))
}

fn columns(header: &Header, options: &TraceOptions) -> Result<Columns, &'static str> {
    let first = |names: [&'static str; 2]| names.into_iter().find(|name| header.find(name).is_some());
    let arrival = first(ARRIVAL).unwrap_or(ARRIVAL[0]);
    Ok(Columns {
        max_output_tokens: header.find("max_output_tokens"),
        session: header.find("session_id"),
        priority: header.find("priority"),
        encoder_tokens: header.find(ENCODER_TOKENS),
        cached: header.find("cached_prefix_length"),
        abort: first(ABORT).and_then(|name| header.find(name)),
        ..Columns::new(header, options, arrival, PROMPT_TOKENS, OUTPUT_TOKENS)?
    })
}
