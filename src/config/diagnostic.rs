//! What a configuration gets wrong: a [`Diagnostic`] says where, which key, what, and what to write instead. All of a
//! file's mistakes are collected, up to a thousand; none stops the reading.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use strsim::damerau_levenshtein;

use crate::catalog::nearest;

/// Most errors, and most warnings, that are kept: nobody reads more, and a file may hold millions.
const MOST_OF_A_KIND: usize = 1_000;
/// Most characters of a message; they may quote what is as long as the file.
const MESSAGE_CHARACTERS: usize = 1_000;
/// Most names that a message offers.
pub(crate) const NAMES_OFFERED: usize = 3;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but something has no effect or not the one that its author may expect.
    Warning,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file, or the flag (`--set #2`) the value came from.
    pub file: String,
    /// Line from 1; 0 where the value has no place in the file.
    pub line: u32,
    /// Column in characters from 1; 0 likewise.
    pub column: u32,
    /// Path of the key, such as `frameworks_to_test[1].config.max_num_seqs`; empty for the file as a whole.
    pub key_path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub suggestion: Option<String>,
    /// The deployment is understood, and cannot be: it has too little memory, or its engine refuses to start so.
    pub cannot_be: bool,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", printable(&self.file))?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, ": {severity}: ")?;
        if !self.key_path.is_empty() {
            write!(f, "{}: ", self.key_path)?;
        }
        write!(f, "{}", self.message)?;
        self.suggestion.as_ref().map_or(Ok(()), |suggestion| write!(f, "; {suggestion}"))
    }
}

/// Where a value was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The text it stands in.
    pub origin: Origin,
    /// Line from 1; 0 if unknown.
    pub line: u32,
    /// Column from 1; 0 if unknown.
    pub column: u32,
}

impl Mark {
    /// The mark of a value that a flag gave.
    #[must_use]
    pub fn flag(name: &'static str) -> Self {
        Self { origin: Origin::Flag(name), line: 0, column: 0 }
    }
}

/// The text a value stands in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// The configuration file.
    #[default]
    File,
    /// The n-th `--set`, from 1.
    Set(usize),
    /// Another flag.
    Flag(&'static str),
}

/// A key and where its value was written. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// Where.
    pub mark: Mark,
    /// Which key, from the root.
    pub path: Arc<str>,
}

impl At {
    /// The root of a configuration.
    #[must_use]
    pub fn root(mark: Mark) -> Self {
        Self { mark, path: Arc::from("") }
    }

    /// The key `name` below this one.
    #[must_use]
    pub fn key(&self, name: &str, mark: Mark) -> Self {
        let path = if self.path.is_empty() { Arc::from(name) } else { Arc::from(format!("{}.{name}", self.path)) };
        Self { mark, path }
    }

    /// The key alone.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }

    /// The item at `index` of this list.
    #[must_use]
    pub fn item(&self, index: usize, mark: Mark) -> Self {
        Self { mark, path: Arc::from(format!("{}[{index}]", self.path)) }
    }
}

/// Collects findings.
#[derive(Debug)]
pub struct Diagnostics {
    file: String,
    list: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
    warned_once: HashSet<String>,
    is_forced: bool,
    path_of_key: fn(&str) -> Option<String>,
}

impl Diagnostics {
    /// None yet; `file` is what messages call the configuration.
    #[must_use]
    pub fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            list: Vec::new(),
            errors: 0,
            warnings: 0,
            warned_once: HashSet::new(),
            is_forced: false,
            path_of_key: |_| None,
        }
    }

    /// Has the place of keys that stand elsewhere suggested, as `path_of_key` finds it by their names.
    pub fn suggest_keys_by(&mut self, path_of_key: fn(&str) -> Option<String>) {
        self.path_of_key = path_of_key;
    }

    /// Where a key of this name is declared, as far as that may be suggested.
    #[must_use]
    pub fn path_of_key(&self, name: &str) -> Option<String> {
        (self.path_of_key)(name)
    }

    /// Adds an error.
    pub fn error(&mut self, at: &At, message: impl Into<String>) {
        self.push(Severity::Error, at, message.into(), None, false);
    }

    /// Adds an error with what to do about it.
    pub fn error_with(&mut self, at: &At, message: impl Into<String>, suggestion: impl Into<String>) {
        self.push(Severity::Error, at, message.into(), Some(suggestion.into()), false);
    }

    /// Adds an error about an unknown name, with the nearest of the known ones.
    pub fn unknown<'a>(
        &mut self,
        at: &At,
        message: impl Into<String>,
        word: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) {
        let suggestion = if self.is_full_of(Severity::Error) { None } else { did_you_mean(word, known) };
        self.push(Severity::Error, at, message.into(), suggestion, false);
    }

    /// Adds a warning.
    pub fn warn(&mut self, at: &At, message: impl Into<String>) {
        self.push(Severity::Warning, at, message.into(), None, false);
    }

    /// Adds a warning with what to do about it.
    pub fn warn_with(&mut self, at: &At, message: impl Into<String>, suggestion: impl Into<String>) {
        self.push(Severity::Warning, at, message.into(), Some(suggestion.into()), false);
    }

    /// Adds a warning unless one under the same `topic` is there.
    pub fn warn_once(&mut self, topic: &str, at: &At, message: impl Into<String>) {
        if self.warned_once.insert(topic.to_owned()) {
            self.warn(at, message);
        }
    }

    /// Adds an error, or a warning where the part of the configuration it is about is not simulated.
    pub fn report(&mut self, severity: Severity, at: &At, message: impl Into<String>, suggestion: Option<String>) {
        self.push(severity, at, message.into(), suggestion, false);
    }

    /// Adds that a deployment cannot be, an error or a warning as [`Self::report`] does.
    pub fn report_impossible(&mut self, severity: Severity, at: &At, message: String, suggestion: Option<String>) {
        self.push(severity, at, message, suggestion, true);
    }

    /// Whether what vLLM refuses is only warned of.
    pub fn force(&mut self, is_forced: bool) {
        self.is_forced = is_forced;
    }

    /// Adds what vLLM refuses to start, with the way out: an error unless it is forced, or warned of anyway.
    pub fn refuse(&mut self, severity: Severity, at: &At, reason: impl fmt::Display, way_out: &str) {
        let message = format!("vLLM refuses this: {reason}");
        match severity {
            Severity::Error if !self.is_forced => {
                let way_out = format!("{way_out}; --force simulates it all the same");
                self.push(severity, at, message, Some(way_out), true);
            }
            _ => self.warn_with(at, message, way_out),
        }
    }

    /// Adds a finding about another file.
    pub fn about_another_file(&mut self, found: Diagnostic) {
        if !self.list.contains(&found) && self.has_room_for(found.severity) {
            self.list.push(found);
        }
    }

    /// Whether there is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Whether further findings of this kind are only counted: suggestions for them need not be looked for.
    #[must_use]
    pub fn is_full_of(&self, severity: Severity) -> bool {
        self.count(severity) >= MOST_OF_A_KIND
    }

    /// Every finding that was kept, in the order of the file, and how many more there are.
    #[must_use]
    pub fn into_sorted(mut self) -> Vec<Diagnostic> {
        let file = self.file;
        self.list.sort_by_key(|found| (found.line == 0, found.file != file, found.line, found.column));
        self.list.dedup();
        for (severity, count, kind) in
            [(Severity::Error, self.errors, "errors"), (Severity::Warning, self.warnings, "warnings")]
        {
            if count > MOST_OF_A_KIND {
                let message = format!("{} more {kind} are not shown", count - MOST_OF_A_KIND);
                let (file, key_path) = (file.clone(), String::new());
                self.list.push(Diagnostic {
                    severity,
                    file,
                    line: 0,
                    column: 0,
                    key_path,
                    message,
                    suggestion: None,
                    cannot_be: false,
                });
            }
        }
        self.list
    }

    fn count(&self, severity: Severity) -> usize {
        match severity {
            Severity::Error => self.errors,
            Severity::Warning => self.warnings,
        }
    }

    /// Counts a finding; whether it is kept.
    fn has_room_for(&mut self, severity: Severity) -> bool {
        let has_room = !self.is_full_of(severity);
        match severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
        }
        has_room
    }

    fn push(&mut self, severity: Severity, at: &At, message: String, suggestion: Option<String>, cannot_be: bool) {
        if !self.has_room_for(severity) {
            return;
        }
        // What several lines say is several findings; what to do about them is said once.
        let mut lines: Vec<&str> = message.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = lines.pop().unwrap_or(&message);
        for line in lines {
            self.keep(severity, at, line, None, cannot_be);
        }
        self.keep(severity, at, last, suggestion, cannot_be);
    }

    fn keep(&mut self, severity: Severity, at: &At, message: &str, suggestion: Option<String>, cannot_be: bool) {
        let file = match at.mark.origin {
            Origin::File => self.file.clone(),
            Origin::Set(number) => format!("--set #{number}"),
            Origin::Flag(name) => name.to_owned(),
        };
        let Mark { line, column, .. } = at.mark;
        let (key_path, message) = (shortened(&at.path), shortened(message));
        self.list.push(Diagnostic { severity, file, line, column, key_path, message, suggestion, cannot_be });
    }
}

/// "did you mean X?", or the whole list where it is short and nothing is near.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    const SHORT_LIST: usize = 6;
    let known: Vec<&str> = known.into_iter().collect();
    let near = nearest(word, known.iter().copied(), NAMES_OFFERED);
    match near.as_slice() {
        [] if known.is_empty() || known.len() > SHORT_LIST => None,
        [] => Some(format!("known: {}", known.join(", "))),
        near => offer(word, near),
    }
}

/// "did you mean X?" of names that are near, the nearest first.
pub(crate) fn offer(word: &str, near: &[&str]) -> Option<String> {
    match near {
        [] => None,
        [best, ..] if is_slip(word, best) => Some(format!("did you mean {best}?")),
        [only] => Some(format!("did you mean {only}?")),
        [most @ .., last] => Some(format!("did you mean {} or {last}?", most.join(", "))),
    }
}

/// So near that no other name needs to be offered.
fn is_slip(word: &str, name: &str) -> bool {
    let is_as_long = word.chars().count().abs_diff(name.chars().count()) <= 2;
    is_as_long && damerau_levenshtein(&word.to_lowercase(), &name.to_lowercase()) <= 2
}

/// A text that a terminal can show: of bounded length, without control characters.
fn shortened(text: &str) -> String {
    let mut characters = text.chars();
    let mut shown: String = characters.by_ref().take(MESSAGE_CHARACTERS).collect();
    if characters.next().is_some() {
        shown.push('…');
    }
    printable(&shown)
}

/// Text with its control characters, and what stands for bytes that are no text, written out.
pub(crate) fn printable(text: &str) -> String {
    let is_shown = |c: char| !c.is_control() && c != char::REPLACEMENT_CHARACTER;
    text.chars().map(|c| if is_shown(c) { c.to_string() } else { c.escape_default().to_string() }).collect()
}

/// A number as people write it: no trailing zeros, separators of thousands for whole numbers.
#[must_use]
pub(crate) fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        let digits = format!("{:.0}", value.abs());
        let mut grouped = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) && digits.len() > 4 {
                grouped.push('_');
            }
            grouped.push(digit);
        }
        let sign = if value < 0.0 { "-" } else { "" };
        format!("{sign}{grouped}")
    } else if value.is_finite() && !(1e-5..1e15).contains(&value.abs()) {
        format!("{value:e}")
    } else {
        format!("{value}")
    }
}
