//! What a command found, in every form that it can be printed in: text for a terminal and Markdown of its [`Document`], CSV of its
//! records, JSON.
//!
//! A figure has one place: a [`Cell`] holds it as it is, for programs, and as it is read, for people.

mod csv;
mod document;
mod flat;
mod text;

use serde_json::Value;

pub use document::{Block, Document};
pub use flat::{flat, flat_rows};
pub(crate) use text::{figure, percent, shortened};

/// Between several sentences in one cell.
pub(crate) const BETWEEN_SENTENCES: &str = " | ";

/// What a command found.
pub trait Findings {
    /// For people.
    fn document(&self) -> Document;
    /// For programs that read tables: a row a thing, full digits.
    fn records(&self) -> Table;
    /// For programs that read JSON.
    fn json(&self) -> String;
}

/// JSON over several lines, as all commands print it.
#[must_use]
pub fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Rows under columns. A row may end early.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// What the cells are.
    pub columns: Vec<Column>,
    /// The cells.
    pub rows: Vec<Vec<Cell>>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name for programs.
    pub key: String,
    /// Its head for people.
    pub head: String,
    /// Words stand to the left, figures to the right.
    pub is_words: bool,
    /// Of a first column: its names tell most, so others go below each other rather than that they are shortened much.
    pub is_whole: bool,
}

/// A cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// With all digits; empty where there is nothing.
    pub exact: String,
    /// As it is read.
    pub shown: String,
}

impl Column {
    /// A column of figures.
    pub fn figures(key: impl Into<String>, head: impl Into<String>) -> Self {
        Self { key: key.into(), head: head.into(), is_words: false, is_whole: false }
    }

    /// A column of words.
    pub fn words(key: impl Into<String>, head: impl Into<String>) -> Self {
        Self { is_words: true, ..Self::figures(key, head) }
    }
}

impl Cell {
    /// A word, or a whole number.
    pub fn of(what: impl ToString) -> Self {
        let exact = what.to_string();
        Self { shown: exact.clone(), exact }
    }

    /// A figure and how it is read.
    #[must_use]
    pub fn figure(value: f64, shown: String) -> Self {
        Self { exact: value.to_string(), shown }
    }

    /// A figure and how it is read, or a dash.
    #[must_use]
    pub fn figure_or_dash(value: Option<f64>, shown: impl Fn(f64) -> String) -> Self {
        value.map_or_else(Self::dash, |value| Self::figure(value, shown(value)))
    }

    /// Nothing.
    #[must_use]
    pub fn dash() -> Self {
        Self { exact: String::new(), shown: "-".to_owned() }
    }
}

impl Table {
    /// A table of shown text alone: heads, then rows; names in the first column, figures in the others.
    #[must_use]
    pub fn shown(heads: &[String], rows: Vec<Vec<String>>) -> Self {
        let column = |(index, head): (usize, &String)| Column { is_words: index == 0, ..Column::figures(head, head) };
        Self {
            columns: heads.iter().enumerate().map(column).collect(),
            rows: rows.into_iter().map(|row| row.into_iter().map(Cell::of).collect()).collect(),
        }
    }
}
