//! Which bytes a trace has: a hash of them that is taken as they pass, so that a run tells its trace from another of the same name.
//!
//! XXH3 tells apart what somebody has changed, at the speed of memory; it is no proof against who means to deceive.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use twox_hash::XxHash3_128;

/// What the bytes of a trace come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TraceDigest {
    /// How many there are, packed as they are.
    pub bytes: u64,
    /// Their hash, in hexadecimal digits.
    pub xxh3_128: String,
}

/// A hash in the making.
#[derive(Default)]
pub(super) struct Digest {
    hash: XxHash3_128,
    pub(super) bytes: u64,
}

impl Digest {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.hash.write(bytes);
        self.bytes += bytes.len() as u64;
    }

    pub(super) fn so_far(&self) -> TraceDigest {
        TraceDigest { bytes: self.bytes, xxh3_128: format!("{:032x}", self.hash.finish_128()) }
    }
}

impl Write for Digest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// That of a folder: of the names and bytes of its files, in the order of their names.
pub(in crate::workload::trace) fn of_folder(folder: &Path) -> io::Result<TraceDigest> {
    let entries = std::fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    paths.sort();
    let mut digest = Digest::default();
    for path in paths {
        digest.hash.write(path.file_name().unwrap_or_default().as_encoded_bytes());
        io::copy(&mut File::open(&path)?, &mut digest)?;
    }
    Ok(digest.so_far())
}
