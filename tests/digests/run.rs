//! Runs cases, each in a folder of its own, and takes digests of all that comes of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::cases::Case;

/// Hexadecimal digits of a digest that are kept.
const DIGITS: usize = 16;

/// The digest of what the program is given.
pub const INPUT: &str = "input";

/// What a case came to.
pub struct Ran {
    pub code: i32,
    /// What it was given, what it printed, and each file that it wrote, in the order of their names.
    pub digests: Vec<(String, String)>,
    /// The summary, if it was a run that came to one.
    pub summary: Option<Value>,
}

/// Runs all cases, as many at once as there are cores.
pub fn run_all(program: &Path, cases: &[Case], kept: Option<&Path>) -> Vec<Ran> {
    let next = AtomicUsize::new(0);
    let ran = Mutex::new(BTreeMap::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(number) else { break };
                    let one = run(program, case, kept);
                    ran.lock().expect("no other panicked").insert(number, one);
                }
            });
        }
    });
    ran.into_inner().expect("none panicked").into_values().collect()
}

fn run(program: &Path, case: &Case, kept: Option<&Path>) -> Ran {
    // Dropped, it removes the folder.
    let (_temporary, folder) = match kept {
        Some(kept) => {
            let folder = kept.join(&case.name);
            // What an earlier run left is not this one's. There need be nothing.
            let _ = fs::remove_dir_all(&folder);
            (None, folder)
        }
        None => {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let path = folder.path().to_owned();
            (Some(folder), path)
        }
    };
    for (name, text) in &case.files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("it is in the folder")).expect("a folder can be made");
        fs::write(path, text).expect("it can be written");
    }
    fs::create_dir_all(&folder).expect("a folder can be made");
    let output = Command::new(program).args(&case.arguments).current_dir(&folder).output().expect("it starts");
    let mut digests = vec![
        (INPUT.to_owned(), digest(case.input())),
        ("stdout".to_owned(), digest_of(&output.stdout, &folder)),
        ("stderr".to_owned(), digest_of(&output.stderr, &folder)),
    ];
    let mut summary = None;
    let mut paths = written(&folder);
    paths.sort();
    for path in paths {
        let relative = path.strip_prefix(&folder).expect("it is in the folder").to_string_lossy().into_owned();
        if case.files.iter().any(|(name, _)| *name == relative) {
            continue;
        }
        let bytes = fs::read(&path).expect("it can be read");
        if relative.ends_with("summary.json") {
            summary = Some(serde_json::from_slice(&bytes).expect("a summary is JSON"));
        }
        digests.push((without_run(&relative).to_owned(), digest_of(&bytes, &folder)));
    }
    if kept.is_some() {
        fs::write(folder.join("arguments.txt"), case.arguments.join(" ")).expect("it can be written");
        fs::write(folder.join("stdout.txt"), &output.stdout).expect("it can be written");
        fs::write(folder.join("stderr.txt"), &output.stderr).expect("it can be written");
    }
    Ran { code: output.status.code().unwrap_or(-1), digests, summary }
}

/// A file's name without `output/<name of the run>/`, which most have and which would make lines long.
fn without_run(relative: &str) -> &str {
    let in_folder = relative.strip_prefix("output/").and_then(|rest| rest.split_once('/'));
    in_folder.map_or(relative, |(_, file)| file)
}

/// Every file below a folder.
fn written(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("it can be read").map(|entry| entry.expect("it can be read").path());
    entries.flat_map(|path| if path.is_dir() { written(&path) } else { vec![path] }).collect()
}

/// The digest of bytes in which the folder of the run must not be told.
fn digest_of(bytes: &[u8], folder: &Path) -> String {
    let folder = folder.as_os_str().as_encoded_bytes();
    assert!(!bytes.windows(folder.len()).any(|window| window == folder), "the folder of the run is told");
    digest(Sha256::new_with_prefix(bytes))
}

pub fn digest(hash: Sha256) -> String {
    hash.finalize().iter().take(DIGITS / 2).map(|byte| format!("{byte:02x}")).collect()
}
