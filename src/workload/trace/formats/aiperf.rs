//! AIPerf's `profile_export.jsonl` (github.com/ai-dynamo/aiperf): a request a line, in order of completion, with metadata.request_start_ns
//! and metrics of {value, unit}: input_sequence_length, output_sequence_length. Requests are sent at the times at which AIPerf sent them,
//! whatever held it back. What failed, was cancelled or belongs to a warm-up is left out.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::in_order::InOrder;
use super::{Format, Layout, ObjectFormat, ObjectReader, parsed};
use crate::workload::spec::TraceOptions;
use crate::workload::streams::hash_bytes;
use crate::workload::trace::row::{Problem, Row, token_count};

/// AIPerf's export of its requests.
pub(super) const FORMAT: Format = Format {
    name: "aiperf",
    title: "AIPerf's profile_export.jsonl",
    layout: Layout::Objects(ObjectFormat {
        recognises,
        reader,
        example: r#"{"metadata": {"request_start_ns": 0}, "metrics": {"input_sequence_length": {"value": 550, "unit": "tokens"}, "output_sequence_length": {"value": 128, "unit": "tokens"}}, "error": null}"#,
        sort_by: ".metadata.request_start_ns",
    }),
};

#[derive(Deserialize)]
struct Line {
    metadata: Metadata,
    #[serde(default)]
    metrics: Option<Metrics>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Metadata {
    request_start_ns: i64,
    conversation_id: Option<String>,
    x_correlation_id: Option<String>,
    benchmark_phase: Option<String>,
    #[serde(default)]
    was_cancelled: bool,
}

#[derive(Deserialize)]
struct Metrics {
    input_sequence_length: Option<Metric>,
    output_sequence_length: Option<Metric>,
}

#[derive(Deserialize)]
struct Metric {
    value: f64,
}

fn recognises(object: &Map<String, Value>) -> bool {
    object.get("metadata").is_some_and(|metadata| metadata.get("request_start_ns").is_some())
}

fn reader(_: &TraceOptions) -> Box<dyn ObjectReader> {
    Box::new(Reader::default())
}

#[derive(Default)]
struct Reader {
    rows: InOrder,
}

impl ObjectReader for Reader {
    fn read(&mut self, object: &[u8], _: &mut VecDeque<Row>) -> Result<(), Problem> {
        let Line { metadata, metrics, error } = parsed(object, &FORMAT)?;
        let start_ns = metadata.request_start_ns;
        let left_out = if metadata.benchmark_phase.is_some_and(|phase| phase == "warmup") {
            Some("benchmark_phase is warmup")
        } else if metadata.was_cancelled {
            Some("was_cancelled: AIPerf gave the request up")
        } else {
            error.map(|_| "error: the request failed")
        };
        if left_out.is_some() {
            self.rows.push(start_ns, Row { left_out, ..Row::default() });
            return Ok(());
        }
        let count = |metric: Option<Metric>, name: &str| {
            let value = metric.ok_or_else(|| format!("it has no metric {name}"))?.value;
            let whole = value.fract() == 0.0 && value >= 0.0;
            if whole { token_count(name, value as u64) } else { Err(format!("{name} is {value}, no number of tokens")) }
        };
        let metrics = metrics.ok_or("it has no metrics")?;
        let session = metadata.x_correlation_id.or(metadata.conversation_id);
        self.rows.push(
            start_ns,
            Row {
                prompt_tokens: count(metrics.input_sequence_length, "input_sequence_length")?,
                output_tokens: count(metrics.output_sequence_length, "output_sequence_length")?,
                session: session.map(|name| hash_bytes(name.as_bytes())),
                ..Row::default()
            },
        );
        Ok(())
    }

    fn end(&mut self, rows: &mut VecDeque<Row>) -> Result<(), Problem> {
        self.rows.end(rows);
        Ok(())
    }
}
