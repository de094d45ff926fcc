//! A sweep as it is printed: headlines for people, a row a setting; everything for programs, a row a point.

use super::columns::{Column, Table};
use super::figure::Figure;
use super::grid::{Grid, SEED};
use super::journal::{Record, Status};
use super::results::{Interval, results, settings};
use crate::config::printable;
use crate::output::Named;

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Aligned columns.
    Table,
    /// A table of Markdown.
    Markdown,
    /// Lines with commas, all columns.
    Csv,
    /// A list of objects, all columns.
    Json,
}

/// The metrics that people are shown first, and what they are called.
const HEADLINES: [(&str, &str); 9] = [
    ("requests_per_s", "req/s"),
    ("output_tokens_per_s", "tok/s"),
    ("ttft_p50_ms", "TTFT p50 ms"),
    ("ttft_p99_ms", "TTFT p99 ms"),
    ("tpot_p50_ms", "TPOT p50 ms"),
    ("tpot_p99_ms", "TPOT p99 ms"),
    ("goodput_requests_per_s", "good/s"),
    ("slo_attainment", "SLO met"),
    ("keeps_up", "keeps up"),
];

/// The points of a sweep in text.
///
/// # Errors
/// What cannot be written as text; there is nothing of the kind.
pub fn listed<'a>(
    grid: &Grid,
    records: impl IntoIterator<Item = &'a Record>,
    listing: Listing,
) -> Result<String, String> {
    let records: Vec<&Record> = records.into_iter().collect();
    let table = results(grid, &records);
    match listing {
        Listing::Table => Ok(aligned(&headlines(grid, &records, &table))),
        Listing::Markdown => Ok(markdown(&headlines(grid, &records, &table))),
        Listing::Csv => csv(&table),
        Listing::Json => json(&table),
    }
}

/// Rows of cells, the first of them the heads; settings first.
fn headlines(grid: &Grid, records: &[&Record], table: &Table) -> Vec<Vec<String>> {
    let is_seed = |column: &&Column| column.notes.contains(&("key", SEED.to_owned()));
    let of_settings = table.columns.iter().filter(|column| column.is_setting());
    let of_settings: Vec<&Column> = of_settings.filter(|column| grid.seeds() == 1 || !is_seed(column)).collect();
    let metrics = HEADLINES.iter().filter_map(|(name, head)| Some((table.column(name)?, *head)));
    let metrics: Vec<(&Column, &str)> = metrics.collect();
    let all_well = records.iter().all(|record| record.status == Status::Ok);
    let heads = of_settings.iter().map(|column| column.name.clone());
    let heads = heads.chain(metrics.iter().map(|(_, head)| (*head).to_owned()));
    let heads = heads.chain((!all_well).then(|| "status".to_owned()));
    let row = |group: std::ops::Range<usize>| {
        let first = group.start;
        let settings =
            of_settings.iter().map(|column| printable(&column.cells.get(first).map_or_else(String::new, words)));
        let metrics = metrics.iter().map(|(column, _)| {
            let figures: Vec<Figure> = group.clone().filter_map(|row| column.cells.get(row)).collect();
            cell(&column.name, &figures, group.len())
        });
        let status = (!all_well).then(|| {
            let trouble = group.clone().map(|row| records[row].status).find(|status| *status != Status::Ok);
            trouble.unwrap_or(Status::Ok).word().to_owned()
        });
        settings.chain(metrics).chain(status).collect()
    };
    std::iter::once(heads.collect()).chain(settings(grid, records).into_iter().map(row)).collect()
}

fn words(figure: Figure) -> String {
    match figure {
        Figure::Text(text) => text,
        other => serde_json::to_string(&other).unwrap_or_default(),
    }
}

/// Of one run the figure, of several the mean with half of its interval.
fn cell(name: &str, figures: &[Figure], runs: usize) -> String {
    if name == "keeps_up" {
        let yes = figures.iter().filter(|figure| **figure == Figure::Flag(true)).count();
        return match figures.len() {
            0 => "?".to_owned(),
            _ if yes == runs => "yes".to_owned(),
            _ if yes == 0 => "no".to_owned(),
            _ => format!("{yes} of {runs}"),
        };
    }
    let values: Vec<f64> = figures.iter().filter_map(Figure::as_f64).collect();
    let share = name == "slo_attainment";
    let text = |value: f64, of: f64| if share { format!("{:.1} %", 100.0 * value) } else { rounded(value, of) };
    match Interval::of(&values) {
        None => "-".to_owned(),
        Some(Interval { mean, half_width: None, .. }) => text(mean, mean),
        Some(Interval { mean, half_width: Some(half), .. }) => format!("{} ±{}", text(mean, mean), text(half, mean)),
    }
}

/// A figure with the decimals that one of this size needs.
fn rounded(value: f64, of: f64) -> String {
    let decimals = match of.abs() {
        1000.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

/// Words to the left, figures to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let length = |text: &String| text.chars().count();
    let width = |column: usize| rows.iter().map(|row| length(&row[column])).max().unwrap_or(0);
    let is_figure = |text: &String| text.starts_with(|first: char| first.is_ascii_digit() || "-?.".contains(first));
    let is_right = |column: usize| rows.iter().skip(1).all(|row| is_figure(&row[column]));
    let layout: Vec<(usize, bool)> = (0..columns).map(|column| (width(column), is_right(column))).collect();
    let line =
        |row: &Vec<String>| {
            let cells = row.iter().zip(&layout).map(|(cell, &(width, is_right))| {
                if is_right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
        };
    rows.iter().map(line).collect()
}

fn markdown(rows: &[Vec<String>]) -> String {
    let escaped = |cell: &String| cell.replace('\\', "\\\\").replace('|', "\\|").replace('\n', " ");
    let line = |row: &Vec<String>| format!("| {} |\n", row.iter().map(escaped).collect::<Vec<_>>().join(" | "));
    let Some((heads, rows)) = rows.split_first() else { return String::new() };
    let rule = format!("|{}\n", " --- |".repeat(heads.len()));
    line(heads) + &rule + &rows.iter().map(line).collect::<String>()
}

fn csv(table: &Table) -> Result<String, String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let heads = writer.write_record(table.columns.iter().map(|column| &column.name));
    let rows = (0..table.rows()).map(|row| {
        let cells = table.columns.iter().map(|column| column.cells.get(row).map_or_else(String::new, words));
        writer.write_record(cells)
    });
    let written: Result<(), csv::Error> = rows.collect();
    heads.and(written).map_err(|error| error.to_string())?;
    let bytes = writer.into_inner().map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

fn json(table: &Table) -> Result<String, String> {
    let cell = |row| move |column: &Column| (column.name.clone(), column.cells.get(row));
    let rows = (0..table.rows()).map(|row| Named(table.columns.iter().map(cell(row)).collect()));
    let rows: Vec<Named<Option<Figure>>> = rows.collect();
    serde_json::to_string_pretty(&rows).map(|text| text + "\n").map_err(|error| error.to_string())
}
