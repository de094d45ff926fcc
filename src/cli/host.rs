//! The commands as functions of a host program, such as the Python package: words in, and what would have been printed comes back.

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;

use super::args::{Arguments, Command};
use super::{BAD_INPUT, Failure, RUN_FAILED, console, ended, execute, run, typed};
use crate::output::Tables;

/// What came of a command.
#[derive(Debug)]
pub struct Reply {
    /// As the command would have ended: 0 all is well, 1 it failed or was interrupted, 2 it cannot be done as asked.
    pub exit_code: u8,
    /// What it would have printed on standard output.
    pub printed: String,
    /// What it would have told on standard error, a message each: `error: …`, `warning: …`, anything else.
    pub told: Vec<String>,
}

/// Does what the words say, the program's name in front, until the end or until `stop` is set.
#[must_use]
pub fn call(words: &[String], stop: Arc<AtomicBool>) -> Reply {
    reply(words, stop, |arguments, words| execute(arguments, words).map(|()| None)).0
}

/// Does a `run` likewise, and keeps the rows of its requests and of its time series, also where the run writes no files.
#[must_use]
pub fn run_keeping_tables(words: &[String], stop: Arc<AtomicBool>) -> (Reply, Option<Tables>) {
    reply(words, stop, |arguments, words| match &arguments.command {
        Command::Run(command) => run::keeping_tables(command, arguments.log_level),
        _ => execute(arguments, words).map(|()| None),
    })
}

fn reply(
    words: &[String],
    stop: Arc<AtomicBool>,
    act: impl FnOnce(&Arguments, &[String]) -> Result<Option<Tables>, Failure> + Send,
) -> (Reply, Option<Tables>) {
    let refused =
        |exit_code: u8, message: String| (Reply { exit_code, printed: String::new(), told: vec![message] }, None);
    let words = match typed(words.iter().map(OsString::from)) {
        Ok(words) => words,
        Err(message) => return refused(BAD_INPUT, format!("error: {message}")),
    };
    let arguments = match Arguments::try_parse_from(&words) {
        Ok(arguments) => arguments,
        Err(error) => return refused(error.exit_code() as u8, error.to_string().trim_end().to_owned()),
    };
    // Of its own: the process's may be another's, and calls may differ in their --threads.
    let pool = match rayon::ThreadPoolBuilder::new().num_threads(arguments.threads.into()).build() {
        Ok(pool) => pool,
        Err(error) => return refused(RUN_FAILED, format!("error: no threads to simulate with: {error}")),
    };
    let mut tables = None;
    let (exit_code, said) =
        pool.install(|| console::serve(stop, || ended(act(&arguments, &words).map(|kept| tables = kept))));
    (Reply { exit_code, printed: said.printed, told: said.told }, tables)
}
