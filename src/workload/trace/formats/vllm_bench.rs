//! The result of `vllm bench serve --save-result --save-detailed` (vllm/benchmarks/serve.py): input_lens, output_lens and errors by request,
//! and start_times in seconds where the release writes them. A result without start times has lengths alone; one without --save-detailed
//! has no requests at all.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::in_order::InOrder;
use super::{Format, Layout, ObjectFormat, ObjectReader, no_times, parsed};
use crate::workload::spec::TraceOptions;
use crate::workload::trace::row::{Problem, Row, from_seconds, token_count};

/// Results of vLLM's benchmark.
pub(super) const FORMAT: Format = Format {
    name: "vllm_bench",
    title: "a result of vllm bench serve",
    layout: Layout::Objects(ObjectFormat {
        recognises,
        reader,
        example: r#"{"input_lens": [100, 200], "output_lens": [10, 20], "start_times": [0.0, 0.5]}"#,
        sort_by: ".",
    }),
};

#[derive(Deserialize)]
struct Outcome {
    input_lens: Option<Vec<u64>>,
    output_lens: Option<Vec<u64>>,
    start_times: Option<Vec<f64>>,
    #[serde(default)]
    errors: Vec<Option<String>>,
}

fn recognises(object: &Map<String, Value>) -> bool {
    ["input_lens", "ttfts", "request_throughput", "mean_ttft_ms"].iter().any(|key| object.contains_key(*key))
}

fn reader(options: &TraceOptions) -> Box<dyn ObjectReader> {
    Box::new(Reader { retimed: options.retimed })
}

struct Reader {
    retimed: bool,
}

impl ObjectReader for Reader {
    fn read(&mut self, object: &[u8], rows: &mut VecDeque<Row>) -> Result<(), Problem> {
        let outcome: Outcome = parsed(object, &FORMAT)?;
        let (Some(inputs), Some(outputs)) = (&outcome.input_lens, &outcome.output_lens) else {
            let what = "it is a benchmark's result without its requests; save it with --save-detailed, or compare with it: see \
                        validate-run";
            return Err(what.to_owned());
        };
        let count = inputs.len();
        let times = outcome.start_times.as_ref();
        if outputs.len() != count || times.is_some_and(|times| times.len() != count) {
            return Err(format!("it has {count} input_lens, but {} output_lens or as many start_times", outputs.len()));
        }
        if times.is_none() && !self.retimed {
            return Err(no_times("it is a benchmark's result (to compare with it, see validate-run). As a trace"));
        }
        let mut in_order = InOrder::default();
        for (place, (&input, &output)) in inputs.iter().zip(outputs).enumerate() {
            let time = times.map_or(0.0, |times| times[place]);
            let start_ns = from_seconds(time).ok_or_else(|| format!("start_times hold {time}, beyond 292 years"))?;
            let failed = output == 0
                || outcome.errors.get(place).is_some_and(|error| error.as_deref().is_some_and(|e| !e.is_empty()));
            let row = if failed {
                Row { left_out: Some("errors: the request failed"), ..Row::default() }
            } else {
                Row {
                    prompt_tokens: token_count("input_lens", input)?,
                    output_tokens: token_count("output_lens", output)?,
                    ..Row::default()
                }
            };
            in_order.push(start_ns, row);
        }
        in_order.end(rows);
        Ok(())
    }
}
