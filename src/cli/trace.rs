//! `trace`: a window of a run for Perfetto.

use std::path::Path;

use oracle_components::record::Stop;
use oracle_systems::Simulation;
use serde_json::Value;

use super::args::{LogLevel, Trace};
use super::run::overrides;
use super::{Failure, interruption, print, print_diagnostics, refuse_output, tell};
use crate::config::{Overrides, Resolved, load, load_value};
use crate::inputs;
use crate::output::{MANIFEST_FILE, SWEEP_FILE, put};
use crate::runs::{profile_names, unless};
use crate::trace_events::Recorder;

/// Simulates a run again and tells what happens in the window.
pub fn trace(command: &Trace, log_level: LogLevel) -> Result<(), Failure> {
    let overrides = overrides(&command.changes);
    let manifest = command.of.is_dir().then(|| manifest(&command.of)).transpose()?;
    let resolved = resolve(command, manifest.as_ref(), &overrides, log_level)?;
    if let Some(path) = &command.output {
        let mut reads = resolved.output.reads.clone();
        reads.files.extend(manifest.as_ref().map(|_| command.of.join(MANIFEST_FILE)));
        refuse_output(path, &reads, command.overwrite)?;
    }
    let (source, facts) = resolved.workload.open().map_err(|error| Failure::BadInput(Some(error.to_string())))?;
    let recorder = Recorder::new(command.window, &resolved.scenario, profile_names(&resolved, &facts));
    let interrupted = interruption();
    // Only engines in lockstep tell their steps; records are the same.
    let mut simulation = Simulation::new(resolved.scenario, source, recorder).in_lockstep();
    let outcome = simulation.run(|_| unless(&interrupted));
    if outcome.stop == Stop::Interrupted {
        return Err(Failure::Failed("interrupted".to_owned()));
    }
    if let Some(error) = facts.failure() {
        return Err(Failure::Failed(error));
    }
    if let Some(manifest) = manifest.filter(|_| overrides == Overrides::default()) {
        is_that_run(&manifest, outcome.arrived, outcome.end.as_secs_f64(), &command.of)?;
    }
    let recorder = simulation.into_sink();
    if let Some(message) = recorder.nothing(outcome.end) {
        return Err(Failure::BadInput(Some(message)));
    }
    let counts = recorder.counts();
    write(command, &recorder.json())?;
    if log_level <= LogLevel::Info {
        tell(&format!("{counts}; open it in ui.perfetto.dev"));
    }
    Ok(())
}

/// The configuration of a file, or of a run by its manifest.
fn resolve(
    command: &Trace,
    manifest: Option<&Value>,
    overrides: &Overrides,
    log_level: LogLevel,
) -> Result<Resolved, Failure> {
    let resolved = match manifest {
        Some(manifest) => load_value(&manifest["config"], MANIFEST_FILE, overrides),
        None => load(&command.of, overrides),
    };
    let (found, resolved) = match resolved {
        Ok(resolved) => (resolved.warnings.clone(), Ok(resolved)),
        Err(found) => (found, Err(Failure::BadInput(None))),
    };
    // A run has told its warnings.
    if manifest.is_none() || resolved.is_err() {
        print_diagnostics(&found, log_level);
    }
    resolved
}

fn manifest(folder: &Path) -> Result<Value, Failure> {
    let bad = |message: String| Failure::BadInput(Some(message));
    if folder.join(SWEEP_FILE).exists() {
        let message =
            format!("{} holds a sweep; one run is traced: name its configuration, with --set", folder.display());
        return Err(bad(message));
    }
    let path = folder.join(MANIFEST_FILE);
    let shown = path.display();
    let bytes = inputs::read_file(&path)
        .map_err(|error| bad(format!("{} holds no run: cannot read {shown}: {error}", folder.display())))?;
    let manifest: Value =
        serde_json::from_slice(&bytes).map_err(|error| bad(format!("{shown} is damaged: {error}")))?;
    if manifest["program"] != env!("CARGO_PKG_NAME") || !manifest["config"].is_object() {
        return Err(bad(format!("{shown} is not of a run of this program")));
    }
    Ok(manifest)
}

/// A run that comes out otherwise is another: its trace file has changed, or the program has.
fn is_that_run(manifest: &Value, arrived: u64, end_s: f64, folder: &Path) -> Result<(), Failure> {
    let told = [manifest["requests_arrived"].as_f64(), manifest["simulated_s"].as_f64()];
    let is_partial = manifest["partial"].as_bool().unwrap_or(false);
    if is_partial || told == [Some(arrived as f64), Some(end_s)] {
        return Ok(());
    }
    let version = manifest["version"].as_str().unwrap_or("another version");
    Err(Failure::BadInput(Some(format!(
        "simulated again, {} comes out otherwise ({arrived} requests until {end_s} s): its trace has changed since, a file is read from \
         another folder, or the program has ({version} then, {} now); run it again, or trace its configuration",
        folder.display(),
        env!("CARGO_PKG_VERSION"),
    ))))
}

fn write(command: &Trace, json: &str) -> Result<(), Failure> {
    let Some(path) = &command.output else { return print(json) };
    put(path, json.as_bytes()).map_err(|error| Failure::BadInput(Some(error.to_string())))
}
