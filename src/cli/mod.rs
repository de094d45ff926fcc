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
mod load_flags;
mod plan;
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

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::config::{Diagnostic, Severity, printable};
use crate::tables::Findings;
use args::{Arguments, Calibrate, Command, Format, LogLevel};

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

/// Runs the command line and says how it ended.
#[must_use]
pub fn main() -> ExitCode {
    let words = match typed() {
        Ok(words) => words,
        Err(message) => {
            tell(&format!("error: {message}"));
            return ExitCode::from(BAD_INPUT);
        }
    };
    let choice = colour::choose(&words);
    let matches = Arguments::command().color(choice).get_matches_from(words);
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let log_level = arguments.log_level;
    // It fails only where a host program has made the pool already, which then rules.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(arguments.threads.into()).build_global();
    let outcome = match arguments.command {
        Command::Run(command) => run::run(&command, log_level),
        Command::Plan(command) => plan::plan(&command, log_level),
        Command::Sweep(command) => sweep::sweep(&command, log_level),
        Command::Merge(command) => sweep::merge(&command),
        Command::Report(command) => report::report(&command),
        Command::Plot(command) => report::plot(&command),
        Command::Validate(command) => config::validate(&command, log_level),
        Command::GenerateConfig(command) => config::generate(&command),
        Command::Schema(command) => config::schema(&command),
        Command::Compare(command) => compare::compare(&command, log_level),
        Command::Trace(command) => trace::trace(&command, log_level),
        Command::Workload(command) => workload::workload(&command, log_level),
        Command::Models(command) => catalog::models(&command),
        Command::Devices(command) => catalog::devices(&command),
        Command::ValidateRun(command) => validation::runs(&command, log_level),
        Command::ValidatePoints(command) => validation::points(&command, log_level),
        Command::Calibrate(Calibrate::Run(command)) => validation::calibrate_run(&command, log_level),
        Command::Calibrate(Calibrate::Kernels(command)) => calibrate::kernels(&command),
        Command::Completions(command) => shell::completions(&command),
        Command::Man(command) => shell::man(&command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::BadInput(message)) => {
            if let Some(message) = message {
                tell(&format!("error: {message}"));
            }
            ExitCode::from(BAD_INPUT)
        }
        Err(Failure::Failed(message)) => {
            tell(&format!("error: {message}"));
            ExitCode::from(RUN_FAILED)
        }
    }
}

/// The words of the command line, vLLM's `-tp` and `-pp` as the flags that they are here.
fn typed() -> Result<Vec<String>, String> {
    let long = |word: String| match word.split_once('=').unwrap_or((&word, "")).0 {
        "-tp" | "-pp" => format!("-{word}"),
        _ => word,
    };
    let words = std::env::args_os().map(|word| word.into_string().map(long));
    words.collect::<Result<_, _>>().map_err(|word| format!("{word:?} is not UTF-8, which all that is typed must be"))
}

/// Prints what was found in a configuration, as far as the log level shows it.
fn print_diagnostics(diagnostics: &[Diagnostic], log_level: LogLevel) {
    for diagnostic in diagnostics {
        if diagnostic.severity == Severity::Error || log_level <= LogLevel::Warning {
            tell(&diagnostic.to_string());
        }
    }
}

/// Prints a line to standard error, if anybody listens there.
fn tell(line: &str) {
    use std::io::Write;
    let lines: Vec<String> = line.split('\n').map(|line| colour::severity(&printable(line))).collect();
    // `eprintln!` would panic on a closed pipe (`2>&1 | head`).
    let _ = writeln!(anstream::stderr().lock(), "{}", lines.join("\n"));
}

/// Prints lines to standard output; a closed pipe (`| head`) is not an error.
fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    match anstream::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
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
