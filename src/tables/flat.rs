//! JSON as a table of two columns, for what has no rows of its own.

use serde_json::Value;

use super::{Cell, Column, Table};

/// A row a figure: where it stands (`latency.time_to_first_token_ms.p99`, `windows[0].window_s`), and the figure.
#[must_use]
pub fn flat(value: &Value) -> Table {
    let mut rows = Vec::new();
    collect(String::new(), value, &mut rows);
    Table { columns: vec![Column::words("key", "key"), Column::words("value", "value")], rows }
}

/// A row each, of things that are alike: a column for every place that one of them has.
#[must_use]
pub fn flat_rows(values: &[Value]) -> Table {
    let rows: Vec<Table> = values.iter().map(flat).collect();
    let mut keys: Vec<String> = Vec::new();
    for row in rows.iter().flat_map(|table| &table.rows) {
        if !keys.contains(&row[0].exact) {
            keys.push(row[0].exact.clone());
        }
    }
    let cell = |table: &Table, key: &String| {
        table.rows.iter().find(|row| row[0].exact == *key).map_or_else(Cell::default, |row| row[1].clone())
    };
    let rows = rows.iter().map(|table| keys.iter().map(|key| cell(table, key)).collect()).collect();
    Table { columns: keys.iter().map(|key| Column::words(key, key)).collect(), rows }
}

fn collect(path: String, value: &Value, rows: &mut Vec<Vec<Cell>>) {
    match value {
        Value::Object(fields) => {
            let dot = if path.is_empty() { "" } else { "." };
            fields.iter().for_each(|(key, value)| collect(format!("{path}{dot}{key}"), value, rows));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| collect(format!("{path}[{index}]"), value, rows));
        }
        Value::Null => rows.push(vec![Cell::of(path), Cell::of("")]),
        Value::String(text) => rows.push(vec![Cell::of(path), Cell::of(text)]),
        plain => rows.push(vec![Cell::of(path), Cell::of(plain)]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_figure_has_a_path() {
        let table = flat(&json!({"a": {"b": 1.5, "c": [true, null]}, "d": "x"}));
        assert_eq!(table.csv(), "key,value\na.b,1.5\na.c[0],true\na.c[1],\nd,x\n");
        let table = flat_rows(&[json!({"a": 1, "b": {"c": 2}}), json!({"a": 3, "d": "x"})]);
        assert_eq!(table.csv(), "a,b.c,d\n1,2,\n3,,x\n");
    }
}
