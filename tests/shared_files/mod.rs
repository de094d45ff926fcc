//! Files that are not in this repository: measurements, traces and examples of others. Where they are not beside it either,
//! tests that need them say that they are skipped.

use std::path::{Path, PathBuf};

/// A file of `$LLMPERFORACLE_SHARED`, or of the folder `shared` beside the checkout.
pub fn shared(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let folder = std::env::var_os("LLMPERFORACLE_SHARED").map_or_else(beside, PathBuf::from);
    let path = folder.join(name);
    if !path.exists() {
        eprintln!("skipped: no {} (set LLMPERFORACLE_SHARED)", path.display());
        return None;
    }
    path.canonicalize().ok()
}
