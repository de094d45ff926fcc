//! Reading a user's JSON file: bounded, with the line of each key, and an error for whatever is not such a file.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use super::CatalogError;
use crate::inputs;

/// Levels of nesting below which lines are not recorded: no key that is checked lies deeper.
const RECORDED_DEPTH: usize = 4;

/// A parsed JSON object.
pub(crate) struct JsonFile {
    pub(crate) object: Map<String, Value>,
    pub(crate) lines: KeyLines,
}

/// Reads a JSON object of at most `limit_bytes`. `holds` says what such a file holds, for the error about another.
pub(crate) fn read(path: &Path, limit_bytes: u64, holds: &str) -> Result<JsonFile, CatalogError> {
    let text = read_text(path, limit_bytes)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = &without_infinities(text);
    let value: Value = serde_json::from_str(text).map_err(|error| CatalogError::Syntax {
        path: path.into(),
        line: error.line(),
        column: error.column(),
        message: without_position(&error),
    })?;
    let Value::Object(object) = value else {
        return Err(CatalogError::WrongShape { path: path.into(), message: format!("expected {holds}") });
    };
    Ok(JsonFile { object, lines: KeyLines::of(text) })
}

/// Python writes numbers that JSON has no word for, and reads them: `null` in their place, as wide as they are, so that all else
/// stays where it is.
fn without_infinities(text: &str) -> Cow<'_, str> {
    const NUMBERS: [(&str, &str); 3] = [("-Infinity", "null     "), ("Infinity", "null    "), ("NaN", "0.0")];
    if !NUMBERS.iter().any(|(number, _)| text.contains(number)) {
        return Cow::Borrowed(text);
    }
    let (mut kept, mut is_quoted, mut rest) = (String::with_capacity(text.len()), false, text);
    while let Some(next) = rest.chars().next() {
        let number = NUMBERS.iter().find(|(number, _)| !is_quoted && rest.starts_with(number));
        let taken = match (number, next) {
            (Some((number, stand_in)), _) => {
                kept.push_str(stand_in);
                number.len()
            }
            // What is escaped ends no string.
            (None, '\\') if is_quoted => {
                let escaped = rest.chars().take(2).map(char::len_utf8).sum();
                kept.push_str(&rest[..escaped]);
                escaped
            }
            (None, _) => {
                is_quoted ^= next == '"';
                kept.push(next);
                next.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    Cow::Owned(kept)
}

fn read_text(path: &Path, limit_bytes: u64) -> Result<String, CatalogError> {
    let unreadable = |cause| CatalogError::Unreadable { path: path.into(), cause, hint: String::new() };
    let input = inputs::open(path).map_err(unreadable)?.into_stream();
    let mut bytes = Vec::new();
    input.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limit_bytes {
        return Err(CatalogError::TooLarge { path: path.into(), limit_bytes });
    }
    String::from_utf8(bytes)
        .map_err(|error| CatalogError::NotText { path: path.into(), offset: error.utf8_error().valid_up_to() })
}

/// serde_json ends its messages in the position, which we put in front.
fn without_position(error: &serde_json::Error) -> String {
    let message = error.to_string();
    message.rsplit_once(" at line ").map_or(message.clone(), |(what, _)| what.to_owned())
}

/// Characters of a value that a message shows.
const SHOWN_CHARACTERS: usize = 40;

/// A value as a message shows it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        _ => {
            let text = value.to_string();
            let cut: String = text.chars().take(SHOWN_CHARACTERS).collect();
            if cut.len() < text.len() { format!("{cut}…") } else { cut }
        }
    }
}

/// The line of each key of a JSON document, by the key's path with its parts joined by dots.
pub(crate) struct KeyLines {
    by_path: HashMap<String, usize>,
    /// Paths that occur twice in one object; JSON parsers keep the last.
    pub(crate) duplicates: Vec<String>,
}

impl KeyLines {
    /// Of a document that is not a file.
    pub(crate) fn none() -> Self {
        Self { by_path: HashMap::new(), duplicates: Vec::new() }
    }

    /// Line of the key, from 1; of the nearest enclosing key where the document lacks it.
    pub(crate) fn line(&self, path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            if let Some(line) = self.by_path.get(path) {
                return Some(*line);
            }
            path = &path[..path.rfind('.')?];
        }
    }

    /// Scans a document that is known to be valid JSON; of another, the result is of no use but still a result.
    fn of(text: &str) -> Self {
        let mut scan =
            Scan { lines: Self { by_path: HashMap::new(), duplicates: Vec::new() }, open: Vec::new(), line: 1 };
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = match c {
                '"' => scan.string(&rest[1..]),
                _ => {
                    scan.mark(c);
                    &rest[c.len_utf8()..]
                }
            };
        }
        scan.lines
    }
}

/// An object or array that is open at the scanner's place.
struct Open {
    object: bool,
    /// The next string is a key.
    before_key: bool,
    /// Path of the value that is being read.
    path: String,
    /// Length of the path of the object itself, in bytes.
    own_path: usize,
}

struct Scan {
    lines: KeyLines,
    open: Vec<Open>,
    line: usize,
}

impl Scan {
    fn mark(&mut self, c: char) {
        match c {
            '\n' => self.line += 1,
            '{' | '[' => {
                let path = match self.open.last() {
                    Some(outer) if self.open.len() < RECORDED_DEPTH => outer.path.clone(),
                    _ => String::new(),
                };
                self.open.push(Open { object: c == '{', before_key: true, own_path: path.len(), path });
            }
            '}' | ']' => drop(self.open.pop()),
            ',' => {
                if let Some(open) = self.open.last_mut() {
                    open.before_key = true;
                }
            }
            _ => {}
        }
    }

    /// Takes a string from behind its opening quote; gives what follows the closing one.
    fn string<'a>(&mut self, text: &'a str) -> &'a str {
        let mut escaped = false;
        let end = text.bytes().position(|byte| {
            let closes = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            closes
        });
        let end = end.unwrap_or(text.len());
        self.key(&text[..end]);
        text.get(end + 1..).unwrap_or("")
    }

    fn key(&mut self, key: &str) {
        let depth = self.open.len();
        let Some(open) = self.open.last_mut() else {
            return;
        };
        if !open.object || !open.before_key || depth > RECORDED_DEPTH {
            return;
        }
        open.before_key = false;
        open.path.truncate(open.own_path);
        if !open.path.is_empty() {
            open.path.push('.');
        }
        open.path.push_str(key);
        if self.lines.by_path.insert(open.path.clone(), self.line).is_some() {
            self.lines.duplicates.push(open.path.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_the_line_it_stands_on() {
        let lines =
            KeyLines::of("{\n \"a\": {\n  \"b\": \"x,{\\\"y\",\n  \"c\": [1,\n {\"d\": 2}]},\n \"e\": 1,\n \"e\": 2}");
        assert_eq!(lines.line("a"), Some(2));
        assert_eq!(lines.line("a.b"), Some(3));
        assert_eq!(lines.line("a.c"), Some(4));
        assert_eq!(lines.line("a.missing"), Some(2));
        assert_eq!(lines.line("missing"), None);
        assert_eq!(lines.duplicates, ["e"]);
    }
}
