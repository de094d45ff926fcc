//! The JSON Schema.

use serde_json::{Map, Value as Json, json};

use super::{literal, sentence};
use crate::config::declare::{Decode, Key, Literal, Need, Section, Shape, Variants};
use crate::config::keys::{Config, FrameworkConfig};

/// JSON Schema of a configuration, draft 2020-12: every key with its type, bounds, default, unit and meaning.
#[must_use]
pub fn schema() -> Json {
    let mut definitions = Map::new();
    let Shape::Section(root) = Config::SHAPE else { unreachable!("the root is a section") };
    let mut schema = section(root, &mut definitions);
    let object = schema.as_object_mut().expect("a section's schema is an object");
    object.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
    object.insert("title".to_owned(), "LLMPerfOracle configuration".into());
    object.insert("$defs".to_owned(), Json::Object(definitions));
    schema
}

fn section(section: &'static Section, definitions: &mut Map<String, Json>) -> Json {
    let mut properties = Map::new();
    for key in section.keys {
        properties.insert(key.name.to_owned(), property(key, definitions));
    }
    let is_required = |key: &&Key| matches!(key.need, Need::Required);
    let required: Vec<&str> = section.keys.iter().filter(is_required).map(|key| key.name).collect();
    json!({
        "type": "object",
        "description": sentence(section.doc),
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(key: &'static Key, definitions: &mut Map<String, Json>) -> Json {
    let mut property = shape(key.shape, key, definitions);
    let object = property.as_object_mut().expect("every shape's schema is an object");
    let mut description = sentence(key.doc);
    match key.need {
        Need::Optional(absent) => description.push_str(&format!(" Without it: {absent}.")),
        Need::Ignored => description.push_str(" Read and ignored by the predecessor; has no effect."),
        Need::Required | Need::Default(_) => {}
    }
    if !key.unit.is_empty() {
        description.push_str(&format!(" Unit: {}.", key.unit));
        object.insert("x-unit".to_owned(), key.unit.into());
    }
    object.insert("description".to_owned(), description.into());
    if let Need::Default(value) = key.need {
        object.insert("default".to_owned(), json_literal(value));
    }
    if matches!(key.need, Need::Ignored) {
        object.insert("deprecated".to_owned(), true.into());
    }
    property
}

/// What a setting of a framework is where nobody says it, if that is always the same.
#[must_use]
pub fn framework_default(name: &str) -> Option<Json> {
    let key = FrameworkConfig::DECLARATION.keys.iter().find(|key| key.name == name)?;
    match key.need {
        Need::Default(value) => Some(json_literal(value)),
        _ => None,
    }
}

fn json_literal(value: Literal) -> Json {
    match value {
        Literal::Flag(value) => value.into(),
        Literal::Integer(value) => value.into(),
        Literal::Number(value) => value.into(),
        Literal::Text(_) => literal(value).into(),
        Literal::Numbers(values) => values.into(),
        Literal::EmptyList => json!([]),
        Literal::EmptyMapping => json!({}),
    }
}

fn shape(shape_of: &'static Shape, key: &'static Key, definitions: &mut Map<String, Json>) -> Json {
    match shape_of {
        Shape::Text => json!({"type": "string", "minLength": 1}),
        Shape::Flag => json!({"type": "boolean"}),
        Shape::Integer => bounded("integer", key),
        Shape::Number => bounded("number", key),
        Shape::Any => json!({}),
        Shape::Choice(names) => json!({"enum": names}),
        Shape::List(inner) => json!({"type": "array", "items": shape(inner, key, definitions)}),
        Shape::Names(inner) => {
            json!({"type": "object", "additionalProperties": shape(inner, key, definitions)})
        }
        Shape::Section(inner) => define(inner.name, definitions, |definitions| section(inner, definitions)),
        Shape::Or(one, other) => {
            json!({"anyOf": [shape(one, key, definitions), shape(other, key, definitions)]})
        }
        Shape::Variants(inner) => {
            let inner = inner();
            define(inner.name, definitions, |definitions| variants(inner, definitions))
        }
    }
}

/// A reference to a definition, which is made on first use.
fn define(
    name: &'static str,
    definitions: &mut Map<String, Json>,
    make: impl FnOnce(&mut Map<String, Json>) -> Json,
) -> Json {
    if !definitions.contains_key(name) {
        // In place before it is made: a mixture holds distributions.
        definitions.insert(name.to_owned(), Json::Null);
        let made = make(definitions);
        definitions.insert(name.to_owned(), made);
    }
    json!({"$ref": format!("#/$defs/{name}")})
}

fn variants(variants: &'static Variants, definitions: &mut Map<String, Json>) -> Json {
    let one_of: Vec<Json> = variants
        .of
        .iter()
        .map(|(name, inner)| {
            let mut schema = section(inner, definitions);
            schema["properties"]["type"]["const"] = (*name).into();
            schema["title"] = (*name).into();
            schema
        })
        .collect();
    json!({"description": variants.doc, "oneOf": one_of})
}

fn bounded(kind: &str, key: &Key) -> Json {
    let mut schema = json!({"type": kind});
    if kind == "integer" {
        schema["minimum"] = 0.into();
    }
    let Some(bounds) = key.bounds else {
        return schema;
    };
    let exact = |value: f64| {
        if value.fract() == 0.0 { json!(value as i64) } else { json!(value) }
    };
    if bounds.low.is_finite() {
        let object = schema.as_object_mut().expect("made as an object");
        object.remove("minimum");
        schema[if bounds.low_excluded { "exclusiveMinimum" } else { "minimum" }] = exact(bounds.low);
    }
    if bounds.high.is_finite() {
        schema[if bounds.high_excluded { "exclusiveMaximum" } else { "maximum" }] = exact(bounds.high);
    }
    schema
}
