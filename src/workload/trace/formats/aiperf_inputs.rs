//! AIPerf's `inputs.json` (github.com/ai-dynamo/aiperf, `inputs_json.py`): `{"data": [{"session_id", "payloads": [...]}]}`, of a session the
//! bodies of its requests as they were sent: `messages` or `prompt`, and `max_completion_tokens` or `max_tokens`.
//!
//! A turn is sent when the one before is answered. The file has no times: of several sessions the load must say when they begin. How
//! many tokens a text has is known to a tokenizer alone: only if the user gives characters of a token is a length estimated, from the
//! text of all messages (their markers are not counted). An answer is as long as the body allows. What holds an image, a sound or
//! anything else that is no text is refused.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::Value;

use super::texts::Texts;
use super::{Format, Layout, ObjectFormat, ObjectReader, parsed, sessions_without_times};
use crate::workload::trace::row::{Context, Problem, Row, Start, token_count};

pub(super) const FORMAT: Format = Format {
    name: "aiperf_inputs",
    title: "AIPerf's inputs.json",
    layout: Layout::Objects(ObjectFormat {
        recognises: |object| {
            let sessions = object.get("data").and_then(Value::as_array);
            sessions.and_then(|sessions| sessions.first()).is_some_and(|session| session.get("payloads").is_some())
        },
        reader: |options| Box::new(Reader { texts: Texts::new("it is AIPerf's inputs.json", options), sessions: 0 }),
        example: r#"{"data": [{"session_id": "s", "payloads": [{"messages": [{"role": "user", "content": "hello"}], "max_completion_tokens": 50}]}]}"#,
        sort_by: ".",
    }),
};

#[derive(Deserialize)]
struct File {
    data: Vec<Session>,
}

#[derive(Deserialize)]
struct Session {
    payloads: Vec<Payload>,
}

#[derive(Deserialize)]
struct Payload {
    messages: Option<Vec<Message>>,
    prompt: Option<String>,
    max_completion_tokens: Option<u64>,
    max_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

struct Reader {
    texts: Texts,
    sessions: u64,
}

impl ObjectReader for Reader {
    fn read(&mut self, object: &[u8], rows: &mut VecDeque<Row>) -> Result<(), Problem> {
        let file: File = parsed(object, &FORMAT)?;
        for session in file.data {
            let number = self.sessions;
            if number > 0 && !self.texts.retimed {
                return Err(sessions_without_times("it is AIPerf's inputs.json"));
            }
            self.sessions += 1;
            for (turn, payload) in session.payloads.iter().enumerate() {
                let place = |problem| format!("session {number}, payload {turn}: {problem}");
                let (prompt_tokens, output_tokens) = self.lengths(payload).map_err(place)?;
                let next = Start::After { requests: Vec::new(), pause_ns: 0 };
                rows.push_back(Row {
                    start: if turn == 0 { Start::At(0) } else { next },
                    session: Some(number),
                    prompt_tokens,
                    output_tokens,
                    context: Context::History,
                    ..Row::default()
                });
            }
        }
        Ok(())
    }
}

impl Reader {
    fn lengths(&self, payload: &Payload) -> Result<(u32, u32), Problem> {
        let mut text = payload.prompt.clone().unwrap_or_default();
        for message in payload.messages.iter().flatten() {
            match &message.content {
                Some(Content::Text(content)) => text += content,
                Some(Content::Parts(parts)) => {
                    for part in parts {
                        let content = part.text.as_ref().filter(|_| part.kind == "text");
                        text += content.ok_or_else(|| {
                            format!("it holds a part of type {:?}; how many tokens that has is not known", part.kind)
                        })?;
                    }
                }
                None => {}
            }
        }
        let most = payload.max_completion_tokens.or(payload.max_tokens);
        let most = most.ok_or("it has neither max_completion_tokens nor max_tokens, so its answer has no length")?;
        Ok((self.texts.tokens(&text)?, token_count("max_completion_tokens", most)?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{read_with, refused};
    use super::*;
    use crate::workload::spec::TraceOptions;

    const FILE: &str = r#"{"data": [{"session_id": "a", "payloads": [
        {"model": "m", "messages": [{"role": "system", "content": "12345678"}, {"role": "user", "content": [{"type": "text", "text": "1234"}]}], "max_completion_tokens": 7, "stream": true},
        {"model": "m", "messages": [{"role": "user", "content": "0123456789012345678901234567890123456789012345678901234567890123"}], "max_tokens": 9}]}]}"#;

    #[test]
    fn bodies_are_turns_of_estimated_length() {
        let options = TraceOptions { chars_per_token: Some(4.0), ..TraceOptions::default() };
        let rows = read_with(&FORMAT, &options, &[FILE]);
        let lengths: Vec<_> = rows.iter().map(|row| (row.session, row.prompt_tokens, row.output_tokens)).collect();
        assert_eq!(lengths, [(Some(0), 3, 7), (Some(0), 16, 9)]);
        assert_eq!(rows[0].start, Start::At(0));
        assert_eq!(rows[1].start, Start::After { requests: Vec::new(), pause_ns: 0 });
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(refused(&FORMAT, FILE).contains("--chars-per-token 4"));
        assert!(refused(&FORMAT, &FILE.replace("\"text\": \"1234\"", "\"image_url\": {}")).contains("a part of type"));
        assert!(refused(&FORMAT, &FILE.replace("max_completion_tokens", "other")).contains("its answer has no length"));
    }
}
