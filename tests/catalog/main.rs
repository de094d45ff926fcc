//! The catalog as a user meets it: its numbers against the published ones, its look-ups, and what it makes of a user's
//! own model files, whatever is in them.

mod collectives;
mod hf_config;
mod model_params;
mod names;
mod numbers;
mod quantisation;
mod strange_files;

use std::fs;
use std::path::{Path, PathBuf};

/// A folder with a file in it.
struct Folder(pub tempfile::TempDir);

impl Folder {
    pub fn with(name: &str, content: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        fs::write(folder.path().join(name), content).expect("a file for the test");
        Self(folder)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// The folder of measured data beside the checkout, or the one that the environment names.
fn shared() -> Option<PathBuf> {
    let named = std::env::var_os("LLMPERFORACLE_SHARED").map(PathBuf::from);
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = [here.join("../shared"), here.join("../../shared")];
    named.into_iter().chain(beside).map(|folder| folder.join("data")).find(|folder| folder.is_dir())
}
