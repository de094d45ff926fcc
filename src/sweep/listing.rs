//! A sweep as it is printed: headlines for people, a row a setting; everything for programs, a row a point.

use super::columns::{Cells, Column, Table as Results};
use super::figure::Figure;
use super::grid::{Grid, SEED};
use super::journal::{Record, Status};
use super::metrics::{ACCURACY, NOTES, UNMEASURED_KERNELS, sentences};
use super::results::{Interval, results, settings};
use crate::config::printable;
use crate::output::Named;
use crate::tables::{self, Block, Cell, Document, Findings, Table};

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

/// The points of a sweep.
pub struct Points<'a> {
    grid: &'a Grid,
    records: Vec<&'a Record>,
    results: Results,
}

impl<'a> Points<'a> {
    /// These points, in the order of the grid.
    pub fn new(grid: &'a Grid, records: impl IntoIterator<Item = &'a Record>) -> Self {
        let records: Vec<&Record> = records.into_iter().collect();
        let results = results(grid, &records);
        Self { grid, records, results }
    }
}

/// Columns of the words that lines begin with.
const INDENT: usize = 12;
/// Notes, and kinds of deployments of which it is said how far off their figures are.
const MOST_KINDS: usize = 8;

impl Points<'_> {
    /// What to know of these figures, each once: notes, how far off others of their kinds were, and which kernels nobody has
    /// measured.
    fn caveats(&self) -> Vec<Block> {
        let told = |name: &str| match self.results.column(name).map(|column| &column.cells) {
            Some(Cells::Texts(cells)) => sentences(cells.iter().flatten().map(String::as_str)),
            _ => Vec::new(),
        };
        let (accuracy, unmeasured) = (told(ACCURACY), told(UNMEASURED_KERNELS));
        let notes = told(NOTES);
        let more = notes.len().saturating_sub(MOST_KINDS);
        let more = (more > 0).then(|| format!("and {more} more: see the column {NOTES} of the table"));
        let notes = notes.into_iter().take(MOST_KINDS).chain(more).map(|note| Block::line("Note", INDENT, note));
        let more = accuracy.len().saturating_sub(MOST_KINDS);
        let told = accuracy.into_iter().take(MOST_KINDS).map(|sentence| Block::line("Accuracy", INDENT, sentence));
        let more = (more > 0).then(|| format!("and of {more} more kinds: see the column {ACCURACY} of the table"));
        let behind = more.into_iter().chain(unmeasured.into_iter().take(MOST_KINDS));
        let mut lines: Vec<Block> =
            notes.chain(told).chain(behind.map(|sentence| Block::line("", INDENT, sentence))).collect();
        if !lines.is_empty() {
            lines.push(Block::Gap);
        }
        lines
    }
}

impl Findings for Points<'_> {
    fn document(&self) -> Document {
        let mut blocks = self.caveats();
        blocks.push(Block::Wide(headlines(self.grid, &self.records, &self.results)));
        Document(blocks)
    }

    fn records(&self) -> Table {
        let columns = self.results.columns.iter().map(|column| tables::Column::words(&column.name, &column.name));
        let cell = |row| move |column: &Column| Cell::of(column.cells.get(row).map_or_else(String::new, words));
        let rows = (0..self.results.rows()).map(|row| self.results.columns.iter().map(cell(row)).collect());
        Table { columns: columns.collect(), rows: rows.collect() }
    }

    fn json(&self) -> String {
        let cell = |row| move |column: &Column| (column.name.clone(), column.cells.get(row));
        let rows = (0..self.results.rows()).map(|row| Named(self.results.columns.iter().map(cell(row)).collect()));
        let rows: Vec<Named<Option<Figure>>> = rows.collect();
        serde_json::to_string_pretty(&rows).expect("names are keys, and figures are finite") + "\n"
    }
}

/// A row a setting; what was set comes first.
fn headlines(grid: &Grid, records: &[&Record], table: &Results) -> Table {
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
    let rows: Vec<Vec<String>> = settings(grid, records).into_iter().map(row).collect();
    let is_figure = |text: &String| text.starts_with(|first: char| first.is_ascii_digit() || "-?.".contains(first));
    let column = |(index, head): (usize, String)| tables::Column {
        is_words: !rows.iter().all(|row| is_figure(&row[index])),
        ..tables::Column::figures(&head, &head)
    };
    Table {
        columns: heads.enumerate().map(column).collect(),
        rows: rows.iter().map(|row| row.iter().map(Cell::of).collect()).collect(),
    }
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
