//! Tables of columns that know what they are: results, intervals.

use std::collections::BTreeMap;

use super::figure::Figure;
use super::grid::{Axis, Grid};
use super::metrics::is_metric;
use super::values::plain;
use crate::config::{Value, parse_value};

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Its columns, all of one length.
    pub columns: Vec<Column>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What is known of it, for readers: `kind`, `unit`, `key`, `summary`.
    pub notes: Vec<(&'static str, String)>,
    /// What is in it.
    pub cells: Cells,
}

/// The values of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Cells {
    /// Counts.
    Integers(Vec<Option<i64>>),
    /// Measures.
    Floats(Vec<Option<f64>>),
    /// Yes or no.
    Flags(Vec<Option<bool>>),
    /// Words.
    Texts(Vec<Option<String>>),
}

impl Table {
    /// How many rows it has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |column| column.cells.len())
    }

    /// The column of a name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

impl Column {
    pub(super) fn new(name: &str, kind: &str, unit: &str, cells: Cells) -> Self {
        let notes = [("kind", kind), ("unit", unit)].into_iter().filter(|(_, text)| !text.is_empty());
        Self { name: name.to_owned(), notes: notes.map(|(key, text)| (key, text.to_owned())).collect(), cells }
    }

    pub(super) fn noting(mut self, key: &'static str, text: String) -> Self {
        self.notes.push((key, text));
        self
    }

    /// Whether it is a setting's.
    #[must_use]
    pub fn is_setting(&self) -> bool {
        self.notes.contains(&("kind", "setting".to_owned()))
    }
}

impl Cells {
    fn len(&self) -> usize {
        match self {
            Self::Integers(cells) => cells.len(),
            Self::Floats(cells) => cells.len(),
            Self::Flags(cells) => cells.len(),
            Self::Texts(cells) => cells.len(),
        }
    }

    /// The cell of a row.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<Figure> {
        match self {
            Self::Integers(cells) => cells[row].map(Figure::Integer),
            Self::Floats(cells) => cells[row].map(Figure::Float),
            Self::Flags(cells) => cells[row].map(Figure::Flag),
            Self::Texts(cells) => cells[row].clone().map(Figure::Text),
        }
    }

    /// The narrowest column that holds all of the figures.
    pub(super) fn of(figures: Vec<Option<Figure>>) -> Self {
        let all = |is: fn(&Figure) -> bool| figures.iter().flatten().all(is);
        if all(|figure| matches!(figure, Figure::Integer(_))) {
            Self::Integers(figures.iter().map(|figure| figure.as_ref().and_then(Figure::as_i64)).collect())
        } else if all(|figure| figure.as_f64().is_some()) {
            Self::Floats(figures.iter().map(|figure| figure.as_ref().and_then(Figure::as_f64)).collect())
        } else if all(|figure| matches!(figure, Figure::Flag(_))) {
            let flag = |figure: Option<Figure>| figure.map(|figure| figure == Figure::Flag(true));
            Self::Flags(figures.into_iter().map(flag).collect())
        } else {
            let text = |figure| match figure {
                Figure::Text(text) => text,
                other => serde_json::to_string(&other).expect("a number or flag is JSON"),
            };
            Self::Texts(figures.into_iter().map(|figure| figure.map(text)).collect())
        }
    }
}

/// The names of the columns of keys, in order: as few of a key's last words as tell it from others and from metrics.
#[must_use]
pub fn setting_names(grid: &Grid) -> Vec<String> {
    let reserved =
        |name: &str| ["point", "status", "error", "metric", "unit", "seeds", "mean"].contains(&name) || is_metric(name);
    let keys: Vec<&str> = grid.keys().collect();
    let last = |key: &str, words: usize| match key.strip_prefix("--") {
        Some(flag) => flag.replace('-', "_"),
        None => {
            let skipped = key.split('.').count().saturating_sub(words);
            key.split('.').skip(skipped).collect::<Vec<_>>().join(".")
        }
    };
    let name = |key: &str| {
        let most = key.split('.').count();
        let is_unique = |words: usize| {
            let name = last(key, words);
            !reserved(&name) && keys.iter().filter(|other| last(other, words) == name).count() == 1
        };
        (1..=most).find(|&words| is_unique(words)).map_or_else(|| key.to_owned(), |words| last(key, words))
    };
    let mut names: Vec<String> = keys.iter().map(|key| name(key)).collect();
    // Of different lengths they could still meet.
    for index in 0..names.len() {
        if names[..index].contains(&names[index]) {
            names[index] = keys[index].to_owned();
        }
    }
    names
}

/// The columns of what is swept, for these points.
pub(super) fn setting_columns(grid: &Grid, points: &[usize]) -> Vec<Column> {
    let figures: Vec<_> = grid.axes().iter().flat_map(values_by_text).collect();
    let column = |(index, (key, name)): (usize, (&str, String))| {
        // The type is that of all values that the key has in the grid, not only at these points.
        let all = Cells::of(figures[index].values().cloned().map(Some).collect());
        let of_points =
            points.iter().map(|&point| figures[index].get(grid.settings(point)[index].1).cloned()).collect();
        Column::new(&name, "setting", "", as_type_of(&all, of_points)).noting("key", key.to_owned())
    };
    grid.keys().zip(setting_names(grid)).enumerate().map(column).collect()
}

/// What each text of an axis means, key by key.
fn values_by_text(axis: &Axis) -> Vec<BTreeMap<&str, Figure>> {
    let of_key = |index: usize| axis.rows.iter().map(|row| (row[index].as_str(), figure(&row[index]))).collect();
    (0..axis.keys.len()).map(of_key).collect()
}

fn figure(text: &str) -> Figure {
    match parse_value(text) {
        Ok(Value::Flag(flag)) => Figure::Flag(flag),
        Ok(Value::Integer(number)) => {
            i64::try_from(number).map_or_else(|_| Figure::Text(text.to_owned()), Figure::Integer)
        }
        Ok(Value::Number(number)) => Figure::Float(number),
        _ => Figure::Text(plain(text)),
    }
}

fn as_type_of(all: &Cells, figures: Vec<Option<Figure>>) -> Cells {
    match (all, Cells::of(figures.clone())) {
        (Cells::Floats(_), Cells::Integers(cells)) => {
            Cells::Floats(cells.into_iter().map(|cell| cell.map(|number| number as f64)).collect())
        }
        (Cells::Texts(_), Cells::Texts(cells)) => Cells::Texts(cells),
        (Cells::Texts(_), _) => {
            let word = |figure: Figure| serde_json::to_string(&figure).expect("a number or flag is JSON");
            Cells::Texts(figures.into_iter().map(|figure| figure.map(word)).collect())
        }
        (_, cells) => cells,
    }
}
