//! `sweep.json`: which sweep a folder belongs to. Shards of a sweep have the same.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::grid::{Axis, Grid};
use super::journal;
use super::problem::SweepError;
use crate::inputs::{self, ReadFiles};
use crate::output::{MANIFEST_FILE, SWEEP_FILE, remove_report};

/// What makes a sweep the one that it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// What made it.
    pub program: String,
    /// Its version: another may come to other figures.
    pub version: String,
    /// What all points have in common, in words.
    pub settings: Vec<String>,
    /// What they differ in.
    axes: Vec<Axis>,
    /// How many there are.
    pub points: usize,
    /// Whether the requests of each are kept.
    pub requests: bool,
    /// Hashes of the files it reads, by what they are.
    pub files: BTreeMap<String, String>,
}

impl Description {
    /// Of a grid over what `settings` say.
    #[must_use]
    pub fn new(grid: &Grid, settings: Vec<String>, requests: bool) -> Self {
        Self {
            program: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            settings,
            axes: grid.axes().to_vec(),
            points: grid.points(),
            requests,
            files: BTreeMap::new(),
        }
    }

    /// Has the sweep be another where this file is.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn add_file(&mut self, what: &str, path: &Path) -> Result<(), SweepError> {
        let hash = hash_of_file(path).map_err(|error| SweepError::cannot_read(path, &error))?;
        self.files.insert(what.to_owned(), hash);
        Ok(())
    }

    pub(super) fn grid(&self) -> Result<Grid, SweepError> {
        Grid::new(self.axes.clone()).map_err(SweepError::Refused)
    }

    /// What tells the two apart, in words; `other` is what is there.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        let differ = |what: &str, ours: &str, theirs: &str| Some(format!("{what} {theirs} there and {ours} here"));
        let axes = self.axes.iter().map(Some).chain(std::iter::repeat(None));
        let axes = axes.zip(other.axes.iter().map(Some).chain(std::iter::repeat(None)));
        let axes = axes.take(self.axes.len().max(other.axes.len())).find(|(ours, theirs)| ours != theirs);
        let words = |axis: Option<&Axis>| {
            axis.map_or("nothing".to_owned(), |axis| {
                let rows: Vec<String> = axis.rows.iter().take(4).map(|row| row.join("/")).collect();
                let more = if axis.rows.len() > rows.len() { ", …" } else { "" };
                format!("{}={}{more}", axis.keys.join("/"), rows.join(","))
            })
        };
        let file =
            self.files.keys().chain(other.files.keys()).find(|file| self.files.get(*file) != other.files.get(*file));
        if self.version != other.version {
            differ("the program is version", &self.version, &other.version)
        } else if let Some((ours, theirs)) = axes {
            differ("the grid has", &words(ours), &words(theirs))
        } else if self.settings != other.settings {
            let list = |words: &[String]| format!("`{}`", words.join(" "));
            differ("what all points have in common is", &list(&self.settings), &list(&other.settings))
        } else if self.requests != other.requests {
            let words = |kept| if kept { "kept" } else { "not kept" };
            differ("requests are", words(self.requests), words(other.requests))
        } else {
            file.map(|file| format!("{file} is another file than it was"))
        }
    }

    /// Makes a folder this sweep's. Without `overwrite`, only one that is this sweep's already, or nobody's.
    pub(super) fn claim(&self, folder: &Path, overwrite: bool) -> Result<(), SweepError> {
        if folder.join(MANIFEST_FILE).exists() {
            let folder = folder.display();
            let message = format!("{folder} holds a run ({MANIFEST_FILE}); sweep into another folder with --output");
            return Err(SweepError::Refused(message));
        }
        let points = journal::folder(folder);
        let made = fs::create_dir_all(folder);
        made.map_err(|error| SweepError::Refused(format!("cannot make the folder {}: {error}", folder.display())))?;
        if overwrite {
            clear(folder)?;
        }
        let elsewhere = "sweep into another folder with --output, or replace it with --overwrite";
        let found = Self::read(folder)?;
        if found.is_none() {
            let own = [super::RESULTS, super::INTERVALS, super::REQUESTS].map(|name| folder.join(name));
            if let Some(taken) = own.iter().chain([&points]).find(|path| path.exists()) {
                let message =
                    format!("{} is there, and no sweep.json says of which sweep it is; {elsewhere}", taken.display());
                return Err(SweepError::Refused(message));
            }
            self.write(folder)?;
        }
        // Another shard may have been first.
        let there = Self::read(folder)?.ok_or_else(|| SweepError::Failed("sweep.json is gone".to_owned()))?;
        if let Some(difference) = self.difference(&there) {
            let folder = folder.display();
            return Err(SweepError::Refused(format!("{folder} holds another sweep ({difference}); {elsewhere}")));
        }
        fs::create_dir_all(&points).map_err(|error| SweepError::cannot_write(&points, &error))
    }

    /// That of a folder, if it has one.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, SweepError> {
        let path = path(folder);
        match inputs::read_file(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                let path = path.display();
                SweepError::Refused(format!(
                    "{path} is damaged ({error}); sweep into another folder, or with --overwrite"
                ))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SweepError::cannot_read(&path, &error)),
        }
    }

    /// Writes it whole, unless one is there.
    fn write(&self, folder: &Path) -> Result<(), SweepError> {
        let mut text = serde_json::to_string_pretty(self).expect("the keys are text");
        text.push('\n');
        let written = super::staged_in(folder).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            match file.persist_noclobber(path(folder)) {
                Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
                _ => Ok(()),
            }
        });
        written.map_err(|error| SweepError::cannot_write(&path(folder), &error))
    }
}

/// Refuses a folder in which files that are read have the names of what a sweep writes, or takes away.
pub(super) fn refuse_inputs(folder: &Path, reads: &ReadFiles) -> Result<(), SweepError> {
    let Ok(whole) = folder.canonicalize() else { return Ok(()) };
    let points = journal::folder(&whole);
    let own = [super::RESULTS, super::INTERVALS, super::REQUESTS, SWEEP_FILE].map(|name| whole.join(name));
    let is_own = |file: PathBuf| file.starts_with(&points) || own.iter().any(|own| file.starts_with(own));
    let is_lost = |read: &PathBuf| {
        // A link would be lost, too, wherever it leads.
        let link = read.parent().and_then(|parent| Some(parent.canonicalize().ok()?.join(read.file_name()?)));
        link.is_some_and(is_own) || read.canonicalize().is_ok_and(is_own)
    };
    match reads.found().find(is_lost) {
        Some(read) => {
            let (read, folder) = (read.display(), folder.display());
            let message = format!("{read} is read by this sweep, whose own files take its place in {folder}");
            Err(SweepError::Refused(format!("{message}; sweep into another folder with --output")))
        }
        None => Ok(()),
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join(SWEEP_FILE)
}

/// Takes away what a sweep has left, and the page about it.
fn clear(folder: &Path) -> Result<(), SweepError> {
    remove_report(folder).map_err(|error| SweepError::cannot_write(folder, &error))?;
    let files = [super::RESULTS, super::INTERVALS].map(|name| folder.join(name));
    let folders = [journal::folder(folder), folder.join(super::REQUESTS)];
    // That which says whose the others are goes last.
    let files = files.iter().map(|path| (path, fs::remove_file(path)));
    let folders = folders.iter().map(|path| (path, fs::remove_dir_all(path)));
    let description = path(folder);
    for (path, removed) in
        files.chain(folders).chain(std::iter::once_with(|| (&description, fs::remove_file(&description))))
    {
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(SweepError::cannot_write(path, &error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn hash_of_file(path: &Path) -> io::Result<String> {
    let mut digest = Sha256::new();
    io::copy(&mut File::open(path)?, &mut digest)?;
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
