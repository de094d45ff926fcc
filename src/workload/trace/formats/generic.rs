//! Any table of requests: `arrival_s` (or `arrival_time`), `prompt_tokens`, `output_tokens`, and if it likes
//! `max_output_tokens`, `session_id`, `priority`, `abort_s` (when the client gives up, by the clock of the arrivals), in any order. Other columns are ignored, so a run's own
//! `requests.csv`, sorted by arrival, is a trace.

use super::{Format, Layout, TableFormat};
use crate::workload::spec::TraceOptions;
use crate::workload::trace::columns::{Columns, find};
use crate::workload::trace::error::excerpt;
use crate::workload::trace::row::decimal_seconds;

/// Any table of requests.
pub(super) const FORMAT: Format = Format {
    name: "generic",
    title: "a table of requests",
    layout: Layout::Table(TableFormat { recognises, columns }),
};

const ARRIVAL: [&str; 2] = ["arrival_s", "arrival_time"];
const PROMPT_TOKENS: &str = "prompt_tokens";
const OUTPUT_TOKENS: &str = "output_tokens";
const MAX_OUTPUT_TOKENS: &str = "max_output_tokens";
const SESSION_ID: &str = "session_id";
const PRIORITY: &str = "priority";
const ABORT: [&str; 2] = ["abort_s", "abort_time"];

/// Whether a header is of this format: a column that it needs is enough to tell.
fn recognises(names: &[String]) -> bool {
    ARRIVAL.iter().chain(&[PROMPT_TOKENS, OUTPUT_TOKENS]).any(|name| find(names, name).is_some())
}

/// The columns of this format among `names`, or the one that is missing.
fn columns(names: Vec<String>, _: &TraceOptions) -> Result<Columns, &'static str> {
    let required = |name: &'static str| find(&names, name).ok_or(name);
    let arrival = ARRIVAL.into_iter().find_map(|name| find(&names, name));
    Ok(Columns {
        arrival: arrival.ok_or(ARRIVAL[0])?,
        prompt_tokens: required(PROMPT_TOKENS)?,
        output_tokens: required(OUTPUT_TOKENS)?,
        max_output_tokens: find(&names, MAX_OUTPUT_TOKENS),
        session: find(&names, SESSION_ID),
        priority: find(&names, PRIORITY),
        abort: ABORT.into_iter().find_map(|name| find(&names, name)),
        sort_modifier: "g",
        time: |what, text| {
            decimal_seconds(text)
                .ok_or_else(|| format!("{what} is {}, but must be a number of seconds", excerpt(text.as_bytes())))
        },
        names,
    })
}
