//! BurstGPT (arXiv 2401.17644; `BurstGPT_1.csv` and on): Timestamp in seconds, Session ID and Elapsed time since v1.2, Model, Request tokens,
//! Response tokens, Total tokens, Log Type. A row without response tokens is a request that failed (README of the data set); its `without_fails`
//! files lack these rows.

use super::columns::Columns;
use super::{Format, Header, Layout, RecordReader, TableFormat};
use crate::workload::spec::TraceOptions;

const ARRIVAL: &str = "Timestamp";
const PROMPT_TOKENS: &str = "Request tokens";
const OUTPUT_TOKENS: &str = "Response tokens";

/// BurstGPT.
pub(super) const FORMAT: Format =
    Format { name: "burstgpt", title: "BurstGPT", layout: Layout::Table(TableFormat { recognises, reader }) };

/// Whether a header is of this format: a column of tokens is enough to tell.
fn recognises(header: &Header) -> bool {
    [PROMPT_TOKENS, OUTPUT_TOKENS].iter().any(|name| header.find(name).is_some())
}

fn reader(header: &Header, options: &TraceOptions) -> Result<Box<dyn RecordReader>, &'static str> {
    Ok(Box::new(Columns {
        session: header.find("Session ID"),
        no_answer: Some("Response tokens is 0: the request failed"),
        ..Columns::new(header, options, ARRIVAL, PROMPT_TOKENS, OUTPUT_TOKENS)?
    }))
}
