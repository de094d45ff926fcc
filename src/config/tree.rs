//! YAML or JSON text as a tree of nodes that know where they were written.
//!
//! This is the only place that touches the YAML crate. It never panics, whatever the bytes: depth, size, anchors and
//! alias replays are limited, and every refusal is one [`Diagnostic`](super::Diagnostic) with a position.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Budget, DuplicateKeyPolicy, Location, NonFiniteFloatPolicy, Spanned};

use super::diagnostic::{At, Diagnostics, Mark, number};

/// Most characters of a value that a message quotes.
const QUOTED_CHARACTERS: usize = 40;

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) mark: Mark,
}

/// A value as YAML's core schema reads it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Flag(bool),
    Integer(i128),
    Number(f64),
    Text(String),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// A key of a mapping and its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) mark: Mark,
    pub(crate) value: Node,
}

impl Node {
    pub(crate) fn new(value: Value, mark: Mark) -> Self {
        Self { value, mark }
    }

    pub(crate) fn text(text: &str, mark: Mark) -> Self {
        Self::new(Value::Text(text.to_owned()), mark)
    }

    /// A mapping whose keys and values all have one mark.
    pub(crate) fn mapping(entries: Vec<(&str, Self)>, mark: Mark) -> Self {
        let entry = |(key, value): (&str, Self)| Entry { key: key.to_owned(), mark, value };
        Self::new(Value::Mapping(entries.into_iter().map(entry).collect()), mark)
    }

    /// A JSON value, all of it with one mark.
    pub(crate) fn of_json(json: &serde_json::Value, mark: Mark) -> Self {
        let value = match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(flag) => Value::Flag(*flag),
            serde_json::Value::Number(number) => match number.as_i128() {
                Some(integer) => Value::Integer(integer),
                None => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(text) => Value::Text(text.clone()),
            serde_json::Value::Array(items) => {
                Value::Sequence(items.iter().map(|item| Self::of_json(item, mark)).collect())
            }
            serde_json::Value::Object(entries) => {
                let entry =
                    |(key, value): (&String, _)| Entry { key: key.clone(), mark, value: Self::of_json(value, mark) };
                Value::Mapping(entries.iter().map(entry).collect())
            }
        };
        Self::new(value, mark)
    }

    pub(crate) fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// The entries of a mapping.
    pub(crate) fn entries(&self) -> &[Entry] {
        if let Value::Mapping(entries) = &self.value { entries } else { &[] }
    }

    /// The items of a list.
    pub(crate) fn items(&self) -> &[Self] {
        if let Value::Sequence(items) = &self.value { items } else { &[] }
    }

    /// All texts in it that are not empty.
    pub(crate) fn texts(&self) -> Vec<String> {
        match &self.value {
            Value::Text(text) if text.is_empty() => Vec::new(),
            Value::Text(text) => vec![text.clone()],
            _ => {
                let inner = self.entries().iter().map(|entry| &entry.value).chain(self.items());
                inner.flat_map(Self::texts).collect()
            }
        }
    }

    /// The items of a list, to be changed.
    pub(crate) fn items_mut(&mut self) -> &mut [Self] {
        if let Value::Sequence(items) = &mut self.value { items } else { &mut [] }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    /// The value under `key`, to be changed.
    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        let Value::Mapping(entries) = &mut self.value else { return None };
        entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value)
    }

    /// Puts a value under `key`, if this is a mapping.
    pub(crate) fn set(&mut self, key: &str, value: Self) {
        if let Some(place) = self.get_mut(key) {
            *place = value;
        } else if let Value::Mapping(entries) = &mut self.value {
            entries.push(Entry { key: key.to_owned(), mark: value.mark, value });
        }
    }

    /// Takes `key` out.
    pub(crate) fn remove(&mut self, key: &str) {
        if let Value::Mapping(entries) = &mut self.value {
            entries.retain(|entry| entry.key != key);
        }
    }

    /// Whether both say the same, wherever they stand.
    pub(crate) fn says_as(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Sequence(one), Value::Sequence(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.says_as(other))
            }
            (Value::Mapping(one), Value::Mapping(entries)) => {
                let has = |entry: &Entry| other.get(&entry.key).is_some_and(|value| entry.value.says_as(value));
                one.len() == entries.len() && one.iter().all(has)
            }
            (one, other) => one == other,
        }
    }

    /// The value under `key`, if this is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let Value::Mapping(entries) = &self.value else {
            return None;
        };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }
}

impl fmt::Display for Value {
    /// The value as a message shows it: its kind, and itself if it is short.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("nothing"),
            Self::Flag(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Number(value) => f.write_str(&number(*value)),
            Self::Text(value) if value.chars().count() > QUOTED_CHARACTERS => {
                write!(f, "{:?}…", value.chars().take(QUOTED_CHARACTERS).collect::<String>())
            }
            Self::Text(value) => write!(f, "{value:?}"),
            Self::Sequence(items) => write!(f, "a list of {}", items.len()),
            Self::Mapping(entries) => match entries.first() {
                None => f.write_str("an empty mapping"),
                Some(entry) => write!(f, "a mapping ({}: …)", entry.key),
            },
        }
    }
}

/// Reads text. `None` after a syntax error, which is then in `diagnostics`.
pub(crate) fn parse(bytes: &[u8], diagnostics: &mut Diagnostics) -> Option<Node> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = At::root(mark_of_byte(bytes, error.valid_up_to()));
            diagnostics.error_with(&at, "not UTF-8 text", "save the file as UTF-8");
            return None;
        }
    };
    match serde_saphyr::from_str_with_options::<Spanned<Value>>(text, options()) {
        Ok(root) => Some(node(root)),
        Err(error) => {
            let location = error.location().unwrap_or(Location::UNKNOWN);
            diagnostics.error(&At::root(mark(location)), syntax_message(&error));
            None
        }
    }
}

/// Reads the value of a `--set`; the message of a syntax error otherwise.
pub(crate) fn parse_value(text: &str) -> Result<Value, String> {
    let root = serde_saphyr::from_str_with_options::<Spanned<Value>>(text, options());
    root.map(|root| root.value).map_err(|error| syntax_message(&error))
}

/// All texts in the value of a `--set`.
pub(crate) fn texts_in(text: &str) -> Vec<String> {
    parse_value(text).map_or_else(|_| Vec::new(), |value| Node::new(value, Mark::default()).texts())
}

fn options() -> serde_saphyr::Options {
    let mut budget = Budget::default();
    // Enough for ten thousand devices written out.
    budget.max_nodes = 4_000_000;
    budget.max_events = 16_000_000;
    let mut options = serde_saphyr::Options::default();
    options.budget = Some(budget);
    // Both are reported by the decoder, which knows the path of the key.
    options.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    options.non_finite_float_policy = NonFiniteFloatPolicy::PassThrough;
    options.with_snippet = false;
    options
}

/// The crate's message without the position, which the diagnostic carries itself.
fn syntax_message(error: &serde_saphyr::Error) -> String {
    if matches!(error.without_snippet(), serde_saphyr::Error::MultipleDocuments { .. }) {
        return "a second document begins here (`---`); a file holds one".to_owned();
    }
    let text = error.without_snippet().to_string();
    if text.contains("budget breached") {
        return "it is too large or too deep with its aliases (*name) written out; write less, or fewer aliases"
            .to_owned();
    }
    let first = text.lines().next().unwrap_or("not YAML");
    let stripped = first.split_once(" at line ").map_or(first, |(message, _)| message);
    let stripped = match stripped.strip_prefix("error: line ").and_then(|rest| rest.split_once(": ")) {
        Some((_, message)) => message,
        None => stripped,
    };
    stripped.trim_end_matches([',', ':', ' ']).to_owned()
}

fn mark(location: Location) -> Mark {
    let part = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Mark { line: part(location.line()), column: part(location.column()), ..Mark::default() }
}

fn mark_of_byte(bytes: &[u8], offset: usize) -> Mark {
    let before = &bytes[..offset];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
    let part = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Mark { line: part(line), column: part(column), ..Mark::default() }
}

fn node(spanned: Spanned<Value>) -> Node {
    // Of an alias, the place where it is used: that is where the reader of a message will look.
    Node { mark: mark(spanned.referenced), value: spanned.value }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Flag(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Value>>()? {
            nodes.push(node(item));
        }
        Ok(Value::Sequence(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<Value>>()? {
            let value = node(map.next_value::<Spanned<Value>>()?);
            let key_text = match key.value {
                Value::Text(text) => text,
                other => other.to_string(),
            };
            entries.push(Entry { key: key_text, mark: mark(key.referenced), value });
        }
        Ok(Value::Mapping(entries))
    }
}
