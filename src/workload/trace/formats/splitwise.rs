//! splitwise-sim (ISCA 2024; `generate_trace.py`): request_id, request_type, application_id, arrival_timestamp in seconds, batch_size,
//! prompt_size, token_size.

use super::columns::Columns;
use super::{Format, Header, Layout, RecordReader, TableFormat};
use crate::workload::spec::TraceOptions;

const ARRIVAL: &str = "arrival_timestamp";
const PROMPT_TOKENS: &str = "prompt_size";
const OUTPUT_TOKENS: &str = "token_size";

/// a trace of splitwise-sim.
pub(super) const FORMAT: Format = Format {
    name: "splitwise",
    title: "a trace of splitwise-sim",
    layout: Layout::Table(TableFormat { recognises, reader }),
};

/// Whether a header is of this format: a column of tokens is enough to tell.
fn recognises(header: &Header) -> bool {
    [PROMPT_TOKENS, OUTPUT_TOKENS].iter().any(|name| header.find(name).is_some())
}

fn reader(header: &Header, options: &TraceOptions) -> Result<Box<dyn RecordReader>, &'static str> {
    Ok(Box::new(Columns {
        requests: header.find("batch_size"),
        ..Columns::new(header, options, ARRIVAL, PROMPT_TOKENS, OUTPUT_TOKENS)?
    }))
}
