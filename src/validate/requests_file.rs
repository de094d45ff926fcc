//! `requests.csv`: what was sent, and what was measured of each request where it was recorded. Columns by name, in any
//! order; others are ignored, with a warning where a name that is missing may have been meant.

use std::path::Path;

use super::problem::Problems;
use super::table_file::{self, Header, Row};

/// Earliest arrival that a file may state, in seconds: some 31 years before the recorder's zero.
const EARLIEST_S: f64 = -1e9;

/// A request as it was sent, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RecordedRequest {
    /// In seconds; may be negative.
    pub(super) arrival_s: f64,
    pub(super) prompt_tokens: u32,
    pub(super) output_tokens: u32,
    /// Prompt tokens in the cache if it forgot nothing.
    pub(super) ideal_prefix_hit_tokens: u32,
    pub(super) tenant: Option<String>,
    pub(super) real_ttft_ms: Option<f64>,
    pub(super) real_tpot_ms: Option<f64>,
    pub(super) real_e2e_ms: Option<f64>,
}

impl RecordedRequest {
    /// Seconds until the last token, if they were recorded or follow from what was.
    pub(super) fn e2e_s(&self) -> Option<f64> {
        let further = f64::from(self.output_tokens - 1);
        let e2e_ms = self.real_e2e_ms.or_else(|| Some(self.real_ttft_ms? + further * self.real_tpot_ms?));
        e2e_ms.map(|e2e_ms| e2e_ms / 1e3)
    }
}

/// The requests of a run, in order of arrival.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorded {
    pub(super) requests: Vec<RecordedRequest>,
    pub(super) warnings: Vec<String>,
}

/// Where the columns are.
struct Columns {
    arrival: usize,
    prompt: usize,
    output: usize,
    ideal: Option<usize>,
    tenant: Option<usize>,
    real: [Option<usize>; 3],
    /// Names that are not there, each with one that may have been meant by it.
    mistyped: Vec<String>,
}

/// What a table need not have.
const OPTIONAL: [&str; 5] = ["ideal_prefix_hit_tokens", "tenant", "real_ttft_ms", "real_tpot_ms", "real_e2e_ms"];

/// Reads the `requests.csv` of a folder.
pub(super) fn read(folder: &Path) -> Result<Recorded, Problems> {
    let hint = "; a run's folder holds run.json and requests.csv";
    let (mut requests, columns) = table_file::read(&folder.join("requests.csv"), hint, columns, request)?;
    for request in &mut requests {
        request.ideal_prefix_hit_tokens = request.ideal_prefix_hit_tokens.min(request.prompt_tokens);
    }
    requests.sort_by(|a, b| a.arrival_s.total_cmp(&b.arrival_s));
    Ok(Recorded { requests, warnings: columns.mistyped })
}

fn columns(header: &mut Header<'_>) -> Columns {
    let mistyped = OPTIONAL.iter().filter_map(|name| {
        let column = header.mistyped(name, &OPTIONAL)?;
        Some(format!("requests.csv: column {column} counts for nothing; did you mean {name}?"))
    });
    Columns {
        mistyped: mistyped.collect(),
        arrival: header.required("arrival_s"),
        prompt: header.required("prompt_tokens"),
        output: header.required("output_tokens"),
        ideal: header.find("ideal_prefix_hit_tokens"),
        tenant: header.find("tenant"),
        real: ["real_ttft_ms", "real_tpot_ms", "real_e2e_ms"].map(|name| header.find(name)),
    }
}

fn request(row: &mut Row<'_>, columns: &Columns) -> Option<RecordedRequest> {
    let arrival = row.number(Some(columns.arrival), EARLIEST_S, "a time in seconds");
    let arrival_s = row.needed(columns.arrival, arrival);
    let [prompt, output] = [columns.prompt, columns.output].map(|column| {
        // A request without a prompt or an answer is none that an engine serves.
        let count = row.count(Some(column), 1);
        row.needed(column, count)
    });
    let ideal = row.count(columns.ideal, 0);
    let [real_ttft_ms, real_tpot_ms, real_e2e_ms] = columns.real.map(|column| row.number(column, 0.0, "milliseconds"));
    Some(RecordedRequest {
        arrival_s: arrival_s?,
        prompt_tokens: prompt?,
        output_tokens: output?,
        ideal_prefix_hit_tokens: ideal.unwrap_or(0),
        tenant: row.text(columns.tenant).map(str::to_owned),
        real_ttft_ms,
        real_tpot_ms,
        real_e2e_ms,
    })
}
