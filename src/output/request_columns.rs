//! The columns of `requests.parquet` and `requests.csv`: the predecessor's in its order, then what it did not have.

use oracle_components::SimTime;
use oracle_components::record::RequestRecord;

use super::columns::{Column, Scale, Value};

/// From the arrival until the prompt's last byte was at the engine; `None` if it never was.
fn ingress_time(record: &RequestRecord) -> Option<SimTime> {
    was_delivered(record).then(|| record.delivered.since(record.arrival))
}

/// From the delivery to the first step that computed a token of the request; `None` if there was none.
pub(super) fn queue_time(record: &RequestRecord) -> Option<SimTime> {
    record.scheduled.map(|scheduled| scheduled.since(record.delivered))
}

/// What ended on its way to the engine says that it would have been there later.
fn was_delivered(record: &RequestRecord) -> bool {
    record.delivered <= record.completion
}

/// The columns, in the order of the files.
pub(super) static REQUEST_COLUMNS: [Column<RequestRecord>; 28] = {
    use Scale::{Milliseconds, Seconds};
    use Value::{Flag, FloatOrNull, Identifier, Integer, Text, Time, TimeOrNull, Word, WordOrNull};
    [
        Column::new("request_id", "", "req_<n>, numbered in order of generation", Identifier("req_", |r| r.request)),
        Column::new(
            "client_id",
            "",
            "client_<profile>_<n>",
            Text(|r, names, text| {
                text.push_str("client_");
                text.push_str(&names.profiles[usize::from(r.profile)]);
                text.push('_');
                text.push_str(itoa::Buffer::new().format(r.client));
            }),
        ),
        Column::new("session_id", "", "sess_<n>", Identifier("sess_", |r| r.session)),
        Column::new("prompt_tokens", "tokens", "tokens in the prompt", Integer(|r| r.prompt_tokens.into())),
        Column::new(
            "max_output_tokens",
            "tokens",
            "most output tokens asked for",
            Integer(|r| r.max_output_tokens.into()),
        ),
        Column::new("output_tokens", "tokens", "output tokens generated", Integer(|r| r.output_tokens.into())),
        Column::new("arrival_time", "s", "sent by the client", Time(Seconds, |r| r.arrival)),
        Column::new(
            "first_token_time",
            "s",
            "first token received (streamed) or generated (not streamed)",
            TimeOrNull(Seconds, |r| r.first_token),
        ),
        Column::new(
            "completion_time",
            "s",
            "last byte received, refusal, deadline or end of the simulation",
            Time(Seconds, |r| r.completion),
        ),
        Column::new("status", "", "SUCCESS, FAILED, TIMEOUT or INCOMPLETE", Word(|r, _| r.status.as_str())),
        Column::new(
            "ttft_ms",
            "ms",
            "time to first token, from the arrival",
            TimeOrNull(Milliseconds, RequestRecord::ttft),
        ),
        Column::new(
            "tpot_ms",
            "ms",
            "time per output token without the first; none below two tokens",
            FloatOrNull(RequestRecord::tpot_ms),
        ),
        Column::new(
            "e2e_latency_ms",
            "ms",
            "from the arrival to the completion",
            Time(Milliseconds, RequestRecord::e2e),
        ),
        Column::new(
            "prefix_cache_event",
            "",
            "what the prefix cache did at the first admission",
            WordOrNull(|r, _| Some(r.prefix_event.as_str()).filter(|word| !word.is_empty())),
        ),
        Column::new(
            "cached_prefix_length",
            "tokens",
            "prompt tokens found in the prefix cache at the first admission",
            Integer(|r| r.cached_tokens.into()),
        ),
        Column::new(
            "tokens_actually_prefilled",
            "tokens",
            "tokens computed in prefill, recomputation included",
            Integer(|r| r.prefilled_tokens.into()),
        ),
        Column::new("framework", "", "engine that served it", Word(|r, names| &names.engines[r.engine as usize])),
        Column::new("profile", "", "client profile", Word(|r, names| &names.profiles[usize::from(r.profile)])),
        Column::new("turn", "", "turn within the session, from 0", Integer(|r| r.turn.into())),
        Column::new("priority", "", "lower is served first under the priority policy", Integer(|r| r.priority.into())),
        Column::new("streaming", "", "whether the response was streamed", Flag(|r| r.streaming)),
        Column::new("reason", "", "why it ended as it did", Word(|r, _| r.reason.as_str())),
        Column::new(
            "queue_time_ms",
            "ms",
            "from the delivery to the first step that computed a token of it",
            TimeOrNull(Milliseconds, queue_time),
        ),
        Column::new(
            "ingress_time_ms",
            "ms",
            "from the arrival to the prompt's last byte at the engine",
            TimeOrNull(Milliseconds, ingress_time),
        ),
        Column::new(
            "scheduled_time",
            "s",
            "start of the first step that computed a token of it",
            TimeOrNull(Seconds, |r| r.scheduled),
        ),
        Column::new(
            "last_token_time",
            "s",
            "last token received (streamed) or generated (not streamed)",
            TimeOrNull(Seconds, |r| r.last_token),
        ),
        Column::new(
            "recomputed_tokens",
            "tokens",
            "tokens computed again after preemptions",
            Integer(|r| r.recomputed_tokens.into()),
        ),
        Column::new("preemptions", "", "times it was preempted", Integer(|r| r.preemptions.into())),
    ]
};
