//! A Rust file as words and punctuation: without comments, without literals, without what only tests compile.

/// A word, `::`, or another character that stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word<'a> {
    pub text: &'a str,
    pub line: usize,
}

/// The words of a file.
pub fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut at = 0;
    let mut line = 1;
    while let Some(next) = text[at..].chars().next() {
        let rest = &text[at..];
        let length = skipped(rest).unwrap_or_else(|| {
            let length = match rest.find(|letter| !is_letter(letter)).unwrap_or(rest.len()) {
                0 if rest.starts_with("::") => 2,
                0 => next.len_utf8(),
                length => length,
            };
            words.push(Word { text: &rest[..length], line });
            length
        });
        line += rest[..length].matches('\n').count();
        at += length;
    }
    without_tests(&words)
}

pub fn is_letter(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Bytes of the blank, the comment, the literal or the lifetime that `text` begins with, if it does.
fn skipped(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    let to = |end: &str| text.find(end).map_or(text.len(), |at| at + end.len());
    if first.is_whitespace() {
        Some(first.len_utf8())
    } else if text.starts_with("//") {
        Some(to("\n"))
    } else if text.starts_with("/*") {
        Some(block_comment(text))
    } else if first == '\'' {
        Some(quote(text))
    } else if let Some(prefix) = ["\"", "b\"", "c\""].iter().find(|prefix| text.starts_with(**prefix)) {
        Some(string(text, prefix.len()))
    } else {
        raw_string(text)
    }
}

/// Comments in blocks stand within each other.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text[at..];
        match rest.as_bytes() {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += rest.chars().next().map_or(1, char::len_utf8),
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// A character, or a lifetime with its name.
fn quote(text: &str) -> usize {
    let mut letters = text.char_indices().skip(1);
    let (Some((_, first)), second) = (letters.next(), letters.next()) else { return 1 };
    if first == '\\' {
        // What follows the backslash may be a quote.
        return text[3..].find('\'').map_or(text.len(), |at| 3 + at + 1);
    }
    match second {
        Some((at, '\'')) => at + 1,
        _ => 1 + text[1..].find(|letter| !is_letter(letter)).unwrap_or(text.len() - 1),
    }
}

fn string(text: &str, from: usize) -> usize {
    let mut is_escaped = false;
    for (at, letter) in text[from..].char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return from + at + 1,
            _ => {}
        }
    }
    text.len()
}

fn raw_string(text: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"].into_iter().find(|prefix| {
        let rest = text.strip_prefix(*prefix).map(|rest| rest.trim_start_matches('#'));
        rest.is_some_and(|rest| rest.starts_with('"'))
    })?;
    let hashes = text[prefix.len()..].bytes().take_while(|byte| *byte == b'#').count();
    let from = prefix.len() + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(text[from..].find(&end).map_or(text.len(), |at| from + at + end.len()))
}

/// Leaves out every item under `#[cfg(test)]`: what only a test takes ties nothing of the program.
fn without_tests<'a>(words: &[Word<'a>]) -> Vec<Word<'a>> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < words.len() {
        if words[at..].iter().map(|word| word.text).take(MARK.len()).eq(MARK) {
            at += MARK.len();
            at += item(&words[at..]);
        } else {
            kept.push(words[at]);
            at += 1;
        }
    }
    kept
}

/// Words of the item that stands first, its other attributes included: up to a `;`, or to the end of its braces.
fn item(words: &[Word<'_>]) -> usize {
    let mut depth = 0;
    for (at, word) in words.iter().enumerate() {
        match word.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" => depth -= 1,
            "}" => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    words.len()
}
