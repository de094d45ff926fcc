//! Digests of all that the program writes: the shipped scenarios, and random configurations of everything the engine can
//! do. A refactoring changes none of them; a change of behaviour says which, and why.
//!
//! ```text
//! cargo test --test digests                       holds the program against tests/digests/expected.txt
//! DIGESTS_UPDATE=1 cargo test --test digests      takes what comes
//! DIGESTS_BINARY=target/release/llmperforacle cargo test --test digests      holds another binary against it
//! DIGESTS_KEEP=/tmp/before cargo test --test digests      leaves what each case is given and writes in a folder, to compare
//! ```
//!
//! The laws: a case is a function of its number; it runs in a folder of its own by relative paths; half of the cases run
//! on one thread and half on two. The file holds for machines that compute the bits of its first line ([`probe`]).

mod cases;
mod configuration;
mod deployments;
mod draw;
mod expected;
mod fixtures;
mod load;
mod mapping;
mod probe;
mod reach;
mod run;
mod settings;
mod traces;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use expected::Expected;

/// How what comes is taken.
const UPDATE: &str = "DIGESTS_UPDATE=1 cargo test --test digests";

#[test]
fn all_that_is_written_is_as_it_was() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/digests/expected.txt");
    let updates = env::var_os("DIGESTS_UPDATE").is_some_and(|value| value == "1");
    let expected = Expected::parse(&fs::read_to_string(&path).unwrap_or_default());
    let probe = probe::probe();
    if !updates && expected.probe != probe {
        eprintln!(
            "SKIPPED: this machine's floating-point functions compute other bits than the one on which {} was written \
             (probe {probe} instead of {}). To compare before and after on this one: {UPDATE} before, and then without it.",
            path.display(),
            expected.probe
        );
        return;
    }
    let program = env::var_os("DIGESTS_BINARY").map_or(env!("CARGO_BIN_EXE_llmperforacle").into(), PathBuf::from);
    // Cases run in other folders.
    let program = program.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let kept = env::var_os("DIGESTS_KEEP").map(PathBuf::from);
    let cases = cases::all();
    let ran = run::run_all(&program, &cases, kept.as_deref());
    reach::check(&cases, &ran);
    if updates {
        fs::write(&path, expected::text(&probe, &cases, &ran)).expect("it can be written");
        return;
    }
    let differences = expected.differences(&cases, &ran);
    assert!(
        differences.is_empty(),
        "{} of {} cases differ from tests/digests/expected.txt:\n  {}\nIf that is meant, say in the commit which and why, \
         and take what comes: {UPDATE}",
        differences.len(),
        cases.len(),
        differences.join("\n  ")
    );
}
