//! A file that says what flags say: `rate_scale: [1, 4]` for `--rate-scale 1,4`. It becomes the words one would have typed, so it goes the
//! same way and has the same messages. Where a configuration may stand in its place, their keys tell them apart.

use std::collections::HashSet;
use std::path::Path;

use super::base::BaseFile;
use super::diagnostic::{At, Diagnostic, Diagnostics, Mark};
use super::tree::{self, Entry, Node, Value};
use super::{LONGEST_FILE_BYTES, context_of, keys, read};
use crate::inputs;

/// What a file is.
#[derive(Clone, Debug)]
pub enum FlagsOrBase {
    /// Flags, as words in the file's order.
    Flags(Vec<String>),
    /// A configuration.
    Base(BaseFile),
}

/// Reads a file of flags, of which `flags` are the names, or a configuration.
///
/// Of flags a list is one word with commas; a mapping gives one word `KEY=VALUE` an entry, and in it a list has commas; `true` is the flag
/// alone.
///
/// # Errors
/// It cannot be read, or is neither of the two, or both.
pub fn read_flags_or_base(path: &Path, flags: &[String]) -> Result<FlagsOrBase, Vec<Diagnostic>> {
    let file = inputs::shown(path).display().to_string();
    let mut diagnostics = Diagnostics::new(&file);
    let bytes = match read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            let message = format!("cannot read the file: {error} (at most {LONGEST_FILE_BYTES} bytes)");
            diagnostics.error(&At::root(Mark::default()), message);
            return Err(diagnostics.into_sorted());
        }
    };
    let found = tree::parse(&bytes, &mut diagnostics).and_then(|root| match kind_of(&root, flags, &mut diagnostics)? {
        Kind::Base => Some(FlagsOrBase::Base(BaseFile::new(root, &file, context_of(path)))),
        Kind::Flags => words_of(&root, &mut diagnostics).map(FlagsOrBase::Flags),
    });
    match found {
        Some(found) if !diagnostics.has_errors() => Ok(found),
        _ => Err(diagnostics.into_sorted()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Flags,
    Base,
}

fn kind_of(root: &Node, flags: &[String], diagnostics: &mut Diagnostics) -> Option<Kind> {
    let way_out = "give a configuration as `run` takes it, or flags without their dashes, such as `rate_scale: [1, 4]`";
    let Value::Mapping(entries) = &root.value else {
        diagnostics.error_with(
            &At::root(root.mark),
            format!("this must be a mapping of keys, not {}", root.value),
            way_out,
        );
        return None;
    };
    let is_flag = |entry: &&Entry| flags.iter().any(|flag| *flag == flag_of(&entry.key));
    let is_section = |entry: &&Entry| keys::Config::DECLARATION.keys.iter().any(|key| key.name == entry.key);
    // `workload` is a section of one and a flag of the other.
    let is_of_both = |entry: &&Entry| is_flag(entry) && is_section(entry);
    let of_base = entries
        .iter()
        .find(|entry| is_section(entry) && (!is_flag(entry) || matches!(entry.value.value, Value::Mapping(_))));
    let of_flags = entries
        .iter()
        .find(|entry| is_flag(entry) && !(is_of_both(entry) && matches!(entry.value.value, Value::Mapping(_))));
    let at = |entry: &Entry| At::root(entry.mark).key(&entry.key, entry.mark);
    match (of_base, of_flags) {
        (Some(_), None) => Some(Kind::Base),
        (None, Some(_)) => Some(Kind::Flags),
        (Some(base), Some(flag)) => {
            let message =
                format!("is a flag, and {} is a key of a configuration: a file is one or the other", base.key);
            let way_out = format!("take it out, and type {} beside the configuration", flag_of(&flag.key));
            diagnostics.error_with(&at(flag), message, way_out);
            None
        }
        (None, None) => {
            let mut unknown = entries.iter().peekable();
            if unknown.peek().is_none() {
                diagnostics.error_with(&At::root(root.mark), "the file is empty", way_out);
            }
            for entry in unknown {
                let names = flags.iter().map(|flag| flag.trim_start_matches('-'));
                let names = names.chain(keys::Config::DECLARATION.keys.iter().map(|key| key.name));
                let message = "is no flag, and no key of a configuration";
                diagnostics.unknown(&at(entry), message, &entry.key.replace('_', "-"), names);
            }
            None
        }
    }
}

fn flag_of(key: &str) -> String {
    format!("--{}", key.replace('_', "-"))
}

fn words_of(root: &Node, diagnostics: &mut Diagnostics) -> Option<Vec<String>> {
    let (mut words, mut seen) = (Vec::new(), HashSet::new());
    for entry in root.entries() {
        let flag = flag_of(&entry.key);
        let at = At::root(entry.mark).key(&entry.key, entry.mark);
        if !seen.insert(flag.clone()) {
            diagnostics.error_with(&at, "is given twice", "give one list of values");
        }
        match &entry.value.value {
            Value::Flag(true) => words.push(flag),
            Value::Flag(false) | Value::Null => {}
            Value::Mapping(pairs) => {
                for pair in pairs {
                    let value = word_of(&pair.value, &at, diagnostics)?;
                    words.extend([flag.clone(), format!("{}={value}", pair.key)]);
                }
            }
            _ => words.extend([flag, word_of(&entry.value, &at, diagnostics)?]),
        }
    }
    Some(words)
}

fn word_of(node: &Node, at: &At, diagnostics: &mut Diagnostics) -> Option<String> {
    let word = match &node.value {
        Value::Flag(flag) => flag.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Sequence(items) => {
            let words: Option<Vec<String>> = items.iter().map(|item| word_of(item, at, diagnostics)).collect();
            words?.join(",")
        }
        Value::Null | Value::Mapping(_) => {
            diagnostics.error_with(at, "this is no value of a flag", "write a number, a word or a list of them");
            return None;
        }
    };
    Some(word)
}
