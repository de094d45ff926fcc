//! `compare`: runs and configurations side by side.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use rayon::prelude::*;

use super::args::{Compare, LogLevel};
use super::run::overrides;
use super::{Failure, interruption, print_diagnostics, print_findings, tell};
use crate::compare::{Comparison, NoRun, Point, Run};
use crate::config::Overrides;
use crate::inputs;

/// Compares what is named. What cannot be used keeps no other from being compared.
pub fn compare(command: &Compare, log_level: LogLevel) -> Result<(), Failure> {
    if command.of.iter().any(|path| path.as_os_str() == "-") {
        let message = "configurations are read again for every seed: name a file, not standard input";
        return Err(Failure::BadInput(Some(message.to_owned())));
    }
    if let Some(pipe) = command.of.iter().find(|path| inputs::is_pipe_at(path)) {
        let pipe = pipe.display();
        let message = format!("{pipe}: configurations are read again for every seed: name a file, not a pipe");
        return Err(Failure::BadInput(Some(message)));
    }
    let (folders, configs): (Vec<&PathBuf>, Vec<_>) = command.of.iter().partition(|path| path.is_dir());
    refuse_flags_of_configurations(command, configs.is_empty())?;
    let overrides = overrides(&command.changes);
    let simulated = simulate(&configs, command.repeat, &overrides, log_level)?;
    let mut runs: Vec<(usize, Run)> = Vec::new();
    let is_there = |config: &usize| simulated.iter().any(|(simulated, _)| simulated == config);
    let mut unusable = (0..configs.len()).filter(|config| !is_there(config)).count();
    let place = |path: &Path| command.of.iter().position(|other| other == path).unwrap_or(0);
    for folder in folders {
        match Run::read(folder) {
            Ok(run) => runs.push((place(folder), run)),
            Err(message) => {
                unusable += 1;
                tell(&format!("error: {message}"));
            }
        }
    }
    runs.extend(simulated.into_iter().map(|(config, run)| (place(configs[config]), run)));
    // The first that is named is the one that all others are held against.
    runs.sort_by_key(|(place, run)| (*place, run.seed));
    let comparison = Comparison::of(runs.into_iter().map(|(_, run)| run).collect());
    let comparison = match comparison {
        Err(_) if unusable > 0 => return Err(Failure::BadInput(None)),
        other => other.map_err(|message| Failure::BadInput(Some(message)))?,
    };
    if log_level <= LogLevel::Warning {
        comparison.warnings.iter().for_each(|warning| tell(&format!("warning: {warning}")));
    }
    print_findings(&comparison, command.format)?;
    if unusable > 0 { Err(Failure::BadInput(None)) } else { Ok(()) }
}

/// Runs are as they are.
fn refuse_flags_of_configurations(command: &Compare, only_runs: bool) -> Result<(), Failure> {
    let changes = &command.changes;
    let flags = [
        ("--repeat", command.repeat > 1),
        ("--seed", changes.seed.is_some()),
        ("--set", !changes.set.is_empty()),
        ("--mfu", changes.mfu.is_some()),
        ("--mbu", changes.mbu.is_some()),
        ("--force", changes.force),
        ("--efficiency-table", !changes.efficiency_table.is_empty()),
    ];
    match flags.into_iter().find(|(_, given)| *given && only_runs) {
        Some((flag, _)) => Err(Failure::BadInput(Some(format!(
            "{flag} is for configurations, which are simulated; these are folders of runs, and stay as they are"
        )))),
        None => Ok(()),
    }
}

/// Runs of configurations, with their places among these, on all cores.
fn simulate(
    configs: &[&PathBuf],
    repeat: u32,
    overrides: &Overrides,
    log_level: LogLevel,
) -> Result<Vec<(usize, Run)>, Failure> {
    let started = Instant::now();
    let interrupted = interruption();
    let mut points = Vec::new();
    for (place, config) in configs.iter().enumerate() {
        let point = Point { config, seed: None, overrides };
        if repeat == 1 {
            points.push((place, point));
            continue;
        }
        match point.own_seed() {
            Ok(first) => points.extend(
                (0..u64::from(repeat)).map(|more| (place, Point { seed: Some(first.wrapping_add(more)), ..point })),
            ),
            Err(error) => complain(error, log_level)?,
        }
    }
    let flag: &AtomicBool = &interrupted;
    let ended: Vec<_> = points.par_iter().map(|(place, point)| (*place, point.simulate(flag))).collect();
    let (mut runs, mut failed) = (Vec::new(), Vec::new());
    for (place, ended) in ended {
        match ended {
            Ok((run, warnings)) => {
                if !runs.iter().any(|(known, _)| *known == place) {
                    print_diagnostics(&warnings, log_level);
                }
                runs.push((place, run));
            }
            Err(error) if failed.contains(&place) => drop(error),
            Err(error) => {
                failed.push(place);
                complain(error, log_level)?;
            }
        }
    }
    runs.retain(|(place, _)| !failed.contains(place));
    if !runs.is_empty() && log_level <= LogLevel::Info {
        tell(&format!("simulated {} runs in {:.2} s of real time", runs.len(), started.elapsed().as_secs_f64()));
    }
    Ok(runs)
}

/// Says what is wrong with a configuration; a run that was tried and failed ends the command.
fn complain(error: NoRun, log_level: LogLevel) -> Result<(), Failure> {
    match error {
        NoRun::Configuration(found) => print_diagnostics(&found, log_level),
        NoRun::Load(message) => tell(&format!("error: {message}")),
        NoRun::Failed(message) => return Err(Failure::Failed(message)),
    }
    Ok(())
}
