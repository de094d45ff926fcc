//! Lines and tables in an order, for people.

use super::Table;
use super::text::{ALL, Fit, WIDTH, laid_out, paragraph};

/// A piece of a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// A title.
    Title(String),
    /// A text after a word of what it is about, which is as wide as `indent`; without the word it belongs to the line before.
    Line {
        /// The word.
        head: String,
        /// Columns before the text in a terminal.
        indent: usize,
        /// The text.
        text: String,
    },
    /// A table as wide as a terminal; columns that do not fit go below.
    Table(Table),
    /// A table as wide as it is.
    Wide(Table),
    /// Lines as they are: a plot in characters.
    Drawn(String),
    /// A gap.
    Gap,
}

/// Pieces in an order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document(pub Vec<Block>);

impl Block {
    /// A line with a word in front.
    pub fn line(head: impl Into<String>, indent: usize, text: impl Into<String>) -> Self {
        Self::Line { head: head.into(), indent, text: text.into() }
    }

    fn text(&self) -> String {
        match self {
            Self::Title(title) => format!("{title}\n"),
            Self::Line { head, indent, text } => paragraph(head, *indent, text),
            Self::Table(table) => table.text(WIDTH),
            Self::Wide(table) => table.text(ALL),
            Self::Drawn(lines) => lines.clone(),
            Self::Gap => "\n".to_owned(),
        }
    }

    fn markdown(&self) -> String {
        match self {
            Self::Title(title) => format!("\n### {}\n\n", escaped(title)),
            Self::Line { head, text, .. } if head.trim().is_empty() => format!("  - {}\n", escaped(text)),
            Self::Line { head, text, .. } => {
                let depth = head.len() - head.trim_start().len();
                format!("{:depth$}- **{}**: {}\n", "", escaped(head.trim().trim_end_matches(':')), escaped(text))
            }
            Self::Table(table) | Self::Wide(table) => table.markdown(),
            Self::Drawn(lines) => format!("\n```text\n{}\n```\n", lines.trim_matches('\n')),
            Self::Gap => "\n".to_owned(),
        }
    }
}

impl Document {
    /// For a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.iter().map(Block::text).collect()
    }

    /// As Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let text: String = self.0.iter().map(Block::markdown).collect();
        let mut lines: Vec<&str> = text.trim_matches('\n').split('\n').collect();
        lines.dedup_by(|line, before| line.is_empty() && before.is_empty());
        lines.join("\n") + "\n"
    }
}

impl Table {
    fn text(&self, width: usize) -> String {
        let heads = self.columns.iter().map(|column| column.head.clone()).collect();
        let rows = self.rows.iter().map(|row| row.iter().map(|cell| cell.shown.clone()).collect());
        let rows: Vec<Vec<String>> = std::iter::once(heads).chain(rows).collect();
        let words: Vec<bool> = self.columns.iter().map(|column| column.is_words).collect();
        let are_names_whole = self.columns.first().is_some_and(|column| column.is_whole);
        laid_out(&rows, &Fit { width, words: &words, are_names_whole })
    }

    /// As Markdown, with gaps around it.
    #[must_use]
    pub fn markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let heads = self.columns.iter().map(|column| escaped(column.head.trim())).collect();
        let rule = self.columns.iter().map(|column| if column.is_words { "---" } else { "---:" }.to_owned()).collect();
        let cells = |row: &Vec<super::Cell>| {
            let cell = |index| row.get(index).map_or(String::new(), |cell: &super::Cell| escaped(cell.shown.trim()));
            (0..self.columns.len()).map(cell).collect()
        };
        let rows = self.rows.iter().map(|row| line(cells(row)));
        format!("\n{}{}{}\n", line(heads), line(rule), rows.collect::<String>())
    }
}

/// Text that Markdown shows as it is: in a cell, on one line.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push(' '),
            '|' | '*' | '_' | '`' | '<' | '[' | '\\' => shown.extend(['\\', c]),
            _ => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::{Cell, Column};

    #[test]
    fn markdown_has_lists_tables_and_escapes_what_names_hold() {
        let table = Table {
            columns: vec![Column::words("name", "Name"), Column::figures("busy", "busy")],
            rows: vec![vec![Cell::of("  a|b_c"), Cell::of("5 %")], vec![Cell::of("… 3 between")]],
        };
        let document = Document(vec![
            Block::line("Load", 12, "all *at* once"),
            Block::line("", 12, "more"),
            Block::Gap,
            Block::Table(table),
            Block::Drawn("\n|█ |\n".to_owned()),
        ]);
        let expected = "- **Load**: all \\*at\\* once\n  - more\n\n| Name | busy |\n| --- | ---: |\n| a\\|b\\_c | 5 % |\n| … 3 between |  |\n\n```text\n|█ |\n```\n";
        assert_eq!(document.markdown(), expected);
    }
}
