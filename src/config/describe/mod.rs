//! What the declarations say to people and editors: JSON Schema, an annotated example, a reference.

mod example;
mod json_schema;
mod reference;

pub use example::{generate_config, generate_config_json};
pub use json_schema::{framework_default, schema};
pub use reference::reference;

use super::declare::{Key, Literal, Need, Shape};

/// The doc comment of a key as one line.
fn sentence(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A default as YAML writes it.
fn literal(value: Literal) -> String {
    match value {
        Literal::Flag(value) => value.to_string(),
        Literal::Integer(value) => value.to_string(),
        Literal::Number(value) => value.to_string(),
        Literal::Text(value) => value.to_owned(),
        Literal::Numbers(values) => format!("{values:?}"),
        Literal::EmptyList => "[]".to_owned(),
        Literal::EmptyMapping => "{}".to_owned(),
    }
}

/// Type, bounds and unit of a key in words.
fn type_words(key: &Key) -> String {
    let mut words = shape_words(key.shape);
    if !key.unit.is_empty() {
        words.push_str(&format!(", {}", key.unit));
    }
    if let Some(bounds) = key.bounds {
        words.push_str(&format!(", {}", bounds.words()));
    }
    words
}

fn shape_words(shape: &Shape) -> String {
    match shape {
        Shape::Text => "text".to_owned(),
        Shape::Flag => "true or false".to_owned(),
        Shape::Integer => "whole number".to_owned(),
        Shape::Number => "number".to_owned(),
        Shape::Any => "anything".to_owned(),
        Shape::Choice(names) => names.join(", "),
        Shape::List(inner) => format!("list of: {}", shape_words(inner)),
        Shape::Names(inner) => format!("mapping of names to: {}", shape_words(inner)),
        Shape::Section(section) => section.name.to_owned(),
        Shape::Or(one, other) => format!("{} or {}", shape_words(one), shape_words(other)),
        Shape::Variants(variants) => variants().name.to_owned(),
    }
}

/// What holds without the key.
fn need_words(need: Need) -> String {
    match need {
        Need::Required => "required".to_owned(),
        Need::Optional(absent) => format!("without it: {absent}"),
        Need::Default(value) => format!("default {}", literal(value)),
        Need::Ignored => "has no effect".to_owned(),
    }
}
