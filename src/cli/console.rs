//! Where words go: to the process's streams, or to a host program that has the commands as functions.
//!
//! A thread that [`serve`]s a host writes on no stream of the process and heeds no signal: what would be printed and told is
//! kept for the host, and the host says when to stop.

use std::cell::RefCell;
use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Failure, colour};
use crate::config::printable;

/// What a command said while it served a host.
#[derive(Debug, Default)]
pub struct Said {
    /// What it would have printed on standard output.
    pub printed: String,
    /// What it would have told on standard error, a message each.
    pub told: Vec<String>,
}

struct Hosted {
    said: Said,
    stop: Arc<AtomicBool>,
}

thread_local! {
    static HOSTED: RefCell<Option<Hosted>> = const { RefCell::new(None) };
}

/// Does `command` for a host, who sets `stop` to interrupt it.
pub fn serve<T>(stop: Arc<AtomicBool>, command: impl FnOnce() -> T) -> (T, Said) {
    HOSTED.set(Some(Hosted { said: Said::default(), stop }));
    let outcome = command();
    let said = HOSTED.take().map(|hosted| hosted.said).unwrap_or_default();
    (outcome, said)
}

/// Whether this thread serves a host.
pub fn is_hosted() -> bool {
    HOSTED.with_borrow(Option::is_some)
}

/// Keeps what is said, if a host is served.
fn kept(keep: impl FnOnce(&mut Said)) -> bool {
    HOSTED.with_borrow_mut(|hosted| hosted.as_mut().map(|hosted| keep(&mut hosted.said)).is_some())
}

/// Set when the command is asked to stop.
pub fn interruption() -> Arc<AtomicBool> {
    if let Some(stop) = HOSTED.with_borrow(|hosted| hosted.as_ref().map(|hosted| Arc::clone(&hosted.stop))) {
        return stop;
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    // A second handler in one process can only come from a host program, whose handler then rules.
    let _ = ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed));
    interrupted
}

/// Prints lines to standard output; a closed pipe (`| head`) is not an error.
pub fn print(text: &str) -> Result<(), Failure> {
    if kept(|said| said.printed += text) {
        return Ok(());
    }
    match anstream::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a line to standard error, if anybody listens there.
pub fn tell(line: &str) {
    if kept(|said| said.told.push(line.to_owned())) {
        return;
    }
    let lines: Vec<String> = line.split('\n').map(|line| colour::severity(&printable(line))).collect();
    // `eprintln!` would panic on a closed pipe (`2>&1 | head`).
    let _ = writeln!(anstream::stderr().lock(), "{}", lines.join("\n"));
}
