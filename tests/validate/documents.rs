//! The tables in README.md and FIDELITY.md that say how far off recorded runs and serving points are: what is computed anew
//! from the shared measurements is what they say.
//!
//! `FIDELITY_UPDATE=1 cargo test --test validate documents` puts the tables that come into the documents, between their
//! markers.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::Desk;
use crate::shared_files::shared;

/// Folders of `realruns`, and what the tables call them.
const RUNS: [(&str, &str); 8] = [
    ("ispass26-h100-llama3.1-70b-tp4", "4 × H100, Llama 3.1 70B, tp 4 (flags not recorded)"),
    ("h100-qwen3-14b-w5-agg24", "H100, Qwen3-14B, saturated by 256 clients, prompts of 1,000"),
    ("h100-qwen3-14b-w7-agg6", "H100, Qwen3-14B, 6 requests/s, prompts of 250 and 3,900"),
    ("h100-qwen3-14b-rate-agg-8rps", "H100, Qwen3-14B, 8 requests/s, prompts of 1,000"),
    ("h100-qwen3-14b-rate-agg-2rps", "H100, Qwen3-14B, 2 requests/s, prompts of 1,000"),
    ("rtxpro6000-llama3.1-8b-tp1", "RTX PRO 6000, Llama 3.1 8B"),
    ("rtx4090-llama3.1-8b-tp1-mns256", "RTX 4090, Llama 3.1 8B"),
    ("ispass26-a6000-llama3.1-8b-pulse-pc", "A6000, Llama 3.1 8B (only prefix hits were measured)"),
];
/// Figures are printed with one decimal; a document may be off by as much as another processor's last bits can do.
const TOLERANCE_PCT: f64 = 0.15;

/// A row of a table: its name, its cells, and the error by which it is sorted.
struct Row {
    name: String,
    cells: Vec<String>,
    worst_pct: f64,
}

fn signed(error_pct: f64) -> String {
    let size = format!("{:.1}", error_pct.abs());
    if size == "0.0" { "0.0 %".to_owned() } else { format!("{}{size} %", if error_pct < 0.0 { '−' } else { '+' }) }
}

/// A table of Markdown, the row that is off by the most first.
fn table(head: &[&str], mut rows: Vec<Row>) -> String {
    rows.sort_by(|a, b| b.worst_pct.total_cmp(&a.worst_pct));
    let line = |cells: &[&str]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(head) + &line(&vec!["---"; head.len()]);
    for row in rows {
        let cells: Vec<&str> = std::iter::once(row.name.as_str()).chain(row.cells.iter().map(String::as_str)).collect();
        text += &line(&cells);
    }
    text
}

fn run_row(name: &str, comparison: &Value) -> Row {
    let metrics = || comparison["metrics"].as_array().into_iter().flatten();
    let error =
        |key: &str| metrics().find(|metric| metric["metric"] == key).and_then(|metric| metric["error_pct"].as_f64());
    let throughput = error("output_throughput_tok_s").or_else(|| error("request_throughput_rps"));
    let blocks = |key: &str| comparison["kv_blocks"][key].as_f64();
    let pool =
        blocks("measured").zip(blocks("predicted")).map(|(measured, predicted)| 100.0 * (predicted / measured - 1.0));
    let worst = &comparison["worst_statistic"];
    let means = [error("makespan_s"), throughput, error("ttft_ms.mean"), error("tpot_ms.mean"), error("e2e_ms.mean")];
    let mut cells: Vec<String> = means.iter().map(|error| error.map_or_else(String::new, signed)).collect();
    let statistic = worst["metric"].as_str().map(|metric| {
        let (latency, statistic) = metric.split_once("_ms.").expect("a latency in milliseconds");
        format!("{} {statistic} {}", latency.to_uppercase(), signed(worst["error_pct"].as_f64().expect("an error")))
    });
    cells.push(statistic.unwrap_or_default());
    cells.push(error("prefix_hit_pct.0").map_or_else(String::new, signed));
    cells.push(pool.map_or_else(String::new, signed));
    let errors = means.into_iter().flatten().chain(worst["error_pct"].as_f64());
    Row { name: name.to_owned(), cells, worst_pct: errors.map(f64::abs).fold(0.0, f64::max) }
}

fn runs() -> Option<String> {
    let desk = Desk::new();
    let rows: Option<Vec<Row>> = RUNS
        .iter()
        .map(|(folder, name)| {
            let folder = shared(&format!("data/realruns/{folder}"))?;
            Some(run_row(name, &desk.json(&format!("validate-run {}", folder.display()))))
        })
        .collect();
    let head = [
        "run",
        "makespan",
        "throughput",
        "mean TTFT",
        "mean TPOT",
        "mean E2E",
        "worst of fifteen",
        "prefix hits",
        "KV blocks",
    ];
    Some(table(&head, rows?))
}

fn points() -> Option<String> {
    let file = shared("data/e2e_h100_h200_train.csv")?;
    let report = Desk::new().json(&format!("validate-points {}", file.display()));
    let medians = &report["median_abs_error_pct"];
    let row = |name: &str, medians: &Value| {
        let error = |key: &str| medians[key].as_f64().expect("a median");
        let (ttft, tpot) = (error("ttft_ms"), error("tpot_ms"));
        let cells = vec![medians["points"].to_string(), format!("{ttft:.1} %"), format!("{tpot:.1} %")];
        Row { name: name.to_owned(), cells, worst_pct: ttft.max(tpot) }
    };
    let groups = medians["groups"].as_object().expect("groups").iter();
    let head = ["points", "how many", "TTFT", "TPOT"];
    let all = row("all", &medians["all"]);
    let table = table(&head, groups.map(|(name, medians)| row(name, medians)).collect());
    Some(format!("{table}| all | {} |\n", all.cells.join(" | ")))
}

/// Tables of serving points, in `data`.
const TABLES: [&str; 5] = [
    "e2e_h100_h200_train.csv",
    "points/inferencemax.csv",
    "points/silicon_b200.csv",
    "points/engines_h100_h200.csv",
    "points/trtllm_offline.csv",
];

/// Errors of all points by cohort.
fn cohorts() -> Option<String> {
    let files: Option<Vec<String>> =
        TABLES.iter().map(|table| Some(shared(&format!("data/{table}"))?.display().to_string())).collect();
    let report = Desk::new().json(&format!("validate-points {} --cohorts", files?.join(" ")));
    let row = |cohort: &Value| {
        let error = |metric: &str, key: &str| cohort[metric][key].as_f64();
        let cell = |metric: &str, key: &str| {
            let said = |pct| if key == "bias_pct" { signed(pct) } else { format!("{pct:.1} %") };
            error(metric, key).map_or_else(String::new, said)
        };
        let word = |key: &str| cohort[key].as_str().unwrap_or_default();
        let by = Some(word("expert_kernels")).filter(|by| !by.is_empty());
        let by = by.map(|by| format!(" ({by})")).unwrap_or_default();
        let (kind, dtype) = (word("model_kind"), word("dtype"));
        let name = format!("{}, {}: {kind}, {dtype}{by}, {}", word("origin"), word("engine"), word("device"));
        let metrics = ["tpot_ms", "ttft_ms"]
            .into_iter()
            .flat_map(|metric| ["median_pct", "mean_pct", "p90_pct", "bias_pct"].map(|key| cell(metric, key)));
        let rate = cell("output_throughput_tok_s", "bias_pct");
        let cells = [word("prices").to_owned(), cohort["points"].to_string()].into_iter().chain(metrics).chain([rate]);
        let worst_pct = error("tpot_ms", "median_pct").or_else(|| error("output_throughput_tok_s", "median_pct"));
        Row { name, cells: cells.collect(), worst_pct: worst_pct.unwrap_or(0.0) }
    };
    let head = [
        "measured by, engine: points",
        "kernels",
        "how many",
        "TPOT median",
        "mean",
        "p90",
        "bias",
        "TTFT median",
        "mean",
        "p90",
        "bias",
        "tokens/s, bias",
    ];
    Some(table(&head, report["cohorts"].as_array()?.iter().map(row).collect()))
}

/// Whether a line says what another does: the same words, figures that are as good as equal.
fn says_the_same(line: &str, other: &str) -> bool {
    let number = |word: &str| word.replace('−', "-").replace(',', "").parse::<f64>().ok();
    let (words, others): (Vec<&str>, Vec<&str>) = (line.split(' ').collect(), other.split(' ').collect());
    words.len() == others.len()
        && words.iter().zip(others).all(|(word, other)| match (number(word), number(other)) {
            (Some(one), Some(two)) => (one - two).abs() <= TOLERANCE_PCT,
            _ => *word == other,
        })
}

/// Compares what stands between the markers of a document with a table, or puts it there.
fn check(document: &str, marker: &str, table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = fs::read_to_string(&path).expect("it is there");
    let (begin, end) = (format!("<!-- {marker} -->\n"), format!("<!-- end of {marker} -->\n"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{document} lacks {begin}"));
    let (old, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{document} lacks {end}"));
    if std::env::var_os("FIDELITY_UPDATE").is_some() {
        fs::write(&path, format!("{before}{begin}\n{table}\n{end}{after}")).expect("it can be written");
        return;
    }
    // Rows that are equally far off may change places.
    let sorted = |table: &str| {
        let mut lines: Vec<String> = table.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        lines.sort_by(|a, b| a.split('|').nth(1).cmp(&b.split('|').nth(1)));
        lines
    };
    let (old, new) = (sorted(old), sorted(table));
    assert_eq!(old.len(), new.len(), "{document}: set FIDELITY_UPDATE=1 to put in\n{table}");
    for (old, new) in old.iter().zip(&new) {
        assert!(
            says_the_same(old, new),
            "{document} says\n{old}\nand it is\n{new}\nset FIDELITY_UPDATE=1 to put it in"
        );
    }
}

#[test]
fn documents_say_how_far_off_runs_and_points_are() {
    let Some((runs, points)) = runs().zip(points()) else { return };
    for document in ["README.md", "FIDELITY.md"] {
        check(document, "recorded runs", &runs);
        check(document, "serving points", &points);
    }
    let Some(cohorts) = cohorts() else { return };
    check("FIDELITY.md", "cohorts", &cohorts);
}

#[test]
fn a_figure_that_has_moved_is_another() {
    let line = "| a run | −3.3 % | TTFT p99 −4.2 % |";
    assert!(says_the_same(line, line) && says_the_same(line, &line.replace("3.3", "3.4")));
    for other in [
        line.replace("3.3", "3.6"),
        line.replace("−3.3", "+3.3"),
        line.replace("p99", "p90"),
        line.replace("a run", "run"),
    ] {
        assert!(!says_the_same(line, &other), "{other}");
    }
}
