//! Everything that the README and the pages of `docs/` show, run page by page in a temporary folder, in the order in which it
//! stands there: files are written, commands are run, queries are asked. The output that a page prints is the output that
//! comes, and its tables of runs hold what the summaries of these runs hold.
//!
//! `README_UPDATE=1 cargo test --test readme` puts what comes into the pages.

mod python_support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// What a line that must be refused ends with.
const REFUSED: &str = "  # exit code 2";

/// What DuckDB's shell does with the commands of a line.
const DUCKDB: &str = "\
import shlex, sys, duckdb
connection = duckdb.connect()
words = shlex.split(sys.argv[1])[1:]
assert words[::2] == ['-c'] * (len(words) // 2), words
for command in words[1::2]:
    sql = open(command.removeprefix('.read ')).read() if command.startswith('.read ') else command
    found = connection.execute(sql)
assert found.fetchone(), sys.argv[1]
print(found.fetchall())
";

/// A fenced block of a page.
struct Block {
    language: String,
    text: String,
    /// What stands before it.
    before: String,
}

/// A page that is tried, and what came of its last command.
struct Trial<'a> {
    root: &'a Path,
    folder: &'a Path,
    python: Option<&'a str>,
    last: String,
    commands: usize,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The README and the pages of `docs/`.
fn pages() -> Vec<PathBuf> {
    let mut folders = vec![root().join("docs")];
    let mut pages = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("there are pages") {
            let path = entry.expect("a page").path();
            if path.is_dir() { folders.push(path) } else { pages.push(path) }
        }
    }
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.push(root().join("README.md"));
    pages.sort();
    pages
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    let mut before = String::new();
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                let (language, before) = (language.to_owned(), std::mem::take(&mut before));
                open = Some(Block { language, text: String::new(), before });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text += &format!("{line}\n"),
            (None, None) => before += &format!("{line}\n"),
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// A page in a new temporary folder that has the repository's own files.
fn try_page(path: &Path) {
    let mut page = fs::read_to_string(path).expect("the page can be read");
    let folder = tempfile::tempdir().expect("a temporary folder");
    for shipped in ["configs", "examples", "queries"] {
        std::os::unix::fs::symlink(root().join(shipped), folder.path().join(shipped)).expect("a link can be made");
    }
    let update = std::env::var_os("README_UPDATE").is_some();
    let python = python_support::python();
    let mut trial =
        Trial { root: root(), folder: folder.path(), python: python.as_deref(), last: String::new(), commands: 0 };
    for block in blocks(&page) {
        match block.language.as_str() {
            "csv" | "yaml" | "jsonl" => trial.write(&block),
            "sh" => block.text.lines().for_each(|line| trial.run(line)),
            "text" if update => {
                page = page.replacen(&format!("```text\n{}```", block.text), &format!("```text\n{}```", trial.last), 1);
            }
            "text" => assert_eq!(block.text, trial.last, "{}: set README_UPDATE=1 to take what comes", path.display()),
            // It needs the package: python/tests/test_docs.py runs this page.
            "python" if path.ends_with("docs/python.md") => {}
            "sql" | "python" => {
                if let Some(python) = &python {
                    ask(python, &block, trial.folder);
                }
            }
            other => panic!("{}: a block that no test knows: {other}", path.display()),
        }
    }
    for (shown, row) in rows_of_runs(&page, trial.folder) {
        if update {
            page = page.replace(&shown, &row);
        } else {
            assert_eq!(shown, row, "{}: set README_UPDATE=1 to take what comes", path.display());
        }
    }
    if update {
        fs::write(path, &page).expect("it can be written");
    }
    println!("{}: {} commands", path.display(), trial.commands);
}

impl Trial<'_> {
    /// Writes a file under the last name of its kind that the text before it mentions; one that ships must be the same.
    fn write(&self, block: &Block) {
        let ending = format!(".{}", block.language);
        let names = block.before.split('`').skip(1).step_by(2).filter(|name| name.ends_with(&ending));
        let name = names.last().unwrap_or_else(|| panic!("a file without a name:\n{}", block.text));
        match fs::read_to_string(self.root.join(name)) {
            Ok(shipped) => assert_eq!(shipped, block.text, "{name}"),
            Err(_) => fs::write(self.folder.join(name), &block.text).expect("it can be written"),
        }
    }

    /// A line of a shell block: run, as a reader would, with the binary that the tests have built; or, where that takes too long
    /// or needs a network, held to what it names.
    fn run(&mut self, line: &str) {
        let named = |file: &str| fs::read_to_string(self.root.join(file)).expect("the file is there");
        let words: Vec<_> = line.split(' ').collect();
        match words.as_slice() {
            ["git", "clone", ..] | ["cd", "llmperforacle"] => {}
            ["cargo", "install", "--path", ".", "--locked"] => {
                assert!(named("Cargo.toml").contains("[package]\nname = \"llmperforacle\"\n"));
            }
            // This test is a part of it.
            ["bash", ".ci/run"] => assert!(!named(".ci/run").is_empty()),
            ["cargo", "bench", "--bench", bench, ..] => {
                assert!(named("Cargo.toml").contains(&format!("[[bench]]\nname = \"{bench}\"\n")), "{line}");
            }
            // `.ci/run` does it.
            ["pip", "install", "."] => assert!(named("pyproject.toml").contains("\nname = \"llmperforacle\"\n")),
            ["pip", "install", packages @ ..] => {
                let tried = named("tests/python/requirements.txt");
                for package in packages {
                    assert!(tried.contains(&format!("\n{package}==")), "no test imports {package}");
                }
            }
            // Its library stands in for its shell.
            ["duckdb", ..] => self.python.iter().for_each(|python| print_by(python, DUCKDB, line, self.folder)),
            ["llmperforacle", ..] | ["cat", _, "|", "llmperforacle", ..] => self.run_program(line),
            _ => panic!("a command that no test knows: {line}"),
        }
    }

    fn run_program(&mut self, line: &str) {
        let built = Path::new(env!("CARGO_BIN_EXE_llmperforacle")).parent().expect("a binary is in a folder");
        let path = format!("{}:{}", built.display(), std::env::var("PATH").unwrap_or_default());
        let output = Command::new("sh").args(["-c", line]).current_dir(self.folder).env("PATH", path).output();
        let Output { status, stdout, stderr } = output.expect("there is a shell");
        let complaints = String::from_utf8(stderr).expect("messages are text");
        self.commands += 1;
        if line.ends_with(REFUSED) {
            assert_eq!(status.code(), Some(2), "{line}\n{complaints}");
            self.last = if stdout.is_empty() { complaints } else { String::from_utf8(stdout).expect("it is text") };
        } else {
            assert!(status.success(), "{line}\n{complaints}");
            assert!(!complaints.contains("warning"), "{line}\n{complaints}");
            self.last = String::from_utf8(stdout).expect("the output is text");
        }
    }
}

/// Asks each query and expects rows; runs a snippet and expects it to print something.
fn ask(python: &str, block: &Block, folder: &Path) {
    let script = if block.language == "sql" {
        "import sys, duckdb\nfor query in sys.argv[1].split(';'):\n    if query.strip():\n        rows = duckdb.sql(query).fetchall()\n        assert rows, query\n        print(rows)\n"
    } else {
        &block.text
    };
    print_by(python, script, &block.text, folder);
}

/// Runs a script on a text and expects it to print something.
fn print_by(python: &str, script: &str, text: &str, folder: &Path) {
    let output = Command::new(python).args(["-c", script, text]).current_dir(folder).output();
    let output = output.expect("Python starts");
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!output.stdout.is_empty(), "it prints nothing: {text}");
}

/// The rows of tables whose first column is `--name`, as they stand on a page and as the runs' summaries have them.
fn rows_of_runs(page: &str, folder: &Path) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let mut columns: Vec<&str> = Vec::new();
    for line in page.lines() {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        if !line.starts_with('|') {
            columns.clear();
        } else if cells[0] == "`--name`" {
            columns = cells;
        } else if !columns.is_empty() && !cells[0].starts_with('-') {
            let run = cells[0].split('`').nth(1).unwrap_or_else(|| panic!("a row that names no run: {line}"));
            let summary = fs::read_to_string(folder.join("output").join(run).join("summary.json"));
            let summary = summary.unwrap_or_else(|error| panic!("{run}: {error}"));
            let summary: Value = serde_json::from_str(&summary).expect("a summary is JSON");
            let figures: Vec<_> = columns[1..].iter().map(|column| figure(&summary, column)).collect();
            rows.push((line.to_owned(), format!("| {} | {} |", cells[0], figures.join(" | "))));
        }
    }
    rows
}

/// What a summary has under a column's heading, which is one of those below or a latency: `TTFT p99`, `chat TTFT p99`.
fn figure(summary: &Value, column: &str) -> String {
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("no figure of {column}"));
    let words = |value: &Value| value.as_str().expect("words").replace('_', " ");
    match column {
        "requests/s" => format!("{:.2}", number(&summary["throughput"]["requests_per_second"])),
        "output tokens/s" => format!("{:.0}", number(&summary["throughput"]["output_tokens_per_second"])),
        "until all was done" => format!("{:.1} s", number(&summary["simulation"]["total_duration_s"])),
        "J an output token" => format!("{:.2}", number(&summary["energy"]["joules_per_output_token"])),
        "prompt tokens from the cache" => {
            format!("{:.0} %", 100.0 * number(&summary["prefix_caching"]["prefill_reduction_ratio"]))
        }
        "limited by" => words(&summary["verdict"]["limited_by"]),
        "steps bound by" => words(&summary["verdict"]["steps_bound_by"]),
        "preempted" => {
            let engines = summary["engines"].as_object().expect("engines").values();
            engines.map(|engine| engine["preemptions"].as_u64().expect("a count")).sum::<u64>().to_string()
        }
        "keeps up" => match summary["verdict"]["keeps_up"].as_bool() {
            Some(true) => "yes".to_owned(),
            Some(false) => "no".to_owned(),
            None => "cannot be told".to_owned(),
        },
        _ => latency(summary, column),
    }
}

fn latency(summary: &Value, column: &str) -> String {
    let parts: Vec<_> = column.split(' ').collect();
    let (of, metric, quantile) = match parts[..] {
        [metric, quantile] => (&summary["latency"], metric, quantile),
        [profile, metric, quantile] => (&summary["per_profile"][profile]["latency"], metric, quantile),
        _ => panic!("a column that no test knows: {column}"),
    };
    let key = match metric {
        "TTFT" => "time_to_first_token_ms",
        "TPOT" => "time_per_output_token_ms",
        "ITL" => "inter_token_latency_ms",
        "E2E" => "end_to_end_latency_ms",
        _ => panic!("a column that no test knows: {column}"),
    };
    let ms = of[key][quantile].as_f64().unwrap_or_else(|| panic!("no figure of {column}"));
    match ms {
        1000.0.. => format!("{:.1} s", ms / 1000.0),
        100.0.. => format!("{ms:.0} ms"),
        _ => format!("{ms:.1} ms"),
    }
}

#[test]
fn what_the_pages_show_is_what_happens() {
    pages().iter().for_each(|page| try_page(page));
}

#[test]
fn the_readme_is_no_longer_than_a_reader_bears() {
    let readme = fs::read_to_string(root().join("README.md")).expect("there is a README");
    assert!(readme.lines().count() <= 400, "{} lines; the rest goes to docs/", readme.lines().count());
}

#[test]
fn every_page_is_reached_from_the_readme() {
    let readme = fs::read_to_string(root().join("README.md")).expect("there is a README");
    for page in pages() {
        let name = page.strip_prefix(root()).expect("a page of ours").display().to_string();
        assert!(name == "README.md" || readme.contains(&format!("]({name}")), "README.md has no link to {name}");
    }
}

#[test]
fn what_the_pages_link_to_is_there() {
    let others = ["ARCHITECTURE.md", "CONTRIBUTING.md", "PITFALLS.md", "CHANGELOG.md", "FIDELITY.md"];
    for page in pages().into_iter().chain(others.map(|name| root().join(name))) {
        let text = fs::read_to_string(&page).expect("it is there");
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.starts_with("http")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { page.clone() } else { page.parent().expect("a folder").join(file) };
            assert!(path.exists(), "{} links to {target}", page.display());
            if !anchor.is_empty() && path.extension().is_some_and(|extension| extension == "md") {
                let anchors = anchors(&fs::read_to_string(&path).expect("it is there"));
                assert!(
                    anchors.contains(&anchor.to_owned()),
                    "{} links to {target}, which is no heading",
                    page.display()
                );
            }
        }
    }
}

/// What a page's headings are called in links.
fn anchors(page: &str) -> Vec<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect::<String>())
        .map(|heading| heading.replace(' ', "-"))
        .collect()
}

#[test]
fn the_licences_are_there_and_every_crate_names_them() {
    for file in ["LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(root().join(file).is_file(), "{file}");
    }
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("there is a manifest");
    assert!(manifest.contains("license = \"MIT OR Apache-2.0\""));
    for manifest in ["Cargo.toml", "components/Cargo.toml", "systems/Cargo.toml"] {
        let text = fs::read_to_string(root().join(manifest)).expect("there is a manifest");
        assert!(text.contains("license.workspace = true"), "{manifest}");
    }
}
