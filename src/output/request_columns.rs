//! The columns of `requests.parquet` and `requests.csv`: the predecessor's in its order, then what it did not have.

use oracle_components::SimTime;
use oracle_components::record::{PromptComputed, RequestRecord};
use oracle_components::scenario::{Role, Scenario};

use super::columns::{Column, Scale, Value};

/// From the arrival until the prompt's last byte was at the engine; `None` if it never was.
fn ingress_time(record: &RequestRecord) -> Option<SimTime> {
    record.delivered.map(|delivered| delivered.since(record.arrival))
}

/// From the delivery to the first step that computed a token of the request; `None` if there was none.
pub(super) fn queue_time(record: &RequestRecord) -> Option<SimTime> {
    Some(record.scheduled?.since(record.delivered?))
}

/// The engine of a pool that computed the prompt for another one.
fn computed(record: &RequestRecord) -> Option<PromptComputed> {
    record.prefill.as_ref()?.computed
}

/// How long the KV cache waited on the prefill engine until the decode engine began to load it; `None` if it never did.
fn kv_wait_time(record: &RequestRecord) -> Option<SimTime> {
    let prefill = record.prefill.as_ref()?;
    Some(prefill.load_started?.since(prefill.computed?.end))
}

/// How long the KV cache took to the decode engine; `None` if it was not there by the end.
fn kv_transfer_time(record: &RequestRecord) -> Option<SimTime> {
    let prefill = record.prefill.as_ref()?;
    Some(prefill.loaded?.since(prefill.load_started?))
}

/// The segments of a prompt, as a replay reads them.
fn prefix(record: &RequestRecord, text: &mut String) {
    let mut digits = itoa::Buffer::new();
    for segment in &record.prefix {
        if !text.is_empty() {
            text.push(' ');
        }
        hexadecimal(segment.key, text);
        text.push(':');
        text.push_str(digits.format(segment.tokens));
    }
}

/// Appends a number as 16 digits; `format!` takes several times as long.
fn hexadecimal(number: u64, text: &mut String) {
    let digit = |place: u32| b"0123456789abcdef"[(number >> (4 * place) & 15) as usize] as char;
    text.extend((0..16).rev().map(digit));
}

/// The columns of a scenario's requests: those of pools and of images only where there are any.
pub(super) fn request_columns(
    scenario: &Scenario,
    encodes_images: bool,
) -> impl Iterator<Item = &'static Column<RequestRecord>> + Clone {
    let has_pools = scenario.engines.iter().any(|engine| engine.role != Role::Both);
    let columns = if has_pools { &REQUEST_COLUMNS[..] } else { &REQUEST_COLUMNS[..COLUMNS_WITHOUT_POOLS] };
    columns.iter().chain(encodes_images.then_some(&ENCODER_TOKENS))
}

static ENCODER_TOKENS: Column<RequestRecord> = Column::new(
    "encoder_tokens",
    "tokens",
    "tokens of its images in the vision encoder, which takes `encoder_token_s` for each",
    Value::Integer(|r| r.encoder_tokens.into()),
);

/// How many columns come before those of pools.
const COLUMNS_WITHOUT_POOLS: usize = 35;

/// The columns, in the order of the files; those of pools at the end.
static REQUEST_COLUMNS: [Column<RequestRecord>; COLUMNS_WITHOUT_POOLS + 4] = {
    use Scale::{Milliseconds, Seconds};
    use Value::{
        Flag, FlagOrNull, FloatOrNull, Identifier, Integer, Keyed, KeyedOrNull, TextOrNull, Time, TimeOrNull, Word,
        WordOrNull,
    };
    [
        Column::new("request_id", "", "req_<n>, numbered in order of generation", Identifier("req_", |r| r.request)),
        Column::new(
            "client_id",
            "",
            "client_<profile>_<n>",
            Keyed(
                |r| u64::from(r.profile) << 32 | u64::from(r.client),
                |r, names, text| {
                    text.push_str("client_");
                    text.push_str(&names.profiles[usize::from(r.profile)]);
                    text.push('_');
                    text.push_str(itoa::Buffer::new().format(r.client));
                },
            ),
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
        Column::new(
            "status",
            "",
            "SUCCESS, FAILED, TIMEOUT or INCOMPLETE",
            Word(|r| r.status as u64, |r, _| r.status.as_str()),
        ),
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
            WordOrNull(|r| r.prefix_event as u64, |r, _| Some(r.prefix_event.as_str()).filter(|word| !word.is_empty())),
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
        Column::new(
            "framework",
            "",
            "engine that served it",
            Word(|r| r.engine.into(), |r, names| &names.engines[r.engine as usize]),
        ),
        Column::new(
            "profile",
            "",
            "client profile",
            Word(|r| r.profile.into(), |r, names| &names.profiles[usize::from(r.profile)]),
        ),
        Column::new("turn", "", "turn within the session, from 0", Integer(|r| r.turn.into())),
        Column::new("priority", "", "lower is served first under the priority policy", Integer(|r| r.priority.into())),
        Column::new("streaming", "", "whether the response was streamed", Flag(|r| r.streaming)),
        Column::new("reason", "", "why it ended as it did", Word(|r| r.reason as u64, |r, _| r.reason.as_str())),
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
        Column::new(
            "max_itl_ms",
            "ms",
            "longest gap between two tokens as received; none below two tokens, and of a response that is not streamed",
            TimeOrNull(Milliseconds, |r| r.longest_gap),
        ),
        Column::new(
            "slo_met",
            "",
            "whether it kept to all that its client expects; none where that is nothing, or the simulation ended first",
            FlagOrNull(|r, names| names.slos[usize::from(r.profile)].met(r)),
        ),
        Column::new(
            "slo",
            "",
            "what its client expects, if anything: METRIC_ms=MILLISECONDS each",
            WordOrNull(|r| r.profile.into(), |r, names| names.slos_in_words[usize::from(r.profile)].as_deref()),
        ),
        Column::new(
            "target_output_tokens",
            "tokens",
            "output tokens that it has if nothing interferes",
            Integer(|r| r.target_output_tokens.into()),
        ),
        Column::new(
            "timeout_ms",
            "ms",
            "the client's patience, if it has an end",
            TimeOrNull(Milliseconds, |r| Some(r.timeout).filter(|&timeout| timeout != SimTime::NEVER)),
        ),
        Column::new(
            "prefix",
            "",
            "shared segments that the prompt begins with: KEY:TOKENS each, KEY hexadecimal",
            TextOrNull(prefix),
        ),
        Column::new(
            "tail_key",
            "",
            "what later turns of the session continue, hexadecimal, if there may be any",
            KeyedOrNull(
                |r| r.tail_key,
                |r, text| {
                    if r.tail_key != 0 {
                        hexadecimal(r.tail_key, text);
                    }
                },
            ),
        ),
        Column::new(
            "prefill_framework",
            "",
            "engine that computed its prompt, if that was another one",
            WordOrNull(
                |r| computed(r).map_or(u64::MAX, |computed| computed.engine.into()),
                |r, names| Some(names.engines[computed(r)?.engine as usize].as_str()),
            ),
        ),
        Column::new(
            "prefill_end_time",
            "s",
            "end of the step that computed the prompt's last token there",
            TimeOrNull(Seconds, |r| Some(computed(r)?.end)),
        ),
        Column::new(
            "kv_wait_time_ms",
            "ms",
            "from then until the decode engine began to load the KV cache",
            TimeOrNull(Milliseconds, kv_wait_time),
        ),
        Column::new(
            "kv_transfer_time_ms",
            "ms",
            "from then until the KV cache was there",
            TimeOrNull(Milliseconds, kv_transfer_time),
        ),
    ]
};
