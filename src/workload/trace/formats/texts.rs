//! Texts without counts of tokens and without times: ShareGPT's conversations (`[{"conversations": [{"from", "value"}]}]`, of which vLLM's
//! benchmark too takes the first prompt and its answer) and vLLM's custom JSONL (`{"prompt"[, "output_tokens"]}`).
//!
//! How many tokens a text has is known to a tokenizer alone. Only if the user gives characters of a token (English has some 4) a length
//! is estimated: its characters over these, rounded up.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Format, Layout, ObjectFormat, ObjectReader, no_times, parsed};
use crate::workload::spec::TraceOptions;
use crate::workload::trace::row::{Problem, Row, token_count};

/// ShareGPT's conversations.
pub(super) const SHAREGPT: Format = Format {
    name: "sharegpt",
    title: "a ShareGPT file",
    layout: Layout::Objects(ObjectFormat {
        recognises: |object| object.contains_key("conversations"),
        reader: |options| {
            Box::new(Reader { lengths: conversation, texts: Texts::new("it is a ShareGPT file", options) })
        },
        example: r#"{"conversations": [{"from": "human", "value": "hello"}, {"from": "gpt", "value": "hi"}]}"#,
        sort_by: ".",
    }),
};

/// vLLM's custom prompts.
pub(super) const CUSTOM: Format = Format {
    name: "vllm_custom",
    title: "a file of prompts for vllm bench",
    layout: Layout::Objects(ObjectFormat {
        recognises: is_prompt,
        reader: |options| {
            Box::new(Reader { lengths: prompt, texts: Texts::new("it is a file of prompts for vllm bench", options) })
        },
        example: r#"{"prompt": "Why is the sky blue?", "output_tokens": 200}"#,
        sort_by: ".",
    }),
};

fn is_prompt(object: &Map<String, Value>) -> bool {
    object.get("prompt").is_some_and(Value::is_string)
}

struct Reader {
    lengths: fn(&[u8], &Texts) -> Result<Row, Problem>,
    texts: Texts,
}

/// What is said of texts.
pub(super) struct Texts {
    what: &'static str,
    chars_per_token: Option<f64>,
    pub retimed: bool,
}

#[derive(Deserialize)]
struct Conversation {
    conversations: Vec<Turn>,
}

#[derive(Deserialize)]
struct Turn {
    value: String,
}

#[derive(Deserialize)]
struct Prompt {
    prompt: String,
    output_tokens: Option<u64>,
}

impl ObjectReader for Reader {
    fn read(&mut self, object: &[u8], rows: &mut VecDeque<Row>) -> Result<(), Problem> {
        if !self.texts.retimed {
            let no_times = no_times(self.texts.what);
            return Err(format!(
                "{no_times}, and --chars-per-token 4 for an estimate of its lengths, for it has no token counts"
            ));
        }
        rows.push_back((self.lengths)(object, &self.texts)?);
        Ok(())
    }
}

fn conversation(object: &[u8], texts: &Texts) -> Result<Row, Problem> {
    let Conversation { conversations } = parsed(object, &SHAREGPT)?;
    let [first, second, ..] = &conversations[..] else {
        return Ok(Row { left_out: Some("it has no two turns"), ..Row::default() });
    };
    Ok(Row {
        prompt_tokens: texts.tokens(&first.value)?,
        output_tokens: texts.tokens(&second.value)?,
        ..Row::default()
    })
}

fn prompt(object: &[u8], texts: &Texts) -> Result<Row, Problem> {
    let Prompt { prompt, output_tokens } = parsed(object, &CUSTOM)?;
    let output = output_tokens.ok_or("it has no output_tokens: how long its answer is, only a run can tell")?;
    Ok(Row {
        prompt_tokens: texts.tokens(&prompt)?,
        output_tokens: token_count("output_tokens", output)?,
        ..Row::default()
    })
}

impl Texts {
    pub fn new(what: &'static str, options: &TraceOptions) -> Self {
        Self { what, chars_per_token: options.chars_per_token, retimed: options.retimed }
    }

    pub fn tokens(&self, text: &str) -> Result<u32, Problem> {
        let per_token = self.chars_per_token.ok_or_else(|| {
            format!(
                "{}: it has texts and no token counts; count them with the model's tokenizer, or give --chars-per-token 4 \
                 (chars_per_token) for an estimate from their length",
                self.what
            )
        })?;
        token_count("the text's tokens", (text.chars().count() as f64 / per_token).ceil() as u64)
    }
}
