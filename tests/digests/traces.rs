//! Recorded workloads, made up.

use std::fmt::Write;

use crate::draw::{Draw, thousandths};

/// Milliseconds between Mooncake's requests at least: a higher rate would be taken for seconds.
const LEAST_GAP_MS: u64 = 15;

/// Beginnings of prompts that a made-up Mooncake trace knows.
const FAMILIES: u64 = 12;

/// A layout of traces.
#[derive(Clone, Copy)]
pub enum Layout {
    Generic,
    Azure,
    Mooncake,
}

impl Layout {
    pub const ALL: [Self; 3] = [Self::Generic, Self::Azure, Self::Mooncake];

    /// A file's name and what is in it: so many requests with some `gap_ms` between them.
    pub fn file(self, draw: &mut Draw, requests: u64, gap_ms: u64) -> (String, String) {
        let gap_ms = if matches!(self, Self::Mooncake) { gap_ms.max(LEAST_GAP_MS) } else { gap_ms };
        let mut time_ms = 0;
        // As files from Windows end their lines.
        let line_end = if draw.chance(15) { "\r\n" } else { "\n" };
        let mut text = self.header().replace('\n', line_end);
        for number in 0..requests {
            let line = match self {
                Self::Generic => generic(draw, time_ms),
                Self::Azure => azure(draw, time_ms),
                Self::Mooncake => mooncake(draw, time_ms, number),
            };
            write!(text, "{line}{line_end}").expect("a text takes all");
            time_ms += draw.between(0, 2 * gap_ms);
        }
        (self.name().to_owned(), text)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic.csv",
            Self::Azure => "azure.csv",
            Self::Mooncake => "mooncake.jsonl",
        }
    }

    fn header(self) -> &'static str {
        match self {
            Self::Generic => "arrival_s,prompt_tokens,output_tokens,max_output_tokens,session_id,priority\n",
            Self::Azure => "TIMESTAMP,ContextTokens,GeneratedTokens\n",
            Self::Mooncake => "",
        }
    }
}

fn generic(draw: &mut Draw, time_ms: u64) -> String {
    let (prompt, drawn) = (draw.between(1, 900), draw.between(0, 200));
    let output = drawn.max(1);
    let most = if draw.chance(30) { (drawn + draw.between(0, 50)).max(1).to_string() } else { String::new() };
    let session = if draw.chance(70) { format!("session_{}", draw.between(0, 40)) } else { String::new() };
    format!("{},{prompt},{output},{most},{session},{}", thousandths(time_ms), draw.between(0, 4))
}

fn azure(draw: &mut Draw, time_ms: u64) -> String {
    let (minutes, seconds, ms) = (time_ms / 60_000, time_ms / 1000 % 60, time_ms % 1000);
    let (between, after) = draw.one_of(&[(" ", "0000"), (" ", "0000"), ("T", "Z"), ("T", "0000+00:00")]);
    let time = format!("2023-11-16{between}{:02}:{:02}:{seconds:02}.{ms:03}{after}", 18 + minutes / 60, minutes % 60);
    format!("{time},{},{}", draw.between(1, 2500), draw.between(1, 150))
}

/// Prompts that begin as one of some families do, and go on as they like.
fn mooncake(draw: &mut Draw, time_ms: u64, number: u64) -> String {
    let blocks = draw.between(1, 5);
    let (family, shared) = (draw.between(0, FAMILIES - 1), draw.between(0, blocks));
    let ids: Vec<u64> = (0..blocks)
        .map(|block| if block < shared { family * 10 + block } else { 1000 + number * 10 + block })
        .collect();
    let tokens = (blocks - 1) * 512 + draw.between(1, 512);
    let output = draw.between(0, 120).max(1);
    if draw.chance(5) {
        return format!("{{\"timestamp\": {time_ms}.0, \"input_length\": {tokens}, \"output_length\": {output}}}");
    }
    format!(
        "{{\"timestamp\": {time_ms}, \"input_length\": {tokens}, \"output_length\": {output}, \"hash_ids\": {ids:?}}}"
    )
}
