//! `requests.csv` and `requests.parquet` of a run of this program: replayed exactly, so that the same deployment gives the same figures.
//!
//! A request's shared beginning (`prefix`), what its session goes on with (`tail_key`), its client's patience (`timeout_ms`), its profile and
//! whether it is streamed are in it; an answer's length is that which it would have had (`target_output_tokens`). Its
//! rows are in the order of their ends, so they wait until the one with the next number has come. Times are the run's own. Follow-ups come
//! at the times at which they came. Results are not read.

use std::collections::HashMap;

use csv::ByteRecord;
use oracle_components::request::PrefixSegment;

use super::{Format, Header, Layout, RecordReader, TableFormat};
use crate::workload::slo::Slo;
use crate::workload::spec::{Clock, TraceOptions};
use crate::workload::trace::error::excerpt;
use crate::workload::trace::row::{Problem, Recorded, Row, Start, encoder_tokens, priority, tokens};
use crate::workload::trace::times::moment_ns;

/// The columns that are read.
const NAMES: [&str; 14] = [
    "request_id",
    "client_id",
    "session_id",
    "prompt_tokens",
    "max_output_tokens",
    "arrival_time",
    "profile",
    "turn",
    "priority",
    "streaming",
    "target_output_tokens",
    "timeout_ms",
    "prefix",
    "tail_key",
];

/// Place of the arrival among them.
const ARRIVAL: usize = 5;

/// Requests of a run of this program.
pub(super) const FORMAT: Format = Format {
    name: "llmperforacle",
    title: "a run's requests",
    layout: Layout::Table(TableFormat { recognises, reader }),
};

/// Whether a header is of this format. One of an earlier version, without what a replay needs, is a table of requests.
fn recognises(header: &Header) -> bool {
    ["request_id", "target_output_tokens", "tail_key", "prefix"].iter().all(|name| header.find(name).is_some())
}

fn reader(header: &Header, _: &TraceOptions) -> Result<Box<dyn RecordReader>, &'static str> {
    let mut places = [0; NAMES.len()];
    for (place, name) in places.iter_mut().zip(NAMES) {
        *place = header.find(name).ok_or(name)?;
    }
    let width = header.names.len();
    let (slo, encoder_tokens) = (header.find("slo"), header.find("encoder_tokens"));
    Ok(Box::new(Reader { places, width, profiles: Vec::new(), slo, encoder_tokens, numbers: HashMap::new() }))
}

struct Reader {
    /// Where the columns are, in the order of [`NAMES`].
    places: [usize; NAMES.len()],
    width: usize,
    /// Names of the profiles in the order in which they are met.
    profiles: Vec<(String, Slo)>,
    /// Where what clients expect is, if anywhere.
    slo: Option<usize>,
    /// Where the tokens of images are, if any request has some.
    encoder_tokens: Option<usize>,
    numbers: HashMap<String, u16>,
}

impl RecordReader for Reader {
    fn row(&mut self, record: &ByteRecord) -> Result<Row, Problem> {
        if record.len() != self.width {
            return Err(format!("it has {} fields, but the header has {}", record.len(), self.width));
        }
        let mut fields = [""; NAMES.len()];
        for ((field, name), &place) in fields.iter_mut().zip(NAMES).zip(&self.places) {
            *field = str::from_utf8(&record[place]).map_err(|_| format!("{name} is not text in UTF-8"))?;
        }
        let [id, client, session, prompt, most, arrival, profile, turn, rank, streaming, target, timeout, prefix, tail] =
            fields;
        let slo = slo(self.slo.map_or(&b""[..], |place| &record[place]))?;
        Ok(Row {
            start: Start::At(moment_ns(Clock::Seconds, "arrival_time", arrival)?),
            id: Some(number("request_id", id, "req_")?),
            prompt_tokens: tokens("prompt_tokens", prompt)?,
            encoder_tokens: images(self.encoder_tokens.map_or(&b""[..], |place| &record[place]))?,
            output_tokens: tokens("target_output_tokens", target)?,
            max_output_tokens: Some(tokens("max_output_tokens", most)?),
            priority: priority("priority", rank)?,
            patience_ns: patience(timeout)?,
            prefix: segments(prefix)?,
            recorded: Some(Box::new(Recorded {
                profile: self.profile(profile, slo)?,
                client: client_number(client)?,
                session: number("session_id", session, "sess_")?,
                turn: number("turn", turn, "")?.try_into().map_err(|_| "turn is above 4294967295")?,
                streaming: flag("streaming", streaming)?,
                tail_key: tail_key(tail)?,
            })),
            ..Row::default()
        })
    }

    fn used(&self) -> Vec<usize> {
        self.places.into_iter().chain(self.slo).chain(self.encoder_tokens).collect()
    }

    fn sort_key(&self) -> String {
        let field = self.places[ARRIVAL] + 1;
        format!("{field},{field}g")
    }

    fn number(&self, row: &Row) -> Option<u64> {
        row.id
    }

    /// A run's results are made anew.
    fn tells_unused(&self) -> bool {
        false
    }

    fn profiles(&self) -> &[(String, Slo)] {
        &self.profiles
    }
}

impl Reader {
    fn profile(&mut self, name: &str, slo: Slo) -> Result<u16, Problem> {
        if let Some(&number) = self.numbers.get(name) {
            let known = self.profiles[usize::from(number)].1;
            let message = || format!("slo is \"{slo}\", but rows above it of the profile {name:?} say \"{known}\"");
            return if slo == known { Ok(number) } else { Err(message()) };
        }
        let number = u16::try_from(self.profiles.len()).map_err(|_| "it has more than 65536 profiles".to_owned())?;
        self.profiles.push((name.to_owned(), slo));
        self.numbers.insert(name.to_owned(), number);
        Ok(number)
    }
}

fn number(name: &str, text: &str, before: &str) -> Result<u64, Problem> {
    let digits = text.strip_prefix(before);
    let number = digits.and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| format!("{name} is {}, but must be {before}N", excerpt(text.as_bytes())))
}

/// Of `client_<profile>_<n>` the number.
fn client_number(text: &str) -> Result<u32, Problem> {
    let digits = text.rsplit_once('_').map(|(_, digits)| digits);
    let number = digits.and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| format!("client_id is {}, but must be client_PROFILE_N", excerpt(text.as_bytes())))
}

fn slo(field: &[u8]) -> Result<Slo, Problem> {
    let slo = str::from_utf8(field).ok().and_then(|text| text.parse().ok());
    slo.ok_or_else(|| format!("slo is {}, but must be like ttft_ms=500 tpot_ms=50, or empty", excerpt(field)))
}

fn images(field: &[u8]) -> Result<u32, Problem> {
    let text = str::from_utf8(field).map_err(|_| "encoder_tokens is not text in UTF-8".to_owned())?;
    encoder_tokens("encoder_tokens", text)
}

fn flag(name: &str, text: &str) -> Result<bool, Problem> {
    // Python writes capitals.
    let wrong = || format!("{name} is {}, but must be true or false", excerpt(text.as_bytes()));
    text.to_ascii_lowercase().parse().map_err(|_| wrong())
}

fn patience(text: &str) -> Result<Option<u64>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let ns = moment_ns(Clock::Milliseconds, "timeout_ms", text)?;
    let ns = u64::try_from(ns).ok().filter(|&ns| ns > 0);
    ns.map(Some)
        .ok_or_else(|| format!("timeout_ms is {text}, but must be above 0; leave it empty where nobody gives up"))
}

fn tail_key(text: &str) -> Result<u64, Problem> {
    if text.is_empty() {
        return Ok(0);
    }
    let key = u64::from_str_radix(text, 16);
    key.map_err(|_| format!("tail_key is {}, but must be a hexadecimal number", excerpt(text.as_bytes())))
}

/// `KEY:TOKENS` of each segment, with a space between them.
fn segments(text: &str) -> Result<Vec<PrefixSegment>, Problem> {
    let pieces = text.split_ascii_whitespace();
    let segments = pieces.map(|piece| {
        let (key, tokens) = piece.split_once(':')?;
        let key = u64::from_str_radix(key, 16).ok().filter(|&key| key > 0)?;
        Some(PrefixSegment { key, tokens: tokens.parse().ok().filter(|&tokens| tokens > 0)? })
    });
    let segments: Vec<PrefixSegment> = segments
        .collect::<Option<_>>()
        .ok_or_else(|| format!("prefix is {}, but must be KEY:TOKENS, KEY hexadecimal", excerpt(text.as_bytes())))?;
    let mut keys: Vec<u64> = segments.iter().map(|segment| segment.key).collect();
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => {
            Err(format!("prefix names {:016x} twice, but a key names a piece and all that is before it", pair[0]))
        }
        None => Ok(segments),
    }
}
