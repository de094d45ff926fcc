//! Mutations of text: of its bytes, its tokens, its lines.

use std::ops::Range;

use rand::RngExt;

use super::Random;
use super::corpus::Corpus;
use super::nasty::{NUMBERS, PIECES, VALUES, pick};

/// No input grows beyond this, in bytes.
const LONGEST: usize = 1 << 17;

/// Changes `text` in one to a few places.
pub fn mutate(text: &mut Vec<u8>, corpus: &Corpus, random: &mut Random) {
    loop {
        change(text, corpus, random);
        text.truncate(LONGEST);
        if random.random_bool(0.5) {
            return;
        }
    }
}

fn change(text: &mut Vec<u8>, corpus: &Corpus, random: &mut Random) {
    match random.random_range(0..100) {
        0..30 => replace_value(text, pick(random, NUMBERS), random),
        30..48 => replace_value(text, pick(random, VALUES), random),
        48..54 => insert(text, pick(random, PIECES).as_bytes(), random),
        54..58 => flip(text, random),
        58..60 => text.truncate(random.random_range(0..=text.len())),
        60..64 => splice(text, &corpus.any_text(random), random),
        64..70 => delete_lines(text, random),
        70..76 => repeat_lines(text, random),
        76..80 => indent(text, random),
        80..86 => rename_key(text, corpus, random),
        86..92 => swap_values(text, random),
        92..94 => nest(text, random),
        94..96 => long_token(text, random),
        96 => *text = replaced(text, b"\n", b"\r\n"),
        97 => *text = replaced(text, b"  ", b"\t"),
        98 => text.splice(0..0, *b"\xef\xbb\xbf").for_each(drop),
        _ => text.extend_from_slice(&[b"\n---\n", text.clone().as_slice()].concat()),
    }
}

fn place(text: &[u8], random: &mut Random) -> usize {
    random.random_range(0..=text.len())
}

fn insert(text: &mut Vec<u8>, piece: &[u8], random: &mut Random) {
    let at = place(text, random);
    text.splice(at..at, piece.iter().copied());
}

fn flip(text: &mut [u8], random: &mut Random) {
    if text.is_empty() {
        return;
    }
    for _ in 0..random.random_range(1..=4) {
        let at = random.random_range(0..text.len());
        text[at] = if random.random_bool(0.5) { random.random() } else { text[at] ^ (1 << random.random_range(0..8)) };
    }
}

fn splice(text: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let (a, b) = (place(text, random), place(other, random));
    let end = b + random.random_range(0..=(other.len() - b).min(4096));
    let cut = if random.random_bool(0.5) { a } else { text.len() };
    text.splice(a..cut, other[b..end].iter().copied());
}

/// Values: what stands behind a colon, a dash, a bracket or a comma.
fn values(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = None;
    for (at, &byte) in text.iter().enumerate() {
        let ends = matches!(byte, b',' | b'}' | b']' | b'\n' | b'#');
        if ends && let Some(begin) = start.take() {
            let range = trimmed(text, begin..at);
            if !range.is_empty() {
                found.push(range);
            }
        }
        let next_is_blank = text.get(at + 1).is_none_or(|next| next.is_ascii_whitespace() || *next == b'"');
        let begins = matches!(byte, b',' | b'[') || (matches!(byte, b':' | b'-') && next_is_blank);
        if begins {
            start = Some(at + 1);
        }
    }
    if let Some(begin) = start {
        found.push(trimmed(text, begin..text.len()));
    }
    found
}

fn trimmed(text: &[u8], range: Range<usize>) -> Range<usize> {
    let inner = &text[range.clone()];
    let start = range.start + (inner.len() - inner.trim_ascii_start().len());
    start..start + inner.trim_ascii().len()
}

fn any_value(text: &[u8], random: &mut Random) -> Option<Range<usize>> {
    let values = values(text);
    (!values.is_empty()).then(|| values[random.random_range(0..values.len())].clone())
}

fn replace_value(text: &mut Vec<u8>, value: &str, random: &mut Random) {
    match any_value(text, random) {
        Some(range) => text.splice(range, value.bytes()).for_each(drop),
        None => insert(text, value.as_bytes(), random),
    }
}

fn swap_values(text: &mut Vec<u8>, random: &mut Random) {
    let (Some(a), Some(b)) = (any_value(text, random), any_value(text, random)) else {
        return;
    };
    let value = text[b].to_vec();
    text.splice(a, value);
}

fn lines(text: &[u8], random: &mut Random) -> Range<usize> {
    let starts: Vec<usize> = std::iter::once(0)
        .chain(text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1))
        .collect();
    let first = random.random_range(0..starts.len());
    let last = first + if random.random_bool(0.7) { 1 } else { random.random_range(1..=8) };
    starts[first]..starts.get(last).copied().unwrap_or(text.len())
}

fn delete_lines(text: &mut Vec<u8>, random: &mut Random) {
    let range = lines(text, random);
    text.splice(range, []);
}

fn repeat_lines(text: &mut Vec<u8>, random: &mut Random) {
    let range = lines(text, random);
    let copy = text[range.clone()].to_vec();
    let to = if random.random_bool(0.6) { range.end } else { lines(text, random).start };
    text.splice(to..to, copy);
}

fn indent(text: &mut Vec<u8>, random: &mut Random) {
    let start = lines(text, random).start;
    if random.random_bool(0.5) {
        text.splice(start..start, *b"  ");
    } else {
        let end = text.len().min(start + 2);
        text.splice(start..end, []);
    }
}

fn rename_key(text: &mut Vec<u8>, corpus: &Corpus, random: &mut Random) {
    let colons: Vec<usize> = text.iter().enumerate().filter(|(_, byte)| **byte == b':').map(|(at, _)| at).collect();
    if colons.is_empty() {
        return;
    }
    let colon = colons[random.random_range(0..colons.len())];
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let start = text[..colon].iter().rposition(|byte| !is_name(byte)).map_or(0, |at| at + 1);
    let name = if random.random_bool(0.8) { corpus.any_key_name(random) } else { pick(random, VALUES).to_owned() };
    text.splice(start..colon, name.into_bytes());
}

fn nest(text: &mut Vec<u8>, random: &mut Random) {
    let (open, close) =
        [("[", "]"), ("{a: ", "}"), ("{\"a\":", "}"), ("- ", ""), ("? ", "")][random.random_range(0..5)];
    let depth = [3, 30, 130, 1000, 10_000][random.random_range(0..5)];
    let close = if random.random_bool(0.5) { close.repeat(depth) } else { String::new() };
    replace_value(text, &format!("{}1{close}", open.repeat(depth)), random);
}

fn long_token(text: &mut Vec<u8>, random: &mut Random) {
    let token = pick(random, &["9", "a", "0", "é", " ", "-", "1,", "a: ", "\\", "'", "\"", "&"]);
    let token = token.repeat([20, 400, 5000, 60_000][random.random_range(0..4)]);
    if random.random_bool(0.5) { replace_value(text, &token, random) } else { insert(text, token.as_bytes(), random) }
}

fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut changed = Vec::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        if rest.starts_with(from) {
            changed.extend_from_slice(to);
            rest = &rest[from.len()..];
        } else {
            changed.push(rest[0]);
            rest = &rest[1..];
        }
    }
    changed
}
