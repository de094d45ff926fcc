//! A file that says what flags say: `rate_scale: [1, 4]` for `--rate-scale 1,4`. It becomes the words one would have typed, so it goes the
//! same way and has the same messages.

use std::path::Path;

use super::diagnostic::{At, Diagnostic, Diagnostics, Mark};
use super::tree::{self, Node, Value};
use super::{LONGEST_FILE_BYTES, read};

/// The words of a file of flags, in its order.
///
/// A list is one word with commas; a mapping gives one word `KEY=VALUE` an entry, and in it a list has commas; `true` is the flag alone.
///
/// # Errors
/// It cannot be read, or is no mapping of flags.
pub fn words_of_flag_file(path: &Path) -> Result<Vec<String>, Vec<Diagnostic>> {
    let file = path.display().to_string();
    let mut diagnostics = Diagnostics::new(&file);
    let bytes = match read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            let message = format!("cannot read the file: {error} (at most {LONGEST_FILE_BYTES} bytes)");
            diagnostics.error(&At::root(Mark::default()), message);
            return Err(diagnostics.into_sorted());
        }
    };
    let words = tree::parse(&bytes, &mut diagnostics).and_then(|root| words_of(&root, &mut diagnostics));
    match words {
        Some(words) if !diagnostics.has_errors() => Ok(words),
        _ => Err(diagnostics.into_sorted()),
    }
}

fn words_of(root: &Node, diagnostics: &mut Diagnostics) -> Option<Vec<String>> {
    let Value::Mapping(entries) = &root.value else {
        let message = "this must be a mapping of flags without their dashes, such as `rate_scale: [1, 4]`";
        diagnostics.error(&At::root(root.mark), message);
        return None;
    };
    let mut words = Vec::new();
    for entry in entries {
        let flag = format!("--{}", entry.key.replace('_', "-"));
        let at = At::root(entry.mark).key(&entry.key, entry.mark);
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
