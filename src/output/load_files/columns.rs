//! The columns of tables of requests: the generic ones, Vidur's, and those of a run's own `requests.parquet` that say all of a load.

use std::fmt::Write;

use oracle_components::SimTime;

use crate::output::columns::{Column, Scale, Value};
use crate::output::names::Names;
use crate::workload::Turn;

/// A request of a load, and its number.
pub(super) struct Request {
    pub number: u64,
    pub turn: Turn,
}

const PROMPT_TOKENS: Column<Request> = Column::new(
    "prompt_tokens",
    "tokens",
    "tokens of the prompt",
    Value::Integer(|request| request.turn.spec.prompt_tokens.into()),
);
const OUTPUT_TOKENS: Column<Request> = Column::new(
    "output_tokens",
    "tokens",
    "tokens of the answer",
    Value::Integer(|request| request.turn.spec.output_tokens.into()),
);
const MAX_OUTPUT_TOKENS: Column<Request> = Column::new(
    "max_output_tokens",
    "tokens",
    "most tokens that may be generated",
    Value::Integer(|request| request.turn.spec.max_output_tokens.into()),
);
const SESSION_ID: Column<Request> =
    Column::new("session_id", "", "the conversation", Value::Identifier("sess_", |request| request.turn.spec.session));
const PRIORITY: Column<Request> =
    Column::new("priority", "", "lower is served first", Value::Integer(|request| request.turn.spec.priority.into()));

const fn arrival(name: &'static str) -> Column<Request> {
    let value = Value::Time(Scale::Seconds, |request: &Request| request.turn.spec.arrival);
    Column::new(name, "s", "when the client sends the request", value)
}

/// Any table of requests.
pub(super) static GENERIC: [Column<Request>; 7] = [
    arrival("arrival_s"),
    PROMPT_TOKENS,
    OUTPUT_TOKENS,
    MAX_OUTPUT_TOKENS,
    SESSION_ID,
    PRIORITY,
    Column::new("abort_s", "s", "when the client gives up", Value::TimeOrNull(Scale::Seconds, abort)),
];

/// What the two tables that can say it have where there are images.
pub(super) static ENCODER_TOKENS: Column<Request> = Column::new(
    "encoder_tokens",
    "tokens",
    "tokens of its images in the vision encoder",
    Value::Integer(|request| request.turn.spec.encoder_tokens.into()),
);

/// Vidur's traces.
pub(super) static VIDUR: [Column<Request>; 3] = [
    arrival("arrived_at"),
    Column { name: "num_prefill_tokens", ..PROMPT_TOKENS },
    Column { name: "num_decode_tokens", ..OUTPUT_TOKENS },
];

/// All that a run's own requests say of the load, named as there.
pub(super) static WHOLE: [Column<Request>; 15] = [
    Column::new("request_id", "", "", Value::Identifier("req_", |request| request.number)),
    Column::new("client_id", "", "the client of the profile", Value::Keyed(client_key, client)),
    SESSION_ID,
    PROMPT_TOKENS,
    MAX_OUTPUT_TOKENS,
    OUTPUT_TOKENS,
    arrival("arrival_time"),
    Column::new(
        "profile",
        "",
        "the client profile",
        Value::Word(
            |request| request.turn.spec.profile.into(),
            |request, names| &names.profiles[usize::from(request.turn.spec.profile)],
        ),
    ),
    Column::new("turn", "", "turn of the session, from 0", Value::Integer(|request| request.turn.spec.turn.into())),
    PRIORITY,
    Column::new("streaming", "", "the answer is streamed", Value::Flag(|request| request.turn.spec.streaming)),
    Column { name: "target_output_tokens", comment: "tokens of the answer if nothing interferes", ..OUTPUT_TOKENS },
    Column::new("timeout_ms", "ms", "the client gives up so long after the arrival", {
        Value::TimeOrNull(Scale::Milliseconds, timeout)
    }),
    Column::new("prefix", "", "pieces that the prompt begins with, KEY:TOKENS each", Value::Text(prefix)),
    Column::new("tail_key", "", "names what follows the pieces", Value::Text(tail_key)),
];

fn abort(request: &Request) -> Option<SimTime> {
    timeout(request).map(|_| request.turn.spec.deadline())
}

fn timeout(request: &Request) -> Option<SimTime> {
    Some(request.turn.spec.timeout).filter(|&timeout| timeout < SimTime::NEVER)
}

// Writing to a string never fails.

fn client_key(request: &Request) -> u64 {
    let spec = &request.turn.spec;
    u64::from(spec.profile) << 32 | u64::from(spec.client)
}

fn client(request: &Request, names: &Names, text: &mut String) {
    let spec = &request.turn.spec;
    let _ = write!(text, "client_{}_{}", names.profiles[usize::from(spec.profile)], spec.client);
}

fn prefix(request: &Request, _: &Names, text: &mut String) {
    for (index, piece) in request.turn.spec.prefix.iter().enumerate() {
        let space = if index > 0 { " " } else { "" };
        let _ = write!(text, "{space}{:x}:{}", piece.key, piece.tokens);
    }
}

fn tail_key(request: &Request, _: &Names, text: &mut String) {
    if request.turn.spec.tail_key != 0 {
        let _ = write!(text, "{:x}", request.turn.spec.tail_key);
    }
}
