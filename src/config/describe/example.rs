//! The annotated example.

use serde_json::Value as Json;

use super::{need_words, sentence, type_words};
use crate::config::declare::{Decode, Key, Need, Section, Shape, Variants};
use crate::config::diagnostic::Diagnostics;
use crate::config::keys::Config;
use crate::config::tree::{self, Value};

/// Columns of the example, comments included.
const WIDTH: usize = 110;

/// An annotated example configuration in YAML, which validates without a warning and has every key that has an effect.
/// Keys that are not needed are comments with their default, as are sections that the example does without.
#[must_use]
pub fn generate_config() -> String {
    let mut example = Example { text: String::new(), commented: None, told: Vec::new() };
    example.text.push_str("# An LLMPerfOracle configuration. Keys in comments show what holds without them.\n");
    let Shape::Section(root) = Config::SHAPE else { unreachable!("the root is a section") };
    example.section(root, 0);
    example.text
}

/// The same example in JSON, which has no place for the annotations.
#[must_use]
pub fn generate_config_json() -> String {
    let mut diagnostics = Diagnostics::new("example");
    let root = tree::parse(generate_config().as_bytes(), &mut diagnostics);
    let root = json(&root.expect("the example is YAML").value);
    format!("{root:#}\n")
}

fn json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Flag(value) => (*value).into(),
        Value::Integer(value) => i64::try_from(*value).map_or(Json::Null, Json::from),
        Value::Number(value) => (*value).into(),
        Value::Text(value) => value.as_str().into(),
        Value::Sequence(items) => items.iter().map(|item| json(&item.value)).collect(),
        Value::Mapping(entries) => entries.iter().map(|entry| (entry.key.clone(), json(&entry.value.value))).collect(),
    }
}

struct Example {
    text: String,
    /// Columns before the `#` of a section that is a comment as a whole.
    commented: Option<usize>,
    /// Variants that have been told of.
    told: Vec<&'static str>,
}

impl Example {
    fn section(&mut self, section: &'static Section, depth: usize) {
        for key in section.keys.iter().filter(|key| !matches!(key.need, Need::Ignored) && key.name != "$schema") {
            if depth == 0 {
                self.text.push('\n');
            }
            self.comment(key, depth);
            self.key(key, depth);
        }
    }

    fn key(&mut self, key: &'static Key, depth: usize) {
        let indent = "  ".repeat(depth);
        let name = key.name;
        match (key.example, key.shape) {
            (Some(yaml), _) => self.line(&format!("{indent}{name}: {yaml}")),
            (
                None,
                Shape::Section(inner) | Shape::List(Shape::Section(inner)) | Shape::Names(Shape::Section(inner)),
            ) => {
                self.nested(key, inner, depth);
            }
            _ => {
                let hash = if self.commented.is_some() { "" } else { "# " };
                self.line(&format!("{indent}{hash}{name}: {}", absent(key)));
            }
        }
        if let Some(variants) = variants_of(key.shape) {
            self.variants(variants, depth);
        }
    }

    /// A section or a list of sections below a key.
    fn nested(&mut self, key: &'static Key, inner: &'static Section, depth: usize) {
        let outer = self.commented;
        if !has_example(inner) {
            self.commented = outer.or(Some(2 * depth));
        }
        self.line(&format!("{}{}:", "  ".repeat(depth), key.name));
        match key.shape {
            Shape::List(_) => self.item(inner, depth + 1),
            Shape::Names(_) => {
                self.line(&format!("{}NAME:", "  ".repeat(depth + 1)));
                self.section(inner, depth + 2);
            }
            _ => self.section(inner, depth + 1),
        }
        self.commented = outer;
    }

    /// What else a value may be that is told apart by its type: where it can first be.
    fn variants(&mut self, variants: &'static Variants, depth: usize) {
        if self.told.contains(&variants.name) {
            return;
        }
        self.told.push(variants.name);
        let outer = self.commented;
        self.commented = outer.or(Some(2 * depth));
        self.line(&format!("{}{}:", "  ".repeat(depth), variants.name));
        for (name, section) in variants.of {
            let keys = section.keys.iter().filter(|key| key.name != "type" && !matches!(key.need, Need::Ignored));
            let keys: String = keys.map(|key| format!(", {}: {}", key.name, in_short(key.shape))).collect();
            self.line(&format!("{}{{type: {name}{keys}}}", "  ".repeat(depth + 1)));
        }
        self.commented = outer;
    }

    /// A list of one item: its dash stands on a line of its own, so that every key may have a comment.
    fn item(&mut self, section: &'static Section, depth: usize) {
        self.line(&format!("{}-", "  ".repeat(depth)));
        self.section(section, depth + 1);
    }

    fn comment(&mut self, key: &Key, depth: usize) {
        let indent = "  ".repeat(depth);
        let mut text = sentence(key.doc);
        let is_plain = variants_of(key.shape).is_none()
            && !matches!(key.shape, Shape::Section(_) | Shape::List(Shape::Section(_)));
        if is_plain {
            text.push_str(&format!(" ({}; {})", type_words(key), need_words(key.need)));
        } else if !key.unit.is_empty() {
            text.push_str(&format!(" ({})", key.unit));
        }
        let mut line = format!("{indent}#");
        for word in text.split(' ') {
            if line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.line(&line);
                line = format!("{indent}#");
            }
            line.push(' ');
            line.push_str(word);
        }
        self.line(&line);
    }

    fn line(&mut self, line: &str) {
        match self.commented {
            Some(column) => self.text.push_str(&format!("{}# {}", &line[..column], &line[column..])),
            None => self.text.push_str(line),
        }
        self.text.push('\n');
    }
}

fn has_example(section: &'static Section) -> bool {
    section.keys.iter().any(|key| {
        key.example.is_some()
            || match key.shape {
                Shape::Section(inner) | Shape::List(Shape::Section(inner)) => has_example(inner),
                _ => false,
            }
    })
}

/// A value in the line of a variant: its keys, where it is a list of mappings.
fn in_short(shape: &'static Shape) -> String {
    let Shape::List(Shape::Section(inner)) = shape else { return "…".to_owned() };
    let keys: Vec<String> = inner.keys.iter().map(|key| format!("{}: …", key.name)).collect();
    format!("[{{{}}}]", keys.join(", "))
}

fn variants_of(shape: &'static Shape) -> Option<&'static Variants> {
    match shape {
        Shape::Variants(variants) => Some(variants()),
        Shape::List(inner) | Shape::Names(inner) => variants_of(inner),
        Shape::Or(one, other) => variants_of(one).or_else(|| variants_of(other)),
        _ => None,
    }
}

/// What a key that is not in the example would hold.
fn absent(key: &Key) -> String {
    match key.need {
        Need::Default(value) => super::literal(value),
        _ => "…".to_owned(),
    }
}
