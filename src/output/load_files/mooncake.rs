//! Mooncake's lines of JSON, as AIPerf 0.13.0 (`mooncake_trace`) and vLLM 0.33.0 (`timed_trace`) read them: milliseconds with
//! their fraction, lengths, and ids that cover the whole prompt. With sessions, as this program and AISimulate read them.

use oracle_components::SimTime;

use super::blocks::blocks;
use super::columns::Request;
use crate::output::OutputError;
use crate::output::staged::{ClosedFile, StagedFile};

/// Nanoseconds of a millisecond.
const NS_PER_MS: u64 = 1_000_000;

/// A file in the making.
pub(super) struct Mooncake {
    file: StagedFile,
    block_tokens: u32,
    /// Lines say their session, and of a turn that waits for an answer how long after it.
    has_sessions: bool,
    rows: u64,
    bytes: u64,
    lines: Vec<u8>,
    /// Tokens that have a name but no whole block, and all that have a name.
    cut_off: u64,
}

impl Mooncake {
    pub fn new(file: StagedFile, block_tokens: u32, has_sessions: bool) -> Self {
        Self { file, block_tokens, has_sessions, rows: 0, bytes: 0, lines: Vec::new(), cut_off: 0 }
    }

    pub fn write(&mut self, requests: &[Request]) -> Result<(), OutputError> {
        for request in requests {
            self.write_line(request);
        }
        self.bytes += self.lines.len() as u64;
        let written = self.file.write_all(&self.lines);
        self.lines.clear();
        written
    }

    fn write_line(&mut self, request: &Request) {
        let spec = &request.turn.spec;
        let mut digits = itoa::Buffer::new();
        let lines = &mut self.lines;
        let pause = request.turn.pause.filter(|_| self.has_sessions);
        lines.extend_from_slice(if pause.is_some() { b"{\"delay\": " } else { b"{\"timestamp\": " });
        write_ms(lines, pause.unwrap_or(spec.arrival));
        if self.has_sessions {
            let (session, priority) = (spec.session, spec.priority);
            lines.extend_from_slice(format!(", \"session_id\": \"sess_{session}\"").as_bytes());
            if priority != 0 {
                lines.extend_from_slice(format!(", \"priority\": {priority}").as_bytes());
            }
        }
        lines.extend_from_slice(b", \"input_length\": ");
        lines.extend_from_slice(digits.format(spec.prompt_tokens).as_bytes());
        lines.extend_from_slice(b", \"output_length\": ");
        lines.extend_from_slice(digits.format(spec.output_tokens).as_bytes());
        lines.extend_from_slice(b", \"hash_ids\": [");
        let mut is_first = true;
        let cut_off = blocks(spec, self.rows, self.block_tokens, |id| {
            if !std::mem::take(&mut is_first) {
                lines.extend_from_slice(b", ");
            }
            lines.extend_from_slice(digits.format(id).as_bytes());
        });
        lines.extend_from_slice(b"]}\n");
        self.cut_off += u64::from(cut_off);
        self.rows += 1;
    }

    /// What sharing the blocks cannot tell.
    pub fn note(&self) -> Option<String> {
        let (cut_off, block) = (self.cut_off, self.block_tokens);
        (cut_off > 0).then(|| {
            format!(
                "{cut_off} tokens of shared beginnings do not fill a block of {block} and are not shared in the file; \
                 smaller blocks (--block-size) lose fewer"
            )
        })
    }

    pub fn close(self) -> ClosedFile {
        ClosedFile { staged: self.file, rows: self.rows, bytes: self.bytes }
    }
}

/// Milliseconds, with their fraction.
fn write_ms(line: &mut Vec<u8>, time: SimTime) {
    line.extend_from_slice(itoa::Buffer::new().format(time.0 / NS_PER_MS).as_bytes());
    let fraction = time.0 % NS_PER_MS;
    if fraction > 0 {
        line.extend_from_slice(format!(".{fraction:06}").trim_end_matches('0').as_bytes());
    }
}
