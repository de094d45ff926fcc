//! What an earlier run has left in the folder: whether it may be replaced, and what of it must not stay behind.
//!
//! An earlier run is known by its manifest, also by one that it did not live to give its final name.

use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::OutputError;
use super::manifest::{PROGRAM, path_from};
use super::plan::{OutputPlan, Overwrite};
use super::staged::partials;
use crate::inputs;
use crate::workload::TraceDigest;

/// By which a folder is known as a sweep's.
pub(crate) const SWEEP_FILE: &str = "sweep.json";
/// By which a folder is known as a run's.
pub(crate) const MANIFEST_FILE: &str = "manifest.json";
/// The key of a manifest for the digest of the trace that was replayed.
pub(crate) const TRACE: &str = "trace";
/// The page about a run in its folder. It is made after the run, so no manifest lists it.
pub(crate) const REPORT_FILE: &str = "report.html";
/// By which such a page is known; it stands near its beginning.
pub(crate) const REPORT_MARK: &str =
    concat!("<meta name=\"generator\" content=\"", env!("CARGO_PKG_NAME"), " report\">");
/// So near.
const MARK_WITHIN: u64 = 512;

/// Whether a file is a page about a run.
pub(crate) fn is_report(path: &Path) -> bool {
    let mut beginning = Vec::new();
    let read = inputs::open_file(path).and_then(|file| file.take(MARK_WITHIN).read_to_end(&mut beginning));
    read.is_ok() && String::from_utf8_lossy(&beginning).contains(REPORT_MARK)
}

/// Takes away the page about what is no longer in a folder.
pub(crate) fn remove_report(folder: &Path) -> std::io::Result<()> {
    let report = folder.join(REPORT_FILE);
    if is_report(&report) { fs::remove_file(report) } else { Ok(()) }
}

/// Files of earlier runs: those in the folder that their manifests list, the page about them, and those elsewhere that both
/// a manifest and this run's configuration name.
pub(super) fn files(plan: &OutputPlan) -> Vec<PathBuf> {
    let manifests = manifests(plan);
    let listed = manifests.iter().filter_map(|manifest| manifest["files"].as_array()).flatten();
    let names: Vec<&Path> = listed.filter_map(|file| file["path"].as_str()).map(Path::new).collect();
    let is_listed = |path: &&PathBuf| names.contains(&Path::new(&path_from(&plan.directory, path)));
    let left_out: Vec<PathBuf> = plan.left_out.iter().filter(is_listed).cloned().collect();
    // A manifest that somebody has changed must not lead out of the folder.
    let is_name = |name: &&Path| matches!(name.components().collect::<Vec<_>>()[..], [Component::Normal(_)]);
    let report = plan.directory.join(REPORT_FILE);
    let report = (!manifests.is_empty() && is_report(&report)).then_some(report);
    let in_folder = names.into_iter().filter(is_name).map(|name| plan.directory.join(name));
    let mut files: Vec<PathBuf> = in_folder.chain(left_out).chain(report).collect();
    files.sort();
    files.dedup();
    files
}

/// Whether this run may replace what is in the folder.
pub(super) fn check(plan: &OutputPlan) -> Result<(), OutputError> {
    // A folder of both would be taken for the one by some readers, and for the other by others.
    if plan.manifest_json.is_some() && plan.directory.join(SWEEP_FILE).exists() {
        return Err(OutputError::HoldsSweep { directory: plan.directory.clone() });
    }
    let Overwrite::SameConfiguration(config) = &plan.overwrite else { return Ok(()) };
    let in_folder = plan.files().into_iter().filter(|file| file.parent() == Some(&plan.directory));
    let Some(file) =
        in_folder.filter(|file| file.exists()).max_by_key(|file| plan.manifest_json.as_ref() == Some(*file))
    else {
        return Ok(());
    };
    let differences = manifests(plan).into_iter().map(|manifest| {
        difference(&manifest["config"], config, "")
            .or_else(|| other_trace(&manifest[TRACE], plan.trace_digest.as_ref()))
    });
    // A run that was killed between two renames has left its files and a manifest without its final name.
    match differences.collect::<Vec<_>>().as_slice() {
        [] => Err(OutputError::UnknownFile { path: file.clone() }),
        found if found.contains(&None) => Ok(()),
        [found, ..] => Err(OutputError::OtherConfiguration {
            directory: plan.directory.clone(),
            difference: found.clone().unwrap_or_default(),
        }),
    }
}

/// The manifest in the folder, else those of runs that were killed.
fn manifests(plan: &OutputPlan) -> Vec<Value> {
    let Some(path) = &plan.manifest_json else { return Vec::new() };
    let paths = if path.exists() { vec![path.clone()] } else { partials(path) };
    let texts = paths.iter().filter_map(|path| inputs::read_file(path).ok());
    let manifests = texts.filter_map(|text| serde_json::from_slice::<Value>(&text).ok());
    manifests.filter(|manifest| manifest["program"] == PROGRAM).collect()
}

/// That the trace of the same name has other bytes, in words.
fn other_trace(theirs: &Value, ours: Option<&TraceDigest>) -> Option<String> {
    let ours = serde_json::json!(ours);
    if *theirs == ours {
        return None;
    }
    let words = |digest: &Value| match &digest["bytes"] {
        Value::Null => "of no known bytes".to_owned(),
        bytes => format!("of {bytes} bytes with the hash {}", digest["xxh3_128"].as_str().unwrap_or_default()),
    };
    Some(format!("its trace is {} there and {} here", words(theirs), words(&ours)))
}

/// The first key whose value is another, in words. The folder itself is none: it may be named by a flag.
fn difference(theirs: &Value, ours: &Value, path: &str) -> Option<String> {
    if path == "metrics_config.output_directory" || theirs == ours {
        return None;
    }
    let empty = serde_json::Map::new();
    let objects = match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => Some((theirs, ours)),
        (Value::Object(theirs), Value::Null) => Some((theirs, &empty)),
        (Value::Null, Value::Object(ours)) => Some((&empty, ours)),
        _ => None,
    };
    if let Some((theirs, ours)) = objects {
        let added = ours.keys().filter(|key| !theirs.contains_key(*key));
        let value = |map: &serde_json::Map<String, Value>, key| map.get(key).cloned().unwrap_or_default();
        let below = |key: &String| if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let mut found =
            theirs.keys().chain(added).map(|key| difference(&value(theirs, key), &value(ours, key), &below(key)));
        return found.find_map(|found| found);
    }
    if let (Value::Array(theirs), Value::Array(ours)) = (theirs, ours)
        && theirs.len() == ours.len()
    {
        let mut items = theirs.iter().zip(ours).enumerate();
        return items.find_map(|(index, (theirs, ours))| difference(theirs, ours, &format!("{path}[{index}]")));
    }
    Some(format!("{path} is {} there and {} here", words(theirs), words(ours)))
}

fn words(value: &Value) -> String {
    match value {
        Value::Null => "not given".to_owned(),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "a mapping".to_owned(),
        plain => plain.to_string(),
    }
}
