//! A comparison as it is printed.

use serde_json::{Value, json};

use super::{Compared, Comparison, Metric, Pair, Part, Run, Side, Test};
use crate::fidelity::Expectation;
use crate::tables::{BETWEEN_SENTENCES, Block, Cell, Column, Document, Findings, Table, figure, pretty};

/// Columns before the text of a side.
const INDENT: usize = 12;
/// Keys that are told for people; all are in the JSON.
const MOST_CHANGES: usize = 12;
/// A part of a difference that is told by itself.
const LEAST_SHARE: f64 = 0.05;
/// A share of TTFT or E2E, for people, has this many decimals.
const SHARE_DECIMALS: usize = 1;

impl Findings for Comparison {
    fn document(&self) -> Document {
        let mut blocks: Vec<Block> = self.warnings.iter().map(|text| Block::line("Caution", INDENT, text)).collect();
        blocks.extend(self.sides.iter().map(|side| Block::line(&side.letter, INDENT, side.described())));
        blocks.extend(self.caveats());
        for pair in &self.pairs {
            blocks.extend(self.pair_lines(pair));
            blocks.extend([Block::Gap, Block::Table(self.figures(pair))]);
            for (name, parts) in wholes() {
                blocks.extend([Block::Gap, Block::Table(self.parts(pair, name, parts))]);
            }
        }
        Document(blocks)
    }

    /// A row a figure and pair; a part of TTFT or E2E too.
    fn records(&self) -> Table {
        let words = ["a", "b", "figure"].map(|key| Column::words(key, key));
        let figures = ["a_mean", "b_mean", "a_sd", "b_sd", "difference", "difference_pct", "low", "high", "p"]
            .map(|key| Column::figures(key, key));
        let said = ["test", "a_notes", "b_notes", "a_accuracy", "b_accuracy"].map(|key| Column::words(key, key));
        let rows = self.pairs.iter().flat_map(|pair| {
            let sides = [&self.sides[0], &self.sides[pair.other]];
            let row = move |key: String, compared: &Compared| record(sides, key, compared, pair.test);
            let figures = pair.figures.iter().map(move |(metric, compared)| row(metric.key.to_owned(), compared));
            let parts = Part::ALL.iter().zip(&pair.parts);
            figures.chain(parts.map(move |(part, compared)| row(format!("{}_ms", part.key()), compared)))
        });
        Table { columns: words.into_iter().chain(figures).chain(said).collect(), rows: rows.collect() }
    }

    fn json(&self) -> String {
        pretty(&json!({
            "sides": self.sides.iter().map(Side::json).collect::<Vec<_>>(),
            "pairs": self.pairs.iter().map(|pair| self.pair_json(pair)).collect::<Vec<_>>(),
            "warnings": self.warnings,
        }))
    }
}

/// What is taken apart, and into what.
fn wholes() -> [(&'static str, &'static [Part]); 2] {
    [("TTFT", Part::of_ttft()), ("E2E", &Part::ALL)]
}

impl Side {
    /// How far off its figures are, in one cell.
    fn accuracy(&self) -> String {
        let of = |expected: &Expectation| [Some(expected.words()), expected.unmeasured.clone()];
        let sentences = self.runs[0].fidelity.iter().flat_map(of).flatten();
        sentences.collect::<Vec<_>>().join(BETWEEN_SENTENCES)
    }

    fn described(&self) -> String {
        let seeds: Vec<String> = self.runs.iter().map(|run| run.seed.to_string()).collect();
        let many = if seeds.len() > 1 { "s" } else { "" };
        let requests: u64 = self.runs.iter().map(|run| run.arrived).sum();
        format!("{}, seed{many} {}, {requests} requests", self.name, seeds.join(", "))
    }

    fn json(&self) -> Value {
        let runs = self.runs.iter().map(|run| {
            let parts = Part::ALL.iter().zip(run.breakdown.sums_ns);
            let sums: serde_json::Map<String, Value> =
                parts.map(|(part, sum)| (part.key().to_owned(), json!(sum as f64 / 1e9))).collect();
            let parts = json!({"requests": run.breakdown.requests, "sums_s": sums});
            json!({"place": run.place, "seed": run.seed, "partial": run.partial, "requests": run.arrived, "breakdown": parts})
        });
        let fidelity = &self.runs[0].fidelity;
        json!({"letter": self.letter, "name": self.name, "notes": self.runs[0].notes, "fidelity": fidelity, "runs": runs.collect::<Vec<_>>()})
    }
}

impl Comparison {
    /// What to know of the sides, and of which that is said where it is not of all.
    fn caveats(&self) -> Vec<Block> {
        let notes = self.said_of(|run| &run.notes).into_iter().map(|(note, of)| Block::line("Note", INDENT, of + note));
        let accuracy = self.said_of(|run| &run.fidelity).into_iter().flat_map(|(expected, of)| {
            let unmeasured = expected.unmeasured.iter().map(|sentence| Block::line("", INDENT, sentence));
            std::iter::once(Block::line("Accuracy", INDENT, of + &expected.words()))
                .chain(unmeasured)
                .collect::<Vec<_>>()
        });
        notes.chain(accuracy).collect()
    }

    /// What is said of the sides, each once, and the letters of those of which it is, unless it is of all.
    fn said_of<T: PartialEq>(&self, of_run: fn(&Run) -> &Vec<T>) -> Vec<(&T, String)> {
        let mut told: Vec<(&T, Vec<&str>)> = Vec::new();
        for side in &self.sides {
            for said in of_run(&side.runs[0]) {
                match told.iter_mut().find(|(known, _)| *known == said) {
                    Some((_, letters)) => letters.push(side.letter.as_str()),
                    None => told.push((said, vec![side.letter.as_str()])),
                }
            }
        }
        let of = |letters: Vec<&str>| {
            if letters.len() == self.sides.len() { String::new() } else { format!("{}: ", letters.join(", ")) }
        };
        told.into_iter().map(|(said, letters)| (said, of(letters))).collect()
    }

    /// What differs in the configurations, how that is tested, and why latencies differ.
    fn pair_lines(&self, pair: &Pair) -> Vec<Block> {
        let other = &self.sides[pair.other];
        let (a, b) = (&self.sides[0].letter, &other.letter);
        let mut lines = vec![Block::Gap, Block::Title(format!("{b} against {a}"))];
        let given = |value: &str| if value.is_empty() { "not given".to_owned() } else { value.to_owned() };
        for changed in pair.changed.iter().take(MOST_CHANGES) {
            let [here, there] = changed.values.each_ref().map(|value| given(value));
            lines.push(Block::line("  differs", INDENT, format!("{}: {here} in {a}, {there} in {b}", changed.key)));
        }
        if pair.changed.len() > MOST_CHANGES {
            let more = pair.changed.len() - MOST_CHANGES;
            lines.push(Block::line("", INDENT, format!("and {more} more keys, which --format json names")));
        }
        let test = match pair.test {
            Some(test) => format!("{}; each figure by itself: of 20 that do not differ one has p < 0.05", test.words()),
            None => "a single seed says nothing of significance: these differences may be chance. Compare several: --repeat 5, \
                     or runs of other seeds"
                .to_owned(),
        };
        lines.push(Block::line("  test", INDENT, test));
        for (name, parts) in wholes() {
            lines.push(Block::line("  why", INDENT, why(pair, name, parts, b)));
        }
        lines
    }

    fn columns(&self, pair: &Pair, what: &str) -> Vec<Column> {
        let (a, b) = (&self.sides[0].letter, &self.sides[pair.other].letter);
        let mut columns = vec![
            Column::words("figure", what),
            Column::figures("a", a),
            Column::figures("b", b),
            Column::figures("difference", format!("{b} − {a}")),
        ];
        columns.extend(
            pair.test
                .map(|_| [Column::figures("interval", "95 % interval"), Column::figures("p", "p")])
                .into_iter()
                .flatten(),
        );
        columns
    }

    fn figures(&self, pair: &Pair) -> Table {
        let mut columns = self.columns(pair, "");
        columns.insert(4, Column::figures("difference_pct", "%"));
        let rows = pair.figures.iter().map(|(Metric { words, decimals, .. }, compared)| {
            let mut cells = cells(format!("  {words}"), compared, *decimals);
            cells.insert(4, Cell::figure_or_dash(percent_of(compared), |percent| format!("{percent:+.1}")));
            cells
        });
        Table { columns, rows: rows.collect() }
    }

    /// The parts that take any time, with their shares, and the whole.
    fn parts(&self, pair: &Pair, name: &str, parts: &[Part]) -> Table {
        let (told, whole) = (&pair.parts, pair.whole(parts));
        let mut columns = self.columns(pair, &format!("{name}, ms"));
        let share = |key: &str| Column::figures(key, "share");
        columns.insert(3, share("b_share"));
        columns.insert(2, share("a_share"));
        let with_shares = |mut cells: Vec<Cell>, means: [f64; 2]| {
            let share = |side: usize| {
                let share = (whole[side] > 0.0).then(|| 100.0 * means[side] / whole[side]);
                Cell::figure_or_dash(share, |share| format!("{share:.SHARE_DECIMALS$} %"))
            };
            cells.insert(3, share(1));
            cells.insert(2, share(0));
            cells
        };
        let taken = parts.iter().filter(|&&part| told[part as usize].means != [0.0; 2]);
        let mut rows: Vec<Vec<Cell>> = taken
            .map(|&part| {
                let compared = &told[part as usize];
                with_shares(cells(format!("  {}", part.words()), compared, 2), compared.means)
            })
            .collect();
        let together = Compared { means: whole, deviations: [None; 2], difference: None };
        let mut last = cells("  together".to_owned(), &together, 2);
        last.truncate(4);
        rows.push(with_shares(last, whole));
        Table { columns, rows }
    }

    fn pair_json(&self, pair: &Pair) -> Value {
        let figures = pair.figures.iter().map(|(metric, compared)| {
            let mut value = compared_json(compared);
            value["figure"] = metric.key.into();
            value
        });
        let whole = wholes().map(|(_, parts)| pair.whole(parts));
        let share = |of: [f64; 2], compared: &Compared| [0, 1].map(|side| compared.means[side] / of[side]);
        let parts = Part::ALL.iter().zip(&pair.parts).map(|(part, compared)| {
            let mut value = compared_json(compared);
            value["part"] = part.key().into();
            if Part::of_ttft().contains(part) {
                value["share_of_ttft"] = json!(share(whole[0], compared));
            }
            value["share_of_e2e"] = json!(share(whole[1], compared));
            value
        });
        let changed = pair.changed.iter().map(|changed| json!({"key": changed.key, "values": changed.values}));
        json!({
            "a": self.sides[0].letter,
            "b": self.sides[pair.other].letter,
            "changed": changed.collect::<Vec<_>>(),
            "test": pair.test.map(Test::key),
            "figures": figures.collect::<Vec<_>>(),
            "parts_ms": parts.collect::<Vec<_>>(),
        })
    }
}

fn compared_json(compared: &Compared) -> Value {
    let Compared { means, deviations, difference } = compared;
    json!({
        "means": means,
        "deviations": deviations,
        "difference": compared.by(),
        "difference_pct": percent_of(compared),
        "interval_95": difference.map(|difference| [difference.interval.0, difference.interval.1]),
        "p": difference.map(|difference| difference.p),
    })
}

fn percent_of(compared: &Compared) -> Option<f64> {
    let percent = 100.0 * compared.by() / compared.means[0].abs();
    percent.is_finite().then_some(percent)
}

/// A name, two means, their difference, and how sure that is where it was tested.
fn cells(name: String, compared: &Compared, decimals: usize) -> Vec<Cell> {
    let shown = |value: f64| figure(value, decimals);
    let signed = |value: f64| if value > 0.0 { format!("+{}", shown(value)) } else { shown(value) };
    let mut cells = vec![Cell::of(name)];
    cells.extend(compared.means.map(|mean| Cell::figure(mean, shown(mean))));
    cells.push(Cell::figure(compared.by(), signed(compared.by())));
    if let Some(difference) = compared.difference {
        let (low, high) = difference.interval;
        cells.push(Cell::of(format!("{} … {}", signed(low), signed(high))));
        cells.push(Cell::figure(difference.p, p_shown(difference.p)));
    }
    cells
}

fn p_shown(p: f64) -> String {
    const LEAST: f64 = 0.0005;
    if p < LEAST { "<0.001".to_owned() } else { format!("{p:.3}") }
}

fn record(sides: [&Side; 2], key: String, compared: &Compared, test: Option<Test>) -> Vec<Cell> {
    let exact = |value: f64| value.to_string();
    let of = |value: Option<f64>| value.map_or_else(Cell::default, |value| Cell::figure(value, exact(value)));
    let difference = compared.difference;
    let figures = [
        Some(compared.means[0]),
        Some(compared.means[1]),
        compared.deviations[0],
        compared.deviations[1],
        Some(compared.by()),
        percent_of(compared),
        difference.map(|difference| difference.interval.0),
        difference.map(|difference| difference.interval.1),
        difference.map(|difference| difference.p),
    ];
    let words = [sides[0].name.clone(), sides[1].name.clone(), key].map(Cell::of);
    let test = test.map_or("", Test::key).to_owned();
    let said = sides.map(|side| side.runs[0].notes.join(BETWEEN_SENTENCES)).into_iter();
    let said = [test].into_iter().chain(said).chain(sides.map(Side::accuracy));
    words.into_iter().chain(figures.map(of)).chain(said.map(Cell::of)).collect()
}

/// By how much a mean latency differs, and which parts make that: those of some weight, the largest first.
fn why(pair: &Pair, name: &str, parts: &[Part], letter: &str) -> String {
    let (told, [first, second]) = (&pair.parts, pair.whole(parts));
    let by = second - first;
    let mut reasons: Vec<(Part, f64)> = parts.iter().map(|&part| (part, told[part as usize].by())).collect();
    let all: f64 = reasons.iter().map(|(_, by)| by.abs()).sum();
    if all == 0.0 {
        return format!("mean {name} is the same");
    }
    reasons.retain(|(_, by)| by.abs() >= LEAST_SHARE * all);
    reasons.sort_by(|(_, a), (_, b)| b.abs().total_cmp(&a.abs()));
    let reasons: Vec<String> = reasons
        .iter()
        .map(|(part, by)| format!("{} {}{}", part.words(), if *by > 0.0 { "+" } else { "" }, figure(*by, 2)))
        .collect();
    let longer = if by >= 0.0 { "longer" } else { "shorter" };
    format!("mean {name} is {} ms {longer} in {letter}: {}", figure(by.abs(), 2), reasons.join(", "))
}
