//! guidellm's report (`benchmarks.json`; github.com/vllm-project/guidellm): benchmarks[0].requests.{successful, errored, incomplete}[] with
//! request_start_time (older: start_time) in seconds, prompt_tokens and output_tokens. Those that did not succeed are left out. A report of
//! several benchmarks is several loads, one after the other: one must be picked.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::in_order::InOrder;
use super::{Format, Layout, ObjectFormat, ObjectReader, parsed};
use crate::workload::spec::TraceOptions;
use crate::workload::trace::row::{Problem, Row, from_seconds, token_count};

/// guidellm's reports.
pub(super) const FORMAT: Format = Format {
    name: "guidellm",
    title: "a guidellm report",
    layout: Layout::Objects(ObjectFormat {
        recognises,
        reader,
        example: r#"{"benchmarks": [{"requests": {"successful": [{"request_start_time": 1.5, "prompt_tokens": 256, "output_tokens": 128}]}}]}"#,
        sort_by: ".",
    }),
};

#[derive(Deserialize)]
struct Report {
    benchmarks: Vec<Benchmark>,
}

#[derive(Deserialize)]
struct Benchmark {
    requests: Requests,
}

#[derive(Deserialize)]
struct Requests {
    #[serde(default)]
    successful: Vec<Request>,
    #[serde(default)]
    errored: Vec<Value>,
    #[serde(default)]
    incomplete: Vec<Value>,
}

#[derive(Deserialize)]
struct Request {
    #[serde(alias = "start_time")]
    request_start_time: f64,
    prompt_tokens: u64,
    output_tokens: u64,
}

fn recognises(object: &Map<String, Value>) -> bool {
    object.get("benchmarks").is_some_and(Value::is_array)
}

fn reader(_: &TraceOptions) -> Box<dyn ObjectReader> {
    Box::new(Reader)
}

struct Reader;

impl ObjectReader for Reader {
    fn read(&mut self, object: &[u8], rows: &mut VecDeque<Row>) -> Result<(), Problem> {
        let report: Report = parsed(object, &FORMAT)?;
        let [benchmark] = &report.benchmarks[..] else {
            return Err(format!(
                "it holds {} benchmarks, each a load of its own; pick one: jq '.benchmarks |= [.[0]]' report.json",
                report.benchmarks.len()
            ));
        };
        let requests = &benchmark.requests;
        for (left, reason) in
            [(&requests.errored, "errored: the request failed"), (&requests.incomplete, "incomplete: cut by the end")]
        {
            rows.extend(left.iter().map(|_| Row { left_out: Some(reason), ..Row::default() }));
        }
        let mut in_order = InOrder::default();
        for request in &requests.successful {
            let time = request.request_start_time;
            in_order.push(
                from_seconds(time).ok_or_else(|| format!("request_start_time is {time}, which is beyond 292 years"))?,
                Row {
                    prompt_tokens: token_count("prompt_tokens", request.prompt_tokens)?,
                    output_tokens: token_count("output_tokens", request.output_tokens)?,
                    ..Row::default()
                },
            );
        }
        in_order.end(rows);
        Ok(())
    }
}
