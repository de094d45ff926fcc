//! `llmperforacle._native`: the commands as functions, for the Python beside it, which gives them types and names.
//!
//! A command runs on a thread of its own without Python's lock; the calling thread looks for signals meanwhile, so Ctrl-C
//! stops a simulation as it stops Python.

mod table;

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use llmperforacle::cli::host::{self, Reply};
use llmperforacle::cli::run_words;
use pyo3::prelude::*;

use table::ArrowRows;

/// How often a signal is looked for.
const SIGNALS_EVERY: Duration = Duration::from_millis(50);

/// `(exit code, printed, told)` of a command.
type Ended = (u8, String, Vec<String>);

fn ended(reply: Reply) -> Ended {
    (reply.exit_code, reply.printed, reply.told)
}

/// Does `command` on a thread of its own, stopped by what Python raises in the calling one.
fn interruptibly<T: Send>(py: Python<'_>, command: impl FnOnce(Arc<AtomicBool>) -> T + Send) -> PyResult<T> {
    let stop = Arc::new(AtomicBool::new(false));
    py.detach(|| {
        std::thread::scope(|scope| {
            let (done, ends) = channel();
            let its_stop = Arc::clone(&stop);
            scope.spawn(move || done.send(command(its_stop)));
            let mut raised = None;
            loop {
                match ends.recv_timeout(SIGNALS_EVERY) {
                    Ok(outcome) => return raised.map_or(Ok(outcome), Err),
                    Err(RecvTimeoutError::Timeout) => {
                        if let Err(error) = Python::attach(|py| py.check_signals()) {
                            stop.store(true, Ordering::Relaxed);
                            raised = Some(error);
                        }
                    }
                    Err(RecvTimeoutError::Disconnected) => {
                        let message = "the command panicked; please report it with what standard error says";
                        return Err(pyo3::exceptions::PyRuntimeError::new_err(message));
                    }
                }
            }
        })
    })
}

/// Does a command: the words behind the program's name.
#[pyfunction]
fn call(py: Python<'_>, words: Vec<String>) -> PyResult<Ended> {
    interruptibly(py, |stop| ended(host::call(&with_program(words), stop)))
}

/// Does a `run`; the tables of its requests and of its time series come with it unless it was refused.
#[pyfunction]
fn run(py: Python<'_>, words: Vec<String>) -> PyResult<(Ended, Option<(ArrowRows, ArrowRows)>)> {
    let (reply, tables) = interruptibly(py, |stop| host::run_keeping_tables(&with_program(words), stop))?;
    Ok((ended(reply), tables.map(|tables| (tables.requests.into(), tables.timeseries.into()))))
}

fn with_program(words: Vec<String>) -> Vec<String> {
    ["llmperforacle".to_owned()].into_iter().chain(words).collect()
}

/// Is the command line: the program's name and its words in, the exit code out.
#[pyfunction]
fn main(py: Python<'_>, words: Vec<OsString>) -> u8 {
    py.detach(|| run_words(words))
}

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::{call, main, run};
    #[pymodule_export]
    use crate::table::{ArrowRows, read_parquet};
}
