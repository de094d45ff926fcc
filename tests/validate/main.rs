//! Predictions held against measurements: folders of recorded runs that the tests write, and those that are shared.

mod calibration;
mod documents;
mod folders;
mod points;
mod runs;
mod shapes;
mod shared;
#[path = "../shared_files/mod.rs"]
mod shared_files;

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use assert_cmd::Command;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder to run in.
struct Desk {
    folder: TempDir,
}

/// What a command came to.
struct Told {
    code: i32,
    out: String,
    err: String,
}

impl Desk {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it is in the folder")).expect("a folder can be made");
        fs::write(path, text).expect("it can be written");
    }

    /// A run's folder.
    fn run_folder(&self, name: &str, run: &Value, requests: &str) {
        self.write(&format!("{name}/run.json"), &format!("{run:#}"));
        self.write(&format!("{name}/requests.csv"), requests);
    }

    /// Runs the program with the words of `arguments`.
    fn run(&self, arguments: &str) -> Told {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llmperforacle"));
        let words = arguments.split_whitespace();
        Told::of(&command.args(words).current_dir(self.folder.path()).output().expect("it starts"))
    }

    /// Runs the program, which must succeed, and gives what it printed as JSON.
    fn json(&self, arguments: &str) -> Value {
        let told = self.run(&format!("{arguments} --format json"));
        assert_eq!(told.code, 0, "{arguments}\n{}", told.err);
        serde_json::from_str(&told.out).expect("it prints JSON")
    }
}

impl Told {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("what is printed is text");
        let code = output.status.code().expect("it ended by itself");
        Self { code, out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// An 8B model on an H100.
fn small_run(measured: Value) -> Value {
    json!({
        "name": "small", "model": "meta-llama/Llama-3.1-8B", "device": "H100-SXM-80GB", "num_devices": 1,
        "dtype": "bfloat16", "front_end": "http",
        "instances": [{"role": "both", "count": 1, "tp": 1, "pp": 1, "dp": 1, "ep": 1}],
        "engine": {"type": "vllm", "version": "0.19.0", "max_num_seqs": 64, "max_num_batched_tokens": 2048},
        "measured": measured,
    })
}

/// A table of requests, one every tenth of a second.
fn requests(count: u32) -> String {
    table((0..count).map(|i| (f64::from(i) / 10.0, 200 + 37 * (i % 11), 20 + i % 7)))
}

/// A table of (arrival in seconds, prompt tokens, output tokens).
fn table(requests: impl Iterator<Item = (f64, u32, u32)>) -> String {
    let rows = requests.map(|(arrival_s, prompt, output)| format!("{arrival_s:.3},{prompt},{output}\n"));
    format!("arrival_s,prompt_tokens,output_tokens\n{}", rows.collect::<String>())
}

/// A metric of a comparison.
fn metric<'a>(comparison: &'a Value, name: &str) -> &'a Value {
    let metrics = comparison["metrics"].as_array().expect("a list of metrics");
    metrics.iter().find(|metric| metric["metric"] == name).unwrap_or_else(|| panic!("no {name} in {metrics:?}"))
}

fn predicted(comparison: &Value, name: &str) -> f64 {
    metric(comparison, name)["predicted"].as_f64().unwrap_or_else(|| panic!("{name} is not predicted"))
}
