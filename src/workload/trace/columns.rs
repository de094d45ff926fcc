//! Where a table keeps what, and the request in a record that is read by it. Knows no format: each finds its own columns
//! by their names.

use csv::ByteRecord;

use super::row::{Problem, Row, Start, priority, tokens};
use crate::workload::streams::hash_bytes;

/// Where a table keeps what.
#[derive(Clone, Debug)]
pub(in crate::workload) struct Columns {
    /// All names, in order.
    pub names: Vec<String>,
    pub arrival: usize,
    pub prompt_tokens: usize,
    pub output_tokens: usize,
    pub max_output_tokens: Option<usize>,
    pub session: Option<usize>,
    pub priority: Option<usize>,
    pub abort: Option<usize>,
    /// Reads a time, in nanoseconds: what it is, for messages, and its text.
    pub time: fn(&str, &str) -> Result<i64, Problem>,
    /// How `sort` must read the arrival column: a modifier of its key.
    pub sort_modifier: &'static str,
}

impl Columns {
    /// The request in a record.
    pub fn row(&self, record: &ByteRecord) -> Result<Row, Problem> {
        if record.len() != self.names.len() {
            return Err(format!("it has {} fields, but the header has {}", record.len(), self.names.len()));
        }
        let field = |column: usize| text(&self.names[column], &record[column]);
        let count = |column: usize| tokens(&self.names[column], field(column)?);
        let given = |column: Option<usize>| column.filter(|&column| !record[column].is_empty());
        let prompt_tokens = count(self.prompt_tokens)?;
        let output_tokens = count(self.output_tokens)?;
        let rank = given(self.priority).map(|column| priority(&self.names[column], field(column)?));
        let time_ns = (self.time)("the arrival", field(self.arrival)?)?;
        let abort = given(self.abort).map(|column| {
            let name = &self.names[column];
            patience(name, time_ns, (self.time)(name, field(column)?)?)
        });
        Ok(Row {
            start: Start::At(time_ns),
            id: None,
            patience_ns: abort.transpose()?,
            prompt_tokens,
            output_tokens,
            max_output_tokens: given(self.max_output_tokens).map(count).transpose()?,
            session: given(self.session).map(|column| hash_bytes(&record[column])),
            priority: rank.transpose()?.unwrap_or(0),
            prefix: Vec::new(),
        })
    }
}

impl Columns {
    /// The key by which `sort` puts the table in order.
    pub fn sort_key(&self) -> String {
        let field = self.arrival + 1;
        format!("{field},{field}{}", self.sort_modifier)
    }
}

/// The first column of that name, in whatever case.
pub(in crate::workload) fn find(names: &[String], name: &str) -> Option<usize> {
    names.iter().position(|n| n.eq_ignore_ascii_case(name))
}

/// How long after its arrival a client gives up.
fn patience(name: &str, arrival_ns: i64, abort_ns: i64) -> Result<u64, Problem> {
    let patience = abort_ns.checked_sub(arrival_ns).and_then(|ns| u64::try_from(ns).ok());
    patience
        .filter(|&ns| ns > 0)
        .ok_or_else(|| format!("{name} is not after the arrival; leave it empty where nobody gives up"))
}

fn text<'a>(name: &str, field: &'a [u8]) -> Result<&'a str, Problem> {
    str::from_utf8(field).map_err(|_| format!("{name} is not text in UTF-8"))
}
