//! A grid in a file: `product` and `zip` of lists and ranges, `seeds`.

use crate::config::{At, Diagnostic, Diagnostics, Node, Value, parse_tree, parse_value};

use super::grid::{Axis, SEED};
use super::values::range;

const SECTIONS: [&str; 3] = ["product", "zip", "seeds"];

/// The axes of a grid, in the order of the file.
///
/// # Errors
/// Everything that is wrong with it, in order; messages call it `name`.
pub fn read_grid(bytes: &[u8], name: &str) -> Result<Vec<Axis>, Vec<Diagnostic>> {
    let mut diagnostics = Diagnostics::new(name);
    let mut axes = Vec::new();
    if let Some(root) = parse_tree(bytes, &mut diagnostics) {
        let at = At::root(root.mark);
        let Value::Mapping(sections) = &root.value else {
            diagnostics.error_with(&at, format!("expected a mapping, found {}", root.value), example());
            return Err(diagnostics.into_sorted());
        };
        for section in sections {
            let at = at.key(&section.key, section.mark);
            match section.key.as_str() {
                "product" => axes.extend(product(&section.value, &at, &mut diagnostics)),
                "zip" => axes.extend(zips(&section.value, &at, &mut diagnostics)),
                "seeds" => axes.extend(seeds(&section.value, &at, &mut diagnostics)),
                other if other.contains('.') || other.starts_with("--") => {
                    diagnostics.error_with(&at, "a key stands below product or zip", example());
                }
                other => diagnostics.unknown(&at, "unknown key of a grid", other, SECTIONS),
            }
        }
        if axes.is_empty() && !diagnostics.has_errors() {
            diagnostics.error_with(&at, "the grid is empty", example());
        }
    }
    if diagnostics.has_errors() { Err(diagnostics.into_sorted()) } else { Ok(axes) }
}

fn example() -> &'static str {
    "write product: {KEY: [1, 2, 5], KEY: 64..256:64}, zip: {KEY: [a, b], KEY: [c, d]} or seeds: 5"
}

fn product(node: &Node, at: &At, diagnostics: &mut Diagnostics) -> Vec<Axis> {
    columns(node, at, diagnostics).into_iter().map(|(key, values)| Axis::of(&key, values)).collect()
}

/// A mapping, or a list of mappings, each an axis.
fn zips(node: &Node, at: &At, diagnostics: &mut Diagnostics) -> Vec<Axis> {
    let mut axes = Vec::new();
    let mut add = |node: &Node, at: &At, diagnostics: &mut Diagnostics| {
        match Axis::zip(columns(node, at, diagnostics)) {
            Ok(axis) => axes.push(axis),
            Err(message) => diagnostics.error(at, message),
        };
    };
    match &node.value {
        Value::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                add(item, &at.item(index, item.mark), diagnostics);
            }
        }
        _ => add(node, at, diagnostics),
    }
    axes
}

fn seeds(node: &Node, at: &At, diagnostics: &mut Diagnostics) -> Option<Axis> {
    let values = match node.value {
        Value::Integer(count) if (1..=1_000_000).contains(&count) => (1..=count).map(|seed| seed.to_string()).collect(),
        Value::Integer(count) => {
            diagnostics.error(at, format!("{count} is no number of seeds"));
            return None;
        }
        _ => values(node, at, diagnostics)?,
    };
    Some(Axis::of(SEED, values))
}

/// Each key of a mapping with its values.
fn columns(node: &Node, at: &At, diagnostics: &mut Diagnostics) -> Vec<(String, Vec<String>)> {
    let Value::Mapping(entries) = &node.value else {
        diagnostics.error_with(at, format!("expected a mapping, found {}", node.value), example());
        return Vec::new();
    };
    if entries.is_empty() {
        diagnostics.error_with(at, "no key is in it", example());
    }
    let column = |entry: &crate::config::Entry| {
        let at = at.key(&entry.key, entry.mark);
        Some((entry.key.clone(), values(&entry.value, &at, diagnostics)?))
    };
    entries.iter().filter_map(column).collect()
}

/// A list, whose items may be ranges, a range, or a value.
fn values(node: &Node, at: &At, diagnostics: &mut Diagnostics) -> Option<Vec<String>> {
    let items = match &node.value {
        Value::Sequence(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut values = Vec::new();
    for item in items {
        let counted = if let Value::Text(text) = &item.value { range(text) } else { Ok(None) };
        match counted {
            Ok(Some(range)) => values.extend(range),
            Ok(None) => values.push(yaml(item)),
            Err(message) => {
                diagnostics.error(&At { mark: item.mark, ..at.clone() }, message);
                return None;
            }
        }
    }
    if values.is_empty() {
        diagnostics.error(at, "the list is empty");
        return None;
    }
    Some(values)
}

/// A value as text that is read as the same value.
fn yaml(node: &Node) -> String {
    match &node.value {
        Value::Text(text) if matches!(parse_value(text), Ok(Value::Text(read)) if read == *text) => text.clone(),
        Value::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        Value::Null => "null".to_owned(),
        Value::Flag(flag) => flag.to_string(),
        Value::Integer(number) => number.to_string(),
        // With a point: what was a float is read as one.
        Value::Number(number) if number.is_finite() => serde_json::Value::from(*number).to_string(),
        Value::Number(number) if number.is_nan() => ".nan".to_owned(),
        Value::Number(number) => if *number > 0.0 { ".inf" } else { "-.inf" }.to_owned(),
        Value::Sequence(items) => {
            format!("[{}]", items.iter().map(inner).collect::<Vec<_>>().join(", "))
        }
        Value::Mapping(entries) => {
            let entry = |entry: &crate::config::Entry| {
                format!("{}: {}", serde_json::Value::from(entry.key.as_str()), inner(&entry.value))
            };
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

/// The same within brackets, where every text is quoted.
fn inner(node: &Node) -> String {
    match &node.value {
        Value::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        _ => yaml(node),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(text: &str) -> String {
        let found = read_grid(text.as_bytes(), "grid.yaml").expect_err("it is refused");
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_grid_holds_products_zips_and_seeds() {
        let text = "product:\n  a.b: [1, 2.5, x, \"1\", 4..6]\n  --rate: 1..4:*2\nzip:\n  - {c: [1, 2], d: [{e: f}, [1, g]]}\nseeds: 2\n";
        let axes = read_grid(text.as_bytes(), "grid.yaml").expect("it is a grid");
        let of = |key: &str, values: &[&str]| Axis::of(key, values.iter().map(|value| (*value).to_owned()).collect());
        assert_eq!(axes[0], of("a.b", &["1", "2.5", "x", "\"1\"", "4", "5", "6"]));
        assert_eq!(axes[1], of("--rate", &["1", "2", "4"]));
        assert_eq!(axes[2].keys, ["c", "d"]);
        assert_eq!(axes[2].rows, [["1", "{\"e\": \"f\"}"], ["2", "[1, \"g\"]"]]);
        assert_eq!(axes[3], of(SEED, &["1", "2"]));
    }

    #[test]
    fn what_is_no_grid_is_refused_with_its_place() {
        for (text, said) in [
            ("", "expected a mapping"),
            ("{}", "the grid is empty"),
            ("produkt: {a: [1]}", "grid.yaml:1:1: error: produkt: unknown key of a grid; did you mean"),
            ("a.b: [1]", "a key stands below product or zip"),
            ("product: {a: []}", "product.a: the list is empty"),
            ("product: {}", "no key is in it"),
            ("zip: {a: [1, 2], b: [1]}", "a has 2 values and b has 1"),
            ("seeds: 0", "no number of seeds"),
            ("product: {a: [1, 9..2]}", "the range is empty"),
            ("product: [", "grid.yaml:1"),
        ] {
            assert!(complaints(text).contains(said), "{text}: {}", complaints(text));
        }
    }
}
