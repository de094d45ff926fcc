//! `requests.csv`: what was sent, and what was measured of each request where it was recorded. Columns by name, in any
//! order; others are ignored.

use std::fs::File;
use std::path::Path;

use super::problem::{Problem, Problems};
use crate::workload::MAX_TOKENS;

/// Columns that must be there.
const ARRIVAL: &str = "arrival_s";
const PROMPT: &str = "prompt_tokens";
const OUTPUT: &str = "output_tokens";
/// Latest arrival, and longest latency, that a file may state: some 31 years.
const LONGEST_S: f64 = 1e9;
/// Problems that are told of one file; the rest is of the same kind.
const MOST_PROBLEMS: usize = 20;
/// Most bytes of a field that a message quotes.
const QUOTED_CHARACTERS: usize = 40;

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
}

/// Reads the `requests.csv` of a folder.
pub(super) fn read(folder: &Path) -> Result<Recorded, Problems> {
    let path = folder.join("requests.csv");
    let file = match File::open(&path) {
        Ok(file) if path.is_file() => file,
        Ok(_) => return Err(Problem::of_file(&path, "not a regular file").into()),
        Err(error) => {
            let message = format!("{error}; a run's folder holds run.json and requests.csv");
            return Err(Problem::of_file(&path, message).into());
        }
    };
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(file);
    let header = reader.headers().map_err(|error| Problem::of_file(&path, csv_message(&error)))?.clone();
    let columns = columns(&path, &header)?;
    let mut recorded = Recorded::default();
    let (mut problems, mut raised) = (Vec::new(), 0_usize);
    for row in reader.records() {
        match row {
            Ok(row) => {
                let line = row.position().map(csv::Position::line);
                let mut reading = Row { path: &path, line, header: &header, row: &row, problems: &mut problems };
                if let Some(request) = reading.request(&columns, &mut raised) {
                    recorded.requests.push(request);
                }
            }
            Err(error) => {
                let line = error.position().map(csv::Position::line);
                let message = csv_message(&error);
                problems.push(Problem { file: path.clone(), line, key: String::new(), message });
            }
        }
        if problems.len() >= MOST_PROBLEMS {
            break;
        }
    }
    if !problems.is_empty() {
        return Err(Problems::Files(problems));
    }
    if recorded.requests.is_empty() {
        return Err(Problem::of_file(&path, "has no requests").into());
    }
    if raised > 0 {
        recorded.warnings.push(format!("{raised} requests have 0 prompt or output tokens and are replayed with 1"));
    }
    recorded.requests.sort_by(|a, b| a.arrival_s.total_cmp(&b.arrival_s));
    Ok(recorded)
}

fn columns(path: &Path, header: &csv::StringRecord) -> Result<Columns, Problems> {
    let find = |name: &str| header.iter().position(|column| column.eq_ignore_ascii_case(name));
    let mut missing = Vec::new();
    let mut required = |name: &'static str| {
        find(name).unwrap_or_else(|| {
            missing.push(name);
            0
        })
    };
    let columns = Columns {
        arrival: required(ARRIVAL),
        prompt: required(PROMPT),
        output: required(OUTPUT),
        ideal: find("ideal_prefix_hit_tokens"),
        tenant: find("tenant"),
        real: ["real_ttft_ms", "real_tpot_ms", "real_e2e_ms"].map(find),
    };
    if missing.is_empty() {
        return Ok(columns);
    }
    let message = format!("the header lacks {}; it needs {ARRIVAL}, {PROMPT} and {OUTPUT}", missing.join(" and "));
    Err(Problem { file: path.into(), line: Some(1), key: String::new(), message }.into())
}

/// A row that is being read.
struct Row<'a> {
    path: &'a Path,
    line: Option<u64>,
    header: &'a csv::StringRecord,
    row: &'a csv::StringRecord,
    problems: &'a mut Vec<Problem>,
}

impl Row<'_> {
    fn request(&mut self, columns: &Columns, raised: &mut usize) -> Option<RecordedRequest> {
        let before = self.problems.len();
        let arrival_s = self.number(columns.arrival, -LONGEST_S, "a time in seconds");
        let (prompt, output) = (self.tokens(columns.prompt), self.tokens(columns.output));
        let read = [
            (arrival_s.is_some(), columns.arrival),
            (prompt.is_some(), columns.prompt),
            (output.is_some(), columns.output),
        ];
        if let Some((_, column)) = read.iter().find(|(is_there, _)| !is_there && self.problems.len() == before) {
            self.report(*column, "is empty, but each request needs it");
        }
        let ideal = columns.ideal.and_then(|column| self.tokens(column)).unwrap_or(0);
        let [ttft, tpot, e2e] =
            columns.real.map(|column| column.and_then(|column| self.number(column, 0.0, "milliseconds")));
        if self.problems.len() > before {
            return None;
        }
        let (prompt, output) = (prompt?, output?);
        *raised += usize::from(prompt == 0 || output == 0);
        let prompt = prompt.max(1);
        Some(RecordedRequest {
            arrival_s: arrival_s?,
            prompt_tokens: prompt,
            output_tokens: output.max(1),
            ideal_prefix_hit_tokens: ideal.min(prompt),
            tenant: columns.tenant.and_then(|column| self.field(column)).map(str::to_owned),
            real_ttft_ms: ttft,
            real_tpot_ms: tpot,
            real_e2e_ms: e2e,
        })
    }

    /// The text of a field that is not empty.
    fn field(&self, column: usize) -> Option<&str> {
        self.row.get(column).filter(|text| !text.is_empty())
    }

    fn number(&mut self, column: usize, least: f64, what: &str) -> Option<f64> {
        let text = self.field(column)?;
        // What pandas writes for a gap.
        if text.eq_ignore_ascii_case("nan") {
            return None;
        }
        let number = text.parse().ok().filter(|number| (least..=LONGEST_S * 1e3).contains(number));
        if number.is_none() {
            let message = format!("is {}, but must be {what}", quoted(text));
            self.report(column, message);
        }
        number
    }

    fn tokens(&mut self, column: usize) -> Option<u32> {
        let number = self.number(column, 0.0, "a number of tokens")?;
        if number.fract() != 0.0 || number > f64::from(MAX_TOKENS) {
            self.report(column, format!("is {number}, but must be a whole number of tokens, at most {MAX_TOKENS}"));
            return None;
        }
        Some(number as u32)
    }

    fn report(&mut self, column: usize, message: impl Into<String>) {
        let key = self.header.get(column).unwrap_or_default().to_owned();
        self.problems.push(Problem { file: self.path.into(), line: self.line, key, message: message.into() });
    }
}

fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(QUOTED_CHARACTERS).collect::<String>())
}

/// What the CSV reader says, without the position, which stands in front.
fn csv_message(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "not text in UTF-8".to_owned(),
        _ => error.to_string(),
    }
}
