//! How a trace is read, where it does not say so itself.

use crate::config::diagnostic::Diagnostics;
use crate::config::keys::{Trace, TraceColumns as Keys};
use crate::workload::{Clock, Load, TraceColumns, TraceOptions};

/// What the keys say, or `None` after an error.
pub(super) fn options(trace: &Trace, load: &Load, seed: u64, diagnostics: &mut Diagnostics) -> Option<TraceOptions> {
    let columns = match &trace.columns.value {
        Some(keys) => Some(Box::new(columns(keys, diagnostics)?)),
        None if trace.columns.given => return None,
        None => None,
    };
    Some(TraceOptions {
        columns,
        block_tokens: trace.block_tokens.value,
        image_tokens: trace.image_tokens.value,
        clock: trace.time_unit.value.map(|unit| unit.0),
        chars_per_token: trace.chars_per_token.value,
        skip_bad_rows: trace.skip_bad_rows.value,
        retimed: load.starts.is_some(),
        sessions: trace.sessions.value,
        message_mode: trace.message_mode.value,
        total_rate_per_s: trace.total_rate.value,
        seed,
    })
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
    })
}
