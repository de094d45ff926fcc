//! What a shell sees: formats, completions, pages, colours, environment variables.

use std::process::Command;

use serde_json::Value;

use crate::{Desk, Told, number};

const PROGRAM: &str = env!("CARGO_BIN_EXE_llmperforacle");
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/recorded-run");
const POINTS: &str = "\
id,system,model_path,isl,osl,concurrency,tp_size,ttft_ms,tpot_ms,benchmark
one,h100_sxm,meta-llama/Llama-3.1-8B,64,16,2,1,20,6,vllm
";

/// Every command that prints a table.
fn commands(desk: &Desk) -> Vec<String> {
    desk.write("wide.yaml", &crate::SMALL.replace("A100-80GB", "H100"));
    desk.write("broken.yaml", &crate::SMALL.replace("random_seed", "random_sed"));
    [
        "models llama3",
        "devices a100",
        "workload presets",
        "workload describe trace.csv",
        "run small.yaml -o none -q",
        "validate broken.yaml",
        "compare small.yaml wide.yaml",
        "plan --rate 2 --requests 50 --prompt-tokens 200 --output-tokens 20 --model Llama3.1-8B --device H100 --tp 1,2 --slo ttft_p99=1s -q",
        "plan --max-rate --replicas 1 --rate 2 --requests 2000 --prompt-tokens 200 --output-tokens 20 --model Llama3.1-8B --device H100 --slo ttft_p99=1s -q",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([format!("validate-run {RECORDED}"), format!("calibrate run {RECORDED}")])
    .collect()
}

/// The records of a CSV, all as long as its head.
fn records(text: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    let rows =
        reader.records().map(|row| row.expect("rows are as long as the head").iter().map(str::to_owned).collect());
    rows.collect()
}

/// Cells of a line of a Markdown table; a bar that is escaped ends none.
fn cells(line: &str) -> usize {
    line.replace("\\|", "").matches('|').count()
}

#[test]
fn every_table_comes_in_every_format() {
    let desk = Desk::small();
    for command in commands(&desk) {
        let text = desk.run(&command);
        let json = desk.run(&format!("{command} --format json"));
        let csv = desk.run(&format!("{command} --format csv"));
        let markdown = desk.run(&format!("{command} --format markdown"));
        for told in [&json, &csv, &markdown] {
            assert_eq!(told.code, text.code, "{command}: {}", told.err);
        }
        assert!(serde_json::from_str::<Value>(&json.out).is_ok(), "{command}: {}", json.out);
        let rows = records(&csv.out);
        assert!(rows.len() > 1, "{command}: {}", csv.out);
        assert!(rows[0].iter().all(|key| !key.is_empty() && !key.contains(' ')), "{command}: {:?}", rows[0]);
        let tables: Vec<&str> = markdown.out.lines().filter(|line| line.starts_with('|')).collect();
        let rules = tables.iter().filter(|line| line.starts_with("| ---")).count();
        assert!(
            rules > 0 || ["workload presets", "calibrate"].iter().any(|c| command.starts_with(c)),
            "{}",
            markdown.out
        );
        for pair in markdown.out.lines().collect::<Vec<_>>().windows(2) {
            if pair.iter().all(|line| line.starts_with('|')) {
                assert_eq!(cells(pair[0]), cells(pair[1]), "{command}: {pair:?}");
            }
        }
    }
    assert_eq!(desk.run("models --format table").out, desk.run("models").out);
    assert_eq!(desk.run("models --format md").out, desk.run("models --format markdown").out);
}

#[test]
fn csv_has_the_figures_of_the_json() {
    let desk = Desk::small();
    let json = desk.summary("run small.yaml -o none -q");
    let rows = records(&desk.run("run small.yaml -o none -q --format csv").out);
    let of = |key: &str| rows.iter().find(|row| row[0] == key).map(|row| row[1].parse::<f64>().expect("a number"));
    for pointer in ["/latency/time_to_first_token_ms/p99", "/requests/total", "/engines/first/busy"] {
        assert_eq!(of(&pointer[1..].replace('/', ".")), Some(number(&json, pointer)), "{pointer}");
    }
    let json: Value = serde_json::from_str(&desk.run("devices --format json").out).expect("JSON");
    let rows = records(&desk.run("devices --format csv").out);
    assert_eq!(rows.len() - 1, json.as_array().map_or(0, Vec::len));
    for (row, device) in rows[1..].iter().zip(json.as_array().expect("a list")) {
        assert_eq!(device["name"], row[0]);
        let bandwidth = number(device, "/spec/memory_bytes_per_s") / 1e9;
        assert_eq!(row[4].parse::<f64>().expect("a number"), bandwidth, "{row:?}");
    }
}

#[test]
fn serving_points_come_in_every_format() {
    let desk = Desk::small();
    desk.write("points.csv", POINTS);
    let csv = desk.run("validate-points points.csv --format csv");
    assert_eq!(csv.code, 0, "{}", csv.err);
    let rows = records(&csv.out);
    let json: Value = serde_json::from_str(&desk.run("validate-points points.csv --format json").out).expect("JSON");
    let column = rows[0].iter().position(|key| key == "predicted_ttft_ms").expect("it is a column");
    let predicted = number(&json, "/points/0/metrics/0/predicted");
    assert_eq!(rows.len(), 2);
    assert!((rows[1][column].parse::<f64>().expect("a number") / predicted - 1.0).abs() < 1e-12, "{}", csv.out);
    let markdown = desk.run("validate-points points.csv --format markdown").out;
    // Points, medians and cohorts.
    assert_eq!(markdown.lines().filter(|line| line.starts_with("| ---")).count(), 3, "{markdown}");
}

/// What bash offers after words.
fn offered(script: &str, words: &[&str]) -> Vec<String> {
    let (last, previous) = (words.len() - 1, words[words.len() - 2]);
    let typed: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let asked = format!(
        "{script}\nCOMP_WORDS=({})\nCOMP_CWORD={last}\n_llmperforacle llmperforacle '{}' '{previous}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
        typed.join(" "),
        words[last],
    );
    let output = Command::new("bash").args(["--norc", "-c", &asked]).output().expect("there is bash");
    let told = Told::of(&output);
    assert!(told.err.is_empty(), "{}", told.err);
    told.out.lines().map(str::to_owned).collect()
}

#[test]
fn completions_know_commands_flags_models_and_devices() {
    let desk = Desk::small();
    let bash = desk.run("completions bash");
    assert_eq!((bash.code, bash.err.as_str()), (0, ""));
    let offered = |words: &[&str]| offered(&bash.out, words);
    assert_eq!(offered(&["llmperforacle", "valid"]), ["validate", "validate-run", "validate-points"]);
    assert_eq!(offered(&["llmperforacle", "run", "--replic"]), ["--replicas"]);
    assert_eq!(offered(&["llmperforacle", "run", "--model", "Llama3.1-8"]), ["Llama3.1-8B"]);
    assert_eq!(offered(&["llmperforacle", "run", "--device", "H100-S"]), ["H100-SXM-80GB"]);
    assert_eq!(offered(&["llmperforacle", "models", "Llama3.1-8"]), ["Llama3.1-8B"]);
    assert_eq!(offered(&["llmperforacle", "models", "--format", "m"]), ["markdown"]);
    for shell in ["zsh", "fish"] {
        let told = desk.run(&format!("completions {shell}"));
        assert_eq!((told.code, told.err.as_str()), (0, ""));
        for word in ["validate-points", "Llama3.1-8B", "H100-SXM-80GB", "replicas"] {
            assert!(told.out.contains(word), "{shell} does not know {word}");
        }
    }
    let told = desk.run("completions tcsh");
    assert!(told.code == 2 && told.err.contains("bash, zsh, fish"), "{}", told.err);
}

#[test]
fn there_is_a_page_of_every_command() {
    let desk = Desk::small();
    let told = desk.run("man pages/man1");
    assert_eq!(told.code, 0, "{}", told.err);
    let help = desk.run("--help").out;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let listed: Vec<&str> = listed.filter_map(|line| line.split_whitespace().next()).filter(|c| *c != "help").collect();
    assert!(listed.len() > 10, "{listed:?}");
    for command in listed.into_iter().chain(["workload-describe", "calibrate-kernels"]) {
        let page = desk.read(&format!("pages/man1/llmperforacle-{command}.1"));
        assert!(page.contains(&format!("llmperforacle\\-{}", command.replace('-', "\\-"))), "{page}");
    }
    let page = desk.run("man").out;
    assert_eq!(page, desk.read("pages/man1/llmperforacle.1"));
    assert!(page.contains("LLMPERFORACLE") && page.contains("Exit codes:"), "{page}");
    let told = desk.run("man trace.csv/pages");
    assert!(told.code == 2 && told.err.starts_with("error: cannot write to trace.csv/pages: "), "{}", told.err);
}

/// Runs the program with variables, standard error on a terminal or in a pipe.
fn with(desk: &Desk, variables: &[(&str, &str)], arguments: &str) -> Told {
    let mut command = Command::new(PROGRAM);
    command.args(arguments.split_whitespace()).current_dir(desk.folder.path()).envs(variables.iter().copied());
    Told::of(&command.output().expect("it starts"))
}

/// All that it prints on a terminal.
fn on_a_terminal(desk: &Desk, variables: &[(&str, &str)], arguments: &str) -> String {
    let mut command = Command::new("script");
    command.args(["-qec", &format!("{PROGRAM} {arguments}"), "/dev/null"]).current_dir(desk.folder.path());
    command.env_remove("NO_COLOR").env("TERM", "xterm").envs(variables.iter().copied());
    String::from_utf8(command.output().expect("there is script").stdout).expect("text")
}

#[test]
fn colour_is_for_terminals_and_goes_where_it_is_not_wanted() {
    let desk = Desk::small();
    let (red, run) = ("\u{1b}[31m", "run small.yaml -o none");
    assert!(on_a_terminal(&desk, &[], "models zzz").contains(red));
    assert!(on_a_terminal(&desk, &[], "fly").contains(red));
    let verdict = on_a_terminal(&desk, &[], run);
    assert!(verdict.contains("Verdict     \u{1b}[1m") && verdict.contains("\u{1b}[0m: "), "{verdict}");
    for plain in [
        on_a_terminal(&desk, &[("NO_COLOR", "1")], "models zzz"),
        on_a_terminal(&desk, &[("NO_COLOR", "1")], "fly"),
        on_a_terminal(&desk, &[("LLMPERFORACLE_COLOR", "never")], "models zzz"),
        on_a_terminal(&desk, &[], "models zzz --color never"),
        on_a_terminal(&desk, &[], "fly --color=never"),
        on_a_terminal(&desk, &[("NO_COLOR", "1")], &format!("{run} -l warning")),
        desk.run("models zzz").err,
        desk.run(run).out,
    ] {
        assert!(!plain.contains('\u{1b}') && !plain.is_empty(), "{plain}");
    }
    let told = desk.run("run --color always small.yaml -o none -l warning");
    assert!(told.out.contains("\u{1b}[1m"), "{}", told.out);
    // What is quoted from elsewhere is coloured by nobody but us.
    let plain = desk.run("run small.yaml -o none -l warning");
    let stripped = told.out.replace("\u{1b}[1m", "").replace("\u{1b}[32m", "").replace("\u{1b}[33m", "");
    assert_eq!(stripped.replace("\u{1b}[31m", "").replace("\u{1b}[0m", ""), plain.out);
    assert!(desk.run("models zzz --color always").err.starts_with("\u{1b}[1m\u{1b}[31merror\u{1b}[0m: "));
    assert_eq!(desk.run("models --color sometimes").code, 2);
}

#[test]
fn variables_stand_for_global_flags_and_flags_come_first() {
    let desk = Desk::small();
    let run = "run small.yaml -o none --format json";
    assert!(with(&desk, &[], run).err.contains("simulated"));
    assert_eq!(with(&desk, &[("LLMPERFORACLE_LOG_LEVEL", "error")], run).err, "");
    assert!(with(&desk, &[("LLMPERFORACLE_LOG_LEVEL", "error")], &format!("{run} -l info")).err.contains("simulated"));
    let (one, two) =
        (with(&desk, &[("LLMPERFORACLE_THREADS", "1")], run), with(&desk, &[], &format!("{run} --threads 2")));
    assert_eq!(one.out, two.out);
    for (variable, value) in
        [("LLMPERFORACLE_THREADS", "many"), ("LLMPERFORACLE_LOG_LEVEL", "loud"), ("LLMPERFORACLE_COLOR", "red")]
    {
        let told = with(&desk, &[(variable, value)], run);
        assert!(told.code == 2 && told.err.contains(value), "{}", told.err);
        assert!(desk.run("run --help").out.contains(&format!("[env: {variable}=")), "{variable} is not in the help");
    }
}

#[test]
fn exit_codes_are_in_the_help() {
    let help = Desk::small().run("--help").out;
    for code in ["  0  ", "  1  ", "  2  "] {
        assert!(help.contains(&format!("\n{code}")), "{help}");
    }
}
