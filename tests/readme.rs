//! Everything that the README shows, run in a temporary folder in the order in which it stands there: files are written,
//! commands are run, queries are asked, and the output it prints is the output that comes.
//!
//! `README_UPDATE=1 cargo test --test readme` puts the output that comes into the README.

mod python_support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// A fenced block of the README.
struct Block {
    language: String,
    text: String,
}

/// The README, cut into what is outside of blocks and blocks, in turn.
fn blocks(readme: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in readme.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => open = Some(Block { language: language.to_owned(), text: String::new() }),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// Runs a line of a shell block as a reader would, with the binary that the tests have built.
fn run(line: &str, folder: &Path) -> Output {
    let built = Path::new(env!("CARGO_BIN_EXE_llmperforacle")).parent().expect("a binary is in a folder");
    let path = format!("{}:{}", built.display(), std::env::var("PATH").unwrap_or_default());
    let line = line.replace("cargo run --release -- ", "llmperforacle ");
    let is_ours = line.starts_with("llmperforacle ") || line.starts_with("cat traffic.csv | llmperforacle ");
    assert!(is_ours, "the README shows a command that no test knows: {line}");
    let output = Command::new("sh").args(["-c", &line]).current_dir(folder).env("PATH", path).output();
    output.expect("there is a shell")
}

/// Asks each query and expects rows; runs a snippet and expects it to print something.
fn ask(python: &str, block: &Block, folder: &Path) {
    let script = if block.language == "sql" {
        "import sys, duckdb\nfor query in sys.argv[1].split(';'):\n    if query.strip():\n        rows = duckdb.sql(query).fetchall()\n        assert rows, query\n        print(rows)\n"
    } else {
        &block.text
    };
    let output = Command::new(python).args(["-c", script, &block.text]).current_dir(folder).output();
    let output = output.expect("Python starts");
    assert!(output.status.success(), "{}\n{}", block.text, String::from_utf8_lossy(&output.stderr));
    assert!(!output.stdout.is_empty(), "it prints nothing: {}", block.text);
}

#[test]
fn what_the_readme_shows_is_what_happens() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut readme = fs::read_to_string(root.join("README.md")).expect("there is a README");
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::os::unix::fs::symlink(root.join("configs"), folder.path().join("configs")).expect("a link can be made");
    let python = python_support::python();
    let (mut last, mut commands) = (String::new(), 0);
    for block in blocks(&readme) {
        match block.language.as_str() {
            "csv" => {
                let name = if block.text.starts_with("m,n,k,") { "gemm.csv" } else { "traffic.csv" };
                fs::write(folder.path().join(name), &block.text).expect("it can be written");
            }
            "yaml" => fs::write(folder.path().join("chat.yaml"), &block.text).expect("it can be written"),
            // This test is a part of it.
            "sh" if block.text == "bash .ci/run\n" => assert!(root.join(".ci/run").is_file()),
            // Minutes of measurement: that there is such a bench must do.
            "sh" if block.text.starts_with("cargo bench") => {
                let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("there is a manifest");
                for line in block.text.lines() {
                    let name = line.strip_prefix("cargo bench --bench ").and_then(|rest| rest.split(' ').next());
                    let name = name.unwrap_or_else(|| panic!("the README shows a bench that no test knows: {line}"));
                    assert!(manifest.contains(&format!("[[bench]]\nname = \"{name}\"\n")), "{line}");
                }
            }
            "sh" => {
                for line in block.text.lines() {
                    let output = run(line, folder.path());
                    let complaints = String::from_utf8_lossy(&output.stderr);
                    assert!(output.status.success(), "{line}\n{complaints}");
                    assert!(!complaints.contains("warning"), "{line}\n{complaints}");
                    last = String::from_utf8(output.stdout).expect("the output is text");
                    commands += 1;
                }
            }
            "text" if std::env::var_os("README_UPDATE").is_some() => {
                readme = readme.replace(&format!("```text\n{}```", block.text), &format!("```text\n{last}```"));
                fs::write(root.join("README.md"), &readme).expect("it can be written");
            }
            "text" => assert_eq!(block.text, last, "set README_UPDATE=1 to put the new output into the README"),
            "sql" | "python" => {
                if let Some(python) = &python {
                    ask(python, &block, folder.path());
                }
            }
            other => panic!("the README has a block that no test knows: {other}"),
        }
    }
    assert!(commands > 10, "{commands} commands were found");
    for (what, run) in [("three prefill, one decodes", "disaggregated"), ("each does both", "together")] {
        let row = latencies(what, &folder.path().join("output").join(run));
        let shown = readme.lines().find(|line| line.starts_with(&format!("| {what} |"))).expect("a row of the README");
        if std::env::var_os("README_UPDATE").is_some() {
            readme = readme.replace(shown, &row);
            fs::write(root.join("README.md"), &readme).expect("it can be written");
        } else {
            assert_eq!(shown, row, "set README_UPDATE=1 to put the new figures into the README");
        }
    }
}

/// A run as a row of the README's table of prefill and decode on separate engines.
fn latencies(what: &str, run: &Path) -> String {
    let summary = fs::read_to_string(run.join("summary.json")).expect("the run has a summary");
    let summary: Value = serde_json::from_str(&summary).expect("it is JSON");
    let ms = |metric: &str, quantile: &str| summary["latency"][metric][quantile].as_f64().expect("a latency");
    let [first, first_p99] = ["p50", "p99"].map(|quantile| ms("time_to_first_token_ms", quantile));
    let (each, between_p99) = (ms("time_per_output_token_ms", "p50"), ms("inter_token_latency_ms", "p99"));
    format!("| {what} | {first:.0} ms | {first_p99:.0} ms | {each:.1} ms | {between_p99:.1} ms |")
}

#[test]
fn what_the_readme_links_to_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "PITFALLS.md", "CHANGELOG.md"] {
        let text = fs::read_to_string(root.join(name)).expect("it is there");
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.starts_with("http") && !target.starts_with('#')) {
            let path = target.split('#').next().unwrap_or(target);
            assert!(root.join(path).exists(), "{name} links to {target}");
        }
    }
}
