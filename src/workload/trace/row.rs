//! One recorded request, and the numbers that traces write: tokens, decimal times, priorities.

use oracle_components::request::PrefixSegment;

use super::error::excerpt;
use crate::workload::distribution::{MAX_ENCODER_TOKENS, MAX_TOKENS};

/// Nanoseconds in a second.
pub(in crate::workload) const NS_PER_S: i64 = 1_000_000_000;

/// What is wrong with a line, and what to do about it.
pub(in crate::workload) type Problem = String;

/// When a request is sent.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::workload) enum Start {
    /// At this time stamp, in nanoseconds from an origin of the trace's own.
    At(i64),
    /// When these requests, named by the hashes of their ids, have been answered and a pause has passed; without any, the request before
    /// it in its session.
    #[allow(dead_code, reason = "the formats with dependencies make these")]
    After { requests: Vec<u64>, pause_ns: u64 },
}

impl Default for Start {
    fn default() -> Self {
        Self::At(0)
    }
}

/// What of a session a prompt holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::workload) enum Context {
    /// Only what its named beginning says.
    #[default]
    Own,
    /// The conversation so far, if it is long enough for that.
    History,
    /// Its tokens are new; the conversation so far comes before them.
    Delta,
    /// The file does not say: the conversation so far, which it must then be long enough for.
    Unsaid,
}

/// One recorded request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::workload) struct Row {
    pub start: Start,
    /// Hash of the request's name, where others may wait for it.
    pub id: Option<u64>,
    pub prompt_tokens: u32,
    /// Tokens of its images in the vision encoder.
    pub encoder_tokens: u32,
    pub output_tokens: u32,
    pub max_output_tokens: Option<u32>,
    /// Hash of the session's name.
    pub session: Option<u64>,
    pub priority: i32,
    /// The client gives up so many nanoseconds after the arrival, at whatever rate the trace is replayed.
    pub patience_ns: Option<u64>,
    pub prefix: Vec<PrefixSegment>,
    /// Why it is no request to replay, if it is none.
    pub left_out: Option<&'static str>,
    /// What a run of this program recorded beside that.
    pub recorded: Option<Box<Recorded>>,
    pub context: Context,
}

/// What a run's own file says of a request.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::workload) struct Recorded {
    pub profile: u16,
    pub client: u32,
    pub session: u64,
    pub turn: u32,
    pub streaming: bool,
    pub tail_key: u64,
}

impl Row {
    /// Whether it can only be understood as a part of its session.
    pub fn is_of_session(&self) -> bool {
        let is_named = self.id.is_some() && self.recorded.is_none();
        is_named || self.context != Context::Own || matches!(self.start, Start::After { .. })
    }
}

/// A pause in `unit`, milliseconds or seconds, as nanoseconds.
pub(in crate::workload) fn pause_ns(name: &str, pause: f64, unit: &str) -> Result<u64, Problem> {
    let seconds = if unit == "milliseconds" { pause / 1e3 } else { pause };
    let ns = from_seconds(seconds).and_then(|ns| u64::try_from(ns).ok());
    ns.ok_or_else(|| format!("{name} is {pause}, but must be a number of {unit}, 0 or more"))
}

/// A number of tokens, 1 at least: an engine refuses an empty prompt and an answer of nothing.
pub(in crate::workload) fn tokens(name: &str, text: &str) -> Result<u32, Problem> {
    // Tables that once held a gap write whole numbers with a fraction of zeros.
    let whole = match text.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|byte| byte == b'0') => whole,
        _ => text,
    };
    let count: u64 = whole.parse().map_err(|_| {
        format!("{name} is {}, but must be a whole number of tokens, 1 or more", excerpt(text.as_bytes()))
    })?;
    token_count(name, count)
}

/// The same from a number.
pub(in crate::workload) fn token_count(name: &str, count: u64) -> Result<u32, Problem> {
    if count == 0 {
        return Err(format!("{name} is 0, but engines refuse a request without a token; take the line out"));
    }
    let tokens = u32::try_from(count).ok().filter(|&n| n <= MAX_TOKENS);
    tokens.ok_or_else(|| format!("{name} is {count}; at most {MAX_TOKENS} tokens are possible"))
}

/// Tokens of a request's images in the vision encoder: none, or as many as are possible.
pub(in crate::workload) fn encoder_tokens(name: &str, text: &str) -> Result<u32, Problem> {
    match text {
        "" | "0" | "0.0" => Ok(0),
        text => held_encoder_tokens(name, u64::from(tokens(name, text)?)),
    }
}

/// The same from a number.
pub(in crate::workload) fn held_encoder_tokens(name: &str, count: u64) -> Result<u32, Problem> {
    let tokens = u32::try_from(count).ok().filter(|&n| n <= MAX_ENCODER_TOKENS);
    tokens.ok_or_else(|| format!("{name} is {count}; at most {MAX_ENCODER_TOKENS} tokens of a request are possible"))
}

/// A priority.
pub(in crate::workload) fn priority(name: &str, text: &str) -> Result<i32, Problem> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| format!("{name} is {}, but must be a whole number", excerpt(text.as_bytes())))
}

/// A decimal number times ten to the power of `digits`, exact where written without exponent and rounded half up; `None` if that is not
/// what it is.
pub(in crate::workload) fn decimal(text: &str, digits: u32) -> Option<i64> {
    let (negative, magnitude) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if magnitude.contains(['e', 'E']) {
        // What reads more than numbers, "infinity", has none of these digits.
        let number: f64 =
            magnitude.parse().ok().filter(|_| magnitude.starts_with(|c: char| c.is_ascii_digit() || c == '.'))?;
        return rounded(if negative { -number } else { number } * f64::from(10_u32.pow(digits)));
    }
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { unsigned(whole)? };
    let total = whole.checked_mul(10_i64.pow(digits))?.checked_add(shifted(fraction, digits as usize)?)?;
    Some(if negative { -total } else { total })
}

/// Digits after a decimal point as nanoseconds, rounded half up.
pub(in crate::workload) fn fraction_ns(digits: &str) -> Option<i64> {
    shifted(digits, 9)
}

/// So many of the digits after a decimal point as a whole number, rounded half up.
fn shifted(fraction: &str, digits: usize) -> Option<i64> {
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digit = |place| fraction.as_bytes().get(place).map_or(0, |b| i64::from(b - b'0'));
    let number = (0..digits).fold(0, |sum, place| sum * 10 + digit(place));
    Some(number + i64::from(digit(digits) >= 5))
}

/// Digits only: no sign.
pub(in crate::workload) fn unsigned(digits: &str) -> Option<i64> {
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().ok())?
}

/// Seconds as nanoseconds, where they fit.
pub(in crate::workload) fn from_seconds(seconds: f64) -> Option<i64> {
    rounded(seconds * NS_PER_S as f64)
}

fn rounded(number: f64) -> Option<i64> {
    let whole = number.round();
    // 2^63, the first value beyond the range.
    (whole.abs() < 9_223_372_036_854_775_808.0).then_some(whole as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_seconds_are_exact() {
        for (text, ns) in [
            ("0", 0),
            ("0.000000001", 1),
            ("1700000000.123456789", 1_700_000_000_123_456_789),
            ("1.3479389515", 1_347_938_952),
            (".5", 500_000_000),
            ("3.", 3_000_000_000),
            ("-2.25", -2_250_000_000),
            ("1e-3", 1_000_000),
        ] {
            assert_eq!(decimal(text, 9), Some(ns), "{text}");
        }
        for text in ["", ".", "-", "1.2.3", "abc", "1s", "nan", "inf", "1e400", "99999999999", "1,5"] {
            assert_eq!(decimal(text, 9), None, "{text}");
        }
    }
}
