//! Azure Public Dataset: `AzureLLMInferenceTrace_*.csv` of 2023 and 2024 (TIMESTAMP, ContextTokens, GeneratedTokens) and
//! `AzureLMMInferenceTrace_multimodal.csv.gz` of 2025 (NumImages too).
//!
//! Of the latter the data set says that ContextTokens hold "text and image" (AzureLMMInferenceDataset2025.md). Whether to count further
//! tokens for an image is for the user to say; without a word, a request with images is refused. How many tokens it has in the vision
//! encoder is for the user to say, too.

use super::columns::Columns;
use super::{Format, Header, Layout, RecordReader, TableFormat};
use crate::workload::spec::{Clock, TraceOptions};

const TIMESTAMP: &str = "TIMESTAMP";
const CONTEXT_TOKENS: &str = "ContextTokens";
const GENERATED_TOKENS: &str = "GeneratedTokens";
const NUM_IMAGES: &str = "NumImages";

/// Azure's traces.
pub(super) const FORMAT: Format =
    Format { name: "azure", title: "Azure's trace", layout: Layout::Table(TableFormat { recognises, reader }) };

/// Whether a header is of this format: a column of tokens is enough to tell.
fn recognises(header: &Header) -> bool {
    [CONTEXT_TOKENS, GENERATED_TOKENS].iter().any(|name| header.find(name).is_some())
}

fn reader(header: &Header, options: &TraceOptions) -> Result<Box<dyn RecordReader>, &'static str> {
    Ok(Box::new(Columns {
        clock: Clock::Calendar,
        images: header.find(NUM_IMAGES),
        ..Columns::new(header, options, TIMESTAMP, CONTEXT_TOKENS, GENERATED_TOKENS)?
    }))
}
