//! `manifest.json`: what was run, and what it wrote. Written last, so where it is, the run's other files are whole.
//!
//! It holds no clock, host name or absolute path: the same seed and config give the same bytes. The caller's part is an
//! object whose keys go into the manifest as they are; where it has a `config`, `config_sha256` is the SHA-256 of that
//! config as JSON without spaces and with sorted keys.

use std::path::Path;

use oracle_components::record::{Outcome, Status};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::OutputPlan;
use super::staged::ClosedFile;
use super::summarise::stop_word;

/// The manifest of a run.
pub(super) fn manifest(
    plan: &OutputPlan,
    outcome: &Outcome,
    partial: bool,
    run: Value,
    closed: &[ClosedFile],
    summary_bytes: usize,
) -> Value {
    let mut manifest = Map::new();
    let mut put = |key: &str, value: Value| manifest.insert(key.to_owned(), value);
    put("program", json!(env!("CARGO_PKG_NAME")));
    put("version", json!(env!("CARGO_PKG_VERSION")));
    put("name", json!(plan.run_name));
    put("partial", json!(partial));
    put("stop_reason", json!(stop_word(outcome.stop)));
    put("simulated_s", json!(outcome.end.as_secs_f64()));
    put("requests_arrived", json!(outcome.arrived));
    let statuses = Status::ALL.iter().zip(outcome.ended);
    let ended = statuses.map(|(status, count)| (status.as_str().to_owned(), json!(count)));
    put("requests_ended", Value::Object(ended.collect()));
    let data_files = closed.iter().map(|file| {
        json!({
            "path": path_from(&plan.directory, file.staged.final_path()),
            "rows": file.rows,
            "bytes": file.bytes,
        })
    });
    let summary = json!({
        "path": path_from(&plan.directory, &plan.summary_json),
        "bytes": summary_bytes,
    });
    put("files", data_files.chain([summary]).collect());
    if let Value::Object(run) = run {
        if let Some(config) = run.get("config") {
            put("config_sha256", json!(sha256_hex(&canonical(config))));
        }
        for (key, value) in run {
            put(&key, value);
        }
    }
    Value::Object(manifest)
}

/// Indented JSON with a line end.
pub(super) fn json_bytes(value: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("keys are strings");
    bytes.push(b'\n');
    bytes
}

/// The path as seen from the run's folder, where it lies in it.
fn path_from(directory: &Path, path: &Path) -> String {
    path.strip_prefix(directory)
        .unwrap_or(path)
        .display()
        .to_string()
}

/// JSON without spaces and with sorted keys, whatever the order of the map at hand.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_by_key(|&(key, _)| key);
            let entries = entries
                .into_iter()
                .map(|(key, value)| format!("{}:{}", json!(key), canonical(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(canonical).collect();
            format!("[{}]", values.join(","))
        }
        plain => plain.to_string(),
    }
}

fn sha256_hex(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
