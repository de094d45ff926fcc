//! Predictions held against measurements: folders of recorded runs that the tests write, and those that are shared.

mod calibration;
#[path = "../desk/mod.rs"]
mod desk;
mod documents;
mod folders;
mod points;
mod runs;
mod shapes;
mod shared;
#[path = "../shared_files/mod.rs"]
mod shared_files;

use serde_json::{Value, json};

use desk::Desk;

impl Desk {
    /// A run's folder.
    fn run_folder(&self, name: &str, run: &Value, requests: &str) {
        self.write(&format!("{name}/run.json"), &format!("{run:#}"));
        self.write(&format!("{name}/requests.csv"), requests);
    }

    /// Runs the program, which must succeed, and gives what it printed as JSON.
    fn json(&self, arguments: &str) -> Value {
        let told = self.run(&format!("{arguments} --format json"));
        assert_eq!(told.code, 0, "{arguments}\n{}", told.err);
        serde_json::from_str(&told.out).expect("it prints JSON")
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
