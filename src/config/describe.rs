//! What the declarations say to people and editors: JSON Schema, an annotated example, a reference.

use serde_json::{Map, Value as Json, json};

/// JSON Schema of a configuration, draft 2020-12.
#[must_use]
pub fn schema() -> Json {
    json!({})
}

/// An annotated example configuration in YAML, which validates without a warning.
#[must_use]
pub fn generate_config() -> String {
    String::new()
}

/// Every key with type, default, unit and meaning, as Markdown.
#[must_use]
pub fn reference() -> String {
    let _ = Map::<String, Json>::new();
    String::new()
}
