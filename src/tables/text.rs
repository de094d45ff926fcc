//! Text for a terminal of [`WIDTH`] columns: tables whose columns never run together, figures that stay short, lines that
//! are broken at words.

/// Columns of a terminal that a table is made for.
pub(super) const WIDTH: usize = 100;
/// As wide as it is.
pub(super) const ALL: usize = usize::MAX;
/// Spaces between two columns.
const GAP: usize = 2;
/// A first column is not shortened below this.
const LEAST_NAME: usize = 12;
/// One whose names tell most is not below this.
const LEAST_WHOLE_NAME: usize = 40;

/// Before what of a name did not fit a line.
const CONTINUED: &str = "  ";

/// How rows are laid out.
pub(super) struct Fit<'a> {
    /// Columns of the terminal.
    pub(super) width: usize,
    /// For each column, whether it holds words.
    pub(super) words: &'a [bool],
    /// The first column's names tell most.
    pub(super) are_names_whole: bool,
}

/// Rows of cells, the first of them the heads: words to the left, figures to the right. Columns that do not fit beside each
/// other go below, with the names of the first column again.
pub(super) fn laid_out(rows: &[Vec<String>], fit: &Fit<'_>) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| length(cell)).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let Some((&names, figures)) = widths.split_first() else { return String::new() };
    let widest = figures.iter().max().map_or(0, |width| width + GAP);
    let all: usize = figures.iter().map(|width| width + GAP).sum();
    let room = fit.width.saturating_sub(all);
    let least = if fit.are_names_whole { names.clamp(LEAST_NAME, LEAST_WHOLE_NAME) } else { LEAST_NAME };
    let room = if room >= least { room } else { fit.width.saturating_sub(widest).min(fit.width / 2) };
    let names = names.min(room);
    let mut text = String::new();
    let mut first = 1;
    while first < columns || first == 1 {
        let last = first + fitting(&widths[first.min(columns)..], fit.width - names);
        for row in rows {
            let name = row.first().map_or("", String::as_str);
            let is_words = fit.words.first().is_none_or(|is_words| *is_words);
            let mut parts = if fit.are_names_whole { wrapped(name, names) } else { vec![shortened(name, names)] };
            let rest = parts.split_off(1);
            // What has no figures beside it needs no column.
            let mut line = match parts.remove(0) {
                _ if row.len() == 1 => name.to_owned(),
                name if is_words => padded(&name, names),
                figure => format!("{figure:>names$}"),
            };
            for column in first..last.min(row.len()) {
                let (cell, width) = (&row[column], widths[column]);
                let is_words = fit.words.get(column).is_some_and(|is_words| *is_words);
                line += &if is_words { format!("  {cell:<width$}") } else { format!("  {cell:>width$}") };
            }
            let rest = if row.len() == 1 { Vec::new() } else { rest };
            for line in std::iter::once(line).chain(rest) {
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
        first = last;
        if first == 1 {
            break;
        }
    }
    text
}

/// A name on as many lines of `most` characters as it takes, broken at words where they are not longer than a line.
fn wrapped(name: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in name.split(' ') {
        let line = lines.last_mut().expect("there is one");
        if line.is_empty() {
            line.push_str(word);
        } else if length(line) + 1 + length(word) <= most {
            *line += &format!(" {word}");
        } else {
            lines.push(format!("{CONTINUED}{word}"));
        }
        while let Some((end, _)) = lines.last().and_then(|line| line.char_indices().nth(most)) {
            let rest = lines.last_mut().expect("there is one").split_off(end);
            lines.push(format!("{CONTINUED}{rest}"));
        }
    }
    lines
}

/// How many of the columns fit, one at least if there is one.
fn fitting(widths: &[usize], room: usize) -> usize {
    let ends = widths.iter().scan(0, |end, width| {
        *end += width + GAP;
        Some(*end)
    });
    ends.take_while(|end| *end <= room).count().max(1).min(widths.len())
}

/// Text after a head of `indent` columns, broken at words; what follows the first line stands below its beginning.
pub(crate) fn paragraph(head: &str, indent: usize, text: &str) -> String {
    let mut lines = vec![padded(head, indent)];
    for word in words(text) {
        let line = lines.last_mut().expect("there is one");
        let is_empty = length(line) <= indent;
        if !is_empty && length(line) + 1 + length(&word) > WIDTH {
            lines.push(" ".repeat(indent) + &word);
        } else {
            if !is_empty {
                line.push(' ');
            }
            line.push_str(&word);
        }
    }
    lines.join("\n") + "\n"
}

/// Words, a figure and its unit as one.
fn words(text: &str) -> Vec<String> {
    const UNITS: [&str; 3] = ["%", "GiB", "s"];
    // A name may end in a digit, too; of letters figures have the one before a power of ten.
    let is_figure = |word: &str| {
        word.ends_with(|end: char| end.is_ascii_digit()) && !word.contains(|c: char| c.is_alphabetic() && c != 'e')
    };
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let is_unit = UNITS.contains(&word.trim_end_matches([',', ';', ':', ')']));
        match words.last_mut().filter(|last| is_unit && is_figure(last)) {
            Some(figure) => *figure += &format!(" {word}"),
            None => words.push(word.to_owned()),
        }
    }
    words
}

/// A figure with `decimals`, in powers of ten where these would say nothing or the digits would not end.
pub(crate) fn figure(value: f64, decimals: usize) -> String {
    const MOST: f64 = 1e9;
    let least = 0.5 * 10_f64.powi(-(decimals as i32));
    if value == 0.0 || (least..MOST).contains(&value.abs()) || !value.is_finite() {
        format!("{value:.decimals$}")
    } else {
        format!("{value:.2e}")
    }
}

/// A share as a percentage; a little of it is not nothing.
pub(crate) fn percent(share: f64) -> String {
    const LEAST: f64 = 0.0005;
    if share > 0.0 && share < LEAST { "<0.1 %".to_owned() } else { format!("{} %", figure(share * 100.0, 1)) }
}

/// A name of `most` characters at most, the middle left out if need be: ends tell names apart.
pub(crate) fn shortened(name: &str, most: usize) -> String {
    let count = length(name);
    if count <= most {
        return name.to_owned();
    }
    let kept = most.saturating_sub(1);
    let head: String = name.chars().take(kept.div_ceil(2)).collect();
    let tail: String = name.chars().skip(count - kept / 2).collect();
    format!("{head}…{tail}")
}

fn padded(text: &str, width: usize) -> String {
    format!("{text:<width$}")
}

fn length(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Figures from nothing to far too much, as they may come out of a run.
    fn any_figure() -> impl Strategy<Value = String> {
        let magnitude =
            prop_oneof![Just(0.0), -300.0..300.0_f64, 0.0..12.0_f64].prop_map(|power: f64| 10_f64.powf(power));
        (magnitude, 0_usize..4).prop_map(|(value, decimals)| figure(value, decimals))
    }

    fn any_rows() -> impl Strategy<Value = Vec<Vec<String>>> {
        (1_usize..30).prop_flat_map(|columns| {
            let row = ("\\PC{1,90}", prop::collection::vec(any_figure(), columns));
            let row = row.prop_map(|(name, figures)| {
                std::iter::once(name.replace(char::is_whitespace, "_")).chain(figures).collect()
            });
            prop::collection::vec(row, 1..6)
        })
    }

    proptest! {
        #[test]
        fn columns_never_run_together_and_fit(rows in any_rows(), are_names_whole in any::<bool>()) {
            let mut rows = rows;
            if are_names_whole {
                // Longer ones take several lines.
                rows.iter_mut().for_each(|row| row[0] = row[0].chars().take(LEAST_WHOLE_NAME).collect());
            }
            let text = laid_out(&rows, &Fit { width: WIDTH, words: &[true], are_names_whole });
            let lines: Vec<&str> = text.lines().collect();
            prop_assert!(lines.iter().all(|line| length(line) <= WIDTH), "too wide:\n{}", text);
            // Blocks of columns below each other: the words of a row are its cells, and no more.
            for (index, row) in rows.iter().enumerate() {
                let words = lines.iter().skip(index).step_by(rows.len()).flat_map(|line| line.split("  ").filter(|word| !word.is_empty()).skip(1));
                let words: Vec<&str> = words.map(str::trim).collect();
                prop_assert_eq!(&words, &row[1..], "\n{}", text);
            }
        }

        #[test]
        fn wrapped_names_fit_and_lose_nothing(words in prop::collection::vec("\\PC{1,60}", 1..8), most in 4_usize..50) {
            let name = words.join(" ").replace(|c: char| c.is_whitespace() && c != ' ', "_");
            let lines = wrapped(&name, most);
            prop_assert!(lines.iter().all(|line| length(line) <= most), "{lines:?}");
            let without_spaces = |text: &str| text.replace(' ', "");
            prop_assert_eq!(without_spaces(&lines.concat()), without_spaces(&name));
        }

        #[test]
        fn paragraphs_keep_their_words_and_fit(words in prop::collection::vec("[a-z0-9%.]{1,40}", 1..40)) {
            let text = paragraph("Verdict", 12, &words.join(" "));
            prop_assert!(text.lines().all(|line| length(line) <= WIDTH));
            let back: Vec<&str> = text.split_whitespace().skip(1).collect();
            prop_assert_eq!(back, words);
        }

        #[test]
        fn figures_are_short_and_near(value in prop_oneof![-1e300..1e300, -1e6..1e6, -1e-3..1e-3_f64], decimals in 0_usize..4) {
            let text = figure(value, decimals);
            prop_assert!(text.len() <= 14, "{}", text);
            let off = (text.parse::<f64>().expect("it is a number") - value).abs();
            prop_assert!(off <= 0.501 * 10_f64.powi(-(decimals as i32)) + 0.01 * value.abs(), "{} for {}", text, value);
        }
    }
}
