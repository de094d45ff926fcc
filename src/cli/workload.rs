//! `workload`: what a load holds, and loads as traces, without a simulation.

use std::path::{Path, PathBuf};

use oracle_systems::ports::RequestSource;

use super::args::{Changes, Convert, Describe, Dropped, Generate, LogLevel, Target, Workload, Written};
use super::load_flags::Load as LoadArguments;
use super::run::{overrides, remarks, shaping};
use super::{Failure, presets, print_diagnostics, print_findings, tell};
use crate::config::{Diagnostic, LoadAlone, LoadFlags, Overrides, ShapingFlags, load, load_alone};
use crate::describe::Description;
use crate::inputs::ReadFiles;
use crate::output::{self, LoadFile, LoadFileError, Loss};
use crate::workload::{Turns, Workload as Load, WorkloadFacts};

/// Runs the command.
pub fn workload(command: &Workload, log_level: LogLevel) -> Result<(), Failure> {
    match command {
        Workload::Describe(command) => describe(command, log_level),
        Workload::Generate(command) => generate(command, log_level),
        Workload::Convert(command) => convert(command, log_level),
        Workload::Presets(listing) => presets::presets(listing),
    }
}

fn describe(command: &Describe, log_level: LogLevel) -> Result<(), Failure> {
    let reading = (command.trace_format.as_ref().map(|_| "--trace-format")).into_iter().chain(command.reading.flags());
    let shaping = shaping(&command.shaping);
    let load = match &command.config {
        Some(config) => {
            refuse_shaping(command)?;
            refuse_flags(reading, "is for a trace; with --config, write a key of workload.trace with --set")?;
            of_config(config, &command.load, &command.changes, log_level)?
        }
        None => {
            if command.trace.is_none() {
                let of_trace = reading.chain(shaping.keys().into_iter().map(|(flag, ..)| flag));
                refuse_flags(of_trace, "has no effect without a trace; give one, or leave it out")?;
            }
            let flags = command.reading.keys().map_err(|message| Failure::BadInput(Some(message)))?;
            let set = keys_of_load(&command.changes)?;
            let seed = command.changes.seed;
            let (trace, format) = (command.trace.as_deref(), command.trace_format.as_deref());
            of_flags(
                &LoadAlone { trace, format, shaping: &shaping, load: command.load.flags(), seed, set, flags },
                log_level,
            )?
        }
    };
    refuse_endless(&load)?;
    let (source, facts) = open(&load, log_level)?;
    let description = Description::of(source).map_err(bad_input)?;
    if let Some(error) = facts.failure() {
        return Err(Failure::Failed(error));
    }
    print_findings(&description, command.format)
}

/// Opens a load; says what was seen of a trace.
fn open(load: &Load, log_level: LogLevel) -> Result<(Box<dyn RequestSource>, WorkloadFacts), Failure> {
    let (source, facts) = load.open().map_err(bad_input)?;
    if log_level <= LogLevel::Warning {
        remarks(&facts).for_each(|remark| tell(&format!("warning: {remark}")));
    }
    Ok((source, facts))
}

fn bad_input(message: impl ToString) -> Failure {
    Failure::BadInput(Some(message.to_string()))
}

/// A configuration shapes its trace by keys.
fn refuse_shaping(command: &Describe) -> Result<(), Failure> {
    match shaping(&command.shaping).keys().first() {
        Some((flag, key, value)) => {
            Err(bad_input(format!("{flag} is for a trace; with --config, write --set 'workload.trace.{key}={value}'")))
        }
        None => Ok(()),
    }
}

/// Refuses the first of flags that have no effect.
fn refuse_flags(mut given: impl Iterator<Item = &'static str>, why: &str) -> Result<(), Failure> {
    given.next().map_or(Ok(()), |flag| Err(bad_input(format!("{flag} {why}"))))
}

/// Changes of the load alone, where no configuration deploys anything.
fn keys_of_load(changes: &Changes) -> Result<Vec<String>, Failure> {
    let of_deployments = [
        ("--mfu", changes.mfu.is_some()),
        ("--mbu", changes.mbu.is_some()),
        ("--force", changes.force),
        ("--efficiency-table", !changes.efficiency_table.is_empty()),
    ];
    let given = of_deployments.into_iter().filter_map(|(flag, given)| given.then_some(flag));
    refuse_flags(given, "is of a deployment, and has no effect on a load")?;
    match changes.set.iter().find(|pair| !pair.starts_with("workload.")) {
        Some(pair) => {
            Err(bad_input(format!("--set {pair}: only keys of workload have an effect without a configuration")))
        }
        None => Ok(changes.set.clone()),
    }
}

/// A load that ends only with the simulation.
fn refuse_endless(load: &Load) -> Result<(), Failure> {
    match load {
        Load::Synthetic(synthetic) if synthetic.duration.is_none() && synthetic.total_requests.is_none() => {
            Err(bad_input("this load has no end; give --duration SECONDS"))
        }
        _ => Ok(()),
    }
}

fn generate(command: &Generate, log_level: LogLevel) -> Result<(), Failure> {
    let load = match &command.config {
        Some(config) => of_config(config, &command.load, &command.changes, log_level)?,
        None => {
            let (set, seed) = (keys_of_load(&command.changes)?, command.changes.seed);
            let (load, shaping) = (command.load.flags(), &ShapingFlags::default());
            of_flags(&LoadAlone { trace: None, format: None, shaping, load, seed, set, flags: Vec::new() }, log_level)?
        }
    };
    refuse_endless(&load)?;
    write(&load, &command.file, command.config.as_ref(), log_level)
}

fn convert(command: &Convert, log_level: LogLevel) -> Result<(), Failure> {
    let load = of_flags(
        &LoadAlone {
            trace: Some(&command.trace),
            format: command.trace_format.as_deref(),
            shaping: &shaping(&command.shaping),
            load: LoadFlags { duration_s: command.duration, ..LoadFlags::default() },
            seed: command.seed,
            set: Vec::new(),
            flags: command.reading.keys().map_err(|message| Failure::BadInput(Some(message)))?,
        },
        log_level,
    )?;
    write(&load, &command.file, None, log_level)
}

/// The load of a configuration, which flags may end earlier.
fn of_config(config: &Path, flags: &LoadArguments, changes: &Changes, log_level: LogLevel) -> Result<Load, Failure> {
    let mut overrides: Overrides = overrides(changes);
    for (flag, key, value) in flags.keys() {
        if !["--requests", "--duration"].contains(&flag) {
            let config = config.display();
            let way = format!("with {config}, write --set '{key}={value}'");
            return Err(bad_input(format!("{flag} is for a load without a configuration; {way}")));
        }
        overrides.set.push(format!("{key}={value}"));
    }
    let resolved = load(config, &overrides);
    told(resolved.map(|resolved| (resolved.workload, resolved.warnings)), log_level)
}

fn of_flags(load: &LoadAlone<'_>, log_level: LogLevel) -> Result<Load, Failure> {
    told(load_alone(load), log_level)
}

/// Says what was found.
fn told(resolved: Result<(Load, Vec<Diagnostic>), Vec<Diagnostic>>, log_level: LogLevel) -> Result<Load, Failure> {
    match resolved {
        Ok((load, warnings)) => {
            print_diagnostics(&warnings, log_level);
            Ok(load)
        }
        Err(diagnostics) => {
            print_diagnostics(&diagnostics, log_level);
            Err(Failure::BadInput(None))
        }
    }
}

/// Writes a load, of a configuration perhaps.
fn write(load: &Load, file: &Written, config: Option<&PathBuf>, log_level: LogLevel) -> Result<(), Failure> {
    let trace = if let Load::Trace(trace) = load { Some(&trace.path) } else { None };
    let files = config.into_iter().chain(trace).cloned().collect();
    output::refuse_input(&file.output, &ReadFiles { files, ..ReadFiles::default() }).map_err(bad_input)?;
    let target = file.to.map(target).or_else(|| output::Target::of(&file.output));
    let target = target.ok_or_else(|| {
        let name = file.output.display();
        bad_input(format!("{name} does not end in .csv, .parquet or .jsonl; say what it is to be with --to"))
    })?;
    let (source, facts) = open(load, log_level)?;
    let load_file = LoadFile {
        path: file.output.clone(),
        target,
        block_tokens: file.block_size,
        dropped: file.drop.iter().map(|&dropped| loss(dropped)).collect(),
        overwrite: file.overwrite,
        encodes_images: facts.encodes_images,
        profile_names: facts.profile_names.clone(),
    };
    let written = load_file.write(Turns::new(source), || facts.failure());
    let written = written.map_err(|error| match error {
        LoadFileError::Source(message) => Failure::Failed(message),
        error => bad_input(error),
    })?;
    if log_level <= LogLevel::Info {
        written.notes.iter().for_each(|note| tell(&format!("note: {note}")));
        tell(&format!("wrote {} requests to {}", written.requests, file.output.display()));
    }
    Ok(())
}

fn target(target: Target) -> output::Target {
    match target {
        Target::Csv => output::Target::Csv,
        Target::Parquet => output::Target::Parquet,
        Target::Mooncake => output::Target::Mooncake,
        Target::MooncakeSessions => output::Target::MooncakeSessions,
        Target::Vidur => output::Target::Vidur,
    }
}

fn loss(dropped: Dropped) -> Loss {
    match dropped {
        Dropped::Prefixes => Loss::Prefixes,
        Dropped::Sessions => Loss::Sessions,
        Dropped::Pauses => Loss::Pauses,
        Dropped::Priorities => Loss::Priorities,
        Dropped::Timeouts => Loss::Timeouts,
        Dropped::Limits => Loss::Limits,
        Dropped::Images => Loss::Images,
    }
}
