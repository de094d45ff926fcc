//! Findings about one file as they are gathered, each with the line of its key.

use std::collections::HashSet;
use std::path::Path;

use super::finding::{Finding, Severity};
use super::json_file::KeyLines;

/// Gathers findings about one file, with the line of each key.
pub(super) struct Findings<'a> {
    file: &'a Path,
    lines: &'a KeyLines,
    found: Vec<Finding>,
    errors: usize,
    /// Keys, with what was said of them.
    told: HashSet<(String, String)>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(file: &'a Path, lines: &'a KeyLines) -> Self {
        Self { file, lines, found: Vec::new(), errors: 0, told: HashSet::new() }
    }

    /// Adds a finding about a key. A key that the file lacks has the line of the object that should hold it.
    pub(super) fn add(&mut self, severity: Severity, key: &str, message: impl Into<String>) {
        let line = self.lines.line(key);
        let finding = Finding { severity, file: self.file.into(), line, key: key.into(), message: message.into() };
        // A key that is read for each layer is wrong once.
        if !self.told.insert((finding.key.clone(), finding.message.clone())) {
            return;
        }
        self.errors += usize::from(severity == Severity::Error);
        self.found.push(finding);
    }

    /// Adds a finding about a key of another file, which belongs to this one.
    pub(super) fn add_about(
        &mut self,
        file: &Path,
        lines: &KeyLines,
        severity: Severity,
        key: &str,
        message: impl Into<String>,
    ) {
        let line = lines.line(key);
        self.errors += usize::from(severity == Severity::Error);
        self.found.push(Finding { severity, file: file.into(), line, key: key.into(), message: message.into() });
    }

    pub(super) fn error(&mut self, key: &str, message: impl Into<String>) {
        self.add(Severity::Error, key, message);
    }

    pub(super) fn warn(&mut self, key: &str, message: impl Into<String>) {
        self.add(Severity::Warning, key, message);
    }

    pub(super) fn errors(&self) -> usize {
        self.errors
    }

    /// All findings, in the order of the file's lines.
    pub(super) fn into_vec(mut self) -> Vec<Finding> {
        self.found.sort_by_key(|finding| finding.line);
        self.found
    }
}
