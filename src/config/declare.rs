//! How keys are declared, and the one way to read them.
//!
//! [`section!`] declares a mapping: each field is a key with its doc, type, default, unit and bounds. From that one
//! declaration come the struct that the rest of the program reads, the decoding with its diagnostics, the JSON Schema,
//! the annotated example and the reference. A key that is not declared has no field, so it cannot be read; a key of a
//! file that has no declaration is an error.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value as Json;

use super::diagnostic::{At, Diagnostics, did_you_mean, number};
use super::tree::{Entry, Node, Value};

/// The type of a key, as the schema tells it.
#[derive(Debug)]
pub(crate) enum Shape {
    Text,
    Flag,
    Integer,
    Number,
    /// Anything: keys that have no effect.
    Any,
    /// One of these names.
    Choice(&'static [&'static str]),
    List(&'static Shape),
    /// Any names, values of one shape.
    Names(&'static Shape),
    Section(&'static Section),
    /// Sections told apart by the key `type`.
    Variants(fn() -> &'static Variants),
}

/// A mapping with declared keys.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) keys: &'static [Key],
}

/// Mappings told apart by the key `type`.
#[derive(Debug)]
pub(crate) struct Variants {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    /// The variant of a mapping without `type`.
    pub(crate) default: &'static str,
    pub(crate) of: &'static [(&'static str, &'static Section)],
}

/// A declared key.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) shape: &'static Shape,
    pub(crate) need: Need,
    pub(crate) bounds: Option<Bounds>,
    /// YAML of the annotated example; `None`: the key is not in it.
    pub(crate) example: Option<&'static str>,
    /// What other tools call it: found by suggestions.
    pub(crate) also_called: &'static [&'static str],
}

/// Whether a key must be given.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    Required,
    /// Absent means what the text says.
    Optional(&'static str),
    Default(Literal),
    /// The predecessor read and ignored it.
    Ignored,
}

/// A default value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Literal {
    Flag(bool),
    Integer(i64),
    Number(f64),
    Text(&'static str),
    Numbers(&'static [f64]),
    EmptyList,
    EmptyMapping,
}

impl Literal {
    pub(crate) fn node(self) -> Node {
        let plain = |value| Node::new(value, super::diagnostic::Mark::default());
        plain(match self {
            Self::Flag(value) => Value::Flag(value),
            Self::Integer(value) => Value::Integer(value.into()),
            Self::Number(value) => Value::Number(value),
            Self::Text(value) => Value::Text(value.to_owned()),
            Self::Numbers(values) => Value::Sequence(values.iter().map(|value| plain(Value::Number(*value))).collect()),
            Self::EmptyList => Value::Sequence(Vec::new()),
            Self::EmptyMapping => Value::Mapping(Vec::new()),
        })
    }
}

/// An interval of numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) low: f64,
    pub(crate) low_excluded: bool,
    pub(crate) high: f64,
    pub(crate) high_excluded: bool,
}

impl Bounds {
    fn hold(self, value: f64) -> bool {
        let above = if self.low_excluded { value > self.low } else { value >= self.low };
        let below = if self.high_excluded { value < self.high } else { value <= self.high };
        above && below
    }

    /// "above 0 and at most 1".
    pub(crate) fn words(self) -> String {
        let low = format!("{} {}", if self.low_excluded { "above" } else { "at least" }, number(self.low));
        let high = format!("{} {}", if self.high_excluded { "below" } else { "at most" }, number(self.high));
        match (self.low.is_finite(), self.high.is_finite()) {
            (true, true) => format!("{low} and {high}"),
            (false, true) => high,
            _ => low,
        }
    }
}

/// A key that must be given.
pub(crate) const fn required() -> Key {
    key(Need::Required)
}

/// A key that may be given; `absent` says what holds without it.
pub(crate) const fn optional(absent: &'static str) -> Key {
    key(Need::Optional(absent))
}

/// A key with a default.
pub(crate) const fn default(value: Literal) -> Key {
    key(Need::Default(value))
}

/// A key that the predecessor read and ignored.
pub(crate) const fn ignored() -> Key {
    key(Need::Ignored)
}

const fn key(need: Need) -> Key {
    Key { name: "", doc: "", unit: "", shape: &Shape::Any, need, bounds: None, example: None, also_called: &[] }
}

impl Key {
    pub(crate) const fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    pub(crate) const fn example(mut self, yaml: &'static str) -> Self {
        self.example = Some(yaml);
        self
    }

    pub(crate) const fn also_called(mut self, names: &'static [&'static str]) -> Self {
        self.also_called = names;
        self
    }

    /// Names a key that cannot be a Rust identifier.
    pub(crate) const fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// At least `low`, at most `high`.
    pub(crate) const fn range(self, low: f64, high: f64) -> Self {
        self.bounded(Bounds { low, low_excluded: false, high, high_excluded: false })
    }

    /// At least `low`.
    pub(crate) const fn at_least(self, low: f64) -> Self {
        self.range(low, f64::INFINITY)
    }

    /// Above 0.
    pub(crate) const fn positive(self) -> Self {
        self.bounded(Bounds { low: 0.0, low_excluded: true, high: f64::INFINITY, high_excluded: false })
    }

    /// Above 0, at most 1.
    pub(crate) const fn share(self) -> Self {
        self.bounded(Bounds { low: 0.0, low_excluded: true, high: 1.0, high_excluded: false })
    }

    /// Between 0 and 1, neither included.
    pub(crate) const fn inside_one(self) -> Self {
        self.bounded(Bounds { low: 0.0, low_excluded: true, high: 1.0, high_excluded: true })
    }

    const fn bounded(mut self, bounds: Bounds) -> Self {
        self.bounds = Some(bounds);
        self
    }

    /// Called by [`section!`] with what the declaration says beside the builder.
    pub(crate) const fn declared(mut self, field: &'static str, doc: &'static str, shape: &'static Shape) -> Self {
        if self.name.is_empty() {
            self.name = field;
        }
        self.doc = doc;
        self.shape = shape;
        self
    }

    fn wrong_type(&'static self, expected: &str, node: &Node, at: &At, diagnostics: &mut Diagnostics) {
        let unit = if self.unit.is_empty() { String::new() } else { format!(" ({})", self.unit) };
        diagnostics.error(at, format!("expected {expected}{unit}, found {}", node.value));
    }
}

/// A type that nodes are decoded into.
pub(crate) trait Decode: Sized {
    /// Its shape.
    const SHAPE: &'static Shape;
    /// The value, or `None` after at least one error.
    fn decode(node: &Node, key: &'static Key, at: &At, diagnostics: &mut Diagnostics) -> Option<Self>;
    /// The value as the manifest shows it.
    fn json(&self) -> Json;
}

/// The type of a field of a section.
pub(crate) trait ReadKey: Sized {
    const SHAPE: &'static Shape;
    fn read(reader: &mut Reader<'_>, key: &'static Key) -> Self;
    /// `None` leaves the key out.
    fn json(&self) -> Option<Json>;
}

/// A required or optional key.
#[derive(Clone, Debug)]
pub(crate) struct Field<T> {
    /// `None`: absent, or wrong, which has been reported.
    pub(crate) value: Option<T>,
    /// Where it stands, or the section it is absent from.
    pub(crate) at: At,
    /// Whether the key is in the file, right or wrong.
    pub(crate) given: bool,
}

/// A key with a default.
#[derive(Clone, Debug)]
pub(crate) struct Set<T> {
    pub(crate) value: T,
    pub(crate) at: At,
    pub(crate) given: bool,
}

/// A key without effect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ignored;

impl<T: Decode> ReadKey for Field<T> {
    const SHAPE: &'static Shape = T::SHAPE;

    fn read(reader: &mut Reader<'_>, key: &'static Key) -> Self {
        match reader.find(key) {
            Some((node, at)) => Self { value: T::decode(node, key, &at, reader.diagnostics), at, given: true },
            None => Self { value: None, at: reader.absent(key), given: false },
        }
    }

    fn json(&self) -> Option<Json> {
        self.value.as_ref().map(Decode::json)
    }
}

impl<T: Decode> ReadKey for Set<T> {
    const SHAPE: &'static Shape = T::SHAPE;

    fn read(reader: &mut Reader<'_>, key: &'static Key) -> Self {
        let Need::Default(literal) = key.need else { unreachable!("a Set field is declared with a default") };
        let found = reader.find(key);
        let given = found.is_some();
        let at = found.as_ref().map_or_else(|| reader.absent(key), |(_, at)| at.clone());
        let value = found.and_then(|(node, at)| T::decode(node, key, &at, reader.diagnostics));
        let value = value.unwrap_or_else(|| {
            T::decode(&literal.node(), key, &at, reader.diagnostics).expect("a declared default has its key's type")
        });
        Self { value, at, given }
    }

    fn json(&self) -> Option<Json> {
        Some(self.value.json())
    }
}

impl ReadKey for Ignored {
    const SHAPE: &'static Shape = &Shape::Any;

    fn read(reader: &mut Reader<'_>, key: &'static Key) -> Self {
        if let Some((_, at)) = reader.find(key) {
            let topic = format!("{}.{}", reader.section.name, key.name);
            reader.diagnostics.warn_once(&topic, &at, "read and ignored by the predecessor; has no effect");
        }
        Self
    }

    fn json(&self) -> Option<Json> {
        None
    }
}

/// The entries of one mapping, read key by key.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    section: &'static Section,
    entries: &'a [Entry],
    at: At,
    pub(crate) diagnostics: &'a mut Diagnostics,
}

impl<'a> Reader<'a> {
    /// Opens a mapping, and reports what of it is unknown, twice there or missing.
    pub(crate) fn open(
        node: &'a Node,
        section: &'static Section,
        at: &At,
        diagnostics: &'a mut Diagnostics,
    ) -> Option<Self> {
        let entries: &[Entry] = match &node.value {
            Value::Mapping(entries) => entries,
            Value::Null => &[],
            other => {
                diagnostics.error(at, format!("expected a mapping ({}), found {other}", section.name));
                return None;
            }
        };
        report_duplicates(entries, at, diagnostics);
        for entry in entries.iter().filter(|entry| !section.keys.iter().any(|key| key.name == entry.key)) {
            report_unknown(entry, section, at, diagnostics);
        }
        for key in section.keys.iter().filter(|key| matches!(key.need, Need::Required)) {
            if !entries.iter().any(|entry| entry.key == key.name && !entry.value.is_null()) {
                let example = key.example.map(|yaml| format!("such as {}: {yaml}", key.name));
                let severity = super::Severity::Error;
                diagnostics.report(severity, at, format!("missing required key {}", key.name), example);
            }
        }
        Some(Self { section, entries, at: at.clone(), diagnostics })
    }

    /// The value of a key; nothing after the colon is as good as no key.
    fn find(&self, key: &Key) -> Option<(&'a Node, At)> {
        let entry = self.entries.iter().find(|entry| entry.key == key.name && !entry.value.is_null())?;
        Some((&entry.value, self.at.key(key.name, entry.value.mark)))
    }

    fn absent(&self, key: &Key) -> At {
        self.at.key(key.name, self.at.mark)
    }
}

/// A mapping that says the same key twice means only one of them.
pub(crate) fn report_duplicates(entries: &[Entry], at: &At, diagnostics: &mut Diagnostics) {
    let mut seen = HashSet::new();
    for entry in entries {
        if !seen.insert(entry.key.as_str()) {
            let first = entries.iter().find(|other| other.key == entry.key).map_or(0, |other| other.mark.line);
            let message = format!("this key is already given on line {first}");
            diagnostics.error(&at.key(&entry.key, entry.mark), message);
        }
    }
}

fn report_unknown(entry: &Entry, section: &'static Section, at: &At, diagnostics: &mut Diagnostics) {
    let at = at.key(&entry.key, entry.mark);
    let called = section.keys.iter().find(|key| key.also_called.contains(&entry.key.as_str()));
    let here = called.map(|key| format!("did you mean {}?", key.name));
    let below = || {
        section.keys.iter().find_map(|key| match key.shape {
            Shape::Section(inner) | Shape::List(Shape::Section(inner)) => {
                let is_meant = |k: &&Key| k.name == entry.key || k.also_called.contains(&entry.key.as_str());
                inner.keys.iter().find(is_meant).map(|k| format!("did you mean {}.{}?", key.name, k.name))
            }
            _ => None,
        })
    };
    let near = || did_you_mean(&entry.key, section.keys.iter().map(|key| key.name));
    let suggestion = here.or_else(below).or_else(near);
    diagnostics.report(super::Severity::Error, &at, "unknown key", suggestion);
}

/// Declares a section: see the module's documentation.
macro_rules! section {
    (
        $(#[doc = $doc:literal])+
        $section:ident {
            $( $(#[doc = $key_doc:literal])+ $name:ident : $field:ty = $key:expr; )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub(crate) struct $section {
            /// Where the section stands.
            pub(crate) at: $crate::config::diagnostic::At,
            $( $(#[doc = $key_doc])+ pub(crate) $name: $field, )+
        }

        impl $section {
            /// The declaration.
            pub(crate) const DECLARATION: &'static $crate::config::declare::Section = {
                static SECTION: $crate::config::declare::Section = $crate::config::declare::Section {
                    name: stringify!($section),
                    doc: concat!($($doc),+),
                    keys: &[ $( $key.declared(
                        stringify!($name),
                        concat!($($key_doc),+),
                        <$field as $crate::config::declare::ReadKey>::SHAPE,
                    ) ),+ ],
                };
                &SECTION
            };
        }

        impl $crate::config::declare::Decode for $section {
            const SHAPE: &'static $crate::config::declare::Shape =
                &$crate::config::declare::Shape::Section(Self::DECLARATION);

            fn decode(
                node: &$crate::config::tree::Node,
                _key: &'static $crate::config::declare::Key,
                at: &$crate::config::diagnostic::At,
                diagnostics: &mut $crate::config::diagnostic::Diagnostics,
            ) -> Option<Self> {
                let section = Self::DECLARATION;
                let mut reader = $crate::config::declare::Reader::open(node, section, at, diagnostics)?;
                let mut keys = section.keys.iter();
                let mut next = || keys.next().expect("as many keys as fields");
                Some(Self {
                    at: at.clone(),
                    $( $name: $crate::config::declare::ReadKey::read(&mut reader, next()), )+
                })
            }

            fn json(&self) -> serde_json::Value {
                let mut map = serde_json::Map::new();
                let mut keys = Self::DECLARATION.keys.iter();
                $(
                    let key = keys.next().expect("as many keys as fields");
                    if let Some(value) = $crate::config::declare::ReadKey::json(&self.$name) {
                        map.insert(key.name.to_owned(), value);
                    }
                )+
                serde_json::Value::Object(map)
            }
        }
    };
}
pub(crate) use section;

/// A type whose values have names.
pub(crate) trait Named: Copy + PartialEq + 'static {
    const NAMES: &'static [&'static str];
    const VALUES: &'static [Self];
}

/// Gives the values of a type their names.
macro_rules! names {
    ($type:ty { $( $name:literal => $value:expr ),+ $(,)? }) => {
        impl $crate::config::declare::Named for $type {
            const NAMES: &'static [&'static str] = &[ $($name),+ ];
            const VALUES: &'static [Self] = &[ $($value),+ ];
        }

        impl $crate::config::declare::Decode for $type {
            const SHAPE: &'static $crate::config::declare::Shape =
                &$crate::config::declare::Shape::Choice(<Self as $crate::config::declare::Named>::NAMES);

            fn decode(
                node: &$crate::config::tree::Node,
                key: &'static $crate::config::declare::Key,
                at: &$crate::config::diagnostic::At,
                diagnostics: &mut $crate::config::diagnostic::Diagnostics,
            ) -> Option<Self> {
                $crate::config::declare::decode_name(node, key, at, diagnostics)
            }

            fn json(&self) -> serde_json::Value {
                $crate::config::declare::name_of(*self).into()
            }
        }
    };
}
pub(crate) use names;

/// The name of a value.
pub(crate) fn name_of<T: Named>(value: T) -> &'static str {
    let index = T::VALUES.iter().position(|known| *known == value);
    index.map_or("", |index| T::NAMES[index])
}

/// Decodes a named value.
pub(crate) fn decode_name<T: Named>(
    node: &Node,
    key: &'static Key,
    at: &At,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    let Value::Text(text) = &node.value else {
        key.wrong_type(&format!("one of {}", T::NAMES.join(", ")), node, at, diagnostics);
        return None;
    };
    let found = T::NAMES.iter().position(|name| name == text).map(|index| T::VALUES[index]);
    if found.is_none() {
        let suggestion = did_you_mean(text, T::NAMES.iter().copied());
        let known = T::NAMES.join(", ");
        let message = format!("{} is not one of {known}", node.value);
        let suggestion = suggestion.filter(|text| text.starts_with("did"));
        diagnostics.report(super::Severity::Error, at, message, suggestion);
    }
    found
}

impl Decode for String {
    const SHAPE: &'static Shape = &Shape::Text;

    fn decode(node: &Node, key: &'static Key, at: &At, diagnostics: &mut Diagnostics) -> Option<Self> {
        match &node.value {
            Value::Text(text) if text.trim().is_empty() => {
                diagnostics.error(at, "expected text, found an empty one");
                None
            }
            Value::Text(text) => Some(text.clone()),
            Value::Integer(_) | Value::Number(_) | Value::Flag(_) => {
                diagnostics.error_with(at, format!("expected text, found {}", node.value), "put it into quotes");
                None
            }
            _ => {
                key.wrong_type("text", node, at, diagnostics);
                None
            }
        }
    }

    fn json(&self) -> Json {
        self.as_str().into()
    }
}

impl Decode for bool {
    const SHAPE: &'static Shape = &Shape::Flag;

    fn decode(node: &Node, key: &'static Key, at: &At, diagnostics: &mut Diagnostics) -> Option<Self> {
        if let Value::Flag(value) = node.value {
            return Some(value);
        }
        key.wrong_type("true or false", node, at, diagnostics);
        None
    }

    fn json(&self) -> Json {
        (*self).into()
    }
}

impl Decode for f64 {
    const SHAPE: &'static Shape = &Shape::Number;

    fn decode(node: &Node, key: &'static Key, at: &At, diagnostics: &mut Diagnostics) -> Option<Self> {
        let value = match node.value {
            Value::Integer(value) => value as Self,
            Value::Number(value) => value,
            _ => {
                key.wrong_type("a number", node, at, diagnostics);
                return None;
            }
        };
        if !value.is_finite() {
            diagnostics.error(at, format!("expected a finite number, found {value}"));
            return None;
        }
        in_bounds(value, key, at, diagnostics).then_some(value)
    }

    fn json(&self) -> Json {
        (*self).into()
    }
}

/// Whole numbers; `1e6` is one too.
macro_rules! decode_integer {
    ($($type:ty),+) => { $(
        impl Decode for $type {
            const SHAPE: &'static Shape = &Shape::Integer;

            fn decode(node: &Node, key: &'static Key, at: &At, diagnostics: &mut Diagnostics) -> Option<Self> {
                let value = match node.value {
                    Value::Integer(value) => value,
                    Value::Number(value) if value.fract() == 0.0 && value.abs() < 1e18 => value as i128,
                    _ => {
                        key.wrong_type("a whole number", node, at, diagnostics);
                        return None;
                    }
                };
                if !in_bounds(value as f64, key, at, diagnostics) {
                    return None;
                }
                let fitting = Self::try_from(value).ok();
                if fitting.is_none() {
                    let message = format!("{value} is out of range: at least 0 and at most {}", Self::MAX);
                    diagnostics.error(at, message);
                }
                fitting
            }

            fn json(&self) -> Json {
                (*self).into()
            }
        }
    )+ };
}
decode_integer!(u32, u64);

fn in_bounds(value: f64, key: &Key, at: &At, diagnostics: &mut Diagnostics) -> bool {
    let Some(bounds) = key.bounds.filter(|bounds| !bounds.hold(value)) else { return true };
    diagnostics.error(at, format!("{} is out of range: must be {}", number(value), bounds.words()));
    false
}

impl<T: Decode> Decode for Vec<T> {
    const SHAPE: &'static Shape = &Shape::List(T::SHAPE);

    fn decode(node: &Node, key: &'static Key, at: &At, diagnostics: &mut Diagnostics) -> Option<Self> {
        let Value::Sequence(items) = &node.value else {
            key.wrong_type("a list", node, at, diagnostics);
            return None;
        };
        let decode = |(index, item): (usize, &Node)| T::decode(item, key, &at.item(index, item.mark), diagnostics);
        // A wrong item has been reported; the others are still worth checking.
        Some(items.iter().enumerate().filter_map(decode).collect())
    }

    fn json(&self) -> Json {
        self.iter().map(Decode::json).collect()
    }
}

/// Values by free names.
impl<T: Decode> Decode for BTreeMap<String, (T, At)> {
    const SHAPE: &'static Shape = &Shape::Names(T::SHAPE);

    fn decode(node: &Node, key: &'static Key, at: &At, diagnostics: &mut Diagnostics) -> Option<Self> {
        let Value::Mapping(entries) = &node.value else {
            key.wrong_type("a mapping of names", node, at, diagnostics);
            return None;
        };
        report_duplicates(entries, at, diagnostics);
        let mut map = Self::new();
        for entry in entries {
            let at = at.key(&entry.key, entry.value.mark);
            if let Some(value) = T::decode(&entry.value, key, &at, diagnostics) {
                map.insert(entry.key.clone(), (value, at));
            }
        }
        Some(map)
    }

    fn json(&self) -> Json {
        self.iter().map(|(name, (value, _))| (name.clone(), value.json())).collect()
    }
}
