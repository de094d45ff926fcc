//! Where a table keeps what, and the request in a record that is read by it. Knows no format: each finds its own columns
//! by their names.

use csv::ByteRecord;

use super::{Header, RecordReader};
use crate::workload::spec::{Clock, TraceOptions};
use crate::workload::streams::hash_bytes;
use crate::workload::trace::row::{
    Problem, Row, Start, encoder_tokens, held_encoder_tokens, priority, token_count, tokens,
};
use crate::workload::trace::times::moment_ns;

/// Where a table keeps what.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    /// All names, in order.
    pub names: Vec<String>,
    /// `None`: the file has no times, and the load says when requests come.
    pub arrival: Option<usize>,
    pub clock: Clock,
    pub prompt_tokens: usize,
    pub output_tokens: usize,
    pub max_output_tokens: Option<usize>,
    pub session: Option<usize>,
    pub priority: Option<usize>,
    pub abort: Option<usize>,
    /// How many images the prompt holds.
    pub images: Option<usize>,
    /// Tokens that each of them adds to the prompt, if that has been said.
    pub image_tokens: Option<u32>,
    /// Tokens of each of them in the vision encoder, if that has been said.
    pub tokens_in_encoder: Option<u32>,
    /// Tokens of all of them there, if a column says so.
    pub encoder_tokens: Option<usize>,
    /// Requests in the record, of which there may be one only.
    pub requests: Option<usize>,
    /// Tokens that a run found in its prefix cache; what they were is not in such a table.
    pub cached: Option<usize>,
    /// An answer of no tokens is one that failed, for this reason, and not a mistake.
    pub no_answer: Option<&'static str>,
}

impl Columns {
    /// A table with columns of these names, or the one that is missing.
    pub fn new(
        header: &Header,
        options: &TraceOptions,
        arrival: &'static str,
        prompt_tokens: &'static str,
        output_tokens: &'static str,
    ) -> Result<Self, &'static str> {
        let required = |name| header.find(name).ok_or(name);
        let times = header.find(arrival);
        if times.is_none() && !options.retimed {
            return Err(arrival);
        }
        let columns = Self::at(header, options, required(prompt_tokens)?, required(output_tokens)?);
        Ok(Self { arrival: times, ..columns })
    }

    /// A table with the lengths in these columns, and nothing else yet.
    pub fn at(header: &Header, options: &TraceOptions, prompt_tokens: usize, output_tokens: usize) -> Self {
        Self {
            names: header.names.clone(),
            arrival: None,
            clock: Clock::Seconds,
            prompt_tokens,
            output_tokens,
            max_output_tokens: None,
            session: None,
            priority: None,
            abort: None,
            images: None,
            image_tokens: options.image_tokens,
            tokens_in_encoder: options.encoder_tokens,
            encoder_tokens: None,
            requests: None,
            cached: None,
            no_answer: None,
        }
    }

    fn text<'a>(&self, record: &'a ByteRecord, column: usize) -> Result<&'a str, Problem> {
        str::from_utf8(&record[column]).map_err(|_| format!("{} is not text in UTF-8", self.names[column]))
    }

    /// Tokens of the images, in the prompt and in the encoder.
    fn image_tokens(&self, record: &ByteRecord) -> Result<(u64, u32), Problem> {
        let count = match self.images {
            None => 0,
            Some(column) => match self.text(record, column)? {
                "" | "0" | "0.0" => 0,
                text => u64::from(tokens(&self.names[column], text)?),
            },
        };
        let in_encoder = match self.encoder_tokens {
            Some(column) => encoder_tokens(&self.names[column], self.text(record, column)?)?,
            None => held_encoder_tokens(
                "the images' encoder_tokens",
                count * u64::from(self.tokens_in_encoder.unwrap_or(0)),
            )?,
        };
        if count == 0 {
            return Ok((0, in_encoder));
        }
        let name = self.images.map_or("", |column| &self.names[column]);
        let each = self.image_tokens.ok_or_else(|| {
            format!(
                "{name} is {count}, but nobody says how many tokens an image adds to the prompt; give --image-tokens N \
                 (image_tokens), 0 where the prompt's tokens hold them already, as Azure says of its trace of 2025, and with \
                 --encoder-tokens N (encoder_tokens) how many it has in the vision encoder, whose time is left out without"
            )
        })?;
        Ok((count * u64::from(each), in_encoder))
    }
}

impl RecordReader for Columns {
    fn row(&mut self, record: &ByteRecord) -> Result<Row, Problem> {
        if record.len() != self.names.len() {
            return Err(format!("it has {} fields, but the header has {}", record.len(), self.names.len()));
        }
        let field = |column: usize| self.text(record, column);
        let count = |column: usize| tokens(&self.names[column], field(column)?);
        let given = |column: Option<usize>| column.filter(|&column| !record[column].is_empty());
        let time = |column: usize| moment_ns(self.clock, &self.names[column], field(column)?);
        let time_ns = self.arrival.map(time).transpose()?.unwrap_or(0);
        if let Some(reason) = self.no_answer.filter(|_| is_zero(&record[self.output_tokens])) {
            return Ok(Row { start: Start::At(time_ns), left_out: Some(reason), ..Row::default() });
        }
        let (image_tokens, encoder_tokens) = self.image_tokens(record)?;
        let prompt_tokens = match image_tokens {
            0 => count(self.prompt_tokens)?,
            images => token_count("a prompt with its images", u64::from(count(self.prompt_tokens)?) + images)?,
        };
        let output_tokens = count(self.output_tokens)?;
        let rank = given(self.priority).map(|column| priority(&self.names[column], field(column)?));
        let abort = given(self.abort).map(|column| {
            let name = &self.names[column];
            patience(name, time_ns, moment_ns(self.clock, name, field(column)?)?)
        });
        if let Some(column) = given(self.requests)
            && count(column)? != 1
        {
            let name = &self.names[column];
            return Err(format!("{name} is {}; a record must be one request", field(column)?));
        }
        if let Some(column) = given(self.cached).filter(|&column| !is_zero(&record[column])) {
            return Err(format!(
                "{} is {}, but the table does not say what other prompts share with this one, so a replay would miss it; replay the \
                 requests.csv or requests.parquet of a run of this version, or take the column out",
                self.names[column],
                field(column)?
            ));
        }
        Ok(Row {
            start: Start::At(time_ns),
            patience_ns: abort.transpose()?,
            prompt_tokens,
            encoder_tokens,
            output_tokens,
            max_output_tokens: given(self.max_output_tokens).map(count).transpose()?,
            session: given(self.session).map(|column| hash_bytes(&record[column])),
            priority: rank.transpose()?.unwrap_or(0),
            ..Row::default()
        })
    }

    fn used(&self) -> Vec<usize> {
        let optional = [
            self.arrival,
            self.max_output_tokens,
            self.session,
            self.priority,
            self.abort,
            self.images,
            self.encoder_tokens,
            self.requests,
            self.cached,
        ];
        let mut used: Vec<usize> = optional.into_iter().flatten().collect();
        used.extend([self.prompt_tokens, self.output_tokens]);
        used
    }

    fn remarks(&self) -> Vec<String> {
        let is_left_out = self.tokens_in_encoder.is_none() && self.encoder_tokens.is_none();
        let images = self.images.filter(|_| is_left_out).map(|column| &self.names[column]);
        let remark = images.map(|name| {
            format!(
                "the time of the vision encoder for {name} is left out; --encoder-tokens N (encoder_tokens) says how many tokens \
                 an image has there"
            )
        });
        remark.into_iter().collect()
    }

    fn sort_key(&self) -> String {
        let field = self.arrival.map_or(1, |column| column + 1);
        let modifier = if self.clock == Clock::Calendar { "" } else { "g" };
        format!("{field},{field}{modifier}")
    }
}

fn is_zero(field: &[u8]) -> bool {
    matches!(field, b"0" | b"0.0")
}

/// How long after its arrival a client gives up.
fn patience(name: &str, arrival_ns: i64, abort_ns: i64) -> Result<u64, Problem> {
    let patience = abort_ns.checked_sub(arrival_ns).and_then(|ns| u64::try_from(ns).ok());
    patience
        .filter(|&ns| ns > 0)
        .ok_or_else(|| format!("{name} is not after the arrival; leave it empty where nobody gives up"))
}
