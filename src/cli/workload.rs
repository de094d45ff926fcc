//! `workload`: what a load holds, and loads as traces, without a simulation.

use std::path::Path;

use oracle_systems::ports::RequestSource;

use super::args::{Convert, Describe, Dropped, Format, Generate, LogLevel, Target, Workload, Written};
use super::run::{overrides, remarks, shaping};
use super::{Failure, print, print_diagnostics, tell};
use crate::config::{Diagnostic, Overrides, TraceLoad, load, trace_load};
use crate::describe::Description;
use crate::output::{self, LoadFile, LoadFileError, Loss};
use crate::workload::{Turns, Workload as Load, WorkloadFacts};

/// Runs the command.
pub fn workload(command: &Workload, log_level: LogLevel) -> Result<(), Failure> {
    match command {
        Workload::Describe(command) => describe(command, log_level),
        Workload::Generate(command) => generate(command, log_level),
        Workload::Convert(command) => convert(command, log_level),
    }
}

fn describe(command: &Describe, log_level: LogLevel) -> Result<(), Failure> {
    let load = match (&command.config, &command.trace) {
        (Some(config), _) => {
            refuse_shaping(command)?;
            of_config(config, None, command.duration, &overrides(&command.changes), log_level)?
        }
        (None, Some(trace)) => of_trace(
            &TraceLoad {
                path: trace,
                format: command.trace_format.as_deref(),
                shaping: &shaping(&command.shaping),
                duration_s: command.duration,
                seed: command.changes.seed,
                set: command.reading.keys()?,
            },
            log_level,
        )?,
        (None, None) => return Err(bad_input("give a trace, or --config FILE")),
    };
    refuse_endless(&load)?;
    let (source, facts) = open(&load, log_level)?;
    let description = Description::of(source).map_err(bad_input)?;
    if let Some(error) = facts.failure() {
        return Err(Failure::Failed(error));
    }
    match command.format {
        Format::Text => print(&description.text()),
        Format::Json => {
            let text = serde_json::to_string_pretty(&description);
            print(&format!("{}\n", text.map_err(|error| Failure::Failed(format!("cannot print it: {error}")))?))
        }
    }
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
    let overrides = overrides(&command.changes);
    let load = of_config(&command.config, command.requests, command.duration, &overrides, log_level)?;
    refuse_endless(&load)?;
    write(&load, &command.file, log_level)
}

fn convert(command: &Convert, log_level: LogLevel) -> Result<(), Failure> {
    let load = of_trace(
        &TraceLoad {
            path: &command.trace,
            format: command.trace_format.as_deref(),
            shaping: &shaping(&command.shaping),
            duration_s: command.duration,
            seed: command.seed,
            set: command.reading.keys()?,
        },
        log_level,
    )?;
    write(&load, &command.file, log_level)
}

fn of_config(
    config: &Path,
    requests: Option<u64>,
    duration_s: Option<f64>,
    overrides: &Overrides,
    log_level: LogLevel,
) -> Result<Load, Failure> {
    let requests = requests.map(|requests| format!("workload.total_requests_to_generate={requests}"));
    let duration = duration_s.map(|seconds| format!("workload.total_duration={seconds}"));
    let mut overrides = overrides.clone();
    overrides.set.extend(requests.into_iter().chain(duration));
    let resolved = load(config, &overrides);
    told(resolved.map(|resolved| (resolved.workload, resolved.warnings)), log_level)
}

fn of_trace(load: &TraceLoad<'_>, log_level: LogLevel) -> Result<Load, Failure> {
    told(trace_load(load), log_level)
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

fn write(load: &Load, file: &Written, log_level: LogLevel) -> Result<(), Failure> {
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
    }
}
