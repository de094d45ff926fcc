//! Declarations: what a key is called, what it holds, and what holds without it.

use crate::config::diagnostic::{At, Diagnostics, Mark, number};
use crate::config::tree::{Node, Value};

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
    /// One of two.
    Or(&'static Shape, &'static Shape),
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
        let plain = |value| Node::new(value, Mark::default());
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
    pub(crate) fn hold(self, value: f64) -> bool {
        let above = if self.low_excluded { value > self.low } else { value >= self.low };
        let below = if self.high_excluded { value < self.high } else { value <= self.high };
        above && below
    }

    /// "above 0 and at most 1".
    pub(crate) fn words(self) -> String {
        let low = format!("{} {}", if self.low_excluded { "above" } else { "at least" }, number(self.low));
        let high = format!("{} {}", if self.high_excluded { "below" } else { "at most" }, number(self.high));
        if self.low.is_finite() && self.high.is_finite() && !self.low_excluded && !self.high_excluded {
            return format!("between {} and {}", number(self.low), number(self.high));
        }
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

    /// Above 0, at most `high`.
    pub(crate) const fn up_to(self, high: f64) -> Self {
        self.bounded(Bounds { low: 0.0, low_excluded: true, high, high_excluded: false })
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
    pub(crate) const fn declared(
        mut self,
        field: &'static str,
        doc: &'static str,
        shape: &'static Shape,
        has_default: bool,
    ) -> Self {
        assert!(matches!(self.need, Need::Default(_)) == has_default, "a Set has a default, a Field has none");
        if self.name.is_empty() {
            self.name = field;
        }
        self.doc = doc;
        self.shape = shape;
        self
    }

    /// Reports a value of another type.
    pub(crate) fn wrong_type(&'static self, expected: &str, node: &Node, at: &At, diagnostics: &mut Diagnostics) {
        let unit = if self.unit.is_empty() { String::new() } else { format!(" ({})", self.unit) };
        diagnostics.error(at, format!("expected {expected}{unit}, found {}", node.value));
    }
}
