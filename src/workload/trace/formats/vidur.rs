//! Vidur (MLSys 2024; `data/processed_traces`): arrived_at in seconds, num_prefill_tokens, num_decode_tokens. Files of lengths alone lack the first.

use super::columns::Columns;
use super::{Format, Header, Layout, RecordReader, TableFormat};
use crate::workload::spec::TraceOptions;

const ARRIVAL: &str = "arrived_at";
const PROMPT_TOKENS: &str = "num_prefill_tokens";
const OUTPUT_TOKENS: &str = "num_decode_tokens";

/// Vidur's trace.
pub(super) const FORMAT: Format =
    Format { name: "vidur", title: "Vidur's trace", layout: Layout::Table(TableFormat { recognises, reader }) };

/// Whether a header is of this format: a column of tokens is enough to tell.
fn recognises(header: &Header) -> bool {
    [PROMPT_TOKENS, OUTPUT_TOKENS].iter().any(|name| header.find(name).is_some())
}

fn reader(header: &Header, options: &TraceOptions) -> Result<Box<dyn RecordReader>, &'static str> {
    Ok(Box::new(Columns::new(header, options, ARRIVAL, PROMPT_TOKENS, OUTPUT_TOKENS)?))
}
