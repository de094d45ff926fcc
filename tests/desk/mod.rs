//! A folder in which the program runs.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use assert_cmd::Command;
use tempfile::TempDir;

/// The folder and what is in it.
pub struct Desk {
    pub folder: TempDir,
}

/// What a command came to.
pub struct Told {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Desk {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it is in the folder")).expect("a folder can be made");
        fs::write(path, text).expect("it can be written");
    }

    /// Makes a named pipe, to which nobody writes.
    #[allow(dead_code, reason = "not every test program needs one")]
    pub fn pipe(&self, name: &str) {
        let made = std::process::Command::new("mkfifo").arg(self.path(name)).status().expect("there is mkfifo");
        assert!(made.success(), "{name}");
    }

    /// Runs the program with the words of `arguments`.
    pub fn run(&self, arguments: &str) -> Told {
        self.run_words(&arguments.split_whitespace().collect::<Vec<_>>())
    }

    pub fn run_words(&self, words: &[&str]) -> Told {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llmperforacle"));
        let output = command.args(words).current_dir(self.folder.path()).output().expect("it starts");
        Told::of(&output)
    }
}

impl Told {
    pub fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("what is printed is text");
        let code = output.status.code().expect("it ended by itself");
        Self { code, out: text(&output.stdout), err: text(&output.stderr) }
    }
}
