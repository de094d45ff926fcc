//! How a trace is read, where it does not say so itself.

use crate::config::diagnostic::Diagnostics;
use crate::config::keys::{Trace, TraceColumns as Keys};
use crate::workload::{Clock, Load, MessageMode, SessionTimes, TRACE_FORMATS, TraceColumns, TraceOptions};

/// What the keys say, or `None` after an error.
pub(super) fn options(trace: &Trace, load: &Load, seed: u64, diagnostics: &mut Diagnostics) -> Option<TraceOptions> {
    let columns = match &trace.columns.value {
        Some(keys) => Some(Box::new(columns(keys, diagnostics)?)),
        None if trace.columns.given => return None,
        None => None,
    };
    if trace.encoder_tokens.given && columns.as_ref().is_some_and(|columns| columns.encoder_tokens.is_some()) {
        let message = "is an image's, and columns.encoder_tokens those of all images of a request";
        diagnostics.error_with(&trace.encoder_tokens.at, message, "give one of them");
    }
    check_mode(trace, diagnostics);
    if load.starts.is_some() {
        check_retimed(trace, diagnostics);
    }
    Some(TraceOptions {
        columns,
        block_tokens: trace.block_tokens.value,
        image_tokens: trace.image_tokens.value,
        encoder_tokens: trace.encoder_tokens.value,
        clock: trace.time_unit.value.map(|unit| unit.0),
        chars_per_token: trace.chars_per_token.value,
        skip_bad_rows: trace.skip_bad_rows.value,
        retimed: load.starts.is_some(),
        // Where the load says when sessions begin, recorded times are but pauses within them.
        sessions: trace.sessions.value.or(load.starts.as_ref().map(|_| SessionTimes::Closed)),
        message_mode: trace.message_mode.value,
        total_rate_per_s: trace.total_rate.value,
        seed,
    })
}

/// The format that is all about new tokens is not read as one of whole prompts.
fn check_mode(trace: &Trace, diagnostics: &mut Diagnostics) {
    let (mode, format) = (&trace.message_mode, trace.format.value);
    let is_delta = TRACE_FORMATS.iter().any(|&(name, named)| name == "mooncake-delta" && named == format);
    if is_delta && mode.value == Some(MessageMode::History) {
        let message = "contradicts the format mooncake-delta, in which a later turn has its new tokens only";
        diagnostics.error_with(&mode.at, message, "give format: mooncake where prompts hold the conversation so far");
    }
}

/// What is about the recorded times, which `load` replaces but for the pauses of a session.
fn check_retimed(trace: &Trace, diagnostics: &mut Diagnostics) {
    let sessions = &trace.sessions;
    if sessions.value == Some(SessionTimes::Open) {
        let message = "has no effect where workload.load says when requests come";
        diagnostics.error_with(&sessions.at, message, "open means the recorded times; give closed, or leave it out");
    }
}

fn columns(keys: &Keys, diagnostics: &mut Diagnostics) -> Option<TraceColumns> {
    let arrivals = [
        (&keys.arrival, Clock::Seconds),
        (&keys.arrival_ms, Clock::Milliseconds),
        (&keys.arrival_us, Clock::Microseconds),
        (&keys.arrival_ns, Clock::Nanoseconds),
    ];
    let mut named = arrivals.into_iter().filter(|(key, _)| key.given);
    let arrival = named.next();
    if let Some((second, _)) = named.next() {
        diagnostics.error(&second.at, "the arrival is in one column; name one");
        return None;
    }
    Some(TraceColumns {
        arrival: arrival.and_then(|(key, clock)| Some((key.value.clone()?, clock))),
        prompt: keys.prompt.value.clone()?,
        output: keys.output.value.clone()?,
        max_output: keys.max_output.value.clone(),
        session: keys.session.value.clone(),
        priority: keys.priority.value.clone(),
        abort: keys.abort.value.clone(),
        images: keys.images.value.clone(),
        encoder_tokens: keys.encoder_tokens.value.clone(),
    })
}
