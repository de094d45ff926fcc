//! What a field of a section is: required or optional, with a default, or without effect.

use serde_json::Value as Json;

use super::key::{Key, Need, Shape};
use super::reader::Reader;
use crate::config::diagnostic::{At, Diagnostics};
use crate::config::tree::Node;

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
    /// The shape of its value.
    const SHAPE: &'static Shape;
    /// Whether the key must be declared with a default.
    const HAS_DEFAULT: bool = false;
    /// Takes the key's value out of a mapping.
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
    /// Whether the key is in the file, right or wrong.
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
    const HAS_DEFAULT: bool = true;

    fn read(reader: &mut Reader<'_>, key: &'static Key) -> Self {
        let Need::Default(literal) = key.need else { unreachable!("checked when the program is compiled") };
        let found = reader.find(key);
        let at = found.as_ref().map_or_else(|| reader.absent(key), |(_, at)| at.clone());
        let given = found.is_some();
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
