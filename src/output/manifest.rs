//! `manifest.json`: what was run, and what it wrote. Written last, so where it is, the run's other files are whole.
//!
//! It holds no clock, host name or absolute path: the same seed and config give the same bytes. The caller's part is an
//! object whose keys go into the manifest as they are; where it has a `config`, `config_sha256` is the SHA-256 of that
//! config as JSON without spaces and with sorted keys.

use std::path::{Path, PathBuf};

use oracle_components::record::{Outcome, Status};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::OutputPlan;
use super::staged::ClosedFile;
use super::summarise::stop_word;

/// By which a manifest is known as one of ours.
pub(super) const PROGRAM: &str = env!("CARGO_PKG_NAME");

/// What a manifest says of how a run ended.
#[derive(Debug)]
pub(super) struct Ending<'a> {
    pub(super) plan: &'a OutputPlan,
    pub(super) outcome: &'a Outcome,
    pub(super) partial: bool,
    pub(super) closed: &'a [ClosedFile],
    /// Files that have no rows, with their bytes.
    pub(super) whole: &'a [(Option<&'a PathBuf>, usize)],
}

impl Ending<'_> {
    /// The manifest, with what the caller knows of the run in it.
    pub(super) fn manifest(&self, run: Value) -> Value {
        let mut manifest = json!({
            "program": PROGRAM,
            "version": env!("CARGO_PKG_VERSION"),
            "name": self.plan.run_name,
            "partial": self.partial,
            "stop_reason": stop_word(self.outcome.stop),
            "simulated_s": self.outcome.end.as_secs_f64(),
            "requests_arrived": self.outcome.arrived,
            "requests_ended": self.requests_ended(),
            "files": self.files(),
        });
        if let Value::Object(run) = run {
            if let Some(config) = run.get("config") {
                manifest["config_sha256"] = sha256_hex(&canonical(config)).into();
            }
            for (key, value) in run {
                manifest[key] = value;
            }
        }
        manifest
    }

    fn requests_ended(&self) -> Value {
        let statuses = Status::ALL.iter().zip(self.outcome.ended);
        let ended = statuses.map(|(status, count)| (status.as_str().to_owned(), json!(count)));
        Value::Object(ended.collect())
    }

    fn files(&self) -> Value {
        let directory = &self.plan.directory;
        let data_files = self.closed.iter().map(|file| {
            json!({
                "path": path_from(directory, file.staged.final_path()),
                "rows": file.rows,
                "bytes": file.bytes,
            })
        });
        let whole = self.whole.iter().filter_map(|&(path, bytes)| {
            Some(json!({
                "path": path_from(directory, path?),
                "bytes": bytes,
            }))
        });
        data_files.chain(whole).collect()
    }
}

/// Indented JSON with a line end.
pub(super) fn json_bytes(value: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("keys are strings");
    bytes.push(b'\n');
    bytes
}

/// The path as seen from the run's folder, where it lies in it.
pub(super) fn path_from(directory: &Path, path: &Path) -> String {
    path.strip_prefix(directory).unwrap_or(path).display().to_string()
}

/// JSON without spaces and with sorted keys, whatever the order of the map at hand.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_by_key(|&(key, _)| key);
            let entries = entries.into_iter().map(|(key, value)| format!("{}:{}", json!(key), canonical(value)));
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
