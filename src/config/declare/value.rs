//! Decoding of single values, each with its type and range checked.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::field::Decode;
use super::key::{Key, Shape};
use super::reader::report_duplicates;
use crate::config::diagnostic::{At, Diagnostics, Severity, did_you_mean, number};
use crate::config::tree::{Node, Value};

/// Most items of a list, as many as there may be GPUs: each takes some kilobytes.
const MOST_ITEMS: usize = 100_000;

/// A type whose values have names.
pub(crate) trait Named: Copy + PartialEq + 'static {
    const NAMES: &'static [&'static str];
    const VALUES: &'static [Self];
    /// Words of others for the same, or for several of them.
    const OTHER_WORDS: &'static [(&'static str, Meant)] = &[];
}

/// What a word of others means.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meant {
    /// This name.
    One(&'static str),
    /// Several, of which one has to be written: which.
    Several(&'static str),
}

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
    let mut meant = text.as_str();
    match T::OTHER_WORDS.iter().find(|(word, _)| word == text) {
        Some((_, Meant::One(name))) => meant = name,
        Some((_, Meant::Several(which))) => {
            diagnostics.error_with(
                at,
                format!("{} may be one of several formats", node.value),
                format!("write {which}"),
            );
            return None;
        }
        None => {}
    }
    let found = T::NAMES.iter().position(|name| *name == meant).map(|index| T::VALUES[index]);
    if found.is_none() {
        let suggestion = did_you_mean(text, T::NAMES.iter().copied());
        let known = T::NAMES.join(", ");
        let message = format!("{} is not one of {known}", node.value);
        let suggestion = suggestion.filter(|text| text.starts_with("did"));
        diagnostics.report(Severity::Error, at, message, suggestion);
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
                    Value::Number(value) if value.fract() == 0.0 => value as i128,
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
    let Some(bounds) = key.bounds.filter(|bounds| !bounds.hold(value)) else {
        return true;
    };
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
        if items.len() > MOST_ITEMS {
            let message =
                format!("a list of {}: at most {} items are possible", items.len(), number(MOST_ITEMS as f64));
            diagnostics.error(at, message);
            return None;
        }
        let decode = |(index, item): (usize, &Node)| T::decode(item, key, &at.item(index, item.mark), diagnostics);
        // A wrong item has been reported; the others are still worth checking.
        Some(items.iter().enumerate().filter_map(decode).collect())
    }

    fn json(&self) -> Json {
        self.iter().map(Decode::json).collect()
    }
}

/// A value and where it stands: an item of a list, or one of a mapping of names.
#[derive(Clone, Debug)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) at: At,
}

impl<T: Decode> Decode for Placed<T> {
    const SHAPE: &'static Shape = T::SHAPE;

    fn decode(node: &Node, key: &'static Key, at: &At, diagnostics: &mut Diagnostics) -> Option<Self> {
        T::decode(node, key, at, diagnostics).map(|value| Self { value, at: at.clone() })
    }

    fn json(&self) -> Json {
        self.value.json()
    }
}

/// Values by free names.
impl<T: Decode> Decode for BTreeMap<String, T> {
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
                map.insert(entry.key.clone(), value);
            }
        }
        Some(map)
    }

    fn json(&self) -> Json {
        self.iter().map(|(name, value)| (name.clone(), value.json())).collect()
    }
}
