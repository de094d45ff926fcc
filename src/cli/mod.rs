//! The command line: what is typed, and which part of the program it means.
//!
//! Exit codes: 0 all is well, 1 the run failed or was interrupted, 2 what was asked cannot be done as asked. Results go to
//! standard output, everything else to standard error.

mod args;
mod calibrate;
mod catalog;
mod colour;
mod compare;
mod config;
mod console;
pub mod host;
mod load_flags;
mod model;
mod plan;
mod plan_names;
mod plan_question;
mod plan_table;
mod presets;
mod progress;
mod report;
mod run;
mod shell;
mod sweep;
mod trace;
mod trace_reading;
mod validation;
mod workload;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
#[cfg(unix)]
use std::sync::Arc;

use clap::{CommandFactory, FromArgMatches};

use crate::config::{Diagnostic, Severity};
use crate::inputs::ReadFiles;
use crate::output::{OutputError, put, refuse_input};
use crate::tables::Findings;
use args::{Arguments, Calibrate, Command, Format, LogLevel};
use console::{interruption, print, tell};

/// Exit code of a run that failed or was interrupted.
const RUN_FAILED: u8 = 1;
/// Exit code of bad usage and bad input.
const BAD_INPUT: u8 = 2;

/// Why a command did not succeed.
#[derive(Debug)]
enum Failure {
    /// It cannot be done as asked; told already, or told by this text.
    BadInput(Option<String>),
    /// It was tried.
    Failed(String),
}

/// Runs the command line of this process and says how it ended.
#[must_use]
pub fn main() -> ExitCode {
    outlive_limits_on_files();
    run_words(std::env::args_os()).into()
}

/// Where a file is longer than `ulimit -f` allows, the write fails and is told; unhandled, the signal would end the process.
#[cfg(unix)]
fn outlive_limits_on_files() {
    // Without it, the limit still holds.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}

#[cfg(not(unix))]
fn outlive_limits_on_files() {}

/// Runs a command line, the program's name in front, and gives its exit code.
#[must_use]
pub fn run_words(words: impl IntoIterator<Item = OsString>) -> u8 {
    let words = match typed(words) {
        Ok(words) => words,
        Err(message) => {
            tell(&format!("error: {message}"));
            return BAD_INPUT;
        }
    };
    let choice = colour::choose(&words);
    let matches = Arguments::command().color(choice).get_matches_from(&words);
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    // It fails only where a host program has made the pool already, which then rules.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(arguments.threads.into()).build_global();
    ended(execute(&arguments, &words))
}

/// Does what was typed.
fn execute(arguments: &Arguments, words: &[String]) -> Result<(), Failure> {
    let log_level = arguments.log_level;
    match &arguments.command {
        Command::Run(command) => run::run(command, log_level),
        Command::Plan(command) => plan::plan(command, words, log_level),
        Command::Sweep(command) => sweep::sweep(command, log_level),
        Command::Merge(command) => sweep::merge(command),
        Command::Report(command) => report::report(command),
        Command::Plot(command) => report::plot(command),
        Command::Validate(command) => config::validate(command, log_level),
        Command::GenerateConfig(command) => config::generate(command),
        Command::Schema(command) => config::schema(command),
        Command::Compare(command) => compare::compare(command, log_level),
        Command::Trace(command) => trace::trace(command, log_level),
        Command::Workload(command) => workload::workload(command, log_level),
        Command::Models(command) => catalog::models(command),
        Command::Devices(command) => catalog::devices(command),
        Command::ValidateRun(command) => validation::runs(command, log_level),
        Command::ValidatePoints(command) => validation::points(command, log_level),
        Command::Calibrate(Calibrate::Run(command)) => validation::calibrate_run(command, log_level),
        Command::Calibrate(Calibrate::Kernels(command)) => calibrate::kernels(command),
        Command::Completions(command) => shell::completions(command),
        Command::Man(command) => shell::man(command),
    }
}

/// Tells how a command failed, and gives its exit code.
fn ended(outcome: Result<(), Failure>) -> u8 {
    let (message, code) = match outcome {
        Ok(()) => (None, 0),
        Err(Failure::BadInput(message)) => (message, BAD_INPUT),
        Err(Failure::Failed(message)) => (Some(message), RUN_FAILED),
    };
    message.iter().for_each(|message| tell(&format!("error: {message}")));
    code
}

/// The words of a command line, vLLM's `-tp` and `-pp` as the flags that they are here.
fn typed(words: impl IntoIterator<Item = OsString>) -> Result<Vec<String>, String> {
    let long = |word: String| match word.split_once('=').unwrap_or((&word, "")).0 {
        "-tp" | "-pp" => format!("-{word}"),
        _ => word,
    };
    let words = words.into_iter().map(|word| word.into_string().map(long));
    words.collect::<Result<_, _>>().map_err(|word| format!("{word:?} is not UTF-8, which all that is typed must be"))
}

/// Refuses an output in the place of what the command reads, or of a file that it is not to replace.
fn refuse_output(path: &Path, reads: &ReadFiles, overwrite: bool) -> Result<(), Failure> {
    refuse_input(path, reads).map_err(|error| Failure::BadInput(Some(error.to_string())))?;
    // What is no file is refused by who writes.
    if !overwrite && path.symlink_metadata().is_ok_and(|known| known.is_file()) {
        let path = path.display();
        let message = format!("{path} is there already; write elsewhere, or replace it with --overwrite");
        return Err(Failure::BadInput(Some(message)));
    }
    Ok(())
}

/// Writes a file into a folder that is there: whole or not at all, and through no link, pipe or device.
fn put_in_folder(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        let (path, folder) = (path.display(), folder.display());
        let message = format!("cannot write {path}: there is no folder {folder}; make it, or write elsewhere");
        return Err(Failure::BadInput(Some(message)));
    }
    put(path, bytes).map_err(|error| match error {
        OutputError::Write { .. } => Failure::Failed(error.to_string()),
        _ => Failure::BadInput(Some(error.to_string())),
    })
}

/// Prints what was found in a configuration, as far as the log level shows it.
fn print_diagnostics(diagnostics: &[Diagnostic], log_level: LogLevel) {
    for diagnostic in diagnostics {
        if diagnostic.severity == Severity::Error || log_level <= LogLevel::Warning {
            tell(&diagnostic.to_string());
        }
    }
}

/// What a command found, in a format.
fn in_format(findings: &impl Findings, format: Format) -> String {
    match format {
        Format::Text => findings.document().text(),
        Format::Json => findings.json(),
        Format::Csv => findings.records().csv(),
        Format::Markdown => findings.document().markdown(),
    }
}

/// Prints it to standard output.
fn print_findings(findings: &impl Findings, format: Format) -> Result<(), Failure> {
    print(&in_format(findings, format))
}
